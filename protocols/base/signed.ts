// Signatures under a label, so that what is signed for one purpose never holds for another. Floor 0, pure.
import { concat, u8, utf8 } from './bytes.ts'
import type { Bytes } from './bytes.ts'
import { invariant } from './errors.ts'
import type { Primitives } from './primitives.ts'

/** Octets of an Ed25519 signature. */
export const SIGNATURE_BYTES = 64

/**
 * What is signed: `u8(len(label)) ‖ label ‖ bytes`. The length keeps two labels from running into
 * their bytes and meeting.
 *
 * @param label - 1 to 255 octets of ASCII.
 */
export function signatureInput(label: string, bytes: Bytes): Bytes {
  const octets = utf8(label)
  invariant(octets.length > 0 && octets.length < 256, 'a label has 1 to 255 octets')
  return concat(u8(octets.length), octets, bytes)
}

/** Signs `bytes` for the purpose that `label` names, under a 32-byte Ed25519 seed. */
export function signLabelled(
  primitives: Primitives,
  secret: Bytes,
  label: string,
  bytes: Bytes,
): Bytes {
  return primitives.sign(secret, signatureInput(label, bytes))
}

/** Verifies what `signLabelled` made, strictly; wrong lengths are false, never a throw. */
export function verifyLabelled(
  primitives: Primitives,
  publicKey: Bytes,
  label: string,
  bytes: Bytes,
  signature: Bytes,
): boolean {
  return primitives.verify(publicKey, signatureInput(label, bytes), signature)
}
