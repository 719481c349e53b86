// Whom this node dials and whom it lets in. Floor 1.
// A remote peer chooses the addresses it announces; without a filter it could make this node connect to services
// on its own machine or link.
import type { ConnectionGater } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { isOwnMachine, isSelfDirected, relayOfAddress, toPeerId } from './addresses.ts'
import type { PeerId } from '../../protocols/base/ids.ts'

/** Addresses the operator named that would otherwise be refused; the oldest is forgotten first. */
const NAMED_ADDRESSES_MAX = 1_024

/** Decides about addresses. A node all of whose own addresses are loopback (demo, tests) may dial loopback. */
export class AddressPolicy {
  readonly #configured: readonly Multiaddr[]
  readonly #named = new Set<string>()
  /** Addresses bound now, and whether a peer is connected; set once the host runs. */
  bound: () => readonly Multiaddr[] = () => []
  isConnected: (peer: PeerId) => boolean = () => false

  constructor(configured: readonly Multiaddr[]) {
    this.#configured = configured
  }

  /** Notes an address that the operator gave: it may be dialled whatever it points at. */
  allow(address: Multiaddr): void {
    if (!isSelfDirected(address)) return
    this.#named.add(keyOf(address))
    if (this.#named.size <= NAMED_ADDRESSES_MAX) return
    const [oldest] = this.#named
    if (oldest !== undefined) this.#named.delete(oldest)
  }

  /** Whether the address may be dialled. */
  mayDial(address: Multiaddr): boolean {
    if (!isSelfDirected(address)) return true
    if (this.#named.has(keyOf(address)) || this.#isLocalNode()) return true
    // Over a relay that is connected already, nothing new is dialled.
    const relay = relayOfAddress(address)
    return relay !== undefined && this.isConnected(relay)
  }

  #isLocalNode(): boolean {
    const bound = this.bound().filter((address) => relayOfAddress(address) === undefined)
    const own = bound.length > 0 ? bound : this.#configured
    return own.length > 0 && own.every(isOwnMachine)
  }
}

// The part that names the machine: the peer ID at the end may be there or not.
function keyOf(address: Multiaddr): string {
  return address.toString().replace(/\/p2p\/[^/]+$/, '')
}

/** The gater libp2p asks. Peers whose key is not Ed25519 have no `PeerId` here and stay out. */
export function makeGater(policy: AddressPolicy): ConnectionGater {
  return {
    denyDialMultiaddr: (address) => !policy.mayDial(address),
    denyDialPeer: (peer) => toPeerId(peer) === undefined,
    denyInboundEncryptedConnection: (peer) => toPeerId(peer) === undefined,
    denyOutboundEncryptedConnection: (peer) => toPeerId(peer) === undefined,
    filterMultiaddrForPeer: (_peer, address) => policy.mayDial(address),
  }
}
