// The encrypted database: tables of sealed rows over an ordered engine. Floor 1.
import { invariant } from '../../protocols/base/errors.ts'
import type { Backing, Change, KeyRange } from './backing.ts'
import { storeError } from './faults.ts'
import type { RowSeal } from './seal.ts'
import type { Op, Range, Row, Store } from './types.ts'
import { makeWriter } from './writer.ts'

// Between table and key. Names hold no control characters, so no table's rows lie within another's.
const SEPARATOR = '\u0001'
const AFTER = '\u0002'

/** Builds the store over an engine; `onClose` runs once everything is written and the engine is closed. */
export function makeStore(
  backing: Backing,
  seal: RowSeal,
  onClose: () => Promise<void> = () => Promise.resolve(),
): Store {
  const writer = makeWriter((changes) => backing.batch(changes))
  let closing: Promise<void> | undefined

  const toChange = (op: Op): Change => {
    const key = fullKey(op.table, op.key)
    return op.kind === 'put'
      ? { type: 'put', key, value: seal.seal(key, op.value) }
      : { type: 'del', key }
  }

  return {
    async get(table, key) {
      const full = fullKey(table, key)
      try {
        const sealed = await backing.get(full)
        return sealed === undefined ? undefined : seal.open(full, sealed)
      } catch (error) {
        throw storeError(error, `table ${table}`)
      }
    },
    async *rows(table, range = {}): AsyncIterable<Row> {
      const bounds = boundsOf(table, range)
      try {
        for await (const [full, sealed] of backing.visit(bounds)) {
          yield { key: full.slice(table.length + 1), value: seal.open(full, sealed) }
        }
      } catch (error) {
        throw storeError(error, `table ${table}`)
      }
    },
    async *keys(table, range = {}): AsyncIterable<string> {
      try {
        for await (const full of backing.keys(boundsOf(table, range))) {
          yield full.slice(table.length + 1)
        }
      } catch (error) {
        throw storeError(error, `table ${table}`)
      }
    },
    async commit(ops) {
      if (ops.length > 0) await writer.commit(ops.map(toChange))
    },
    close() {
      closing ??= writer
        .close()
        .then(() => backing.close())
        .then(onClose)
      return closing
    },
  }
}

function fullKey(table: string, key: string): string {
  invariant(!/[\u0000-\u001f]/.test(table + key), 'row keys hold no control characters')
  return `${table}${SEPARATOR}${key}`
}

function boundsOf(table: string, range: Range): KeyRange {
  const base = `${table}${SEPARATOR}`
  // No key ends where another begins with U+0000 appended, so that is the least key after `gt`.
  const lowers = [
    range.prefix ?? '',
    range.gte ?? '',
    range.gt === undefined ? '' : `${range.gt}\u0000`,
  ]
  const uppers = [`${table}${AFTER}`]
  if (range.lt !== undefined) uppers.push(base + range.lt)
  if (range.prefix !== undefined) uppers.push(`${base}${range.prefix}\u{10ffff}`)
  return {
    gte: base + (lowers.sort(compareUtf8).at(-1) ?? ''),
    lt: uppers.sort(compareUtf8)[0] ?? '',
    limit: range.limit ?? -1,
    reverse: range.reverse ?? false,
  }
}

/** Orders text by its UTF-8 octets, which is the order of code points. */
export function compareUtf8(a: string, b: string): number {
  const encoder = new TextEncoder()
  return Buffer.compare(encoder.encode(a), encoder.encode(b))
}
