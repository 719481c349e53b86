// The host's rows (peer store, DHT records, certificates) inside the one database. Floor 3.
import { formatBase64Url, utf8 } from '../../protocols/base/bytes.ts'
import type { KeyValue } from '../host/options.ts'
import { del, put } from '../store/types.ts'
import type { Store } from '../store/types.ts'

const TABLE = 'host'

// Keys of the host may hold any character; those that the store refuses are written another way.
const UNFIT = /[\u0000-\u001f]/

const rowKey = (key: string): string =>
  UNFIT.test(key) ? `~${formatBase64Url(utf8(key))}` : `=${key}`

/** A view of the store that the host can use as its own. */
export function hostStorage(store: Store): KeyValue {
  return {
    get: (key) => store.get(TABLE, rowKey(key)),
    put: (key, value) => store.commit([put(TABLE, rowKey(key), value)]),
    delete: (key) => store.commit([del(TABLE, rowKey(key))]),
    async *query(prefix) {
      for await (const row of store.rows(TABLE, { prefix: `=${prefix}` })) {
        yield { key: row.key.slice(1), value: row.value }
      }
    },
  }
}
