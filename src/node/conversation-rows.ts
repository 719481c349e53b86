// A conversation's rows: what changed between two states, and the way back (direct-rows.ts). Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type {
  Conversation,
  Letter,
  SavedConversation,
  Trust,
} from '../../protocols/direct/conversation.ts'
import { FIRST_LEDGER } from '../../protocols/direct/conversation.ts'
import type { Held } from '../../protocols/direct/receive-order.ts'
import { loadSessions, sessionRows } from '../../protocols/direct/session-rows.ts'
import { del, put } from '../store/types.ts'
import type { Op, Row, Store } from '../store/types.ts'
import {
  decodeDone,
  decodeHeld,
  decodeLedger,
  decodeLetter,
  decodeNotice,
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
  const compare = <T>(table: string, diff: Diff<T>): void => {
    if (diff.before !== diff.after) ops.push(...diffRows(table, diff))
  }
  const lettersOf = ({ outbox }: Conversation): readonly Letter[] =>
    outbox.map(({ letter }) => letter)
  const heldKey = ({ message }: Held): string => numberKey(peer, message.sequence)
  if (before.outbox !== after.outbox) {
    compare(TABLES.outbox, {
      before: lettersOf(before),
      after: lettersOf(after),
      key: ({ sequence }) => numberKey(peer, sequence),
      encode: encodeLetter,
    })
  }
  compare(TABLES.done, {
    before: before.done,
    after: after.done,
    key: ({ sequence }) => numberKey(peer, sequence),
    encode: encodeDone,
  })
  if (before.notices !== after.notices) {
    compare(TABLES.notice, {
      before: before.notices.map(({ notice }) => notice),
      after: after.notices.map(({ notice }) => notice),
      key: ({ number }) => numberKey(peer, number),
      encode: encodeNotice,
    })
  }
  compare(TABLES.held, {
    before: before.held,
    after: after.held,
    key: heldKey,
    encode: encodeHeld,
  })
  compare(TABLES.request, {
    before: before.requests,
    after: after.requests,
    key: ({ message }) => `${peer}/${message.id}`,
    encode: encodeHeld,
  })
  return ops
}

interface Diff<T> {
  readonly before: readonly T[]
  readonly after: readonly T[]
  readonly key: (item: T) => string
  readonly encode: (item: T) => Bytes
}

/** Compares by identity: items are never changed in place. */
function diffRows<T>(table: string, { before, after, key, encode }: Diff<T>): Op[] {
  let from = 0
  while (from < before.length && before[from] === after[from]) from += 1
  const old = new Set(before.slice(from))
  const fresh = after.slice(from).filter((item) => !old.delete(item))
  const written = new Set<string>()
  const puts = fresh.map((item) => {
    const name = key(item)
    written.add(name)
    return put(table, name, encode(item))
  })
  const dels = [...old].map(key).filter((name) => !written.has(name))
  return [...dels.map((name) => del(table, name)), ...puts]
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
    done: await read(TABLES.done, decodeDone),
    notices: await read(TABLES.notice, decodeNotice),
    held: await read(TABLES.held, decodeHeld),
    requests: await read(TABLES.request, decodeHeld),
  }
}
