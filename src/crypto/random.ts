// Random bytes from the operating system's generator, drawn in blocks. Floor 1.
import { randomFillSync } from 'node:crypto'
import type { Bytes } from '../../protocols/base/bytes.ts'

/** Draws up to this many octets share one of POOL_BYTES, which costs little more than one alone. */
const SHARED_BYTES_MAX = 256
const POOL_BYTES = 4_096

const pool = new Uint8Array(POOL_BYTES)
let used: number = pool.length

/** Draws `count` random bytes: a fresh `Uint8Array`, never a `Buffer`. */
export function randomBytes(count: number): Bytes {
  if (count > SHARED_BYTES_MAX) return randomFillSync(new Uint8Array(count))
  if (used + count > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const out = pool.slice(used, used + count)
  pool.fill(0, used, used + count) // Handed out once, kept nowhere else.
  used += count
  return out
}
