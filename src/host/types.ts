// The port of the host: frames over streams, topics, addresses. Floor 1. Nothing above sees libp2p's types.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'

/** One stream to one authenticated peer, cut into length-prefixed frames. */
export interface FrameStream {
  readonly peer: PeerId
  /** True if it crosses a relay. */
  readonly relayed: boolean
  /** Name of the transport below, such as `tcp`, `ws`, `webrtc-direct`, `quic`, `memory`. */
  readonly transport: string
  /**
   * Writes one frame and resolves once there is room for another (back-pressure).
   *
   * @throws ConclaveError `NETWORK_RESET` when the stream has ended, `AbortError` on `signal`.
   */
  send(frame: Bytes, options?: { readonly signal?: AbortSignal }): Promise<void>
  /**
   * Frames as they arrive, copied; may be iterated once. The remote is paused while nobody reads. Ends when the
   * remote closes; throws `NETWORK_RESET` on a reset and `CODEC_LENGTH` for a frame beyond the limit,
   * after which the stream is aborted.
   */
  readonly frames: AsyncIterable<Bytes>
  /** Ends the write side after what was sent; reading goes on. */
  close(): Promise<void>
  /** Resets both sides at once. */
  abort(reason?: Error): void
  /** Resolves when the stream is gone, for whatever reason. */
  readonly closed: Promise<void>
}

/** Limits of a protocol's streams; both are stated because libp2p's defaults are 32 and 64. */
export interface ProtocolOptions {
  /** Largest frame accepted, in bytes, checked before allocation. */
  readonly frameBytesMax: number
  /** Inbound streams per connection; more are refused. */
  readonly inboundStreamsMax: number
  /** Outbound streams per connection. */
  readonly outboundStreamsMax: number
  /** Whether the protocol may run over a relayed (limited) connection. */
  readonly relayed: boolean
}

/** One connection to a peer. */
export interface ConnectionFact {
  readonly peer: PeerId
  readonly address: string
  readonly transport: string
  readonly relayed: boolean
  readonly direction: 'inbound' | 'outbound'
  readonly openedAtMs: number
  readonly rttMs?: number
  /** Agent version string that identify reported. */
  readonly agent?: string
}

/** What a dial attempt met, address by address. */
export interface DialFact {
  readonly address: string
  readonly ok: boolean
  readonly error?: string
  readonly ms: number
}

/**
 * Peers come and go. `connected` is reported for the first connection, `identified` once it is known what the peer
 * speaks, and again when that changes, `disconnected` after the last connection.
 */
export interface PeerEvent {
  readonly kind: 'connected' | 'identified' | 'disconnected'
  readonly peer: PeerId
}

/** A topic message before it is forwarded. */
export interface TopicMessage {
  readonly topic: string
  readonly data: Bytes
  /** The neighbour that handed it over, not its author. */
  readonly from: PeerId
}

/** `accept` forwards, `ignore` drops, `reject` drops and lowers the neighbour's score. */
export type Verdict = 'accept' | 'ignore' | 'reject'

/** Gossip over unsigned messages; content is authenticated by whoever owns the topic. */
export interface Pubsub {
  /** Subscribes; `validate` runs before forwarding and is the only delivery. */
  subscribe(topic: string, validate: (message: TopicMessage) => Promise<Verdict> | Verdict): void
  unsubscribe(topic: string): void
  /** Publishes to the mesh; resolves with the number of peers it went to, which may be zero. */
  publish(topic: string, data: Bytes): Promise<number>
  /** Neighbours known to be subscribed. */
  subscribers(topic: string): PeerId[]
}

export interface AbortOptions {
  readonly signal?: AbortSignal
}

/** Reachability as AutoNAT and the own addresses show it. */
export type Reachability = 'public' | 'private' | 'unknown'

/** Small signed records in the distributed hash table, by namespace and name. */
export interface Records {
  /** Stores a record here and at the peers nearest to its key; answers how many of those took it. */
  put(namespace: string, name: Bytes, value: Bytes, options?: AbortOptions): Promise<number>
  /** Finds the best record that the peers nearest to the key hold; undefined if none does. */
  get(namespace: string, name: Bytes, options?: AbortOptions): Promise<Bytes | undefined>
}

/** One libp2p node. */
export interface Host {
  readonly peerId: PeerId
  /** Addresses to give to others, each ending in `/p2p/<own peer ID>`. */
  addresses(): string[]
  /** Addresses really bound, wildcards resolved; what to listen on again after a restart. */
  boundAddresses(): string[]
  reachability(): Reachability
  /** Peers that serve as relays for this node now. */
  relays(): PeerId[]
  connections(): ConnectionFact[]
  isConnected(peer: PeerId): boolean
  /** Connected peers that speak a protocol of this system, such as `/conclave/mailbox/1.0.0`. */
  speaking(protocol: string): PeerId[]
  /** Records of the kinds given to `createHost`. */
  readonly records: Records
  /**
   * Connects over known addresses, the DHT, and relays.
   *
   * @throws ConclaveError `NETWORK_UNREACHABLE`, `AbortError` on `signal`.
   */
  connect(peer: PeerId, options?: AbortOptions): Promise<void>
  disconnect(peer: PeerId): Promise<void>
  /**
   * Remembers where a peer may be reached; malformed and foreign addresses are ignored. Addresses of this machine or
   * link are used only if `trusted`: the operator gave them, as in a ticket, and no remote peer did.
   */
  addAddresses(
    peer: PeerId,
    addresses: readonly string[],
    options?: { readonly trusted?: boolean },
  ): Promise<void>
  /** Addresses known for a peer, best first. */
  knownAddresses(peer: PeerId): Promise<string[]>
  /** Dials each known address by itself and says what happened; for `why`. */
  probe(peer: PeerId, options?: AbortOptions): Promise<DialFact[]>
  /** Keeps a connection to the peer alive and re-dials it for ever, with back-off, until released. */
  keepAlive(peer: PeerId): void
  release(peer: PeerId): void
  /** Serves a protocol; streams of peers that the handler rejects are aborted. */
  handle(
    protocol: string,
    options: ProtocolOptions,
    handler: (stream: FrameStream) => Promise<void>,
  ): Promise<void>
  /** Opens a stream, connecting first if need be. Options as for `handle`. */
  open(
    peer: PeerId,
    protocol: string,
    options: ProtocolOptions & AbortOptions,
  ): Promise<FrameStream>
  /** Round trips on one ping stream held open: milliseconds each. */
  ping(
    peer: PeerId,
    options: AbortOptions & { readonly count: number },
  ): Promise<{ readonly rttMs: number[]; readonly transport: string; readonly relayed: boolean }>
  /** Reports peers coming and going; answers a function that stops it. */
  onPeer(listener: (event: PeerEvent) => void): () => void
  readonly pubsub: Pubsub
  close(): Promise<void>
}
