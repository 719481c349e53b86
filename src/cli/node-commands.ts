// Commands about the node itself, but for `up` and `id`, which main composes. Floor 5.
import { waitUntilClosed } from '../api/client-home.ts'
import { WAIT_SECONDS } from '../api/client-limits.ts'
import { cell, list, PEER, segment, TIMEOUT, timeoutOf } from './command.ts'
import type { Command, Invocation, Row } from './command.ts'

const waiting = (invocation: Invocation): AbortSignal => {
  const seconds = timeoutOf(invocation, WAIT_SECONDS) ?? WAIT_SECONDS
  return AbortSignal.any([invocation.io.interrupted, AbortSignal.timeout(seconds * 1_000)])
}

const down: Command = {
  name: 'down',
  about: 'Stops the node and waits until it has closed',
  flags: [TIMEOUT],
  result: ['stopped'],
  errors: ['NETWORK_NODE_NOT_RUNNING', 'STATE_TIMEOUT'],
  async run(invocation) {
    const client = await invocation.client()
    await client.call('POST', '/v1/shutdown', { body: {} })
    await waitUntilClosed(invocation.home, client.api, { signal: waiting(invocation) })
    invocation.print({ stopped: true }, () => 'stopped')
  },
}

const status: Command = {
  name: 'status',
  about: 'One page about the node',
  result: [
    'peerId',
    'did',
    'name',
    'uptimeSeconds',
    'addresses',
    'connections',
    'reachability',
    'relays',
    'groups',
    'inbox',
    'outbox',
    'mailbox',
    'version',
  ],
  errors: ['NETWORK_NODE_NOT_RUNNING'],
  async run(invocation) {
    const client = await invocation.client()
    invocation.print(await client.call('GET', '/v1/status'), (row) =>
      Object.entries(row)
        .map(
          ([key, value]) =>
            `${key.padEnd(13)} ${Array.isArray(value) ? value.map(cell).join(' ') || '-' : cell(value)}`,
        )
        .join('\n'),
    )
  },
}

const ticket: Command = {
  name: 'ticket',
  about: 'A short text that another agent pastes into --bootstrap or contact add',
  flags: [{ name: 'expires', value: 'DAYS', about: 'life of the ticket (30)', number: true }],
  result: ['ticket'],
  errors: ['NETWORK_NODE_NOT_RUNNING', 'USAGE_ARGUMENT'],
  async run(invocation) {
    const client = await invocation.client()
    const query = { expires: invocation.flags['expires'] as number | undefined }
    invocation.print(await client.call('GET', '/v1/ticket', { query }), (row) =>
      cell(row['ticket']),
    )
  },
}

const peers: Command = {
  name: 'peers',
  about: 'Who is connected',
  result: ['peerId', 'name', 'addresses', 'transport', 'relayed', 'rttMs', 'agent'],
  errors: ['NETWORK_NODE_NOT_RUNNING'],
  async run(invocation) {
    const client = await invocation.client()
    for (const row of list(await client.call('GET', '/v1/peers'))) {
      invocation.print(
        row,
        ({ peerId, name, transport, relayed, rttMs }) =>
          `${cell(peerId)}  ${cell(name)}  ${cell(transport)}${relayed === true ? ' relayed' : ''}  ${cell(rttMs)} ms`,
      )
    }
  },
}

const ping: Command = {
  name: 'ping',
  about: 'Round trips on one stream held open, over relays too',
  args: [PEER],
  flags: [TIMEOUT],
  result: ['rttMs', 'transport', 'relayed'],
  errors: ['NETWORK_UNREACHABLE', 'STATE_TIMEOUT', 'USAGE_PEER_UNKNOWN'],
  async run(invocation) {
    const client = await invocation.client()
    const path = `/v1/ping/${segment(invocation.args[0])}`
    const answer = await client.call('POST', path, { body: {}, signal: waiting(invocation) })
    invocation.print(answer, ({ rttMs, transport, relayed }) => {
      const { min, median, max } = rttMs as Row
      return `min ${cell(min)}  median ${cell(median)}  max ${cell(max)} ms over ${cell(transport)}${relayed === true ? ', relayed' : ''}`
    })
  },
}

const why: Command = {
  name: 'why',
  about: 'How PEER is or is not reachable, layer by layer, and the next command to run',
  args: [PEER],
  result: ['peerId', 'reachable', 'steps', 'next'],
  errors: ['USAGE_PEER_UNKNOWN'],
  async run(invocation) {
    const client = await invocation.client()
    const answer = await client.call('GET', `/v1/why/${segment(invocation.args[0])}`)
    invocation.print(answer, ({ peerId, reachable, steps, next }) =>
      [
        `${cell(peerId)} is reachable: ${cell(reachable)}`,
        ...list(steps).map((one) => {
          const { ok, layer, fact } = one as Row
          return `${ok === true ? 'ok  ' : 'no  '} ${cell(layer).padEnd(10)} ${cell(fact)}`
        }),
        `next: ${cell(next)}`,
      ].join('\n'),
    )
  },
}

export const NODE_COMMANDS: readonly Command[] = [down, status, ticket, peers, ping, why]
