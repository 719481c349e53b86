// The sender's outbox (spec.md §4.2.2): submitted, sent, answered, receipted, expired. Floor 0, pure.
import { ConclaveError } from '../base/errors.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import type { TimeMs } from '../base/time.ts'
import type {
  Conversation,
  ConversationEvent,
  Copies,
  Done,
  EnvelopeRef,
  EnvelopeResult,
  Letter,
  NoticeEntry,
  OutboxEntry,
  Phase,
  ResultStatus,
  SealedLetter,
} from './conversation.ts'
import {
  countQueued,
  DONE_PER_PEER_MAX,
  FORGET_MS,
  isStored,
  isUnsealed,
  OUTBOX_BYTES_PER_PEER_MAX,
} from './conversation.ts'
import { addToPostbag } from './receipts.ts'
import { requestRenewal } from './renewal.ts'
import type { Turn } from './turn.ts'
import { MAILBOX_TTL_MS, OUTBOX_PER_PEER_MAX, REFETCH_MAX } from './types.ts'
import type { MessageId, Receipt } from './types.ts'

type Submitted = Extract<ConversationEvent, { kind: 'submitted' }>

/** Why an envelope was not accepted, as the agent sees it. */
const RESULT_CODES: Readonly<Record<Exclude<ResultStatus, 'accepted'>, ErrorCode>> = {
  malformed: 'CODEC_MALFORMED',
  unsupported: 'CODEC_UNKNOWN_VERSION',
  refused: 'DIRECT_REFUSED',
  busy: 'LIMIT_RATE',
  quota: 'LIMIT_QUOTA',
  prekeyConsumed: 'PREKEYS_CONSUMED',
}

/**
 * Puts a message or handoff at the end of the outbox. Whom this agent writes to is a contact.
 *
 * @throws ConclaveError `DIRECT_OUTBOX_FULL` with both numbers.
 */
export function submit(turn: Turn, { id, draft, keyed }: Submitted): void {
  const { outbox, ledger, trust, unsealed, outboxBytes } = turn.state
  // Other ids are fresh random ones.
  if (keyed && findState(turn.state, id) !== undefined) return
  demandRoom(turn.state, draft.content.length)
  const letter: Letter = {
    id,
    sequence: ledger.nextSequence,
    draft,
    sentAt: turn.nowMs,
    state: 'queued',
    refetches: 0,
    keyed,
  }
  turn.book({ nextSequence: letter.sequence + 1 })
  turn.change({
    outbox: [...outbox, { letter, phase: 'waiting', attempts: 0 }],
    unsealed: unsealed + 1,
    outboxBytes: outboxBytes + draft.content.length,
    trust: 'contact',
  })
  if (trust !== 'contact') turn.ask({ kind: 'befriend' })
}

/** How far a message got; undefined if it is not known here any more. */
export function findState(
  state: Conversation,
  id: MessageId,
): Done['state'] | Letter['state'] | 'stored' | undefined {
  // The newest are asked for most.
  const entry = state.outbox.findLast(({ letter }) => letter.id === id)
  if (entry !== undefined) return isStored(entry) ? 'stored' : entry.letter.state
  return state.done.findLast((one) => one.id === id)?.state
}

function demandRoom(state: Conversation, more: number): void {
  const found = countQueued(state)
  if (found >= OUTBOX_PER_PEER_MAX) throw full(`${found} messages`, found, OUTBOX_PER_PEER_MAX)
  const bytes = state.outboxBytes + more
  if (bytes > OUTBOX_BYTES_PER_PEER_MAX) {
    throw full(`${bytes} bytes`, bytes, OUTBOX_BYTES_PER_PEER_MAX)
  }
}

function full(what: string, found: number, allowed: number): ConclaveError {
  return new ConclaveError('DIRECT_OUTBOX_FULL', `${what} wait for this peer; ${allowed} may`, {
    hint: 'wait until some are delivered: conclave outbox',
    data: { found, allowed },
  })
}

/** Sends every sealed envelope that is in one of these phases, oldest first; the link is open. */
export function transmitAll(turn: Turn, phases: readonly Phase[]): void {
  const { outbox, notices } = turn.state
  const isDue = (phase: Phase, sealed: SealedLetter | undefined): boolean =>
    sealed !== undefined && phases.includes(phase)
  if (outbox.some(({ phase, letter }) => isDue(phase, letter.sealed))) {
    turn.change({
      outbox: outbox.map((one) =>
        isDue(one.phase, one.letter.sealed) ? transmitLetter(turn, one) : one,
      ),
    })
  }
  if (notices.some(({ phase }) => phases.includes(phase))) {
    turn.change({
      notices: notices.map((one) => (phases.includes(one.phase) ? transmitNotice(turn, one) : one)),
    })
  }
}

/** Asks for a sealed letter to be sent. */
export function transmitLetter(turn: Turn, entry: OutboxEntry): OutboxEntry {
  const { sealed, sequence } = entry.letter
  if (sealed === undefined) return entry
  transmit(turn, { kind: 'letter', number: sequence, envelopeId: sealed.envelopeId }, sealed)
  return { ...entry, phase: 'sent', attempts: entry.attempts + 1 }
}

/** Asks for a receipt-only envelope to be sent. */
export function transmitNotice(turn: Turn, entry: NoticeEntry): NoticeEntry {
  const { number, sealed } = entry.notice
  transmit(turn, { kind: 'notice', number, envelopeId: sealed.envelopeId }, sealed)
  return { ...entry, phase: 'sent' }
}

function transmit(turn: Turn, ref: EnvelopeRef, { envelope }: SealedLetter): void {
  turn.ask({ kind: 'transmit', ref, envelope })
}

/** True if an envelope is still to be sent: neither receipted, nor sealed anew, nor given up. */
export function isCurrent({ outbox, notices }: Conversation, ref: EnvelopeRef): boolean {
  if (ref.kind === 'notice') {
    return notices.some(({ notice }) => notice.sealed.envelopeId === ref.envelopeId)
  }
  return outbox[findSequence(outbox, ref.number)]?.letter.sealed?.envelopeId === ref.envelopeId
}

/** Notes that the link is gone: whatever was under way on it waits again. */
export function linkLost(turn: Turn): void {
  const { outbox, notices } = turn.state
  turn.change({
    outbox: outbox.map((one) => (one.phase === 'waiting' ? one : { ...one, phase: 'waiting' })),
    notices: notices.map((one) => ({ ...one, phase: 'waiting' })),
  })
}

/** Notes that the peer has its queue key: an envelope that carried it was accepted or receipted. */
function keyArrived(turn: Turn, sealed: SealedLetter | undefined): void {
  if (sealed?.offersKey !== true || turn.state.ledger.offered === undefined) return
  const { offered: _, ...ledger } = turn.state.ledger
  turn.change({ ledger })
}

/** Notes that an attempt to reach the peer failed, on every letter that waits for it. */
export function attemptFailed(turn: Turn, code: ErrorCode): void {
  // Unreachable, and no custodian to take the mail: that is the reason an agent can act on. If one refused it, why it did.
  const reason = ({ askedIn, lastError }: OutboxEntry): ErrorCode => {
    if (!code.startsWith('NETWORK_')) return code
    return askedIn === undefined || lastError === undefined ? 'NETWORK_NO_CUSTODIAN' : lastError
  }
  turn.change({
    outbox: turn.state.outbox.map((one) =>
      one.letter.state === 'queued' && one.phase === 'waiting' && !isStored(one)
        ? { ...one, attempts: one.attempts + 1, lastError: reason(one) }
        : one,
    ),
  })
  turn.backOff()
}

/** Takes what the peer answered to our envelopes. */
export function takeResult(turn: Turn, { ref, status }: EnvelopeResult): void {
  if (ref.kind === 'notice') takeNoticeResult(turn, ref, status)
  else takeLetterResult(turn, ref, status)
}

function takeNoticeResult(turn: Turn, ref: EnvelopeRef, status: ResultStatus): void {
  const { notices } = turn.state
  const at = notices.findIndex(({ notice }) => notice.sealed.envelopeId === ref.envelopeId)
  const entry = notices[at]
  if (entry === undefined) return
  if (status === 'accepted') {
    keyArrived(turn, entry.notice.sealed)
    turn.change({ notices: notices.toSpliced(at, 1), failures: 0 })
    return
  }
  turn.change({ notices: notices.with(at, { ...entry, phase: 'refused' }) })
  refusedBy(turn, status, entry.notice.sealed)
}

function takeLetterResult(turn: Turn, ref: EnvelopeRef, status: ResultStatus): void {
  const { outbox } = turn.state
  const at = findSequence(outbox, ref.number)
  const entry = outbox[at]
  if (entry?.letter.sealed?.envelopeId !== ref.envelopeId) return
  if (status === 'accepted') {
    keyArrived(turn, entry.letter.sealed)
    const { lastError: _, ...rest } = entry
    turn.change({ outbox: outbox.with(at, { ...rest, phase: 'accepted' }), failures: 0 })
    return
  }
  const lastError = RESULT_CODES[status]
  turn.change({ outbox: outbox.with(at, { ...entry, phase: 'refused', lastError }) })
  refusedBy(turn, status, entry.letter.sealed)
}

function refusedBy(turn: Turn, status: ResultStatus, sealed: SealedLetter): void {
  if (status === 'prekeyConsumed') {
    prekeyConsumed(turn, sealed)
    return
  }
  // The peer may have lost the session and know us no longer, so that no reset of its can come.
  if (status === 'refused') requestRenewal(turn, 'renew')
  turn.backOff()
}

/** The peer has used the one-time prekey of this envelope's session up: its letters need another session. */
export function prekeyConsumed(turn: Turn, { at }: SealedLetter): void {
  const failed: Letter[] = []
  const outbox = turn.state.outbox.flatMap((one): OutboxEntry[] => {
    const { letter } = one
    if (letter.sealed?.at.session !== at.session || letter.state !== 'queued') return [one]
    const next = { ...letter, refetches: letter.refetches + 1 }
    if (next.refetches <= REFETCH_MAX) return [{ ...one, letter: next }]
    failed.push(next)
    return []
  })
  setOutbox(turn, outbox)
  unseal(turn, (sealed) => sealed.at.session === at.session)
  for (const letter of failed) fail(turn, letter)
  if (turn.state.unsealed > 0) turn.change({ renewal: 'refetch' })
}

/** Ends a letter that can never be delivered. */
export function fail(turn: Turn, letter: Letter): void {
  finish(turn, [{ ...doneOf(letter), state: 'failed' }])
  turn.ask({ kind: 'report', id: letter.id, draft: letter.draft.kind, state: 'failed' })
  withdraw(turn, [letter])
}

/** Takes the envelopes off the letters and notices that `isMeant` names: they are to be sealed anew. */
export function unseal(turn: Turn, isMeant: (sealed: SealedLetter) => boolean): void {
  const dropped: SealedLetter[] = []
  const outbox = turn.state.outbox.map((one): OutboxEntry => {
    const { sealed, ...letter } = one.letter
    if (letter.state !== 'queued' || sealed === undefined || !isMeant(sealed)) return one
    dropped.push(sealed)
    const { copies: _copies, askedIn: _asked, ...kept } = one
    return { ...kept, letter, phase: 'waiting' }
  })
  const notices = turn.state.notices.filter(({ notice }) => {
    if (!isMeant(notice.sealed)) return true
    dropped.push(notice.sealed)
    return false
  })
  setOutbox(turn, outbox)
  turn.change({ notices })
  let { postbag } = turn.state.ledger
  for (const sealed of dropped) postbag = addToPostbag(postbag, sealed, turn.nowMs)
  turn.book({ postbag })
}

/** Takes receipts that the peer sent. */
export function takeReceipts(turn: Turn, receipts: readonly Receipt[]): void {
  if (receipts.length === 0) return
  const states = new Map<MessageId, Receipt['state']>()
  for (const { id, state } of receipts) if (states.get(id) !== 'handled') states.set(id, state)
  const finished: (Done & { readonly copies?: Copies })[] = []
  const outbox: OutboxEntry[] = []
  for (const one of turn.state.outbox) {
    const state = states.get(one.letter.id)
    if (state === undefined) outbox.push(one)
    else {
      keyArrived(turn, one.letter.sealed)
      // Accepted on a stream: whatever custodians have of it was not needed.
      const copies = one.phase === 'accepted' ? undefined : one.copies
      finished.push({ ...doneOf(one.letter), state, ...(copies !== undefined && { copies }) })
    }
  }
  if (finished.length > 0) setOutbox(turn, outbox)
  const handled = [...states].some(([, state]) => state === 'handled')
  if (handled) takeHandled(turn, states)
  finish(
    turn,
    finished.map(({ copies: _, ...done }) => done),
  )
  for (const { id, kind, state, copies } of finished) {
    turn.ask({ kind: 'report', id, draft: kind, state, ...(copies !== undefined && { copies }) })
  }
}

function takeHandled(turn: Turn, states: ReadonlyMap<MessageId, Receipt['state']>): void {
  const isNews = ({ id, state }: Done): boolean =>
    state === 'delivered' && states.get(id) === 'handled'
  const news = turn.state.done.filter(isNews)
  if (news.length === 0) return
  turn.change({
    done: turn.state.done.flatMap((one): Done[] => {
      if (!isNews(one)) return [one]
      return one.keyed ? [{ ...one, state: 'handled' }] : []
    }),
  })
  for (const { id, kind } of news) turn.ask({ kind: 'report', id, draft: kind, state: 'handled' })
}

function finish(turn: Turn, finished: readonly Done[]): void {
  // Nobody asks for a handled message again, unless by its idempotency key.
  const kept = finished.filter(({ state, keyed }) => state !== 'handled' || keyed)
  if (kept.length === 0) return
  turn.change({ done: [...turn.state.done, ...kept].slice(-DONE_PER_PEER_MAX) })
}

function doneOf({ id, sequence, draft, sentAt, keyed }: Letter): Omit<Done, 'state'> {
  return { id, sequence, kind: draft.kind, sentAt, keyed }
}

/** Expires letters past their life, and forgets what is older than any memory of it. */
export function expireOutbox(turn: Turn): void {
  const { nowMs } = turn
  const { outbox, done } = turn.state
  const isDead = (sentAt: TimeMs): boolean => sentAt + FORGET_MS <= nowMs
  const isExpired = ({ state, sentAt }: Letter): boolean =>
    state === 'queued' && sentAt + MAILBOX_TTL_MS <= nowMs
  const expired = outbox.filter(({ letter }) => isExpired(letter))
  if (expired.length > 0 || outbox.some(({ letter }) => isDead(letter.sentAt))) {
    const kept = outbox.filter(({ letter }) => !isDead(letter.sentAt))
    setOutbox(
      turn,
      kept.map((one) =>
        isExpired(one.letter) ? { ...one, letter: { ...one.letter, state: 'expired' } } : one,
      ),
    )
    for (const { letter } of expired) {
      turn.ask({ kind: 'report', id: letter.id, draft: letter.draft.kind, state: 'expired' })
    }
    withdraw(
      turn,
      expired.map(({ letter }) => letter),
    )
  }
  const first = done[0]
  if (first !== undefined && isDead(first.sentAt)) {
    turn.change({ done: done.filter(({ sentAt }) => !isDead(sentAt)) })
  }
  const { notices } = turn.state
  if (notices.some(({ notice }) => notice.sealedAt + MAILBOX_TTL_MS <= nowMs)) {
    turn.change({
      notices: notices.filter(({ notice }) => notice.sealedAt + MAILBOX_TTL_MS > nowMs),
    })
  }
}

function withdraw(turn: Turn, letters: readonly Letter[]): void {
  const withdrawals = letters.map(({ id, sequence }) => ({ id, sequence }))
  turn.book({
    postbag: addToPostbag(turn.state.ledger.postbag, { receipts: [], withdrawals }, turn.nowMs),
  })
}

/** Replaces the outbox, and what is counted over it. */
function setOutbox(turn: Turn, outbox: readonly OutboxEntry[]): void {
  let unsealed = 0
  let outboxBytes = 0
  for (const { letter } of outbox) {
    if (isUnsealed(letter)) unsealed += 1
    outboxBytes += letter.draft.content.length
  }
  turn.change({ outbox, unsealed, outboxBytes })
}

/** Finds a letter of the outbox, which ascends; -1 if it is not there. */
export function findSequence(outbox: readonly OutboxEntry[], sequence: number): number {
  let low = 0
  let high = outbox.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((outbox[middle]?.letter.sequence ?? 0) < sequence) low = middle + 1
    else high = middle
  }
  return outbox[low]?.letter.sequence === sequence ? low : -1
}
