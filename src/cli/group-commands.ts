// Commands of groups: being in one, and who is. Floor 5.
import type { Group } from '../api/client.ts'
import {
  argument,
  deadline,
  deadlineOfNode,
  given,
  GROUP,
  numberOf,
  PEER,
  textOf,
  TIMEOUT,
} from './command.ts'
import type { Argument, Command, Invocation } from './command.ts'
import { describePending, withProgress } from './progress.ts'
import { cell, cells, duration } from './text.ts'

const FIELDS = ['groupId', 'name', 'epoch', 'members', 'role', 'unread'] as const
const PEERS: Argument = { ...PEER, many: true }

const show = ({ name, groupId, epoch, members, role, unread }: Group): string =>
  cells(name, groupId, `epoch ${epoch}`, `${members} members`, role, `${unread} unread`)

/** The peers behind the group: at least one, as the parser has seen to. */
function peersOf({ args }: Invocation): [string, ...string[]] {
  const [, first = '', ...others] = args
  return [first, ...others]
}

const create: Command = {
  name: 'group create',
  about: 'Makes a group with this agent as admin',
  args: [{ name: 'NAME', about: 'name of the group' }],
  flags: [TIMEOUT],
  result: FIELDS,
  errors: ['GROUP_NAME_TAKEN'],
  async run(invocation) {
    const name = argument(invocation, 0)
    invocation.print(await invocation.client.createGroup(name, deadline(invocation)), show)
  },
}

const list: Command = {
  name: 'group list',
  about: 'Groups of this agent',
  flags: [TIMEOUT],
  result: FIELDS,
  errors: [],
  async run(invocation) {
    for (const group of await invocation.client.groups(deadline(invocation))) {
      invocation.print(group, show)
    }
  },
}

const info: Command = {
  name: 'group info',
  about: 'One group: members, epoch, authenticator, age of the keys',
  args: [GROUP],
  flags: [TIMEOUT],
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
  errors: ['USAGE_GROUP_UNKNOWN', 'USAGE_AMBIGUOUS'],
  async run(invocation) {
    const info = await invocation.client.group(argument(invocation, 0), deadline(invocation))
    invocation.print(info, (group) =>
      [
        cells(group.name, group.groupId),
        cells(
          `epoch ${group.epoch}`,
          `branch ${group.branch}`,
          `keys ${duration(group.keyAgeSeconds)} old`,
        ),
        `authenticator ${cell(group.authenticator)}`,
        ...group.members.map(({ role, peerId, name }) => cells(role.padEnd(6), peerId, name)),
        ...group.pending.map((fact) => `pending: ${cell(fact)}`),
      ].join('\n'),
    )
  },
}

const invite: Command = {
  name: 'group invite',
  about: 'Adds members, in one commit where it can; they need not be online',
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
  errors: [
    'GROUP_NOT_ADMIN',
    'GROUP_ALREADY_MEMBER',
    'GROUP_FULL',
    'STATE_NOT_REACHED',
    'NETWORK_UNREACHABLE',
    'USAGE_GROUP_UNKNOWN',
    'USAGE_PEER_UNKNOWN',
  ],
  async run(invocation) {
    const request = {
      peers: peersOf(invocation),
      ...given({
        until: textOf(invocation, 'until') as 'joined' | undefined, // its only choice
        timeout: numberOf(invocation, 'timeout'),
      }),
    }
    const group = argument(invocation, 0)
    const result = await withProgress(
      invocation.io,
      () => describePending(invocation, { group, about: 'invite', otherwise: 'inviting' }),
      () => invocation.client.invite(group, request, deadlineOfNode(invocation)),
    )
    invocation.print(result, ({ epoch, added }) => `epoch ${epoch}, added ${cell(added)}`)
  },
}

const remove: Command = {
  name: 'group remove',
  about: 'Removes members, in one commit',
  args: [GROUP, PEERS],
  flags: [TIMEOUT],
  result: ['groupId', 'epoch', 'removed'],
  errors: ['GROUP_NOT_ADMIN', 'GROUP_NOT_MEMBER', 'USAGE_GROUP_UNKNOWN', 'USAGE_PEER_UNKNOWN'],
  async run(invocation) {
    const { client } = invocation
    const peers = peersOf(invocation)
    const group = argument(invocation, 0)
    const result = await client.removeMembers(group, peers, deadline(invocation))
    invocation.print(result, ({ epoch, removed }) => `epoch ${epoch}, removed ${cell(removed)}`)
  },
}

const leave: Command = {
  name: 'group leave',
  about: 'Leaves a group; the last admin of others must promote one first',
  args: [GROUP],
  flags: [TIMEOUT],
  result: ['groupId'],
  errors: ['GROUP_LAST_ADMIN', 'USAGE_GROUP_UNKNOWN'],
  async run(invocation) {
    const left = await invocation.client.leave(argument(invocation, 0), deadline(invocation))
    invocation.print(left, ({ groupId }) => `left ${cell(groupId)}`)
  },
}

const invitations: Command = {
  name: 'group invitations',
  about: 'Invitations that wait for an answer',
  flags: [TIMEOUT],
  result: ['groupId', 'name', 'from'],
  errors: [],
  async run(invocation) {
    for (const invitation of await invocation.client.invitations(deadline(invocation))) {
      invocation.print(invitation, ({ groupId, name, from }) =>
        cells(name, groupId, `from ${from}`),
      )
    }
  },
}

const join: Command = {
  name: 'group join',
  about: 'Joins a group that this agent was invited to',
  args: [GROUP],
  flags: [TIMEOUT],
  result: FIELDS,
  errors: ['USAGE_INVITATION_UNKNOWN', 'USAGE_AMBIGUOUS'],
  async run(invocation) {
    const group = argument(invocation, 0)
    const joined = await withProgress(
      invocation.io,
      () => Promise.resolve('joining: the tree of its members is fetched and checked'),
      () => invocation.client.join(group, deadline(invocation)),
    )
    invocation.print(joined, show)
  },
}

const decline: Command = {
  name: 'group decline',
  about: 'Declines an invitation',
  args: [GROUP],
  flags: [TIMEOUT],
  result: ['groupId'],
  errors: ['USAGE_INVITATION_UNKNOWN', 'USAGE_AMBIGUOUS'],
  async run(invocation) {
    const group = argument(invocation, 0)
    const declined = await invocation.client.decline(group, deadline(invocation))
    invocation.print(declined, ({ groupId }) => `declined ${cell(groupId)}`)
  },
}

const rekey: Command = {
  name: 'group rekey',
  about: 'Fresh keys for this member',
  args: [GROUP],
  flags: [TIMEOUT],
  result: ['groupId', 'epoch'],
  errors: ['GROUP_NOT_MEMBER', 'USAGE_GROUP_UNKNOWN'],
  async run(invocation) {
    const result = await invocation.client.rekey(argument(invocation, 0), deadline(invocation))
    invocation.print(result, ({ groupId, epoch }) => cells(groupId, `epoch ${epoch}`))
  },
}

const setRole = (verb: 'promote' | 'demote', role: Group['role'], about: string): Command => ({
  name: `group ${verb}`,
  about,
  args: [GROUP, PEER],
  flags: [TIMEOUT],
  result: ['groupId', 'peerId', 'role'],
  errors: ['GROUP_NOT_ADMIN', 'GROUP_NOT_MEMBER', 'GROUP_LAST_ADMIN', 'USAGE_GROUP_UNKNOWN'],
  async run(invocation) {
    const [group, peer] = [argument(invocation, 0), argument(invocation, 1)]
    const result = await invocation.client.setRole(group, peer, role, deadline(invocation))
    invocation.print(result, (one) => `${cell(one.peerId)} is ${one.role}`)
  },
})

/** The table's part about groups, but for their messages. */
export const GROUP_COMMANDS: readonly Command[] = [
  create,
  list,
  info,
  invite,
  remove,
  leave,
  invitations,
  join,
  decline,
  rekey,
  setRole('promote', 'admin', 'Makes a member an admin'),
  setRole('demote', 'member', 'Makes an admin a member'),
]
