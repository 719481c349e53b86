// AEADs of node:crypto, with the key wrapped inside the call. Floor 1 (spec: direct §3).
// A KeyObject because Node 24 checks raw keys through a thrown and caught error, at 10 µs a call.
import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { CipherGCMTypes } from 'node:crypto'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { aeadKey } from './aead-keys.ts'
import { TAG_BYTES } from './checks.ts'

/** OpenSSL's names of the AEADs in use. */
export type AeadName = 'chacha20-poly1305' | 'aes-128-gcm' | 'aes-256-gcm'

const options = { authTagLength: TAG_BYTES }

/** Seals; answers ciphertext ‖ tag. Lengths of key and nonce are the caller's to check. */
export function sealWith(
  name: AeadName,
  key: Bytes,
  nonce: Bytes,
  ad: Bytes,
  plaintext: Bytes,
): Bytes {
  const cipher = createCipheriv(name as CipherGCMTypes, aeadKey(key), nonce, options)
  cipher.setAAD(ad)
  const out = new Uint8Array(plaintext.length + TAG_BYTES)
  out.set(cipher.update(plaintext))
  cipher.final()
  out.set(cipher.getAuthTag(), plaintext.length)
  return out
}

/** Opens ciphertext ‖ tag; undefined, and nothing released, unless the tag matches. */
export function openWith(
  name: AeadName,
  key: Bytes,
  nonce: Bytes,
  ad: Bytes,
  sealed: Bytes,
): Bytes | undefined {
  const length = sealed.length - TAG_BYTES
  if (length < 0) return undefined
  const decipher = createDecipheriv(name as CipherGCMTypes, aeadKey(key), nonce, options)
  decipher.setAAD(ad)
  decipher.setAuthTag(sealed.subarray(length))
  const unverified = decipher.update(sealed.subarray(0, length))
  try {
    decipher.final()
  } catch {
    unverified.fill(0)
    return undefined
  }
  return new Uint8Array(unverified.buffer, unverified.byteOffset, unverified.length)
}
