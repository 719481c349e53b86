// Keys from passphrases: scrypt (RFC 7914) on the thread pool. Floor 1.
import { scrypt } from 'node:crypto'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'

/** Cost parameters of scrypt (RFC 7914 §2). */
export interface ScryptCost {
  /** CPU and memory cost: a power of two above 1. */
  readonly N: number
  /** Block size. */
  readonly r: number
  /** Parallelisation. */
  readonly p: number
}

/* Implementation constants: 128 MiB and about half a second today. */
const SCRYPT_COST: ScryptCost = { N: 2 ** 17, r: 8, p: 1 }
/** Most memory a stored cost may ask for: a file must not be able to exhaust the machine. */
export const SCRYPT_MEMORY_BYTES_MAX: number = 1_024 * 1_024 * 1_024
/** Most parallelisation a stored cost may ask for: time grows with it, memory does not. */
const SCRYPT_PARALLEL_MAX = 16

/**
 * Derives a key from a passphrase, off the main thread.
 *
 * @param passphrase - UTF-8 bytes; the caller wipes them.
 * @param salt - At least 16 random bytes.
 * @param length - Bytes of key to derive.
 * @throws ConclaveError `STORE_CORRUPT` if the cost is malformed or beyond the maxima.
 */
export async function deriveScryptKey(
  passphrase: Bytes,
  salt: Bytes,
  cost: ScryptCost = SCRYPT_COST,
  length = 32,
): Promise<Bytes> {
  const { N, r, p } = cost
  const memory = 128 * r * (N + p)
  if (!isCost(cost) || memory > SCRYPT_MEMORY_BYTES_MAX) {
    throw new ConclaveError('STORE_CORRUPT', `scrypt cost N=${N} r=${r} p=${p} is not acceptable`, {
      hint: `N must be a power of two, p at most ${SCRYPT_PARALLEL_MAX} and memory at most ${SCRYPT_MEMORY_BYTES_MAX} bytes; restore the key file from a backup.`,
    })
  }
  return new Promise((resolve, reject) => {
    // Node refuses at exactly `maxmem`, hence the block to spare.
    scrypt(passphrase, salt, length, { N, r, p, maxmem: memory + 1_024 * r }, (error, key) => {
      if (error === null) resolve(new Uint8Array(key.buffer, key.byteOffset, key.length))
      else reject(error)
    })
  })
}

function isCost({ N, r, p }: ScryptCost): boolean {
  const whole = [N, r, p].every((value) => Number.isSafeInteger(value) && value > 0)
  return whole && N > 1 && Number.isInteger(Math.log2(N)) && p <= SCRYPT_PARALLEL_MAX
}
