// One libp2p node behind the `Host` port: composition and lifetime. Floor 1.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, IdentifyResult, Libp2p, PeerInfo } from '@libp2p/interface'
import type { PeerId as Libp2pPeerId, Stream } from '@libp2p/interface'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import {
  addressOfPeer,
  isPublic,
  parseAddress,
  relayOfAddress,
  shareRank,
  toLibp2pPeerId,
  toPeerId,
} from './addresses.ts'
import { factOf, pathOf } from './connection-fact.ts'
import { ConnectionWatch } from './connection-watch.ts'
import { HostDatastore } from './datastore.ts'
import { Dialler } from './dial.ts'
import { makeFrameStream } from './frames.ts'
import { AddressPolicy } from './gater.ts'
import { KeepAlive } from './keep-alive.ts'
import { makeLibp2pOptions } from './libp2p-options.ts'
import type { HostServices } from './libp2p-options.ts'
import { openStream } from './open-stream.ts'
import type { HostLog, HostOptions } from './options.ts'
import { PeerBook } from './peer-book.ts'
import { PING_OPTIONS, PING_PROTOCOL, pingPeer, servePing } from './ping.ts'
import { probeAddresses } from './probe.ts'
import { makePubsub } from './pubsub.ts'
import { ReachabilityWatch } from './reachability.ts'
import { RecordStore } from './records.ts'
import { checkListening, composeNode, listenFailure, parseBootstrap, parseOwn } from './startup.ts'
import type { Bootstrap } from './startup.ts'
import { loadTransports } from './transports.ts'
import type {
  AbortOptions,
  ConnectionFact,
  DialFact,
  FrameStream,
  Host,
  PeerEvent,
  ProtocolOptions,
  Pubsub,
  Reachability,
} from './types.ts'

/** Value of the tag that keeps the pruner away from peers in use. */
const KEEP_ALIVE_TAG = 'keep-alive-conclave'
const KEEP_ALIVE_VALUE = 50

/** How long one peer's connections, and the whole host, may take to close before they are let go. */
const CLOSE_TIMEOUT_MS = 5_000
const STOP_TIMEOUT_MS = 10_000

/** A relayed connection's dialler tries for a direct one first; after this the other side does. */
const UPGRADE_TURN_MS = 1_000

/** How often peers beyond the bound of the peer store are forgotten. */
const PRUNE_INTERVAL_MS: number = 10 * 60 * 1_000

/** Peers found on the local network are dialled while there are fewer connections than this. */
const LOCAL_DIALS_BELOW = 64

/**
 * Starts a host: it listens, and dials its bootstrap peers in the background.
 *
 * @throws ConclaveError `CONFIG_VALUE` for a malformed address, `CONFIG_TRANSPORT` if no transport can listen on one,
 *   `TRANSPORT_UNAVAILABLE` for a transport without a binary, `NETWORK_LISTEN` if an address cannot be bound.
 */
export async function createHost(options: HostOptions): Promise<ConclaveHost> {
  const listen = parseOwn(options.listen, 'listen')
  parseOwn(options.announce, 'announce')
  const bootstrap = parseBootstrap(options.bootstrap)
  const policy = new AddressPolicy(listen)
  for (const { address } of bootstrap) policy.allow(address)
  const datastore = new HostDatastore(options.storage, options.log)
  const transports = await loadTransports(options.transports)
  let found: (peer: PeerInfo) => void = () => undefined
  const parts = { transports, datastore, policy, onLocalPeer: (peer: PeerInfo) => found(peer) }
  const node = await composeNode(await makeLibp2pOptions(options, parts))
  const host = new ConclaveHost(node, { policy, datastore, options })
  found = (peer) => host.onLocalPeer(peer)
  try {
    checkListening(node, listen)
    await host.start(bootstrap)
  } catch (error) {
    await host.close()
    throw error
  }
  return host
}

interface HostParts {
  readonly policy: AddressPolicy
  readonly datastore: HostDatastore
  readonly options: HostOptions
}

/** The host of `createHost`. */
export class ConclaveHost implements Host {
  readonly peerId: PeerId
  readonly pubsub: Pubsub
  /** Records in the DHT, of the kinds given to `createHost`. */
  readonly records: RecordStore
  readonly #node: Libp2p<HostServices>
  readonly #policy: AddressPolicy
  readonly #datastore: HostDatastore
  readonly #options: HostOptions
  readonly #log: HostLog | undefined
  readonly #dialler: Dialler
  readonly #keepAlive: KeepAlive
  readonly #bootstrap = new Set<PeerId>()
  readonly #book: PeerBook
  readonly #reachability: ReachabilityWatch
  readonly #watch: ConnectionWatch
  readonly #pruning: NodeJS.Timeout
  readonly #listeners = new Set<(event: PeerEvent) => void>()
  #closing: Promise<void> | undefined

  constructor(node: Libp2p<HostServices>, { policy, datastore, options }: HostParts) {
    const own = toPeerId(node.peerId)
    if (own === undefined) throw new ConclaveError('BUG_INVARIANT', 'own key is Ed25519')
    this.peerId = own
    this.#node = node
    this.#policy = policy
    this.#datastore = datastore
    this.#options = options
    this.#log = options.log
    this.#dialler = new Dialler(node, policy)
    this.#keepAlive = new KeepAlive({
      connect: (peer, signal) => this.connect(peer, { signal }),
      isConnected: (peer) => this.isConnected(peer),
    })
    this.#book = new PeerBook(node.peerStore)
    this.#reachability = new ReachabilityWatch(node.services)
    this.#watch = new ConnectionWatch(() => node.getConnections())
    this.#pruning = setInterval(() => void this.#prune(), PRUNE_INTERVAL_MS).unref()
    this.pubsub = makePubsub(node.services.pubsub)
    this.records = new RecordStore(node.services.dht)
    policy.bound = () => node.services.parts.of.transportManager.getAddrs()
    policy.isConnected = (peer) => this.isConnected(peer)
    this.#dialler.isRelay = (peer) => peer !== undefined && this.#book.isRelay(peer)
    this.#listen()
  }

  /** Binds, serves ping and begins to dial; called once by `createHost`. */
  async start(bootstrap: readonly Bootstrap[]): Promise<void> {
    await this.handle(PING_PROTOCOL, PING_OPTIONS, servePing)
    try {
      await this.#node.start()
    } catch (cause) {
      throw new ConclaveError('NETWORK_LISTEN', listenFailure(cause), {
        cause,
        hint: 'another program may hold the port; choose another with --listen',
      })
    }
    if (this.#options.relay && this.#options.announce.length === 0) this.#announceBound()
    for (const { peer, address } of bootstrap) {
      await this.#node.peerStore.merge(toLibp2pPeerId(peer), { multiaddrs: [address] })
      this.#bootstrap.add(peer)
      this.keepAlive(peer)
    }
  }

  addresses(): string[] {
    return this.#node
      .getMultiaddrs()
      .sort((a, b) => shareRank(a) - shareRank(b))
      .map(String)
  }

  boundAddresses(): string[] {
    return this.#policy.bound().map(String)
  }

  reachability(): Reachability {
    return this.#reachability.current()
  }

  relays(): PeerId[] {
    const relays = this.#node.getMultiaddrs().flatMap((one) => relayOfAddress(one) ?? [])
    return [...new Set(relays)]
  }

  connections(): ConnectionFact[] {
    return this.#node.getConnections().flatMap((connection) => {
      const peer = toPeerId(connection.remotePeer)
      if (peer === undefined || connection.status !== 'open') return []
      return [factOf(connection, peer, this.#book.agentOf(peer))]
    })
  }

  speaking(protocol: string): PeerId[] {
    return this.#book.speaking(protocol).filter((peer) => this.isConnected(peer))
  }

  isConnected(peer: PeerId): boolean {
    return this.#connectionsTo(peer).length > 0
  }

  async connect(peer: PeerId, { signal }: AbortOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    if (peer === this.peerId) throw new ConclaveError('USAGE_ARGUMENT', 'that is this node itself')
    if (!this.isConnected(peer)) await this.#dialler.connect(peer, signal)
  }

  async disconnect(peer: PeerId): Promise<void> {
    await this.#node.hangUp(toLibp2pPeerId(peer), { signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) })
  }

  async addAddresses(
    peer: PeerId,
    addresses: readonly string[],
    { trusted = false }: { readonly trusted?: boolean } = {},
  ): Promise<void> {
    if (peer === this.peerId) return
    const own = addresses.flatMap((text) => {
      const address = parseAddress(text)
      return address === undefined ? [] : (addressOfPeer(address, peer) ?? [])
    })
    if (trusted) own.forEach((address) => this.#policy.allow(address))
    if (own.length > 0) await this.#book.add(peer, own)
  }

  async knownAddresses(peer: PeerId): Promise<string[]> {
    return (await this.#dialler.known(peer)).map(String)
  }

  probe(peer: PeerId, { signal }: AbortOptions = {}): Promise<DialFact[]> {
    return probeAddresses(this.#dialler, peer, signal)
  }

  keepAlive(peer: PeerId): void {
    this.#keepAlive.keep(peer)
    this.#tag(peer)
  }

  release(peer: PeerId): void {
    if (this.#bootstrap.has(peer)) return // kept for ever, whoever else wanted it
    this.#keepAlive.release(peer)
    this.#tag(peer)
  }

  async handle(
    protocol: string,
    options: ProtocolOptions,
    handler: (stream: FrameStream) => Promise<void>,
  ): Promise<void> {
    const serve = (stream: Stream, connection: Connection): void => {
      const peer = toPeerId(connection.remotePeer)
      if (peer === undefined) {
        stream.abort(new ConclaveError('VERIFY_KEY_INVALID', 'peer without an Ed25519 key'))
        return
      }
      const { frameBytesMax } = options
      const frames = makeFrameStream(stream, { peer, ...pathOf(connection), frameBytesMax })
      handler(frames).catch((error: unknown) => {
        this.#log?.debug('stream ended by its handler', { protocol, peer, error: String(error) })
        frames.abort(error instanceof Error ? error : undefined)
      })
    }
    await this.#node.handle(protocol, serve, {
      maxInboundStreams: options.inboundStreamsMax,
      maxOutboundStreams: options.outboundStreamsMax,
      runOnLimitedConnection: options.relayed,
      force: true,
    })
  }

  open(
    peer: PeerId,
    protocol: string,
    options: ProtocolOptions & AbortOptions,
  ): Promise<FrameStream> {
    return openStream(
      {
        connections: () => this.#connectionsTo(peer),
        connect: (signal) => this.#dialler.connect(peer, signal),
        wrap: (stream, connection, frameBytesMax) =>
          makeFrameStream(stream, { peer, ...pathOf(connection), frameBytesMax }),
      },
      protocol,
      options,
    )
  }

  ping(
    peer: PeerId,
    options: AbortOptions & { readonly count: number },
  ): Promise<{ readonly rttMs: number[]; readonly transport: string; readonly relayed: boolean }> {
    const { signal } = options
    const path = signal === undefined ? {} : { signal }
    return pingPeer(
      (to) => this.open(to, PING_PROTOCOL, { ...PING_OPTIONS, ...path }),
      peer,
      options,
    )
  }

  onPeer(listener: (event: PeerEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Dials a peer that the local network showed; its addresses are kept, nothing else follows from it. */
  onLocalPeer({ id, multiaddrs }: PeerInfo): void {
    const peer = toPeerId(id)
    if (peer === undefined || peer === this.peerId || this.isConnected(peer)) return
    if (this.#node.getConnections().length >= LOCAL_DIALS_BELOW) return
    void this.addAddresses(peer, multiaddrs.map(String))
      .then(() => this.connect(peer))
      .catch(() => this.#log?.debug('local peer does not answer', { peer }))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#keepAlive.close()
    this.#reachability.close()
    this.#watch.close()
    clearInterval(this.#pruning)
    this.#dialler.close()
    // A transport's binary may never report the end of its last connection.
    const limit = sleep(STOP_TIMEOUT_MS, undefined, { ref: false })
    await Promise.race([this.#node.stop(), limit])
    await this.#datastore.close()
    this.#listeners.clear()
  }

  #listen(): void {
    this.#node.addEventListener('peer:connect', ({ detail }) => this.#onPeer(detail, 'connected'))
    this.#node.addEventListener('peer:disconnect', ({ detail }) =>
      this.#onPeer(detail, 'disconnected'),
    )
    this.#node.addEventListener('peer:identify', ({ detail }) => this.#onIdentify(detail))
    this.#node.addEventListener('peer:discovery', ({ detail }) => {
      const peer = toPeerId(detail.id)
      if (peer !== undefined) this.#keepAlive.sighted(peer)
    })
  }

  #onPeer(id: Libp2pPeerId, kind: PeerEvent['kind']): void {
    const peer = toPeerId(id)
    if (peer === undefined || this.#closing !== undefined) return
    if (kind === 'connected') this.#keepAlive.connected(peer)
    else this.#keepAlive.disconnected(peer)
    if (kind === 'disconnected') this.#book.forget(peer)
    if (this.#keepAlive.has(peer)) this.#tag(peer) // libp2p drops the tag after a failed dial
    this.#report({ kind, peer })
  }

  #report(event: PeerEvent): void {
    if (this.#closing !== undefined) return
    for (const listener of [...this.#listeners]) {
      try {
        listener(event)
      } catch (error) {
        this.#log?.warn('peer listener failed', { error: String(error) })
      }
    }
  }

  #onIdentify(result: IdentifyResult): void {
    const peer = toPeerId(result.peerId)
    if (peer === undefined) return
    this.#book.identified(peer, result)
    this.#report({ kind: 'identified', peer })
    this.#reachability.observed(result.observedAddr)
    const { limits, direction } = result.connection
    if (limits === undefined || this.#closing !== undefined) return
    void this.#dialler.upgrade(peer, direction === 'outbound' ? 0 : UPGRADE_TURN_MS)
  }

  /** Open connections to a peer, direct ones first, then the older. */
  #connectionsTo(peer: PeerId): Connection[] {
    return this.#node
      .getConnections(toLibp2pPeerId(peer))
      .filter(({ status }) => status === 'open')
      .sort((a, b) => Number(a.limits !== undefined) - Number(b.limits !== undefined))
  }

  async #prune(): Promise<void> {
    const inUse = (peer: PeerId): boolean => this.isConnected(peer) || this.#keepAlive.has(peer)
    await this.#book.prune(inUse).catch(() => undefined) // tried again at the next turn
  }

  #tag(peer: PeerId): void {
    const tag = this.#keepAlive.has(peer) ? { value: KEEP_ALIVE_VALUE } : undefined
    void this.#node.peerStore
      .merge(toLibp2pPeerId(peer), { tags: { [KEEP_ALIVE_TAG]: tag } })
      .catch(() => undefined) // a closing host has no store any more
  }

  /** A relay on a public address gives it out at once: what it serves needs it before AutoNAT can confirm. */
  #announceBound(): void {
    const { addressManager, transportManager } = this.#node.services.parts.of
    for (const address of transportManager.getAddrs().filter(isPublic)) {
      addressManager.confirmObservedAddr(address, { type: 'transport' })
    }
  }
}
