// Rows of groups: tables, keys and values, and the way back to a state. Floor 3.
//
// | table            | key                        | value                                                     |
// | ---------------- | -------------------------- | --------------------------------------------------------- |
// | group            | group                      | phase, tip, counters                                      |
// | group-base       | group                      | the base's id and view                                    |
// | group-plan       | group                      | intents, leaves, welcomes                                 |
// | group-record     | group/commit               | record, evidence, sealed commit; whether it failed        |
// | group-epoch      | group/commit               | what is used of a held epoch all the time                 |
// | group-snapshot   | group/commit               | the engine's secrets of a held epoch                      |
// | group-tree       | group/tree hash            | a ratchet tree                                            |
// | group-checkpoint | group/commit               | an own commit, to be adopted                              |
// | group-generation | group/commit               | transport secret of a generation                          |
// | group-ack        | group/peer                 | the peer's newest ack                                     |
// | group-proof      | group/peer                 | proof that the peer voted twice                           |
// | group-letter     | group/number               | an own message that may have to be sealed again           |
// | group-kept       | group/peer/gen/number      | where another's message was sealed last                   |
// | group-payload    | group/peer/gen/number      | its signed Payload                                        |
// | group-waiting    | group/frame                | a message that waits for its epoch                        |
// | group-author     | group/peer/gen             | the author's next number                                  |
// | group-held       | group/peer/gen/number      | a message behind a hole                                   |
// | group-log        | group/hour/frame           | a frame's length                                          |
// | group-frame      | group/hour/frame           | a frame                                                   |
// | group-message    | group/arrival              | a message handed over                                     |
import type { Bytes } from '../../protocols/base/bytes.ts'
import { concat, formatHex, u32 } from '../../protocols/base/bytes.ts'
import { invariant } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import { encodeEntry } from '../../protocols/group/frame.ts'
import { refKey } from '../../protocols/group/ids.ts'
import { encodePolicy } from '../../protocols/group/policy.ts'
import type {
  Change,
  GroupState,
  Intent,
  SaveEffect,
  Sealing,
} from '../../protocols/group/state.ts'
import type {
  FrameId,
  GroupId,
  GroupMessageId,
  Payload,
  View,
} from '../../protocols/group/types.ts'
import { decodeRow, encodeRow } from '../store/row.ts'
import { del, put } from '../store/types.ts'
import type { Op, Store } from '../store/types.ts'
import { sortable } from './direct-rows.ts'

const VERSION = 1

/** Tables of groups. */
export const GROUP_TABLES = {
  group: 'group',
  base: 'group-base',
  plan: 'group-plan',
  record: 'group-record',
  epoch: 'group-epoch',
  snapshot: 'group-snapshot',
  tree: 'group-tree',
  checkpoint: 'group-checkpoint',
  generation: 'group-generation',
  ack: 'group-ack',
  proof: 'group-proof',
  letter: 'group-letter',
  kept: 'group-kept',
  payload: 'group-payload',
  waiting: 'group-waiting',
  author: 'group-author',
  held: 'group-held',
  log: 'group-log',
  frame: 'group-frame',
  message: 'group-message',
} as const

/** Tables of what a membership is made of: they begin anew with the next one. */
const MEMBERSHIP_TABLES = [
  GROUP_TABLES.record,
  GROUP_TABLES.epoch,
  GROUP_TABLES.snapshot,
  GROUP_TABLES.tree,
  GROUP_TABLES.checkpoint,
  GROUP_TABLES.generation,
  GROUP_TABLES.ack,
  GROUP_TABLES.proof,
  GROUP_TABLES.letter,
  GROUP_TABLES.waiting,
  GROUP_TABLES.author,
  GROUP_TABLES.held,
] as const

/** Tables of what others said: they go on with a membership that is added again. */
const MESSAGE_TABLES = [GROUP_TABLES.kept, GROUP_TABLES.payload] as const

type Packed = readonly unknown[]

const pack = (...fields: Packed): Bytes => encodeRow(VERSION, fields)
const unpack = (bytes: Bytes): Packed => decodeRow(VERSION, bytes) as Packed
const orNull = <T>(value: T | undefined): T | null => value ?? null

/** The rows of one saving effect; frames and messages have more to them and are made by the log and the history. */
export function saveRows(
  groupId: GroupId,
  effect: Exclude<SaveEffect, { kind: 'saveFrame' | 'deliver' }>,
): Op[] {
  const T = GROUP_TABLES
  const at = (...parts: readonly string[]): string => [groupId, ...parts].join('/')
  switch (effect.kind) {
    case 'saveRecord':
      return [put(T.record, at(effect.commitId), pack(effect.failed, encodeEntry(effect.entry)))]
    case 'saveEpoch': {
      const { branchId, bodyKey, rankKey, authenticator, treeHash, endedAt } = effect.epoch
      const row = pack(branchId, bodyKey, rankKey, authenticator, treeHash, orNull(endedAt))
      return [put(T.epoch, at(effect.commitId), row)]
    }
    case 'saveSnapshot':
      return [put(T.snapshot, at(effect.commitId), pack(effect.snapshot))]
    case 'dropEpoch':
      return [del(T.epoch, at(effect.commitId)), del(T.snapshot, at(effect.commitId))]
    case 'saveTree':
      return [put(T.tree, at(formatHex(effect.treeHash)), pack(effect.tree))]
    case 'dropTree':
      return [del(T.tree, at(formatHex(effect.treeHash)))]
    case 'saveCheckpoint': {
      const { treeHash, madeAt } = effect.checkpoint
      return [put(T.checkpoint, at(effect.commitId), pack(treeHash, madeAt, effect.bytes))]
    }
    case 'dropCheckpoint':
      return [del(T.checkpoint, at(effect.commitId))]
    case 'saveGeneration': {
      const { generation, endedAt } = effect.listening
      return [put(T.generation, at(generation.start), pack(generation.tx, orNull(endedAt)))]
    }
    case 'dropGeneration':
      return [del(T.generation, at(effect.start))]
    case 'saveAck':
      return [put(T.ack, at(effect.peer), pack(effect.ack))]
    case 'saveLetter': {
      const { n, msgId, payload, sealed } = effect.letter
      return [put(T.letter, at(sortable(n)), pack(msgId, payload, packSealing(sealed)))]
    }
    case 'saveProof':
      return [put(T.proof, at(effect.peer), pack(effect.proof))]
    case 'saveKept': {
      const { author, n, bytes, sealed, dueAt } = effect.kept
      const key = at(refKey(author), sortable(n))
      const ops = [put(T.kept, key, pack(n, bytes, packSealing(sealed), orNull(dueAt)))]
      return effect.payload === undefined
        ? ops
        : [...ops, put(T.payload, key, pack(effect.payload))]
    }
    case 'dropKept': {
      const key = at(refKey(effect.author), sortable(effect.n))
      return [del(T.kept, key), del(T.payload, key)]
    }
    case 'dropLetter':
      return [del(T.letter, at(sortable(effect.n)))]
    case 'saveWaiting': {
      const { frameId, branchId, message, heardAt } = effect.waiting
      return [put(T.waiting, at(frameId), pack(branchId, message, heardAt))]
    }
    case 'dropWaiting':
      return [del(T.waiting, at(effect.frameId))]
    case 'saveAuthor':
      return [
        put(
          T.author,
          at(refKey(effect.order.author)),
          pack(
            effect.order.next,
            effect.order.open,
            orNull(effect.order.missed),
            effect.order.isEarlier === true,
          ),
        ),
      ]
    case 'saveHeld': {
      const { payload, epoch, receivedAt } = effect.held
      const key = at(refKey(payload.author), sortable(payload.n))
      return [put(T.held, key, pack(packPayload(payload), epoch, receivedAt))]
    }
    case 'dropHeld':
      return [del(T.held, at(refKey(effect.author), sortable(effect.n)))]
  }
}

/** The rows of what changed of a state beside what its effects save. */
export function stateRows(before: GroupState | undefined, after: GroupState): Op[] {
  const { groupId, chain, self } = after
  const ops: Op[] = []
  const counters = countersOf(after)
  const known = before && countersOf(before)
  if (known === undefined || counters.some((one, i) => one !== known[i])) {
    ops.push(put(GROUP_TABLES.group, groupId, pack(self.peer, ...counters)))
  }
  if (before?.chain.base !== chain.base) {
    const { view } = nodeOf(chain, chain.base)
    ops.push(put(GROUP_TABLES.base, groupId, pack(chain.base, ...packView(view))))
  }
  const { intents, leaves, welcomes, owed } = after
  const isSame =
    before?.intents === intents &&
    before.leaves === leaves &&
    before.welcomes === welcomes &&
    before.owed === owed
  if (!isSame) {
    const row = pack(
      intents.map(packIntent),
      [...leaves].map(([peer, { bytes, heardAt, gen, kind }]) => [peer, bytes, heardAt, gen, kind]),
      welcomes.map(({ commitId, peer, welcome, dueAt }) => [commitId, peer, welcome, dueAt]),
      owed.map(({ commitId, treeHash }) => [commitId, treeHash]),
    )
    ops.push(put(GROUP_TABLES.plan, groupId, row))
  }
  return ops
}

function countersOf(state: GroupState): Packed {
  const { self, phase, tip, seq, n, lamport, intentId, rekeyedAt } = state
  const { rekeyedLamport, genesis, since, joinedAt, joinedBy } = state
  const counted = [self.gen, phase, tip, seq, n, lamport, intentId, rekeyedAt]
  return [...counted, rekeyedLamport, genesis, since, joinedAt, joinedBy]
}

/**
 * Deletes the rows of a membership that is over, before another begins.
 *
 * @param goesOn - It is the same membership, added again: what was said in it is kept.
 */
export async function dropMembership(
  store: Store,
  groupId: GroupId,
  goesOn: boolean,
): Promise<Op[]> {
  const ops: Op[] = []
  const tables = goesOn ? MEMBERSHIP_TABLES : [...MEMBERSHIP_TABLES, ...MESSAGE_TABLES]
  for (const table of tables) {
    for await (const { key } of store.rows(table, { prefix: `${groupId}/` })) {
      ops.push(del(table, key))
    }
  }
  return ops
}

function packView({ roster, gone, policy, epoch, generation }: View): Packed {
  return [[...roster], [...gone], encodePolicy(policy), epoch, generation]
}

function packIntent({ id, change, askedAt, attempts, ...rest }: Intent): Packed {
  const { committedIn, losses = 0, dueAt, isRoutine = false } = rest
  const packed = [id, packChange(change), askedAt, attempts, orNull(committedIn)]
  return [...packed, losses, orNull(dueAt), isRoutine]
}

function packSealing(sealed: Sealing | undefined): Packed | null {
  return sealed === undefined ? null : [sealed.in, sealed.frameId, sealed.at]
}

function packChange(change: Change): Packed {
  switch (change.kind) {
    case 'add':
      return ['add', change.peer, change.keyPackage, change.ref]
    case 'remove':
      return ['remove', change.member.peer, change.member.gen]
    case 'role':
      return ['role', change.member.peer, change.member.gen, change.role]
    case 'rekey':
      return ['rekey']
  }
}

/** A payload as plain data, without its signature: it was verified when it came. */
export function packPayload(payload: Payload): Packed {
  const { groupId, msgId, author, n, lamport, sentAtMs, contentType, body } = payload
  return [groupId, msgId, author.peer, author.gen, n, lamport, sentAtMs, contentType, body]
}

/** The way back from `packPayload`. */
export function unpackPayload(packed: Packed): Payload {
  const [groupId, msgId, peer, gen, n, lamport, sentAtMs, contentType, body] = packed as [
    GroupId,
    GroupMessageId,
    PeerId,
    number,
    number,
    number,
    number,
    string,
    Bytes,
  ]
  return { groupId, msgId, author: { peer, gen }, n, lamport, sentAtMs, contentType, body }
}

/** The groups that there are rows of. */
export async function groupIds(store: Store): Promise<GroupId[]> {
  const ids: GroupId[] = []
  for await (const { key } of store.rows(GROUP_TABLES.group)) ids.push(key as GroupId)
  return ids
}

/** The key of a frame in the log. */
export function frameKeyOf(groupId: GroupId, hour: number, id: FrameId): string {
  return `${groupId}/${hour.toString(16).padStart(8, '0')}/${id}`
}

/** What the key of a frame says. */
export function parseFrameKey(key: string): { readonly hour: number; readonly id: FrameId } {
  const [, hour = '', id = ''] = key.split('/')
  invariant(id.length === 64, 'a key of the log names its frame')
  return { hour: Number.parseInt(hour, 16), id: id as FrameId }
}

/** A frame's length, as a row. */
export function packLength(length: number): Bytes {
  return concat(u32(length))
}

/** The way back from `packLength`. */
export function unpackLength(bytes: Bytes): number {
  return Number.parseInt(formatHex(bytes), 16)
}

export { pack as packRow, unpack as unpackRow }
