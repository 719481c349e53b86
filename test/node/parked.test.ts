// Conversations with work that are not in memory.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerId } from '../../protocols/base/ids.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { native } from '../../src/crypto/native.ts'
import { TAKEN_UP_MAX } from '../../src/node/conversations.ts'
import { Parked } from '../../src/node/parked.ts'
import { say, startDirect } from '../support/direct-node.ts'

const test = suite('parked conversations')
const [alice, bob, carol] = ['alice', 'bob', 'carol'] as PeerId[] as [PeerId, PeerId, PeerId]

test('those whose time has come are taken, the longest parked first, and no more than asked for', () => {
  const parked = new Parked()
  parked.add(alice, 10)
  parked.add(bob, 30)
  parked.add(carol, 10)
  assert.equal(parked.take(1, 20), [alice])
  assert.not.ok(parked.has(alice))
  assert.equal(parked.take(5, 20), [carol])
  assert.equal(parked.take(5, 20), [])
  assert.equal(parked.take(0, 40), [])
  assert.equal(parked.take(5, 30), [bob])
})

test('one that was taken up by other means is parked no more', () => {
  const parked = new Parked()
  parked.add(alice, 10)
  parked.delete(alice)
  assert.equal(parked.take(5, 20), [])
})

test('after a restart letters of conversations that are not taken up yet are listed and counted', async () => {
  const count = TAKEN_UP_MAX + 20
  const peers = Array.from({ length: count }, (_, at) =>
    peerIdFromPublicKey(native.signPublic(new Uint8Array(32).fill(100).fill(at, 0, 1))),
  )
  const before = await startDirect('alice')
  for (const peer of peers) await before.messages.send(peer, say('later'), { until: 'queued' })
  await before.stop()
  const after = await startDirect('alice', { rows: before.rows })
  try {
    assert.equal(new Set((await after.messages.outbox()).map(({ to }) => to)), new Set(peers))
    assert.is((await after.messages.counts()).queued, count)
  } finally {
    await after.stop()
  }
})

test.run()
