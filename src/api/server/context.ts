// What routes are made with. Floor 4; types only.
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify'
import type { Agent } from '../../node/types.ts'
import type { ApiLog } from './log.ts'

/** What the routes use. */
export interface ApiContext {
  readonly agent: Agent
  readonly log: ApiLog
  readonly heartbeatMs: number
  /** Aborts when the API closes. */
  readonly closing: AbortSignal
  /** Called after `POST /v1/shutdown` was answered. */
  readonly onShutdown: () => void
}

/** A Fastify application whose handlers get their types from the schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>
