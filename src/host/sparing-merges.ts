// A peer store that skips what it was told just before. Floor 1.
//
// libp2p notes on every stream, at both ends, that the peer speaks its protocol: a lock, a read and a decoding each
// time, of what identify has said once. Pings alone make that hundreds of times a second in a group of fifty.
import type { Peer, PeerStore } from '@libp2p/interface'

/** Peers whose last merge is remembered. */
export const PEERS_MAX = 512

interface Told {
  readonly peer: Peer
  readonly protocols: Set<string>
}

/** Makes `merge` answer at once where it is given no more than one protocol that it was given before. */
export function sparingMerges(store: PeerStore): void {
  const told = new Map<string, Told>()
  const merge = store.merge.bind(store)
  const patch = store.patch.bind(store)
  const save = store.save.bind(store)
  const forget = store.delete.bind(store)

  store.merge = async (id, data, options) => {
    const name = id.toString()
    const [protocol, ...others] = data.protocols ?? []
    const isOne = protocol !== undefined && others.length === 0 && Object.keys(data).length === 1
    const before = told.get(name)
    if (isOne && before?.protocols.has(protocol) === true) return before.peer
    const peer = await merge(id, data, options)
    if (!isOne) return peer
    // As it is by now: what was deleted or replaced while this was written is told again the next time.
    const protocols = told.get(name)?.protocols ?? []
    told.delete(name)
    told.set(name, { peer, protocols: new Set([...protocols, protocol]) })
    const [oldest] = told.keys()
    if (told.size > PEERS_MAX && oldest !== undefined) told.delete(oldest)
    return peer
  }
  store.patch = (id, data, options) => {
    told.delete(id.toString())
    return patch(id, data, options).finally(() => told.delete(id.toString()))
  }
  store.save = (id, data, options) => {
    told.delete(id.toString())
    return save(id, data, options).finally(() => told.delete(id.toString()))
  }
  store.delete = (id, options) => {
    told.delete(id.toString())
    return forget(id, options).finally(() => told.delete(id.toString()))
  }
}
