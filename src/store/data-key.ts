// The key that seals rows, itself sealed by the key-encryption key in `data.key`. Floor 1.
//
// data.key: version 1 ‖ kind 1 ‖ salt 32 ‖ nonce 12 ‖ sealed data key 48; the first 34 octets are associated data.
import { concat, makeReader } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { storeError } from './faults.ts'
import { readIfPresent, writeNew } from './files.ts'
import type { Home } from './home.ts'
import { readSealingKey } from './key-source.ts'
import type { KeySource, StoreCrypto } from './key-source.ts'

const VERSION = 1
const KINDS: readonly KeySource['kind'][] = ['file', 'passphrase', 'command']
const FLAGS = {
  file: 'no flag, only secret.key',
  passphrase: '--passphrase-file',
  command: '--key-command',
}

/**
 * Opens the home's data key, or makes one where there is none and `create` is set.
 *
 * @throws ConclaveError `STORE_KEY_WRONG` if the key does not open it, `STORE_CORRUPT` if the file is damaged,
 *   `USAGE_HOME_MISSING` if there is none and `create` is not set. Nothing on the disk is changed then.
 */
export async function openDataKey(
  home: Home,
  source: KeySource,
  crypto: StoreCrypto,
  create: boolean,
): Promise<Bytes> {
  const file = await readIfPresent(home.dataKey).catch((error: unknown) => {
    throw storeError(error, home.dataKey)
  })
  if (file !== undefined) return unsealDataKey(file, home, source, crypto)
  if (create) return makeDataKey(home, source, crypto)
  throw new ConclaveError('USAGE_HOME_MISSING', `there is no home at ${home.path}`, {
    hint: 'conclave up starts a node there; conclave id --init only makes its identity',
  })
}

async function makeDataKey(home: Home, source: KeySource, crypto: StoreCrypto): Promise<Bytes> {
  if ((await readIfPresent(`${home.database}/CURRENT`)) !== undefined) {
    throw new ConclaveError('STORE_KEY_WRONG', `${home.dataKey} is missing beside a database`, {
      hint: 'restore data.key from a backup of this home; without it no row can be read',
    })
  }
  const dataKey = crypto.randomBytes(32)
  const head = concat(Uint8Array.of(VERSION, KINDS.indexOf(source.kind)), crypto.randomBytes(32))
  const kek = await readSealingKey(source, home.secretKey, head.subarray(2), crypto, true)
  const nonce = crypto.randomBytes(12)
  try {
    await writeNew(home.dataKey, concat(head, nonce, crypto.seal(kek, nonce, head, dataKey)))
  } catch (error) {
    throw storeError(error, home.dataKey)
  }
  return dataKey
}

async function unsealDataKey(
  file: Bytes,
  home: Home,
  source: KeySource,
  crypto: StoreCrypto,
): Promise<Bytes> {
  const reader = makeReader(file)
  const head = reader.take(34)
  const nonce = reader.take(12)
  const sealed = reader.take(48)
  const kind = KINDS[head[1] ?? KINDS.length]
  if (!reader.done || head[0] !== VERSION || kind === undefined) {
    throw new ConclaveError('STORE_CORRUPT', `${home.dataKey} is damaged`, {
      hint: 'restore data.key from a backup of this home',
    })
  }
  if (kind !== source.kind) {
    throw new ConclaveError('STORE_KEY_WRONG', 'this home was sealed in another way', {
      hint: `it was made with ${FLAGS[kind]}`,
    })
  }
  const kek = await readSealingKey(source, home.secretKey, head.subarray(2), crypto, false)
  const dataKey = crypto.open(kek, nonce, head, sealed)
  if (dataKey !== undefined) return dataKey
  throw new ConclaveError('STORE_KEY_WRONG', `the key does not open ${home.path}`, {
    hint: `give the same ${FLAGS[kind]} this home was made with; nothing was changed`,
  })
}
