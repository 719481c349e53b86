// What `up` and `id` do: read the configuration, open the agent, start the API, wait for the end. Part of the root.
import { dirname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { pino } from 'pino'
import { ConclaveError } from '../protocols/base/errors.ts'
import { formatDid } from '../protocols/identity/did.ts'
import { parseApiAddress } from './api/address.ts'
import { startApi } from './api/server.ts'
import type { Invocation, Row } from './cli/command.ts'
import { describeCatchUp } from './cli/progress.ts'
import { randomBytes } from './crypto/random.ts'
import type { TransportFactory } from './host/transports.ts'
import { DEFAULT_LISTEN, openAgent } from './node/agent.ts'
import type { Progress } from './node/mailbox/collector.ts'
import { readOwnFingerprint } from './node/fingerprint.ts'
import { openNodeStore } from './node/node-store.ts'
import { parseConfig, readConfig } from './store/config.ts'
import type { Config, ModuleTransport } from './store/config.ts'
import { homeExists, locateHome } from './store/home.ts'
import type { Home } from './store/home.ts'
import type { KeySource } from './store/key-source.ts'
import { VERSION } from './version.ts'

const KEYS: readonly (keyof Config)[] = [
  'listen',
  'announce',
  'bootstrap',
  'name',
  'relay',
  'mailbox',
  'open',
  'mdns',
  'api',
  'apiCert',
  'apiKey',
  'passphraseFile',
  'keyCommand',
  'logLevel',
]

/** The configuration file with the flags over it. */
async function configure(home: Home, flags: Readonly<Record<string, unknown>>): Promise<Config> {
  const given: Record<string, unknown> = {}
  for (const key of KEYS) if (flags[key] !== undefined) given[key] = flags[key]
  if (flags['mdns'] !== false) delete given['mdns'] // the flag is --no-mdns alone
  if (typeof flags['transport'] === 'string') given['transport'] = flags['transport'].split(',')
  return { ...(await readConfig(home)), ...parseConfig(given) }
}

function keySourceOf({ passphraseFile, keyCommand }: Config): KeySource {
  if (passphraseFile !== undefined && keyCommand !== undefined) {
    throw new ConclaveError('CONFIG_VALUE', 'both a passphrase file and a key command are given', {
      hint: 'choose one',
    })
  }
  if (passphraseFile !== undefined) return { kind: 'passphrase', file: passphraseFile }
  return keyCommand === undefined ? { kind: 'file' } : { kind: 'command', command: keyCommand }
}

/** Runs the node until a signal or `down`; calls `ready` once it serves. */
export async function up(invocation: Invocation, ready: (row: Row) => void): Promise<void> {
  const home = locateHome(invocation.home, undefined)
  const config = await configure(home, invocation.flags)
  const log = pino(
    { level: config.logLevel ?? 'info', base: null },
    pino.destination({ dest: 2, sync: true }),
  )
  const { transports, listen } = await loadTransports(config, home)
  await using stack = new AsyncDisposableStack()
  const agent = await openAgent({
    home,
    key: keySourceOf(config),
    log,
    version: VERSION,
    ...pick(
      config,
      'announce',
      'bootstrap',
      'name',
      'relay',
      'mailbox',
      'open',
      'mdns',
      'orderWaitMs',
      'groupKeyEpochs',
      'groupKeyHours',
    ),
    onCollected: showCollection(invocation),
    onCatchUp: ({ name, done, of }) => invocation.io.progress?.(describeCatchUp(name, done, of)),
    ...(listen !== undefined && { listen }),
    ...(transports !== undefined && { transports }),
  })
  stack.defer(() => agent.close())
  const ended = Promise.withResolvers<undefined>()
  const api = await startApi({
    agent,
    home: home.path,
    log,
    randomBytes,
    onShutdown: () => ended.resolve(undefined),
    ...(config.api !== undefined && { tcp: parseApiAddress(config.api) }),
    ...(config.apiCert !== undefined &&
      config.apiKey !== undefined && {
        tls: { certPath: config.apiCert, keyPath: config.apiKey },
      }),
  })
  stack.defer(() => api.close())
  invocation.io.interrupted.addEventListener('abort', () => ended.resolve(undefined))
  const { peerId, did, addresses, ticket } = agent.ready
  ready({ event: 'ready', peerId, did, addresses, socket: api.socket, home: home.path, ticket })
  await ended.promise
  log.info({}, 'closing')
}

/** Shows how a long collection goes, while it goes. */
function showCollection({ io }: Invocation): (progress: Progress) => void {
  return ({ collected, bytesLeft }) => {
    const left = (bytesLeft / 2 ** 20).toFixed(1)
    io.progress?.(bytesLeft === 0 ? '' : `collecting mail: ${collected} taken, ${left} MiB left`)
  }
}

function pick<K extends keyof Config>(config: Config, ...keys: K[]): Pick<Config, K> {
  return Object.fromEntries(
    keys.flatMap((key) => (config[key] === undefined ? [] : [[key, config[key]]])),
  ) as Pick<Config, K>
}

interface Loaded {
  readonly transports?: readonly (string | TransportFactory)[]
  readonly listen?: readonly string[]
}

async function loadTransports(config: Config, home: Home): Promise<Loaded> {
  const asked = config.transport
  if (asked === undefined) return config.listen === undefined ? {} : { listen: config.listen }
  const transports = await Promise.all(
    asked.map((one) => (typeof one === 'string' ? Promise.resolve(one) : loadModule(one, home))),
  )
  const own = asked.flatMap((one) => (typeof one === 'string' ? [] : (one.listen ?? [])))
  const listen = config.listen ?? (own.length > 0 ? [] : defaultListen(asked))
  return { transports, listen: [...listen, ...own] }
}

/** Of the default addresses those that the chosen transports can listen on. */
function defaultListen(asked: readonly unknown[]): readonly string[] {
  return DEFAULT_LISTEN.filter((address) => asked.includes(address.endsWith('/ws') ? 'ws' : 'tcp'))
}

async function loadModule(
  { module, export: name, options }: ModuleTransport,
  home: Home,
): Promise<TransportFactory> {
  const fail = (why: string, cause?: unknown): ConclaveError =>
    new ConclaveError('CONFIG_TRANSPORT', `transport ${module}, export ${name}: ${why}`, {
      hint: 'it must export a function that answers a libp2p transport factory',
      cause,
    })
  const relative = module.startsWith('.') || module.startsWith('/')
  const path = relative ? pathToFileURL(resolve(dirname(home.config), module)).href : module
  let factory: unknown
  try {
    factory = ((await import(path)) as Record<string, unknown>)[name]
  } catch (error) {
    throw fail('it does not load', error)
  }
  if (typeof factory !== 'function') throw fail('there is no such function')
  return (factory as (options?: unknown) => TransportFactory)(options)
}

/** Who the agent of a home is; makes it with `--init`. */
export async function id(invocation: Invocation): Promise<Row> {
  const home = locateHome(invocation.home, undefined)
  const create = invocation.flags['init'] === true
  const config = (await homeExists(home)) || create ? await configure(home, invocation.flags) : {}
  const opened = await openNodeStore({ home, key: keySourceOf(config), create }).catch(
    async (error: unknown) => {
      // The home is in use: the node that holds it knows, too.
      if (!(error instanceof ConclaveError) || error.code !== 'STORE_LOCKED') throw error
      const { peerId, did, fingerprint } = await invocation.client.status()
      return { peerId, did, fingerprint }
    },
  )
  if (!('store' in opened)) return opened
  const { store } = opened
  try {
    const { peerId, fingerprint } = await readOwnFingerprint(store)
    return { peerId, did: formatDid(peerId), fingerprint }
  } finally {
    await store.close()
  }
}
