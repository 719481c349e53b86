// Ed25519 encodings that both implementations refuse before they compute. Floor 1 (spec: direct §3).
// Verifiers disagree about non-canonical and small-order values; one that is lenient lets a signer
// make a signature that holds for some agents and not for others, or for many messages at once.
import { compareBytes } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { hex } from './checks.ts'
import { isCanonicalU } from './strict-x25519.ts'

// The order of the base point, L = 2^252 + 27742317777372353535851937790883648493, little-endian.
const ORDER: Bytes = hex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010')

// y of the eight points whose order divides 8, little-endian; points x and -x share a y.
const SMALL_ORDER_Y: readonly Bytes[] = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
].map(hex)

/**
 * True if a 32-byte key or R is a canonical encoding (y below 2^255 - 19) of no point of small order.
 *
 * Whether the point is on the curve is left to the implementation, which must decompress it anyway.
 */
export function isStrictPoint(encoded: Bytes): boolean {
  if (encoded.length !== 32) return false
  const y = Uint8Array.from(encoded)
  y[31] = (y[31] ?? 0) & 0x7f
  return isCanonicalU(y) && !SMALL_ORDER_Y.some((small) => compareBytes(small, y) === 0)
}

/** True if a 32-byte little-endian scalar is below the group order, as RFC 8032 §5.1.7 asks of S. */
export function isCanonicalScalar(scalar: Bytes): boolean {
  if (scalar.length !== 32) return false
  for (let i = 31; i >= 0; i--) {
    const difference = (scalar[i] ?? 0) - (ORDER[i] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return false
}

/** True if key and signature have the right lengths and strict encodings: A, R and S. */
export function isStrictSignature(publicKey: Bytes, signature: Bytes): boolean {
  return (
    signature.length === 64 &&
    isCanonicalScalar(signature.subarray(32)) &&
    isStrictPoint(signature.subarray(0, 32)) &&
    isStrictPoint(publicKey)
  )
}
