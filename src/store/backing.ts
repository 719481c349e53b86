// What the database needs of a key-value engine, and LevelDB as that engine. Floor 1.
import { ClassicLevel } from 'classic-level'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { storeError } from './faults.ts'

/** Rows that go before this much is written, as those of an outbox do, are never sorted into tables. */
const WRITE_BUFFER_BYTES: number = 8 * 1_024 * 1_024

/** One change of a batch, as the engine sees it. */
export type Change =
  | { readonly type: 'put'; readonly key: string; readonly value: Bytes }
  | { readonly type: 'del'; readonly key: string }

/** Keys to visit, ordered by their UTF-8 octets. */
export interface KeyRange {
  readonly gte: string
  readonly lt: string
  readonly limit: number
  readonly reverse: boolean
}

/** An ordered key-value engine with atomic, synced batches. */
export interface Backing {
  get(key: string): Promise<Bytes | undefined>
  /** Writes all or nothing; resolves when synced. */
  batch(changes: readonly Change[]): Promise<void>
  /** Visits a consistent snapshot. */
  visit(range: KeyRange): AsyncIterable<readonly [key: string, value: Bytes]>
  /** The keys that `visit` would name, without reading values. */
  keys(range: KeyRange): AsyncIterable<string>
  close(): Promise<void>
}

/** Opens LevelDB in a folder; it verifies every checksum it reads. */
export async function openLevel(folder: string): Promise<Backing> {
  const level = new ClassicLevel<string, Uint8Array>(folder, {
    valueEncoding: 'view',
    compression: false, // sealed rows do not shrink
    writeBufferSize: WRITE_BUFFER_BYTES,
  })
  try {
    await level.open()
  } catch (error) {
    throw storeError(error, folder)
  }
  return {
    get: (key) => level.get(key),
    batch: (changes) => level.batch([...changes], { sync: true }),
    visit: (range) => level.iterator(range),
    keys: (range) => level.keys(range),
    close: () => level.close(),
  }
}
