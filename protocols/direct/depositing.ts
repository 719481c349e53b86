// Envelopes for custodians while the peer cannot be reached (spec.md §4.2.6). Floor 0, pure.
import type { PeerId } from '../base/ids.ts'
import { LEASES_MAX } from '../identity/types.ts'
import type {
  ConversationEvent,
  Copies,
  EnvelopeRef,
  NoticeEntry,
  OutboxEntry,
  SealedLetter,
} from './conversation.ts'
import { isStored } from './conversation.ts'
import { findSequence } from './outbox.ts'
import type { Turn } from './turn.ts'
import { MAILBOX_TTL_MS } from './types.ts'

/** Notes that the peer cannot be reached for now: custodians are asked, once in each failed attempt. */
export function reachFailed(turn: Turn): void {
  turn.clear('reachBy')
  turn.change({ isUnreachable: true, round: turn.state.round + 1 })
}

/** While the peer cannot be reached: asks its custodians to keep what they do not have yet. */
export function depositAll(turn: Turn): void {
  const { isUnreachable, link, round, outbox, notices } = turn.state
  if (!isUnreachable || link === 'open') return
  const isDue = (one: OutboxEntry): boolean =>
    one.askedIn !== round && one.letter.state === 'queued' && one.letter.sealed !== undefined
  if (outbox.some(isDue)) {
    const next = outbox.map((one) => (isDue(one) ? depositLetter(turn, one) : one))
    turn.change({ outbox: next })
  }
  if (notices.every(({ askedIn }) => askedIn === round)) return
  turn.change({
    notices: notices.map((one): NoticeEntry => {
      if (one.askedIn === round) return one
      const { number, sealed } = one.notice
      deposit(turn, { kind: 'notice', number, envelopeId: sealed.envelopeId }, sealed, [])
      return { ...one, askedIn: round }
    }),
  })
}

function depositLetter(turn: Turn, entry: OutboxEntry): OutboxEntry {
  const { letter, copies } = entry
  const { sealed, sequence } = letter
  if (sealed === undefined) return entry
  const { envelopeId } = sealed
  const list = copies?.envelopeId === envelopeId ? copies.list : []
  // Half a life later a custodian may have lost it: it is asked again, and signs for the same.
  const have = list.filter(({ storedAt }) => storedAt + MAILBOX_TTL_MS / 2 > turn.nowMs)
  deposit(
    turn,
    { kind: 'letter', number: sequence, envelopeId },
    sealed,
    have.map(({ custodian }) => custodian),
  )
  return { ...entry, askedIn: turn.state.round }
}

function deposit(
  turn: Turn,
  ref: EnvelopeRef,
  { envelope }: SealedLetter,
  have: readonly PeerId[],
): void {
  const { granted } = turn.state.ledger
  const isGood = granted !== undefined && granted.expiresAt > turn.nowMs
  turn.ask({ kind: 'deposit', ref, envelope, have, ...(isGood && { granted }) })
}

type Stored = Extract<ConversationEvent, { kind: 'stored' }>

/** Takes a custodian's receipt: a message is stored once enough of them have signed. */
export function takeStored(turn: Turn, { ref, copy, of }: Stored): void {
  const { notices, outbox } = turn.state
  if (ref.kind === 'notice') {
    const left = notices.filter(({ notice }) => notice.sealed.envelopeId !== ref.envelopeId)
    if (left.length < notices.length) turn.change({ notices: left })
    return
  }
  const at = findSequence(outbox, ref.number)
  const entry = outbox[at]
  if (entry?.letter.sealed?.envelopeId !== ref.envelopeId) return
  const before = entry.copies?.envelopeId === ref.envelopeId ? entry.copies.list : []
  const list = [...before.filter(({ custodian }) => custodian !== copy.custodian), copy]
  const copies: Copies = { envelopeId: ref.envelopeId, list: list.slice(-LEASES_MAX), of }
  const { lastError, ...rest } = { ...entry, copies }
  const isKept = isStored(rest)
  const next = isKept || lastError === undefined ? rest : { ...rest, lastError }
  turn.change({ outbox: outbox.with(at, next) })
  if (!isKept || isStored(entry)) return
  const { id, draft } = entry.letter
  turn.ask({ kind: 'report', id, draft: draft.kind, state: 'stored', copies })
}

type DepositFailed = Extract<ConversationEvent, { kind: 'depositFailed' }>

/** Notes why no custodian took an envelope; they are asked again after the next attempt. */
export function takeDepositFailed(turn: Turn, { ref, code }: DepositFailed): void {
  if (ref.kind === 'notice') return
  const { outbox } = turn.state
  const at = findSequence(outbox, ref.number)
  const entry = outbox[at]
  if (entry?.letter.sealed?.envelopeId !== ref.envelopeId || isStored(entry)) return
  turn.change({ outbox: outbox.with(at, { ...entry, lastError: code }) })
}
