import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerId } from '../../protocols/base/ids.ts'
import {
  KeepAlive,
  REDIAL_FIRST_MS,
  REDIAL_MAX_MS,
  redialDelay,
} from '../../src/host/keep-alive.ts'
import { startHost, until, withHosts } from '../support/hosts.ts'

const test = suite('host · keep-alive')
const bob = '12D3KooWbob' as PeerId

// reach.md §6: "1 s doubling to 5 min, ±20 % jitter".
test('waits double from one second to five minutes, each a fifth off at most', () => {
  for (let failureCount = 1; failureCount <= 40; failureCount++) {
    const exact = Math.min(REDIAL_FIRST_MS * 2 ** (failureCount - 1), REDIAL_MAX_MS)
    for (let round = 0; round < 50; round++) {
      const delay = redialDelay(failureCount)
      assert.ok(delay >= exact * 0.8 && delay <= exact * 1.2, `${failureCount}: ${delay}`)
    }
  }
  const spread = new Set(Array.from({ length: 50 }, () => redialDelay(5)))
  assert.ok(spread.size > 10)
})

interface Line {
  dials: number
  up: boolean
  answers: boolean
}

function fakeHost(line: Line): ConstructorParameters<typeof KeepAlive>[0] {
  return {
    isConnected: () => line.up,
    connect: async () => {
      line.dials += 1
      if (!line.answers) throw new Error('no answer')
      line.up = true
    },
  }
}

test('a kept peer is dialled at once, again after a failure, and not while connected', async () => {
  const line = { dials: 0, up: false, answers: false }
  const kept = new KeepAlive(fakeHost(line))
  kept.keep(bob)
  await until('first dial', () => line.dials === 1, 500)
  line.answers = true
  await until('second dial', () => line.dials === 2, REDIAL_FIRST_MS * 1.5)
  kept.connected(bob)
  kept.sighted(bob)
  await new Promise((resolve) => setTimeout(resolve, 200))
  assert.is(line.dials, 2)
  line.up = false
  kept.disconnected(bob)
  await until('dialled again', () => line.dials === 3, REDIAL_FIRST_MS * 1.5)
  kept.close()
})

test('a sighting ends the wait; a released peer is left alone', async () => {
  const line = { dials: 0, up: false, answers: false }
  const kept = new KeepAlive(fakeHost(line))
  kept.keep(bob)
  await until('first dial', () => line.dials === 1, 500)
  kept.sighted(bob)
  await until('second dial', () => line.dials === 2, 500)
  kept.release(bob)
  kept.sighted(bob)
  await new Promise((resolve) => setTimeout(resolve, REDIAL_FIRST_MS * 1.5))
  assert.is(line.dials, 2)
  assert.not(kept.has(bob))
})

test('a host dials a kept peer again when that one hangs up, and not after release', async () => {
  await withHosts([startHost('alice'), startHost('bob')], async (alice, peer) => {
    const events: string[] = []
    const stop = alice.onPeer(({ kind }) => {
      if (kind !== 'identified') events.push(kind)
    })
    await alice.addAddresses(peer.peerId, peer.addresses())
    alice.keepAlive(peer.peerId)
    await until('connected', () => peer.isConnected(alice.peerId))
    await peer.disconnect(alice.peerId)
    await until('connected again', () => events.join() === 'connected,disconnected,connected')
    await until('both know', () => peer.isConnected(alice.peerId))
    alice.release(peer.peerId)
    await peer.disconnect(alice.peerId)
    await until('gone', () => !alice.isConnected(peer.peerId))
    await new Promise((resolve) => setTimeout(resolve, REDIAL_FIRST_MS * 1.5))
    assert.not(alice.isConnected(peer.peerId))
    stop()
  })
})

test.run()
