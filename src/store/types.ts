// The port of the store: rows by table and key, atomic batches. Floor 1; no I/O here.
import type { Bytes } from '../../protocols/base/bytes.ts'

/** One change of a batch. Keys are UTF-8 text without control characters; values are plain bytes. */
export type Op =
  | { readonly kind: 'put'; readonly table: string; readonly key: string; readonly value: Bytes }
  | { readonly kind: 'del'; readonly table: string; readonly key: string }

/** A row as read back. */
export interface Row {
  readonly key: string
  readonly value: Bytes
}

/** Which rows of a table to read; keys are ordered by their UTF-8 bytes. */
export interface Range {
  /** Inclusive lower bound. */
  readonly gte?: string
  /** Exclusive lower bound. */
  readonly gt?: string
  /** Exclusive upper bound. */
  readonly lt?: string
  /** Only keys that begin with this. */
  readonly prefix?: string
  readonly limit?: number
  readonly reverse?: boolean
}

/**
 * An encrypted database. Every value is sealed with its table and key as associated data.
 *
 * All calls throw `STORE_CORRUPT` for a row that does not open, `STORE_FULL` and `STORE_UNWRITABLE`
 * for a failing disk, `STATE_CLOSED` after `close`. A failed commit changed nothing.
 */
export interface Store {
  get(table: string, key: string): Promise<Bytes | undefined>
  rows(table: string, range?: Range): AsyncIterable<Row>
  /** The keys of those rows alone: nothing is opened, so nothing is authenticated either. */
  keys(table: string, range?: Range): AsyncIterable<string>
  /**
   * Writes all operations or none; resolves once they are synced to disk. Concurrent calls share one
   * synchronous batch (group commit); their order is the order of the calls.
   */
  commit(ops: readonly Op[]): Promise<void>
  /** Waits for pending commits and releases the lock. */
  close(): Promise<void>
}

/** An operation that writes a row. */
export function put(table: string, key: string, value: Bytes): Op {
  return { kind: 'put', table, key, value }
}

/** An operation that deletes a row, if there is one. */
export function del(table: string, key: string): Op {
  return { kind: 'del', table, key }
}
