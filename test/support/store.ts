// Stores for tests: the real database in a folder of its own, and one in memory.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { deriveScryptKey } from '../../src/crypto/scrypt.ts'
import { makeStore } from '../../src/store/database.ts'
import { locateHome } from '../../src/store/home.ts'
import type { Home } from '../../src/store/home.ts'
import type { KeySource, StoreCrypto } from '../../src/store/key-source.ts'
import { openMemory } from '../../src/store/memory.ts'
import { openStore } from '../../src/store/open.ts'
import type { OpenedStore } from '../../src/store/open.ts'
import { makeRowSeal } from '../../src/store/seal.ts'
import type { Store } from '../../src/store/types.ts'

/** The store's cryptography, with a scrypt cost that tests can afford. */
export const storeCrypto: StoreCrypto = {
  seal: (...args) => native.seal(...args),
  open: (...args) => native.open(...args),
  hkdfSha256: (...args) => native.hkdfSha256(...args),
  randomBytes,
  scrypt: (passphrase, salt) => deriveScryptKey(passphrase, salt, { N: 1_024, r: 8, p: 1 }),
}

/** A folder that is removed when disposed of. */
export class Scratch implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), 'conclave-'))

  home(name = 'home'): Home {
    return locateHome(join(this.path, name), undefined)
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Opens the real database of a home, making it where there is none. */
export function openHome(home: Home, key: KeySource = { kind: 'file' }): Promise<OpenedStore> {
  return openStore({ home, key, crypto: storeCrypto, create: true })
}

/** A store in memory; give `rows` of an earlier one to restart on them. */
export function memoryStore(rows: Map<string, Bytes> = new Map<string, Bytes>()): Store {
  return makeStore(openMemory(rows), makeRowSeal(new Uint8Array(32).fill(7), storeCrypto))
}
