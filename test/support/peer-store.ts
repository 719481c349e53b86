// libp2p's peer store without libp2p, over storage in memory.
import { TypedEventEmitter } from '@libp2p/interface'
import type { Libp2pEvents, Logger, PeerStore } from '@libp2p/interface'
import { persistentPeerStore } from '@libp2p/peer-store'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { toLibp2pPeerId } from '../../src/host/addresses.ts'
import { HostDatastore } from '../../src/host/datastore.ts'
import { memoryStorage } from './hosts.ts'

const nothing = (): undefined => undefined

/** A logger that says nothing. */
export const SILENT: Logger = Object.assign(nothing, {
  enabled: false,
  error: nothing,
  trace: nothing,
  newScope: (): Logger => SILENT,
})

/** Opens a peer store for as long as `use` takes. */
export async function withPeerStore(use: (store: PeerStore) => Promise<void>): Promise<void> {
  const datastore = new HostDatastore(memoryStorage())
  const store = persistentPeerStore({
    peerId: toLibp2pPeerId(peerIdFromPublicKey(new Uint8Array(32).fill(99))),
    datastore,
    events: new TypedEventEmitter<Libp2pEvents>(),
    logger: { forComponent: () => SILENT },
  })
  await use(store)
  await datastore.close()
}
