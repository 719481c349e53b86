// Rows of one simulated member: the store's interface over maps, so that rows can be copied, counted and stolen.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Op, Range, Row, Store } from '../../src/store/types.ts'

/** Rows by table and key. */
export type Tables = Map<string, Map<string, Bytes>>

/** A copy that later writes leave alone. */
export function copyTables(tables: Tables): Tables {
  return new Map([...tables].map(([name, rows]) => [name, new Map(rows)]))
}

/** A store over rows; all of a batch or nothing. Values are copied on the way in and out. */
export class SimStore implements Store {
  readonly tables: Tables
  readonly #onPut: (table: string, key: string, value: Bytes) => void

  constructor(tables: Tables, onPut: OnPut = ignore) {
    this.tables = tables
    this.#onPut = onPut
  }

  async get(table: string, key: string): Promise<Bytes | undefined> {
    return this.tables.get(table)?.get(key)?.slice()
  }

  async *rows(table: string, range: Range = {}): AsyncIterable<Row> {
    for (const key of this.#keys(table, range)) {
      const value = this.tables.get(table)?.get(key)
      if (value !== undefined) yield { key, value: value.slice() }
    }
  }

  async *keys(table: string, range: Range = {}): AsyncIterable<string> {
    yield* this.#keys(table, range)
  }

  async commit(ops: readonly Op[]): Promise<void> {
    for (const op of ops) {
      let rows = this.tables.get(op.table)
      if (rows === undefined) {
        rows = new Map<string, Bytes>()
        this.tables.set(op.table, rows)
      }
      if (op.kind === 'del') rows.delete(op.key)
      else {
        const value = op.value.slice()
        rows.set(op.key, value)
        this.#onPut(op.table, op.key, value)
      }
    }
  }

  async close(): Promise<void> {
    // Nothing is open.
  }

  /** Keys here are ASCII, so that their order is that of their octets. */
  #keys(table: string, { gte, gt, lt, prefix = '', limit, reverse }: Range): string[] {
    const keys = [...(this.tables.get(table)?.keys() ?? [])].filter(
      (key) =>
        key.startsWith(prefix) &&
        (gte === undefined || key >= gte) &&
        (gt === undefined || key > gt) &&
        (lt === undefined || key < lt),
    )
    keys.sort()
    if (reverse === true) keys.reverse()
    return limit === undefined ? keys : keys.slice(0, limit)
  }
}

type OnPut = (table: string, key: string, value: Bytes) => void
const ignore: OnPut = () => undefined
