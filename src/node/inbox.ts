// Received messages: where they lie, how they get there, how they are handled and forgotten. Floor 3.
import { parseUtf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { formatTime, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { Handed, Held } from '../../protocols/direct/receive-order.ts'
import { SEEN_MS } from '../../protocols/direct/types.ts'
import type { EnvelopeId, MessageId, Receipt } from '../../protocols/direct/types.ts'
import { del, put } from '../store/types.ts'
import type { Op, Row, Store } from '../store/types.ts'
import {
  decodeHeld,
  decodeInbox,
  decodePlace,
  decodeSeen,
  encodeInbox,
  encodePlace,
  encodeSeen,
  numberKey,
  sortable,
  TABLES,
  weekOf,
  weeksKept,
} from './direct-rows.ts'
import type { InboxRow, Place } from './direct-rows.ts'
import type { EventLog } from './events.ts'
import type { InboxMessage, InboxQuery } from './types.ts'

/** Handled messages kept for `inbox --all`; the oldest are forgotten, as are those past SEEN_MS. */
export const HANDLED_KEPT_MAX = 100_000

/** Arrivals a millisecond that keep their keys in step with the clock. */
const ARRIVALS_PER_MS = 256

/** The last time that has a text form; a peer may claim a later one. */
const DATE_MS_MAX = 8.64e15

/** Rows deleted in one batch while forgetting. */
const FORGET_BATCH_ROWS = 512

/** Contents of these types are never shown as text, even if they happen to be UTF-8. */
const BINARY_TYPE = /^(?:application\/octet-stream|(?:image|audio|video|font)\/.*)$/

/** What the inbox needs. */
export interface InboxOptions {
  readonly store: Store
  readonly events: EventLog
  readonly now: () => TimeMs
  readonly nameOf: (peer: PeerId) => string | null
}

/** A message to be marked as handled, as it lies now. */
export interface Located {
  readonly peer: PeerId
  readonly id: MessageId
  readonly place: Place
  readonly row: InboxRow
}

/** The boxes of received messages. Functions that answer rows are called while a batch is composed. */
export interface Inbox {
  /** Rows of a message that is handed over, and its event. */
  saveMessage(peer: PeerId, handed: Handed): Op[]
  /** Rows beside those of the conversation's state. */
  saveHeld(peer: PeerId, held: Held): Op[]
  saveRequest(peer: PeerId, held: Held): Op[]
  saveSeen(peer: PeerId, envelopeId: EnvelopeId, messageId: MessageId | undefined): Op[]
  saveHandoff(peer: PeerId, messageId: MessageId): Op[]
  /** Rows that move a located message to the handled ones. */
  archive(located: Located): Op[]
  /** The message of an envelope that was committed before; undefined for an unknown envelope. */
  findEnvelope(peer: PeerId, id: EnvelopeId): Promise<{ message?: Receipt } | undefined>
  /** How far a message got here. */
  findMessage(peer: PeerId, id: MessageId): Promise<Receipt['state'] | false>
  /** Finds messages by id, at every sender that used it; those handled or behind a hole are told apart by place. */
  locate(id: MessageId): Promise<Located[]>
  query(query: InboxQuery): Promise<InboxMessage[]>
  counts(): Promise<{ readonly unread: number; readonly requests: number }>
  /** Deletes what is past its life. */
  forget(): Promise<void>
}

/** Opens the boxes. */
export async function openInbox(options: InboxOptions): Promise<Inbox> {
  const { store } = options
  let last = 0
  for (const table of [TABLES.inbox, TABLES.handled]) {
    for await (const { key } of store.rows(table, { reverse: true, limit: 1 })) {
      last = Math.max(last, Number.parseInt(key, 16))
    }
  }
  return new Boxes(options, last)
}

class Boxes implements Inbox {
  readonly #options: InboxOptions
  #lastArrival: number

  constructor(options: InboxOptions, lastArrival: number) {
    this.#options = options
    this.#lastArrival = lastArrival
  }

  saveMessage(peer: PeerId, handed: Handed): Op[] {
    const { message } = handed
    const row = { ...handed, from: peer }
    const key = this.#nextArrival()
    const place = { table: TABLES.inbox, key }
    return [
      put(TABLES.inbox, key, encodeInbox(row)),
      put(TABLES.messageId, `${message.id}/${peer}`, encodePlace(place)),
      ...this.#options.events.append('message', { ...this.#present(row, false) }),
    ]
  }

  saveHeld(peer: PeerId, { message }: Held): Op[] {
    const place = { table: TABLES.held, key: numberKey(peer, message.sequence) }
    return [put(TABLES.messageId, `${message.id}/${peer}`, encodePlace(place))]
  }

  saveRequest(peer: PeerId, held: Held): Op[] {
    const { id } = held.message
    const place = { table: TABLES.request, key: `${peer}/${id}` }
    const row = { ...held, from: peer, gap: false, late: false }
    return [
      put(TABLES.messageId, `${id}/${peer}`, encodePlace(place)),
      ...this.#options.events.append('request', { ...this.#present(row, false) }),
    ]
  }

  saveSeen(peer: PeerId, envelopeId: EnvelopeId, messageId: MessageId | undefined): Op[] {
    const key = `${weekOf(this.#options.now())}/${peer}/${envelopeId}`
    return [put(TABLES.seen, key, encodeSeen(messageId))]
  }

  saveHandoff(peer: PeerId, messageId: MessageId): Op[] {
    const key = `${weekOf(this.#options.now())}/${peer}/m/${messageId}`
    return [put(TABLES.seen, key, encodeSeen(messageId))]
  }

  archive({ peer, id, place, row }: Located): Op[] {
    if (place.table === TABLES.handled) return []
    const key = place.table === TABLES.inbox ? place.key : this.#nextArrival()
    const handled = { table: TABLES.handled, key }
    return [
      put(TABLES.handled, key, encodeInbox(row)),
      put(TABLES.messageId, `${id}/${peer}`, encodePlace(handled)),
      // The row of a request goes with the conversation's state.
      ...(place.table === TABLES.inbox ? [del(TABLES.inbox, place.key)] : []),
    ]
  }

  async findEnvelope(peer: PeerId, id: EnvelopeId): Promise<{ message?: Receipt } | undefined> {
    for (const week of weeksKept(this.#options.now())) {
      const row = await this.#options.store.get(TABLES.seen, `${week}/${peer}/${id}`)
      if (row === undefined) continue
      const messageId = decodeSeen(row)
      if (messageId === undefined) return {}
      const state = await this.findMessage(peer, messageId)
      return { message: { id: messageId, state: state === false ? 'delivered' : state } }
    }
    return undefined
  }

  async findMessage(peer: PeerId, id: MessageId): Promise<Receipt['state'] | false> {
    const { store, now } = this.#options
    const place = await store.get(TABLES.messageId, `${id}/${peer}`)
    if (place !== undefined) {
      return decodePlace(place).table === TABLES.handled ? 'handled' : 'delivered'
    }
    for (const week of weeksKept(now())) {
      if ((await store.get(TABLES.seen, `${week}/${peer}/m/${id}`)) !== undefined)
        return 'delivered'
    }
    return false
  }

  async locate(id: MessageId): Promise<Located[]> {
    const found: Located[] = []
    const prefix = `${id}/`
    for await (const { key, value } of this.#options.store.rows(TABLES.messageId, { prefix })) {
      const place = decodePlace(value)
      const peer = key.slice(prefix.length) as PeerId // written from a PeerId
      const row = await this.#read(peer, place)
      if (row !== undefined) found.push({ peer, id, place, row })
    }
    return found
  }

  async query(query: InboxQuery): Promise<InboxMessage[]> {
    const { limit = Number.POSITIVE_INFINITY } = query
    if (query.requests === true) return this.#requests(query.from, limit)
    const found: { key: string; message: InboxMessage }[] = []
    const tables = query.all === true ? [TABLES.inbox, TABLES.handled] : [TABLES.inbox]
    for (const table of tables) {
      let count = 0
      for await (const { key, value } of this.#options.store.rows(table)) {
        const row = decodeInbox(value)
        if (query.from !== undefined && row.from !== query.from) continue
        if (count++ === limit) break
        found.push({ key, message: this.#present(row, table === TABLES.handled) })
      }
    }
    found.sort((a, b) => (a.key < b.key ? -1 : 1))
    return found.slice(0, limit).map(({ message }) => message)
  }

  async counts(): Promise<{ unread: number; requests: number }> {
    const count = async (table: string): Promise<number> => {
      let rows = 0
      for await (const _ of this.#options.store.keys(table)) rows += 1
      return rows
    }
    return { unread: await count(TABLES.inbox), requests: await count(TABLES.request) }
  }

  async forget(): Promise<void> {
    const { store, now } = this.#options
    const [, , oldestWeek = ''] = weeksKept(now())
    await this.#deleteAll(TABLES.seen, store.rows(TABLES.seen, { lt: oldestWeek }))
    await this.#deleteAll(TABLES.idempotency, store.rows(TABLES.idempotency, { lt: oldestWeek }))
    const seenSince = sortable(Math.max(0, now() - SEEN_MS) * ARRIVALS_PER_MS)
    let kept = 0
    let ops: Op[] = []
    for await (const { key, value } of store.rows(TABLES.handled, { reverse: true })) {
      kept += 1
      if (kept <= HANDLED_KEPT_MAX && key >= seenSince) continue
      const { from, message } = decodeInbox(value)
      ops.push(del(TABLES.handled, key), del(TABLES.messageId, `${message.id}/${from}`))
      if (ops.length < FORGET_BATCH_ROWS) continue
      await store.commit(ops)
      ops = []
    }
    if (ops.length > 0) await store.commit(ops)
  }

  async #deleteAll(table: string, rows: AsyncIterable<Row>): Promise<void> {
    let ops: Op[] = []
    for await (const { key } of rows) {
      ops.push(del(table, key))
      if (ops.length < FORGET_BATCH_ROWS) continue
      await this.#options.store.commit(ops)
      ops = []
    }
    if (ops.length > 0) await this.#options.store.commit(ops)
  }

  async #read(peer: PeerId, { table, key }: Place): Promise<InboxRow | undefined> {
    const bytes = await this.#options.store.get(table, key)
    if (bytes === undefined) return undefined
    if (table === 'inbox' || table === 'inbox-handled') return decodeInbox(bytes)
    return { ...decodeHeld(bytes), from: peer, gap: false, late: false }
  }

  async #requests(from: PeerId | undefined, limit: number): Promise<InboxMessage[]> {
    const range = from === undefined ? {} : { prefix: `${from}/` }
    const found: InboxRow[] = []
    for await (const { key, value } of this.#options.store.rows(TABLES.request, range)) {
      const peer = key.slice(0, key.indexOf('/')) as PeerId // written from a PeerId
      found.push({ ...decodeHeld(value), from: peer, gap: false, late: false })
    }
    found.sort((a, b) => a.receivedAt - b.receivedAt || a.message.sequence - b.message.sequence)
    return found.slice(0, limit).map((row) => this.#present(row, false))
  }

  /** Keys grow with every message and, over restarts, with the clock. */
  #nextArrival(): string {
    this.#lastArrival = Math.max(this.#lastArrival + 1, this.#options.now() * ARRIVALS_PER_MS)
    return sortable(this.#lastArrival)
  }

  #present(
    { from, message, receivedAt, gap, late, via }: InboxRow,
    handled: boolean,
  ): InboxMessage {
    const type = message.contentType ?? 'text/plain'
    return {
      id: message.id,
      from,
      name: this.#options.nameOf(from),
      sentAt: formatTime(toTimeMs(Math.min(message.sentAt, DATE_MS_MAX))),
      receivedAt: formatTime(receivedAt),
      type,
      ...presentContent(type, message.content),
      via,
      handled,
      gap,
      late,
    }
  }
}

/** Text where the content is UTF-8 text, else base64. */
export function presentContent(
  type: string,
  content: Bytes,
): { text: string } | { base64: string } {
  const text = BINARY_TYPE.test(type) ? undefined : parseUtf8(content)
  if (text !== undefined) return { text }
  const { buffer, byteOffset, byteLength } = content
  return { base64: Buffer.from(buffer, byteOffset, byteLength).toString('base64') }
}

/** Makes the error for message ids that no box knows. */
export function unknownMessages(ids: readonly string[]): ConclaveError {
  const some = ids.slice(0, 3).map((id) => id.slice(0, 64))
  return new ConclaveError(
    'USAGE_MESSAGE_UNKNOWN',
    `no received message has the id ${some.join(', ')}`,
    {
      hint: 'conclave inbox --all shows the ids; nothing was marked as handled',
    },
  )
}
