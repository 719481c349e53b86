// The receiver (spec.md §4.2.3): one envelope in, exactly one message out, in order. Floor 0, pure.
import type { ErrorCode } from '../base/error-codes.ts'
import type { ConversationEvent, Found, Incoming, ResultStatus } from './conversation.ts'
import { STRANGER_HANDOFFS_MAX } from './conversation.ts'
import { prekeyConsumed, takeReceipts, unseal } from './outbox.ts'
import { arrive, isFresh, settle } from './receive-order.ts'
import type { Arrival, Held, Via } from './receive-order.ts'
import { addReceipt } from './receipts.ts'
import { mayFollowReset, requestRenewal } from './renewal.ts'
import type { Opened } from './sessions.ts'
import type { Turn } from './turn.ts'
import { STRANGER_ENVELOPES } from './types.ts'
import type { Body, Control, Handoff, Message, MessageId, Receipt } from './types.ts'

type Received = Extract<ConversationEvent, { kind: 'received' }>

/** Ids remembered of what went over after a look at the known ids. */
const LOOKED_UP_MAX = 64

/** Takes an envelope. What needs a look at the disk changes nothing, and comes again with what was found. */
export function receive(turn: Turn, event: Received): void {
  const { incoming, found } = event
  if (found?.envelope !== undefined) {
    repeat(turn, incoming, found.envelope.message)
    return
  }
  if (turn.state.trust === 'stranger' && !hasRoom(turn, event.isBoxFull)) {
    // A full box refuses what is new, but what it holds is still acknowledged.
    if (found === undefined) turn.ask({ kind: 'lookUp', incoming })
    else answer(turn, incoming, 'quota')
    return
  }
  const { kit, nowMs, state } = turn
  const opened = kit.sessions.open(kit.own, state.sessions, event.prekeys, incoming.envelope, nowMs)
  if (opened.ok) take(turn, incoming, opened.value, found)
  else if (found === undefined) turn.ask({ kind: 'lookUp', incoming })
  else refuse(turn, event, opened.code)
}

function hasRoom({ state }: Turn, isBoxFull: boolean): boolean {
  const { strangerEnvelopes } = state.ledger
  return strangerEnvelopes < STRANGER_ENVELOPES && !isBoxFull
}

function answer(turn: Turn, incoming: Incoming, status: ResultStatus): void {
  turn.ask({ kind: 'answer', incoming, status })
}

/** An envelope that was committed before: its receipt may have been lost. */
function repeat(turn: Turn, incoming: Incoming, message: Receipt | undefined): void {
  if (message !== undefined) receipt(turn, message)
  answer(turn, incoming, 'accepted')
}

function refuse(turn: Turn, { incoming, mayRenew }: Received, code: ErrorCode): void {
  // A custodian carries no answer back, so a sender whose one-time prekey was used up hears it in a session of ours.
  const isUnheard = code === 'PREKEYS_CONSUMED' && incoming.via === 'mailbox'
  // Only a contact may cause a session at will: else strangers could make this agent fetch bundles.
  const isContact = turn.state.trust === 'contact'
  if (isContact ? isLost(code) || isUnheard : isUnheard && mayRenew) requestRenewal(turn, 'reset')
  answer(turn, incoming, statusOf(code))
}

/** True for codes that another session mends. */
function isLost(code: ErrorCode): boolean {
  return code.startsWith('DIRECT_')
}

/** What the peer is told. Decryption, authentication and replay look alike: no oracle. */
function statusOf(code: ErrorCode): ResultStatus {
  switch (code) {
    case 'CODEC_UNKNOWN_VERSION':
    case 'CODEC_UNKNOWN_SUITE':
    case 'CODEC_UNKNOWN_TYPE':
      return 'unsupported'
    case 'CODEC_LENGTH':
    case 'CODEC_PADDING':
    case 'CODEC_RESERVED':
    case 'CODEC_MALFORMED':
      return 'malformed'
    case 'PREKEYS_CONSUMED':
      return 'prekeyConsumed'
    case 'LIMIT_RATE':
      return 'busy'
    default:
      return 'refused'
  }
}

function take(turn: Turn, incoming: Incoming, opened: Opened, found: Found | undefined): void {
  const { body } = opened
  const item = body.message ?? body.handoff
  const { ledger, held } = turn.state
  const isNew = item === undefined || isFresh(ledger.order, held, item.sequence)
  if (!isNew && found?.message === undefined) {
    turn.ask({ kind: 'lookUp', incoming, messageId: item.id })
    return
  }
  adopt(turn, incoming, opened)
  takeReceipts(turn, body.receipts)
  if (item !== undefined) {
    const before = isNew ? false : knownState(turn, item.id, found)
    if (before !== false) receipt(turn, { id: item.id, state: before })
    else takeItem(turn, body, incoming.via, isNew ? undefined : item.id)
  }
  for (const control of body.controls) takeControl(turn, control, opened)
  if (turn.state.trust === 'stranger' && body.handoff === undefined) {
    turn.book({ strangerEnvelopes: turn.state.ledger.strangerEnvelopes + 1 })
  }
  answer(turn, incoming, 'accepted')
}

/** Commits the session whatever the body says: its keys are used up. */
function adopt(turn: Turn, { envelopeId }: Incoming, opened: Opened): void {
  const { sessions, body, consumed, identityChanged } = opened
  const messageId = (body.message ?? body.handoff)?.id
  turn.change({ sessions })
  turn.ask({ kind: 'saveSeen', envelopeId, ...(messageId !== undefined && { messageId }) })
  if (identityChanged) turn.ask({ kind: 'reportIdentity' })
  if (consumed === undefined) return
  turn.ask({ kind: 'consumePrekeys', consumed })
  // The peer made the session that was wanted here.
  turn.clear('renewal')
}

function knownState(turn: Turn, id: MessageId, found: Found | undefined): Receipt['state'] | false {
  if (turn.state.lookedUp.includes(id)) return 'delivered'
  return found?.message ?? false
}

function receipt(turn: Turn, one: Receipt): void {
  if (turn.state.trust === 'stranger') return
  turn.book({ postbag: addReceipt(turn.state.ledger.postbag, one, turn.nowMs) })
}

function takeItem(turn: Turn, body: Body, via: Via, lookedUp: MessageId | undefined): void {
  if (lookedUp !== undefined) {
    turn.change({ lookedUp: [...turn.state.lookedUp, lookedUp].slice(-LOOKED_UP_MAX) })
  }
  if (body.handoff !== undefined) takeHandoff(turn, body.handoff)
  else if (body.message !== undefined) takeMessage(turn, body.message, via)
}

function takeMessage(turn: Turn, message: Message, via: Via): void {
  // The content is a view of the opened plaintext; what is kept must not keep that alive.
  const content = message.content.slice()
  const one = { message: { ...message, content }, receivedAt: turn.nowMs, via }
  if (turn.state.trust === 'stranger') {
    if (turn.state.requests.some((other) => other.message.id === message.id)) return
    turn.change({ requests: [...turn.state.requests, one] })
    turn.ask({ kind: 'saveRequest', held: one })
    return
  }
  receipt(turn, { id: message.id, state: 'delivered' })
  handIn(turn, one)
}

/** Puts a message of a contact in its order. */
export function handIn(turn: Turn, one: Held): void {
  const arrival = arrive(turn.state.ledger.order, turn.state.held, one)
  if (arrival.held.includes(one)) turn.ask({ kind: 'saveHeld', held: one })
  takeArrival(turn, arrival)
}

/** Hands over what its turn has come for. */
export function takeArrival(turn: Turn, { order, held, handed }: Arrival): void {
  if (held !== turn.state.held) turn.change({ held })
  if (order !== turn.state.ledger.order) turn.book({ order })
  for (const one of handed) turn.ask({ kind: 'saveMessage', handed: one })
}

function takeHandoff(turn: Turn, handoff: Handoff): void {
  const { strangerHandoffs } = turn.state.ledger
  if (turn.state.trust === 'stranger') {
    if (strangerHandoffs >= STRANGER_HANDOFFS_MAX) return
    turn.book({ strangerHandoffs: strangerHandoffs + 1 })
  }
  const copy = { ...handoff, content: handoff.content.slice() }
  turn.ask({ kind: 'saveHandoff', handoff: copy, receivedAt: turn.nowMs })
  receipt(turn, { id: handoff.id, state: 'delivered' })
  takeArrival(turn, settle(turn.state.ledger.order, turn.state.held, [handoff.sequence]))
}

function takeControl(turn: Turn, control: Control, { session }: Opened): void {
  switch (control.kind) {
    case 'reset':
      // The active session is now the one that the reset came in.
      if (!mayFollowReset(turn)) return
      turn.clear('renewal')
      turn.ask({ kind: 'reportReset', by: 'peer' })
      unseal(turn, ({ at }) => at.session !== session.id)
      return
    case 'withdrawn': {
      const sequences = control.items.map(({ sequence }) => sequence)
      takeArrival(turn, settle(turn.state.ledger.order, turn.state.held, sequences))
      return
    }
    case 'prekeyConsumed': {
      const entry = turn.state.outbox.find(
        ({ letter }) => letter.sealed?.envelopeId === control.envelopeId,
      )
      if (entry?.letter.sealed !== undefined) prekeyConsumed(turn, entry.letter.sealed)
      return
    }
    case 'queueKey': {
      const { id, seed, expiresAt } = control
      // Views of the opened plaintext, as above.
      turn.book({ granted: { id: id.slice(), seed: seed.slice(), expiresAt } })
    }
  }
}
