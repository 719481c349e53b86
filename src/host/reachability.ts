// Whether the internet can reach this node, as AutoNAT and its own addresses show it. Floor 1.
import type { Multiaddr } from '@multiformats/multiaddr'
import { isPublic } from './addresses.ts'
import { hasPublicAddress } from './libp2p-options.ts'
import type { HostServices } from './libp2p-options.ts'
import type { Reachability } from './types.ts'

/** How long AutoNAT has to confirm an address that peers see, before the node counts as private. */
const VERIFY_MS = 90_000

/** How often the DHT's mode follows. */
const CHECK_INTERVAL_MS = 30_000

/** Watches own addresses; a node known to be private stops serving the DHT, which could not reach it. */
export class ReachabilityWatch {
  readonly #services: HostServices
  readonly #timer: NodeJS.Timeout
  #seenPublicAtMs: number | undefined

  constructor(services: HostServices) {
    this.#services = services
    this.#timer = setInterval(() => void this.#follow(), CHECK_INTERVAL_MS).unref()
  }

  /** Notes the address from which a peer sees this node. */
  observed(address: Multiaddr | undefined): void {
    if (address !== undefined && isPublic(address)) this.#seenPublicAtMs ??= performance.now()
  }

  current(): Reachability {
    if (hasPublicAddress(this.#services.parts.of)) return 'public'
    // Peers on the internet see a public address and AutoNAT could not confirm one: something is in between.
    const seenAt = this.#seenPublicAtMs
    return seenAt !== undefined && performance.now() - seenAt > VERIFY_MS ? 'private' : 'unknown'
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #follow(): Promise<void> {
    const mode = this.current() === 'private' ? 'client' : 'server'
    await this.#services.dht.setMode(mode).catch(() => undefined) // tried again at the next check
  }
}
