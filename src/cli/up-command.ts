// `up` and `id`: the commands that work without a running node. What they do is handed in. Floor 5.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { parseError } from '../api/client-errors.ts'
import { cell, list, TIMEOUT, timeoutOf } from './command.ts'
import type { Command, Flag, Invocation, Row } from './command.ts'

/** How long `up --detach` waits for the node to be ready. */
const DETACH_SECONDS = 60

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
      if (invocation.flags['detach'] === true) ready(await startDetached(invocation))
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
        [
          `peer         ${cell(peerId)}`,
          `did          ${cell(did)}`,
          `fingerprint  ${cell(fingerprint)}`,
        ].join('\n'),
      )
    },
  }
}

const printReady = ({ peerId, addresses, home, ticket }: Row): string =>
  [
    `peer    ${cell(peerId)}`,
    ...list(addresses).map((address) => `listens ${cell(address)}`),
    `home    ${cell(home)}`,
    `ticket  ${cell(ticket)}`,
  ].join('\n')

/** Starts the same command line without `--detach` as a process of its own, and waits for its ready line. */
async function startDetached(invocation: Invocation): Promise<Row> {
  const args = process.argv.slice(1).filter((arg) => arg !== '--detach' && arg !== '--json')
  const child = spawn(process.execPath, [...process.execArgv, ...args, '--json'], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const seconds = timeoutOf(invocation, DETACH_SECONDS) ?? DETACH_SECONDS
  const line = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill()
      reject(new ConclaveError('STATE_TIMEOUT', `the node was not ready within ${seconds} s`))
    }, seconds * 1_000)
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      reject(
        new ConclaveError('BUG_INVARIANT', `the node ended with ${String(code)} and said nothing`),
      )
    })
    createInterface(child.stdout).once('line', (text) => {
      clearTimeout(timer)
      resolve(text)
    })
  })
  child.stdout.destroy()
  child.unref()
  const row = JSON.parse(line) as Row
  const error = parseError(row)
  if (error !== undefined) throw error
  return row
}
