// Schemas of the event stream and of errors. Floor 4.
import { Type } from 'typebox'
import type { TUnsafe } from 'typebox'
import type { EventKind } from '../../node/types.ts'
import { ARGUMENT_MAX } from '../client-limits.ts'
import { closed, oneOf, orNull, shapeOf } from './shape.ts'

/** Every kind of event, each one once. */
const KINDS: Readonly<Record<EventKind, true>> = {
  message: true,
  request: true,
  'group-message': true,
  state: true,
  peer: true,
  group: true,
  invitation: true,
}

/** Which events of the stream. */
export interface EventFilter {
  /** Kinds, separated by commas; all when absent. */
  readonly kinds?: string
  /** Those whose `from` is this peer, in any PEER form. */
  readonly from?: string
  /** Those of this group, in any GROUP form. */
  readonly group?: string
  /** Id of the last event that was seen; the header `Last-Event-ID` wins. New events only when absent. */
  readonly after?: string
}

/** The digits of an event id. */
const EVENT_ID = '^[0-9]{1,15}$'

const kind = `(?:${Object.keys(KINDS).join('|')})`
const argument = Type.String({ minLength: 1, maxLength: ARGUMENT_MAX })

/** `GET /v1/events`: query. */
export const EVENT_FILTER: TUnsafe<EventFilter> = shapeOf<EventFilter>()(
  closed({
    kinds: Type.Optional(Type.String({ pattern: `^${kind}(?:,${kind}){0,15}$` })),
    from: Type.Optional(argument),
    group: Type.Optional(argument),
    after: Type.Optional(Type.String({ pattern: EVENT_ID })),
  }),
)

/** Headers of an event stream. */
export interface EventHeaders {
  readonly 'last-event-id'?: string
}

/** Where to resume. */
export const EVENT_HEADERS: TUnsafe<EventHeaders> = shapeOf<EventHeaders>()(
  Type.Object({ 'last-event-id': Type.Optional(Type.String({ pattern: EVENT_ID })) }),
)

/** The object of every refused request. */
export interface ErrorResult {
  readonly ok: false
  readonly error: {
    readonly code: string
    readonly message: string
    readonly hint: string | null
    readonly retry: 'never' | 'later' | 'afterResync'
  }
}

/** Every answer that is not 200. */
export const ERROR_RESULT: TUnsafe<ErrorResult> = shapeOf<ErrorResult>()(
  Type.Object({
    ok: Type.Literal(false),
    error: Type.Object({
      code: Type.String(),
      message: Type.String(),
      hint: orNull(Type.String()),
      retry: oneOf('never', 'later', 'afterResync'),
    }),
  }),
)
