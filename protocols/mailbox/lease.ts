// Leases: a custodian's signed word that it keeps mail (spec.md §3.1). Floor 0, pure.
import { concat, formatHex, makeReader, parseHex, u32, u64, u8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { invariant } from '../base/errors.ts'
import { PEER_ID_BYTES, peerIdFromBytes, peerIdToBytes, publicKeyOf } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { SIGNATURE_BYTES, signLabelled, verifyLabelled } from '../base/signed.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import { LEASE_BYTES } from '../identity/types.ts'
import { LEASE_ID_BYTES, LEASE_LABEL } from './types.ts'
import type { Lease, LeaseId, MailboxCode } from './types.ts'

const VERSION = 1

/** Names a lease by its 16 octets. */
export function leaseIdFromBytes(bytes: Bytes): LeaseId | undefined {
  return bytes.length === LEASE_ID_BYTES ? (formatHex(bytes) as LeaseId) : undefined
}

/** The 16 octets of a lease's name. */
export function leaseIdToBytes(id: LeaseId): Bytes {
  const bytes = parseHex(id)
  invariant(bytes?.length === LEASE_ID_BYTES, 'a lease id is 16 octets in hexadecimal')
  return bytes
}

/** Signs a lease: 193 bytes. `secret` is the custodian's Ed25519 seed. */
export function signLease(primitives: Primitives, secret: Bytes, lease: Lease): Bytes {
  const body = concat(
    u8(VERSION),
    peerIdToBytes(lease.recipient),
    peerIdToBytes(lease.custodian),
    leaseIdToBytes(lease.leaseId),
    u64(lease.quotaBytes),
    u32(lease.quotaEnvelopes),
    u64(lease.ttlMs),
    u64(lease.issuedAt),
    u64(lease.expiresAt),
  )
  return concat(body, signLabelled(primitives, secret, LEASE_LABEL, body))
}

/** Reads a lease without verifying it: for one's own, read back from disk. */
export function decodeLease(bytes: Bytes): Decoded<Lease, MailboxCode> {
  if (bytes.length !== LEASE_BYTES) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  if (reader.u8() !== VERSION) return refused('CODEC_UNKNOWN_VERSION')
  const recipient = peerIdFromBytes(reader.take(PEER_ID_BYTES))
  const custodian = peerIdFromBytes(reader.take(PEER_ID_BYTES))
  const leaseId = leaseIdFromBytes(reader.take(LEASE_ID_BYTES))
  const numbers = {
    quotaBytes: reader.u64(),
    quotaEnvelopes: reader.u32(),
    ttlMs: reader.u64(),
    issuedAt: toTimeMs(reader.u64()),
    expiresAt: toTimeMs(reader.u64()),
  }
  if (recipient === undefined || custodian === undefined || leaseId === undefined || !reader.ok) {
    return refused('CODEC_MALFORMED')
  }
  return decoded({ recipient, custodian, leaseId, ...numbers })
}

/**
 * Parses and verifies a lease for `recipient` that is in force.
 *
 * @returns `ok: false` with a `CODEC_…` code, `VERIFY_IDENTITY_MISMATCH`, `VERIFY_SIGNATURE` or `VERIFY_EXPIRED`.
 */
export function parseLease(
  primitives: Primitives,
  bytes: Bytes,
  check: { readonly recipient: PeerId; readonly nowMs: TimeMs },
): Decoded<Lease, MailboxCode> {
  const lease = decodeLease(bytes)
  if (!lease.ok) return lease
  if (lease.value.recipient !== check.recipient) return refused('VERIFY_IDENTITY_MISMATCH')
  const body = bytes.subarray(0, LEASE_BYTES - SIGNATURE_BYTES)
  const key = publicKeyOf(lease.value.custodian)
  if (!verifyLabelled(primitives, key, LEASE_LABEL, body, bytes.subarray(body.length))) {
    return refused('VERIFY_SIGNATURE')
  }
  return lease.value.expiresAt > check.nowMs ? lease : refused('VERIFY_EXPIRED')
}
