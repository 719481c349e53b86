// The modulus check of ML-KEM encapsulation keys, before both implementations. Floor 1 (spec: direct §3).
// OpenSSL checks it again; the portable library's own check lets unreduced coefficients through.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { KemParameter } from '../../protocols/base/primitives.ts'
import { KEM_LENGTHS } from './checks.ts'

const Q = 3_329
const RHO_BYTES = 32

/**
 * True if `key` has the length of its parameter set and all coefficients, 12 bits each, are below q.
 *
 * @see FIPS 203 §7.2, “modulus check”.
 */
export function isKemKey(parameter: KemParameter, key: Bytes): boolean {
  if (key.length !== KEM_LENGTHS[parameter].keyBytes) return false
  const end = key.length - RHO_BYTES
  let reduced = true
  for (let i = 0; i < end; i += 3) {
    const [low = 0, middle = 0, high = 0] = [key[i], key[i + 1], key[i + 2]]
    const first = low | ((middle & 0x0f) << 8)
    const second = (middle >>> 4) | (high << 4)
    reduced &&= first < Q && second < Q
  }
  return reduced
}
