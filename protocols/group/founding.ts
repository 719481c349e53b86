// How a group's state begins: founded, joined, or read back (spec.md §4.1). Floor 0, pure.
import { equalBytes, isZero } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { PeerId } from '../base/ids.ts'
import type { Step } from '../base/step.ts'
import type { TimeMs } from '../base/time.ts'
import { chainFromGenesis, chainOf, nodeOf } from './chain.ts'
import type { Chain } from './chain.ts'
import { genesisId, NO_PARENT, signRecord, verifyRecord } from './commit-record.ts'
import type { NewEpoch } from './jobs.ts'
import { makeGeneration } from './keys.ts'
import { encodePolicy } from './policy.ts'
import type { GroupEffect, GroupState, HeldEpoch, Volatile } from './state.ts'
import type { GroupKit } from './turn.ts'
import type {
  CommitId,
  CommitRecord,
  GroupId,
  JoinPackage,
  MemberRef,
  Policy,
  View,
} from './types.ts'
import { policyHash, rosterHash } from './view.ts'

const HASH_BYTES = 32

/** What a restart begins with. */
export const FRESH: Volatile = {
  orphans: [],
  syncs: 0,
  syncUntil: 0,
  catchUpUntil: 0,
  holdUntil: 0,
  handing: [],
}

/** The policy of a new group. */
export function firstPolicy(peer: PeerId, name: string): Policy {
  return { changes: 0, admins: [{ peer, gen: 1 }], name }
}

/**
 * The genesis record of a new group: its id names the first epoch.
 *
 * @returns The record as signed octets, and its id.
 */
export function makeGenesis(
  { primitives, peer, secret }: GroupKit,
  p: {
    readonly groupId: GroupId
    readonly policy: Policy
    readonly groupInfoHash: Bytes
    readonly nowMs: TimeMs
  },
): { readonly commitId: CommitId; readonly bytes: Bytes } {
  const unnamed = {
    kind: 'genesis',
    groupId: p.groupId,
    parent: NO_PARENT,
    epoch: 0,
    author: { peer, gen: 1 },
    seq: p.nowMs,
    adds: [],
    removes: [],
    policy: p.policy,
    rosterHash: rosterHash(primitives, new Map([[peer, 1]])),
    policyHash: policyHash(primitives, p.policy),
    sealedHash: new Uint8Array(HASH_BYTES),
    bodyBytes: 0,
    groupInfoHash: p.groupInfoHash,
  } as const
  const commitId = genesisId(primitives, unnamed)
  const record: CommitRecord = { ...unnamed, commitId }
  return { commitId, bytes: signRecord(primitives, secret, record) }
}

/** The first state of a new group. */
export function foundGroup(
  kit: GroupKit,
  genesis: Bytes,
  epoch: NewEpoch,
  nowMs: TimeMs,
): Decoded<Step<GroupState, GroupEffect>> {
  const chain = chainFromGenesis(kit.primitives, { record: genesis, evidence: [] })
  if (!chain.ok) return chain
  const self = { peer: kit.peer, gen: 1 }
  const { base } = chain.value
  const txOf = { start: base, tx: epoch.tx }
  return decoded(beginOn(kit, { chain: chain.value, self, epoch, generation: txOf, nowMs }))
}

/**
 * Compares a JoinPackage with its signed record: who made it can only be a member, and what it claims of roster
 * and policy is what that member signed.
 */
export function readJoinPackage(
  { primitives, peer }: GroupKit,
  p: JoinPackage,
): Decoded<{ readonly record: CommitRecord; readonly view: View; readonly self: MemberRef }> {
  const record = verifyRecord(primitives, p.record)
  if (!record.ok) return record
  const { value } = record
  const roster = new Map(p.roster.map((ref) => [ref.peer, ref.gen]))
  const gen = roster.get(peer)
  const added = value.adds.some(({ member }) => member.peer === peer && member.gen === gen)
  if (value.groupId !== p.groupId || value.kind !== 'commit' || gen === undefined || !added) {
    return refused('GROUP_COMMIT_INVALID')
  }
  if (roster.get(value.author.peer) !== value.author.gen || isZero(p.tx)) {
    return refused('GROUP_COMMIT_INVALID')
  }
  if (
    !equalBytes(rosterHash(primitives, roster), value.rosterHash) ||
    !equalBytes(policyHash(primitives, p.policy), value.policyHash)
  ) {
    return refused('GROUP_COMMIT_INVALID')
  }
  const view: View = {
    roster,
    gone: new Map(p.gone.map((ref) => [ref.peer, ref.gen])),
    policy: p.policy,
    epoch: value.epoch,
    generation: p.generation,
  }
  return decoded({ record: value, view, self: { peer, gen } })
}

/** The first state of a group joined by a Welcome: `epoch` is what the engine made of it. */
export function joinGroup(
  kit: GroupKit,
  p: JoinPackage,
  epoch: NewEpoch,
  nowMs: TimeMs,
): Decoded<Step<GroupState, GroupEffect>> {
  const read = readJoinPackage(kit, p)
  if (!read.ok) return read
  const { record, view, self } = read.value
  if (
    epoch.epoch !== record.epoch ||
    !equalBytes(epoch.groupInfoHash, record.groupInfoHash) ||
    !equalBytes(epoch.policy, encodePolicy(view.policy)) ||
    epoch.roster.length !== view.roster.size ||
    !epoch.roster.every((peer) => view.roster.has(peer))
  ) {
    return refused('GROUP_COMMIT_INVALID')
  }
  const chain = chainOf(record, { record: p.record, evidence: [] }, view)
  const generation = { start: p.generation, tx: p.tx }
  return decoded(beginOn(kit, { chain, self, epoch, generation, nowMs }))
}

/**
 * The first state of a group joined anew. The same membership, added again because its branch has lost, goes on with
 * its numbers, and with what it said on that branch; another one begins afresh.
 */
export function joinAnew(
  [first, effects]: Step<GroupState, GroupEffect>,
  before: GroupState,
): Step<GroupState, GroupEffect> {
  if (before.self.gen !== first.self.gen) return [first, effects]
  const { n, lamport, authors } = before
  const outbox = before.outbox.map(({ sealedIn: _, ...letter }) => letter)
  const state = { ...first, n, lamport, authors, outbox, seq: Math.max(first.seq, before.seq) }
  const saved: GroupEffect[] = outbox.map((letter) => ({ kind: 'saveLetter', letter }))
  for (const order of authors.values()) {
    saved.push({ kind: 'saveAuthor', order })
    for (const held of order.held) saved.push({ kind: 'saveHeld', held })
  }
  return [state, [...effects, ...saved]]
}

interface Beginning {
  readonly chain: Chain
  readonly self: MemberRef
  readonly epoch: NewEpoch
  readonly generation: { readonly start: CommitId; readonly tx: Bytes }
  readonly nowMs: TimeMs
}

function beginOn(
  kit: GroupKit,
  { chain, self, epoch, generation: { start, tx }, nowMs }: Beginning,
): Step<GroupState, GroupEffect> {
  const { base } = chain
  const node = nodeOf(chain, base)
  const { entry } = node
  const { branchId, bodyKey, rankKey, authenticator, treeHash, tree, snapshot } = epoch
  const held: HeldEpoch = { branchId, bodyKey, rankKey, authenticator, treeHash }
  const listening = { generation: makeGeneration(kit.primitives, start, tx) }
  const state: GroupState = {
    groupId: node.record.groupId,
    self,
    phase: 'member',
    chain,
    tip: base,
    votes: new Map(),
    acks: new Map(),
    held: new Map([[base, held]]),
    checkpoints: new Map(),
    generations: new Map([[start, listening]]),
    seq: nowMs,
    n: 0,
    lamport: 0,
    outbox: [],
    intents: [],
    intentId: 0,
    leaves: new Map(),
    welcomes: [],
    waiting: new Map(),
    authors: new Map(),
    rekeyedAt: nowMs,
    volatile: FRESH,
  }
  return [
    state,
    [
      { kind: 'saveRecord', commitId: base, entry, failed: false },
      { kind: 'saveTree', treeHash, tree },
      { kind: 'saveEpoch', commitId: base, epoch: held },
      { kind: 'saveSnapshot', commitId: base, snapshot },
      { kind: 'saveGeneration', listening },
      { kind: 'changed' },
    ],
  ]
}
