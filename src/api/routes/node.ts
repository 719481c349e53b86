// Routes about the node itself and its peers. Floor 4.
import type { ApiContext, App } from '../server/context.ts'
import { answers, signalOf } from '../server/request.ts'
import {
  NOTHING,
  PEERS,
  PEER_PATH,
  PING_REQUEST,
  PING_RESULT,
  STATUS,
  STOP_RESULT,
  TICKET,
  TICKET_QUERY,
  WHY,
} from '../schema/node.ts'

/** Adds `/v1/status`, `/v1/peers`, `/v1/ticket`, `/v1/ping/…`, `/v1/why/…` and `/v1/shutdown`. */
export function addNodeRoutes(app: App, context: ApiContext): void {
  const { agent, closing, onShutdown } = context
  app.get(
    '/v1/status',
    { schema: { summary: 'One page about this node', response: answers(STATUS) } },
    () => agent.status(),
  )
  app.get('/v1/peers', { schema: { summary: 'Who is connected', response: answers(PEERS) } }, () =>
    agent.peers(),
  )
  app.get(
    '/v1/ticket',
    {
      schema: {
        summary: 'Peer ID and addresses as one pasted word, signed, no secret',
        querystring: TICKET_QUERY,
        response: answers(TICKET),
      },
    },
    async ({ query: { expires } }) => ({
      ticket: await agent.ticket(expires === undefined ? {} : { expiresDays: expires }),
    }),
  )
  app.post(
    '/v1/ping/:peerId',
    {
      schema: {
        summary: 'Round trips on one ping stream held open',
        params: PEER_PATH,
        body: PING_REQUEST,
        response: answers(PING_RESULT),
      },
    },
    async ({ params, body }, reply) =>
      agent.ping(await agent.resolvePeer(params.peerId), {
        ...body,
        signal: signalOf(reply, closing),
      }),
  )
  app.get(
    '/v1/why/:peerId',
    {
      schema: {
        summary: 'How a peer is or is not reachable, layer by layer',
        params: PEER_PATH,
        response: answers(WHY),
      },
    },
    async ({ params }, reply) =>
      agent.why(await agent.resolvePeer(params.peerId), { signal: signalOf(reply, closing) }),
  )
  app.post(
    '/v1/shutdown',
    { schema: { summary: 'Closes the node', body: NOTHING, response: answers(STOP_RESULT) } },
    (_request, reply) => {
      reply.raw.once('close', onShutdown)
      void reply.header('connection', 'close')
      return { stopped: true }
    },
  )
}
