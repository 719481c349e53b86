// How libp2p is configured: every default that conclave overrides, by name. Floor 1.
import { noise } from '@chainsafe/libp2p-noise'
import { autoNATv2 } from '@libp2p/autonat-v2'
import { circuitRelayServer } from '@libp2p/circuit-relay-v2'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { dcutr } from '@libp2p/dcutr'
import { identify, identifyPush } from '@libp2p/identify'
import type { Identify, IdentifyPush } from '@libp2p/identify'
import type { PeerInfo, ServiceMap } from '@libp2p/interface'
import type { GossipSub } from '@libp2p/gossipsub'
import { kadDHT, removePrivateAddressesMapper } from '@libp2p/kad-dht'
import type { KadDHT, KadDHTInit } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { ping } from '@libp2p/ping'
import type { Ping } from '@libp2p/ping'
import type { Libp2pOptions } from 'libp2p'
import { isPublic } from './addresses.ts'
import { hearingMuxers } from './connection-watch.ts'
import type { HostDatastore } from './datastore.ts'
import { makeGater } from './gater.ts'
import type { AddressPolicy } from './gater.ts'
import { rememberPeers } from './known-peers.ts'
import type { HostOptions, RecordKind } from './options.ts'
import { makePacedWalk } from './paced-walk.ts'
import { makeGossipsub } from './pubsub.ts'
import {
  READ_BUFFER_BYTES_MAX,
  STREAMS_MAX,
  STREAM_WINDOW_BYTES_MAX,
  WRITE_BUFFER_BYTES_MAX,
} from './stream-limits.ts'
import type { Components, TransportFactory } from './transports.ts'
import { sparingYamux } from './yamux-windows.ts'

/** How long an answer to whether this node is public holds. */
const PUBLIC_MS = 1_000

/** DHT of conclave nodes only. */
const KAD_PROTOCOL = '/conclave/kad/1.0.0'

/** Tag of local discovery: other libp2p programs on the network neither see us nor are seen. */
const MDNS_SERVICE_TAG = '_conclave._udp.local'

/* Connections. */
const CONNECTIONS_MAX = 300
const RELAY_CONNECTIONS_MAX = 2_000
const INBOUND_PER_SECOND_MAX = 100
const INBOUND_PENDING_MAX = 100
/** A whole dial, and one address of it. */
export const DIAL_TIMEOUT_MS = 10_000
export const ADDRESS_DIAL_TIMEOUT_MS = 4_000
const DIALS_QUEUED_MAX = 500
const DIAL_ADDRESSES_MAX = 16
/** Yamux asks once how long a round trip takes; from then on connection-watch.ts does, where nothing comes. */
const MUXER_PING_INTERVAL_MS: number = 24 * 60 * 60 * 1_000

/**
 * Queries of the DHT: paths at once, and requests at once on each. The library's 10 and 10 dial a whole group at once.
 * A peer that an answer names is dialled before it is kept: a few at a time, and given time to answer.
 */
const QUERY_PATHS = 3
const QUERY_REQUESTS = 3
const CONTACT_DIALS_AT_ONCE = 4
const CONTACT_TIMEOUT_MIN_MS = 10_000

const IDENTIFY_BYTES_MAX: number = 16 * 1024

/* Relay service. */
const RESERVATIONS_MAX = 1_000
const RESERVATION_TTL_MS: number = 60 * 60 * 1_000
const CIRCUIT_BYTES_MAX: bigint = 128n * 1024n * 1024n
const CIRCUIT_DURATION_MS: number = 30 * 60 * 1_000
const HOP_STREAMS_MAX = 64
/** Reservations a node asks for where it knows as many relays. */
const RESERVATIONS_WANTED = 2

/* Peer store. */
const ADDRESS_AGE_MAX_MS: number = 30 * 24 * 60 * 60 * 1_000
const PEER_AGE_MAX_MS: number = 30 * 24 * 60 * 60 * 1_000

/** Services of a host; `dht` and `pubsub` are what the host talks to. */
export interface HostServices extends ServiceMap {
  readonly identify: Identify
  readonly identifyPush: IdentifyPush
  readonly ping: Ping
  readonly dht: KadDHT
  readonly pubsub: GossipSub
  /** libp2p's own parts, which its public interface keeps back: addresses and single dials. */
  readonly parts: { readonly of: Components }
}

type DiscoveryFactory = NonNullable<Libp2pOptions['peerDiscovery']>[number]

/** What the options need beside those of the caller. */
export interface HostParts {
  readonly transports: TransportFactory[]
  readonly datastore: HostDatastore
  readonly policy: AddressPolicy
  /** Called for each peer that the local network shows. */
  readonly onLocalPeer: (peer: PeerInfo) => void
}

/** Builds libp2p's options. */
export async function makeLibp2pOptions(
  options: HostOptions,
  { transports, datastore, policy, onLocalPeer }: HostParts,
): Promise<Libp2pOptions<HostServices>> {
  const limits = options.limits ?? {}
  return {
    start: false,
    privateKey: await generateKeyPairFromSeed('Ed25519', options.privateKey),
    nodeInfo: { userAgent: options.agentVersion },
    addresses: { listen: listenAddresses(options), announce: [...options.announce] },
    transports,
    connectionEncrypters: [noise()],
    streamMuxers: [
      hearingMuxers(
        sparingYamux({
          keepAliveInterval: MUXER_PING_INTERVAL_MS,
          maxInboundStreams: STREAMS_MAX,
          maxOutboundStreams: STREAMS_MAX,
          // Those that come before the upgrade is through: a few together are no flood.
          maxEarlyStreams: STREAMS_MAX,
          streamOptions: {
            maxStreamWindowSize: STREAM_WINDOW_BYTES_MAX,
            maxReadBufferLength: READ_BUFFER_BYTES_MAX,
            maxWriteBufferLength: WRITE_BUFFER_BYTES_MAX,
          },
        }),
      ),
    ],
    connectionManager: {
      maxConnections:
        limits.connectionsMax ?? (options.relay ? RELAY_CONNECTIONS_MAX : CONNECTIONS_MAX),
      inboundConnectionThreshold: limits.inboundPerSecondMax ?? INBOUND_PER_SECOND_MAX,
      maxIncomingPendingConnections: limits.inboundPendingMax ?? INBOUND_PENDING_MAX,
      dialTimeout: DIAL_TIMEOUT_MS,
      addressDialTimeout: ADDRESS_DIAL_TIMEOUT_MS,
      maxDialQueueLength: DIALS_QUEUED_MAX,
      maxPeerAddrsToDial: DIAL_ADDRESSES_MAX,
      reconnectRetries: 0, // keep-alive.ts does this, and does not stop after a few tries
    },
    connectionMonitor: { enabled: false },
    connectionGater: makeGater(policy),
    datastore,
    peerStore: { maxAddressAge: ADDRESS_AGE_MAX_MS, maxPeerAge: PEER_AGE_MAX_MS },
    peerDiscovery: options.mdns ? [localDiscovery(onLocalPeer)] : [],
    services: {
      parts: (components) => {
        components.randomWalk.walk = makePacedWalk(components)
        rememberPeers(components.peerStore)
        return { of: components } // in a box: libp2p starts its services, and must not meet itself
      },
      identify: identify({ maxMessageSize: IDENTIFY_BYTES_MAX }),
      identifyPush: identifyPush({ maxMessageSize: IDENTIFY_BYTES_MAX }),
      ping: ping(),
      dht: (components) => kadDHT(dhtInit(options, components))(components),
      pubsub: makeGossipsub(),
      autonat: autoNATv2(),
      dcutr: dcutr(),
      ...(options.relay ? { relay: relayServer() } : {}),
    },
  }
}

/** Whether this node knows an address of its own that the internet can route to. */
export function hasPublicAddress({ addressManager }: Components): boolean {
  return addressManager.getAddresses().some(isPublic)
}

// A relay does not look for relays: whoever reaches it needs none.
function listenAddresses({ listen, relay }: HostOptions): string[] {
  const circuits = relay ? 0 : RESERVATIONS_WANTED
  return [...listen, ...Array.from({ length: circuits }, () => '/p2p-circuit')]
}

/** Answers of the DHT name many peers: whether this node is public is looked up once a second at most. */
function publicNow(components: Components): () => boolean {
  let lookedAt = Number.NEGATIVE_INFINITY
  let isPublicNode = false
  return () => {
    const now = performance.now()
    if (now - lookedAt >= PUBLIC_MS) {
      isPublicNode = hasPublicAddress(components)
      lookedAt = now
    }
    return isPublicNode
  }
}

function dhtInit({ records = [] }: HostOptions, components: Components): KadDHTInit {
  const isPublicNow = publicNow(components)
  return {
    protocol: KAD_PROTOCOL,
    clientMode: false, // reachability.ts makes it a client once the node is known to be private
    allowQueryWithZeroPeers: true,
    alpha: QUERY_REQUESTS,
    disjointPaths: QUERY_PATHS,
    pingNewContactConcurrency: CONTACT_DIALS_AT_ONCE,
    pingNewContactTimeout: { minTimeout: CONTACT_TIMEOUT_MIN_MS },
    // In a mesh on one machine or network, private addresses are all there is.
    peerInfoMapper: (peer) => (isPublicNow() ? removePrivateAddressesMapper(peer) : peer),
    validators: Object.fromEntries(records.map((kind) => [kind.namespace, validatorOf(kind)])),
    selectors: Object.fromEntries(
      records.map((kind) => [
        kind.namespace,
        (key: Uint8Array, values: Uint8Array[]) => kind.select(nameOf(key, kind), values),
      ]),
    ),
  }
}

function validatorOf(kind: RecordKind): (key: Uint8Array, value: Uint8Array) => void {
  return (key, value) => {
    const valid = value.length <= kind.bytesMax && kind.validate(nameOf(key, kind), value)
    if (!valid) throw new Error(`not a valid ${kind.namespace} record`)
  }
}

// Keys are `/<namespace>/<name>`.
function nameOf(key: Uint8Array, { namespace }: RecordKind): Uint8Array {
  return new Uint8Array(key.subarray(namespace.length + 2))
}

function localDiscovery(onPeer: (peer: PeerInfo) => void): DiscoveryFactory {
  return (components) => {
    const discovery = mdns({ serviceTag: MDNS_SERVICE_TAG })(components)
    discovery.addEventListener('peer', ({ detail }) => onPeer(detail))
    return discovery
  }
}

function relayServer(): ReturnType<typeof circuitRelayServer> {
  return circuitRelayServer({
    maxInboundHopStreams: HOP_STREAMS_MAX,
    maxOutboundHopStreams: HOP_STREAMS_MAX,
    maxOutboundStopStreams: RESERVATIONS_MAX,
    reservations: {
      maxReservations: RESERVATIONS_MAX,
      reservationTtl: RESERVATION_TTL_MS,
      defaultDataLimit: CIRCUIT_BYTES_MAX,
      defaultDurationLimit: CIRCUIT_DURATION_MS,
    },
  })
}
