// Reads a group's state back from its rows (group-rows.ts). Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import {
  admit,
  chainOf,
  freeze,
  markFailed,
  markFollowed,
  thaw,
} from '../../protocols/group/chain.ts'
import type { Chain, Failed } from '../../protocols/group/chain.ts'
import { decodeRecord } from '../../protocols/group/commit-record.ts'
import { FRESH } from '../../protocols/group/founding.ts'
import { decodeEntry } from '../../protocols/group/frame.ts'
import { makeGeneration } from '../../protocols/group/keys.ts'
import { refKey } from '../../protocols/group/ids.ts'
import { decodePolicy } from '../../protocols/group/policy.ts'
import { verifyProof } from '../../protocols/group/proof.ts'
import { keptKey } from '../../protocols/group/salvage.ts'
import { isNewer } from '../../protocols/group/selection.ts'
import type { Vote } from '../../protocols/group/selection.ts'
import { verifyAck } from '../../protocols/group/signed-notes.ts'
import type {
  AuthorOrder,
  Change,
  Checkpoint,
  DueWelcome,
  GroupState,
  HeldEpoch,
  HeldMessage,
  Intent,
  Kept,
  Letter,
  Listening,
  PendingLeave,
  Phase,
  Sealing,
  Waiting,
} from '../../protocols/group/state.ts'
import type {
  BranchId,
  CommitId,
  FrameId,
  GroupId,
  GroupMessageId,
  MemberRef,
  View,
} from '../../protocols/group/types.ts'
import type { Store } from '../store/types.ts'
import { GROUP_TABLES, unpackPayload, unpackRow } from './group-rows.ts'

type Packed = readonly unknown[]
type PackedRef = readonly [PeerId, number]
type PackedSealing = readonly [CommitId, FrameId, TimeMs]

type GroupRow = readonly [
  peer: PeerId,
  gen: number,
  phase: Phase,
  tip: CommitId,
  seq: number,
  n: number,
  lamport: number,
  intentId: number,
  rekeyedAt: TimeMs,
  rekeyedLamport: number,
  genesis: CommitId,
  since: CommitId,
  joinedAt: TimeMs,
  joinedBy: CommitId,
]

/** Reads a group's state back; undefined if there is no such group. */
export async function loadGroup(
  store: Store,
  primitives: Primitives,
  groupId: GroupId,
): Promise<GroupState | undefined> {
  const row = await store.get(GROUP_TABLES.group, groupId)
  if (row === undefined) return undefined
  const [peer, gen, phase, tip, ...rest] = unpackRow(row) as GroupRow
  const [seq, n, lamport, intentId, rekeyedAt, rekeyedLamport, genesis, since, joinedAt, joinedBy] =
    rest
  const loaded = await loadChain(store, primitives, groupId)
  const chain = markFollowed(markFollowed(loaded, joinedBy), since)
  const proofs = await readMap(store, GROUP_TABLES.proof, groupId, (key, [proof]) => {
    return [key as PeerId, proof as Bytes]
  })
  const acks = await readMap(store, GROUP_TABLES.ack, groupId, (key, [ack]) => {
    return [key as PeerId, ack as Bytes]
  })
  return {
    groupId,
    self: { peer, gen },
    phase,
    chain,
    tip,
    votes: votesOf(primitives, chain, acks, proofs),
    genesis,
    since,
    joinedAt,
    joinedBy,
    proofs,
    acks,
    held: await readMap(store, GROUP_TABLES.epoch, groupId, readEpoch),
    checkpoints: await readMap(store, GROUP_TABLES.checkpoint, groupId, readCheckpoint),
    generations: await readMap(store, GROUP_TABLES.generation, groupId, (start, packed) =>
      readGeneration(primitives, start as CommitId, packed),
    ),
    seq,
    n,
    lamport,
    outbox: [...(await readMap(store, GROUP_TABLES.letter, groupId, readLetter)).values()],
    kept: await loadKept(store, groupId),
    intentId,
    ...(await loadPlan(store, groupId)),
    waiting: await readMap(store, GROUP_TABLES.waiting, groupId, readWaiting),
    authors: await loadAuthors(store, groupId),
    rekeyedAt,
    rekeyedLamport,
    volatile: FRESH,
  }
}

async function readMap<K, V>(
  store: Store,
  table: string,
  groupId: GroupId,
  read: (key: string, packed: Packed) => readonly [K, V],
): Promise<Map<K, V>> {
  const map = new Map<K, V>()
  for await (const { key, value } of store.rows(table, { prefix: `${groupId}/` })) {
    map.set(...read(key.slice(groupId.length + 1), unpackRow(value)))
  }
  return map
}

function readEpoch(key: string, packed: Packed): [CommitId, HeldEpoch] {
  const [branchId, bodyKey, rankKey, authenticator, treeHash, endedAt] = packed as [
    BranchId,
    Bytes,
    Bytes,
    Bytes,
    Bytes,
    TimeMs | null,
  ]
  const epoch = { branchId, bodyKey, rankKey, authenticator, treeHash }
  return [key as CommitId, { ...epoch, ...(endedAt !== null && { endedAt }) }]
}

function readCheckpoint(key: string, packed: Packed): [CommitId, Checkpoint] {
  const [treeHash, madeAt] = packed as [Bytes, TimeMs]
  return [key as CommitId, { treeHash, madeAt }]
}

function readGeneration(
  primitives: Primitives,
  start: CommitId,
  packed: Packed,
): [CommitId, Listening] {
  const [tx, endedAt] = packed as [Bytes, TimeMs | null]
  const generation = makeGeneration(primitives, start, tx)
  return [start, { generation, ...(endedAt !== null && { endedAt }) }]
}

function readLetter(key: string, packed: Packed): [number, Letter] {
  const [msgId, payload, sealed] = packed as [GroupMessageId, Bytes, PackedSealing | null]
  const n = Number.parseInt(key, 16)
  return [n, { n, msgId, payload, ...(sealed !== null && { sealed: unpackSealing(sealed) }) }]
}

function unpackSealing([id, frameId, at]: PackedSealing): Sealing {
  return { in: id, frameId, at }
}

/** In the order in which they were sealed. */
async function loadKept(store: Store, groupId: GroupId): Promise<Map<string, Kept>> {
  const kept = await readMap(store, GROUP_TABLES.kept, groupId, (key, packed) => {
    const [n, bytes, sealed, dueAt] = packed as [number, number, PackedSealing, TimeMs | null]
    const author = refOf(key)
    const one = { author, n, bytes, sealed: unpackSealing(sealed) }
    return [keptKey(author, n), dueAt === null ? one : { ...one, dueAt }] as const
  })
  return new Map([...kept].sort(([, a], [, b]) => a.sealed.at - b.sealed.at))
}

function readWaiting(key: string, packed: Packed): [FrameId, Waiting] {
  const [branchId, message, heardAt] = packed as [BranchId, Bytes, TimeMs]
  const frameId = key as FrameId
  return [frameId, { frameId, branchId, message, heardAt }]
}

function refOf(key: string): MemberRef {
  const [peer = '', gen = ''] = key.split('/')
  return { peer: peer as PeerId, gen: Number(gen) } // written from a MemberRef
}

async function loadAuthors(store: Store, groupId: GroupId): Promise<Map<string, AuthorOrder>> {
  const authors = await readMap(store, GROUP_TABLES.author, groupId, (key, packed) => {
    type Row = [number, AuthorOrder['open'], TimeMs | null, boolean | undefined]
    const [next, open, missed, isEarlier = false] = packed as Row
    const order: AuthorOrder = { author: refOf(key), next, open, held: [] }
    const marks = { ...(missed !== null && { missed }), ...(isEarlier && { isEarlier }) }
    return [key, { ...order, ...marks }] as const
  })
  for await (const row of store.rows(GROUP_TABLES.held, { prefix: `${groupId}/` })) {
    const [payload, epoch, receivedAt] = unpackRow(row.value) as [Packed, number, TimeMs]
    const held: HeldMessage = { payload: unpackPayload(payload), epoch, receivedAt }
    const key = refKey(held.payload.author)
    const order = authors.get(key)
    if (order !== undefined) authors.set(key, { ...order, held: [...order.held, held] })
  }
  return authors
}

async function loadPlan(
  store: Store,
  groupId: GroupId,
): Promise<Pick<GroupState, 'intents' | 'leaves' | 'welcomes' | 'owed'>> {
  const row = await store.get(GROUP_TABLES.plan, groupId)
  if (row === undefined) return { intents: [], leaves: new Map(), welcomes: [], owed: [] }
  const [intents, leaves, welcomes, owed] = unpackRow(row) as [
    readonly PackedIntent[],
    readonly [PeerId, Bytes, TimeMs, number, PendingLeave['kind']][],
    readonly [CommitId, PeerId, Bytes, TimeMs][],
    readonly [CommitId, Bytes][],
  ]
  return {
    intents: intents.map(unpackIntent),
    leaves: new Map(
      leaves.map(([peer, bytes, heardAt, gen, kind]): [PeerId, PendingLeave] => {
        return [peer, { bytes, heardAt, gen, kind }]
      }),
    ),
    welcomes: welcomes.map(([commitId, peer, welcome, dueAt]): DueWelcome => {
      return { commitId, peer, welcome, dueAt }
    }),
    owed: owed.map(([commitId, treeHash]) => ({ commitId, treeHash })),
  }
}

type PackedIntent = readonly [
  id: number,
  change: Packed,
  askedAt: TimeMs,
  attempts: number,
  committedIn: CommitId | null,
  losses: number,
  dueAt: TimeMs | null,
  isRoutine: boolean,
]

function unpackIntent([id, change, askedAt, attempts, ...rest]: PackedIntent): Intent {
  const [committedIn, losses, dueAt, isRoutine] = rest
  return {
    id,
    change: unpackChange(change),
    askedAt,
    attempts,
    ...(committedIn !== null && { committedIn }),
    ...(losses > 0 && { losses }),
    ...(dueAt !== null && { dueAt }),
    ...(isRoutine && { isRoutine }),
  }
}

async function loadChain(store: Store, primitives: Primitives, groupId: GroupId): Promise<Chain> {
  const row = await store.get(GROUP_TABLES.base, groupId)
  if (row === undefined) throw damaged(groupId)
  const [base, roster, gone, policyBytes, epoch, generation] = unpackRow(row) as [
    CommitId,
    readonly PackedRef[],
    readonly PackedRef[],
    Bytes,
    number,
    CommitId,
  ]
  const policy = decodePolicy(policyBytes)
  const records = await readMap(store, GROUP_TABLES.record, groupId, (key, [failed, bytes]) => {
    const entry = decodeEntry(bytes as Bytes)
    if (!entry.ok) throw damaged(groupId)
    const record = decodeRecord(entry.value.record)
    if (!record.ok) throw damaged(groupId)
    const one = { record: record.value, entry: entry.value, failed: failed as Failed }
    return [key as CommitId, one] as const
  })
  const first = records.get(base)
  if (first === undefined || !policy.ok) throw damaged(groupId)
  const view: View = {
    roster: new Map(roster),
    gone: new Map(gone),
    policy: policy.value,
    epoch,
    generation,
  }
  let chain = thaw(chainOf(first.record, first.entry, view))
  const rest = [...records.values()].filter(({ record }) => record.commitId !== base)
  rest.sort((a, b) => a.record.epoch - b.record.epoch)
  for (const { record, entry, failed } of rest) {
    const grown = admit(primitives, chain, record, entry, groupId)
    if (!grown.ok) throw damaged(groupId)
    chain = failed === false ? grown.value : markFailed(grown.value, record.commitId, failed)
  }
  freeze(chain)
  return chain
}

function damaged(groupId: GroupId): ConclaveError {
  return new ConclaveError('STORE_CORRUPT', `the records of group ${groupId} do not fit together`)
}

function votesOf(
  primitives: Primitives,
  chain: Chain,
  acks: ReadonlyMap<PeerId, Bytes>,
  proofs: ReadonlyMap<PeerId, Bytes>,
): Map<PeerId, Vote> {
  const votes = new Map<PeerId, Vote>()
  const count = (peer: PeerId, vote: Vote): void => {
    if (isNewer(votes, peer, vote)) votes.set(peer, vote)
  }
  for (const { record } of chain.nodes.values()) {
    const { author, seq, commitId } = record
    if (commitId !== chain.base) count(author.peer, { gen: author.gen, seq, commitId })
  }
  for (const bytes of acks.values()) {
    const ack = verifyAck(primitives, bytes)
    if (!ack.ok) continue
    const { author, seq, commitId } = ack.value
    count(author.peer, { gen: author.gen, seq, commitId })
  }
  for (const [peer, bytes] of proofs) {
    const proof = verifyProof(primitives, bytes)
    const known = votes.get(peer)
    if (!proof.ok) continue
    const { seq, author } = proof.value
    const { gen } = author
    if (known !== undefined && known.gen > gen) continue
    const commitId = known?.gen === gen ? known.commitId : chain.base
    votes.set(peer, { gen, seq, commitId, isDouble: true })
  }
  return votes
}

function unpackChange([kind, ...rest]: Packed): Change {
  if (kind === 'add') {
    const [peer, keyPackage, ref] = rest as [PeerId, Bytes, Bytes]
    return { kind, peer, keyPackage, ref }
  }
  const [peer, gen, role] = rest as [PeerId, number, 'admin' | 'member']
  if (kind === 'remove') return { kind, member: { peer, gen } }
  if (kind === 'role') return { kind, member: { peer, gen }, role }
  return { kind: 'rekey' }
}
