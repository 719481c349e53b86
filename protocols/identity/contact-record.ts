// Contact records: where an agent is and who keeps its mail (spec.md §3.8). Floor 0, pure.
// One structure for the whole system, also the value in the distributed hash table.
import { compareBytes, concat, makeReader, parseUtf8, u64, u8, utf8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { ConclaveError } from '../base/errors.ts'
import { PEER_ID_BYTES, parsePeerId, peerIdFromBytes, peerIdToBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import { encodeReach, readReach } from './reach.ts'
import { bodyOf, signRecord, verifyRecord } from './signed.ts'
import { CLOCK_SKEW_MS, CONTACT_RECORD_BYTES_MAX, CONTACT_RECORD_LABEL } from './types.ts'
import { CONTACT_RECORD_KEY_PREFIX, CONTACT_RECORD_LIFE_MS, IDENTITY_VERSION } from './types.ts'
import { LEASE_BYTES, LEASES_MAX } from './types.ts'
import type { ContactRecord, IdentityCode } from './types.ts'

/** What a record is checked against. */
export interface ContactRecordCheck {
  /** Whose record it must be. */
  readonly peer: PeerId
  readonly nowMs: TimeMs
}

/**
 * Signs a contact record.
 *
 * @param secret - The agent's 32-byte Ed25519 seed, of the key in `record.peer`.
 * @throws ConclaveError `USAGE_ARGUMENT` if leases or addresses do not fit, with both numbers.
 */
export function signContactRecord(
  primitives: Primitives,
  secret: Bytes,
  record: ContactRecord,
): Bytes {
  const { leases } = record
  if (leases.length > LEASES_MAX || leases.some((lease) => lease.length !== LEASE_BYTES)) {
    const sizes = leases.map((lease) => lease.length).join(', ')
    throw new ConclaveError(
      'USAGE_ARGUMENT',
      `${leases.length} leases of ${sizes} bytes, at most ${LEASES_MAX} of ${LEASE_BYTES}`,
      { hint: 'keep the leases that expire last' },
    )
  }
  const body = concat(
    u8(IDENTITY_VERSION),
    peerIdToBytes(record.peer),
    u64(record.sequence),
    u64(record.expiresAt),
    u8(leases.length),
    ...leases,
    encodeReach(record),
  )
  return signRecord(primitives, secret, CONTACT_RECORD_LABEL, body)
}

/**
 * Parses and verifies the contact record of `check.peer`.
 *
 * The peer is checked before the signature, so that a stranger's record under a contact's key costs
 * nothing; the expiry after it, so that a code tells truly why a record is refused.
 */
export function parseContactRecord(
  primitives: Primitives,
  bytes: Bytes,
  check: ContactRecordCheck,
): Decoded<ContactRecord, IdentityCode> {
  if (bytes.length > CONTACT_RECORD_BYTES_MAX) return refused('CODEC_LENGTH')
  const record = decodeContactRecord(bytes)
  if (!record.ok) return record
  const { peer, expiresAt } = record.value
  if (peer !== check.peer) return refused('VERIFY_IDENTITY_MISMATCH')
  if (!verifyRecord(primitives, peer, CONTACT_RECORD_LABEL, bytes)) {
    return refused('VERIFY_SIGNATURE')
  }
  const lifeMs = expiresAt - check.nowMs
  if (lifeMs <= 0 || lifeMs > CONTACT_RECORD_LIFE_MS + CLOCK_SKEW_MS) {
    return refused('VERIFY_EXPIRED')
  }
  return record
}

function decodeContactRecord(bytes: Bytes): Decoded<ContactRecord, IdentityCode> {
  const reader = makeReader(bodyOf(bytes))
  if (reader.u8() !== IDENTITY_VERSION) {
    return refused(reader.ok ? 'CODEC_UNKNOWN_VERSION' : 'CODEC_LENGTH')
  }
  const peer = peerIdFromBytes(reader.take(PEER_ID_BYTES))
  const sequence = reader.u64()
  const expiresAtMs = reader.u64()
  const count = reader.u8()
  if (peer === undefined || !reader.ok || count > LEASES_MAX) return refused('CODEC_MALFORMED')
  const leases: Bytes[] = []
  for (let i = 0; i < count; i++) leases.push(reader.take(LEASE_BYTES))
  const reach = readReach(reader)
  if (reach === undefined || !reader.done) return refused('CODEC_MALFORMED')
  return decoded({ peer, sequence, expiresAt: toTimeMs(expiresAtMs), leases, ...reach })
}

/**
 * Orders two verified records of one peer: positive if `a` is to be kept.
 *
 * The higher sequence wins. A peer that signs two records under one sequence is at fault, but all
 * nodes must still keep the same one: the later expiry, then the greater bytes.
 */
export function compareContactRecords(
  a: { readonly record: ContactRecord; readonly bytes: Bytes },
  b: { readonly record: ContactRecord; readonly bytes: Bytes },
): number {
  return (
    a.record.sequence - b.record.sequence ||
    a.record.expiresAt - b.record.expiresAt ||
    compareBytes(a.bytes, b.bytes)
  )
}

/** The key of a peer's record in the distributed hash table: `/conclave-contact/<peer ID>`. */
export function contactRecordKey(peer: PeerId): Bytes {
  return utf8(CONTACT_RECORD_KEY_PREFIX + peer)
}

/** Reads whose record a key of the distributed hash table names; undefined if it is malformed. */
export function parseContactRecordKey(key: Bytes): PeerId | undefined {
  const text = parseUtf8(key)
  if (text?.startsWith(CONTACT_RECORD_KEY_PREFIX) !== true) return undefined
  return parsePeerId(text.slice(CONTACT_RECORD_KEY_PREFIX.length))
}
