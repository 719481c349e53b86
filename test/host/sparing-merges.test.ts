import type { PeerId, PeerStore } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { toLibp2pPeerId } from '../../src/host/addresses.ts'
import { PEERS_MAX, sparingMerges } from '../../src/host/sparing-merges.ts'
import { withPeerStore } from '../support/peer-store.ts'

const test = suite('host · sparing merges')
const PING = '/ipfs/ping/1.0.0'

const peer = (number: number): PeerId => {
  const key = new Uint8Array(32)
  key.set([number >> 8, number & 255])
  return toLibp2pPeerId(peerIdFromPublicKey(key))
}
const bob = peer(1)

interface Watched {
  readonly store: PeerStore
  /** Merges that the store itself was given. */
  readonly merged: () => number
  readonly protocols: () => Promise<string[]>
}

function withWatched(use: (watched: Watched) => Promise<void>): Promise<void> {
  return withPeerStore(async (store) => {
    let mergeCount = 0
    const merge = store.merge.bind(store)
    store.merge = (...args) => {
      mergeCount += 1
      return merge(...args)
    }
    sparingMerges(store)
    await use({
      store,
      merged: () => mergeCount,
      protocols: async () => (await store.get(bob)).protocols.toSorted(),
    })
  })
}

test('a protocol that was told before is not written again; its peer is answered all the same', async () => {
  await withWatched(async ({ store, merged, protocols }) => {
    for (let i = 0; i < 5; i++) {
      const told = await store.merge(bob, { protocols: [PING] })
      assert.ok(told.id.equals(bob))
      assert.equal(told.protocols, [PING])
    }
    assert.is(merged(), 1)
    assert.equal(await protocols(), [PING])
  })
})

test('each protocol and each peer is told for itself', async () => {
  await withWatched(async ({ store, merged, protocols }) => {
    for (let i = 0; i < 2; i++) {
      for (const protocol of [PING, '/a', '/b']) {
        await store.merge(bob, { protocols: [protocol] })
        await store.merge(peer(2), { protocols: [protocol] })
      }
    }
    assert.is(merged(), 6)
    assert.equal(await protocols(), ['/a', '/b', PING])
  })
})

test('whatever says more than one protocol is written', async () => {
  await withWatched(async ({ store, protocols }) => {
    await store.merge(bob, { protocols: [PING] })
    await store.merge(bob, { protocols: [PING, '/a'] })
    await store.merge(bob, { protocols: [PING], metadata: { seen: Uint8Array.of(1) } })
    await store.merge(bob, { multiaddrs: [multiaddr('/ip4/10.0.0.1/tcp/1')] })
    const { metadata, addresses } = await store.get(bob)
    assert.equal(await protocols(), ['/a', PING])
    assert.equal(metadata.get('seen'), Uint8Array.of(1))
    assert.equal(
      addresses.map((address) => address.multiaddr.toString()),
      ['/ip4/10.0.0.1/tcp/1'],
    )
  })
})

const losses: readonly (readonly [string, (store: PeerStore) => Promise<unknown>])[] = [
  ['deleted', (store) => store.delete(bob)],
  ['replaced', (store) => store.save(bob, { protocols: ['/a'] })],
  ['patched', (store) => store.patch(bob, { protocols: ['/a'] })],
]

for (const [what, lose] of losses) {
  test(`what was ${what} is told anew`, async () => {
    await withWatched(async ({ store, protocols }) => {
      await store.merge(bob, { protocols: [PING] })
      await lose(store)
      await store.merge(bob, { protocols: [PING] })
      assert.ok((await protocols()).includes(PING))
    })
  })

  test(`what was ${what} while it was being told is told anew`, async () => {
    await withWatched(async ({ store, protocols }) => {
      await store.merge(bob, { protocols: ['/b'] })
      await Promise.all([store.merge(bob, { protocols: [PING] }), lose(store)])
      for (const protocol of ['/b', PING]) await store.merge(bob, { protocols: [protocol] })
      const held = await protocols()
      assert.ok(held.includes(PING) && held.includes('/b'))
    })
  })

  test(`what is told while it is being ${what} is written after that`, async () => {
    await withWatched(async ({ store, protocols }) => {
      await store.merge(bob, { protocols: [PING] })
      await Promise.all([lose(store), store.merge(bob, { protocols: [PING] })])
      assert.ok((await protocols()).includes(PING))
    })
  })
}

test('protocols that are told at the same time are all remembered', async () => {
  await withWatched(async ({ store, merged }) => {
    const all = ['/a', '/b', PING]
    for (let i = 0; i < 2; i++) {
      await Promise.all(all.map((protocol) => store.merge(bob, { protocols: [protocol] })))
    }
    assert.is(merged(), all.length)
  })
})

test('no more than so many peers are remembered: the one told longest ago is forgotten first', async () => {
  await withWatched(async ({ store, merged }) => {
    for (let i = 1; i <= PEERS_MAX; i++) await store.merge(peer(i), { protocols: [PING] })
    await store.merge(bob, { protocols: ['/a'] })
    await store.merge(peer(PEERS_MAX + 1), { protocols: [PING] })
    const before = merged()
    for (const number of [1, 3, PEERS_MAX + 1])
      await store.merge(peer(number), { protocols: [PING] })
    assert.is(merged(), before)
    await store.merge(peer(2), { protocols: [PING] })
    assert.is(merged(), before + 1)
  })
})

test.run()
