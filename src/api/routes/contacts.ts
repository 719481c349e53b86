// Routes of contacts. Floor 4.
import { ConclaveError } from '../../../protocols/base/errors.ts'
import type { ContactFact } from '../../node/types.ts'
import type { ApiContext, App } from '../server/context.ts'
import { answers, signalOf } from '../server/request.ts'
import { ADD_CONTACT, CONTACT, CONTACTS, MATCH_REQUEST, REMOVE_CONTACT } from '../schema/contact.ts'
import { PEER_PATH } from '../schema/node.ts'

/** Adds `/v1/contacts` and `/v1/contacts/{peerId}/safety-number`. */
export function addContactRoutes(app: App, { agent, closing }: ApiContext): void {
  const remove = async (peer: string): Promise<ContactFact> =>
    agent.contacts.remove(await agent.resolvePeer(peer))
  app.get(
    '/v1/contacts',
    { schema: { summary: 'Who may reach this agent', response: answers(CONTACTS) } },
    () => agent.contacts.list(),
  )
  app.post(
    '/v1/contacts',
    { schema: { summary: 'Adds a contact', body: ADD_CONTACT, response: answers(CONTACT) } },
    async ({ body: { peerId, ...options } }) =>
      agent.contacts.add(await agent.resolvePeer(peerId), options),
  )
  app.delete(
    '/v1/contacts',
    {
      schema: {
        summary: 'Removes the contact that the query or the body names',
        querystring: REMOVE_CONTACT,
        body: REMOVE_CONTACT,
        response: answers(CONTACT),
      },
    },
    ({ query, body }) => {
      const peer = query.peerId ?? body.peerId
      if (peer === undefined) {
        throw new ConclaveError('USAGE_ARGUMENT', 'the query lacks peerId', {
          hint: 'DELETE /v1/contacts?peerId=PEER',
        })
      }
      return remove(peer)
    },
  )
  app.delete(
    '/v1/contacts/:peerId',
    { schema: { summary: 'Removes a contact', params: PEER_PATH, response: answers(CONTACT) } },
    ({ params }) => remove(params.peerId),
  )
  app.get(
    '/v1/contacts/:peerId/safety-number',
    {
      schema: {
        summary: 'The number that both sides can compare',
        params: PEER_PATH,
        response: answers(CONTACT),
      },
    },
    async ({ params }, reply) =>
      agent.contacts.verify(await agent.resolvePeer(params.peerId), {
        signal: signalOf(reply, closing),
      }),
  )
  app.post(
    '/v1/contacts/:peerId/safety-number',
    {
      schema: {
        summary: 'Marks a contact verified if the number that it read out matches',
        params: PEER_PATH,
        body: MATCH_REQUEST,
        response: answers(CONTACT),
      },
    },
    async ({ params, body }, reply) =>
      agent.contacts.verify(await agent.resolvePeer(params.peerId), {
        match: body.match,
        signal: signalOf(reply, closing),
      }),
  )
}
