// Commands of direct messages and contacts. Floor 5.
import type { Client } from '../api/client.ts'
import { bodyOf } from './body.ts'
import { cell, list, PEER, segment, TIMEOUT, timeoutOf } from './command.ts'
import type { Command, Flag, Row } from './command.ts'
import { readOrFollow } from './follow.ts'

const MESSAGE_FIELDS = [
  'id',
  'from',
  'name',
  'sentAt',
  'receivedAt',
  'type',
  'text',
  'base64',
  'via',
  'handled',
  'gap',
  'late',
]
const CONTACT_FIELDS = ['peerId', 'name', 'verified', 'safetyNumber']
export const TYPE: Flag = {
  name: 'type',
  value: 'MIME',
  about: 'MIME type of the body (text/plain)',
}
export const FOLLOW: Flag = {
  name: 'follow',
  about: 'go on with what comes, until SIGINT or --timeout',
}
export const LIMIT: Flag = { name: 'limit', value: 'N', about: 'at most N', number: true }

const send: Command = {
  name: 'send',
  about: 'Sends one direct message; without TEXT the body is stdin',
  args: [PEER, { name: 'TEXT', about: 'the body', optional: true }],
  flags: [
    TYPE,
    {
      name: 'until',
      value: 'STATE',
      about: 'exit 0 only at this state or a later one',
      choices: ['queued', 'stored', 'delivered', 'handled'],
    },
    TIMEOUT,
  ],
  result: ['id', 'to', 'state', 'via', 'copies', 'degraded'],
  errors: [
    'STATE_NOT_REACHED',
    'USAGE_MESSAGE_TOO_LARGE',
    'DIRECT_OUTBOX_FULL',
    'USAGE_PEER_UNKNOWN',
  ],
  async run(invocation) {
    const body = await bodyOf(invocation, 1)
    const { type, until } = invocation.flags
    const request = { to: invocation.args[0], ...body, type, until, timeout: timeoutOf(invocation) }
    const client = await invocation.client()
    const startedAt = performance.now()
    const sent = await client.call('POST', '/v1/messages', {
      body: request,
      signal: invocation.io.interrupted,
    })
    invocation.print(sent, ({ state, via, id }) => {
      const ms = Math.round(performance.now() - startedAt)
      return state === 'queued'
        ? `sealed → queued here, tried again until it is delivered (${cell(id)})`
        : `sealed → ${cell(state)}${via === null ? '' : via === 'direct' ? ' directly' : ` through ${cell(via)}`}, ${ms} ms`
    })
  },
}

const printMessage = ({ receivedAt, name, from, text, base64, id, type }: Row): string =>
  `${cell(receivedAt)}  ${name === null ? cell(from) : cell(name)}  ${text === undefined ? `${cell(type)} base64:${cell(base64)}` : cell(text)}  (${cell(id)})`

const inbox: Command = {
  name: 'inbox',
  about: 'Messages received and not yet handled, oldest first',
  flags: [
    FOLLOW,
    { name: 'all', about: 'handled ones too' },
    { name: 'from', value: 'PEER', about: 'of one peer' },
    LIMIT,
    { name: 'requests', about: 'of strangers instead' },
    { name: 'handle', about: 'marks what it prints as handled' },
    TIMEOUT,
  ],
  result: MESSAGE_FIELDS,
  errors: ['USAGE_PEER_UNKNOWN'],
  async run(invocation) {
    const { all, from, limit, requests, handle } = invocation.flags
    const query = { all, from, limit, requests, handle } as Record<
      string,
      string | number | boolean | undefined
    >
    await readOrFollow(invocation, {
      kind: requests === true ? 'request' : 'message',
      read: async (client: Client) =>
        list(await client.call('GET', '/v1/inbox', { query })) as Row[],
      print: (row) => invocation.print(row, printMessage),
    })
  },
}

const handled: Command = {
  name: 'handled',
  about: 'Tells the sender that the agent has dealt with a message',
  args: [{ name: 'ID', about: 'id of a message', many: true }],
  result: ['handled'],
  errors: ['USAGE_MESSAGE_UNKNOWN'],
  async run(invocation) {
    const client = await invocation.client()
    const answer = await client.call('POST', '/v1/inbox/handled', {
      body: { ids: invocation.args },
    })
    invocation.print(answer, (row) => `handled ${list(row['handled']).join(' ')}`)
  },
}

const outbox: Command = {
  name: 'outbox',
  about: 'What is not yet handled by its recipient, and why it is here',
  result: ['id', 'to', 'state', 'copies', 'attempts', 'nextAttemptAt', 'lastError'],
  errors: [],
  async run(invocation) {
    const client = await invocation.client()
    for (const row of list(await client.call('GET', '/v1/outbox'))) {
      invocation.print(
        row,
        ({ id, to, state, attempts, nextAttemptAt, lastError }) =>
          `${cell(id)}  ${cell(to)}  ${cell(state)}  ${cell(attempts)} attempts, next ${cell(nextAttemptAt)}  ${cell(lastError)}`,
      )
    }
  },
}

const printContact = ({ peerId, name, verified, safetyNumber }: Row): string =>
  `${cell(peerId)}  ${cell(name)}  ${verified === true ? 'verified' : 'not verified'}  ${cell(safetyNumber)}`

const contactAdd: Command = {
  name: 'contact add',
  about: 'Lets PEER reach this agent',
  args: [PEER],
  flags: [{ name: 'name', value: 'N', about: 'petname to give it' }],
  result: CONTACT_FIELDS,
  errors: ['USAGE_PEER_ID_INVALID', 'VERIFY_SIGNATURE', 'VERIFY_EXPIRED'],
  async run(invocation) {
    const client = await invocation.client()
    const body = { peerId: invocation.args[0], name: invocation.flags['name'] }
    invocation.print(await client.call('POST', '/v1/contacts', { body }), printContact)
  },
}

const contactList: Command = {
  name: 'contact list',
  about: 'Who may reach this agent',
  result: CONTACT_FIELDS,
  errors: [],
  async run(invocation) {
    const client = await invocation.client()
    for (const row of list(await client.call('GET', '/v1/contacts')))
      invocation.print(row, printContact)
  },
}

const contactRemove: Command = {
  name: 'contact remove',
  about: 'Makes PEER a stranger again',
  args: [PEER],
  result: CONTACT_FIELDS,
  errors: ['USAGE_PEER_UNKNOWN'],
  async run(invocation) {
    const client = await invocation.client()
    const path = `/v1/contacts/${segment(invocation.args[0])}`
    invocation.print(await client.call('DELETE', path), printContact)
  },
}

const contactVerify: Command = {
  name: 'contact verify',
  about: 'The safety number both sides can compare',
  args: [PEER],
  flags: [{ name: 'match', value: 'NUMBER', about: 'marks PEER verified if this is its number' }],
  result: CONTACT_FIELDS,
  errors: ['VERIFY_SAFETY_NUMBER', 'NETWORK_UNREACHABLE', 'USAGE_PEER_UNKNOWN'],
  async run(invocation) {
    const client = await invocation.client()
    const path = `/v1/contacts/${segment(invocation.args[0])}/safety-number`
    const { match } = invocation.flags
    const answer =
      match === undefined
        ? await client.call('GET', path)
        : await client.call('POST', path, { body: { match } })
    invocation.print(answer, printContact)
  },
}

export const DIRECT_COMMANDS: readonly Command[] = [
  send,
  inbox,
  handled,
  outbox,
  contactAdd,
  contactList,
  contactRemove,
  contactVerify,
]
