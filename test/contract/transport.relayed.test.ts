// A circuit over a relay behaves like any other path: the same cases, three hosts.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { STREAM, rejection, startHost, until } from '../support/hosts.ts'
import { addPairCases, serveCases } from './transport.ts'
import type { Pair } from './transport.ts'

const test = suite('transport · relayed')
const MIB: number = 1024 * 1024

// Neither listens anywhere but at Rita's, so there is no direct way.
async function overRelay(use: (pair: Pair) => Promise<void>): Promise<void> {
  const rita = await startHost('rita', { relay: true })
  const bootstrap = rita.addresses()
  const listener = await startHost('bob', { listen: [], bootstrap })
  const dialler = await startHost('alice', { listen: [], bootstrap })
  try {
    const seen = await serveCases(listener)
    await until('both have a reservation', () =>
      [listener, dialler].every((host) => host.relays().includes(rita.peerId)),
    )
    await use({ dialler, listener, seen })
  } finally {
    await Promise.all([dialler.close(), listener.close(), rita.close()])
  }
}

test('a peer that only a relay reaches is found by its ID, and the connection says so', async () => {
  await overRelay(async ({ dialler, listener }) => {
    await dialler.connect(listener.peerId)
    const connection = dialler.connections().find(({ peer }) => peer === listener.peerId)
    assert.is(connection?.relayed, true)
    const stream = await dialler.open(listener.peerId, '/test/echo/1.0.0', STREAM)
    assert.is(stream.relayed, true)
    stream.abort()
    const { relayed, rttMs } = await dialler.ping(listener.peerId, { count: 3 })
    assert.is(relayed, true)
    assert.is(rttMs.length, 3)
  })
})

test('a protocol that stays off relays is not opened over one', async () => {
  await overRelay(async ({ dialler, listener }) => {
    await dialler.connect(listener.peerId)
    const direct = { ...STREAM, relayed: false }
    const error = await rejection(dialler.open(listener.peerId, '/test/echo/1.0.0', direct))
    assert.is(error.code, 'NETWORK_UNREACHABLE')
  })
})

addPairCases(test, overRelay, { bulkBytes: 16 * MIB, onTheWayBytesMax: 12 * MIB })
test.run()
