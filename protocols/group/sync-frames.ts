// Frames of group-sync: what `wire.proto` says, within its bounds (spec.md §3.7). Floor 0, pure.
// The length in front is the stream's business: it is checked there before anything is allocated.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { concat, u64 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { Primitives } from '../base/primitives.ts'
import { decodeEntry, encodeEntry } from './frame.ts'
import { idBytes, toCommitId, toFrameId, toGroupId } from './ids.ts'
import { ACK_BYTES } from './signed-notes.ts'
import {
  FRAME_BYTES_MAX,
  SEALED_BODY_BYTES_MAX,
  SYNC_CHUNK_BYTES_MAX,
  GROUP_INFO_BYTES_MAX,
  INFO_GENERATIONS_MAX,
  PROOF_BYTES_MAX,
  SYNC_FRAME_BYTES_MAX,
  SYNC_PROOFS_MAX,
  SYNC_GET_MAX,
  SYNC_IDS_MAX,
  SYNC_KNOWN_MAX,
} from './types.ts'
import type { CommitId, EntryInfo, FrameId, GroupId, RecordEntry } from './types.ts'
import { SyncFrameSchema } from './wire_pb.ts'
import type { FailureCode, LogKey as WireKey, SyncFrame as WireFrame } from './wire_pb.ts'

/** Octets of a fingerprint. */
export const PRINT_BYTES = 16
const ID_BYTES = 32
/** Why a request is refused, by number. */
const FAILURES = ['', 'unknownGroup', 'denied', 'busy', 'gone'] as const

/** Where a frame stands in the log. */
export interface LogKey {
  readonly hour: number
  readonly id: FrameId
}

/** The least and the greatest key: the range of everything. */
export const EVERYTHING: { readonly from: LogKey; readonly to: LogKey } = {
  from: { hour: 0, id: '0'.repeat(64) as FrameId },
  to: { hour: 0xffffffff, id: 'f'.repeat(64) as FrameId },
}

/** Orders log keys by hour, then id. */
export function compareKeys(a: LogKey, b: LogKey): number {
  return a.hour - b.hour || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
}

/** A part of the log, `to` left out, and what one side holds of it. */
export interface LogRange {
  readonly from: LogKey
  readonly to: LogKey
  readonly count: number
  readonly print: Bytes
}

/** What one side holds of a group. */
export interface SyncHello {
  readonly groupId: GroupId
  readonly tip: CommitId
  readonly records: number
  readonly recordsPrint: Bytes
  readonly logCount: number
  readonly logPrint: Bytes
}

/** A part of something larger than a frame. */
export interface SyncChunk {
  /** The first octets of the whole. */
  readonly offset: number
  readonly total: number
  readonly chunk: Bytes
}

/** An EntryInfo without the tree, which is fetched by its hash. */
export interface SyncInfo extends Omit<EntryInfo, 'tree'> {
  readonly treeHash: Bytes
}

/** Why a request got no answer. */
export type SyncFailure = Exclude<(typeof FAILURES)[number], ''>

/** One frame of `/conclave/group-sync/1.0.0`. */
export type SyncFrame =
  | ({ readonly kind: 'hello' } & SyncHello)
  | ({ readonly kind: 'range' } & LogRange)
  | {
      readonly kind: 'ids'
      readonly from: LogKey
      readonly to: LogKey
      readonly keys: readonly LogKey[]
    }
  | { readonly kind: 'get'; readonly ids: readonly FrameId[] }
  | { readonly kind: 'frame'; readonly frame: Bytes }
  | { readonly kind: 'getRecords'; readonly known: readonly CommitId[] }
  | { readonly kind: 'records'; readonly entries: readonly RecordEntry[] }
  | { readonly kind: 'getBody'; readonly commitId: CommitId }
  | ({ readonly kind: 'body'; readonly commitId: CommitId } & SyncChunk)
  | { readonly kind: 'getTree'; readonly treeHash: Bytes }
  | ({ readonly kind: 'tree'; readonly treeHash: Bytes } & SyncChunk)
  | { readonly kind: 'acks'; readonly acks: readonly Bytes[]; readonly proofs: readonly Bytes[] }
  | { readonly kind: 'getInfo'; readonly commitId: CommitId }
  | ({ readonly kind: 'info'; readonly commitId: CommitId } & SyncInfo)
  | { readonly kind: 'done' }
  | { readonly kind: 'failure'; readonly code: SyncFailure; readonly retryAfterMs: number }

type Init = MessageInitShape<typeof SyncFrameSchema>

/** Fingerprint of a set of ids: SHA-256(sum of the ids mod 2^256 ‖ u64 count), cut to 16 bytes. */
export function printOf(
  primitives: Primitives,
  ids: Iterable<FrameId | CommitId>,
): { readonly count: number; readonly print: Bytes } {
  const sum = new Uint8Array(ID_BYTES)
  let count = 0
  for (const id of ids) {
    const octets = idBytes(id)
    let carry = 0
    for (let i = ID_BYTES - 1; i >= 0; i--) {
      carry += (sum[i] ?? 0) + (octets[i] ?? 0)
      sum[i] = carry & 0xff
      carry >>= 8
    }
    count += 1
  }
  const print = primitives.sha256(concat(sum, u64(count))).slice(0, PRINT_BYTES)
  return { count, print }
}

/** Encodes a frame without its length. */
export function encodeSyncFrame(frame: SyncFrame): Bytes {
  return toBinary(SyncFrameSchema, create(SyncFrameSchema, { frame: initOf(frame) }))
}

function initOf(frame: SyncFrame): Exclude<Init['frame'], undefined> {
  switch (frame.kind) {
    case 'hello':
      return {
        case: 'hello',
        value: {
          groupId: idBytes(frame.groupId),
          tip: idBytes(frame.tip),
          recordCount: frame.records,
          recordsPrint: frame.recordsPrint,
          logCount: frame.logCount,
          logPrint: frame.logPrint,
        },
      }
    case 'range': {
      const { from, to, count, print } = frame
      return { case: 'range', value: { from: keyInit(from), to: keyInit(to), count, print } }
    }
    case 'ids': {
      const { from, to, keys } = frame
      const value = { from: keyInit(from), to: keyInit(to), keys: keys.map(keyInit) }
      return { case: 'ids', value }
    }
    case 'get':
      return { case: 'get', value: { ids: frame.ids.map(idBytes) } }
    case 'frame':
      return { case: 'frameBytes', value: frame.frame }
    case 'getRecords':
      return { case: 'getRecords', value: { known: frame.known.map(idBytes) } }
    case 'records': {
      const entries = frame.entries.map(({ record, evidence }) => encodeEntry({ record, evidence }))
      return { case: 'records', value: { entries } }
    }
    case 'getBody':
      return { case: 'getBody', value: { id: idBytes(frame.commitId) } }
    case 'body': {
      const { commitId, offset, total, chunk } = frame
      return { case: 'body', value: { id: idBytes(commitId), offset, total, bytes: chunk } }
    }
    case 'getTree':
      return { case: 'getTree', value: { id: frame.treeHash } }
    case 'tree': {
      const { treeHash, offset, total, chunk } = frame
      return { case: 'tree', value: { id: treeHash, offset, total, bytes: chunk } }
    }
    case 'acks':
      return { case: 'acks', value: { acks: [...frame.acks], proofs: [...frame.proofs] } }
    case 'getInfo':
      return { case: 'getInfo', value: { id: idBytes(frame.commitId) } }
    case 'info': {
      const { commitId, groupInfo, treeHash, bodyKey } = frame
      const generations = frame.generations.map(({ start, tx }) => concat(idBytes(start), tx))
      const value = { id: idBytes(commitId), groupInfo, treeHash, bodyKey, generations }
      return { case: 'info', value }
    }
    case 'done':
      return { case: 'done', value: {} }
    case 'failure': {
      const { code, retryAfterMs } = frame
      const number = FAILURES.indexOf(code) as FailureCode // a test holds the names equal
      return { case: 'failure', value: { code: number, retryAfterMs } }
    }
  }
}

function keyInit({ hour, id }: LogKey): { hour: number; id: Bytes } {
  return { hour, id: idBytes(id) }
}

/**
 * Decodes a frame.
 *
 * @returns `ok: false` with `CODEC_LENGTH` or `CODEC_MALFORMED`. Records, acks and frames inside are not verified.
 */
export function decodeSyncFrame(bytes: Bytes): Decoded<SyncFrame> {
  if (bytes.length > SYNC_FRAME_BYTES_MAX) return refused('CODEC_LENGTH')
  let wire: WireFrame
  try {
    wire = fromBinary(SyncFrameSchema, bytes, { readUnknownFields: false })
  } catch {
    return refused('CODEC_MALFORMED')
  }
  const frame = read(wire.frame)
  return frame === undefined ? refused('CODEC_MALFORMED') : decoded(frame)
}

function read(wire: WireFrame['frame']): SyncFrame | undefined {
  switch (wire.case) {
    case 'hello':
      return readHello(wire.value)
    case 'range':
    case 'ids':
      return readRange(wire)
    case 'get': {
      const { ids } = wire.value
      if (ids.length > SYNC_GET_MAX || !ids.every(isId)) return undefined
      return { kind: 'get', ids: ids.map((id) => toFrameId(id)) }
    }
    case 'frameBytes':
      return wire.value.length > FRAME_BYTES_MAX ? undefined : { kind: 'frame', frame: wire.value }
    case 'getRecords': {
      const { known } = wire.value
      if (known.length > SYNC_KNOWN_MAX || !known.every(isId)) return undefined
      return { kind: 'getRecords', known: known.map((id) => toCommitId(id)) }
    }
    case 'records':
      return readRecords(wire.value.entries)
    case 'getBody':
      return isId(wire.value.id)
        ? { kind: 'getBody', commitId: toCommitId(wire.value.id) }
        : undefined
    case 'getTree':
      return isId(wire.value.id) ? { kind: 'getTree', treeHash: wire.value.id } : undefined
    case 'body':
    case 'tree':
      return readChunk(wire)
    case 'acks': {
      const { acks, proofs } = wire.value
      if (acks.length > SYNC_IDS_MAX || acks.some((ack) => ack.length !== ACK_BYTES)) {
        return undefined
      }
      const fits = proofs.length <= SYNC_PROOFS_MAX
      if (!fits || proofs.some(({ length }) => length > PROOF_BYTES_MAX)) return undefined
      return { kind: 'acks', acks, proofs }
    }
    case 'getInfo':
      return isId(wire.value.id)
        ? { kind: 'getInfo', commitId: toCommitId(wire.value.id) }
        : undefined
    case 'info':
      return readInfo(wire.value)
    case 'done':
      return { kind: 'done' }
    case 'failure': {
      const code = FAILURES[wire.value.code]
      if (code === undefined || code === '') return undefined
      return { kind: 'failure', code, retryAfterMs: wire.value.retryAfterMs }
    }
    case undefined:
      return undefined
  }
}

type Value<Case extends WireFrame['frame']['case']> = Extract<WireFrame['frame'], { case: Case }>

function readHello(value: Value<'hello'>['value']): SyncFrame | undefined {
  const { groupId, tip, recordCount, recordsPrint, logCount, logPrint } = value
  if (!isId(groupId) || !isId(tip) || !isPrint(recordsPrint) || !isPrint(logPrint)) return undefined
  return {
    kind: 'hello',
    groupId: toGroupId(groupId),
    tip: toCommitId(tip),
    records: recordCount,
    recordsPrint,
    logCount,
    logPrint,
  }
}

function readRange(wire: Value<'range'> | Value<'ids'>): SyncFrame | undefined {
  const from = readKey(wire.value.from)
  const to = readKey(wire.value.to)
  if (from === undefined || to === undefined) return undefined
  if (wire.case === 'range') {
    const { count, print } = wire.value
    return isPrint(print) ? { kind: 'range', from, to, count, print } : undefined
  }
  if (wire.value.keys.length > SYNC_IDS_MAX) return undefined
  const keys: LogKey[] = []
  for (const one of wire.value.keys) {
    const key = readKey(one)
    if (key === undefined) return undefined
    keys.push(key)
  }
  return { kind: 'ids', from, to, keys }
}

function readKey(key: WireKey | undefined): LogKey | undefined {
  if (key === undefined || !isId(key.id)) return undefined
  return { hour: key.hour, id: toFrameId(key.id) }
}

function readRecords(list: readonly Bytes[]): SyncFrame | undefined {
  if (list.length > SYNC_IDS_MAX) return undefined
  const entries: RecordEntry[] = []
  for (const bytes of list) {
    const entry = decodeEntry(bytes)
    if (!entry.ok || entry.value.body !== undefined) return undefined
    entries.push(entry.value)
  }
  return { kind: 'records', entries }
}

function readChunk(wire: Value<'body'> | Value<'tree'>): SyncFrame | undefined {
  const { id, offset, total, bytes } = wire.value
  const fits = bytes.length > 0 && bytes.length <= SYNC_CHUNK_BYTES_MAX
  if (!isId(id) || !fits || total > SEALED_BODY_BYTES_MAX || offset + bytes.length > total) {
    return undefined
  }
  const chunk = { offset, total, chunk: bytes }
  return wire.case === 'body'
    ? { kind: 'body', commitId: toCommitId(id), ...chunk }
    : { kind: 'tree', treeHash: id, ...chunk }
}

function readInfo(value: Value<'info'>['value']): SyncFrame | undefined {
  const { id, groupInfo, treeHash, bodyKey } = value
  const fits = groupInfo.length > 0 && groupInfo.length <= GROUP_INFO_BYTES_MAX
  if (!fits || ![id, treeHash, bodyKey].every(isId)) return undefined
  const count = value.generations.length
  if (count === 0 || count > INFO_GENERATIONS_MAX) return undefined
  if (value.generations.some(({ length }) => length !== 2 * ID_BYTES)) return undefined
  const generations = value.generations.map((one) => {
    return { start: toCommitId(one.slice(0, ID_BYTES)), tx: one.slice(ID_BYTES) }
  })
  return { kind: 'info', commitId: toCommitId(id), groupInfo, treeHash, bodyKey, generations }
}

function isId(bytes: Bytes): boolean {
  return bytes.length === ID_BYTES
}

function isPrint(bytes: Bytes): boolean {
  return bytes.length === PRINT_BYTES
}
