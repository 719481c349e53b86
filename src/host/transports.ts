// Built-in transports by name, users' own by factory; each address belongs to one of them. Floor 1.
import type { Transport } from '@libp2p/interface'
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { memory } from '@libp2p/memory'
import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import type { Libp2pInit } from 'libp2p'
import type { Multiaddr } from '@multiformats/multiaddr'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { STREAMS_MAX, STREAM_WINDOW_BYTES_MAX } from './stream-limits.ts'
import { withOwnMuxer } from './quic-muxer.ts'
import { gatheringWrites } from './tcp-gathering.ts'

/** Names of the transports that come with the program. */
export const TRANSPORT_NAMES = ['tcp', 'ws', 'webrtc-direct', 'webrtc', 'quic', 'memory'] as const

/** A built-in transport. */
export type TransportName = (typeof TRANSPORT_NAMES)[number]

/** Any libp2p v3 transport factory: `(components) => Transport`. */
export type TransportFactory = NonNullable<Libp2pInit['transports']>[number]

/** libp2p's internal parts, as every factory is given them. */
export type Components = Parameters<TransportFactory>[0]

/** True for the name of a built-in transport. */
export function isTransportName(text: string): text is TransportName {
  return (TRANSPORT_NAMES as readonly string[]).includes(text)
}

/**
 * Answers the built-in transports that work here and are worth having by default: TCP and WebSocket always, WebRTC
 * and QUIC where their binary loads.
 */
export async function defaultTransports(): Promise<TransportName[]> {
  const names: TransportName[] = ['tcp', 'ws']
  for (const name of ['webrtc', 'webrtc-direct', 'quic'] as const) {
    if (await isAvailable(name)) names.push(name)
  }
  return names
}

/** Whether a built-in transport works on this machine. */
export async function isAvailable(name: TransportName): Promise<boolean> {
  try {
    await factoryOf(name)
    return true
  } catch {
    return false
  }
}

/**
 * Loads transports for a host: users' factories first, then names, the relay transport last. An address that an
 * earlier one claims is invisible to later ones, since libp2p would listen on it with every transport that matches.
 *
 * @throws ConclaveError `TRANSPORT_UNAVAILABLE` if a named one has no binary here.
 */
export async function loadTransports(
  transports: readonly (TransportName | TransportFactory)[],
): Promise<TransportFactory[]> {
  const names = [...new Set(transports.filter((one) => typeof one === 'string'))]
  const own = transports.filter((one) => typeof one !== 'string')
  const builtIn = await Promise.all(names.map(factoryOf))
  const earlier: Transport[] = []
  return [...own, ...builtIn, relayTransport()].map((factory) => (components) => {
    const transport = factory(components)
    claimExclusively(transport, [...earlier])
    earlier.push(transport)
    return transport
  })
}

function claimExclusively(transport: Transport, earlier: readonly Transport[]): void {
  const listens = transport.listenFilter.bind(transport)
  const dials = transport.dialFilter.bind(transport)
  const free = (claims: (one: Transport, address: Multiaddr) => Multiaddr[]) => {
    return (address: Multiaddr): boolean =>
      earlier.every((one) => claims(one, address).length === 0)
  }
  transport.listenFilter = (addresses) =>
    listens(addresses).filter(free((one, address) => one.listenFilter([address])))
  transport.dialFilter = (addresses) =>
    dials(addresses).filter(free((one, address) => one.dialFilter([address])))
}

/** Reservations to ask for at once; the second is there when the first relay goes. */
const RESERVATIONS_AT_ONCE = 2

/** Bytes that all streams of a QUIC connection may have on the way together. */
const CONNECTION_WINDOW_BYTES_MAX: number = 8 * 1024 * 1024

/** How long a relay may take to answer a reservation. */
const RESERVATION_TIMEOUT_MS = 5_000

function relayTransport(): TransportFactory {
  const factory = circuitRelayTransport({
    reservationConcurrency: RESERVATIONS_AT_ONCE,
    reservationCompletionTimeout: RESERVATION_TIMEOUT_MS,
  })
  return (components) => {
    const transport = factory(components)
    // A node that still wants a relay would dial every peer whose address it learns, and tell each that it exists.
    // Relays are found among connected peers, and by the paced walk over the DHT.
    const { discovery } = transport as { readonly discovery?: { onPeer: () => void } }
    if (discovery !== undefined) discovery.onPeer = () => undefined
    return transport
  }
}

// Not a literal: the package's types refer to one that it does not ship, and would fail every type check.
const QUIC_PACKAGE: string = '@chainsafe/libp2p-quic'

interface QuicPackage {
  readonly quic: (options: Readonly<Record<string, number>>) => TransportFactory
}

async function factoryOf(name: TransportName): Promise<TransportFactory> {
  switch (name) {
    case 'tcp':
      return (components) => gatheringWrites(tcp()(components))
    case 'ws':
      return webSockets()
    case 'memory':
      return memory()
    case 'webrtc':
    case 'webrtc-direct': {
      const { webRTC, webRTCDirect } = await loading(name, () => import('@libp2p/webrtc'))
      // No STUN server of a third party: it would learn who talks and when.
      const init = { rtcConfiguration: { iceServers: [] } }
      return name === 'webrtc' ? webRTC(init) : webRTCDirect(init)
    }
    case 'quic': {
      const { quic } = await loading(name, () => import(QUIC_PACKAGE) as Promise<QuicPackage>)
      const factory = quic({
        maxConcurrentStreamLimit: STREAMS_MAX,
        maxStreamData: STREAM_WINDOW_BYTES_MAX,
        maxConnectionData: CONNECTION_WINDOW_BYTES_MAX,
      })
      return (components) => withOwnMuxer(factory(components))
    }
  }
}

async function loading<T>(name: TransportName, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (cause) {
    throw new ConclaveError('TRANSPORT_UNAVAILABLE', `transport ${name} does not load here`, {
      cause,
      hint: `its optional package has no binary for ${process.platform}-${process.arch}; leave ${name} out of --transport`,
    })
  }
}
