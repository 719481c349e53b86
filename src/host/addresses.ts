// Addresses and peer IDs at the edge: libp2p's objects become text and brands here, once. Floor 1.
import type { PeerId as Libp2pPeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { getNetConfig, isLinkLocal, isLoopback, isNetworkAddress, isPrivate } from '@libp2p/utils'
import { CODE_P2P, CODE_P2P_CIRCUIT, multiaddr } from '@multiformats/multiaddr'
import type { Multiaddr } from '@multiformats/multiaddr'
import { parsePeerId } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'

/** Longest multiaddr text that is looked at; a relayed WebRTC address needs about 300. */
const ADDRESS_CHARS_MAX = 1_024

/** The libp2p object of a peer ID. */
export function toLibp2pPeerId(peer: PeerId): Libp2pPeerId {
  return peerIdFromString(peer)
}

/** The brand of a libp2p peer ID; undefined unless its key is Ed25519. */
export function toPeerId(peer: Libp2pPeerId): PeerId | undefined {
  return parsePeerId(peer.toString())
}

/** Parses a multiaddr; undefined if it is malformed or too long. */
export function parseAddress(text: string): Multiaddr | undefined {
  if (text.length > ADDRESS_CHARS_MAX) return undefined
  try {
    const address = multiaddr(text)
    // Bytes are what others will be sent: an address that has none is not one.
    return address.bytes.length > 0 ? address : undefined
  } catch {
    return undefined
  }
}

/** The peer an address ends at; undefined if it names none. */
export function peerOfAddress(address: Multiaddr): PeerId | undefined {
  const last = address.getComponents().at(-1)
  return last?.code === CODE_P2P && last.value !== undefined ? parsePeerId(last.value) : undefined
}

/** Puts `/p2p/<peer>` at the end; undefined if the address already ends at another peer. */
export function addressOfPeer(address: Multiaddr, peer: PeerId): Multiaddr | undefined {
  const last = address.getComponents().at(-1)
  if (last === undefined) return undefined
  if (last.code !== CODE_P2P) return address.encapsulate(`/p2p/${peer}`)
  return last.value === peer ? address : undefined
}

/** True if a connection over this address passes a relay all its life. */
export function isRelayed(address: Multiaddr): boolean {
  const names = address.getComponents().map(({ name }) => name)
  const circuit = names.lastIndexOf('p2p-circuit')
  // `…/p2p-circuit/webrtc/p2p/…` signals over the relay and then goes its own way.
  return circuit !== -1 && !names.includes('webrtc', circuit)
}

/** The relay an address passes through; undefined if there is none. */
export function relayOfAddress(address: Multiaddr): PeerId | undefined {
  const components = address.getComponents()
  const circuit = components.findIndex(({ code }) => code === CODE_P2P_CIRCUIT)
  const relay = circuit > 0 ? components[circuit - 1] : undefined
  return relay?.code === CODE_P2P && relay.value !== undefined
    ? parsePeerId(relay.value)
    : undefined
}

const TRANSPORT_NAMES: readonly (readonly [string, string])[] = [
  ['webrtc-direct', 'webrtc-direct'],
  ['webrtc', 'webrtc'],
  ['quic-v1', 'quic'],
  ['webtransport', 'webtransport'],
  ['ws', 'ws'],
  ['wss', 'ws'],
  ['memory', 'memory'],
  ['unix', 'unix'],
  ['tcp', 'tcp'],
]

/** Name of the transport an address belongs to; for a relayed one, that of the hop to the relay. */
export function transportOfAddress(address: Multiaddr): string {
  const names = address.getComponents().map(({ name }) => name)
  const known = TRANSPORT_NAMES.find(([component]) => names.includes(component))
  return known?.[1] ?? names.find((name) => name !== 'p2p') ?? 'unknown'
}

/** True if only this machine can reach the address: loopback, this process, or a socket file. */
export function isOwnMachine(address: Multiaddr): boolean {
  const [first] = address.getComponents()
  if (first === undefined) return false
  if (first.name === 'unix' || first.name === 'memory') return true
  if (first.name.startsWith('dns')) {
    return first.value === 'localhost' || first.value?.endsWith('.localhost') === true
  }
  return isNetworkAddress(address) && isLoopback(address)
}

/**
 * True for an address no remote peer may make us dial: it would reach this machine or its link, where services
 * trust whoever can connect.
 */
export function isSelfDirected(address: Multiaddr): boolean {
  if (isOwnMachine(address)) return true
  if (!isNetworkAddress(address)) return false
  const { host } = getNetConfig(address)
  // IPv4 inside IPv6 has no honest use in an announcement, and would hide a loopback address.
  if (/^::(ffff:)?[\da-f]/i.test(host)) return true
  return isLinkLocal(address) || host.startsWith('0.') || /^[0:]+$/.test(host)
}

/** True if the whole internet can route to the address, relays not counted. */
export function isPublic(address: Multiaddr): boolean {
  if (address.getComponents().some(({ code }) => code === CODE_P2P_CIRCUIT)) return false
  return isNetworkAddress(address) && !isPrivate(address) && !isSelfDirected(address)
}

/** Orders addresses for others: what they can use best comes first; loopback helps only those on this machine. */
export function shareRank(address: Multiaddr): number {
  if (isRelayed(address)) return 2
  if (isPublic(address)) return 0
  return isOwnMachine(address) ? 3 : 1
}
