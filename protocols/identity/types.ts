// Names, limits and values of identity (spec.md §3, §5). Floor 0, pure; other protocols may import it.
import type { Bytes } from '../base/bytes.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import type { PeerId } from '../base/ids.ts'
import { DAY_MS, MINUTE_MS } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'

/* Specification constants: peers must agree on them. */
/** Version octet of agent card, ticket and contact record. */
export const IDENTITY_VERSION = 1
export const IDENTITY_CERTIFICATE_LABEL = 'conclave direct v1 identity'
export const AGENT_CARD_LABEL = 'conclave identity v1 agent card'
export const TICKET_LABEL = 'conclave identity v1 ticket'
export const CONTACT_RECORD_LABEL = 'conclave identity v1 contact record'
export const IDENTITY_KEY_BYTES = 32
export const IDENTITY_CERTIFICATE_BYTES = 128
export const ADDRESS_BYTES_MAX = 512
export const ADDRESSES_MAX = 16
export const RELAYS_MAX = 8
/** Most octets of both address lists together, encoded. */
export const REACH_BYTES_MAX = 2_048
export const AGENT_CARD_BYTES_MAX = 4_096
export const NAME_BYTES_MAX = 64
export const PROTOCOLS_MAX = 32
export const CAPABILITIES_MAX = 32
/** Most octets of one protocol id or capability. */
export const CARD_ITEM_BYTES_MAX = 64
export const TICKET_BYTES_MAX: number = 111 + REACH_BYTES_MAX
export const CONTACT_RECORD_BYTES_MAX = 4_096
export const LEASE_BYTES = 193
export const LEASES_MAX = 5
/** Furthest expiry of a contact record: it outlives the mail that it leads to. */
export const CONTACT_RECORD_LIFE_MS: number = 14 * DAY_MS
/** How far ahead another clock may be. */
export const CLOCK_SKEW_MS: number = 10 * MINUTE_MS
/** Key of a contact record in the distributed hash table, before the peer ID. */
export const CONTACT_RECORD_KEY_PREFIX = '/conclave-contact/'

/* Implementation constants: ours to tune. */
export const TICKET_LIFE_DAYS = 30

/** Why bytes or text of this protocol are refused (spec.md §6). */
export type IdentityCode = Extract<
  ErrorCode,
  | 'CODEC_LENGTH'
  | 'CODEC_MALFORMED'
  | 'CODEC_RESERVED'
  | 'CODEC_UNKNOWN_VERSION'
  | 'VERIFY_EXPIRED'
  | 'VERIFY_IDENTITY_MISMATCH'
  | 'VERIFY_SIGNATURE'
>

/** Where an agent may be reached: multiaddrs as text. Only `host` looks inside. */
export interface Reach {
  /** Its own addresses, at most ADDRESSES_MAX, best first. */
  readonly addresses: readonly string[]
  /** Relays that hold a reservation for it, each ending in the relay's own `/p2p/…`; at most RELAYS_MAX. */
  readonly relays: readonly string[]
}

/** The agent's word that an X25519 key is its own, for direct messages. */
export interface IdentityCertificate {
  readonly peer: PeerId
  /** X25519 public key, 32 bytes. */
  readonly identityKey: Bytes
  /** Counts up with each new identity key; a lower one than known is refused by `direct`. */
  readonly identitySeq: number
  readonly issuedAt: TimeMs
}

/** What an agent says about itself. Its name is a claim, never shown as a petname. */
export interface AgentCard {
  readonly peer: PeerId
  /** `did:key:…` of the same key; derived, not transmitted. */
  readonly did: string
  readonly issuedAt: TimeMs
  /** At most NAME_BYTES_MAX octets of UTF-8 without control characters; may be empty. */
  readonly name: string
  /** Multiaddrs, best first. */
  readonly addresses: readonly string[]
  /** Protocol ids with versions, such as `/conclave/direct/1.0.0`. */
  readonly protocols: readonly string[]
  /** A free list of what the agent can do for others. */
  readonly capabilities: readonly string[]
}

/** An invitation to connect: no secret, and no trust beyond the peer ID. */
export interface Ticket extends Reach {
  readonly peer: PeerId
  readonly expiresAt: TimeMs
}

/** Where to reach an agent and where to leave mail for it; also the value in the distributed hash table. */
export interface ContactRecord extends Reach {
  readonly peer: PeerId
  /** Counts up with each record of the peer. */
  readonly sequence: number
  readonly expiresAt: TimeMs
  /** At most LEASES_MAX leases of LEASE_BYTES each, verified by `mailbox`, opaque here. */
  readonly leases: readonly Bytes[]
}
