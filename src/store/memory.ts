// An engine in memory, with the order and the atomicity of the real one; for homes that need not last, and tests. Floor 1.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Backing, KeyRange } from './backing.ts'
import { compareUtf8 } from './database.ts'

/** Makes an engine over a map, which may be looked into and given to another engine: a restart. */
export function openMemory(rows: Map<string, Bytes> = new Map<string, Bytes>()): Backing {
  const within = (key: string, { gte, lt }: KeyRange): boolean =>
    compareUtf8(key, gte) >= 0 && compareUtf8(key, lt) < 0
  const keysIn = (range: KeyRange): string[] => {
    const keys = [...rows.keys()].filter((key) => within(key, range)).sort(compareUtf8)
    if (range.reverse) keys.reverse()
    return range.limit < 0 ? keys : keys.slice(0, range.limit)
  }
  return {
    get: (key) => Promise.resolve(rows.get(key)),
    batch(changes) {
      for (const change of changes) {
        if (change.type === 'put') rows.set(change.key, change.value)
        else rows.delete(change.key)
      }
      return Promise.resolve()
    },
    visit(range) {
      const snapshot = keysIn(range).map(
        (key) => [key, rows.get(key) ?? new Uint8Array(0)] as const,
      )
      return iterate(snapshot)
    },
    keys: (range) => iterate(keysIn(range)),
    close: () => Promise.resolve(),
  }
}

async function* iterate<T>(items: readonly T[]): AsyncIterable<T> {
  for (const item of items) yield await Promise.resolve(item)
}
