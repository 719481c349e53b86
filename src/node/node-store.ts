// Opens a home's store with this node's cryptography. Floor 3.
import { native } from '../crypto/native.ts'
import { randomBytes } from '../crypto/random.ts'
import { deriveScryptKey } from '../crypto/scrypt.ts'
import type { Home } from '../store/home.ts'
import type { KeySource } from '../store/key-source.ts'
import { openStore } from '../store/open.ts'
import type { OpenedStore } from '../store/open.ts'

/** Opens the store; errors as `openStore`. */
export function openNodeStore(options: {
  readonly home: Home
  readonly key: KeySource
  readonly create: boolean
}): Promise<OpenedStore> {
  const crypto = {
    seal: native.seal.bind(native),
    open: native.open.bind(native),
    hkdfSha256: native.hkdfSha256.bind(native),
    randomBytes,
    scrypt: deriveScryptKey,
  }
  return openStore({ ...options, crypto })
}
