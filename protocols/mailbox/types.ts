// Names, limits and data of mailboxes (spec.md §3, §5). Floor 0, pure; other protocols may import it.
import type { Brand } from '../base/brand.ts'
import type { Bytes } from '../base/bytes.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import type { PeerId } from '../base/ids.ts'
import { DAY_MS, SECOND_MS } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import type { EnvelopeId } from '../direct/types.ts'

/** A custodian's random name of a lease: 32 hex digits. */
export type LeaseId = Brand<string, 'LeaseId'>

/** The recipient's random name of a contact's queue key: 16 hex digits. */
export type QueueKeyId = Brand<string, 'QueueKeyId'>

/* Specification constants: peers must agree on them. */
export const MAILBOX_PROTOCOL = '/conclave/mailbox/1.0.0'
export const LEASE_LABEL = 'conclave mailbox v1 lease'
export const RECEIPT_LABEL = 'conclave mailbox v1 receipt'
export const DEPOSIT_LABEL = 'conclave mailbox v1 deposit'
export const LEASE_ID_BYTES = 16
export const RECEIPT_BYTES = 210
export const QUEUE_KEY_ID_BYTES = 8
export const AUTHORISATION_BYTES = 80
/** Longest that a custodian keeps an envelope. */
export const TTL_MS_MAX: number = 7 * DAY_MS
/** Longest life of a lease; it is renewed at half of it. */
export const LEASE_LIFE_MS: number = 14 * DAY_MS
/** Custodians that a recipient asks for, and receipts that make a message stored. */
export const CUSTODIANS = 3
export const COPIES_WANTED = 2
export const STRANGER_ENVELOPES = 4
export const STRANGER_BYTES = 65_536
/** Part of a box that all strangers together may fill, in percent. */
export const STRANGERS_SHARE = 25
export const DEPOSIT_FRAME_BYTES_MAX = 66_560
export const ACKNOWLEDGE_FRAME_BYTES_MAX = 8_960
export const REQUEST_FRAME_BYTES_MAX = 256
export const COLLECT_ENVELOPES_MAX = 256
export const COLLECT_BYTES_MAX = 1_048_576
export const ACKNOWLEDGE_MAX = 256

/* Implementation constants: ours to tune. */
export const DEFAULT_QUOTA_BYTES = 16_777_216
export const DEFAULT_QUOTA_ENVELOPES = 4_096
export const CONTACT_QUOTA_BYTES = 4_194_304
export const CONTACT_QUOTA_ENVELOPES = 1_024
export const LEASES_MAX = 1_000
export const CUSTODY_BYTES_MAX: number = 4 * 1_024 * 1_048_576
/** Queue keys that one recipient may register. */
export const QUEUE_KEYS_MAX = 4_096
/** Strangers' deposits that wait in no box are counted still: a box forgets none before its lease ends. */
export const STRANGERS_PER_BOX_MAX = 4_096
/** Deposits of one stranger: a burst, then one every ten seconds. */
export const STRANGER_RATE = { burst: 8, perSecond: 0.1 } as const
/** How long a request to a custodian may take. */
export const REQUEST_TIMEOUT_MS: number = 10 * SECOND_MS

/** Why bytes or a request of this protocol are refused (spec.md §6). */
export type MailboxCode = Extract<
  ErrorCode,
  | 'CODEC_LENGTH'
  | 'CODEC_MALFORMED'
  | 'CODEC_UNKNOWN_VERSION'
  | 'CODEC_UNKNOWN_TYPE'
  | 'LIMIT_RATE'
  | 'MAILBOX_FULL'
  | 'MAILBOX_LEASE_EXPIRED'
  | 'VERIFY_EXPIRED'
  | 'VERIFY_IDENTITY_MISMATCH'
  | 'VERIFY_SIGNATURE'
>

/** A custodian's signed word that it keeps mail for a recipient, and how much. */
export interface Lease {
  readonly recipient: PeerId
  readonly custodian: PeerId
  readonly leaseId: LeaseId
  readonly quotaBytes: number
  readonly quotaEnvelopes: number
  /** How long an envelope is kept. */
  readonly ttlMs: number
  readonly issuedAt: TimeMs
  readonly expiresAt: TimeMs
}

/** A custodian's signed word that an envelope is on its disk. */
export interface StorageReceipt {
  readonly custodian: PeerId
  readonly recipient: PeerId
  readonly leaseId: LeaseId
  readonly envelopeId: EnvelopeId
  /** Octets of the envelope. */
  readonly size: number
  readonly storedAt: TimeMs
  /** When the custodian forgets it. */
  readonly expiresAt: TimeMs
}

/** A contact's right to deposit, as it signed it for one envelope. */
export interface Authorisation {
  readonly keyId: QueueKeyId
  readonly expiresAt: TimeMs
  /** 64 bytes. */
  readonly signature: Bytes
}

/** A contact's queue key as the custodian knows it. */
export interface QueueKey {
  readonly id: QueueKeyId
  /** Ed25519, 32 bytes. */
  readonly publicKey: Bytes
  readonly quotaBytes: number
  readonly quotaEnvelopes: number
  readonly expiresAt: TimeMs
}

/** What a recipient asks of a custodian. */
export interface LeaseWish {
  readonly quotaBytes: number
  readonly quotaEnvelopes: number
  readonly ttlMs: number
  /** What each stranger may fill; 0 for STRANGER_BYTES and STRANGER_ENVELOPES. */
  readonly strangerBytes: number
  readonly strangerEnvelopes: number
}

/** Which bound refused a request, with both numbers. */
export interface Bound {
  readonly limit: LimitName
  readonly found: number
  readonly allowed: number
}

/** Bounds by their number on the wire; 0: none is named. */
export const LIMIT_NAMES = [
  'none',
  'box bytes',
  'box envelopes',
  'contact bytes',
  'contact envelopes',
  'stranger bytes',
  'stranger envelopes',
  'strangers share of bytes',
  'strangers share of envelopes',
  'leases',
  'custody bytes',
  'queue keys',
  'strangers',
  'rate',
] as const

/** The name of a bound. */
export type LimitName = (typeof LIMIT_NAMES)[number]
