// Bytes: joining, comparing, text forms, and a bounded reader. Floor 0, pure.
import { base64url } from 'multiformats/bases/base64'

/** Octets. Never a Node `Buffer` above `host`, `store` and `crypto`. */
export type Bytes = Uint8Array

const HEX: readonly string[] = Array.from({ length: 256 }, (_, octet) =>
  octet.toString(16).padStart(2, '0'),
)
const encoder = new TextEncoder()
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Joins parts into one fresh array. */
export function concat(...parts: readonly Bytes[]): Bytes {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    out.set(part, offset)
    offset += part.length
  }
  return out
}

/** Compares two arrays in time that depends only on their lengths. */
export function equalBytes(a: Bytes, b: Bytes): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0)
  return difference === 0
}

/** Orders two arrays as unsigned octet strings: negative, zero or positive. */
export function compareBytes(a: Bytes, b: Bytes): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** True if every octet is zero; the empty array is. */
export function isZero(bytes: Bytes): boolean {
  let any = 0
  for (const octet of bytes) any |= octet
  return any === 0
}

/** Overwrites secrets with zeros, as far as a garbage-collected runtime allows. */
export function wipe(...secrets: readonly Bytes[]): void {
  for (const secret of secrets) secret.fill(0)
}

/** Encodes text as UTF-8. */
export function utf8(text: string): Bytes {
  return encoder.encode(text)
}

/** Decodes strict UTF-8; undefined if the bytes are anything else. */
export function parseUtf8(bytes: Bytes): string | undefined {
  try {
    return strictDecoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** Formats bytes as lowercase hexadecimal. */
export function formatHex(bytes: Bytes): string {
  let text = ''
  for (const octet of bytes) text += HEX[octet] ?? ''
  return text
}

/** Parses hexadecimal of either case; undefined if it is malformed or of odd length. */
export function parseHex(text: string): Bytes | undefined {
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(text)) return undefined
  const out = new Uint8Array(text.length / 2)
  for (let i = 0; i < out.length; i++)
    out[i] = (digitAt(text, 2 * i) << 4) | digitAt(text, 2 * i + 1)
  return out
}

/** The value of a hexadecimal digit: those of letters follow 9, and bit 6 tells letters. */
function digitAt(text: string, index: number): number {
  const code = text.charCodeAt(index)
  return (code & 0x0f) + 9 * (code >>> 6)
}

/** Formats bytes as base64url without padding (RFC 4648 §5). */
export function formatBase64Url(bytes: Bytes): string {
  return base64url.baseEncode(bytes)
}

/** Encodes an unsigned 8-bit integer. */
export function u8(value: number): Bytes {
  return Uint8Array.of(value)
}

/** Encodes an unsigned 32-bit integer, big-endian. */
export function u32(value: number): Bytes {
  const out = new Uint8Array(4)
  putU32(out, 0, value)
  return out
}

/** Encodes an unsigned integer below 2^53 as 64 bits, big-endian. */
export function u64(value: number): Bytes {
  const out = new Uint8Array(8)
  putU32(out, putU32(out, 0, Math.floor(value / 2 ** 32)), value)
  return out
}

/** Writes the low 32 bits, big-endian; answers where they end. Small arrays make a DataView ten times as slow. */
export function putU32(out: Bytes, at: number, value: number): number {
  out[at] = value >>> 24
  out[at + 1] = value >>> 16
  out[at + 2] = value >>> 8
  out[at + 3] = value
  return at + 4
}

/** Reads fixed-layout fields; a read past the end makes `ok` false for good and answers zeros. */
export interface Reader {
  /** False once any read went past the end or a u64 left the safe integers. */
  readonly ok: boolean
  /** True if nothing failed and nothing is left over. */
  readonly done: boolean
  /** Octets not read yet. */
  readonly left: number
  /** Takes `length` octets, copied. */
  take(length: number): Bytes
  u8(): number
  u32(): number
  /** An unsigned 64-bit integer that must be below 2^53. */
  u64(): number
  /** Takes what is left, copied. */
  rest(): Bytes
}

/** Makes a reader over `bytes`, which it never changes. Remote bytes never throw. */
export function makeReader(bytes: Bytes): Reader {
  let offset = 0
  let ok = true
  const advance = (length: number): number | undefined => {
    if (!ok || length < 0 || length > bytes.length - offset) {
      ok = false
      return undefined
    }
    offset += length
    return offset - length
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    get ok() {
      return ok
    },
    get done() {
      return ok && offset === bytes.length
    },
    get left() {
      return bytes.length - offset
    },
    take(length) {
      const at = advance(length)
      return at === undefined ? new Uint8Array(0) : new Uint8Array(bytes.subarray(at, at + length))
    },
    u8() {
      const at = advance(1)
      return at === undefined ? 0 : view.getUint8(at)
    },
    u32() {
      const at = advance(4)
      return at === undefined ? 0 : view.getUint32(at)
    },
    u64() {
      const at = advance(8)
      if (at === undefined) return 0
      const value = view.getBigUint64(at)
      if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value)
      ok = false
      return 0
    },
    rest() {
      return this.take(bytes.length - offset)
    },
  }
}
