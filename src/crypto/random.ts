// Random bytes from the operating system's generator, drawn in blocks. Floor 1.
import { randomFillSync } from 'node:crypto'
import type { Bytes } from '../../protocols/base/bytes.ts'

// A draw costs the same for 12 bytes as for 1,024, so small draws share one.
const pool = new Uint8Array(1_024)
let used: number = pool.length

/** Draws `count` random bytes: a fresh `Uint8Array`, never a `Buffer`. */
export function randomBytes(count: number): Bytes {
  if (count > 64) return randomFillSync(new Uint8Array(count))
  if (used + count > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const out = pool.slice(used, used + count)
  pool.fill(0, used, used + count) // Handed out once, kept nowhere else.
  used += count
  return out
}
