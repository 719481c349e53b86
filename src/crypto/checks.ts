// Checks that stand before both implementations, so that their refusals are equal. Floor 1 (spec: direct §3).
import { parseHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { invariant } from '../../protocols/base/errors.ts'
import type { KemParameter } from '../../protocols/base/primitives.ts'

/** Octets of an AEAD tag. */
export const TAG_BYTES = 16
/** Octets of an AEAD nonce. */
const NONCE_BYTES = 12
/** Most that one HKDF-SHA-256 expansion yields: 255 blocks. */
export const HKDF_BYTES_MAX: number = 255 * 32

/** Lengths of an ML-KEM parameter set (FIPS 203, table 3). */
export interface KemLengths {
  readonly keyBytes: number
  readonly ciphertextBytes: number
}

/** Lengths by ML-KEM parameter set. */
export const KEM_LENGTHS: Readonly<Record<KemParameter, KemLengths>> = {
  768: { keyBytes: 1_184, ciphertextBytes: 1_088 },
  1024: { keyBytes: 1_568, ciphertextBytes: 1_568 },
}

/** Asserts a length that only our own code can get wrong. */
export function assertLength(bytes: Bytes, length: number, name: string): void {
  if (bytes.length !== length) invariant(false, `${name} of ${bytes.length} bytes, not ${length}`)
}

/** Asserts key and nonce lengths of ChaCha20-Poly1305. */
export function assertAead(key: Bytes, nonce: Bytes): void {
  assertLength(key, 32, 'AEAD key')
  assertLength(nonce, NONCE_BYTES, 'AEAD nonce')
}

/** Asserts key and nonce lengths of AES-GCM; 192-bit keys are not offered. */
export function assertAesGcm(key: Bytes, nonce: Bytes): void {
  if (key.length !== 16 && key.length !== 32) {
    invariant(false, `AES-GCM key of ${key.length} bytes, not 16 or 32`)
  }
  assertLength(nonce, NONCE_BYTES, 'AES-GCM nonce')
}

/** Asserts the output length of HKDF. */
export function assertHkdfLength(length: number): void {
  if (!Number.isInteger(length) || length < 0 || length > HKDF_BYTES_MAX) {
    invariant(false, `HKDF output of ${length} bytes, at most ${HKDF_BYTES_MAX}`)
  }
}

/** Reads a constant written as hexadecimal. */
export function hex(text: string): Bytes {
  const bytes = parseHex(text)
  invariant(bytes !== undefined, 'constants are hexadecimal')
  return bytes
}
