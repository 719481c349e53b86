// Messages of one group as its agent reads them: rows in order of arrival, and how far it has read. Floor 3.
import type { PeerId } from '../../protocols/base/ids.ts'
import { formatTime, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { Delivered } from '../../protocols/group/state.ts'
import type { GroupId } from '../../protocols/group/types.ts'
import { put } from '../store/types.ts'
import type { Op, Store } from '../store/types.ts'
import { sortable } from './direct-rows.ts'
import { GROUP_TABLES, packPayload, packRow, unpackPayload, unpackRow } from './group-rows.ts'
import { presentContent } from './inbox.ts'
import type { GroupMessage, GroupQuery } from './types.ts'

const READ_TABLE = 'group-read'
/** Arrivals a millisecond that keep their keys in step with the clock. */
const ARRIVALS_PER_MS = 256
/** The last time that has a text form; a peer may claim a later one. */
const DATE_MS_MAX = 8.64e15

/** What was said in one group. */
export class GroupHistory {
  readonly #store: Store
  readonly #groupId: GroupId
  #lastArrival: number
  #readUntil: string
  #unread: number

  private constructor(store: Store, groupId: GroupId, readUntil: string) {
    this.#store = store
    this.#groupId = groupId
    this.#readUntil = readUntil
    this.#lastArrival = 0
    this.#unread = 0
  }

  /** Reads how far the agent has read. */
  static async open(store: Store, groupId: GroupId): Promise<GroupHistory> {
    const row = await store.get(READ_TABLE, groupId)
    const readUntil = row === undefined ? sortable(0) : (unpackRow(row)[0] as string)
    const history = new GroupHistory(store, groupId, readUntil)
    const newest = { prefix: `${groupId}/`, reverse: true, limit: 1 }
    for await (const { key } of store.rows(GROUP_TABLES.message, newest)) {
      history.#lastArrival = Number.parseInt(key.slice(groupId.length + 1), 16)
    }
    for await (const { value } of store.rows(GROUP_TABLES.message, history.#after(readUntil))) {
      if (unpackRow(value)[0] !== true) history.#unread += 1
    }
    return history
  }

  /** Messages of others that were not read yet. */
  get unread(): number {
    return this.#unread
  }

  /** The row of a message, and what to call once it is durable. */
  append(message: Delivered): { readonly ops: Op[]; readonly after: () => void } {
    const { payload, epoch, receivedAt, own, gap, late } = message
    this.#lastArrival = Math.max(this.#lastArrival + 1, receivedAt * ARRIVALS_PER_MS)
    const key = this.#keyOf(sortable(this.#lastArrival))
    const row = packRow(own, epoch, receivedAt, gap, late, packPayload(payload))
    return {
      ops: [put(GROUP_TABLES.message, key, row)],
      after: () => {
        if (!own) this.#unread += 1
      },
    }
  }

  /** Messages as asked; without `all` and `peek`, what is answered counts as read. */
  async read({ all = false, peek = false, limit }: GroupQuery): Promise<GroupMessage[]> {
    const messages: GroupMessage[] = []
    let last: string | undefined
    let taken = 0
    const range = all ? { prefix: `${this.#groupId}/` } : this.#after(this.#readUntil)
    for await (const { key, value } of this.#store.rows(GROUP_TABLES.message, range)) {
      const [own, epoch, receivedAt, gap, late, payload] = unpackRow(value) as [
        boolean,
        number,
        TimeMs,
        boolean,
        boolean,
        readonly unknown[],
      ]
      if (own && !all) continue
      if (messages.length === limit) break
      const message: Delivered = {
        ...{ own, epoch, receivedAt, gap, late },
        payload: unpackPayload(payload),
      }
      messages.push(present(message))
      last = key.slice(this.#groupId.length + 1)
      if (!own && last > this.#readUntil) taken += 1
    }
    if (!peek && last !== undefined && last > this.#readUntil) {
      await this.#store.commit([put(READ_TABLE, this.#groupId, packRow(last))])
      this.#readUntil = last
      this.#unread = Math.max(0, this.#unread - taken)
    }
    return messages
  }

  #keyOf(arrival: string): string {
    return `${this.#groupId}/${arrival}`
  }

  #after(arrival: string): { readonly gt: string; readonly lt: string } {
    return { gt: this.#keyOf(arrival), lt: this.#keyOf('g') } // hexadecimal ends before g
  }
}

/** A message with the fields of the command line and the local API. */
export function present({ payload, epoch, receivedAt, gap, late }: Delivered): GroupMessage {
  const { contentType, body, author, msgId, groupId, sentAtMs } = payload
  const type = contentType === '' ? 'text/plain' : contentType
  const from: PeerId = author.peer
  return {
    id: msgId,
    groupId,
    from,
    sentAt: formatTime(toTimeMs(Math.min(sentAtMs, DATE_MS_MAX))),
    receivedAt: formatTime(receivedAt),
    type,
    ...presentContent(type, body),
    epoch,
    gap,
    late,
  }
}
