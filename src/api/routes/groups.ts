// Routes of groups, their messages and invitations. Floor 4.
import { ConclaveError } from '../../../protocols/base/errors.ts'
import { nearest } from '../../../protocols/base/nearest.ts'
import type { Agent } from '../../node/types.ts'
import type { ApiContext, App } from '../server/context.ts'
import { answers, bytesOf } from '../server/request.ts'
import { IDEMPOTENCY_HEADERS, MESSAGE_BODY } from '../schema/direct.ts'
import {
  CREATE_GROUP,
  EPOCH_RESULT,
  GROUP,
  GROUPS,
  GROUP_FILTER,
  GROUP_INFO,
  GROUP_MESSAGES,
  GROUP_PATH,
  GROUP_RESULT,
  GROUP_SEND_RESULT,
  INVITATIONS,
} from '../schema/group.ts'
import { NOTHING } from '../schema/node.ts'

/** Adds `/v1/groups` but for members, and `/v1/invitations`. */
export function addGroupRoutes(app: App, context: ApiContext): void {
  const { groups } = context.agent
  app.get(
    '/v1/groups',
    { schema: { summary: 'Groups of this agent', response: answers(GROUPS) } },
    () => groups.list(),
  )
  app.post(
    '/v1/groups',
    {
      schema: {
        summary: 'Creates a group with this agent as admin',
        body: CREATE_GROUP,
        response: answers(GROUP),
      },
    },
    ({ body }) => groups.create(body.name),
  )
  app.get(
    '/v1/groups/:id',
    { schema: { summary: 'One group', params: GROUP_PATH, response: answers(GROUP_INFO) } },
    async ({ params }) => groups.info(await groups.resolve(params.id)),
  )
  app.post(
    '/v1/groups/:id/rekey',
    {
      schema: {
        summary: 'Fresh keys for this member',
        params: GROUP_PATH,
        body: NOTHING,
        response: answers(EPOCH_RESULT),
      },
    },
    async ({ params }) => groups.rekey(await groups.resolve(params.id)),
  )
  app.post(
    '/v1/groups/:id/leave',
    {
      schema: {
        summary: 'Leaves a group',
        params: GROUP_PATH,
        body: NOTHING,
        response: answers(GROUP_RESULT),
      },
    },
    async ({ params }) => groups.leave(await groups.resolve(params.id)),
  )
  addMessageRoutes(app, context)
  addInvitationRoutes(app, context)
}

function addMessageRoutes(app: App, { agent: { groups } }: ApiContext): void {
  app.post(
    '/v1/groups/:id/messages',
    {
      schema: {
        summary: 'Sends one message to a group',
        params: GROUP_PATH,
        headers: IDEMPOTENCY_HEADERS,
        body: MESSAGE_BODY,
        response: answers(GROUP_SEND_RESULT),
      },
    },
    async ({ params, headers, body }) => {
      const bytes = bytesOf(body)
      const key = headers['idempotency-key']
      return groups.send(await groups.resolve(params.id), bytes, {
        ...(body.type !== undefined && { type: body.type }),
        ...(key !== undefined && { idempotencyKey: key }),
      })
    },
  )
  app.get(
    '/v1/groups/:id/messages',
    {
      schema: {
        summary: 'Messages of a group that are not read yet, oldest first',
        params: GROUP_PATH,
        querystring: GROUP_FILTER,
        response: answers(GROUP_MESSAGES),
      },
    },
    async ({ params, query }) => groups.read(await groups.resolve(params.id), query),
  )
}

function addInvitationRoutes(app: App, { agent }: ApiContext): void {
  app.get(
    '/v1/invitations',
    { schema: { summary: 'Invitations that wait here', response: answers(INVITATIONS) } },
    () => agent.groups.invitations(),
  )
  app.post(
    '/v1/invitations/:id/join',
    {
      schema: {
        summary: 'Accepts an invitation',
        params: GROUP_PATH,
        body: NOTHING,
        response: answers(GROUP),
      },
    },
    async ({ params }) => agent.groups.join(await resolveInvitation(agent, params.id)),
  )
  app.post(
    '/v1/invitations/:id/decline',
    {
      schema: {
        summary: 'Declines an invitation',
        params: GROUP_PATH,
        body: NOTHING,
        response: answers(GROUP_RESULT),
      },
    },
    async ({ params }) => agent.groups.decline(await resolveInvitation(agent, params.id)),
  )
}

/** A GROUP argument among the invitations: a group that this agent isn't in is not among its groups. */
async function resolveInvitation(agent: Agent, text: string): Promise<string> {
  const invitations = await agent.groups.invitations()
  const isPrefix = /^[0-9a-f]{6,64}$/i.test(text)
  const matches = invitations.filter(
    ({ groupId, name }) => name === text || (isPrefix && groupId.startsWith(text.toLowerCase())),
  )
  const ids = new Set(matches.map(({ groupId }) => groupId))
  const [found, another] = ids
  if (another !== undefined) {
    throw new ConclaveError('USAGE_AMBIGUOUS', `${ids.size} invitations match ${text}`, {
      hint: `give a group ID: ${[...ids].join(', ')}`,
    })
  }
  if (found !== undefined) return found
  const near = nearest(
    text,
    invitations.map(({ name }) => name),
  )
  throw new ConclaveError('USAGE_INVITATION_UNKNOWN', `no invitation to ${text.slice(0, 80)}`, {
    hint: near === undefined ? 'conclave group invitations lists them' : `did you mean ${near}?`,
  })
}
