// `up` and `id`: the commands that work without a running node. What they do is handed in. Floor 5.
import { startDetached } from '../api/client-detach.ts'
import { deadline, isOn, TIMEOUT } from './command.ts'
import type { Command, Flag, Invocation, Row } from './command.ts'
import { pairs } from './text.ts'

const MULTIADDR = { value: 'MULTIADDR', repeatable: true } as const

const KEY_FLAGS: readonly Flag[] = [
  {
    name: 'passphrase-file',
    value: 'FILE',
    about: 'seal the database with the passphrase in FILE',
  },
  { name: 'key-command', value: 'COMMAND', about: 'seal the database with what COMMAND prints' },
]

const UP_FLAGS: readonly Flag[] = [
  {
    name: 'listen',
    ...MULTIADDR,
    about: 'where to listen; port 0 is a free one, kept over restarts',
  },
  { name: 'announce', ...MULTIADDR, about: 'address to give to others instead of those bound' },
  {
    name: 'bootstrap',
    value: 'MULTIADDR|TICKET',
    repeatable: true,
    about: 'a peer to join the mesh by',
  },
  { name: 'name', value: 'NAME', about: "this agent's own name" },
  { name: 'transport', value: 'LIST', about: 'of tcp,ws,webrtc,webrtc-direct,quic,memory' },
  { name: 'relay', about: 'serve as circuit relay' },
  { name: 'mailbox', about: 'serve as custodian for anyone' },
  { name: 'open', about: 'treat strangers as contacts' },
  { name: 'no-mdns', about: 'do not look for peers on the local network' },
  { name: 'api', value: 'HOST:PORT', about: 'the API on TCP too, with a bearer token' },
  { name: 'api-cert', value: 'FILE', about: 'TLS certificate of the API' },
  { name: 'api-key', value: 'FILE', about: 'TLS key of the API' },
  ...KEY_FLAGS,
  {
    name: 'log-level',
    value: 'LEVEL',
    about: 'least level that is logged to stderr (info)',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
  },
]

/** Makes `up`; `run` starts the node, calls `ready` once, and resolves when it has closed. */
export function makeUpCommand(
  run: (invocation: Invocation, ready: (row: Row) => void) => Promise<void>,
): Command {
  return {
    name: 'up',
    about: 'Runs the node in the foreground until SIGINT or SIGTERM',
    flags: [...UP_FLAGS, { name: 'detach', about: 'return when it is ready' }, TIMEOUT],
    result: ['event', 'peerId', 'did', 'addresses', 'socket', 'home', 'ticket'],
    errors: [
      'STORE_LOCKED',
      'STORE_KEY_WRONG',
      'STORE_CORRUPT',
      'STORE_UNWRITABLE',
      'STORE_FULL',
      'CONFIG_KEY',
      'CONFIG_VALUE',
      'CONFIG_TRANSPORT',
      'TRANSPORT_UNAVAILABLE',
      'NETWORK_LISTEN',
    ],
    async run(invocation) {
      const ready = (row: Row): void => invocation.print(row, printReady)
      if (isOn(invocation, 'detach')) ready(await detach(invocation))
      else await run(invocation, ready)
    },
  }
}

/** Makes `id`. */
export function makeIdCommand(run: (invocation: Invocation) => Promise<Row>): Command {
  return {
    name: 'id',
    about: 'Who this agent is; works without a running node',
    flags: [
      { name: 'init', about: 'make the home and the identity if there is none' },
      ...KEY_FLAGS,
    ],
    result: ['peerId', 'did', 'fingerprint'],
    errors: ['USAGE_HOME_MISSING', 'STORE_KEY_WRONG'],
    async run(invocation) {
      invocation.print(await run(invocation), ({ peerId, did, fingerprint }) =>
        pairs({ peer: peerId, did, fingerprint }),
      )
    },
  }
}

const printReady = ({ peerId, addresses, home, ticket }: Row): string =>
  pairs({ peer: peerId, listens: addresses, home, ticket })

/** Starts the same command line without `--detach` as a process of its own, and waits for its ready line. */
function detach(invocation: Invocation): Promise<Row> {
  const args = process.argv.slice(1).filter((arg) => arg !== '--detach' && arg !== '--json')
  const command = [process.execPath, ...process.execArgv, ...args, '--json'] as const
  return startDetached(invocation.home, command, deadline(invocation))
}
