// Rows of direct messages: tables, keys and values. Floor 3. Values are arrays, because most rows are written
// once a message and field names would cost more than the fields.
//
// | table           | key                                 | value                                          |
// | --------------- | ----------------------------------- | ---------------------------------------------- |
// | direct-peer     | peer                                | the ledger: sequence, postbag, order, limits   |
// | direct-session  | peer/roster, peer/session/…         | as `protocols/direct/session-rows.ts` says     |
// | direct-skipped  | peer/skipped/session/index          | the same                                       |
// | identity-key    | peer                                | the peer's X25519 identity key, as last seen   |
// | outbox          | peer/sequence                       | a letter: plaintext and sealed envelope        |
// | outbox-copies   | peer/sequence                       | custodians that signed for the letter          |
// | outbox-done     | peer/sequence                       | a message that needs no more envelopes         |
// | notice          | peer/number                         | a receipt-only envelope                        |
// | held            | peer/sequence                       | a message behind a hole                        |
// | request         | peer/message id                     | a stranger's message                           |
// | inbox           | arrival                             | a message not handled yet                      |
// | inbox-handled   | arrival                             | a message handled                              |
// | message-id      | message id/peer                     | where the message is                           |
// | seen            | week/peer/envelope id, week/peer/m/message id | message id if any; of a handoff      |
// | idempotency     | week/key                            | message id and recipient                       |
//
// Sequences, numbers and arrivals are 14 hex digits, weeks 8, so that keys sort as the numbers do.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { DAY_MS } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type {
  Copies,
  Done,
  Ledger,
  Letter,
  Notice,
  SealedLetter,
} from '../../protocols/direct/conversation.ts'
import type { Postbag } from '../../protocols/direct/receipts.ts'
import type { Held, Via } from '../../protocols/direct/receive-order.ts'
import type {
  EnvelopeId,
  MessageId,
  QueueKeyGrant,
  Receipt,
  SessionId,
} from '../../protocols/direct/types.ts'
import { decodeRow, encodeRow } from '../store/row.ts'

/** Version of every row here. */
const VERSION = 1

/** Tables of this file. */
export const TABLES = {
  peer: 'direct-peer',
  session: 'direct-session',
  skipped: 'direct-skipped',
  identityKey: 'identity-key',
  outbox: 'outbox',
  copies: 'outbox-copies',
  done: 'outbox-done',
  notice: 'notice',
  held: 'held',
  request: 'request',
  inbox: 'inbox',
  handled: 'inbox-handled',
  messageId: 'message-id',
  seen: 'seen',
  idempotency: 'idempotency',
} as const

const WEEK_MS = 7 * DAY_MS
const WEEKS_KEPT = 3

/** The number as a key that sorts. */
export function sortable(value: number): string {
  return value.toString(16).padStart(14, '0')
}

/** The key of a peer's numbered row. */
export function numberKey(peer: PeerId, value: number): string {
  return `${peer}/${sortable(value)}`
}

/** The week of a time: rows by week are forgotten with it, after at least two whole ones. */
export function weekOf(nowMs: number): string {
  return Math.floor(nowMs / WEEK_MS)
    .toString(16)
    .padStart(8, '0')
}

/** The weeks in which a row by week may still be. */
export function weeksKept(nowMs: number): string[] {
  return Array.from({ length: WEEKS_KEPT }, (_, back) => weekOf(nowMs - back * WEEK_MS))
}

type Packed = readonly unknown[]

const unpack = (bytes: Bytes): Packed => decodeRow(VERSION, bytes) as Packed
const pack = (...fields: Packed): Bytes => encodeRow(VERSION, fields)
const stateNumber = (state: Receipt['state']): number => (state === 'handled' ? 1 : 0)
const stateOf = (value: unknown): Receipt['state'] => (value === 1 ? 'handled' : 'delivered')

type PackedPost = readonly [(readonly [MessageId, number])[], (readonly [MessageId, number])[]]

function packPost({
  receipts,
  withdrawals,
}: Pick<Postbag, 'receipts' | 'withdrawals'>): PackedPost {
  return [
    receipts.map(({ id, state }) => [id, stateNumber(state)]),
    withdrawals.map(({ id, sequence }) => [id, sequence]),
  ]
}

function unpackPost([receipts, withdrawals]: PackedPost): Pick<
  Postbag,
  'receipts' | 'withdrawals'
> {
  return {
    receipts: receipts.map(([id, state]) => ({ id, state: stateOf(state) })),
    withdrawals: withdrawals.map(([id, sequence]) => ({ id, sequence })),
  }
}

function packSealed(sealed: SealedLetter): Packed {
  const { envelope, envelopeId, at, offersKey } = sealed
  return [envelope, envelopeId, at.session, at.chain, at.count, packPost(sealed), offersKey]
}

function unpackSealed(fields: Packed): SealedLetter {
  const [envelope, envelopeId, session, chain, count, post, offersKey = false] = fields as [
    Bytes,
    EnvelopeId,
    SessionId,
    number,
    number,
    PackedPost,
    boolean?,
  ]
  return { envelope, envelopeId, at: { session, chain, count }, ...unpackPost(post), offersKey }
}

/** Encodes a letter. */
export function encodeLetter(letter: Letter): Bytes {
  const { id, sequence, draft, sentAt, state, refetches, keyed, sealed } = letter
  const label = draft.kind === 'handoff' ? draft.protocol : (draft.contentType ?? null)
  const isHandoff = draft.kind === 'handoff'
  const packed = sealed === undefined ? null : packSealed(sealed)
  const facts = [refetches, keyed, packed]
  return pack(id, sequence, isHandoff, label, draft.content, sentAt, state === 'expired', ...facts)
}

/** Decodes a letter. */
export function decodeLetter(bytes: Bytes): Letter {
  const [id, sequence, isHandoff, label, content, sentAt, isExpired, refetches, keyed, sealed] =
    unpack(bytes) as [
      MessageId,
      number,
      boolean,
      string | null,
      Bytes,
      TimeMs,
      boolean,
      number,
      boolean,
      Packed | null,
    ]
  const draft: Letter['draft'] = isHandoff
    ? { kind: 'handoff', protocol: label ?? '', content }
    : { kind: 'message', content, ...(label !== null && { contentType: label }) }
  return {
    id,
    sequence,
    draft,
    sentAt,
    state: isExpired ? 'expired' : 'queued',
    refetches,
    keyed,
    ...(sealed !== null && { sealed: unpackSealed(sealed) }),
  }
}

/** Encodes a message that needs no more envelopes. */
export function encodeDone({ id, sequence, kind, sentAt, state, keyed }: Done): Bytes {
  return pack(id, sequence, kind, sentAt, state, keyed)
}

/** Decodes a message that needs no more envelopes. */
export function decodeDone(bytes: Bytes): Done {
  const [id, sequence, kind, sentAt, state, keyed] = unpack(bytes) as [
    MessageId,
    number,
    Done['kind'],
    TimeMs,
    Done['state'],
    boolean,
  ]
  return { id, sequence, kind, sentAt, state, keyed }
}

/** Encodes a receipt-only envelope. */
export function encodeNotice({ number, sealedAt, isReset, sealed }: Notice): Bytes {
  return pack(number, sealedAt, isReset, packSealed(sealed))
}

/** Decodes a receipt-only envelope. */
export function decodeNotice(bytes: Bytes): Notice {
  const [number, sealedAt, isReset, sealed] = unpack(bytes) as [number, TimeMs, boolean, Packed]
  return { number, sealedAt, isReset, sealed: unpackSealed(sealed) }
}

/** Encodes a message that waits behind a hole or in the request box. */
export function encodeHeld({ message, receivedAt, via }: Held): Bytes {
  const { id, sequence, sentAt, contentType, content } = message
  return pack(id, sequence, sentAt, contentType ?? null, content, receivedAt, via)
}

/** Decodes a message that waits behind a hole or in the request box. */
export function decodeHeld(bytes: Bytes): Held {
  const [id, sequence, sentAt, contentType, content, receivedAt, via = 'direct'] = unpack(
    bytes,
  ) as [MessageId, number, TimeMs, string | null, Bytes, TimeMs, Via?]
  const message = { id, sequence, sentAt, content }
  return { message: contentType === null ? message : { ...message, contentType }, receivedAt, via }
}

/** Encodes a ledger. */
export function encodeLedger(ledger: Ledger): Bytes {
  const { nextSequence, nextNotice, postbag, order, resets } = ledger
  return pack(
    [nextSequence, nextNotice, ledger.strangerEnvelopes, ledger.strangerHandoffs],
    [packPost(postbag), postbag.since ?? null],
    [
      order.next,
      order.settled,
      order.missing.map(({ from, to, givenUpAt }) => [from, to, givenUpAt]),
    ],
    [resets.openedAt, resets.intervalMs, resets.followedAt, ledger.sessionSince],
    packGrant(ledger.granted),
    packGrant(ledger.offered),
  )
}

/** Decodes a ledger. */
export function decodeLedger(bytes: Bytes): Ledger {
  const [counts, [post, since], [next, settled, missing], resets, granted, offered] = unpack(
    bytes,
  ) as [
    [number, number, number, number],
    [PackedPost, TimeMs | null],
    [number, number[], [number, number, TimeMs][]],
    [number, number, number, number],
    PackedGrant?,
    PackedGrant?,
  ]
  const [nextSequence, nextNotice, strangerEnvelopes, strangerHandoffs] = counts
  const [openedAt, intervalMs, followedAt, sessionSince] = resets
  return {
    nextSequence,
    nextNotice,
    strangerEnvelopes,
    strangerHandoffs,
    postbag: { ...unpackPost(post), ...(since !== null && { since }) },
    order: {
      next,
      settled,
      missing: missing.map(([from, to, givenUpAt]) => ({ from, to, givenUpAt })),
    },
    resets: { openedAt, intervalMs, followedAt },
    sessionSince,
    ...(granted && { granted: unpackGrant(granted) }),
    ...(offered && { offered: unpackGrant(offered) }),
  }
}

type PackedGrant = readonly [Bytes, Bytes, TimeMs] | null

function packGrant(grant: QueueKeyGrant | undefined): PackedGrant {
  return grant === undefined ? null : [grant.id, grant.seed, grant.expiresAt]
}

function unpackGrant([id, seed, expiresAt]: readonly [Bytes, Bytes, TimeMs]): QueueKeyGrant {
  return { id, seed, expiresAt }
}

/** Encodes where an envelope waits. */
export function encodeCopies({ envelopeId, list, of }: Copies): Bytes {
  const packed = list.map(({ custodian, storedAt, expiresAt }) => [custodian, storedAt, expiresAt])
  return pack(envelopeId, packed, of)
}

/** Decodes where an envelope waits. */
export function decodeCopies(bytes: Bytes): Copies {
  const [envelopeId, packed, of] = unpack(bytes) as [EnvelopeId, [PeerId, TimeMs, TimeMs][], number]
  const list = packed.map(([custodian, storedAt, expiresAt]) => ({
    custodian,
    storedAt,
    expiresAt,
  }))
  return { envelopeId, list, of }
}

/** A message in the inbox. */
export interface InboxRow extends Held {
  readonly from: PeerId
  readonly gap: boolean
  readonly late: boolean
}

/** Encodes a message in the inbox. */
export function encodeInbox({ from, message, receivedAt, gap, late, via }: InboxRow): Bytes {
  const { id, sequence, sentAt, contentType, content } = message
  const times = [sentAt, receivedAt]
  return pack(from, id, sequence, ...times, contentType ?? null, gap, late, content, via)
}

/** Decodes a message in the inbox. */
export function decodeInbox(bytes: Bytes): InboxRow {
  const [from, id, sequence, sentAt, receivedAt, contentType, gap, late, content, via] = unpack(
    bytes,
  ) as [PeerId, MessageId, number, TimeMs, TimeMs, string | null, boolean, boolean, Bytes, Via?]
  const message = { id, sequence, sentAt, content }
  return {
    from,
    message: contentType === null ? message : { ...message, contentType },
    receivedAt,
    via: via ?? 'direct',
    gap,
    late,
  }
}

/** Where a received message is: its table, and its key there. */
export interface Place {
  readonly table: 'held' | 'request' | 'inbox' | 'inbox-handled'
  readonly key: string
}

/** Encodes where a received message is. */
export function encodePlace({ table, key }: Place): Bytes {
  return pack(table, key)
}

/** Decodes where a received message is. */
export function decodePlace(bytes: Bytes): Place {
  const [table, key] = unpack(bytes) as [Place['table'], string]
  return { table, key }
}

/** Encodes the message id of a seen envelope, if it brought a message. */
export function encodeSeen(messageId: MessageId | undefined): Bytes {
  return pack(messageId ?? null)
}

/** Decodes the message id of a seen envelope. */
export function decodeSeen(bytes: Bytes): MessageId | undefined {
  const [messageId] = unpack(bytes) as [MessageId | null]
  return messageId ?? undefined
}

/** What an idempotency key stands for. */
export interface KeyedMessage {
  readonly id: MessageId
  readonly to: PeerId
}

/** Encodes what an idempotency key stands for. */
export function encodeKeyed({ id, to }: KeyedMessage): Bytes {
  return pack(id, to)
}

/** Decodes what an idempotency key stands for. */
export function decodeKeyed(bytes: Bytes): KeyedMessage {
  const [id, to] = unpack(bytes) as [MessageId, PeerId]
  return { id, to }
}
