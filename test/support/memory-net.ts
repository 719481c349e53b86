// A network in memory behind the port of the host: connections, streams of frames, peers that come and go, and
// machines that vanish. Everything arrives after LATENCY_MS of virtual time, in order.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type {
  AbortOptions,
  ConnectionFact,
  FrameStream,
  Host,
  PeerEvent,
  Pubsub,
  Records,
} from '../../src/host/types.ts'
import type { Owner, VirtualTime } from './virtual-time.ts'

/** From one machine to another. */
export const LATENCY_MS = 1
/** After which a connection that is to be kept alive is dialled again. */
const REDIAL_MS = 200

type Handler = (stream: FrameStream) => Promise<void>

/** What left a machine. */
export interface Departure {
  readonly from: PeerId
  readonly to: PeerId
  readonly protocol: string
  readonly frame: Bytes
}

/** All machines. */
export class MemoryNet {
  readonly time: VirtualTime
  readonly hosts: Map<PeerId, MemoryHost> = new Map<PeerId, MemoryHost>()
  /** Called as a frame leaves. */
  onDeparture: (departure: Departure) => void = () => undefined

  constructor(time: VirtualTime) {
    this.time = time
  }

  /** Switches a machine on. */
  open(peerId: PeerId, owner: Owner): MemoryHost {
    const host = new MemoryHost(this, peerId, owner)
    this.hosts.set(peerId, host)
    return host
  }
}

/** One machine. */
export class MemoryHost implements Host {
  readonly peerId: PeerId
  readonly owner: Owner
  readonly pubsub: Pubsub = NO_PUBSUB
  readonly records: Records = {
    put: () => Promise.resolve(0),
    get: () => Promise.resolve(undefined),
  }
  readonly #net: MemoryNet
  readonly #handlers = new Map<string, Handler>()
  readonly #listeners = new Set<(event: PeerEvent) => void>()
  readonly #peers = new Set<PeerId>()
  readonly #identified = new Set<PeerId>()
  readonly #streams = new Set<MemoryStream>()
  readonly #kept = new Set<PeerId>()

  constructor(net: MemoryNet, peerId: PeerId, owner: Owner) {
    this.#net = net
    this.peerId = peerId
    this.owner = owner
  }

  addresses(): string[] {
    return [`/memory/${this.peerId.slice(-8)}/p2p/${this.peerId}`]
  }

  boundAddresses(): string[] {
    return this.addresses()
  }

  reachability(): 'public' {
    return 'public'
  }

  relays(): PeerId[] {
    return []
  }

  connections(): ConnectionFact[] {
    return []
  }

  isConnected(peer: PeerId): boolean {
    return this.#peers.has(peer)
  }

  speaking(protocol: string): PeerId[] {
    return [...this.#identified].filter(
      (peer) => this.#net.hosts.get(peer)?.speaks(protocol) === true,
    )
  }

  async connect(peer: PeerId, { signal }: AbortOptions = {}): Promise<void> {
    await this.#net.time.wait(LATENCY_MS)
    signal?.throwIfAborted()
    const other = this.#net.hosts.get(peer)
    if (other === undefined || other.owner.isDead) {
      throw new ConclaveError('NETWORK_UNREACHABLE', `no way to ${peer} found`)
    }
    if (this.#peers.has(peer)) return
    this.#met(peer)
    other.#met(this.peerId)
  }

  disconnect(peer: PeerId): Promise<void> {
    this.lose(peer)
    this.#net.hosts.get(peer)?.lose(this.peerId)
    return Promise.resolve()
  }

  addAddresses(): Promise<void> {
    return Promise.resolve()
  }

  knownAddresses(): Promise<string[]> {
    return Promise.resolve([])
  }

  probe(): Promise<[]> {
    return Promise.resolve([])
  }

  keepAlive(peer: PeerId): void {
    if (this.#kept.has(peer)) return
    this.#kept.add(peer)
    const look = (): void => {
      if (!this.#kept.has(peer)) return
      if (!this.#peers.has(peer)) this.connect(peer).catch(() => undefined)
      this.#net.time.after(REDIAL_MS, look)
    }
    this.#net.time.as(this.owner, look)
  }

  release(peer: PeerId): void {
    this.#kept.delete(peer)
  }

  handle(protocol: string, _options: unknown, handler: Handler): Promise<void> {
    this.#handlers.set(protocol, handler)
    for (const peer of this.#peers) {
      const other = this.#net.hosts.get(peer)
      if (other?.hasIdentified(this.peerId) === true) other.identify(this.peerId)
    }
    return Promise.resolve()
  }

  async open(peer: PeerId, protocol: string, { signal }: AbortOptions = {}): Promise<FrameStream> {
    await this.connect(peer, signal === undefined ? {} : { signal })
    const other = this.#net.hosts.get(peer)
    const handler = other?.handlerOf(protocol)
    if (other === undefined || handler === undefined) {
      throw new ConclaveError('NETWORK_UNREACHABLE', `the peer does not speak ${protocol}`)
    }
    const here = new MemoryStream(this.#net, this, peer, protocol)
    const there = new MemoryStream(this.#net, other, this.peerId, protocol)
    here.join(there)
    this.#hold(here)
    other.#hold(there)
    this.#net.time.as(other.owner, () =>
      this.#net.time.after(LATENCY_MS, () => {
        handler(there).catch(() => there.abort())
      }),
    )
    return here
  }

  /** True if streams of a protocol are served. */
  speaks(protocol: string): boolean {
    return this.#handlers.has(protocol)
  }

  handlerOf(protocol: string): Handler | undefined {
    return this.#handlers.get(protocol)
  }

  hasIdentified(peer: PeerId): boolean {
    return this.#identified.has(peer)
  }

  /** Tells listeners what a peer speaks. */
  identify(peer: PeerId): void {
    this.#tell('identified', peer)
  }

  ping(): Promise<{ rttMs: number[]; transport: string; relayed: boolean }> {
    return Promise.resolve({ rttMs: [], transport: 'memory', relayed: false })
  }

  onPeer(listener: (event: PeerEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): Promise<void> {
    this.vanish()
    return Promise.resolve()
  }

  /** The machine is gone at once: what it sent arrives still, what it was sent does not. */
  vanish(): void {
    this.owner.isDead = true
    if (this.#net.hosts.get(this.peerId) === this) this.#net.hosts.delete(this.peerId)
    for (const stream of this.#streams) stream.vanish()
    for (const peer of this.#peers) this.#net.hosts.get(peer)?.lose(this.peerId)
  }

  #hold(stream: MemoryStream): void {
    this.#streams.add(stream)
    void stream.closed.then(() => this.#streams.delete(stream))
  }

  #met(peer: PeerId): void {
    this.#peers.add(peer)
    this.#tell('connected', peer)
    this.#net.time.as(this.owner, () =>
      this.#net.time.after(LATENCY_MS, () => {
        if (!this.#peers.has(peer)) return
        this.#identified.add(peer)
        this.#tell('identified', peer)
      }),
    )
  }

  /** The last connection to a peer is gone. */
  lose(peer: PeerId): void {
    if (!this.#peers.delete(peer)) return
    this.#identified.delete(peer)
    this.#tell('disconnected', peer)
  }

  #tell(kind: PeerEvent['kind'], peer: PeerId): void {
    this.#net.time.as(this.owner, () =>
      this.#net.time.after(0, () => {
        for (const listener of this.#listeners) listener({ kind, peer })
      }),
    )
  }
}

type Item = Bytes | 'end' | 'reset'

/** One side of a stream. */
class MemoryStream implements FrameStream {
  readonly peer: PeerId
  readonly relayed = false
  readonly transport = 'memory'
  readonly frames: AsyncIterable<Bytes> = { [Symbol.asyncIterator]: () => this.#read() }
  readonly closed: Promise<void>
  readonly #net: MemoryNet
  readonly #host: MemoryHost
  readonly #protocol: string
  readonly #inbox: Item[] = []
  #other: MemoryStream | undefined
  #wake: (() => void) | undefined
  #isWritable = true
  #isReset = false
  #resolveClosed: () => void = () => undefined

  constructor(net: MemoryNet, host: MemoryHost, peer: PeerId, protocol: string) {
    this.#net = net
    this.#host = host
    this.peer = peer
    this.#protocol = protocol
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve))
  }

  join(other: MemoryStream): void {
    this.#other = other
    other.#other = this
  }

  send(frame: Bytes, { signal }: AbortOptions = {}): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    if (!this.#isWritable) return Promise.reject(ended())
    const { peerId: from } = this.#host
    this.#net.onDeparture({ from, to: this.peer, protocol: this.#protocol, frame })
    this.#post(frame.slice())
    return Promise.resolve()
  }

  close(): Promise<void> {
    if (this.#isWritable) this.#post('end')
    this.#isWritable = false
    return Promise.resolve()
  }

  abort(): void {
    if (this.#isReset) return
    this.#post('reset')
    this.#take('reset')
  }

  /** The machine is gone; the other side hears it after what was on its way. */
  vanish(): void {
    this.#isWritable = false
    this.#isReset = true
    this.#post('reset')
    this.#resolveClosed()
  }

  #post(item: Item): void {
    const other = this.#other
    if (other === undefined) return
    this.#net.time.as(other.#host.owner, () =>
      this.#net.time.after(LATENCY_MS, () => other.#take(item)),
    )
  }

  #take(item: Item): void {
    if (this.#isReset) return
    if (item === 'reset') {
      this.#isReset = true
      this.#isWritable = false
      this.#resolveClosed()
    }
    this.#inbox.push(item)
    this.#wake?.()
  }

  async *#read(): AsyncGenerator<Bytes> {
    for (;;) {
      const item = this.#inbox.shift()
      if (item === 'reset' || (item === undefined && this.#isReset)) throw ended()
      if (item === 'end') return
      if (item !== undefined) yield item
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}

function ended(): ConclaveError {
  return new ConclaveError('NETWORK_RESET', 'the stream has ended')
}

const NO_PUBSUB: Pubsub = {
  subscribe: () => undefined,
  unsubscribe: () => undefined,
  publish: () => Promise.resolve(0),
  subscribers: () => [],
}
