// Commands of direct messages. Floor 5.
import type { AwaitedState, InboxMessage, SendResult } from '../api/client.ts'
import { ITEMS_MAX } from '../api/client-limits.ts'
import { bodyOf } from './body.ts'
import {
  argument,
  deadline,
  deadlineOfNode,
  FOLLOW,
  given,
  isOn,
  LIMIT,
  numberOf,
  PEER,
  TEXT,
  textOf,
  TIMEOUT,
  TYPE,
} from './command.ts'
import type { Command, Invocation } from './command.ts'
import { follow } from './follow.ts'
import { withProgress } from './progress.ts'
import { cell, cells, saying } from './text.ts'

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
] as const

const send: Command = {
  name: 'send',
  about: 'Sends one direct message; without TEXT the body is stdin',
  args: [PEER, TEXT],
  flags: [
    TYPE,
    {
      name: 'until',
      value: 'STATE',
      about: 'exit 0 only at this state or a later one; else delivered is waited for up to 10 s',
      choices: ['queued', 'stored', 'delivered', 'handled'] satisfies AwaitedState[],
    },
    TIMEOUT,
  ],
  result: ['id', 'to', 'state', 'via', 'copies', 'degraded'],
  errors: [
    'STATE_NOT_REACHED',
    'USAGE_MESSAGE_TOO_LARGE',
    'USAGE_PEER_UNKNOWN',
    'USAGE_PEER_ID_INVALID',
    'DIRECT_OUTBOX_FULL',
  ],
  async run(invocation) {
    const options = deadlineOfNode(invocation)
    const body = await bodyOf(invocation, 1, options)
    const startedAt = performance.now()
    const request = {
      to: argument(invocation, 0),
      ...body,
      ...given({
        type: textOf(invocation, 'type'),
        until: textOf(invocation, 'until') as AwaitedState | undefined, // one of its choices
        timeout: numberOf(invocation, 'timeout'),
      }),
    }
    const sent = await withProgress(
      invocation.io,
      () => describeWaiting(invocation),
      () => invocation.client.send(request, options),
    )
    const ms = Math.round(performance.now() - startedAt)
    invocation.print(sent, (result) => `sealed → ${outcome(result, ms)}`)
  },
}

/** Where the newest message is, while it is waited for. */
async function describeWaiting({ client }: Invocation): Promise<string> {
  const newest = (await client.outbox()).at(-1)
  if (newest === undefined) return 'sealing'
  const { state, copies, lastError } = newest
  if (copies !== null) return `with custodians, ${copies}`
  return lastError === null ? `${state}, looking for the peer` : `${state}, ${lastError}`
}

/** What became of a message, in a few words. */
function outcome({ state, via, copies, id }: SendResult, ms: number): string {
  if (state === 'stored') return `mailbox, ${cell(copies)} copies (${cell(id)})`
  if (state === 'delivered' || state === 'handled') {
    return `${state}${via === 'direct' ? ' directly' : ''}, ${ms} ms`
  }
  return `${state} here, tried again until it is delivered (${cell(id)})`
}

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
  errors: ['USAGE_PEER_UNKNOWN', 'STATE_EVENT_GONE'],
  async run(invocation) {
    const { client } = invocation
    const [from, limit] = [textOf(invocation, 'from'), numberOf(invocation, 'limit')]
    const requests = isOn(invocation, 'requests')
    const filter = given({ all: isOn(invocation, 'all'), requests, from, limit })
    const read = (signal: AbortSignal): Promise<InboxMessage[]> => client.inbox(filter, { signal })
    const take = makeTaker(invocation, limit)
    if (!isOn(invocation, 'follow')) {
      const { signal } = deadline(invocation)
      await take(await read(signal), signal)
      return
    }
    const kind = requests ? 'request' : 'message'
    await follow<InboxMessage>(invocation, { kind, from, read, take })
  },
}

/** Prints messages, and only then marks them: what nobody saw is not handled. False after `limit` of them. */
function makeTaker(
  invocation: Invocation,
  limit = Infinity,
): (messages: readonly InboxMessage[], signal: AbortSignal) => Promise<boolean> {
  const handle = isOn(invocation, 'handle')
  let left = limit
  return async (messages, signal) => {
    const taken = messages.slice(0, Math.min(left, messages.length))
    left -= taken.length
    for (const message of taken) {
      const shown = handle ? { ...message, handled: true } : message
      invocation.print(shown, (one) =>
        cells(one.receivedAt, one.name ?? one.from).concat(`  ${saying(one)}  (${cell(one.id)})`),
      )
    }
    const ids = handle ? taken.filter((one) => !one.handled).map(({ id }) => id) : []
    for (let at = 0; at < ids.length; at += ITEMS_MAX) {
      await invocation.client.handled(ids.slice(at, at + ITEMS_MAX), { signal })
    }
    return left > 0
  }
}

const handled: Command = {
  name: 'handled',
  about: 'Tells the sender that the agent has dealt with a message',
  args: [{ name: 'ID', about: 'id of a message', many: true }],
  flags: [TIMEOUT],
  result: ['handled'],
  errors: ['USAGE_MESSAGE_UNKNOWN'],
  async run(invocation) {
    const result = await invocation.client.handled(invocation.args, deadline(invocation))
    invocation.print(result, (one) => `handled ${cell(one.handled)}`)
  },
}

const outbox: Command = {
  name: 'outbox',
  about: 'What is not yet handled by its recipient, and why it is here',
  flags: [TIMEOUT],
  result: ['id', 'to', 'state', 'copies', 'attempts', 'nextAttemptAt', 'lastError'],
  errors: [],
  async run(invocation) {
    for (const message of await invocation.client.outbox(deadline(invocation))) {
      invocation.print(message, ({ id, to, state, copies, attempts, nextAttemptAt, lastError }) => {
        const tried = `${attempts} attempts, next ${cell(nextAttemptAt)}`
        return cells(id, to, copies === null ? state : `${state} (${copies})`, tried, lastError)
      })
    }
  },
}

/** The table's part about direct messages. */
export const DIRECT_COMMANDS: readonly Command[] = [send, inbox, handled, outbox]
