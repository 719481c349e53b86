// Commands of a group's messages. Floor 5.
import type { GroupMessage } from '../api/client.ts'
import { bodyOf } from './body.ts'
import {
  argument,
  deadline,
  FOLLOW,
  given,
  GROUP,
  isOn,
  LIMIT,
  numberOf,
  TEXT,
  textOf,
  TIMEOUT,
  TYPE,
} from './command.ts'
import type { Command, Invocation } from './command.ts'
import { follow } from './follow.ts'
import type { Followed } from './follow.ts'
import { cell, cells, saying } from './text.ts'

const send: Command = {
  name: 'group send',
  about: 'One message to the group; without TEXT the body is stdin',
  args: [GROUP, TEXT],
  flags: [TYPE, TIMEOUT],
  result: ['id', 'groupId', 'epoch'],
  errors: ['USAGE_MESSAGE_TOO_LARGE', 'USAGE_GROUP_UNKNOWN', 'GROUP_NOT_MEMBER'],
  async run(invocation) {
    const options = deadline(invocation)
    const body = {
      ...(await bodyOf(invocation, 1, options)),
      ...given({ type: textOf(invocation, 'type') }),
    }
    const sent = await invocation.client.sendToGroup(argument(invocation, 0), body, options)
    invocation.print(sent, ({ id, epoch }) => `sealed → the group, epoch ${epoch} (${cell(id)})`)
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
  errors: ['USAGE_GROUP_UNKNOWN', 'USAGE_AMBIGUOUS', 'STATE_EVENT_GONE'],
  async run(invocation) {
    const { signal } = deadline(invocation)
    const { read: readThere, take, ...followed } = await makeFollowed(invocation)
    if (isOn(invocation, 'follow')) await follow(invocation, { ...followed, read: readThere, take })
    else await take(await readThere(signal), signal)
  },
}

/**
 * How a group is followed. What is unread is read again at each event, so that the group's own mark says what
 * was shown; with `--all` and `--peek` that mark says nothing, and the events themselves are shown.
 */
async function makeFollowed(invocation: Invocation): Promise<Followed<GroupMessage>> {
  const { client } = invocation
  const group = argument(invocation, 0)
  const [all, peek] = [isOn(invocation, 'all'), isOn(invocation, 'peek')]
  let left = numberOf(invocation, 'limit') ?? Infinity
  const readThere = (signal: AbortSignal): Promise<GroupMessage[]> => {
    const limit = left === Infinity ? undefined : left
    return client.read(group, given({ all, peek, limit }), { signal })
  }
  const own =
    peek && !all && isOn(invocation, 'follow')
      ? (await client.status(deadline(invocation))).peerId
      : undefined
  return {
    kind: 'group-message',
    group,
    read: readThere,
    take: (messages) => {
      const taken = messages.slice(0, Math.min(left, messages.length))
      left -= taken.length
      for (const message of taken) {
        invocation.print(message, (one) =>
          cells(one.receivedAt, one.from).concat(`  ${saying(one)}`),
        )
      }
      return Promise.resolve(left > 0)
    },
    onEvent: async ({ data }, signal) => {
      if (!all && !peek) return readThere(signal)
      if (all && !peek) await client.read(group, {}, { signal }) // Shown below, so no longer unread.
      const message = data as unknown as GroupMessage // “data has the fields of the matching result”
      return message.from === own ? [] : [message]
    },
  }
}

/** The table's part about messages of groups. */
export const GROUP_MESSAGE_COMMANDS: readonly Command[] = [send, read]
