// Opens a home's store: lock, data key, database, generation. Floor 1.
import { formatHex, u64, utf8 } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { openLevel } from './backing.ts'
import { openDataKey } from './data-key.ts'
import { makeStore } from './database.ts'
import { storeError } from './faults.ts'
import { readIfPresent, writeAtomic } from './files.ts'
import { createHome } from './home.ts'
import type { Home } from './home.ts'
import type { KeySource, StoreCrypto } from './key-source.ts'
import { takeLock } from './lock.ts'
import { makeRowSeal } from './seal.ts'
import { del, put } from './types.ts'
import type { Store } from './types.ts'

/** How often the generation is raised while the store is open. */
export const GENERATION_INTERVAL_MS = 600_000

const META = 'meta'
const GENERATION = 'generation'
/** The database was found older than its home, and what follows from that is not done yet. */
const REGRESSED = 'regressed'

/** What `openStore` needs. */
export interface OpenOptions {
  readonly home: Home
  readonly key: KeySource
  readonly crypto: StoreCrypto
  /** Make a home where there is none; otherwise `USAGE_HOME_MISSING`. */
  readonly create: boolean
}

/** A store, and whether it is older than what this home had seen: restored from a backup. */
export interface OpenedStore {
  readonly store: Store
  /** Stays true over restarts until `settle` is durable. */
  readonly regressed: boolean
  /** Everything that follows from a restored backup is durable: the next start is an ordinary one. */
  settle(): Promise<void>
}

/**
 * Opens the one database of a home; only one process may.
 *
 * @throws ConclaveError `STORE_LOCKED`, `STORE_KEY_WRONG`, `STORE_CORRUPT`, `STORE_UNWRITABLE`, `STORE_FULL`,
 *   `USAGE_HOME_MISSING`, `CONFIG_VALUE`.
 */
export async function openStore({ home, key, crypto, create }: OpenOptions): Promise<OpenedStore> {
  if (create) await createHome(home)
  else await openDataKey(home, key, crypto, false) // a missing home or a wrong key says so before a lock is left
  const lock = await takeLock(home)
  try {
    const dataKey = await openDataKey(home, key, crypto, create)
    const level = await openLevel(home.database)
    let timer: NodeJS.Timeout | undefined
    const store = makeStore(level, makeRowSeal(dataKey, crypto), async () => {
      clearInterval(timer)
      await lock.release()
    })
    try {
      const regressed = await raiseGeneration(store, home)
      timer = setInterval(
        () => void raiseGeneration(store, home).catch(() => undefined),
        GENERATION_INTERVAL_MS,
      )
      timer.unref()
      return {
        store,
        regressed,
        settle: () => (regressed ? store.commit([del(META, REGRESSED)]) : Promise.resolve()),
      }
    } catch (error) {
      await store.close()
      throw error
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** Database first, then the file beside it: only a restored database is ever behind the file (`direct` §9). */
async function raiseGeneration(store: Store, home: Home): Promise<boolean> {
  const held = await store.get(META, GENERATION)
  const inDatabase = held === undefined ? 0 : Number(`0x${formatHex(held)}`)
  const beside = await readIfPresent(home.generation).catch((error: unknown) => {
    throw storeError(error, home.generation)
  })
  const inFile = beside === undefined ? 0 : Number(new TextDecoder().decode(beside))
  if (held === undefined && beside !== undefined) {
    // LevelDB drops damaged records without a word; this one was synced before the file was written.
    throw new ConclaveError('STORE_CORRUPT', 'the database has lost rows that were synced', {
      hint: 'restore the home from a backup; nothing was changed',
    })
  }
  const next = Math.max(inDatabase, Number.isSafeInteger(inFile) ? inFile : 0) + 1
  // In one batch: a crash after it finds an equal generation, and must still know what had been found.
  const isBehind = inDatabase < inFile
  const known = await store.get(META, REGRESSED)
  const flag = isBehind ? [put(META, REGRESSED, Uint8Array.of(1))] : []
  await store.commit([put(META, GENERATION, u64(next)), ...flag])
  try {
    await writeAtomic(home.generation, utf8(`${next}\n`))
  } catch (error) {
    throw storeError(error, home.generation)
  }
  return isBehind || known !== undefined
}
