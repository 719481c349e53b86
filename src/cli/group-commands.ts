// Commands of groups. Floor 5.
import type { Client } from '../api/client.ts'
import { bodyOf } from './body.ts'
import { cell, GROUP, list, PEER, segment, TIMEOUT, timeoutOf } from './command.ts'
import type { Command, Invocation, Row } from './command.ts'
import { FOLLOW, LIMIT, TYPE } from './direct-commands.ts'
import { readOrFollow } from './follow.ts'

const GROUP_FIELDS = ['groupId', 'name', 'epoch', 'members', 'role', 'unread']
const PEERS = { ...PEER, many: true }

const printGroup = ({ name, groupId, epoch, members, role, unread }: Row): string =>
  `${cell(name)}  ${cell(groupId)}  epoch ${cell(epoch)}  ${cell(members)} members  ${cell(role)}  ${cell(unread)} unread`

const printEpoch = ({ groupId, epoch }: Row): string => `${cell(groupId)}  epoch ${cell(epoch)}`

const printMessage = ({ receivedAt, from, text, base64, type }: Row): string =>
  `${cell(receivedAt)}  ${cell(from)}  ${text === undefined ? `${cell(type)} base64:${cell(base64)}` : cell(text)}`

async function call(
  invocation: Invocation,
  method: string,
  path: string,
  body?: Row,
): Promise<unknown> {
  const client = await invocation.client()
  const signal = invocation.io.interrupted
  return client.call(method, path, body === undefined ? { signal } : { body, signal })
}

const of = (invocation: Invocation, rest = ''): string =>
  `/v1/groups/${segment(invocation.args[0])}${rest}`

const create: Command = {
  name: 'group create',
  about: 'Makes a group with this agent as admin',
  args: [{ name: 'NAME', about: 'name of the group' }],
  result: GROUP_FIELDS,
  errors: ['GROUP_NAME_TAKEN'],
  async run(invocation) {
    invocation.print(
      await call(invocation, 'POST', '/v1/groups', { name: invocation.args[0] }),
      printGroup,
    )
  },
}

const groups: Command = {
  name: 'group list',
  about: 'Groups of this agent',
  result: GROUP_FIELDS,
  errors: [],
  async run(invocation) {
    for (const row of list(await call(invocation, 'GET', '/v1/groups')))
      invocation.print(row, printGroup)
  },
}

const info: Command = {
  name: 'group info',
  about: 'One group: members, epoch, authenticator, age of the keys',
  args: [GROUP],
  result: [
    'groupId',
    'name',
    'epoch',
    'authenticator',
    'members',
    'keyAgeSeconds',
    'branch',
    'pending',
  ],
  errors: ['USAGE_GROUP_UNKNOWN'],
  async run(invocation) {
    invocation.print(await call(invocation, 'GET', of(invocation)), (row) =>
      [
        `${cell(row['name'])}  ${cell(row['groupId'])}`,
        `epoch ${cell(row['epoch'])}  branch ${cell(row['branch'])}  keys ${cell(row['keyAgeSeconds'])} s old`,
        `authenticator ${cell(row['authenticator'])}`,
        ...list(row['members']).map((one) => {
          const { peerId, name, role } = one as Row
          return `${cell(role).padEnd(6)}  ${cell(peerId)}  ${cell(name)}`
        }),
        ...list(row['pending']).map((fact) => `pending: ${cell(fact)}`),
      ].join('\n'),
    )
  },
}

const invite: Command = {
  name: 'group invite',
  about: 'Adds members, in one commit where it can',
  args: [GROUP, PEERS],
  flags: [
    {
      name: 'until',
      value: 'STATE',
      about: 'joined: when each has confirmed that it is in',
      choices: ['joined'],
    },
    TIMEOUT,
  ],
  result: ['groupId', 'epoch', 'added'],
  errors: ['GROUP_NOT_ADMIN', 'GROUP_ALREADY_MEMBER', 'STATE_NOT_REACHED', 'NETWORK_UNREACHABLE'],
  async run(invocation) {
    const body = {
      peers: invocation.args.slice(1),
      until: invocation.flags['until'],
      timeout: timeoutOf(invocation),
    }
    invocation.print(
      await call(invocation, 'POST', of(invocation, '/members'), body),
      (row) => `epoch ${cell(row['epoch'])}, added ${list(row['added']).join(' ')}`,
    )
  },
}

const remove: Command = {
  name: 'group remove',
  about: 'Removes members, in one commit',
  args: [GROUP, PEERS],
  flags: [TIMEOUT],
  result: ['groupId', 'epoch', 'removed'],
  errors: ['GROUP_NOT_ADMIN', 'GROUP_NOT_MEMBER'],
  async run(invocation) {
    const [, first, ...peers] = invocation.args
    const path = of(invocation, `/members/${segment(first)}`)
    invocation.print(
      await call(invocation, 'DELETE', path, { peers }),
      (row) => `epoch ${cell(row['epoch'])}, removed ${list(row['removed']).join(' ')}`,
    )
  },
}

const leave: Command = {
  name: 'group leave',
  about: 'Leaves a group; the last admin of others must promote one first',
  args: [GROUP],
  result: ['groupId'],
  errors: ['GROUP_LAST_ADMIN'],
  async run(invocation) {
    invocation.print(
      await call(invocation, 'POST', of(invocation, '/leave'), {}),
      (row) => `left ${cell(row['groupId'])}`,
    )
  },
}

const invitations: Command = {
  name: 'group invitations',
  about: 'Invitations that wait for an answer',
  result: ['groupId', 'name', 'from'],
  errors: [],
  async run(invocation) {
    for (const row of list(await call(invocation, 'GET', '/v1/invitations'))) {
      invocation.print(
        row,
        ({ groupId, name, from }) => `${cell(name)}  ${cell(groupId)}  from ${cell(from)}`,
      )
    }
  },
}

const answer = (verb: 'join' | 'decline', about: string): Command => ({
  name: `group ${verb}`,
  about,
  args: [GROUP],
  result: verb === 'join' ? GROUP_FIELDS : ['groupId'],
  errors: ['USAGE_INVITATION_UNKNOWN'],
  async run(invocation) {
    const path = `/v1/invitations/${segment(invocation.args[0])}/${verb}`
    invocation.print(
      await call(invocation, 'POST', path, {}),
      (row) => `${verb}: ${cell(row['groupId'])}`,
    )
  },
})

const send: Command = {
  name: 'group send',
  about: 'One message to the group; without TEXT the body is stdin',
  args: [GROUP, { name: 'TEXT', about: 'the body', optional: true }],
  flags: [TYPE],
  result: ['id', 'groupId', 'epoch'],
  errors: ['USAGE_MESSAGE_TOO_LARGE', 'USAGE_GROUP_UNKNOWN', 'GROUP_NOT_MEMBER'],
  async run(invocation) {
    const body = { ...(await bodyOf(invocation, 1)), type: invocation.flags['type'] }
    invocation.print(
      await call(invocation, 'POST', of(invocation, '/messages'), body),
      ({ epoch, id }) => `sealed → the group, epoch ${cell(epoch)} (${cell(id)})`,
    )
  },
}

const read: Command = {
  name: 'group read',
  about: 'Messages not yet read, oldest first',
  args: [GROUP],
  flags: [
    FOLLOW,
    { name: 'all', about: "those read and this agent's own too" },
    LIMIT,
    { name: 'peek', about: 'leaves them unread' },
    TIMEOUT,
  ],
  result: ['id', 'groupId', 'from', 'sentAt', 'receivedAt', 'type', 'text', 'base64', 'epoch'],
  errors: ['USAGE_GROUP_UNKNOWN'],
  async run(invocation) {
    const { all, limit, peek } = invocation.flags
    const query = { all, limit, peek } as Record<string, string | number | boolean | undefined>
    await readOrFollow(invocation, {
      kind: 'group-message',
      read: async (client: Client) =>
        list(await client.call('GET', of(invocation, '/messages'), { query })) as Row[],
      print: (row) => invocation.print(row, printMessage),
    })
  },
}

const rekey: Command = {
  name: 'group rekey',
  about: 'Fresh keys for this member',
  args: [GROUP],
  flags: [TIMEOUT],
  result: ['groupId', 'epoch'],
  errors: ['GROUP_NOT_MEMBER'],
  async run(invocation) {
    invocation.print(await call(invocation, 'POST', of(invocation, '/rekey'), {}), printEpoch)
  },
}

const setRole = (verb: 'promote' | 'demote', role: 'admin' | 'member', about: string): Command => ({
  name: `group ${verb}`,
  about,
  args: [GROUP, PEER],
  result: ['groupId', 'peerId', 'role'],
  errors: ['GROUP_NOT_ADMIN', 'GROUP_NOT_MEMBER', 'GROUP_LAST_ADMIN'],
  async run(invocation) {
    const path = of(invocation, `/members/${segment(invocation.args[1])}/role`)
    invocation.print(
      await call(invocation, 'PUT', path, { role }),
      (row) => `${cell(row['peerId'])} is ${cell(row['role'])}`,
    )
  },
})

export const GROUP_COMMANDS: readonly Command[] = [
  create,
  groups,
  info,
  invite,
  remove,
  leave,
  invitations,
  answer('join', 'Joins a group this agent was invited to'),
  answer('decline', 'Declines an invitation'),
  send,
  read,
  rekey,
  setRole('promote', 'admin', 'Makes a member an admin'),
  setRole('demote', 'member', 'Makes an admin a member'),
]
