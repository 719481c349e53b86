// Records that end in their signature: agent card, ticket, contact record (spec.md §3.4). Floor 0, pure.
import { concat } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { publicKeyOf } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { SIGNATURE_BYTES, signLabelled, verifyLabelled } from '../base/signed.ts'

/** Puts the signature behind the body that it covers. */
export function signRecord(
  primitives: Primitives,
  secret: Bytes,
  label: string,
  body: Bytes,
): Bytes {
  return concat(body, signLabelled(primitives, secret, label, body))
}

/** What a record's signature covers: all but its last 64 octets; empty if there are no more. */
export function bodyOf(record: Bytes): Bytes {
  return record.subarray(0, Math.max(0, record.length - SIGNATURE_BYTES))
}

/** Verifies that `peer` signed the record for the purpose that `label` names. */
export function verifyRecord(
  primitives: Primitives,
  peer: PeerId,
  label: string,
  record: Bytes,
): boolean {
  const body = bodyOf(record)
  return verifyLabelled(primitives, publicKeyOf(peer), label, body, record.subarray(body.length))
}
