// SHA-256, HMAC and HKDF over one-shot digests, which cost a third of `createHmac`. Floor 1.
import { hash } from 'node:crypto'
import { concat, wipe } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { assertHkdfLength } from './checks.ts'

const BLOCK_BYTES = 64
const BLOCK_WORDS: number = BLOCK_BYTES / 4
const HASH_BYTES = 32
const MESSAGE_BYTES_MAX = 512
const INNER_PAD = 0x36363636
const OUTER_PAD = 0x5c5c5c5c

// Keys and messages are laid out here and wiped after use, so all of it is zero between calls: they are synchronous
// and never nest. Pads are applied by words: half of a short HMAC's time went into doing it by octets.
const inner = new Uint8Array(BLOCK_BYTES + MESSAGE_BYTES_MAX)
const innerPad = new Uint32Array(inner.buffer, 0, BLOCK_WORDS)
const outer = new Uint8Array(BLOCK_BYTES + HASH_BYTES)
const outerPad = new Uint32Array(outer.buffer, 0, BLOCK_WORDS)
const innerViews: (Bytes | undefined)[] = []

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
  inner.set(block)
  outer.set(block)
  for (let i = 0; i < BLOCK_WORDS; i++) {
    innerPad[i] = (innerPad[i] ?? 0) ^ INNER_PAD
    outerPad[i] = (outerPad[i] ?? 0) ^ OUTER_PAD
  }
  // The inner digest may pass through text: without the key it tells nothing about the outer one.
  if (message.length <= MESSAGE_BYTES_MAX) {
    inner.set(message, BLOCK_BYTES)
    const input = innerView(BLOCK_BYTES + message.length)
    writeDigest(outer, BLOCK_BYTES, input)
    input.fill(0)
  } else {
    const input = concat(innerView(BLOCK_BYTES), message)
    writeDigest(outer, BLOCK_BYTES, input)
    wipe(input, innerView(BLOCK_BYTES))
  }
  const out = secretDigest(outer)
  outer.fill(0)
  return out
}

/** HKDF-Expand (RFC 5869 §2.3). */
export function hkdfExpandSha256(prk: Bytes, info: Bytes, length: number): Bytes {
  assertHkdfLength(length)
  const input = new Uint8Array(HASH_BYTES + info.length + 1)
  input.set(info, HASH_BYTES)
  input[input.length - 1] = 1
  const first = hmacSha256(prk, input.subarray(HASH_BYTES))
  if (length === HASH_BYTES) return first
  const out = new Uint8Array(length)
  let block = first
  for (let offset = 0, counter = 2; offset < length; offset += HASH_BYTES, counter++) {
    out.set(block.subarray(0, length - offset), offset)
    input.set(block)
    input[input.length - 1] = counter
    block.fill(0)
    if (offset + HASH_BYTES < length) block = hmacSha256(prk, input)
  }
  input.fill(0)
  return out
}

/** HKDF, extract then expand (RFC 5869 §2). */
export function hkdfSha256(salt: Bytes, ikm: Bytes, info: Bytes, length: number): Bytes {
  assertHkdfLength(length)
  const prk = hmacSha256(salt, ikm)
  const out = hkdfExpandSha256(prk, info, length)
  prk.fill(0)
  return out
}

/** The beginning of `inner`: cutting it anew costs more than the whole padding. */
function innerView(length: number): Bytes {
  return (innerViews[length] ??= inner.subarray(0, length))
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
