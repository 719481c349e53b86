// The delivery machine of one conversation (spec.md §4.2): outbox, receive order, receipts. Floor 0, pure.
import type { Step } from '../base/step.ts'
import type { Conversation, ConversationEffect, ConversationEvent } from './conversation.ts'
import { FORGET_MS, REQUEST_LIFE_MS, RETRY_MS_MIN } from './conversation.ts'
import { depositAll, reachFailed, takeDepositFailed, takeStored } from './depositing.ts'
import { attemptFailed, expireOutbox, linkLost, submit, takeResult } from './outbox.ts'
import { addReceipt, expirePostbag } from './receipts.ts'
import { giveUpDue, settle, waitingSince } from './receive-order.ts'
import { handIn, receive, takeArrival } from './receiving.ts'
import { attempt, openSession, sealLetters, sealNotices, wantsLink } from './sealing.ts'
import { pruneSessions } from './session.ts'
import { Turn } from './turn.ts'
import type { ConversationKit } from './turn.ts'
import { MAILBOX_TTL_MS } from './types.ts'
import type { MessageId } from './types.ts'

type ConversationStep = Step<Conversation, ConversationEffect>

/** Advances one conversation by one event. Throws only for a `submitted` that has no room. */
export type StepConversation = (state: Conversation, event: ConversationEvent) => ConversationStep

/** Makes the machine. */
export function makeConversationStep(kit: ConversationKit): StepConversation {
  return (state, event) => {
    const turn = new Turn(kit, state, event.at)
    hear(turn, event)
    sealLetters(turn)
    sealNotices(turn)
    depositAll(turn)
    if (activeId(turn.state) !== activeId(state)) turn.book({ sessionSince: event.at.nowMs })
    const dueAt = dueAtOf(kit, turn.state)
    if (
      event.kind === 'restarted' ||
      event.kind === 'timerExpired' ||
      dueAt !== dueAtOf(kit, state)
    ) {
      turn.ask({ kind: 'startTimer', dueAt })
    }
    return [turn.state, turn.effects]
  }
}

function activeId({ sessions }: Conversation): string | undefined {
  return sessions.list[0]?.id
}

function hear(turn: Turn, event: ConversationEvent): void {
  switch (event.kind) {
    case 'restarted':
      if (turn.state.trust !== 'stranger') admit(turn)
      runDue(turn)
      attempt(turn)
      return
    case 'submitted':
      submit(turn, event)
      if (turn.state.requests.length > 0) admit(turn)
      pressOn(turn)
      return
    case 'trusted':
      turn.change({ trust: 'contact' })
      admit(turn)
      return
    case 'distrusted':
      turn.change({ trust: event.trust })
      turn.book({ strangerEnvelopes: 0, strangerHandoffs: 0 })
      if (event.trust === 'open') admit(turn)
      return
    case 'received':
      receive(turn, event)
      if (turn.state.renewal !== undefined || turn.state.unsealed > 0) pressOn(turn)
      return
    case 'connected':
      turn.clear('retryAt')
      turn.change({ failures: 0 })
      attempt(turn)
      return
    case 'linkOpened':
    case 'linkClosed':
    case 'linkFailed':
      hearLink(turn, event)
      return
    case 'resultsReceived':
      for (const result of event.results) takeResult(turn, result)
      if (turn.state.renewal !== undefined || turn.state.unsealed > 0) pressOn(turn)
      return
    case 'bundleFetched':
      openSession(turn, event.fetched, event.draws)
      if (turn.state.retryAt === undefined) attempt(turn)
      return
    case 'fetchFailed':
      turn.change({ isFetching: false })
      attemptFailed(turn, event.code)
      return
    case 'agentHandled':
      for (const id of event.ids) handle(turn, id)
      return
    case 'timerExpired':
      runDue(turn)
      return
    case 'stored':
      takeStored(turn, event)
      return
    case 'depositFailed':
      takeDepositFailed(turn, event)
      return
    case 'keyOffered':
      turn.book({ offered: event.key })
      return
    case 'drawn': // sealing goes on after every event
  }
}

type LinkEvent = Extract<ConversationEvent, { kind: `link${string}` }>

function hearLink(turn: Turn, event: LinkEvent): void {
  switch (event.kind) {
    case 'linkOpened':
      turn.change({ link: 'open', isUnreachable: false })
      turn.clear('reachBy')
      linkLost(turn) // whatever an older link was told, this one was not
      turn.clear('retryAt')
      attempt(turn)
      return
    case 'linkClosed':
      turn.change({ link: 'closed' })
      linkLost(turn)
      if (wantsLink(turn)) turn.backOff()
      return
    case 'linkFailed':
      if (turn.state.link === 'open') return // the peer came first
      turn.change({ link: 'closed' })
      reachFailed(turn)
      attemptFailed(turn, event.code)
      return
  }
}

/** Tries at once, or soon if an attempt has just failed: something new wants to go out. */
function pressOn(turn: Turn): void {
  const { retryAt } = turn.state
  sealLetters(turn)
  const { unsealed, renewal, link } = turn.state
  if (unsealed === 0 && renewal === undefined && link === 'open') return
  if (retryAt === undefined) attempt(turn)
  else if (retryAt > turn.nowMs + RETRY_MS_MIN) turn.change({ retryAt: turn.nowMs + RETRY_MS_MIN })
}

/** Moves a former stranger's messages from the request box into the inbox, with their receipts. */
function admit(turn: Turn): void {
  const { requests } = turn.state
  turn.change({ requests: [] })
  turn.book({ strangerEnvelopes: 0, strangerHandoffs: 0 })
  const sorted = requests.toSorted((a, b) => a.message.sequence - b.message.sequence)
  for (const one of sorted) {
    const receipt = { id: one.message.id, state: 'delivered' } as const
    turn.book({ postbag: addReceipt(turn.state.ledger.postbag, receipt, turn.nowMs) })
    handIn(turn, one)
  }
}

/** The agent has dealt with a message: its sender is told, unless it is a stranger. */
function handle(turn: Turn, id: MessageId): void {
  const { requests, ledger, held } = turn.state
  const request = requests.find(({ message }) => message.id === id)
  turn.ask({ kind: 'archive', id })
  if (request !== undefined) {
    turn.change({ requests: requests.filter((one) => one !== request) })
    turn.book({ strangerEnvelopes: Math.max(0, ledger.strangerEnvelopes - 1) })
    takeArrival(turn, settle(ledger.order, held, [request.message.sequence]))
  } else if (turn.state.trust !== 'stranger') {
    turn.book({ postbag: addReceipt(ledger.postbag, { id, state: 'handled' }, turn.nowMs) })
  }
}

/** Does everything whose time has come. */
function runDue(turn: Turn): void {
  const { nowMs } = turn
  turn.change({ ranAt: nowMs })
  const sessions = pruneSessions(turn.state.sessions, nowMs)
  if (sessions !== turn.state.sessions) turn.change({ sessions })
  expireOutbox(turn)
  const postbag = expirePostbag(turn.state.ledger.postbag, nowMs)
  if (postbag !== turn.state.ledger.postbag) turn.book({ postbag })
  takeArrival(
    turn,
    giveUpDue(turn.state.ledger.order, turn.state.held, turn.kit.orderWaitMs, nowMs),
  )
  const requests = turn.state.requests.filter(
    ({ receivedAt }) => receivedAt + REQUEST_LIFE_MS > nowMs,
  )
  const gone = turn.state.requests.length - requests.length
  if (gone > 0) {
    turn.change({ requests })
    const left = Math.max(0, turn.state.ledger.strangerEnvelopes - gone)
    turn.book({ strangerEnvelopes: left })
  }
  const { retryAt, reachBy, postbagDueAt, link } = turn.state
  if (reachBy !== undefined && reachBy <= nowMs) {
    if (link === 'open') turn.clear('reachBy')
    else reachFailed(turn)
  }
  if (retryAt !== undefined && retryAt <= nowMs) {
    turn.clear('retryAt')
    attempt(turn)
  } else if (retryAt === undefined && postbagDueAt !== undefined && postbagDueAt <= nowMs) {
    if (link === 'closed') attempt(turn)
  }
}

/** When the next `timerExpired` is wanted; Infinity for never. */
function dueAtOf({ orderWaitMs }: ConversationKit, state: Conversation): number {
  const { outbox, done, notices, held, requests, ledger, retryAt, postbagDueAt } = state
  const times: (number | undefined)[] = [retryAt, state.reachBy]
  // A postbag that was due waits for a link, or for room among the notices; both come as events.
  if (postbagDueAt !== undefined && state.ranAt < postbagDueAt) times.push(postbagDueAt)
  const oldest = outbox[0]?.letter
  if (oldest !== undefined) times.push(oldest.sentAt + FORGET_MS)
  const queued = outbox.find(({ letter }) => letter.state === 'queued')?.letter
  if (queued !== undefined) times.push(queued.sentAt + MAILBOX_TTL_MS)
  if (done[0] !== undefined) times.push(done[0].sentAt + FORGET_MS)
  if (notices[0] !== undefined) times.push(notices[0].notice.sealedAt + MAILBOX_TTL_MS)
  if (requests[0] !== undefined) times.push(requests[0].receivedAt + REQUEST_LIFE_MS)
  if (ledger.postbag.since !== undefined) times.push(ledger.postbag.since + MAILBOX_TTL_MS)
  if (held.length > 0) times.push(waitingSince(held) + orderWaitMs)
  return Math.min(...times.filter((time) => time !== undefined))
}
