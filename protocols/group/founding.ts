// How a group's state begins: founded, joined, or read back (spec.md §4.1). Floor 0, pure.
import { concat, equalBytes, isZero } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { peerIdToBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Step } from '../base/step.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import { chainFromGenesis, chainOf, nodeOf } from './chain.ts'
import type { Chain } from './chain.ts'
import { genesisId, NO_PARENT, signRecord, verifyRecord } from './commit-record.ts'
import { idBytes } from './ids.ts'
import type { NewEpoch } from './jobs.ts'
import { makeGeneration } from './keys.ts'
import { encodePolicy } from './policy.ts'
import type { AuthorOrder, GroupEffect, GroupState, HeldEpoch, Intent, Volatile } from './state.ts'
import type { GroupKit } from './turn.ts'
import { FIRST_REKEY_MS, FIRST_REKEY_SPREAD_MS } from './types.ts'
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
  early: new Map(),
  syncs: 0,
  syncUntil: 0,
  catchUpUntil: 0,
  holdUntil: 0,
  steppedAt: 0,
  loadedAt: 0,
  handing: [],
  history: new Map(),
  asked: new Map(),
  deniedBy: new Map(),
  strays: new Map(),
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
  const generation = { start: base, tx: epoch.tx }
  const beginning = { chain: chain.value, genesis: base, self, epoch, generation, nowMs }
  return decoded(beginOn(kit, beginning))
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
  const { genesis } = p
  const [state, effects] = beginOn(kit, { chain, genesis, self, epoch, generation, nowMs })
  return decoded([withFirstRekey(kit, state), effects])
}

/**
 * The first state of a group joined anew. The same membership, added again because its branch has lost, goes on with
 * its numbers, and with what it said on that branch; another one begins afresh, and knows what it had heard.
 */
export function joinAnew(
  [first, effects]: Step<GroupState, GroupEffect>,
  before: GroupState,
): Step<GroupState, GroupEffect> {
  if (before.self.gen !== first.self.gen) {
    const earlier = earlierOf(before)
    const saved = [...earlier.values()].map((order): GroupEffect => ({ kind: 'saveAuthor', order }))
    return [{ ...first, authors: earlier }, [...effects, ...saved]]
  }
  const { n, lamport, authors } = before
  const outbox = before.outbox.map(({ sealed: _, ...letter }) => letter)
  const asked = before.intents.filter(({ isRoutine }) => isRoutine !== true)
  const intents = asked.map(({ committedIn: _, ...intent }) => intent)
  // What was said and decided on the branch that lost is brought along.
  const entries = [...before.chain.nodes].map(([id, { entry }]) => [id, entry] as const)
  const kept = new Map(
    [...before.kept].map(([key, one]) => [key, { ...one, dueAt: one.sealed.at }]),
  )
  const state: GroupState = {
    ...first,
    n,
    lamport,
    authors,
    outbox,
    kept,
    intents: [...intents, ...first.intents.map((one) => ({ ...one, id: before.intentId + 1 }))],
    intentId: before.intentId + 1,
    seq: Math.max(first.seq, before.seq),
    volatile: { ...first.volatile, history: new Map(entries) },
  }
  const saved: GroupEffect[] = outbox.map((letter) => ({ kind: 'saveLetter', letter }))
  for (const order of authors.values()) {
    saved.push({ kind: 'saveAuthor', order })
    for (const held of order.held) saved.push({ kind: 'saveHeld', held })
  }
  return [state, [...effects, ...saved]]
}

/** What an earlier membership had heard is not handed over again. */
function earlierOf({ authors }: GroupState): ReadonlyMap<string, AuthorOrder> {
  return new Map(
    [...authors].map(([key, { author, next, open }]) => [
      key,
      { author, next, open, held: [], isEarlier: true },
    ]),
  )
}

/**
 * Keys that came in a Welcome are renewed before long: not by all at once, and in larger groups over more time, so that
 * those who joined together do not stand in each other's way.
 */
function withFirstRekey({ primitives, peer }: GroupKit, state: GroupState): GroupState {
  const members = nodeOf(state.chain, state.tip).view.roster.size
  const [high = 0, low = 0] = primitives.sha256(concat(idBytes(state.tip), peerIdToBytes(peer)))
  const share = (high * 256 + low) / 65_536
  const dueAt = state.joinedAt + FIRST_REKEY_MS + share * members * FIRST_REKEY_SPREAD_MS
  const intent: Intent = {
    id: 1,
    change: { kind: 'rekey' },
    askedAt: state.joinedAt,
    attempts: 0,
    dueAt: toTimeMs(Math.round(dueAt)),
    isRoutine: true,
  }
  return { ...state, intentId: 1, intents: [intent] }
}

interface Beginning {
  readonly chain: Chain
  readonly genesis: CommitId
  readonly self: MemberRef
  readonly epoch: NewEpoch
  readonly generation: { readonly start: CommitId; readonly tx: Bytes }
  readonly nowMs: TimeMs
}

function beginOn(
  kit: GroupKit,
  { chain, genesis, self, epoch, generation: { start, tx }, nowMs }: Beginning,
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
    genesis,
    since: base,
    joinedBy: base,
    joinedAt: nowMs,
    proofs: new Map(),
    acks: new Map(),
    held: new Map([[base, held]]),
    checkpoints: new Map(),
    generations: new Map([[start, listening]]),
    seq: nowMs,
    n: 0,
    lamport: 0,
    outbox: [],
    kept: new Map(),
    intents: [],
    intentId: 0,
    leaves: new Map(),
    welcomes: [],
    owed: [],
    waiting: new Map(),
    authors: new Map(),
    rekeyedAt: nowMs,
    rekeyedLamport: 0,
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
