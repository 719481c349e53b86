// Commands about the node itself, but for `up` and `id`, which main composes. Floor 5.
import { argument, deadline, given, numberOf, PEER, TIMEOUT } from './command.ts'
import type { Command } from './command.ts'
import { cell, cells, duration, line, pairs } from './text.ts'

const down: Command = {
  name: 'down',
  about: 'Stops the node and waits until it has closed',
  flags: [TIMEOUT],
  result: ['stopped'],
  errors: [],
  async run(invocation) {
    const stopped = await invocation.client.stop(deadline(invocation))
    invocation.print(stopped, () => 'stopped')
  },
}

const status: Command = {
  name: 'status',
  about: 'One page about the node',
  flags: [TIMEOUT],
  result: [
    'peerId',
    'did',
    'fingerprint',
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
  errors: [],
  async run(invocation) {
    const status = await invocation.client.status(deadline(invocation))
    invocation.print(status, ({ uptimeSeconds, inbox, outbox, mailbox, ...page }) =>
      pairs({
        ...page,
        up: duration(uptimeSeconds),
        inbox: `${inbox.unread} unread, ${inbox.requests} requests`,
        outbox: `${outbox.queued} queued, ${outbox.stored} stored`,
        mailbox: mailbox.serving ? 'serving' : 'not serving',
        custodians: mailbox.custodians,
      }),
    )
  },
}

const ticket: Command = {
  name: 'ticket',
  about: 'A short text that another agent pastes into --bootstrap or contact add',
  flags: [
    { name: 'expires', value: 'DAYS', about: 'life of the ticket (30)', number: 'whole' },
    TIMEOUT,
  ],
  result: ['ticket'],
  errors: [],
  async run(invocation) {
    const query = given({ expires: numberOf(invocation, 'expires') })
    const result = await invocation.client.ticket(query, deadline(invocation))
    invocation.print(result, ({ ticket: text }) => line(text))
  },
}

const peers: Command = {
  name: 'peers',
  about: 'Who is connected',
  flags: [TIMEOUT],
  result: ['peerId', 'name', 'addresses', 'transport', 'relayed', 'rttMs', 'agent'],
  errors: [],
  async run(invocation) {
    for (const peer of await invocation.client.peers(deadline(invocation))) {
      invocation.print(peer, ({ peerId, name, transport, relayed, rttMs }) =>
        cells(
          peerId,
          name,
          relayed ? `${transport}, relayed` : transport,
          rttMs === null ? null : `${rttMs} ms`,
        ),
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
  errors: ['NETWORK_UNREACHABLE', 'USAGE_PEER_UNKNOWN', 'USAGE_PEER_ID_INVALID'],
  async run(invocation) {
    const peer = argument(invocation, 0)
    const result = await invocation.client.ping(peer, {}, deadline(invocation))
    invocation.print(result, ({ rttMs: { min, median, max }, transport, relayed }) => {
      const over = `${cell(transport)}${relayed ? ', relayed' : ''}`
      return `min ${min}  median ${median}  max ${max} ms over ${over}`
    })
  },
}

const why: Command = {
  name: 'why',
  about: 'How PEER is or is not reachable, layer by layer, and the next command to run',
  args: [PEER],
  flags: [TIMEOUT],
  result: ['peerId', 'reachable', 'steps', 'next'],
  errors: ['USAGE_PEER_UNKNOWN', 'USAGE_PEER_ID_INVALID'],
  async run(invocation) {
    const answer = await invocation.client.why(argument(invocation, 0), deadline(invocation))
    invocation.print(answer, ({ peerId, reachable, steps, next }) =>
      [
        `${cell(peerId)} is reachable: ${reachable}`,
        ...steps.map(
          ({ ok, layer, fact }) => `${ok ? 'ok' : 'no'}  ${layer.padEnd(9)}  ${cell(fact)}`,
        ),
        ...(next === null ? [] : [`next: ${cell(next)}`]),
      ].join('\n'),
    )
  },
}

/** The table's part about the node. */
export const NODE_COMMANDS: readonly Command[] = [down, status, ticket, peers, ping, why]
