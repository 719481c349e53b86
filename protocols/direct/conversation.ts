// A conversation with one peer as data: what the delivery machine is in, hears and asks for (spec.md §4.2).
// Floor 0, pure. Fields under "volatile" are not saved: after a restart they begin anew.
import type { Bytes } from '../base/bytes.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import type { PeerId } from '../base/ids.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import type { Postbag } from './receipts.ts'
import { EMPTY_POSTBAG } from './receipts.ts'
import type { Handed, Held, ReceiveOrder, Via } from './receive-order.ts'
import { FIRST_ORDER } from './receive-order.ts'
import { noSessions } from './session.ts'
import type { Sessions } from './session.ts'
import type { Consumed, SealedAt } from './sessions.ts'
import { COPIES_WANTED } from '../mailbox/types.ts'
import { MAILBOX_TTL_MS, RESET_INTERVAL_MS } from './types.ts'
import type {
  EnvelopeId,
  Fetched,
  Handoff,
  InitiateDraws,
  MessageId,
  PrekeyLookup,
  QueueKeyGrant,
  Receipt,
  Withdrawal,
} from './types.ts'

/* Implementation constants: ours to tune. */
/** Octets of contents that wait in one peer's outbox; their envelopes take as much again. */
export const OUTBOX_BYTES_PER_PEER_MAX = 33_554_432
/** Delivered or failed messages remembered for one peer; the oldest is forgotten. */
export const DONE_PER_PEER_MAX = 4_096
/** Receipt-only envelopes on their way to one peer at once. */
export const NOTICES_MAX = 16
/** Receipts leave once nothing more to receipt came for this long; RECEIPT_DELAY_MS is the longest wait. */
export const RECEIPT_QUIET_MS = 5
/** Back-off between attempts: doubles from the first to the last, each ± RETRY_JITTER. */
export const RETRY_MS_MIN: number = SECOND_MS
export const RETRY_MS_MAX: number = 5 * MINUTE_MS
export const RETRY_JITTER = 0.2
/** When a message is forgotten, whatever its state; the recipient's memory of ids ends later. */
export const FORGET_MS: number = MAILBOX_TTL_MS + 7 * DAY_MS
/** Handoffs accepted from a stranger; whoever takes them bounds what waits there. */
export const STRANGER_HANDOFFS_MAX = 16
/** How long a stranger's message waits in the request box. */
export const REQUEST_LIFE_MS: number = 14 * DAY_MS
/** A peer's resets are followed at most once in this time. */
export const RESET_FOLLOWED_MS: number = RESET_INTERVAL_MS / 2

/** What an agent or another protocol gives to send. */
export type Draft =
  | { readonly kind: 'message'; readonly contentType?: string; readonly content: Bytes }
  | { readonly kind: 'handoff'; readonly protocol: string; readonly content: Bytes }

/** A sealed envelope, and what rode along: it waits again if the envelope is given up. */
export interface SealedLetter {
  readonly envelope: Bytes
  readonly envelopeId: EnvelopeId
  readonly at: SealedAt
  readonly receipts: readonly Receipt[]
  readonly withdrawals: readonly Withdrawal[]
  /** It tells the peer its queue key. */
  readonly offersKey: boolean
}

/** A message or handoff until its receipt comes; the plaintext is kept for a re-encryption. */
export interface Letter {
  readonly id: MessageId
  readonly sequence: number
  readonly draft: Draft
  readonly sentAt: TimeMs
  readonly state: 'queued' | 'expired'
  /** Bundles fetched again because the peer had used the one-time prekey up. */
  readonly refetches: number
  /** Somebody may ask for it by an idempotency key: its end is remembered. */
  readonly keyed: boolean
  readonly sealed?: SealedLetter
}

/** How far an envelope got on the present link. Volatile. */
export type Phase = 'waiting' | 'sent' | 'accepted' | 'refused'

/** An envelope at a custodian, proved by its receipt. */
export interface Copy {
  readonly custodian: PeerId
  readonly storedAt: TimeMs
  readonly expiresAt: TimeMs
}

/** Where an envelope waits for its recipient. */
export interface Copies {
  readonly envelopeId: EnvelopeId
  /** One a custodian. */
  readonly list: readonly Copy[]
  /** Custodians that the recipient has. */
  readonly of: number
}

/** A letter, and what became of it since the start of the process. */
export interface OutboxEntry {
  readonly letter: Letter
  /** Saved; absent: no custodian has it. */
  readonly copies?: Copies
  readonly phase: Phase
  /** The round of attempts in which custodians were asked last. */
  readonly askedIn?: number
  readonly attempts: number
  readonly lastError?: ErrorCode
}

/** A message that needs no more envelopes. */
export interface Done {
  readonly id: MessageId
  readonly sequence: number
  readonly kind: Draft['kind']
  readonly sentAt: TimeMs
  readonly state: 'delivered' | 'handled' | 'failed'
  readonly keyed: boolean
}

/** A receipt-only envelope until it is accepted. */
export interface Notice {
  readonly number: number
  readonly sealedAt: TimeMs
  readonly isReset: boolean
  readonly sealed: SealedLetter
}

export interface NoticeEntry {
  readonly notice: Notice
  readonly phase: Phase
  /** As of an outbox entry. */
  readonly askedIn?: number
}

/** Rate limits of resets, both ways. 0: never. */
export interface Resets {
  readonly openedAt: number
  readonly intervalMs: number
  readonly followedAt: number
}

/** The small facts that are saved together. */
export interface Ledger {
  /** Of our next message or handoff. */
  readonly nextSequence: number
  readonly nextNotice: number
  readonly postbag: Postbag
  readonly order: ReceiveOrder
  /** Envelopes and handoffs taken while the peer was a stranger. */
  readonly strangerEnvelopes: number
  readonly strangerHandoffs: number
  readonly resets: Resets
  /** When the active session became active; 0: there is none. */
  readonly sessionSince: number
  /** The peer's word that we may deposit for it. */
  readonly granted?: QueueKeyGrant
  /** Ours for the peer, until it has it. */
  readonly offered?: QueueKeyGrant
}

/** `open`: a stranger whom this agent's settings treat as a contact. */
export type Trust = 'stranger' | 'open' | 'contact'

/**
 * Why a new session is wanted although there is one. `reset`: the peer's envelopes do not open, and it is told so;
 * `renew`: the peer refuses ours; `refetch`: the peer has used the one-time prekey up.
 */
export type Renewal = 'reset' | 'renew' | 'refetch'

/** Everything about one peer. Immutable. */
export interface Conversation {
  readonly peer: PeerId
  readonly sessions: Sessions
  readonly trust: Trust
  readonly ledger: Ledger
  /** Ascending by sequence. */
  readonly outbox: readonly OutboxEntry[]
  /** In the order they were done. */
  readonly done: readonly Done[]
  readonly notices: readonly NoticeEntry[]
  /** Ascending by sequence. */
  readonly held: readonly Held[]
  /** A stranger's messages, as they came. */
  readonly requests: readonly Held[]

  /* volatile */
  readonly link: 'closed' | 'opening' | 'open'
  /** The last attempt to reach the peer failed, or takes long: custodians are asked. */
  readonly isUnreachable: boolean
  /** When an attempt begins to take long. */
  readonly reachBy?: number
  /** Counts attempts that failed: custodians are asked once in each about an envelope. */
  readonly round: number
  readonly isFetching: boolean
  readonly renewal?: Renewal
  /** Letters without an envelope. */
  readonly unsealed: number
  /** Octets of the outbox's contents. */
  readonly outboxBytes: number
  /** Attempts that failed in a row. */
  readonly failures: number
  /** No attempt before this time. */
  readonly retryAt?: number
  readonly postbagDueAt?: number
  /** When what was due was done last. */
  readonly ranAt: number
  /** Ids handed over after a look at the known ids, which may not have reached the disk by then. */
  readonly lookedUp: readonly MessageId[]
}

/** Time and randomness of one event. */
export interface Moment {
  readonly nowMs: TimeMs
  /** Fresh random octets, any number of SEAL_DRAW_BYTES: each sealed envelope takes one. */
  readonly draws: Bytes
  /** In [0, 1). */
  readonly jitter: number
}

/** What the peer answered to an envelope (spec.md §6). */
export type ResultStatus =
  'accepted' | 'malformed' | 'unsupported' | 'refused' | 'busy' | 'quota' | 'prekeyConsumed'

/** Which of our envelopes. */
export interface EnvelopeRef {
  readonly kind: 'letter' | 'notice'
  /** A letter's sequence or a notice's number. */
  readonly number: number
  readonly envelopeId: EnvelopeId
}

/** What is known of an envelope and its message from earlier; read from the disk when asked for. */
export interface Found {
  /** Present if the envelope was committed before. */
  readonly envelope?: { readonly message?: Receipt }
  /** Present if a message id was asked for: how far it got here, or false. */
  readonly message?: Receipt['state'] | false
}

/** An envelope that came, and whom to answer. */
export interface Incoming {
  /** Names the answer; opaque here. */
  readonly token: number
  readonly envelope: Bytes
  readonly envelopeId: EnvelopeId
  readonly via: Via
}

/** Past facts that a conversation hears. */
export type ConversationEvent = { readonly at: Moment } & (
  | { readonly kind: 'restarted' | 'connected' | 'timerExpired' | 'drawn' }
  | {
      readonly kind: 'submitted'
      readonly id: MessageId
      readonly keyed: boolean
      readonly draft: Draft
    }
  | { readonly kind: 'trusted' }
  | { readonly kind: 'distrusted'; readonly trust: 'stranger' | 'open' }
  | {
      readonly kind: 'received'
      readonly incoming: Incoming
      readonly prekeys: PrekeyLookup
      /** The request box has no room for any stranger. */
      readonly isBoxFull: boolean
      /** A stranger, too, may be told that its one-time prekey was used up: a bounded number of them are. */
      readonly mayRenew: boolean
      readonly found?: Found
    }
  | { readonly kind: 'linkOpened' }
  | { readonly kind: 'linkClosed' }
  | { readonly kind: 'linkFailed'; readonly code: ErrorCode }
  | { readonly kind: 'fetchFailed'; readonly code: ErrorCode }
  | { readonly kind: 'resultsReceived'; readonly results: readonly EnvelopeResult[] }
  | { readonly kind: 'bundleFetched'; readonly fetched: Fetched; readonly draws: InitiateDraws }
  | { readonly kind: 'agentHandled'; readonly ids: readonly MessageId[] }
  /** A custodian has signed for an envelope; its receipt was verified. */
  | {
      readonly kind: 'stored'
      readonly ref: EnvelopeRef
      readonly copy: Copy
      /** Custodians that the recipient has. */
      readonly of: number
    }
  /** No custodian took an envelope. */
  | { readonly kind: 'depositFailed'; readonly ref: EnvelopeRef; readonly code: ErrorCode }
  /** This agent's custodians know a queue key for the peer: it is to be told. */
  | { readonly kind: 'keyOffered'; readonly key: QueueKeyGrant }
)

export interface EnvelopeResult {
  readonly ref: EnvelopeRef
  readonly status: ResultStatus
}

/** What the machine asks for. Rows of the state itself are found by comparing two states. */
export type ConversationEffect =
  /* saved with the state */
  | { readonly kind: 'saveSeen'; readonly envelopeId: EnvelopeId; readonly messageId?: MessageId }
  | { readonly kind: 'saveMessage'; readonly handed: Handed }
  | { readonly kind: 'saveHeld' | 'saveRequest'; readonly held: Held }
  | { readonly kind: 'saveHandoff'; readonly handoff: Handoff; readonly receivedAt: TimeMs }
  | { readonly kind: 'consumePrekeys'; readonly consumed: Consumed }
  | { readonly kind: 'befriend' }
  | { readonly kind: 'archive'; readonly id: MessageId }
  | { readonly kind: 'reportIdentity' }
  /** A session was replaced out of turn, by this agent or by the peer: rare, and worth a look. */
  | { readonly kind: 'reportReset'; readonly by: 'self' | 'peer' }
  | {
      readonly kind: 'report'
      readonly id: MessageId
      readonly draft: Draft['kind']
      readonly state: 'stored' | 'delivered' | 'handled' | 'expired' | 'failed'
      /** Of `stored`. */
      readonly copies?: Copies
    }
  /* performed once saved */
  | { readonly kind: 'transmit'; readonly ref: EnvelopeRef; readonly envelope: Bytes }
  | {
      readonly kind: 'deposit'
      readonly ref: EnvelopeRef
      readonly envelope: Bytes
      /** Custodians that have it. */
      readonly have: readonly PeerId[]
      /** Absent: as a stranger. */
      readonly granted?: QueueKeyGrant
    }
  | { readonly kind: 'answer'; readonly incoming: Incoming; readonly status: ResultStatus }
  | { readonly kind: 'lookUp'; readonly incoming: Incoming; readonly messageId?: MessageId }
  | { readonly kind: 'openLink' | 'fetchBundle' | 'drawMore' }
  /** Replaces the conversation's only timer; Infinity stops it. */
  | { readonly kind: 'startTimer'; readonly dueAt: number }

/** The ledger of a peer never heard of. */
export const FIRST_LEDGER: Ledger = {
  nextSequence: 1,
  nextNotice: 1,
  postbag: EMPTY_POSTBAG,
  order: FIRST_ORDER,
  strangerEnvelopes: 0,
  strangerHandoffs: 0,
  resets: { openedAt: 0, intervalMs: RESET_INTERVAL_MS, followedAt: 0 },
  sessionSince: 0,
}

/** What is read back from the disk. */
export interface SavedConversation {
  readonly sessions: Sessions
  readonly trust: Trust
  readonly ledger: Ledger
  readonly letters: readonly Letter[]
  /** By sequence. */
  readonly copies: ReadonlyMap<number, Copies>
  readonly done: readonly Done[]
  readonly notices: readonly Notice[]
  readonly held: readonly Held[]
  readonly requests: readonly Held[]
}

/** A conversation with a peer never heard of. */
export function newConversation(peer: PeerId, trust: Trust): SavedConversation {
  return {
    sessions: noSessions(peer),
    trust,
    ledger: FIRST_LEDGER,
    letters: [],
    copies: new Map(),
    done: [],
    notices: [],
    held: [],
    requests: [],
  }
}

/** Takes up a saved conversation; dispatch `restarted` first. */
export function resumeConversation(
  { letters, copies, notices, ...saved }: SavedConversation,
  link: 'closed' | 'open',
): Conversation {
  return {
    ...saved,
    peer: saved.sessions.peer,
    outbox: letters.map((letter) => {
      const found = copies.get(letter.sequence)
      return {
        letter,
        phase: 'waiting',
        attempts: 0,
        ...(found !== undefined && { copies: found }),
      }
    }),
    notices: notices.map((notice) => ({ notice, phase: 'waiting' })),
    link,
    isUnreachable: false,
    round: 0,
    isFetching: false,
    unsealed: letters.filter(isUnsealed).length,
    outboxBytes: letters.reduce((sum, { draft }) => sum + draft.content.length, 0),
    failures: 0,
    ranAt: 0,
    lookedUp: [],
  }
}

/** True if a letter waits for an envelope. */
export function isUnsealed(letter: Letter): boolean {
  return letter.sealed === undefined && letter.state === 'queued'
}

/** True if as many custodians have the letter's envelope as are asked for. */
export function isStored({ letter, copies }: OutboxEntry): boolean {
  if (copies === undefined || letter.state !== 'queued') return false
  return copies.envelopeId === letter.sealed?.envelopeId && hasEnough(copies)
}

/** True for as many copies as are asked for. */
export function hasEnough({ list, of }: Copies): boolean {
  return list.length >= Math.max(1, Math.min(COPIES_WANTED, of))
}

/** Letters that still count against OUTBOX_PER_PEER_MAX. */
export function countQueued({ outbox }: Conversation): number {
  // Letters expire in the order they were sent, so the expired ones come first.
  const first = outbox.findIndex(({ letter }) => letter.state === 'queued')
  return first < 0 ? 0 : outbox.length - first
}
