// Seals rows: each with its key as associated data. Floor 1.
//
// Row: version 1 ‖ start id 16 ‖ nonce 12 ‖ ciphertext + tag 16. Each start of the process seals under a subkey of its own,
// so that random nonces under one key never come near the number where they might repeat.
import { concat, formatHex, makeReader, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { StoreCrypto } from './key-source.ts'

const VERSION = 1
const START_BYTES = 16
const NONCE_BYTES = 12

/** Subkeys of earlier starts kept at hand. */
const SUBKEYS_MAX = 256

/** Seals and opens the values of one database. */
export interface RowSeal {
  seal(key: string, value: Bytes): Bytes
  /** @throws ConclaveError `STORE_CORRUPT` naming the table of the row. */
  open(key: string, sealed: Bytes): Bytes
}

/** Makes the seal of a database from its data key. */
export function makeRowSeal(dataKey: Bytes, crypto: StoreCrypto): RowSeal {
  const subkeys = new Map<string, Bytes>()
  const subkeyOf = (start: Bytes): Bytes => {
    const name = formatHex(start)
    let subkey = subkeys.get(name)
    if (subkey === undefined) {
      subkey = crypto.hkdfSha256(start, dataKey, utf8('conclave store v1 rows'), 32)
      if (subkeys.size >= SUBKEYS_MAX) subkeys.clear()
      subkeys.set(name, subkey)
    }
    return subkey
  }
  const start = crypto.randomBytes(START_BYTES)
  const head = concat(Uint8Array.of(VERSION), start)
  const sealing = subkeyOf(start)
  return {
    seal(key, value) {
      const nonce = crypto.randomBytes(NONCE_BYTES)
      return concat(head, nonce, crypto.seal(sealing, nonce, utf8(key), value))
    },
    open(key, sealed) {
      const reader = makeReader(sealed)
      const version = reader.u8()
      const subkey = subkeyOf(reader.take(START_BYTES))
      const nonce = reader.take(NONCE_BYTES)
      const box = reader.rest()
      const value =
        reader.ok && version === VERSION ? crypto.open(subkey, nonce, utf8(key), box) : undefined
      if (value !== undefined) return value
      const table = key.slice(0, key.indexOf('\u0001'))
      throw new ConclaveError('STORE_CORRUPT', `a row of table ${table} does not open`, {
        hint: 'the database was damaged or tampered with; restore the home from a backup',
      })
    },
  }
}
