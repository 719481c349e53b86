// SHA-256, HMAC and HKDF over one-shot digests, which cost a third of `createHmac`. Floor 1.
import { hash } from 'node:crypto'
import { concat, wipe } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { assertHkdfLength } from './checks.ts'

const BLOCK_BYTES = 64
const HASH_BYTES = 32
const INNER_BYTES_MAX: number = BLOCK_BYTES + 512

// Key pads are laid out in place and wiped after use: calls are synchronous and never nest.
const innerScratch = new Uint8Array(INNER_BYTES_MAX)
const outerScratch = new Uint8Array(BLOCK_BYTES + HASH_BYTES)

/** SHA-256 over the joined parts. Its text detour is the fast one; a digest is not treated as secret. */
export function sha256(...parts: readonly Bytes[]): Bytes {
  const input = parts.length === 1 && parts[0] !== undefined ? parts[0] : concat(...parts)
  const out = new Uint8Array(HASH_BYTES)
  writeDigest(out, 0, input)
  return out
}

/** HMAC-SHA-256 as two digests: H(K ^ opad ‖ H(K ^ ipad ‖ message)). */
export function hmacSha256(key: Bytes, message: Bytes): Bytes {
  const block = key.length > BLOCK_BYTES ? secretDigest(key) : key
  const length = BLOCK_BYTES + message.length
  const inner =
    length <= INNER_BYTES_MAX ? innerScratch.subarray(0, length) : new Uint8Array(length)
  for (let i = 0; i < BLOCK_BYTES; i++) {
    const octet = block[i] ?? 0
    inner[i] = octet ^ 0x36
    outerScratch[i] = octet ^ 0x5c
  }
  inner.set(message, BLOCK_BYTES)
  // The inner digest may pass through text: without the key it tells nothing about the outer one.
  writeDigest(outerScratch, BLOCK_BYTES, inner)
  const out = secretDigest(outerScratch)
  wipe(inner, outerScratch)
  return out
}

/** HKDF-Expand (RFC 5869 §2.3). */
export function hkdfExpandSha256(prk: Bytes, info: Bytes, length: number): Bytes {
  assertHkdfLength(length)
  const out = new Uint8Array(length)
  let previous: Bytes = new Uint8Array(0)
  for (let offset = 0, counter = 1; offset < length; offset += HASH_BYTES, counter++) {
    const input = concat(previous, info, Uint8Array.of(counter))
    const block = hmacSha256(prk, input)
    wipe(previous, input)
    out.set(block.subarray(0, length - offset), offset)
    previous = block
  }
  wipe(previous)
  return out
}

/** HKDF, extract then expand (RFC 5869 §2). */
export function hkdfSha256(salt: Bytes, ikm: Bytes, info: Bytes, length: number): Bytes {
  assertHkdfLength(length)
  const prk = hmacSha256(salt, ikm)
  const out = hkdfExpandSha256(prk, info, length)
  wipe(prk)
  return out
}

// Text costs a third of a Buffer, but nobody can wipe it: fit for digests that are no secrets.
function writeDigest(out: Bytes, offset: number, input: Bytes): void {
  const text = hash('sha256', input, 'binary')
  for (let i = 0; i < HASH_BYTES; i++) out[offset + i] = text.charCodeAt(i)
}

function secretDigest(input: Bytes): Bytes {
  const digest = hash('sha256', input, 'buffer')
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.length)
}
