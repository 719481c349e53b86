import { TypedEventEmitter } from '@libp2p/interface'
import type { Libp2pEvents, Logger, PeerStore } from '@libp2p/interface'
import { persistentPeerStore } from '@libp2p/peer-store'
import { multiaddr } from '@multiformats/multiaddr'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { toLibp2pPeerId } from '../../src/host/addresses.ts'
import { HostDatastore } from '../../src/host/datastore.ts'
import { rememberPeers } from '../../src/host/known-peers.ts'
import { memoryStorage } from '../support/hosts.ts'

const test = suite('host · known peers')
const nothing = (): undefined => undefined
const silent: Logger = Object.assign(nothing, {
  enabled: false,
  error: nothing,
  trace: nothing,
  newScope: (): Logger => silent,
})
const [self, peer] = [1, 2].map((fill) =>
  toLibp2pPeerId(peerIdFromPublicKey(new Uint8Array(32).fill(fill))),
) as [ReturnType<typeof toLibp2pPeerId>, ReturnType<typeof toLibp2pPeerId>]
const [near, far] = ['/ip4/10.0.0.1/tcp/1', '/ip4/10.0.0.2/tcp/2'].map(multiaddr) as [
  ReturnType<typeof multiaddr>,
  ReturnType<typeof multiaddr>,
]

class CountingDatastore extends HostDatastore {
  reads = 0
  writes = 0

  override get(...args: Parameters<HostDatastore['get']>): ReturnType<HostDatastore['get']> {
    this.reads += 1
    return super.get(...args)
  }

  override put(...args: Parameters<HostDatastore['put']>): ReturnType<HostDatastore['put']> {
    this.writes += 1
    return super.put(...args)
  }
}

function open(): { readonly store: PeerStore; readonly datastore: CountingDatastore } {
  const datastore = new CountingDatastore(memoryStorage())
  const store = persistentPeerStore({
    peerId: self,
    datastore,
    events: new TypedEventEmitter<Libp2pEvents>(),
    logger: { forComponent: () => silent },
  })
  rememberPeers(store)
  return { store, datastore }
}

test('what is known is neither read nor written again', async () => {
  const { store, datastore } = open()
  const told = {
    multiaddrs: [near],
    protocols: ['/a'],
    tags: { kept: { value: 5 } },
    metadata: { good: Uint8Array.of(1) },
  }
  await store.merge(peer, told)
  const { reads, writes } = datastore
  const again = await store.merge(peer, told)
  await store.merge(peer, { multiaddrs: [near.encapsulate(`/p2p/${peer.toString()}`)] })
  await store.merge(peer, { tags: { other: undefined } })
  assert.equal(again.protocols, ['/a'])
  assert.equal((await store.get(peer)).addresses.map(String).length, 1)
  assert.equal([...(await store.get(peer)).tags.keys()], ['kept'])
  assert.ok(await store.has(peer))
  assert.equal([datastore.reads, datastore.writes], [reads, writes])
  await datastore.close()
})

test('whatever is new reaches the store, and is known from then on', async () => {
  const { store, datastore } = open()
  await store.merge(peer, { multiaddrs: [near], protocols: ['/a'], tags: { kept: { value: 5 } } })
  const changes = [
    { multiaddrs: [near, far] },
    { protocols: ['/b'] },
    { tags: { kept: { value: 6 } } },
    { tags: { kept: undefined } },
    { tags: { short: { value: 1, ttl: 60_000 } } },
    { metadata: { good: Uint8Array.of(2) } },
  ]
  for (const change of changes) {
    const { writes } = datastore
    await store.merge(peer, change)
    assert.is(datastore.writes, writes + 1, JSON.stringify(change))
  }
  const found = await store.get(peer)
  assert.is(found.addresses.length, 2)
  assert.equal(found.protocols, ['/a', '/b'])
  assert.equal([...found.tags.keys()], ['short'])
  await store.patch(peer, { protocols: ['/c'] })
  assert.equal((await store.get(peer)).protocols, ['/c'])
  await store.delete(peer)
  assert.not.ok(await store.has(peer))
  await datastore.close()
})

test('what was read while it was changed is read again', async () => {
  const { store, datastore } = open()
  await store.merge(peer, { protocols: ['/a'] })
  await Promise.all([
    store.merge(peer, { protocols: ['/b'] }),
    store.get(peer),
    store.merge(peer, { protocols: ['/c'] }),
    store.get(peer),
  ])
  assert.equal((await store.get(peer)).protocols, ['/a', '/b', '/c'])
  await datastore.close()
})

test('what a caller does to an answer changes no other', async () => {
  const { store, datastore } = open()
  await store.merge(peer, { multiaddrs: [near, far] })
  const { addresses } = await store.get(peer)
  addresses.pop()
  assert.is((await store.get(peer)).addresses.length, 2)
  await datastore.close()
})

test.run()
