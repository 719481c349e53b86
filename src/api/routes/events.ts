// The route of the event stream. Floor 4.
import { ConclaveError } from '../../../protocols/base/errors.ts'
import type { Agent, AgentEvent } from '../../node/types.ts'
import { openStream } from '../server/event-stream.ts'
import type { ApiContext, App } from '../server/context.ts'
import { signalOf } from '../server/request.ts'
import { EVENT_FILTER, EVENT_HEADERS } from '../schema/events.ts'
import type { EventFilter } from '../schema/events.ts'

/** Event streams open at once. */
const STREAMS_MAX = 64

/** Adds `GET /v1/events`. */
export function addEventRoutes(app: App, context: ApiContext): void {
  const { agent, log } = context
  let open = 0
  const schema = {
    summary: 'Server-sent events: message, request, group-message, state, peer, group, invitation',
    querystring: EVENT_FILTER,
    headers: EVENT_HEADERS,
    produces: ['text/event-stream'],
  }
  app.get('/v1/events', { schema }, async ({ query, headers }, reply) => {
    if (open >= STREAMS_MAX) {
      throw new ConclaveError('LIMIT_QUOTA', `${open} of ${STREAMS_MAX} event streams are open`, {
        hint: 'close one; one stream carries every kind of event',
        data: { found: open, allowed: STREAMS_MAX },
      })
    }
    open += 1
    try {
      const resume = headers['last-event-id'] ?? query.after
      const stream = await openStream({
        events: agent.events,
        afterId: resume === undefined ? agent.events.lastId : Number(resume),
        wants: await makeFilter(agent, query),
        heartbeatMs: context.heartbeatMs,
        signal: signalOf(reply, context.closing),
      })
      reply.hijack()
      await stream.run(reply.raw).catch((error: unknown) => {
        // The reader resumes from its last id, and is then told what is wrong.
        log.warn({ err: error }, 'an event stream broke off')
      })
    } finally {
      open -= 1
    }
  })
}

async function makeFilter(agent: Agent, query: EventFilter): Promise<(e: AgentEvent) => boolean> {
  const kinds = query.kinds?.split(',')
  const from = query.from === undefined ? undefined : await agent.resolvePeer(query.from)
  const group = query.group === undefined ? undefined : await agent.groups.resolve(query.group)
  return ({ kind, data }) =>
    (kinds === undefined || kinds.includes(kind)) &&
    (from === undefined || data['from'] === from) &&
    (group === undefined || data['groupId'] === group)
}
