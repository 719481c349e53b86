// Routes of a group's members. Floor 4.
import type { PeerId } from '../../../protocols/base/ids.ts'
import type { ApiContext, App } from '../server/context.ts'
import { answers, signalOf, timeoutOf } from '../server/request.ts'
import {
  GROUP_PATH,
  INVITE_REQUEST,
  INVITE_RESULT,
  MEMBER_PATH,
  REMOVE_MEMBERS,
  REMOVE_RESULT,
  ROLE_REQUEST,
  ROLE_RESULT,
} from '../schema/group.ts'

/** Adds `/v1/groups/{id}/members` and what is below. */
export function addMemberRoutes(app: App, { agent, closing }: ApiContext): void {
  const { groups } = agent
  const resolveAll = (peers: readonly string[]): Promise<PeerId[]> =>
    Promise.all(peers.map((peer) => agent.resolvePeer(peer)))
  app.post(
    '/v1/groups/:id/members',
    {
      schema: {
        summary: 'Adds members, in one commit where it can',
        params: GROUP_PATH,
        body: INVITE_REQUEST,
        response: answers(INVITE_RESULT),
      },
    },
    async ({ params, body }, reply) =>
      groups.invite(await groups.resolve(params.id), await resolveAll(body.peers), {
        ...(body.until !== undefined && { until: body.until }),
        ...timeoutOf(body),
        signal: signalOf(reply, closing),
      }),
  )
  app.delete(
    '/v1/groups/:id/members/:peerId',
    {
      schema: {
        summary: 'Removes a member, and those that the body names, in one commit',
        params: MEMBER_PATH,
        body: REMOVE_MEMBERS,
        response: answers(REMOVE_RESULT),
      },
    },
    async ({ params, body }, reply) => {
      const peers = await resolveAll([params.peerId, ...(body.peers ?? [])])
      const signal = signalOf(reply, closing)
      return groups.remove(await groups.resolve(params.id), [...new Set(peers)], { signal })
    },
  )
  app.put(
    '/v1/groups/:id/members/:peerId/role',
    {
      schema: {
        summary: 'Promotes or demotes a member',
        params: MEMBER_PATH,
        body: ROLE_REQUEST,
        response: answers(ROLE_RESULT),
      },
    },
    async ({ params, body }) =>
      groups.setRole(
        await groups.resolve(params.id),
        await agent.resolvePeer(params.peerId),
        body.role,
      ),
  )
}
