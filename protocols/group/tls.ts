// Variable-size vectors of the TLS presentation language (RFC 9420 §2.1.2). Floor 0, pure.
import { concat, u8 } from '../base/bytes.ts'
import type { Bytes, Reader } from '../base/bytes.ts'

/**
 * Encodes an octet vector: its length in 1, 2 or 4 octets, the shortest that fits, then the octets.
 *
 * @throws RangeError for 2^30 octets and more.
 */
export function vec(bytes: Bytes): Bytes {
  const n = bytes.length
  if (n < 0x40) return concat(u8(n), bytes)
  if (n < 0x4000) return concat(Uint8Array.of(0x40 | (n >> 8), n & 0xff), bytes)
  if (n >= 0x40000000) throw new RangeError(`a vector of ${n} octets`)
  const length = Uint8Array.of(0x80 | (n >> 24), (n >> 16) & 0xff, (n >> 8) & 0xff, n & 0xff)
  return concat(length, bytes)
}

/** Reads an octet vector; undefined if it is longer than `max`, not in shortest form, or cut. */
export function readVec(reader: Reader, max: number): Bytes | undefined {
  const first = reader.u8()
  const form = first >> 6
  let length = first & 0x3f
  if (form === 3) return undefined
  for (let more = form === 0 ? 0 : form === 1 ? 1 : 3; more > 0; more--) {
    length = length * 256 + reader.u8()
  }
  const least = form === 0 ? 0 : form === 1 ? 0x40 : 0x4000
  if (!reader.ok || length < least || length > max || length > reader.left) return undefined
  return reader.take(length)
}

/** Encodes a list of items as one vector. */
export function vecOf(items: readonly Bytes[]): Bytes {
  return vec(concat(...items))
}
