// Schemas of what the node says about itself and its peers. Floor 4.
import { Type } from 'typebox'
import type { TUnsafe } from 'typebox'
import type { PeerFact, PingResult, Status, Why, WhyStep } from '../../node/types.ts'
import { ARGUMENT_MAX } from '../client-limits.ts'
import { closed, listOf, oneOf, orNull, shapeOf } from './shape.ts'

const texts = Type.Array(Type.String())
const count = Type.Integer({ minimum: 0 })

/** `GET /v1/status`. */
export const STATUS: TUnsafe<Status> = shapeOf<Status>()(
  Type.Object({
    peerId: Type.String(),
    did: Type.String(),
    fingerprint: Type.String(),
    name: orNull(Type.String()),
    uptimeSeconds: Type.Number({ minimum: 0 }),
    addresses: texts,
    connections: count,
    reachability: oneOf('public', 'private', 'unknown'),
    relays: texts,
    groups: count,
    inbox: Type.Object({ unread: count, requests: count }),
    outbox: Type.Object({ queued: count, stored: count }),
    mailbox: Type.Object({ serving: Type.Boolean(), custodians: texts }),
    version: Type.String(),
  }),
)

/** `GET /v1/peers`. */
export const PEERS: TUnsafe<PeerFact[]> = listOf(
  shapeOf<PeerFact>()(
    Type.Object({
      peerId: Type.String(),
      name: orNull(Type.String()),
      addresses: texts,
      transport: Type.String(),
      relayed: Type.Boolean(),
      rttMs: orNull(Type.Number()),
      agent: orNull(Type.String()),
    }),
  ),
)

/** What may be asked of a ping. */
export interface PingRequest {
  readonly count?: number
}

/** Most round trips of one ping request. */
const PINGS_MAX = 100

/** `POST /v1/ping/{peerId}`: request. */
export const PING_REQUEST: TUnsafe<PingRequest> = shapeOf<PingRequest>()(
  closed({ count: Type.Optional(Type.Integer({ minimum: 1, maximum: PINGS_MAX })) }),
)

/** `POST /v1/ping/{peerId}`: round trips in milliseconds. */
export const PING_RESULT: TUnsafe<PingResult> = shapeOf<PingResult>()(
  Type.Object({
    rttMs: Type.Object({ min: Type.Number(), median: Type.Number(), max: Type.Number() }),
    transport: Type.String(),
    relayed: Type.Boolean(),
  }),
)

const whyStep: TUnsafe<WhyStep> = shapeOf<WhyStep>()(
  Type.Object({
    layer: oneOf(
      'identity',
      'addresses',
      'dial',
      'nat',
      'relay',
      'path',
      'session',
      'mailbox',
      'group',
    ),
    fact: Type.String(),
    ok: Type.Boolean(),
    code: Type.String(),
    cause: Type.Optional(count),
    data: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  }),
)

/** `GET /v1/why/{peerId}`. */
export const WHY: TUnsafe<Why> = shapeOf<Why>()(
  Type.Object({
    peerId: Type.String(),
    reachable: oneOf('direct', 'relay', 'mailbox', 'no'),
    steps: Type.Array(whyStep),
    next: orNull(Type.String()),
  }),
)

/** What may be asked of a ticket. */
export interface TicketQuery {
  /** Days until it expires. */
  readonly expires?: number
}

/** Longest life of a ticket, in days. */
const TICKET_DAYS_MAX = 3_650

/** `GET /v1/ticket`: query. */
export const TICKET_QUERY: TUnsafe<TicketQuery> = shapeOf<TicketQuery>()(
  closed({ expires: Type.Optional(Type.Integer({ minimum: 1, maximum: TICKET_DAYS_MAX })) }),
)

/** A ticket: peer ID and addresses, signed, no secret. */
export interface TicketResult {
  readonly ticket: string
}

/** `GET /v1/ticket`. */
export const TICKET: TUnsafe<TicketResult> = shapeOf<TicketResult>()(
  Type.Object({ ticket: Type.String() }),
)

/** The answer of `POST /v1/shutdown`. */
export interface StopResult {
  readonly stopped: boolean
}

/** `POST /v1/shutdown`. */
export const STOP_RESULT: TUnsafe<StopResult> = shapeOf<StopResult>()(
  Type.Object({ stopped: Type.Boolean() }),
)

/** A request body without fields. */
export const NOTHING: TUnsafe<object> = shapeOf<object>()(closed({}))

/** A path that names a peer, in any PEER form. */
export interface PeerPath {
  readonly peerId: string
}

/** `{peerId}` of a path. */
export const PEER_PATH: TUnsafe<PeerPath> = shapeOf<PeerPath>()(
  Type.Object({
    peerId: Type.String({
      minLength: 1,
      maxLength: ARGUMENT_MAX,
      description: 'peer ID, did:key, multiaddr ending in /p2p/, ticket or petname',
    }),
  }),
)
