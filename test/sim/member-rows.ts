// What a simulated member reads back from its rows beside the state of its group.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { refKey } from '../../protocols/group/ids.ts'
import type { EpochRows } from '../../protocols/group/jobs.ts'
import type { Delivered, GroupEffect } from '../../protocols/group/state.ts'
import type { GroupId } from '../../protocols/group/types.ts'
import { sortable } from '../../src/node/direct-rows.ts'
import type { GroupHistory } from '../../src/node/group-history.ts'
import type { GroupLog } from '../../src/node/group-log.ts'
import { GROUP_TABLES, saveRows, unpackPayload, unpackRow } from '../../src/node/group-rows.ts'
import type { Op, Store } from '../../src/store/types.ts'

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

/** Where a step's rows go. */
interface RowParts {
  readonly groupId: GroupId
  readonly log: GroupLog
  readonly history: GroupHistory | undefined
  readonly nowMs: TimeMs
}

/** What a step writes, and hands over. */
export function rowsOf(
  effects: readonly GroupEffect[],
  { groupId, log, history, nowMs }: RowParts,
): { readonly ops: Op[]; readonly delivered: Delivered[] } {
  const ops: Op[] = []
  const delivered: Delivered[] = []
  for (const effect of effects) {
    switch (effect.kind) {
      case 'saveFrame':
        ops.push(...log.append(effect.frameId, effect.hour, effect.frame, nowMs))
        break
      case 'deliver':
        ops.push(...(history?.append(effect.message).ops ?? []))
        delivered.push(effect.message)
        break
      case 'startJob':
      case 'keepHandle':
      case 'publish':
      case 'handJoin':
      case 'wantSync':
      case 'wantInfo':
      case 'inviteAgain':
      case 'changed':
      case 'intentFailed':
        break
      default:
        ops.push(...saveRows(groupId, effect))
    }
  }
  return { ops, delivered }
}
