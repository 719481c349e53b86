// A transport as a third party would write it: libp2p over Unix-domain sockets. It shows the whole contract.
import { once, setMaxListeners } from 'node:events'
import { rm } from 'node:fs/promises'
import net from 'node:net'
import {
  InvalidParametersError,
  TypedEventEmitter,
  serviceCapabilities,
  transportSymbol,
} from '@libp2p/interface'
import type {
  ComponentLogger,
  Connection,
  CreateListenerOptions,
  DialTransportOptions,
  Listener,
  ListenerEvents,
  Logger,
  MultiaddrConnection,
  Transport,
} from '@libp2p/interface'
import { AbstractMultiaddrConnection } from '@libp2p/utils'
import type { SendResult } from '@libp2p/utils'
import { CODE_UNIX, multiaddr } from '@multiformats/multiaddr'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Uint8ArrayList } from 'uint8arraylist'

/** The socket path in an address; undefined if it is of another kind. */
function socketPath(address: Multiaddr): string | undefined {
  const [first] = address.getComponents()
  return first?.code === CODE_UNIX ? first.value : undefined
}

/** Addresses of this transport: `/unix/<path>`, with or without a peer ID after it. */
function isUnix(address: Multiaddr): boolean {
  const [first, second, ...rest] = address.getComponents()
  return (
    first?.code === CODE_UNIX &&
    (second === undefined || second.name === 'p2p') &&
    rest.length === 0
  )
}

function requirePath(address: Multiaddr): string {
  const path = socketPath(address)
  if (path === undefined) throw new InvalidParametersError(`not /unix: ${address.toString()}`)
  return path
}

/** True if nobody accepts at the socket file: a killed process leaves it behind. */
async function isAbandoned(path: string): Promise<boolean> {
  const socket = net.connect(path)
  try {
    await once(socket, 'connect')
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED'
  } finally {
    socket.destroy()
  }
}

/** One socket as a libp2p connection: bytes in, bytes out, pause, and two ways to end. */
class SocketConnection extends AbstractMultiaddrConnection {
  readonly #socket: net.Socket

  constructor(
    socket: net.Socket,
    init: {
      readonly remoteAddr: Multiaddr
      readonly direction: 'inbound' | 'outbound'
      readonly log: Logger
    },
  ) {
    super(init)
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.onData(chunk))
    socket.on('drain', () => this.safeDispatchEvent('drain'))
    socket.on('error', (error) => this.abort(error))
    socket.on('close', () => this.onTransportClosed())
    socket.on('end', () => this.onTransportClosed())
  }

  /** Says exactly how much the socket took; the rest is offered again after `drain`. */
  override sendData(data: Uint8ArrayList): SendResult {
    const result = { sentBytes: 0, canSendMore: true }
    for (const chunk of data) {
      result.canSendMore = this.#socket.write(chunk)
      result.sentBytes += chunk.byteLength
      if (!result.canSendMore) break
    }
    return result
  }

  override async sendClose(): Promise<void> {
    if (this.#socket.destroyed) return
    const gone = once(this.#socket, 'close')
    this.#socket.destroySoon() // writes what is queued first
    await gone
  }

  override sendReset(): void {
    this.#socket.destroy()
  }

  override sendPause(): void {
    this.#socket.pause()
  }

  override sendResume(): void {
    this.#socket.resume()
  }
}

/** Accepts on one socket file, and leaves nothing behind when it closes. */
class SocketListener extends TypedEventEmitter<ListenerEvents> implements Listener {
  readonly #server: net.Server = net.createServer()
  readonly #connections = new Set<MultiaddrConnection>()
  readonly #closing = new AbortController()
  #address: Multiaddr | undefined

  constructor({ upgrader }: CreateListenerOptions, log: Logger) {
    super()
    setMaxListeners(Infinity, this.#closing.signal) // every upgrade under way listens
    this.#server.on('connection', (socket) => {
      const remoteAddr = this.#address
      if (remoteAddr === undefined) return void socket.destroy()
      const connection = new SocketConnection(socket, { remoteAddr, direction: 'inbound', log })
      this.#connections.add(connection)
      connection.addEventListener('close', () => this.#connections.delete(connection))
      upgrader
        .upgradeInbound(connection, { signal: this.#closing.signal })
        .catch((error: unknown) => connection.abort(error as Error))
    })
    this.#server.on('close', () => this.safeDispatchEvent('close'))
  }

  async listen(address: Multiaddr): Promise<void> {
    const path = requirePath(address)
    if (await isAbandoned(path)) await rm(path, { force: true })
    const listening = once(this.#server, 'listening') // rejects on `error`
    this.#server.listen(path)
    await listening
    this.#server.on('error', (error) => this.safeDispatchEvent('error', { detail: error }))
    this.#address = multiaddr(`/unix/${encodeURIComponent(path)}`)
    this.safeDispatchEvent('listening')
  }

  getAddrs(): Multiaddr[] {
    return this.#address === undefined ? [] : [this.#address]
  }

  updateAnnounceAddrs(): void {
    // What is announced is what was asked for: nothing to add, such as a certificate hash.
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#closing.abort()
    for (const connection of this.#connections) connection.abort(new Error('listener closed'))
    await closed
    if (this.#address !== undefined) await rm(requirePath(this.#address), { force: true })
  }
}

class UnixTransport implements Transport {
  readonly [transportSymbol] = true as const
  readonly [serviceCapabilities] = ['@libp2p/transport']
  readonly [Symbol.toStringTag] = 'unix-fixture'
  readonly #log: Logger

  constructor(logger: ComponentLogger) {
    this.#log = logger.forComponent('unix-fixture')
  }

  async dial(address: Multiaddr, options: DialTransportOptions): Promise<Connection> {
    options.signal.throwIfAborted()
    const socket = net.connect(requirePath(address))
    try {
      await once(socket, 'connect', { signal: options.signal })
    } catch (error) {
      socket.destroy()
      throw error
    }
    const init = { remoteAddr: address, direction: 'outbound', log: this.#log } as const
    const connection = new SocketConnection(socket, init)
    try {
      return await options.upgrader.upgradeOutbound(connection, options)
    } catch (error) {
      connection.abort(error as Error)
      throw error
    }
  }

  createListener(options: CreateListenerOptions): Listener {
    return new SocketListener(options, this.#log)
  }

  listenFilter(addresses: Multiaddr[]): Multiaddr[] {
    return addresses.filter(isUnix)
  }

  dialFilter(addresses: Multiaddr[]): Multiaddr[] {
    return addresses.filter(isUnix)
  }
}

/** The factory to hand to `createNode({ transports: [unix()] })`. */
export function unix(): (components: { readonly logger: ComponentLogger }) => Transport {
  return ({ logger }) => new UnixTransport(logger)
}
