// Storage receipts: a custodian's signed word that an envelope is on its disk (spec.md §3.2). Floor 0, pure.
import { concat, makeReader, u32, u64, u8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { PEER_ID_BYTES, peerIdFromBytes, peerIdToBytes, publicKeyOf } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { SIGNATURE_BYTES, signLabelled, verifyLabelled } from '../base/signed.ts'
import { toTimeMs } from '../base/time.ts'
import type { EnvelopeId } from '../direct/types.ts'
import { leaseIdFromBytes, leaseIdToBytes } from './lease.ts'
import { envelopeIdFromOctets, envelopeIdToOctets } from './envelope-ids.ts'
import { LEASE_ID_BYTES, RECEIPT_BYTES, RECEIPT_LABEL } from './types.ts'
import type { LeaseId, MailboxCode, StorageReceipt } from './types.ts'

const VERSION = 1
/** The only kind: stored and synced. */
const KIND_STORED = 1
const ENVELOPE_ID_BYTES = 32

/** What a receipt must be about. */
export interface ReceiptCheck {
  readonly custodian: PeerId
  readonly recipient: PeerId
  readonly leaseId: LeaseId
  readonly envelopeId: EnvelopeId
  readonly size: number
}

/** Signs a receipt: 210 bytes. `secret` is the custodian's Ed25519 seed. Only for what is synced to disk. */
export function signReceipt(primitives: Primitives, secret: Bytes, receipt: StorageReceipt): Bytes {
  const body = concat(
    u8(VERSION),
    u8(KIND_STORED),
    peerIdToBytes(receipt.custodian),
    peerIdToBytes(receipt.recipient),
    leaseIdToBytes(receipt.leaseId),
    envelopeIdToOctets(receipt.envelopeId),
    u32(receipt.size),
    u64(receipt.storedAt),
    u64(receipt.expiresAt),
  )
  return concat(body, signLabelled(primitives, secret, RECEIPT_LABEL, body))
}

/**
 * Parses a receipt and verifies that it is about this envelope, in this box, at this custodian.
 *
 * @returns `ok: false` with a `CODEC_…` code, `VERIFY_IDENTITY_MISMATCH` or `VERIFY_SIGNATURE`.
 */
export function parseReceipt(
  primitives: Primitives,
  bytes: Bytes,
  check: ReceiptCheck,
): Decoded<StorageReceipt, MailboxCode> {
  if (bytes.length !== RECEIPT_BYTES) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  if (reader.u8() !== VERSION) return refused('CODEC_UNKNOWN_VERSION')
  if (reader.u8() !== KIND_STORED) return refused('CODEC_UNKNOWN_TYPE')
  const custodian = peerIdFromBytes(reader.take(PEER_ID_BYTES))
  const recipient = peerIdFromBytes(reader.take(PEER_ID_BYTES))
  const leaseId = leaseIdFromBytes(reader.take(LEASE_ID_BYTES))
  const envelopeId = envelopeIdFromOctets(reader.take(ENVELOPE_ID_BYTES))
  const size = reader.u32()
  const storedAt = toTimeMs(reader.u64())
  const expiresAt = toTimeMs(reader.u64())
  if (custodian === undefined || recipient === undefined || !reader.ok) {
    return refused('CODEC_MALFORMED')
  }
  if (leaseId === undefined || envelopeId === undefined) return refused('CODEC_MALFORMED')
  const isMeant =
    custodian === check.custodian &&
    recipient === check.recipient &&
    leaseId === check.leaseId &&
    envelopeId === check.envelopeId &&
    size === check.size
  if (!isMeant) return refused('VERIFY_IDENTITY_MISMATCH')
  const body = bytes.subarray(0, RECEIPT_BYTES - SIGNATURE_BYTES)
  const signature = bytes.subarray(body.length)
  if (!verifyLabelled(primitives, publicKeyOf(custodian), RECEIPT_LABEL, body, signature)) {
    return refused('VERIFY_SIGNATURE')
  }
  return decoded({ custodian, recipient, leaseId, envelopeId, size, storedAt, expiresAt })
}
