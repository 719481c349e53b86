import { multiaddr } from '@multiformats/multiaddr'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { toLibp2pPeerId } from '../../src/host/addresses.ts'
import { GOOD_ADDRESS_KEY } from '../../src/host/dial.ts'
import { PeerBook } from '../../src/host/peer-book.ts'
import { withPeerStore } from '../support/peer-store.ts'

const test = suite('host · peer book')
const peers = Array.from({ length: 20 }, (_, i) => peerIdFromPublicKey(new Uint8Array(32).fill(i)))

test('beyond the bound, peers never reached are forgotten first and peers in use never', async () => {
  await withPeerStore(async (store) => {
    const book = new PeerBook(store, 10)
    for (const peer of peers) await book.add(peer, [multiaddr('/ip4/10.0.0.1/tcp/1')])
    const [inUse] = peers
    const reached = peers.slice(15)
    for (const peer of reached) {
      await store.merge(toLibp2pPeerId(peer), {
        metadata: { [GOOD_ADDRESS_KEY]: Uint8Array.of(1) },
      })
    }
    await book.prune((peer) => peer === inUse)
    const left = (await store.all()).map(({ id }) => id.toString())
    assert.is(left.length, 10)
    for (const peer of reached) assert.ok(left.includes(peer))
    assert.ok(inUse !== undefined && left.includes(inUse))
  })
})

test.run()
