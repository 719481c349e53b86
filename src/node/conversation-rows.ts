// A conversation's rows: what changed between two states, and the way back (direct-rows.ts). Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type {
  Conversation,
  Copies,
  OutboxEntry,
  SavedConversation,
  Trust,
} from '../../protocols/direct/conversation.ts'
import { FIRST_LEDGER } from '../../protocols/direct/conversation.ts'
import { loadSessions, sessionRows } from '../../protocols/direct/session-rows.ts'
import { del, put } from '../store/types.ts'
import type { Op, Row, Store } from '../store/types.ts'
import {
  decodeCopies,
  decodeDone,
  decodeHeld,
  decodeLedger,
  decodeLetter,
  decodeNotice,
  encodeCopies,
  encodeDone,
  encodeHeld,
  encodeLedger,
  encodeLetter,
  encodeNotice,
  numberKey,
  TABLES,
} from './direct-rows.ts'

const SKIPPED = 'skipped/'

/** The rows that turn the saved `before` into `after`. */
export function conversationRows(before: Conversation, after: Conversation): Op[] {
  const { peer } = after
  const ops = sessionRows(before.sessions, after.sessions).map((row): Op => {
    const table = row.key.startsWith(SKIPPED) ? TABLES.skipped : TABLES.session
    const key = `${peer}/${row.key}`
    return row.kind === 'put' ? put(table, key, row.value) : del(table, key)
  })
  if (before.ledger !== after.ledger) ops.push(put(TABLES.peer, peer, encodeLedger(after.ledger)))
  const identityKey = after.sessions.pinned?.identityKey
  if (identityKey !== undefined && before.sessions.pinned?.identityKey !== identityKey) {
    ops.push(put(TABLES.identityKey, peer, identityKey))
  }
  const keyOf = (number: number): string => numberKey(peer, number)
  ops.push(
    ...diffOrdered(TABLES.outbox, before.outbox, after.outbox, {
      item: ({ letter }) => letter,
      number: ({ letter }) => letter.sequence,
      encode: ({ letter }) => encodeLetter(letter),
      keyOf,
    }),
    ...diffOrdered(TABLES.copies, before.outbox.filter(hasCopies), after.outbox.filter(hasCopies), {
      item: ({ copies }) => copies,
      number: ({ letter }) => letter.sequence,
      encode: ({ copies }) => encodeCopies(copies),
      keyOf,
    }),
    ...diffOrdered(TABLES.notice, before.notices, after.notices, {
      item: ({ notice }) => notice,
      number: ({ notice }) => notice.number,
      encode: ({ notice }) => encodeNotice(notice),
      keyOf,
    }),
    ...diffOrdered(TABLES.held, before.held, after.held, {
      item: (held) => held,
      number: ({ message }) => message.sequence,
      encode: encodeHeld,
      keyOf,
    }),
    ...diffAny(TABLES.done, before.done, after.done, {
      key: ({ sequence }) => keyOf(sequence),
      encode: encodeDone,
    }),
    ...diffAny(TABLES.request, before.requests, after.requests, {
      key: ({ message }) => `${peer}/${message.id}`,
      encode: encodeHeld,
    }),
  )
  return ops
}

type StoredEntry = OutboxEntry & { readonly copies: Copies }

function hasCopies(entry: OutboxEntry): entry is StoredEntry {
  return entry.copies !== undefined
}

interface Ordered<T> {
  /** What is saved of it; the same object is the same row. */
  readonly item: (one: T) => object
  /** Ascending in both lists. */
  readonly number: (one: T) => number
  readonly keyOf: (number: number) => string
  readonly encode: (one: T) => Bytes
}

/** Compares two ascending lists in one walk: an outbox of a thousand changes at every batch. */
function diffOrdered<T>(
  table: string,
  before: readonly T[],
  after: readonly T[],
  { item, number, keyOf, encode }: Ordered<T>,
): Op[] {
  if (before === after) return []
  const ops: Op[] = []
  let at = 0
  for (const one of after) {
    const name = number(one)
    let old = before[at]
    while (old !== undefined && number(old) < name) {
      ops.push(del(table, keyOf(number(old))))
      old = before[++at]
    }
    const isKnown = old !== undefined && number(old) === name
    if (isKnown) at += 1
    if (old === undefined || !isKnown || item(old) !== item(one)) {
      ops.push(put(table, keyOf(name), encode(one)))
    }
  }
  for (const old of before.slice(at)) ops.push(del(table, keyOf(number(old))))
  return ops
}

interface Any<T> {
  readonly key: (item: T) => string
  readonly encode: (item: T) => Bytes
}

/** Compares two lists in any order, by identity: items are never changed in place. */
function diffAny<T>(
  table: string,
  before: readonly T[],
  after: readonly T[],
  { key, encode }: Any<T>,
): Op[] {
  if (before === after) return []
  // What is bounded loses its oldest items: thousands that follow stay as they were.
  const [first] = after
  const lost = first === undefined ? before.length : Math.max(0, before.indexOf(first))
  let kept = 0
  while (lost + kept < before.length && before[lost + kept] === after[kept]) kept += 1
  const old = new Set([...before.slice(0, lost), ...before.slice(lost + kept)])
  const fresh = after.slice(kept).filter((item) => !old.delete(item))
  const written = new Set(fresh.map(key))
  const gone = [...old].map(key).filter((name) => !written.has(name))
  return [
    ...gone.map((name) => del(table, name)),
    ...fresh.map((item) => put(table, key(item), encode(item))),
  ]
}

/**
 * Reads a conversation back.
 *
 * @throws ConclaveError `STORE_CORRUPT` if its sessions do not hold together.
 */
export async function loadConversation(
  store: Store,
  peer: PeerId,
  trust: Trust,
): Promise<SavedConversation> {
  const prefix = `${peer}/`
  const read = async <T>(table: string, decode: (bytes: Bytes) => T): Promise<T[]> => {
    const items: T[] = []
    for await (const { value } of store.rows(table, { prefix })) items.push(decode(value))
    return items
  }
  const copies = new Map<number, Copies>()
  for await (const { key, value } of store.rows(TABLES.copies, { prefix })) {
    copies.set(Number.parseInt(key.slice(prefix.length), 16), decodeCopies(value))
  }
  const rows: Row[] = []
  for (const table of [TABLES.session, TABLES.skipped]) {
    for await (const { key, value } of store.rows(table, { prefix })) {
      rows.push({ key: key.slice(prefix.length), value })
    }
  }
  const sessions = loadSessions(peer, rows)
  if (!sessions.ok) {
    throw new ConclaveError('STORE_CORRUPT', `the sessions with ${peer} do not load`, {
      hint: 'restore the home from a backup',
      data: { code: sessions.code },
    })
  }
  const ledger = await store.get(TABLES.peer, peer)
  return {
    sessions: sessions.value,
    trust,
    ledger: ledger === undefined ? FIRST_LEDGER : decodeLedger(ledger),
    letters: await read(TABLES.outbox, decodeLetter),
    copies,
    done: await read(TABLES.done, decodeDone),
    notices: await read(TABLES.notice, decodeNotice),
    held: await read(TABLES.held, decodeHeld),
    requests: await read(TABLES.request, decodeHeld),
  }
}
