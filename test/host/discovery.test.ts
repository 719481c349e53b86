import { createSocket } from 'node:dgram'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ConclaveHost } from '../../src/host/host.ts'
import type { RecordKind } from '../../src/host/options.ts'
import { memoryStorage, rejection, startHost, until, withHosts } from '../support/hosts.ts'

const test = suite('host · discovery')

test('two peers of one bootstrap peer find each other by peer ID alone', async () => {
  await withHosts([startHost('rita')], async (rita) => {
    const bootstrap = rita.addresses()
    const starting = [startHost('bob', { bootstrap }), startHost('carol', { bootstrap })]
    await withHosts(starting, async (bob, carol) => {
      await until('both know Rita', () =>
        [bob, carol].every((host) => host.isConnected(rita.peerId)),
      )
      await findsById(bob, carol)
    })
  })
})

// The DHT needs a moment after identify; a caller would keep the peer alive instead of asking once.
async function findsById(from: ConclaveHost, to: ConclaveHost): Promise<void> {
  await until('found by its ID', async () => {
    await from.connect(to.peerId).catch(() => undefined)
    return from.isConnected(to.peerId)
  })
}

test('known peers meet again without their bootstrap peer, also after a restart', async () => {
  const storage = memoryStorage()
  const rita = await startHost('rita')
  const carol = await startHost('carol', { bootstrap: rita.addresses() })
  const first = await startHost('bob', { bootstrap: rita.addresses(), storage })
  await findsById(first, carol)
  await Promise.all([first.close(), rita.close()])
  const second = await startHost('bob', { storage })
  try {
    assert.is(second.peerId, first.peerId)
    assert.ok((await second.knownAddresses(carol.peerId)).length > 0)
    await second.connect(carol.peerId)
    assert.ok(second.isConnected(carol.peerId))
  } finally {
    await Promise.all([second.close(), carol.close()])
  }
})

test('a bootstrap peer that restarts on its port is connected again by itself', async () => {
  const first = await startHost('rita')
  const bootstrap = first.addresses()
  const listen = bootstrap.map((address) => address.replace(/\/p2p\/.*$/, ''))
  await withHosts([startHost('bob', { bootstrap })], async (bob) => {
    await until('connected', () => bob.isConnected(first.peerId))
    await first.close()
    await until('lost', () => !bob.isConnected(first.peerId))
    await withHosts([startHost('rita', { listen })], async () => {
      await until('connected again', () => bob.isConnected(first.peerId), 20_000)
    })
  })
})

test('a bootstrap peer may come up after the node', async () => {
  const rita = await startHost('rita')
  const bootstrap = rita.addresses()
  const listen = bootstrap.map((address) => address.replace(/\/p2p\/.*$/, ''))
  await rita.close()
  await withHosts([startHost('bob', { bootstrap })], async (bob) => {
    assert.not(bob.isConnected(rita.peerId))
    await withHosts([startHost('rita', { listen })], async () => {
      await until('connected', () => bob.isConnected(rita.peerId), 20_000)
    })
  })
})

test('a peer nobody knows is unreachable, quickly and with a hint', async () => {
  await withHosts([startHost('bob'), startHost('carol')], async (bob, carol) => {
    const startedAt = performance.now()
    const error = await rejection(bob.connect(carol.peerId))
    assert.is(error.code, 'NETWORK_UNREACHABLE')
    assert.match((error as { hint?: string }).hint ?? '', /no address is known/)
    assert.ok(performance.now() - startedAt < 5_000)
  })
})

test('dead addresses cost no more than the dial of a living one', async () => {
  await withHosts([startHost('bob'), startHost('carol')], async (bob, carol) => {
    // Nothing answers there, not even a refusal.
    const dead = ['/ip4/192.0.2.77/tcp/4001', '/ip4/192.0.2.78/tcp/4001']
    await bob.addAddresses(carol.peerId, [...dead, ...carol.addresses()])
    const startedAt = performance.now()
    await bob.connect(carol.peerId)
    assert.ok(performance.now() - startedAt < 2_000)
    const facts = await bob.probe(carol.peerId)
    assert.is(facts.length, 3)
    assert.is(facts.filter(({ ok }) => ok).length, 1)
    assert.ok(facts.every(({ ok, error }) => ok || error !== undefined))
  })
})

const NOTE: RecordKind = {
  namespace: 'conclave-note',
  bytesMax: 16,
  validate: (name, value) => name.length === 4 && value[0] === 1,
  select: (_, values) =>
    values.reduce((best, v, i) => ((v[1] ?? 0) > (values[best]?.[1] ?? 0) ? i : best), 0),
}

test('a record put by one peer is found by another; an invalid one is not stored', async () => {
  const records = [NOTE]
  const rita = await startHost('rita', { records })
  const bootstrap = rita.addresses()
  const starting = [
    startHost('bob', { bootstrap, records }),
    startHost('carol', { bootstrap, records }),
    Promise.resolve(rita),
  ]
  await withHosts(starting, async (bob, carol) => {
    await findsById(bob, carol)
    const name = Uint8Array.of(1, 2, 3, 4)
    await until('somebody took it', async () => {
      return (await bob.records.put('conclave-note', name, Uint8Array.of(1, 7))) > 0
    })
    assert.equal(await carol.records.get('conclave-note', name), Uint8Array.of(1, 7))
    await bob.records.put('conclave-note', name, Uint8Array.of(1, 9))
    assert.equal(await carol.records.get('conclave-note', name), Uint8Array.of(1, 9))
    await bob.records
      .put('conclave-note', Uint8Array.of(5, 5, 5, 5), Uint8Array.of(0))
      .catch(() => 0)
    assert.is(await carol.records.get('conclave-note', Uint8Array.of(5, 5, 5, 5)), undefined)
  })
})

async function hasMulticast(): Promise<boolean> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    return await new Promise<boolean>((resolve) => {
      socket.on('error', () => resolve(false))
      socket.on('message', () => resolve(true))
      socket.bind(0, () => {
        try {
          socket.addMembership('224.0.0.251')
          socket.send('x', socket.address().port, '224.0.0.251')
        } catch {
          resolve(false)
        }
      })
      setTimeout(() => resolve(false), 1_000)
    })
  } finally {
    socket.close()
  }
}

if (await hasMulticast()) {
  test('peers of one network find each other without any address', async () => {
    const starting = [startHost('bob', { mdns: true }), startHost('carol', { mdns: true })]
    await withHosts(starting, async (bob, carol) => {
      await until('found', () => bob.isConnected(carol.peerId), 25_000)
    })
  })
} else console.log('skipped: host · discovery · mDNS: no multicast here')

test.run()
