// All sessions of a peer as rows: what changed between two states, and the way back (spec.md §4.1.6).
// Floor 0, pure. Skipped keys are a row each: in one blob, 2,000 of them would be rewritten at every message.
import { concat, equalBytes, formatHex, makeReader, u32, u64, u8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { PeerId } from '../base/ids.ts'
import { noSessions } from './session.ts'
import type { PinnedIdentity, Session, Sessions } from './session.ts'
import {
  decodeSession,
  decodeSkipped,
  encodeSession,
  encodeSkipped,
  STATE_VERSION,
} from './session-codec.ts'
import type { SkippedChain, SkippedChains, SkippedKey } from './skipped.ts'
import { SESSIONS_PER_PEER_MAX } from './types.ts'
import type { SessionId } from './types.ts'

/** One changed row. Keys: `roster`, `session/<id>`, `skipped/<id>/<index>`; the caller puts the peer in front. */
export type SessionRow =
  | { readonly kind: 'put'; readonly key: string; readonly value: Bytes }
  | { readonly kind: 'del'; readonly key: string }

/** Which skipped keys appeared and which are gone. */
export interface SkippedChange {
  readonly saved: readonly { readonly finder: Bytes; readonly key: SkippedKey }[]
  readonly gone: readonly SkippedKey[]
}

const ROSTER = 'roster'
const INDEX_DIGITS = 14

/** Compares the skipped keys of two states of a session; unchanged chains cost nothing. */
export function diffSkipped(before: SkippedChains, after: SkippedChains): SkippedChange {
  if (before === after) return { saved: [], gone: [] }
  const kept = new Set(before.map((chain) => chain.keys))
  const still = new Set(after.map((chain) => chain.keys))
  const was = before.filter((chain) => !still.has(chain.keys))
  const is = after.filter((chain) => !kept.has(chain.keys))
  const old = new Set(was.flatMap((chain) => chain.keys.map(({ index }) => index)))
  const now = new Set(is.flatMap((chain) => chain.keys.map(({ index }) => index)))
  return {
    saved: is.flatMap(({ finder, keys }) =>
      keys.filter(({ index }) => !old.has(index)).map((key) => ({ finder, key })),
    ),
    gone: was.flatMap(({ keys }) => keys.filter(({ index }) => !now.has(index))),
  }
}

/** The rows that turn the saved `before` into `after`; a session that is gone takes its keys along. */
export function sessionRows(before: Sessions, after: Sessions): SessionRow[] {
  if (before === after) return []
  const rows: SessionRow[] = []
  if (!isSameRoster(before, after)) {
    rows.push({ kind: 'put', key: ROSTER, value: encodeRoster(after) })
  }
  const known = new Map(before.list.map((session) => [session.id, session]))
  for (const session of after.list) {
    const old = known.get(session.id)
    known.delete(session.id)
    if (old === session) continue
    rows.push({ kind: 'put', key: `session/${session.id}`, value: encodeSession(session) })
    rows.push(...skippedRows(session.id, old?.ratchet.skipped ?? [], session.ratchet.skipped))
  }
  for (const closed of known.values()) {
    rows.push({ kind: 'del', key: `session/${closed.id}` })
    rows.push(...skippedRows(closed.id, closed.ratchet.skipped, []))
  }
  return rows
}

function skippedRows(id: SessionId, before: SkippedChains, after: SkippedChains): SessionRow[] {
  const { saved, gone } = diffSkipped(before, after)
  const keyOf = ({ index }: SkippedKey): string =>
    `skipped/${id}/${index.toString(16).padStart(INDEX_DIGITS, '0')}`
  return [
    ...saved.map(({ finder, key }): SessionRow => {
      return { kind: 'put', key: keyOf(key), value: encodeSkipped(finder, key) }
    }),
    ...gone.map((key): SessionRow => ({ kind: 'del', key: keyOf(key) })),
  ]
}

function isSameRoster(a: Sessions, b: Sessions): boolean {
  return (
    a.pinned === b.pinned &&
    a.nextOrdinal === b.nextOrdinal &&
    a.list.length === b.list.length &&
    a.list.every((session, i) => session.id === b.list[i]?.id)
  )
}

function encodeRoster({ pinned, nextOrdinal, list }: Sessions): Bytes {
  return concat(
    u8(STATE_VERSION),
    u8(pinned === undefined ? 0 : 1),
    ...(pinned === undefined
      ? []
      : [pinned.identityKey, u64(pinned.identitySeq), u64(pinned.bundleSeq)]),
    u32(nextOrdinal),
    u8(list.length),
    ...list.map(({ transcript }) => transcript),
  )
}

interface Roster {
  readonly pinned?: PinnedIdentity
  readonly nextOrdinal: number
  readonly ids: readonly SessionId[]
}

function decodeRoster(bytes: Bytes): Decoded<Roster> {
  const reader = makeReader(bytes)
  if (reader.u8() !== STATE_VERSION) return refused('CODEC_UNKNOWN_VERSION')
  const hasPin = reader.u8() === 1
  const pin = hasPin && {
    pinned: { identityKey: reader.take(32), identitySeq: reader.u64(), bundleSeq: reader.u64() },
  }
  const nextOrdinal = reader.u32()
  const count = reader.u8()
  if (count > SESSIONS_PER_PEER_MAX) return refused('CODEC_MALFORMED')
  const ids = Array.from({ length: count }, () => formatHex(reader.take(32)) as SessionId)
  return reader.done ? decoded({ ...pin, nextOrdinal, ids }) : refused('CODEC_MALFORMED')
}

/**
 * Reads the sessions of a peer back from all its rows, in any order; no rows are no sessions.
 *
 * @returns `ok: false` with `CODEC_UNKNOWN_VERSION`, `CODEC_UNKNOWN_SUITE` or `CODEC_MALFORMED`: rows that
 *   do not belong together are not used.
 */
export function loadSessions(
  peer: PeerId,
  rows: Iterable<{ readonly key: string; readonly value: Bytes }>,
): Decoded<Sessions> {
  let roster: Roster = { nextOrdinal: 1, ids: [] }
  const sessions = new Map<string, Session>()
  const skipped = new Map<string, { finder: Bytes; key: SkippedKey }[]>()
  for (const { key, value } of rows) {
    const [table, id = ''] = key.split('/')
    if (table === ROSTER) {
      const read = decodeRoster(value)
      if (!read.ok) return read
      roster = read.value
    } else if (table === 'session') {
      const read = decodeSession(value)
      if (!read.ok) return read
      sessions.set(id, read.value)
    } else {
      const read = decodeSkipped(value)
      if (!read.ok) return read
      const found = skipped.get(id)
      if (found === undefined) skipped.set(id, [read.value])
      else found.push(read.value)
    }
  }
  const list: Session[] = []
  for (const id of roster.ids) {
    const session = sessions.get(id)
    if (session?.id !== id) return refused('CODEC_MALFORMED')
    list.push(withSkipped(session, skipped.get(id) ?? []))
  }
  const { nextOrdinal, pinned } = roster
  return decoded({
    ...noSessions(peer),
    nextOrdinal,
    ...(pinned !== undefined && { pinned }),
    list,
  })
}

function withSkipped(session: Session, keys: { finder: Bytes; key: SkippedKey }[]): Session {
  const chains: (SkippedChain & { keys: SkippedKey[] })[] = []
  for (const { finder, key } of keys.sort((a, b) => a.key.index - b.key.index)) {
    const last = chains.at(-1)
    if (last !== undefined && equalBytes(last.finder, finder)) last.keys.push(key)
    else chains.push({ finder, keys: [key] })
  }
  return { ...session, ratchet: { ...session.ratchet, skipped: chains } }
}
