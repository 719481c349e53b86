// A random walk over the DHT that rests between its queries. Floor 1.
// libp2p's own asks again as soon as an answer is there: with no peers that never lets the process breathe, and
// in a small network without relays it asks the same few peers all day.
import { setTimeout as sleep } from 'node:timers/promises'
import type { PeerInfo, PeerRouting } from '@libp2p/interface'
import { listenable } from './signals.ts'
import type { Components } from './transports.ts'
import type { AbortOptions } from './types.ts'

/** Rest before the first query; doubles with each, and grows faster after one that met only those met before. */
export const REST_FIRST_MS = 5_000
export const REST_MAX_MS: number = 10 * 60 * 1_000
const GROWTH = 2
const GROWTH_AMONG_KNOWN = 8

/** Peers that are remembered as met. */
const MET_MAX = 1_024

/** How long one query may take. */
export const QUERY_TIMEOUT_MS = 30_000

/** Octets of the random key that a query goes towards. */
const KEY_BYTES = 32

/** Answers the replacement of `randomWalk.walk`: peers met on the way to random keys, without end. */
export function makePacedWalk(
  components: Components,
): (options?: AbortOptions) => AsyncGenerator<PeerInfo> {
  return async function* walk({ signal }: AbortOptions = {}): AsyncGenerator<PeerInfo> {
    const met = new Set<string>()
    for (let restMs = REST_FIRST_MS; ;) {
      await sleep(restMs, undefined, signal === undefined ? { ref: false } : { signal, ref: false })
      const timeout = AbortSignal.timeout(QUERY_TIMEOUT_MS)
      const within = listenable(signal === undefined ? timeout : AbortSignal.any([signal, timeout]))
      const key = crypto.getRandomValues(new Uint8Array(KEY_BYTES))
      let [oldCount, newCount] = [0, 0]
      try {
        for await (const peer of closest(components, key, within)) {
          const name = peer.id.toString()
          if (met.has(name)) oldCount += 1
          else newCount += 1
          if (met.size < MET_MAX) met.add(name)
          yield peer
        }
      } catch {
        signal?.throwIfAborted() // a query that failed is followed by the next
      }
      const growth = newCount === 0 && oldCount > 0 ? GROWTH_AMONG_KNOWN : GROWTH
      restMs = Math.min(restMs * growth, REST_MAX_MS)
    }
  }
}

/** The router's parts that its interface leaves out. */
interface RouterParts {
  readonly routers: readonly PeerRouting[]
}

/**
 * Asks the routers themselves. libp2p looks up each peer that they name without addresses, by one more query each;
 * but they name whom they have just talked to, so the peer store has the addresses.
 */
async function* closest(
  { peerRouting, peerStore }: Components,
  key: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<PeerInfo> {
  const { routers } = peerRouting as typeof peerRouting & RouterParts
  for (const router of routers) {
    for await (const peer of router.getClosestPeers(key, { signal })) {
      const isKnown = peer.multiaddrs.length > 0
      yield isKnown ? peer : await peerStore.getInfo(peer.id, { signal }).catch(() => peer)
    }
  }
}
