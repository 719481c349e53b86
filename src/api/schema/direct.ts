// Schemas of direct messages. Floor 4.
import { Type } from 'typebox'
import type { TUnsafe } from 'typebox'
import type { InboxMessage, MessageState, OutboxMessage, SendResult } from '../../node/types.ts'
import {
  ARGUMENT_MAX,
  IDEMPOTENCY_KEY_MAX,
  ITEMS_MAX,
  LIST_LIMIT_MAX,
  WAIT_SECONDS_MAX,
} from '../client-limits.ts'
import { closed, listOf, oneOf, orNull, shapeOf } from './shape.ts'

const state = oneOf('queued', 'stored', 'delivered', 'handled', 'expired', 'failed')
const peer = Type.String({ minLength: 1, maxLength: ARGUMENT_MAX })

/** A state that can be waited for. */
export type AwaitedState = Exclude<MessageState, 'expired' | 'failed'>

/** The body of a message: text, or any bytes as base64. */
export interface MessageBody {
  readonly text?: string
  readonly base64?: string
  /** MIME type; `text/plain` when absent. */
  readonly type?: string
}

/** One message to send. */
export interface SendRequest extends MessageBody {
  /** The recipient, in any PEER form. */
  readonly to: string
  readonly until?: AwaitedState
  /** Seconds. */
  readonly timeout?: number
}

/** Longest MIME type, in characters. */
const TYPE_MAX = 128

const mime = Type.String({ minLength: 1, maxLength: TYPE_MAX, pattern: '^[\\x20-\\x7e]*$' })

/** Seconds to wait for what is asked. */
const timeout = Type.Number({ exclusiveMinimum: 0, maximum: WAIT_SECONDS_MAX })

/** `POST /v1/messages`: request. */
export const SEND_REQUEST: TUnsafe<SendRequest> = shapeOf<SendRequest>()(
  closed({
    to: peer,
    text: Type.Optional(Type.String()),
    base64: Type.Optional(Type.String()),
    type: Type.Optional(mime),
    until: Type.Optional(oneOf('queued', 'stored', 'delivered', 'handled')),
    timeout: Type.Optional(timeout),
  }),
)

/** `POST /v1/groups/{id}/messages`: request. */
export const MESSAGE_BODY: TUnsafe<MessageBody> = shapeOf<MessageBody>()(
  closed({
    text: Type.Optional(Type.String()),
    base64: Type.Optional(Type.String()),
    type: Type.Optional(mime),
  }),
)

/** Headers of a request that can be repeated safely. */
export interface IdempotencyHeaders {
  readonly 'idempotency-key'?: string
}

/** The same key answers the same message. */
export const IDEMPOTENCY_HEADERS: TUnsafe<IdempotencyHeaders> = shapeOf<IdempotencyHeaders>()(
  Type.Object({
    'idempotency-key': Type.Optional(
      Type.String({ minLength: 1, maxLength: IDEMPOTENCY_KEY_MAX, pattern: '^[\\x20-\\x7e]*$' }),
    ),
  }),
)

/** `POST /v1/messages`. */
export const SEND_RESULT: TUnsafe<SendResult> = shapeOf<SendResult>()(
  Type.Object({
    id: Type.String(),
    to: Type.String(),
    state,
    via: orNull(oneOf('direct', 'mailbox')),
    copies: orNull(Type.String()),
    degraded: Type.Boolean(),
  }),
)

/** Which messages of the inbox. */
export interface InboxFilter {
  readonly all?: boolean
  /** In any PEER form. */
  readonly from?: string
  readonly limit?: number
  readonly requests?: boolean
  readonly handle?: boolean
}

/** `GET /v1/inbox`: query. */
export const INBOX_FILTER: TUnsafe<InboxFilter> = shapeOf<InboxFilter>()(
  closed({
    all: Type.Optional(Type.Boolean()),
    from: Type.Optional(peer),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: LIST_LIMIT_MAX })),
    requests: Type.Optional(Type.Boolean()),
    handle: Type.Optional(Type.Boolean()),
  }),
)

/** `GET /v1/inbox`. */
export const INBOX: TUnsafe<InboxMessage[]> = listOf(
  shapeOf<InboxMessage>()(
    Type.Object({
      id: Type.String(),
      from: Type.String(),
      name: orNull(Type.String()),
      sentAt: Type.String(),
      receivedAt: Type.String(),
      type: Type.String(),
      text: Type.Optional(Type.String()),
      base64: Type.Optional(Type.String()),
      via: oneOf('direct', 'mailbox'),
      handled: Type.Boolean(),
      gap: Type.Boolean(),
      late: Type.Boolean(),
    }),
  ),
)

/** Messages that the agent has dealt with. */
export interface HandledRequest {
  readonly ids: string[]
}

/** `POST /v1/inbox/handled`: request. */
export const HANDLED_REQUEST: TUnsafe<HandledRequest> = shapeOf<HandledRequest>()(
  closed({ ids: Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: ITEMS_MAX }) }),
)

/** The ids that are handled now. */
export interface HandledResult {
  readonly handled: string[]
}

/** `POST /v1/inbox/handled`. */
export const HANDLED_RESULT: TUnsafe<HandledResult> = shapeOf<HandledResult>()(
  Type.Object({ handled: Type.Array(Type.String()) }),
)

/** `GET /v1/outbox`. */
export const OUTBOX: TUnsafe<OutboxMessage[]> = listOf(
  shapeOf<OutboxMessage>()(
    Type.Object({
      id: Type.String(),
      to: Type.String(),
      state,
      copies: orNull(Type.String()),
      attempts: Type.Integer({ minimum: 0 }),
      nextAttemptAt: orNull(Type.String()),
      lastError: orNull(Type.String()),
    }),
  ),
)
