// Names, limits and data of direct messages (spec.md §3, §5). Floor 0, pure.
import type { Brand } from '../base/brand.ts'
import type { Bytes } from '../base/bytes.ts'
import type { PeerId } from '../base/ids.ts'
import type { Encapsulation } from '../base/primitives.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'

/** The sender's random name of a message: 32 hex digits. */
export type MessageId = Brand<string, 'MessageId'>

/** SHA-256 of an envelope: 64 hex digits. */
export type EnvelopeId = Brand<string, 'EnvelopeId'>

/** The handshake transcript T of a session: 64 hex digits. */
export type SessionId = Brand<string, 'SessionId'>

/* Specification constants: peers must agree on them. */
export const DIRECT_PROTOCOL = '/conclave/direct/1.0.0'
export const PREKEYS_PROTOCOL = '/conclave/prekeys/1.0.0'
export const VERSION = 1
/** X25519 and ML-KEM-1024 in the handshake, ML-KEM-768 in the post-quantum ratchet; the only suite. */
export const SUITE = 1
/** Bits that this implementation announces; none is assigned yet. */
export const CAPABILITIES = 0
export const ENVELOPE_BUCKETS: readonly number[] = [512, 1_024, 2_048, 4_096, 16_384, 65_536]
export const ENVELOPE_BYTES_MAX = 65_536
export const MESSAGE_BYTES_MAX = 60_000
export const CONTENT_TYPE_BYTES_MAX = 128
export const HANDOFF_PROTOCOL_BYTES_MAX = 32
export const RECEIPTS_PER_BODY_MAX = 64
export const CONTROLS_PER_BODY_MAX = 4
export const WITHDRAWN_PER_CONTROL_MAX = 64
export const SKIP_PER_CHAIN_MAX = 1_000
export const SKIP_PER_SESSION_MAX = 2_000
export const CHAIN_MESSAGES_MAX: number = 2 ** 20
/** Envelopes of an epoch, both directions together, after which the next one is proposed. */
export const SCKA_EPOCH_MESSAGES = 50
/** Or the time. */
export const SCKA_EPOCH_MS: number = HOUR_MS
export const SESSIONS_PER_PEER_MAX = 5
export const BUNDLE_LIFE_MS: number = 14 * DAY_MS
export const MAILBOX_TTL_MS: number = 7 * DAY_MS
/** How long ids of received envelopes and messages, and skipped keys, are kept. */
export const SEEN_MS: number = 14 * DAY_MS
export const STRANGER_ENVELOPES = 4
export const STRANGERS_ENVELOPES_MAX = 1_000
export const DIRECT_FRAME_BYTES_MAX = 66_560
export const PREKEYS_REPLY_BYTES_MAX = 4_096
export const PUBLISH_BYTES_MAX = 65_536
export const UNANSWERED_MAX = 256
export const UNANSWERED_BYTES_MAX = 1_048_576

/* Implementation constants: ours to tune. */
export const HEADER_TRIALS_MAX = 6
export const RECEIPT_DELAY_MS = 100
export const RESULT_TIMEOUT_MS: number = 5 * SECOND_MS
export const ORDER_WAIT_MS: number = 10 * MINUTE_MS
export const OUTBOX_PER_PEER_MAX = 1_000
export const RESET_INTERVAL_MS: number = HOUR_MS
export const RESET_INTERVAL_MAX_MS: number = DAY_MS
export const PREKEY_ROTATION_MS: number = 7 * DAY_MS
export const PREKEY_GRACE_MS: number = 7 * DAY_MS
/** How long a session that another one replaced still opens late envelopes. */
export const SUPERSEDED_MS: number = MAILBOX_TTL_MS + 7 * DAY_MS
export const REFETCH_MAX = 3
/** How long a peer may take to be reached before custodians are asked; attempts go on beside them. */
export const REACH_WAIT_MS: number = 3 * SECOND_MS
/** A recipient's queue keys: how long one holds, and when the next one is told. */
export const QUEUE_KEY_LIFE_MS: number = 28 * DAY_MS
export const QUEUE_KEY_RENEWAL_MS: number = 14 * DAY_MS

/** Answers on the wire, by number (spec.md §6). */
export const STATUSES = [
  'accepted',
  'malformed',
  'unsupported',
  'refused',
  'busy',
  'quota',
  'leaseExpired',
  'prekeyConsumed',
] as const

/** What a peer learns about its request: coarse, so that it is no oracle. */
export type Status = (typeof STATUSES)[number]

/** A message to the peer's agent. */
export interface Message {
  readonly id: MessageId
  /** Counts up from 1 in a conversation, over messages and handoffs alike. */
  readonly sequence: number
  readonly sentAt: TimeMs
  /** MIME type, at most CONTENT_TYPE_BYTES_MAX; absent: text/plain. */
  readonly contentType?: string
  /** At most MESSAGE_BYTES_MAX. */
  readonly content: Bytes
}

/** Bytes for another of our protocols, carried instead of a message; never shown in the inbox. */
export interface Handoff {
  readonly id: MessageId
  readonly sequence: number
  /** 1 to HANDOFF_PROTOCOL_BYTES_MAX octets of UTF-8. */
  readonly protocol: string
  /** At most MESSAGE_BYTES_MAX. */
  readonly content: Bytes
}

export interface Receipt {
  readonly id: MessageId
  readonly state: 'delivered' | 'handled'
}

/** An offer of the post-quantum ratchet (spec.md §4.1.4). */
export interface SckaOffer {
  /** `encapsulationKey`: 1,184 bytes; `ciphertext`: 1,088. */
  readonly kind: 'encapsulationKey' | 'ciphertext'
  readonly epoch: number
  readonly bytes: Bytes
}

/** The right to a place of one's own in the peer's mailboxes; a secret of the two. */
export interface QueueKeyGrant {
  /** 8 bytes. */
  readonly id: Bytes
  /** Ed25519 seed, 32 bytes, secret. */
  readonly seed: Bytes
  readonly expiresAt: TimeMs
}

/** A message that the sender gave up, so that nobody waits for it. */
export interface Withdrawal {
  readonly id: MessageId
  readonly sequence: number
}

export type Control =
  | { readonly kind: 'reset' }
  | ({ readonly kind: 'queueKey' } & QueueKeyGrant)
  | { readonly kind: 'prekeyConsumed'; readonly envelopeId: EnvelopeId }
  | { readonly kind: 'withdrawn'; readonly items: readonly Withdrawal[] }

/** What an envelope carries. A body without message and handoff is receipt-only. */
export interface Body {
  readonly message?: Message
  /** Never beside a message. */
  readonly handoff?: Handoff
  /** At most RECEIPTS_PER_BODY_MAX. */
  readonly receipts: readonly Receipt[]
  readonly scka?: SckaOffer
  /** At most CONTROLS_PER_BODY_MAX. */
  readonly controls: readonly Control[]
}

/** A peer's signed medium-term prekeys (spec.md §3.4). */
export interface Bundle {
  readonly capabilities: number
  readonly peer: PeerId
  readonly identityKey: Bytes
  readonly identitySeq: number
  readonly bundleSeq: number
  readonly issuedAt: TimeMs
  readonly expiresAt: TimeMs
  readonly signedPrekeyId: number
  /** X25519, 32 bytes. */
  readonly signedPrekey: Bytes
  readonly lastResortKemId: number
  /** ML-KEM-1024, 1,568 bytes. */
  readonly lastResortKemKey: Bytes
}

/** One signed one-time prekey: `pair` has a KEM key too, `ec` has not. */
export interface OneTimeEntry {
  readonly kind: 'pair' | 'ec'
  readonly id: number
  /** X25519, 32 bytes. */
  readonly ecKey: Bytes
  /** ML-KEM-1024, 1,568 bytes; exactly in a `pair`. */
  readonly kemKey?: Bytes
  /** Who hands it out: a custodian, or the recipient itself. */
  readonly custodian: PeerId
  readonly expiresAt: TimeMs
}

/** This agent's long-term keys for direct messages; made by `makeOwnKeys`. */
export interface OwnKeys {
  readonly peer: PeerId
  readonly peerBytes: Bytes
  /** X25519, 32 bytes, secret. */
  readonly identitySecret: Bytes
  readonly identityKey: Bytes
  /** 128 bytes (spec.md §3.2). */
  readonly certificate: Bytes
}

/** What a peer answered to `Fetch`: signed bytes, not verified yet. */
export interface Fetched {
  readonly bundle: Bytes
  readonly entry?: Bytes
  /** Who handed it out. */
  readonly from: PeerId
}

/** Randomness of `initiate`. The encapsulation is drawn before, as native ML-KEM takes no coins. */
export interface InitiateDraws {
  /** 32 bytes: the secret of the base key. */
  readonly baseSecret: Bytes
  readonly encapsulation: Encapsulation
}

/** Names the keys behind an initial envelope; recorded so that a repeat makes no second session. */
export interface PrekeyTuple {
  readonly signedPrekeyId: number
  readonly kemPrekeyId: number
  readonly baseKey: Bytes
}

/** Our prekey privates, already loaded; every function answers undefined for what is unknown or gone. */
export interface PrekeyLookup {
  /** A bundle that we published: SHA-256 of its bytes, and its capabilities. */
  readonly bundle: (
    bundleSeq: number,
  ) => { readonly hash: Bytes; readonly capabilities: number } | undefined
  /** X25519 secret. */
  readonly signed: (id: number) => Bytes | undefined
  /** ML-KEM-1024 seed, 64 bytes, of a last-resort key. */
  readonly lastResort: (id: number) => Bytes | undefined
  /** A one-time prekey: X25519 secret, KEM seed of a `pair`, and SHA-256 of the signed entry. */
  readonly oneTime: (
    id: number,
  ) => { readonly ecSecret: Bytes; readonly kemSeed?: Bytes; readonly hash: Bytes } | undefined
  /** True if an initial envelope with this tuple was opened before, while its keys live. */
  readonly isUsed: (tuple: PrekeyTuple) => boolean
}
