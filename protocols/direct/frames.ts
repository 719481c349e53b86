// Frames of both protocols: what `wire.proto` says, within its bounds (spec.md §3.5). Floor 0, pure.
// The length in front is the stream's business: it is checked there before anything is allocated.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { parseHex } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { peerIdFromBytes, peerIdToBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import { ENVELOPE_ID_BYTES, envelopeIdFromBytes } from './envelope.ts'
import { BUNDLE_BYTES, EC_BYTES, PAIR_BYTES } from './prekey-bundle.ts'
import { ProtobufWriter } from './protobuf-writer.ts'
import {
  DIRECT_FRAME_BYTES_MAX,
  ENVELOPE_BUCKETS,
  PREKEYS_REPLY_BYTES_MAX,
  PUBLISH_BYTES_MAX,
  STATUSES,
} from './types.ts'
import type { EnvelopeId, Status } from './types.ts'
import { DirectFrameSchema, PrekeysFrameSchema } from './wire_pb.ts'
import type { PrekeysFrame as WirePrekeys, Status as WireStatus } from './wire_pb.ts'

/** One frame of `/conclave/direct/1.0.0`. */
export type DirectFrame =
  | { readonly kind: 'send'; readonly requestId: number; readonly envelope: Bytes }
  | {
      readonly kind: 'result'
      readonly requestId: number
      readonly envelopeId: EnvelopeId
      readonly status: Status
    }
  | { readonly kind: 'keepAlive' }

/** One frame of `/conclave/prekeys/1.0.0`. */
export type PrekeysFrame =
  | {
      readonly kind: 'fetch'
      readonly requestId: number
      readonly recipient: PeerId
      readonly wantOneTime: boolean
      readonly wantKeyPackage: boolean
    }
  | {
      readonly kind: 'bundle'
      readonly requestId: number
      readonly bundle: Bytes
      readonly entry?: Bytes
      readonly keyPackage?: Bytes
    }
  | {
      readonly kind: 'publish'
      readonly requestId: number
      readonly bundle?: Bytes
      readonly entries: readonly Bytes[]
      readonly keyPackages: readonly Bytes[]
      /** The publisher's contact record, opaque here. */
      readonly record?: Bytes
    }
  | { readonly kind: 'supply'; readonly requestId: number }
  | {
      readonly kind: 'remaining'
      readonly requestId: number
      readonly pairs: number
      readonly ecs: number
      readonly keyPackages: number
    }
  | { readonly kind: 'fetchRecord'; readonly requestId: number; readonly recipient: PeerId }
  | { readonly kind: 'record'; readonly requestId: number; readonly record: Bytes }
  | { readonly kind: 'failure'; readonly requestId: number; readonly status: Status }

/** Entries, and MLS KeyPackages, in one Publish. */
export const PUBLISH_ITEMS_MAX = 128
/** Octets of a contact record in a frame: those of `identity` fit with what is around them. */
export const RECORD_BYTES_MAX = 4_000

type PrekeysInit = MessageInitShape<typeof PrekeysFrameSchema>

const NOTHING = new Uint8Array(0)

/** More octets than what is around an envelope or an envelope id takes. */
const DIRECT_AROUND_BYTES = 32
const DIRECT_FIELDS = { requestId: 1, send: 2, result: 3, keepAlive: 4 } as const

/** Encodes a direct frame without its length. By hand: the generated code's reflection costs as much as an AEAD call. */
export function encodeDirectFrame(frame: DirectFrame): Bytes {
  const payload = frame.kind === 'send' ? frame.envelope.length : ENVELOPE_ID_BYTES
  const out = new Uint8Array(DIRECT_AROUND_BYTES + payload)
  const writer = new ProtobufWriter(out, 0)
  if (frame.kind !== 'keepAlive') writer.number(DIRECT_FIELDS.requestId, frame.requestId)
  const start = writer.begin(DIRECT_FIELDS[frame.kind])
  if (frame.kind === 'send') writer.octets(1, frame.envelope)
  else if (frame.kind === 'result') {
    writer.octets(1, parseHex(frame.envelopeId) ?? NOTHING)
    writer.number(2, statusNumber(frame.status))
  }
  writer.end(start)
  return out.subarray(0, writer.at)
}

/**
 * Decodes a direct frame.
 *
 * @returns `ok: false` with `CODEC_LENGTH` or `CODEC_MALFORMED`. An envelope is a view of `bytes`; nothing
 *   but its size is checked.
 */
export function decodeDirectFrame(bytes: Bytes): Decoded<DirectFrame> {
  if (bytes.length > DIRECT_FRAME_BYTES_MAX) return refused('CODEC_LENGTH')
  const wire = parse(DirectFrameSchema, bytes)
  if (wire === undefined) return refused('CODEC_MALFORMED')
  const { requestId, frame } = wire
  switch (frame.case) {
    case 'send': {
      const { envelope } = frame.value
      if (!ENVELOPE_BUCKETS.includes(envelope.length)) return refused('CODEC_LENGTH')
      return decoded({ kind: 'send', requestId, envelope })
    }
    case 'result': {
      const envelopeId = envelopeIdFromBytes(frame.value.envelopeId)
      const status = STATUSES[frame.value.status]
      if (envelopeId === undefined || status === undefined) return refused('CODEC_MALFORMED')
      return decoded({ kind: 'result', requestId, envelopeId, status })
    }
    case 'keepAlive':
      return decoded({ kind: 'keepAlive' })
    case undefined:
      return refused('CODEC_MALFORMED')
  }
}

/** Encodes a prekeys frame without its length. */
export function encodePrekeysFrame(frame: PrekeysFrame): Bytes {
  return toBinary(PrekeysFrameSchema, create(PrekeysFrameSchema, prekeysInit(frame)))
}

function prekeysInit(frame: PrekeysFrame): PrekeysInit {
  const { requestId } = frame
  switch (frame.kind) {
    case 'fetch': {
      const recipient = peerIdToBytes(frame.recipient)
      const { wantOneTime, wantKeyPackage } = frame
      const value = { recipient, wantOneTime, wantKeyPackage }
      return { requestId, frame: { case: 'fetch', value } }
    }
    case 'bundle': {
      const { bundle, entry = NOTHING, keyPackage = NOTHING } = frame
      return { requestId, frame: { case: 'bundle', value: { bundle, entry, keyPackage } } }
    }
    case 'publish': {
      const { bundle = NOTHING, entries, keyPackages, record = NOTHING } = frame
      const value = { bundle, entries: [...entries], keyPackages: [...keyPackages], record }
      return { requestId, frame: { case: 'publish', value } }
    }
    case 'supply':
      return { requestId, frame: { case: 'supply', value: {} } }
    case 'remaining': {
      const { pairs, ecs, keyPackages } = frame
      return { requestId, frame: { case: 'remaining', value: { pairs, ecs, keyPackages } } }
    }
    case 'fetchRecord': {
      const value = { recipient: peerIdToBytes(frame.recipient) }
      return { requestId, frame: { case: 'fetchRecord', value } }
    }
    case 'record':
      return { requestId, frame: { case: 'record', value: { record: frame.record } } }
    case 'failure': {
      const value = { status: statusNumber(frame.status) }
      return { requestId, frame: { case: 'failure', value } }
    }
  }
}

/**
 * Decodes a prekeys frame.
 *
 * @returns `ok: false` with `CODEC_LENGTH` or `CODEC_MALFORMED`. Bundles and entries have their lengths;
 *   no signature is verified here.
 */
export function decodePrekeysFrame(bytes: Bytes): Decoded<PrekeysFrame> {
  if (bytes.length > PUBLISH_BYTES_MAX) return refused('CODEC_LENGTH')
  const wire = parse(PrekeysFrameSchema, bytes)
  if (wire === undefined) return refused('CODEC_MALFORMED')
  if (wire.frame.case !== 'publish' && bytes.length > PREKEYS_REPLY_BYTES_MAX) {
    return refused('CODEC_LENGTH')
  }
  const frame = readPrekeys(wire)
  return frame === undefined ? refused('CODEC_MALFORMED') : decoded(frame)
}

function readPrekeys({ requestId, frame }: WirePrekeys): PrekeysFrame | undefined {
  switch (frame.case) {
    case 'fetch': {
      const recipient = peerIdFromBytes(frame.value.recipient)
      const { wantOneTime, wantKeyPackage } = frame.value
      if (recipient === undefined) return undefined
      return { kind: 'fetch', requestId, recipient, wantOneTime, wantKeyPackage }
    }
    case 'bundle': {
      const { bundle, entry, keyPackage } = frame.value
      if (bundle.length !== BUNDLE_BYTES) return undefined
      if (entry.length > 0 && !isEntrySize(entry)) return undefined
      return {
        kind: 'bundle',
        requestId,
        bundle,
        ...(entry.length > 0 && { entry }),
        ...(keyPackage.length > 0 && { keyPackage }),
      }
    }
    case 'publish': {
      const { bundle, entries, keyPackages, record } = frame.value
      if (bundle.length > 0 && bundle.length !== BUNDLE_BYTES) return undefined
      if (entries.length > PUBLISH_ITEMS_MAX || keyPackages.length > PUBLISH_ITEMS_MAX) {
        return undefined
      }
      if (!entries.every(isEntrySize) || record.length > RECORD_BYTES_MAX) return undefined
      const given = { ...(bundle.length > 0 && { bundle }), ...(record.length > 0 && { record }) }
      return { kind: 'publish', requestId, ...given, entries, keyPackages }
    }
    case 'supply':
      return { kind: 'supply', requestId }
    case 'remaining': {
      const { pairs, ecs, keyPackages } = frame.value
      return { kind: 'remaining', requestId, pairs, ecs, keyPackages }
    }
    case 'fetchRecord': {
      const recipient = peerIdFromBytes(frame.value.recipient)
      return recipient === undefined ? undefined : { kind: 'fetchRecord', requestId, recipient }
    }
    case 'record': {
      const { record } = frame.value
      if (record.length === 0 || record.length > RECORD_BYTES_MAX) return undefined
      return { kind: 'record', requestId, record }
    }
    case 'failure': {
      const status = STATUSES[frame.value.status]
      return status === undefined || status === 'accepted'
        ? undefined
        : { kind: 'failure', requestId, status }
    }
    case undefined:
      return undefined
  }
}

// The generated names count up as STATUSES does; a test holds them equal.
function statusNumber(status: Status): WireStatus {
  return STATUSES.indexOf(status) as WireStatus
}

function isEntrySize(entry: Bytes): boolean {
  return entry.length === PAIR_BYTES || entry.length === EC_BYTES
}

function parse<Desc extends DescMessage>(
  schema: Desc,
  bytes: Bytes,
): MessageShape<Desc> | undefined {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false })
  } catch {
    return undefined
  }
}
