// Reaching a peer: known addresses at once, relays a moment later, the DHT where those do not do. Floor 1.
// libp2p dials one address after the other, so two dead ones would eat the time for the third; this does not.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, Libp2p } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { Multiaddr } from '@multiformats/multiaddr'
import { parseUtf8, utf8 } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import {
  addressOfPeer,
  isOwnMachine,
  isPublic,
  isRelayed,
  peerOfAddress,
  relayOfAddress,
  toLibp2pPeerId,
  toPeerId,
} from './addresses.ts'
import type { AddressPolicy } from './gater.ts'
import { ADDRESS_DIAL_TIMEOUT_MS, DIAL_TIMEOUT_MS } from './libp2p-options.ts'
import type { HostServices } from './libp2p-options.ts'
import { Race } from './race.ts'
import { abortable, listenable, whileRunning } from './signals.ts'
import { Slots } from './slots.ts'

/** Head start of direct addresses over relayed ones. */
const RELAY_DELAY_MS = 250

/** When the DHT is asked although addresses are known: they may be old. */
const LOOKUP_DELAY_MS = 1_000

/** Dials of the whole host at once. */
const DIALS_AT_ONCE = 64

/** Addresses of one peer that are tried, best first. */
const ADDRESSES_TRIED_MAX = 16

/** Relays asked for a peer that has not named any. */
const RELAY_GUESSES_MAX = 4

/** Metadata of a peer that was reached: the address that did it. */
export const GOOD_ADDRESS_KEY = 'conclave-good-address'

interface Attempt {
  readonly promise: Promise<Connection>
  readonly controller: AbortController
  waiterCount: number
}

/** Dials peers; concurrent calls for one peer share an attempt. */
export class Dialler {
  readonly #node: Libp2p<HostServices>
  readonly #policy: AddressPolicy
  readonly #slots: Slots = new Slots(DIALS_AT_ONCE)
  readonly #attempts = new Map<PeerId, Attempt>()
  readonly #shutdown = new AbortController()
  /** Whether a connected peer said that it relays; the host tells. */
  isRelay: (peer: PeerId | undefined) => boolean = () => false

  constructor(node: Libp2p<HostServices>, policy: AddressPolicy) {
    this.#node = node
    this.#policy = policy
    listenable(this.#shutdown.signal)
  }

  /**
   * Connects to a peer; the connection may be relayed, and a direct one may follow.
   *
   * @throws ConclaveError `NETWORK_UNREACHABLE` with `data.tried`; `AbortError` on `signal`.
   */
  async connect(peer: PeerId, signal?: AbortSignal): Promise<Connection> {
    const attempt = this.#attempts.get(peer) ?? this.#begin(peer)
    attempt.waiterCount += 1
    try {
      return await (signal === undefined ? attempt.promise : abortable(attempt.promise, signal))
    } finally {
      attempt.waiterCount -= 1
      if (attempt.waiterCount === 0) attempt.controller.abort()
    }
  }

  /** Addresses known for a peer, best first, each ending in its peer ID. */
  async known(peer: PeerId): Promise<Multiaddr[]> {
    const { peerStore } = this.#node
    const id = toLibp2pPeerId(peer)
    if (!(await peerStore.has(id))) return []
    const { addresses, metadata } = await peerStore.get(id)
    const good = parseUtf8(metadata.get(GOOD_ADDRESS_KEY) ?? new Uint8Array(0))
    const full = new Map<string, Multiaddr>() // the store keeps an address with and without its peer ID
    for (const { multiaddr: address } of addresses) {
      const ending = addressOfPeer(address, peer)
      if (ending !== undefined) full.set(ending.toString(), ending)
    }
    const rank = (address: Multiaddr): number =>
      address.toString() === good ? -1 : rankOf(address)
    return [...full.values()].sort((a, b) => rank(a) - rank(b))
  }

  /**
   * Tries the direct addresses of a peer that a relay leads to, once; identify has just told them.
   *
   * @returns whether a direct connection is there now.
   */
  async upgrade(peer: PeerId, delayMs: number): Promise<boolean> {
    const signal = listenable(
      AbortSignal.any([this.#shutdown.signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]),
    )
    const race = new Race((address, one) => this.dialOne(address, one), signal)
    try {
      await sleep(delayMs, undefined, { signal, ref: false })
      if (this.#hasDirect(peer)) return true
      const direct = (await this.known(peer)).filter((address) => !isRelayed(address))
      race.finish(await race.run(direct.slice(0, ADDRESSES_TRIED_MAX), 0))
      return true
    } catch {
      race.finish()
      return false // the relay goes on serving
    }
  }

  /** Dials one address and nothing else; the caller owns the connection. */
  async dialOne(address: Multiaddr, signal: AbortSignal): Promise<Connection> {
    const limit = AbortSignal.timeout(ADDRESS_DIAL_TIMEOUT_MS)
    return whileRunning([signal, this.#shutdown.signal, limit], (timely) =>
      this.#slots.use(async () => {
        if (!this.#policy.mayDial(address)) {
          throw new ConclaveError('LIMIT_DENIED', 'address of this machine, named by a remote peer')
        }
        const connection = await this.#dialTransport(address, timely)
        // Not every transport looks: an upgrade may outlive its signal, or skip the proof of who answers.
        const peer = toPeerId(connection.remotePeer)
        if (!timely.aborted && peer === peerOfAddress(address)) return connection
        connection.abort(new Error('dial not wanted any more'))
        timely.throwIfAborted()
        throw new ConclaveError('VERIFY_IDENTITY_MISMATCH', `${String(peer)} answered instead`)
      }, timely),
    )
  }

  #hasDirect(peer: PeerId): boolean {
    const connections = this.#node.getConnections(toLibp2pPeerId(peer))
    return connections.some(({ status, limits }) => status === 'open' && limits === undefined)
  }

  async #dialTransport(address: Multiaddr, signal: AbortSignal): Promise<Connection> {
    // `dnsaddr` stands for other addresses; libp2p resolves those.
    if (address.toString().startsWith('/dnsaddr/')) return this.#node.dial(address, { signal })
    return this.#node.services.parts.of.transportManager.dial(address, { signal })
  }

  /** Ends every dial. */
  close(): void {
    this.#shutdown.abort()
  }

  #begin(peer: PeerId): Attempt {
    const controller = new AbortController()
    const signal = listenable(
      AbortSignal.any([
        controller.signal,
        this.#shutdown.signal,
        AbortSignal.timeout(DIAL_TIMEOUT_MS),
      ]),
    )
    const promise = this.#race(peer, signal).finally(() => this.#attempts.delete(peer))
    promise.catch(() => undefined) // a caller that gave up does not listen any more
    const attempt = { promise, controller, waiterCount: 0 }
    this.#attempts.set(peer, attempt)
    return attempt
  }

  async #race(peer: PeerId, signal: AbortSignal): Promise<Connection> {
    const race = new Race((address, one) => this.dialOne(address, one), signal)
    const known = (await this.known(peer)).slice(0, ADDRESSES_TRIED_MAX)
    const direct = known.filter((address) => !isRelayed(address))
    const relayed = known.filter(isRelayed)
    const guesses = this.#relayGuesses(peer, relayed)
    try {
      const connection = await Promise.any([
        race.run(direct, 0),
        race.run([...relayed, ...guesses], direct.length === 0 ? 0 : RELAY_DELAY_MS),
        this.#lookUp(peer, race, known),
      ])
      race.finish(connection)
      this.#remember(peer, connection)
      return connection
    } catch (cause) {
      race.finish()
      signal.throwIfAborted()
      throw new ConclaveError('NETWORK_UNREACHABLE', `no way to ${peer} found`, {
        cause,
        hint:
          race.tried.length === 0
            ? 'no address is known: give one, or connect to a bootstrap peer that knows'
            : `conclave why ${peer} says what each address answered`,
        data: { tried: race.tried },
      })
    }
  }

  async #lookUp(peer: PeerId, race: Race, known: readonly Multiaddr[]): Promise<Connection> {
    if (known.length > 0) await sleep(LOOKUP_DELAY_MS, undefined, { signal: race.signal })
    // A peer that is kept has a row in the peer store, with or without an address: the library would answer from that.
    const { multiaddrs } = await this.#node.peerRouting.findPeer(toLibp2pPeerId(peer), {
      signal: race.signal,
      useCache: known.length > 0,
    })
    const old = new Set(known.map(String))
    const found = multiaddrs
      .flatMap((address) => addressOfPeer(multiaddr(address), peer) ?? [])
      .filter((address) => !old.has(address.toString()))
      .sort((a, b) => rankOf(a) - rankOf(b))
      .slice(0, ADDRESSES_TRIED_MAX)
    const direct = found.filter((address) => !isRelayed(address))
    const delay = direct.length === 0 ? 0 : RELAY_DELAY_MS
    return Promise.any([race.run(direct, 0), race.run(found.filter(isRelayed), delay)])
  }

  /** Circuits over relays that are connected: a relay says at once if the peer has no reservation there. */
  #relayGuesses(peer: PeerId, relayed: readonly Multiaddr[]): Multiaddr[] {
    const named = new Set(relayed.map(relayOfAddress))
    return this.#node
      .getConnections()
      .filter(({ limits, remotePeer }) => {
        const relay = toPeerId(remotePeer)
        return limits === undefined && relay !== peer && !named.has(relay)
      })
      .filter(({ remotePeer }) => this.isRelay(toPeerId(remotePeer)))
      .slice(0, RELAY_GUESSES_MAX)
      .map(({ remoteAddr }) => remoteAddr.encapsulate(`/p2p-circuit/p2p/${peer}`))
  }

  #remember(peer: PeerId, { remoteAddr }: Connection): void {
    const address = addressOfPeer(remoteAddr, peer)
    if (address === undefined) return
    const now = utf8(String(Date.now()))
    void this.#node.peerStore
      .merge(toLibp2pPeerId(peer), {
        multiaddrs: [remoteAddr],
        metadata: { 'last-dial-success': now, [GOOD_ADDRESS_KEY]: utf8(address.toString()) },
      })
      .catch(() => undefined) // a closing host has no store any more
  }
}

// Own machine and network first: they are near, and the peer is there or not at once.
function rankOf(address: Multiaddr): number {
  if (isRelayed(address)) return 3
  if (isPublic(address)) return 2
  return isOwnMachine(address) ? 0 : 1
}
