// Starts the local API on a Unix socket and, if asked to, on TCP. Floor 4.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { Agent } from '../node/types.ts'
import type { ApiAddress } from './address.ts'
import { HEARTBEAT_MS } from './client-limits.ts'
import { buildApp } from './server/app.ts'
import type { TlsPair } from './server/app.ts'
import type { ApiContext, App } from './server/context.ts'
import { isLoopback, makeGuard } from './server/guard.ts'
import {
  claimSocket,
  publishApi,
  readPem,
  readPort,
  readToken,
  restrictSocket,
  withdrawApi,
  writePort,
} from './server/home-files.ts'
import type { ApiLog } from './server/log.ts'

/** Time for requests under way to be answered when the API closes. */
const CLOSE_GRACE_MS = 1_000

/** What the API is started with. */
export interface ApiOptions {
  readonly agent: Agent
  /** The node's home, which exists and whose lock is held. */
  readonly home: string
  /** Adds a TCP listener. */
  readonly tcp?: ApiAddress
  /** Paths of the PEM files for TLS 1.3; an address that is not loopback needs them. */
  readonly tls?: { readonly certPath: string; readonly keyPath: string }
  readonly log: ApiLog
  readonly randomBytes: (count: number) => Bytes
  /** Called once `POST /v1/shutdown` was answered: close the node and this API. */
  readonly onShutdown: () => void
  /** Milliseconds between comment lines of an event stream. */
  readonly heartbeatMs?: number
}

/** A started API. */
export interface RunningApi extends AsyncDisposable {
  readonly socket: string
  /** Of the TCP listener. */
  readonly url?: string
  /** Ends streams and waiting requests, removes `api.json` and the socket. */
  close(): Promise<void>
}

/**
 * Starts the API and writes `api.json` once every listener is there.
 *
 * @throws ConclaveError `CONFIG_VALUE` for an address that needs TLS, `NETWORK_LISTEN` for one that is
 *   taken, `STORE_UNWRITABLE` for a home that is.
 */
export async function startApi(options: ApiOptions): Promise<RunningApi> {
  const { agent, home, log, onShutdown, heartbeatMs = HEARTBEAT_MS } = options
  const closing = new AbortController()
  const context: ApiContext = { agent, log, heartbeatMs, closing: closing.signal, onShutdown }
  const tls = await readTls(options)
  const socket = await claimSocket(home)
  const apps: App[] = []
  let closed: Promise<void> | undefined
  const close = (): Promise<void> =>
    (closed ??= (async () => {
      closing.abort(new DOMException('the API closes', 'AbortError'))
      await Promise.all(apps.map(closeApp))
      await withdrawApi(home, socket)
    })())
  try {
    const local = await buildApp(context)
    apps.push(local)
    await listen(local, { path: socket })
    await restrictSocket(socket)
    const url = await startTcp(options, context, tls, apps)
    await publishApi(home, { socket, pid: process.pid, ...(url !== undefined && { url }) })
    return { socket, ...(url !== undefined && { url }), close, [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw error
  }
}

async function startTcp(
  options: ApiOptions,
  context: ApiContext,
  tls: TlsPair | undefined,
  apps: App[],
): Promise<string | undefined> {
  const { tcp, home } = options
  if (tcp === undefined) return undefined
  const token = await readToken(home, options.randomBytes)
  const guard = makeGuard({ token, host: tcp.host, tls: tls !== undefined })
  const app = await buildApp(context, { guard, ...(tls !== undefined && { tls }) })
  apps.push(app)
  const remembered = tcp.port === 0 ? await readPort(home) : undefined
  const port = await listenTcp(app, tcp, remembered)
  if (tcp.port === 0) await writePort(home, port)
  const host = tcp.host.includes(':') ? `[${tcp.host}]` : tcp.host
  return `${tls === undefined ? 'http' : 'https'}://${host}:${port}`
}

/** Listens on the port asked for; for port 0, on the one of the last time unless it is taken. */
async function listenTcp(app: App, tcp: ApiAddress, remembered?: number): Promise<number> {
  if (remembered !== undefined) {
    try {
      return await listen(app, { host: tcp.host, port: remembered })
    } catch {
      // Somebody else has it now.
    }
  }
  return listen(app, { host: tcp.host, port: tcp.port })
}

type Place = { readonly path: string } | { readonly host: string; readonly port: number }

async function listen(app: App, place: Place): Promise<number> {
  try {
    await app.listen(place)
  } catch (cause) {
    const where = 'path' in place ? place.path : `${place.host}:${place.port}`
    throw new ConclaveError('NETWORK_LISTEN', `the API cannot listen on ${where}`, {
      hint: 'choose another address with --api, or port 0 for a free one',
      cause,
    })
  }
  const address = app.server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Lets answers that are on their way out; cuts off whoever does not take them. */
async function closeApp(app: App): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), CLOSE_GRACE_MS)
  await app.close()
  clearTimeout(timer)
}

async function readTls({ tcp, tls }: ApiOptions): Promise<TlsPair | undefined> {
  if (tcp === undefined) return undefined
  if (tls !== undefined) {
    const [cert, key] = await Promise.all([
      readPem('--api-cert', tls.certPath),
      readPem('--api-key', tls.keyPath),
    ])
    return { cert, key }
  }
  if (isLoopback(tcp.host)) return undefined
  throw new ConclaveError('CONFIG_VALUE', `the API on ${tcp.host} needs TLS`, {
    hint: 'add --api-cert FILE and --api-key FILE, or listen on 127.0.0.1',
  })
}
