// What a simulated member reads back from its rows beside the state of its group.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { refKey } from '../../protocols/group/ids.ts'
import type { EpochRows } from '../../protocols/group/jobs.ts'
import type { Delivered } from '../../protocols/group/state.ts'
import type { GroupId } from '../../protocols/group/types.ts'
import { sortable } from '../../src/node/direct-rows.ts'
import { GROUP_TABLES, unpackPayload, unpackRow } from '../../src/node/group-rows.ts'
import type { Store } from '../../src/store/types.ts'

/** The rows that engine jobs read, as src/node/running-group.ts hands them out. */
export function epochRowsOf(store: Store, groupId: GroupId): EpochRows {
  const read = async (table: string, key: string): Promise<readonly unknown[] | undefined> => {
    const row = await store.get(table, `${groupId}/${key}`)
    return row === undefined ? undefined : unpackRow(row)
  }
  const tree = async (hash: Bytes): Promise<Bytes | undefined> =>
    (await read(GROUP_TABLES.tree, formatHex(hash)))?.[0] as Bytes | undefined
  return {
    tree,
    async kept(author, n) {
      const row = await read(GROUP_TABLES.payload, `${refKey(author)}/${sortable(n)}`)
      return row?.[0] as Bytes | undefined
    },
    async snapshot(id) {
      const row = await read(GROUP_TABLES.snapshot, id)
      const epoch = await read(GROUP_TABLES.epoch, id)
      const found = epoch && (await tree(epoch[4] as Bytes))
      if (row === undefined || found === undefined) return undefined
      return { snapshot: row[0] as Bytes, tree: found }
    },
    async checkpoint(id) {
      return (await read(GROUP_TABLES.checkpoint, id))?.[2] as Bytes | undefined
    },
  }
}

/** Messages that were handed over, in order of arrival. */
export async function deliveredIn(store: Store): Promise<Delivered[]> {
  const delivered: Delivered[] = []
  for await (const { value } of store.rows(GROUP_TABLES.message)) {
    const [own, epoch, receivedAt, gap, late, payload] = unpackRow(value) as [
      boolean,
      number,
      TimeMs,
      boolean,
      boolean,
      readonly unknown[],
    ]
    delivered.push({ own, epoch, receivedAt, gap, late, payload: unpackPayload(payload) })
  }
  return delivered
}
