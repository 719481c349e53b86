// Unsigned varints (LEB128), as libp2p frames use them. Floor 0, pure.
import { concat } from './bytes.ts'
import type { Bytes } from './bytes.ts'

/** Encodes an unsigned integer below 2^53. */
export function encodeVarint(value: number): Bytes {
  const out: number[] = []
  let left = value
  while (left >= 0x80) {
    out.push((left % 0x80) | 0x80)
    left = Math.floor(left / 0x80)
  }
  out.push(left)
  return Uint8Array.from(out)
}

/** Puts the length in front of `bytes`. */
export function lengthPrefixed(bytes: Bytes): Bytes {
  return concat(encodeVarint(bytes.length), bytes)
}
