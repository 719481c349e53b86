// Frames of mailboxes: what `wire.proto` says, within its bounds (spec.md §3.4). Floor 0, pure.
// The length in front is the stream's business: it is checked there before anything is allocated.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { peerIdFromBytes, peerIdToBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import { ENVELOPE_BUCKETS, STATUSES } from '../direct/types.ts'
import type { EnvelopeId, Status } from '../direct/types.ts'
import { LEASE_BYTES } from '../identity/types.ts'
import { queueKeyIdFromBytes, queueKeyIdToBytes } from './authorisation.ts'
import { envelopeIdFromOctets, envelopeIdToOctets } from './envelope-ids.ts'
import { leaseIdFromBytes, leaseIdToBytes } from './lease.ts'
import {
  ACKNOWLEDGE_FRAME_BYTES_MAX,
  ACKNOWLEDGE_MAX,
  AUTHORISATION_BYTES,
  COLLECT_BYTES_MAX,
  COLLECT_ENVELOPES_MAX,
  DEPOSIT_FRAME_BYTES_MAX,
  LIMIT_NAMES,
  RECEIPT_BYTES,
  REQUEST_FRAME_BYTES_MAX,
} from './types.ts'
import type { Bound, LeaseId, LeaseWish, QueueKey, QueueKeyId } from './types.ts'
import { MailboxFrameSchema } from './wire_pb.ts'
import type { MailboxFrame as WireFrame } from './wire_pb.ts'

/** What a depositor asks for. */
export interface DepositRequest {
  readonly recipient: PeerId
  readonly leaseId: LeaseId
  readonly ttlMs: number
  /** 80 bytes; absent: a stranger. */
  readonly authorisation?: Bytes
  readonly envelope: Bytes
}

/** One kept envelope, as its recipient gets it. */
export interface StoredEnvelope {
  /** Counts up from 1 in a box. */
  readonly sequence: number
  readonly envelopeId: EnvelopeId
  readonly depositedAt: TimeMs
  readonly expiresAt: TimeMs
  readonly envelope: Bytes
}

/** What a recipient asks a box for. */
export interface CollectRequest {
  readonly after: number
  readonly envelopesMax: number
  readonly bytesMax: number
  readonly watch: boolean
}

/** Where a collection stands. */
export interface CollectEnd {
  readonly next: number
  readonly more: boolean
  readonly usedBytes: number
  readonly quotaBytes: number
}

/** One frame of `/conclave/mailbox/1.0.0`. */
export type MailboxFrame = { readonly requestId: number } & (
  | { readonly kind: 'requestLease'; readonly wish: LeaseWish }
  | { readonly kind: 'granted'; readonly lease: Bytes }
  | { readonly kind: 'authorise'; readonly key: QueueKey }
  | { readonly kind: 'revoke'; readonly keyId: QueueKeyId }
  | { readonly kind: 'done' }
  | { readonly kind: 'deposit'; readonly deposit: DepositRequest }
  | { readonly kind: 'receipt'; readonly receipt: Bytes }
  | { readonly kind: 'collect'; readonly collect: CollectRequest }
  | { readonly kind: 'stored'; readonly stored: StoredEnvelope }
  | { readonly kind: 'end'; readonly end: CollectEnd }
  | { readonly kind: 'acknowledge'; readonly envelopeIds: readonly EnvelopeId[] }
  | { readonly kind: 'removed'; readonly removed: readonly boolean[] }
  | {
      readonly kind: 'failure'
      readonly status: Exclude<Status, 'accepted'>
      readonly bound?: Bound
    }
)

/** A frame that asks for something. */
export type MailboxRequest = Extract<
  MailboxFrame,
  { kind: 'requestLease' | 'authorise' | 'revoke' | 'deposit' | 'collect' | 'acknowledge' }
>

type Init = NonNullable<MessageInitShape<typeof MailboxFrameSchema>['frame']>

const NOTHING = new Uint8Array(0)

/** Encodes a frame without its length. */
export function encodeMailboxFrame(frame: MailboxFrame): Bytes {
  const message = create(MailboxFrameSchema, { requestId: frame.requestId, frame: initOf(frame) })
  return toBinary(MailboxFrameSchema, message)
}

function initOf(frame: MailboxFrame): Init {
  switch (frame.kind) {
    case 'requestLease': {
      const { quotaBytes, quotaEnvelopes, ttlMs, strangerBytes, strangerEnvelopes } = frame.wish
      const value = {
        quotaBytes: BigInt(quotaBytes),
        quotaEnvelopes,
        ttlMs: BigInt(ttlMs),
        strangerBytes: BigInt(strangerBytes),
        strangerEnvelopes,
      }
      return { case: 'requestLease', value }
    }
    case 'granted':
      return { case: 'granted', value: { lease: frame.lease } }
    case 'authorise': {
      const { id, publicKey, quotaBytes, quotaEnvelopes, expiresAt } = frame.key
      const value = {
        keyId: queueKeyIdToBytes(id),
        publicKey,
        quotaBytes: BigInt(quotaBytes),
        quotaEnvelopes,
        expiresAt: BigInt(expiresAt),
      }
      return { case: 'authorise', value }
    }
    case 'revoke':
      return { case: 'revoke', value: { keyId: queueKeyIdToBytes(frame.keyId) } }
    case 'done':
      return { case: 'done', value: {} }
    case 'deposit':
      return { case: 'deposit', value: depositInit(frame.deposit) }
    case 'receipt':
      return { case: 'receipt', value: { receipt: frame.receipt } }
    case 'collect': {
      const { after, envelopesMax, bytesMax, watch } = frame.collect
      return { case: 'collect', value: { after: BigInt(after), envelopesMax, bytesMax, watch } }
    }
    case 'stored': {
      const { sequence, envelopeId, depositedAt, expiresAt, envelope } = frame.stored
      const value = {
        sequence: BigInt(sequence),
        envelopeId: envelopeIdToOctets(envelopeId),
        depositedAt: BigInt(depositedAt),
        expiresAt: BigInt(expiresAt),
        envelope,
      }
      return { case: 'stored', value }
    }
    case 'end': {
      const { next, more, usedBytes, quotaBytes } = frame.end
      const value = {
        next: BigInt(next),
        more,
        usedBytes: BigInt(usedBytes),
        quotaBytes: BigInt(quotaBytes),
      }
      return { case: 'end', value }
    }
    case 'acknowledge':
      return {
        case: 'acknowledge',
        value: { envelopeIds: frame.envelopeIds.map(envelopeIdToOctets) },
      }
    case 'removed':
      return { case: 'removed', value: { removed: [...frame.removed] } }
    case 'failure': {
      const { status, bound } = frame
      const value = {
        status: STATUSES.indexOf(status),
        limit: LIMIT_NAMES.indexOf(bound?.limit ?? 'none'),
        found: BigInt(bound?.found ?? 0),
        allowed: BigInt(bound?.allowed ?? 0),
      }
      return { case: 'failure', value }
    }
  }
}

function depositInit(deposit: DepositRequest): Extract<Init, { case: 'deposit' }>['value'] {
  return {
    recipient: peerIdToBytes(deposit.recipient),
    leaseId: leaseIdToBytes(deposit.leaseId),
    ttlMs: BigInt(deposit.ttlMs),
    authorisation: deposit.authorisation ?? NOTHING,
    envelope: deposit.envelope,
  }
}

/**
 * Decodes a frame.
 *
 * @returns `ok: false` with `CODEC_LENGTH` or `CODEC_MALFORMED`. Ids and fixed layouts have their lengths; no
 *   signature is verified here.
 */
export function decodeMailboxFrame(bytes: Bytes): Decoded<MailboxFrame> {
  if (bytes.length > DEPOSIT_FRAME_BYTES_MAX) return refused('CODEC_LENGTH')
  let wire: WireFrame
  try {
    wire = fromBinary(MailboxFrameSchema, bytes, { readUnknownFields: false })
  } catch {
    return refused('CODEC_MALFORMED')
  }
  if (bytes.length > sizeMax(wire.frame.case)) return refused('CODEC_LENGTH')
  const frame = readFrame(wire)
  return frame === undefined ? refused('CODEC_MALFORMED') : decoded(frame)
}

function sizeMax(name: WireFrame['frame']['case']): number {
  if (name === 'deposit' || name === 'stored') return DEPOSIT_FRAME_BYTES_MAX
  return name === 'acknowledge'
    ? ACKNOWLEDGE_FRAME_BYTES_MAX
    : REQUEST_FRAME_BYTES_MAX + RECEIPT_BYTES + ACKNOWLEDGE_MAX
}

/** An unsigned 64-bit integer that a number holds; undefined for a larger one. */
function numberOf(value: bigint): number | undefined {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined
}

function readFrame({ requestId, frame }: WireFrame): MailboxFrame | undefined {
  switch (frame.case) {
    case 'requestLease':
      return readWish(requestId, frame.value)
    case 'granted': {
      const { lease } = frame.value
      return lease.length === LEASE_BYTES ? { kind: 'granted', requestId, lease } : undefined
    }
    case 'authorise':
      return readKey(requestId, frame.value)
    case 'revoke': {
      const keyId = queueKeyIdFromBytes(frame.value.keyId)
      return keyId === undefined ? undefined : { kind: 'revoke', requestId, keyId }
    }
    case 'done':
      return { kind: 'done', requestId }
    case 'deposit':
      return readDeposit(requestId, frame.value)
    case 'receipt': {
      const { receipt } = frame.value
      return receipt.length === RECEIPT_BYTES ? { kind: 'receipt', requestId, receipt } : undefined
    }
    case 'collect': {
      const { after: from, envelopesMax, bytesMax, watch } = frame.value
      const after = numberOf(from)
      if (after === undefined || envelopesMax < 1 || envelopesMax > COLLECT_ENVELOPES_MAX) {
        return undefined
      }
      if (bytesMax > COLLECT_BYTES_MAX) return undefined
      return { kind: 'collect', requestId, collect: { after, envelopesMax, bytesMax, watch } }
    }
    case 'stored':
      return readStored(requestId, frame.value)
    case 'end': {
      const next = numberOf(frame.value.next)
      const usedBytes = numberOf(frame.value.usedBytes)
      const quotaBytes = numberOf(frame.value.quotaBytes)
      if (next === undefined || usedBytes === undefined || quotaBytes === undefined)
        return undefined
      const end = { next, more: frame.value.more, usedBytes, quotaBytes }
      return { kind: 'end', requestId, end }
    }
    case 'acknowledge': {
      const ids = frame.value.envelopeIds.flatMap((one) => envelopeIdFromOctets(one) ?? [])
      const count = frame.value.envelopeIds.length
      if (ids.length !== count || count < 1 || count > ACKNOWLEDGE_MAX) return undefined
      return { kind: 'acknowledge', requestId, envelopeIds: ids }
    }
    case 'removed': {
      const { removed } = frame.value
      return removed.length > ACKNOWLEDGE_MAX ? undefined : { kind: 'removed', requestId, removed }
    }
    case 'failure':
      return readFailure(requestId, frame.value)
    case undefined:
      return undefined
  }
}

type Wire<Case extends NonNullable<WireFrame['frame']['case']>> = Extract<
  WireFrame['frame'],
  { case: Case }
>['value']

function readWish(requestId: number, wire: Wire<'requestLease'>): MailboxFrame | undefined {
  const quotaBytes = numberOf(wire.quotaBytes)
  const ttlMs = numberOf(wire.ttlMs)
  const strangerBytes = numberOf(wire.strangerBytes)
  if (quotaBytes === undefined || ttlMs === undefined || strangerBytes === undefined) {
    return undefined
  }
  const { quotaEnvelopes, strangerEnvelopes } = wire
  const wish = { quotaBytes, quotaEnvelopes, ttlMs, strangerBytes, strangerEnvelopes }
  return { kind: 'requestLease', requestId, wish }
}

function readKey(requestId: number, wire: Wire<'authorise'>): MailboxFrame | undefined {
  const id = queueKeyIdFromBytes(wire.keyId)
  const quotaBytes = numberOf(wire.quotaBytes)
  const expiresAt = numberOf(wire.expiresAt)
  const { publicKey, quotaEnvelopes } = wire
  if (id === undefined || publicKey.length !== 32) return undefined
  if (quotaBytes === undefined || expiresAt === undefined) return undefined
  const key = { id, publicKey, quotaBytes, quotaEnvelopes, expiresAt: toTimeMs(expiresAt) }
  return { kind: 'authorise', requestId, key }
}

function readDeposit(requestId: number, wire: Wire<'deposit'>): MailboxFrame | undefined {
  const recipient = peerIdFromBytes(wire.recipient)
  const leaseId = leaseIdFromBytes(wire.leaseId)
  const ttlMs = numberOf(wire.ttlMs)
  const { authorisation, envelope } = wire
  if (recipient === undefined || leaseId === undefined || ttlMs === undefined) return undefined
  if (!ENVELOPE_BUCKETS.includes(envelope.length)) return undefined
  if (authorisation.length > 0 && authorisation.length !== AUTHORISATION_BYTES) return undefined
  const given = authorisation.length > 0 ? { authorisation } : {}
  return { kind: 'deposit', requestId, deposit: { recipient, leaseId, ttlMs, ...given, envelope } }
}

function readStored(requestId: number, wire: Wire<'stored'>): MailboxFrame | undefined {
  const sequence = numberOf(wire.sequence)
  const envelopeId = envelopeIdFromOctets(wire.envelopeId)
  const depositedAt = numberOf(wire.depositedAt)
  const expiresAt = numberOf(wire.expiresAt)
  const { envelope } = wire
  if (sequence === undefined || envelopeId === undefined) return undefined
  if (depositedAt === undefined || expiresAt === undefined) return undefined
  if (!ENVELOPE_BUCKETS.includes(envelope.length)) return undefined
  const stored = {
    sequence,
    envelopeId,
    depositedAt: toTimeMs(depositedAt),
    expiresAt: toTimeMs(expiresAt),
    envelope,
  }
  return { kind: 'stored', requestId, stored }
}

function readFailure(requestId: number, wire: Wire<'failure'>): MailboxFrame | undefined {
  const status = STATUSES[wire.status]
  const limit = LIMIT_NAMES[wire.limit]
  const found = numberOf(wire.found)
  const allowed = numberOf(wire.allowed)
  if (status === undefined || status === 'accepted' || limit === undefined) return undefined
  if (found === undefined || allowed === undefined) return undefined
  const bound = limit === 'none' ? {} : { bound: { limit, found, allowed } }
  return { kind: 'failure', requestId, status, ...bound }
}

/** True for a frame that asks for something. */
export function isRequest(frame: MailboxFrame): frame is MailboxRequest {
  switch (frame.kind) {
    case 'requestLease':
    case 'authorise':
    case 'revoke':
    case 'deposit':
    case 'collect':
    case 'acknowledge':
      return true
    default:
      return false
  }
}
