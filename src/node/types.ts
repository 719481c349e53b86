// What a node offers to its agent: the service behind the local API and the library. Floor 3; types only.
// Field names are those of the command line and the local API; times are RFC 3339 text.
import type { PeerId } from '../../protocols/base/ids.ts'

/** States of a direct message, in order, then the two other ends. */
export type MessageState = 'queued' | 'stored' | 'delivered' | 'handled' | 'expired' | 'failed'

export interface Ready {
  readonly peerId: PeerId
  readonly did: string
  readonly addresses: string[]
  readonly home: string
  readonly ticket: string
}

export interface Status {
  readonly peerId: PeerId
  readonly did: string
  /** 6 groups of 5 digits over peer ID and identity key. */
  readonly fingerprint: string
  readonly name: string | null
  readonly uptimeSeconds: number
  readonly addresses: string[]
  readonly connections: number
  readonly reachability: 'public' | 'private' | 'unknown'
  readonly relays: PeerId[]
  readonly groups: number
  readonly inbox: { readonly unread: number; readonly requests: number }
  readonly outbox: { readonly queued: number; readonly stored: number }
  readonly mailbox: { readonly serving: boolean; readonly custodians: PeerId[] }
  readonly version: string
}

export interface PeerFact {
  readonly peerId: PeerId
  /** The petname given here, never one the peer claims. */
  readonly name: string | null
  readonly addresses: string[]
  readonly transport: string
  readonly relayed: boolean
  readonly rttMs: number | null
  readonly agent: string | null
}

export interface PingResult {
  readonly rttMs: { readonly min: number; readonly median: number; readonly max: number }
  readonly transport: string
  readonly relayed: boolean
}

export interface WhyStep {
  readonly layer:
    'identity' | 'addresses' | 'dial' | 'nat' | 'relay' | 'path' | 'session' | 'mailbox' | 'group'
  readonly fact: string
  readonly ok: boolean
  /** Stable, such as `DIAL_TIMEOUT`. */
  readonly code: string
  /** Index of the step that explains this one. */
  readonly cause?: number
  readonly data?: Readonly<Record<string, unknown>>
}

export interface Why {
  readonly peerId: PeerId
  readonly reachable: 'direct' | 'relay' | 'mailbox' | 'no'
  readonly steps: WhyStep[]
  /** One command that can be run as printed, or null when all is well. */
  readonly next: string | null
}

export interface SendOptions {
  /** MIME type; `text/plain` when absent. At most 128 bytes. */
  readonly type?: string
  /** Resolve only at this state or a later one; else throw `STATE_NOT_REACHED` with `id` and `state` in `data`. */
  readonly until?: MessageState
  readonly timeoutMs?: number
  /** The same key answers the same message. */
  readonly idempotencyKey?: string
  readonly signal?: AbortSignal
}

export interface SendResult {
  readonly id: string
  readonly to: PeerId
  readonly state: MessageState
  readonly via: 'direct' | 'mailbox' | null
  readonly copies: string | null
  readonly degraded: boolean
}

export interface InboxMessage {
  /** The sender's message id: 32 hex digits. */
  readonly id: string
  readonly from: PeerId
  readonly name: string | null
  readonly sentAt: string
  readonly receivedAt: string
  readonly type: string
  /** Exactly one of `text` (valid UTF-8 of a text type) and `base64`. */
  readonly text?: string
  readonly base64?: string
  readonly via: 'direct' | 'mailbox'
  readonly handled: boolean
  readonly gap: boolean
  readonly late: boolean
}

export interface InboxQuery {
  /** Handled ones too. */
  readonly all?: boolean
  readonly from?: PeerId
  readonly limit?: number
  /** Messages of strangers instead. */
  readonly requests?: boolean
  /** Mark what is returned as handled. */
  readonly handle?: boolean
}

export interface OutboxMessage {
  readonly id: string
  readonly to: PeerId
  readonly state: MessageState
  readonly copies: string | null
  readonly attempts: number
  readonly nextAttemptAt: string | null
  readonly lastError: string | null
}

export interface DirectService {
  /** Accepts a body of at most 60,000 bytes; returns once `queued` is durable or as `options` ask. */
  send(to: PeerId, body: Uint8Array, options?: SendOptions): Promise<SendResult>
  inbox(query?: InboxQuery): Promise<InboxMessage[]>
  /** Tells the sender; unknown ids throw `USAGE_MESSAGE_UNKNOWN` and change nothing. */
  handled(ids: readonly string[]): Promise<string[]>
  outbox(): Promise<OutboxMessage[]>
}

export interface ContactFact {
  readonly peerId: PeerId
  readonly name: string | null
  readonly verified: boolean
  /** Null until the peer's identity key is known. */
  readonly safetyNumber: string | null
}

export interface ContactService {
  add(peer: PeerId, options?: { readonly name?: string }): Promise<ContactFact>
  list(): Promise<ContactFact[]>
  remove(peer: PeerId): Promise<ContactFact>
  /** Answers the safety number, fetching the peer's identity key if need be; `match` marks it verified. */
  verify(
    peer: PeerId,
    options?: { readonly match?: string; readonly signal?: AbortSignal },
  ): Promise<ContactFact>
  isContact(peer: PeerId): Promise<boolean>
}

export type Role = 'admin' | 'member'

export interface GroupFact {
  readonly groupId: string
  readonly name: string
  readonly epoch: number
  readonly members: number
  readonly role: Role
  readonly unread: number
}

export interface GroupMember {
  readonly peerId: PeerId
  readonly name: string | null
  readonly role: Role
}

export interface GroupInfo {
  readonly groupId: string
  readonly name: string
  readonly epoch: number
  /** Hex epoch authenticator: equal on members in the same state. */
  readonly authenticator: string
  readonly members: GroupMember[]
  readonly keyAgeSeconds: number
  readonly branch: string
  /** What is under way, as short facts; empty when settled. */
  readonly pending: string[]
}

export interface GroupMessage {
  readonly id: string
  readonly groupId: string
  readonly from: PeerId
  readonly sentAt: string
  readonly receivedAt: string
  readonly type: string
  readonly text?: string
  readonly base64?: string
  readonly epoch: number
  /** Messages of the same author before it are missing. */
  readonly gap: boolean
  /** It fills such a hole: its author sent it before what came earlier. */
  readonly late: boolean
}

export interface Invitation {
  readonly groupId: string
  readonly name: string
  readonly from: PeerId
}

export interface GroupQuery {
  /** Those read and this agent's own too. */
  readonly all?: boolean
  readonly limit?: number
  /** Leaves them unread. */
  readonly peek?: boolean
}

/** A GROUP argument is a name, an id of 64 hex digits, or an unambiguous prefix of at least 6. */
export interface GroupService {
  create(name: string): Promise<GroupFact>
  list(): Promise<GroupFact[]>
  /** Resolves a GROUP argument; throws `USAGE_GROUP_UNKNOWN` or `USAGE_AMBIGUOUS`, with a hint. */
  resolve(group: string): Promise<string>
  info(groupId: string): Promise<GroupInfo>
  invite(
    groupId: string,
    peers: readonly PeerId[],
    options?: {
      readonly until?: 'joined'
      readonly timeoutMs?: number
      readonly signal?: AbortSignal
    },
  ): Promise<{ readonly groupId: string; readonly epoch: number; readonly added: PeerId[] }>
  remove(
    groupId: string,
    peers: readonly PeerId[],
    options?: { readonly signal?: AbortSignal },
  ): Promise<{ readonly groupId: string; readonly epoch: number; readonly removed: PeerId[] }>
  leave(groupId: string): Promise<{ readonly groupId: string }>
  rekey(groupId: string): Promise<{ readonly groupId: string; readonly epoch: number }>
  setRole(
    groupId: string,
    peer: PeerId,
    role: Role,
  ): Promise<{ readonly groupId: string; readonly peerId: PeerId; readonly role: Role }>
  send(
    groupId: string,
    body: Uint8Array,
    options?: { readonly type?: string; readonly idempotencyKey?: string },
  ): Promise<{ readonly id: string; readonly groupId: string; readonly epoch: number }>
  read(groupId: string, query?: GroupQuery): Promise<GroupMessage[]>
  invitations(): Promise<Invitation[]>
  join(groupId: string): Promise<GroupFact>
  decline(groupId: string): Promise<{ readonly groupId: string }>
}

export type EventKind =
  'message' | 'request' | 'group-message' | 'state' | 'peer' | 'group' | 'invitation'

/** One event of the local stream. `data` has the fields of the matching result. */
export interface AgentEvent {
  /** Counts up; decimal text of it is the server-sent event's id. */
  readonly id: number
  readonly kind: EventKind
  readonly data: Readonly<Record<string, unknown>>
}

export interface EventService {
  /** The newest id so far, 0 if none. */
  readonly lastId: number
  /**
   * Every event after `afterId`, then new ones as they happen, each once, until `signal` aborts.
   *
   * @throws ConclaveError `STATE_EVENT_GONE` if an event after `afterId` is no longer kept (the last 100,000 are).
   */
  follow(options: {
    readonly afterId: number
    readonly signal: AbortSignal
  }): AsyncIterable<AgentEvent>
}

/** One running node. */
export interface Agent extends AsyncDisposable {
  readonly ready: Ready
  status(): Promise<Status>
  peers(): Promise<PeerFact[]>
  ping(
    peer: PeerId,
    options?: { readonly count?: number; readonly signal?: AbortSignal },
  ): Promise<PingResult>
  why(peer: PeerId, options?: { readonly signal?: AbortSignal }): Promise<Why>
  ticket(options?: { readonly expiresDays?: number }): Promise<string>
  /**
   * Resolves a PEER argument: peer ID, `did:key:…`, multiaddr ending in `/p2p/…`, ticket or petname.
   * Addresses that it carries are remembered.
   *
   * @throws ConclaveError `USAGE_PEER_ID_INVALID`, `USAGE_PEER_UNKNOWN` or `USAGE_AMBIGUOUS`, with the nearest known in the hint.
   */
  resolvePeer(text: string): Promise<PeerId>
  readonly direct: DirectService
  readonly contacts: ContactService
  readonly groups: GroupService
  readonly events: EventService
  close(): Promise<void>
}
