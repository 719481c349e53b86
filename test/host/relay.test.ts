import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { relayOfAddress, parseAddress } from '../../src/host/addresses.ts'
import { exchange, serveCases } from '../contract/transport.ts'
import { startHost, until, withHosts } from '../support/hosts.ts'

const test = suite('host · relay')

test('a node reserves at two relays where it knows two, and gives out addresses of both', async () => {
  const relays = [startHost('rita', { relay: true }), startHost('max', { relay: true })]
  await withHosts(relays, async (rita, max) => {
    const bootstrap = [...rita.addresses(), ...max.addresses()]
    await withHosts([startHost('bob', { listen: [], bootstrap })], async (bob) => {
      await until('two reservations', () => bob.relays().length === 2)
      const given = bob.addresses().flatMap((text) => {
        const address = parseAddress(text)
        return address === undefined ? [] : (relayOfAddress(address) ?? [])
      })
      assert.equal(new Set(given), new Set([rita.peerId, max.peerId]))
    })
  })
})

test('a relay asks no other relay for a place', async () => {
  await withHosts([startHost('max', { relay: true })], async (max) => {
    const bootstrap = max.addresses()
    await withHosts([startHost('rita', { relay: true, bootstrap })], async (rita) => {
      await until('connected', () => rita.isConnected(max.peerId))
      await new Promise((resolve) => setTimeout(resolve, 500))
      assert.equal(rita.relays(), [])
      assert.equal(max.relays(), [])
    })
  })
})

// reach.md §12.2: "Relay restart: reservations return within 10 s, relayed peers reconnect".
test('after a relay restarts, reservations return within 10 s and relayed peers reconnect', async () => {
  const first = await startHost('rita', { relay: true })
  const bootstrap = first.addresses()
  const listen = bootstrap.map((address) => address.replace(/\/p2p\/.*$/, ''))
  const ends = [
    startHost('alice', { listen: [], bootstrap }),
    startHost('bob', { listen: [], bootstrap }),
  ]
  await withHosts(ends, async (alice, bob) => {
    await serveCases(bob)
    await until('reservations', () => alice.relays().length + bob.relays().length === 2)
    alice.keepAlive(bob.peerId)
    await until('relayed', () => alice.isConnected(bob.peerId))
    await first.close()
    await until('lost', () => !alice.isConnected(bob.peerId) && bob.relays().length === 0)
    await withHosts([startHost('rita', { relay: true, listen })], async () => {
      await until('reservations again', () => bob.relays().length === 1, 10_000)
      await until('relayed again', () => alice.isConnected(bob.peerId), 10_000)
      assert.ok(await exchange(alice, bob.peerId, Uint8Array.of(1)))
    })
  })
})

test('a direct connection follows a relayed one where there is a way, and new streams take it', async () => {
  await withHosts([startHost('rita', { relay: true })], async (rita) => {
    const bootstrap = rita.addresses()
    const ends = [startHost('alice', { bootstrap }), startHost('bob', { bootstrap })]
    await withHosts(ends, async (alice, bob) => {
      await serveCases(bob)
      await until('reservation', () => bob.relays().length === 1)
      const circuits = bob.addresses().filter((address) => address.includes('p2p-circuit'))
      const [circuit = ''] = circuits
      await alice.addAddresses(bob.peerId, [circuit])
      await alice.connect(bob.peerId)
      await until('direct', () =>
        alice.connections().some(({ peer, relayed }) => peer === bob.peerId && !relayed),
      )
      const { relayed } = await alice.ping(bob.peerId, { count: 1 })
      assert.is(relayed, false)
    })
  })
})

test.run()
