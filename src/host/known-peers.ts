// A peer store that remembers what it has read and written, and skips what it knows. Floor 1.
//
// libp2p notes on every stream, at both ends, that the peer speaks its protocol, and every answer of the DHT reads
// and notes twenty peers: a lock, a read and a decoding each time, nearly always of what is known. In a group of
// fifty that is thousands of times a second.
import type { Peer, PeerData, PeerId, PeerStore, Tag } from '@libp2p/interface'
import { equalBytes } from '../../protocols/base/bytes.ts'

/** Peers that are remembered. */
const PEERS_MAX = 1_024

/** What is remembered is read and written anew after this: the store dates addresses by it. */
const KNOWN_MS: number = 10 * 60 * 1_000

interface Known {
  readonly peer: Peer
  readonly addresses: ReadonlySet<string>
  readonly sinceMs: number
}

/** Makes a store answer from memory what it was asked or told before. */
export function rememberPeers(store: PeerStore): void {
  const known = new Map<string, Known>()
  /** Writes under way, by peer, and all that have begun. */
  const writing = new Map<string, number>()
  let begunCount = 0

  const recall = (name: string): Known | undefined => {
    const found = known.get(name)
    return found !== undefined && Date.now() - found.sinceMs < KNOWN_MS ? found : undefined
  }
  const remember = (name: string, peer: Peer): void => {
    known.delete(name)
    // A tag with an end is gone without a write.
    if ([...peer.tags.values()].some((tag) => 'expiry' in tag)) return
    const addresses = new Set(peer.addresses.map(({ multiaddr }) => multiaddr.toString()))
    known.set(name, { peer, addresses, sinceMs: Date.now() })
    const [oldest] = known.keys()
    if (known.size > PEERS_MAX && oldest !== undefined) known.delete(oldest)
  }
  const write = async <T extends Peer | undefined>(
    id: PeerId,
    run: () => Promise<T>,
  ): Promise<T> => {
    const name = id.toString()
    known.delete(name)
    begunCount += 1
    writing.set(name, (writing.get(name) ?? 0) + 1)
    let peer: Peer | undefined
    try {
      const result = await run()
      peer = result
      return result
    } finally {
      const left = (writing.get(name) ?? 1) - 1
      if (left > 0) writing.set(name, left)
      else writing.delete(name)
      if (left === 0 && peer !== undefined) remember(name, peer)
      else known.delete(name)
    }
  }

  const get = store.get.bind(store)
  const has = store.has.bind(store)
  const merge = store.merge.bind(store)
  const patch = store.patch.bind(store)
  const save = store.save.bind(store)
  const remove = store.delete.bind(store)

  store.get = async (id, options) => {
    const name = id.toString()
    const found = recall(name)
    if (found !== undefined) return copyOf(found.peer)
    const begunBefore = begunCount
    const peer = await get(id, options)
    if (begunBefore === begunCount && !writing.has(name)) remember(name, peer)
    return peer
  }
  store.has = async (id, options) => recall(id.toString()) !== undefined || has(id, options)
  store.merge = async (id, data, options) => {
    const found = recall(id.toString())
    if (found !== undefined && holds(found, id, data)) return copyOf(found.peer)
    return write(id, () => merge(id, data, options))
  }
  store.patch = (id, data, options) => write(id, () => patch(id, data, options))
  store.save = (id, data, options) => write(id, () => save(id, data, options))
  store.delete = async (id, options) => {
    await write(id, () => remove(id, options).then(() => undefined))
  }
}

/** Callers may sort what they get. */
function copyOf(peer: Peer): Peer {
  return {
    ...peer,
    addresses: [...peer.addresses],
    protocols: [...peer.protocols],
    metadata: new Map(peer.metadata),
    tags: new Map(peer.tags),
  }
}

const MERGED: ReadonlySet<string> = new Set(['multiaddrs', 'protocols', 'metadata', 'tags'])

/** True if a merge would change nothing. */
function holds({ peer, addresses }: Known, id: PeerId, data: PeerData): boolean {
  if (Object.keys(data).some((key) => !MERGED.has(key))) return false
  const { multiaddrs = [], protocols = [], metadata = {}, tags = {} } = data
  const ending = `/p2p/${id.toString()}`
  const isHeld = (address: string): boolean =>
    addresses.has(address.endsWith(ending) ? address.slice(0, -ending.length) : address)
  return (
    protocols.every((protocol) => peer.protocols.includes(protocol)) &&
    multiaddrs.every((address) => isHeld(address.toString())) &&
    entriesOf(metadata).every(([key, value]) => isSameValue(peer.metadata.get(key), value)) &&
    entriesOf(tags).every(([key, value]) => isSameTag(peer.tags.get(key), value))
  )
}

function entriesOf<T>(values: Map<string, T> | Record<string, T>): [string, T][] {
  return values instanceof Map ? [...values] : Object.entries(values)
}

function isSameValue(held: Uint8Array | undefined, told: Uint8Array | undefined): boolean {
  if (held === undefined || told === undefined) return held === told
  return equalBytes(new Uint8Array(held), new Uint8Array(told))
}

function isSameTag(
  held: Tag | undefined,
  told: { readonly value?: number; readonly ttl?: number } | undefined,
): boolean {
  if (held === undefined || told === undefined) return held === told
  return told.ttl === undefined && held.value === (told.value ?? 0)
}
