// What is remembered about peers beyond libp2p's peer store, and the bounds that the store lacks. Floor 1.
import type { IdentifyResult, PeerStore } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { PeerId } from '../../protocols/base/ids.ts'
import { toLibp2pPeerId, toPeerId } from './addresses.ts'
import { GOOD_ADDRESS_KEY } from './dial.ts'

/** Addresses kept for one peer. */
const ADDRESSES_MAX = 32

/** Characters kept of the agent version that a peer claims. */
const AGENT_CHARS_MAX = 128

/** Peers kept in the store; the DHT tells of more. */
const PEERS_MAX = 5_000

const OWN_PREFIX = '/conclave/'
/** Protocols remembered of one peer. */
const OWN_PROTOCOLS_MAX = 32

const RELAY_PROTOCOL = '/libp2p/circuit/relay/0.2.0/hop'

interface Identified {
  readonly agent: string | undefined
  readonly relay: boolean
  /** Protocols of this system that it speaks. */
  readonly protocols: readonly string[]
}

/** Facts about connected peers, and addresses of any. */
export class PeerBook {
  readonly #store: PeerStore
  readonly #identified = new Map<PeerId, Identified>()

  readonly #peersMax: number

  constructor(store: PeerStore, peersMax: number = PEERS_MAX) {
    this.#store = store
    this.#peersMax = peersMax
  }

  /** Adds addresses of a peer; those that count as new push out what is beyond the bound. */
  async add(peer: PeerId, addresses: readonly Multiaddr[]): Promise<void> {
    const multiaddrs = addresses.slice(0, ADDRESSES_MAX)
    await this.#store.merge(toLibp2pPeerId(peer), { multiaddrs })
    await this.#trim(peer)
  }

  /** Takes over what identify reported. */
  identified(peer: PeerId, { agentVersion, protocols }: IdentifyResult): void {
    const agent = agentVersion?.replaceAll(/[^\x20-\x7e]/g, '').slice(0, AGENT_CHARS_MAX)
    const own = protocols.filter((one) => one.startsWith(OWN_PREFIX)).slice(0, OWN_PROTOCOLS_MAX)
    const relay = protocols.includes(RELAY_PROTOCOL)
    this.#identified.set(peer, { agent, relay, protocols: own })
    void this.#trim(peer).catch(() => undefined) // a closing host has no store any more
  }

  /** The agent version that a connected peer claims. */
  agentOf(peer: PeerId): string | undefined {
    return this.#identified.get(peer)?.agent
  }

  /** Connected peers that say they speak a protocol of this system. */
  speaking(protocol: string): PeerId[] {
    const found = [...this.#identified].filter(([, { protocols }]) => protocols.includes(protocol))
    return found.map(([peer]) => peer)
  }

  /** Whether a connected peer says that it relays. */
  isRelay(peer: PeerId): boolean {
    return this.#identified.get(peer)?.relay === true
  }

  /** Drops what only matters while connected. */
  forget(peer: PeerId): void {
    this.#identified.delete(peer)
  }

  /** Forgets peers beyond the bound: those never reached first, those in use never. */
  async prune(inUse: (peer: PeerId) => boolean): Promise<void> {
    const peers = await this.#store.all()
    if (peers.length <= this.#peersMax) return
    const idle = peers.filter(({ id }) => {
      const peer = toPeerId(id)
      return peer === undefined || !inUse(peer)
    })
    const reached = idle.filter(({ metadata }) => metadata.has(GOOD_ADDRESS_KEY))
    const never = idle.filter(({ metadata }) => !metadata.has(GOOD_ADDRESS_KEY))
    const excess = [...never, ...reached].slice(0, peers.length - this.#peersMax)
    for (const { id } of excess) await this.#store.delete(id)
  }

  async #trim(peer: PeerId): Promise<void> {
    const id = toLibp2pPeerId(peer)
    const { addresses } = await this.#store.get(id)
    if (addresses.length <= ADDRESSES_MAX) return
    // Signed addresses first: anybody may claim the others.
    const kept = addresses.toSorted((a, b) => Number(b.isCertified) - Number(a.isCertified))
    await this.#store.patch(id, { addresses: kept.slice(0, ADDRESSES_MAX) })
  }
}
