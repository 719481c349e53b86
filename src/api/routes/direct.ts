// Routes of direct messages. Floor 4.
import type { ApiContext, App } from '../server/context.ts'
import { answers, bytesOf, signalOf, timeoutOf } from '../server/request.ts'
import {
  HANDLED_REQUEST,
  HANDLED_RESULT,
  IDEMPOTENCY_HEADERS,
  INBOX,
  INBOX_FILTER,
  OUTBOX,
  SEND_REQUEST,
  SEND_RESULT,
} from '../schema/direct.ts'

/** Adds `/v1/messages`, `/v1/inbox`, `/v1/inbox/handled` and `/v1/outbox`. */
export function addDirectRoutes(app: App, { agent, closing }: ApiContext): void {
  app.post(
    '/v1/messages',
    {
      schema: {
        summary: 'Sends one direct message',
        headers: IDEMPOTENCY_HEADERS,
        body: SEND_REQUEST,
        response: answers(SEND_RESULT),
      },
    },
    async ({ headers, body }, reply) => {
      const bytes = bytesOf(body)
      const key = headers['idempotency-key']
      return agent.direct.send(await agent.resolvePeer(body.to), bytes, {
        ...(body.type !== undefined && { type: body.type }),
        ...(body.until !== undefined && { until: body.until }),
        ...timeoutOf(body),
        ...(key !== undefined && { idempotencyKey: key }),
        signal: signalOf(reply, closing),
      })
    },
  )
  app.get(
    '/v1/inbox',
    {
      schema: {
        summary: 'Messages received and not yet handled, oldest first',
        querystring: INBOX_FILTER,
        response: answers(INBOX),
      },
    },
    async ({ query: { from, ...query } }) =>
      agent.direct.inbox({
        ...query,
        ...(from !== undefined && { from: await agent.resolvePeer(from) }),
      }),
  )
  app.post(
    '/v1/inbox/handled',
    {
      schema: {
        summary: 'Tells the senders that the agent has dealt with their messages',
        body: HANDLED_REQUEST,
        response: answers(HANDLED_RESULT),
      },
    },
    async ({ body }) => ({ handled: await agent.direct.handled(body.ids) }),
  )
  app.get(
    '/v1/outbox',
    {
      schema: {
        summary: 'Messages that their recipients have not handled yet',
        response: answers(OUTBOX),
      },
    },
    () => agent.direct.outbox(),
  )
}
