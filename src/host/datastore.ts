// A key-value port as libp2p's datastore: writes gather for a moment, reads are cached. Floor 1.
// The peer store writes on every stream it opens; nothing in it is worth a synced write of its own.
import { NotFoundError } from '@libp2p/interface'
import { BaseDatastore } from 'datastore-core'
import { Key } from 'interface-datastore'
import type { KeyQuery, Pair, Query } from 'interface-datastore'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { HostLog, KeyValue } from './options.ts'

/** How long a write may wait in memory; what a crash loses is found again by discovery. */
const FLUSH_DELAY_MS = 2_000

/** Writes that wait; a put beyond them waits for the flush. */
const PENDING_ROWS_MAX = 2_048

/** Rows kept for reading. */
const CACHED_ROWS_MAX = 1_024

/** Wraps a key-value port; `flush` and `close` must be awaited before the port goes away. */
export class HostDatastore extends BaseDatastore {
  readonly #storage: KeyValue
  readonly #log: HostLog | undefined
  /** Rows not written yet; undefined marks a deletion. */
  #pending = new Map<string, Bytes | undefined>()
  /** Rows being written. */
  #writing = new Map<string, Bytes | undefined>()
  readonly #cache = new Map<string, Bytes>()
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined

  constructor(storage: KeyValue, log?: HostLog) {
    super()
    this.#storage = storage
    this.#log = log
  }

  override async put(key: Key, value: Uint8Array): Promise<Key> {
    const row = new Uint8Array(value)
    this.#remember(key.toString(), row)
    await this.#enqueue(key.toString(), row)
    return key
  }

  override async get(key: Key): Promise<Uint8Array> {
    const name = key.toString()
    for (const rows of [this.#pending, this.#writing]) {
      if (!rows.has(name)) continue
      const row = rows.get(name)
      if (row === undefined) throw new NotFoundError()
      return row
    }
    const row = this.#cache.get(name) ?? (await this.#storage.get(name))
    if (row === undefined) throw new NotFoundError()
    this.#remember(name, row)
    return row
  }

  override async has(key: Key): Promise<boolean> {
    try {
      await this.get(key)
      return true
    } catch (error) {
      if (error instanceof NotFoundError) return false
      throw error
    }
  }

  override async delete(key: Key): Promise<void> {
    this.#cache.delete(key.toString())
    await this.#enqueue(key.toString(), undefined)
  }

  override async *_all(query: Query): AsyncGenerator<Pair> {
    await this.flush()
    for await (const { key, value } of this.#storage.query(query.prefix ?? '/')) {
      yield { key: new Key(key), value }
    }
  }

  override async *_allKeys(query: KeyQuery): AsyncGenerator<Key> {
    for await (const { key } of this._all(
      query.prefix === undefined ? {} : { prefix: query.prefix },
    )) {
      yield key
    }
  }

  /** Writes what waits; resolves once it is with the port, or has been put back for the next time. */
  async flush(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing
    if (this.#pending.size === 0) return
    this.#flushing = this.#write()
    await this.#flushing
  }

  /** Writes what waits and stops the timer. */
  async close(): Promise<void> {
    await this.flush()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  async #enqueue(name: string, row: Bytes | undefined): Promise<void> {
    this.#pending.set(name, row)
    if (this.#pending.size >= PENDING_ROWS_MAX) return this.flush()
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.flush()
    }, FLUSH_DELAY_MS).unref()
  }

  async #write(): Promise<void> {
    this.#writing = this.#pending
    this.#pending = new Map()
    const rows = [...this.#writing]
    const results = await Promise.allSettled(
      // Begun together, so that the port can commit them together.
      rows.map(([name, row]) =>
        row === undefined ? this.#storage.delete(name) : this.#storage.put(name, row),
      ),
    )
    const failed = results.findIndex(({ status }) => status === 'rejected')
    if (failed !== -1) {
      this.#log?.warn('peer store not written', { rows: rows.length })
      results.forEach(({ status }, i) => {
        const [name, row] = rows[i] ?? []
        if (status === 'fulfilled' || name === undefined || this.#pending.has(name)) return
        if (this.#pending.size < PENDING_ROWS_MAX - 1) this.#pending.set(name, row)
      })
    }
    this.#writing = new Map()
    this.#flushing = undefined
  }

  #remember(name: string, row: Bytes): void {
    this.#cache.delete(name)
    this.#cache.set(name, row)
    if (this.#cache.size <= CACHED_ROWS_MAX) return
    const [oldest] = this.#cache.keys()
    if (oldest !== undefined) this.#cache.delete(oldest)
  }
}
