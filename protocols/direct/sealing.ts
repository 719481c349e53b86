// Seals what waits, in sequence order, and asks for what sealing needs (spec.md §4.2.2). Floor 0, pure.
import { invariant } from '../base/errors.ts'
import type { NoticeEntry, OutboxEntry, SealedLetter } from './conversation.ts'
import { isUnsealed, NOTICES_MAX, RECEIPT_QUIET_MS } from './conversation.ts'
import { fail, transmitAll, transmitLetter, transmitNotice, unseal } from './outbox.ts'
import { postbagSize, takeFromPostbag, withdrawnControls } from './receipts.ts'
import type { Postbag } from './receipts.ts'
import { renewalOpened } from './renewal.ts'
import type { Sessions } from './session.ts'
import type { SealedAt } from './sessions.ts'
import type { Turn } from './turn.ts'
import { REACH_WAIT_MS, RECEIPT_DELAY_MS, RECEIPTS_PER_BODY_MAX } from './types.ts'
import type { Body, Fetched, InitiateDraws } from './types.ts'

type Sealing = { readonly sealed: SealedLetter } | 'bundle' | 'draws' | 'tooLarge'

/** Seals every letter that has no envelope, and sends it if the link is open. */
export function sealLetters(turn: Turn): void {
  if (turn.state.unsealed === 0 || turn.state.renewal !== undefined) return
  const outbox = ownOutbox(turn)
  const isLastOnly = turn.state.unsealed === 1 && outbox.at(-1)?.letter.sealed === undefined
  let { unsealed, outboxBytes } = turn.state
  for (let at = isLastOnly ? outbox.length - 1 : 0; at < outbox.length && unsealed > 0; at++) {
    const entry = outbox[at]
    if (entry === undefined || !isUnsealed(entry.letter)) continue
    const sealing = seal(turn, letterBody(entry), outbox)
    if (sealing === 'draws') turn.ask({ kind: 'drawMore' })
    if (sealing === 'draws' || sealing === 'bundle') break
    unsealed -= 1
    if (sealing === 'tooLarge') {
      outbox.splice(at--, 1)
      outboxBytes -= entry.letter.draft.content.length
      fail(turn, entry.letter)
      continue
    }
    const next = { ...entry, letter: { ...entry.letter, sealed: sealing.sealed } }
    outbox[at] = turn.state.link === 'open' ? transmitLetter(turn, next) : next
  }
  turn.change({ outbox, unsealed, outboxBytes })
}

/** The outbox as an array to change: a copy, unless this very turn has made it. */
function ownOutbox({ state, before }: Turn): OutboxEntry[] {
  if (state.outbox === before.outbox) return [...state.outbox]
  return state.outbox as OutboxEntry[]
}

function letterBody({ letter }: OutboxEntry): Pick<Body, 'message' | 'handoff'> {
  const { id, sequence, sentAt, draft } = letter
  if (draft.kind === 'handoff') {
    return { handoff: { id, sequence, protocol: draft.protocol, content: draft.content } }
  }
  const { contentType, content } = draft
  return {
    message: { id, sequence, sentAt, content, ...(contentType !== undefined && { contentType }) },
  }
}

function seal(
  turn: Turn,
  item: Pick<Body, 'message' | 'handoff'>,
  outbox: readonly OutboxEntry[],
  isReset = false,
): Sealing {
  const { kit } = turn
  if (needsSession(turn, outbox)) return 'bundle'
  const draw = turn.draw()
  if (draw === undefined) return 'draws'
  const [taken, rest] = takeFromPostbag(turn.state.ledger.postbag)
  const controls = withdrawnControls(taken.withdrawals)
  if (isReset) controls.push({ kind: 'reset' })
  const { offered } = turn.state.ledger
  if (offered !== undefined) controls.push({ kind: 'queueKey', ...offered })
  const body = { ...item, receipts: taken.receipts, controls }
  const sealed = kit.sessions.seal(kit.own, turn.state.sessions, body, draw, turn.nowMs)
  if (!sealed.ok) return sealed.code === 'USAGE_MESSAGE_TOO_LARGE' ? 'tooLarge' : 'bundle'
  const { sessions, envelope, envelopeId, at } = sealed.value
  turn.change({ sessions })
  if (rest !== turn.state.ledger.postbag) turn.book({ postbag: rest })
  if (postbagSize(rest) === 0) turn.clear('postbagDueAt')
  const { receipts, withdrawals } = taken
  const offersKey = offered !== undefined
  return { sealed: { envelope, envelopeId, at, receipts, withdrawals, offersKey } }
}

function needsSession(turn: Turn, outbox: readonly OutboxEntry[]): boolean {
  const { kit, nowMs, state } = turn
  const outstanding = oldestOutstanding(state.sessions, outbox, state.notices)
  return kit.sessions.needsBundle(state.sessions, { nowMs, outstanding })
}

/** The oldest letter and notice on the chain being sent on: how far back the peer's skipped keys could reach. */
function oldestOutstanding(
  { list }: Sessions,
  outbox: readonly OutboxEntry[],
  notices: readonly NoticeEntry[],
): SealedAt[] {
  const [active] = list
  const isOnChain = (at: SealedAt | undefined): boolean =>
    at !== undefined && at.session === active?.id && at.chain === active.ratchet.sendingChains
  const letter = outbox.find((one) => isOnChain(one.letter.sealed?.at))?.letter.sealed?.at
  const notice = notices.find((one) => isOnChain(one.notice.sealed.at))?.notice.sealed.at
  return [letter, notice].filter((at) => at !== undefined)
}

/** Seals receipt-only envelopes for what waits in the postbag, if it is due and the link is open. */
export function sealNotices(turn: Turn): void {
  armPostbag(turn)
  const isDue = (): boolean => {
    const { ledger, postbagDueAt } = turn.state
    if (postbagSize(ledger.postbag) === 0) return false
    return (
      ledger.postbag.receipts.length >= RECEIPTS_PER_BODY_MAX || Number(postbagDueAt) <= turn.nowMs
    )
  }
  const maySend = (): boolean => turn.state.link === 'open' || turn.state.isUnreachable
  while (maySend() && turn.state.notices.length < NOTICES_MAX && isDue()) {
    if (!sealNotice(turn, false)) {
      fetchForReceipts(turn)
      return
    }
  }
}

/**
 * Receipts alone open no session: who sent what they receipt has one. But one that only receives, after a restored
 * backup, is no way to tell the peer.
 */
function fetchForReceipts(turn: Turn): void {
  const { sessions, outbox, retryAt } = turn.state
  if (sessions.list.length === 0 || retryAt !== undefined) return
  if (needsSession(turn, outbox)) fetchBundle(turn)
}

function fetchBundle(turn: Turn): void {
  if (turn.state.isFetching) return
  turn.change({ isFetching: true })
  turn.ask({ kind: 'fetchBundle' })
}

/** Sets when the postbag is due: each thing that comes into it puts that off a little. */
function armPostbag(turn: Turn): void {
  const { ledger, postbagDueAt } = turn.state
  const { postbag } = ledger
  if (postbagSize(postbag) === 0) return
  if (postbagDueAt !== undefined && postbag === turn.before.ledger.postbag) return
  const latest = (postbag.since ?? turn.nowMs) + RECEIPT_DELAY_MS
  turn.change({ postbagDueAt: Math.min(latest, turn.nowMs + RECEIPT_QUIET_MS) })
}

function sealNotice(turn: Turn, isReset: boolean): boolean {
  const sealing = seal(turn, {}, turn.state.outbox, isReset)
  if (sealing === 'draws') turn.ask({ kind: 'drawMore' })
  if (typeof sealing === 'string') return false
  const { nextNotice, postbag } = turn.state.ledger
  turn.book({ nextNotice: nextNotice + 1 })
  const notice = { number: nextNotice, sealedAt: turn.nowMs, isReset, sealed: sealing.sealed }
  const entry: NoticeEntry = { notice, phase: 'waiting' }
  const isOpen = turn.state.link === 'open'
  turn.change({ notices: [...turn.state.notices, isOpen ? transmitNotice(turn, entry) : entry] })
  if (postbagSize(postbag) > 0) turn.change({ postbagDueAt: turn.nowMs })
  return true
}

/** Opens a session on a fetched bundle, and seals on it what waits. */
export function openSession(turn: Turn, fetched: Fetched, draws: InitiateDraws): void {
  const { kit, nowMs, state } = turn
  turn.change({ isFetching: false })
  const { renewal } = state
  // The peer's own session came first.
  if (renewal === undefined && !needsSession(turn, state.outbox)) return
  const made = kit.sessions.initiate(kit.own, state.sessions, fetched, draws, nowMs)
  if (!made.ok) {
    const { code } = made
    turn.change({
      outbox: state.outbox.map((one) =>
        isUnsealed(one.letter) ? { ...one, attempts: one.attempts + 1, lastError: code } : one,
      ),
    })
    turn.backOff()
    return
  }
  turn.change({ sessions: made.value.sessions })
  if (made.value.identityChanged) turn.ask({ kind: 'reportIdentity' })
  turn.clear('renewal')
  if (renewal === 'reset' || renewal === 'renew') {
    renewalOpened(turn)
    turn.ask({ kind: 'reportReset', by: 'self' })
    unseal(turn, () => true)
  }
  if (renewal === 'reset') {
    const sent = sealNotice(turn, true)
    invariant(sent, 'the event of a fetched bundle brings a draw for the reset')
  }
  sealLetters(turn)
}

/** Starts what the conversation needs and is not under way: a bundle, a link, envelopes on an open link. */
export function attempt(turn: Turn): void {
  sealLetters(turn)
  const { state } = turn
  const needsBundle =
    state.renewal !== undefined || (state.unsealed > 0 && needsSession(turn, state.outbox))
  if (needsBundle) fetchBundle(turn)
  if (state.link === 'closed' && (needsBundle || wantsLink(turn))) {
    turn.change({ link: 'opening' })
    if (!state.isUnreachable) turn.change({ reachBy: turn.nowMs + REACH_WAIT_MS })
    turn.ask({ kind: 'openLink' })
  }
  if (state.link === 'open') transmitAll(turn, ['waiting', 'refused'])
}

/** True if something could be sent, were the link open. */
export function wantsLink({ state }: Turn): boolean {
  const isWaiting = state.outbox.some(
    ({ phase, letter }) =>
      letter.state === 'queued' && letter.sealed !== undefined && phase === 'waiting',
  )
  return (
    isWaiting ||
    state.notices.length > 0 ||
    hasPost(state.ledger.postbag, state.sessions.list.length)
  )
}

function hasPost(postbag: Postbag, sessions: number): boolean {
  return sessions > 0 && postbagSize(postbag) > 0
}
