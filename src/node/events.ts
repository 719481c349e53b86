// The agent's event log: durable, numbered, followed from any id that is still kept. Floor 3.
import { decode } from 'cborg'
import { utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { del, put } from '../store/types.ts'
import type { Op, Store } from '../store/types.ts'
import type { AgentEvent, EventKind, EventService } from './types.ts'

/** Events kept; older ones are deleted and answer `STATE_EVENT_GONE`. */
export const EVENTS_KEPT_MAX = 100_000

/** Rows a follower reads at a time. */
const FOLLOW_PAGE_ROWS = 256

const TABLE = 'event'

/** Appends events to the batches of others and wakes those who follow. */
export interface EventLog extends EventService {
  /**
   * The rows of one new event. The caller commits them at once, without an await in between (so that ids
   * reach the disk in order), and then calls `wake`.
   */
  append(kind: EventKind, data: Readonly<Record<string, unknown>>): Op[]
  /** Tells followers that something new is durable. */
  wake(): void
  /** Appends an event of its own batch; a store that is closing keeps it from nobody who still listens. */
  announce(kind: EventKind, data: Readonly<Record<string, unknown>>): Promise<void>
}

/** `{` */
const JSON_START = 0x7b

const keyOf = (id: number): string => id.toString(16).padStart(14, '0')

type SavedEvent = Omit<AgentEvent, 'id'>

/** As JSON, which events are told in, too: each message writes one, and the engine's own encoder is the fastest. */
function encodeEvent(event: SavedEvent): Bytes {
  return utf8(JSON.stringify(event))
}

/** Reads a saved event: CBOR, too, in which events were saved before; a map in it never begins as an object in JSON does. */
export function decodeEvent(bytes: Bytes): SavedEvent {
  const isJson = bytes[0] === JSON_START
  return (isJson ? JSON.parse(new TextDecoder().decode(bytes)) : decode(bytes)) as SavedEvent
}

/** Opens the log over a store. */
export async function openEventLog(store: Store): Promise<EventLog> {
  let lastId = 0
  for await (const row of store.rows(TABLE, { reverse: true, limit: 1 })) {
    lastId = Number.parseInt(row.key, 16)
  }
  let firstId = lastId + 1
  for await (const row of store.rows(TABLE, { limit: 1 })) firstId = Number.parseInt(row.key, 16)
  const wakers = new Set<() => void>()

  const demandKept = (after: number): void => {
    if (after >= firstId - 1 && after <= lastId) return
    throw new ConclaveError('STATE_EVENT_GONE', `no event ${after} is kept`, {
      hint: `kept are ${firstId} to ${lastId}; read the inbox and the groups, then follow from ${lastId}`,
    })
  }

  const page = async (after: number): Promise<AgentEvent[]> => {
    demandKept(after)
    const events: AgentEvent[] = []
    const range = { gt: keyOf(after), limit: FOLLOW_PAGE_ROWS }
    for await (const row of store.rows(TABLE, range)) {
      events.push({ id: Number.parseInt(row.key, 16), ...decodeEvent(row.value) })
    }
    return events
  }

  const append: EventLog['append'] = (kind, data) => {
    lastId += 1
    const ops = [put(TABLE, keyOf(lastId), encodeEvent({ kind, data }))]
    while (lastId - firstId >= EVENTS_KEPT_MAX) ops.push(del(TABLE, keyOf(firstId++)))
    return ops
  }
  const wake = (): void => {
    for (const waker of wakers) waker()
  }

  return {
    get lastId() {
      return lastId
    },
    append,
    wake,
    async announce(kind, data) {
      try {
        await store.commit(append(kind, data))
        wake()
      } catch (error) {
        if (!(error instanceof ConclaveError) || error.family === 'BUG') throw error
      }
    },
    async *follow({ afterId, signal }) {
      let at = afterId
      let stale = true
      let notify = (): void => undefined
      const waker = (): void => {
        stale = true
        notify()
      }
      wakers.add(waker)
      const stop = (): void => notify()
      const stopped = (): boolean => signal.aborted
      signal.addEventListener('abort', stop)
      try {
        while (!stopped()) {
          if (!stale) await new Promise<void>((resolve) => (notify = resolve))
          stale = false
          for (let events = await page(at); events.length > 0; events = await page(at)) {
            for (const event of events) {
              if (stopped()) return
              at = event.id
              yield event
            }
          }
        }
      } finally {
        wakers.delete(waker)
        signal.removeEventListener('abort', stop)
      }
    },
  }
}
