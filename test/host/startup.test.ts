import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseAddress } from '../../src/host/addresses.ts'
import { AddressPolicy } from '../../src/host/gater.ts'
import { defaultTransports } from '../../src/host/transports.ts'
import { rejection, startHost, until, withHosts } from '../support/hosts.ts'

const test = suite('host · startup and addresses')

test('the same seed is the same peer; addresses end in it', async () => {
  const first = await startHost('alice')
  await first.close()
  await withHosts([startHost('alice')], async (alice) => {
    assert.is(alice.peerId, first.peerId)
    const addresses = alice.addresses()
    assert.ok(addresses.length > 0)
    assert.ok(addresses.every((address) => address.endsWith(`/p2p/${alice.peerId}`)))
    await Promise.resolve()
  })
})

test('mistakes in the configuration are named before anything is bound', async () => {
  const code = async (options: Parameters<typeof startHost>[1]): Promise<string | undefined> =>
    (await rejection(startHost('alice', options))).code
  assert.is(await code({ listen: ['127.0.0.1:4001'] }), 'CONFIG_VALUE')
  assert.is(await code({ announce: ['/ip4/1.2.3'] }), 'CONFIG_VALUE')
  assert.is(await code({ bootstrap: ['/ip4/127.0.0.1/tcp/4001'] }), 'CONFIG_VALUE')
  assert.is(await code({ listen: ['/ip4/127.0.0.1/tcp/0/ws'] }), 'CONFIG_TRANSPORT')
})

test('what is announced replaces what is bound', async () => {
  const announce = ['/dns4/rita.example/tcp/4001']
  await withHosts([startHost('rita', { announce, relay: true })], async (rita) => {
    assert.equal(rita.addresses(), [`${announce[0] ?? ''}/p2p/${rita.peerId}`])
    await Promise.resolve()
  })
})

test('TCP and WebSocket are always there by default', async () => {
  const names = await defaultTransports()
  assert.equal(names.slice(0, 2), ['tcp', 'ws'])
})

test('closing twice is closing once; events stop', async () => {
  const alice = await startHost('alice')
  const bob = await startHost('bob')
  const kinds: string[] = []
  alice.onPeer(({ kind, peer }) => {
    if (kind !== 'identified') kinds.push(`${kind} ${String(peer === bob.peerId)}`)
  })
  await alice.addAddresses(bob.peerId, bob.addresses())
  await alice.connect(bob.peerId)
  await until('known', () => kinds.length === 1)
  await Promise.all([alice.close(), alice.close(), bob.close()])
  assert.equal(kinds, ['connected true'])
})

const address = (text: string): NonNullable<ReturnType<typeof parseAddress>> => {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new Error(`not an address: ${text}`)
  return parsed
}

const SELF_DIRECTED = [
  '/ip4/127.0.0.1/tcp/22',
  '/ip4/127.8.9.1/tcp/22',
  '/ip4/0.0.0.0/tcp/22',
  '/ip4/169.254.1.1/tcp/80',
  '/ip6/::1/tcp/22',
  '/ip6/::/tcp/22',
  '/ip6/::ffff:127.0.0.1/tcp/22',
  '/ip6/fe80::1/tcp/22',
  '/dns4/localhost/tcp/22',
  '/dns/db.localhost/tcp/22',
  '/unix/%2Frun%2Fdocker.sock',
  '/memory/inside',
]

// reach.md §11: "conclave's gater refuses addresses a remote supplied that point at loopback or link-local,
// except in a node whose own addresses are all loopback".
test('no remote peer makes a node with other addresses dial its own machine or link', () => {
  const policy = new AddressPolicy([address('/ip4/0.0.0.0/tcp/0')])
  policy.bound = () => [address('/ip4/127.0.0.1/tcp/4001'), address('/ip4/10.0.0.5/tcp/4001')]
  for (const text of SELF_DIRECTED) assert.not(policy.mayDial(address(text)), text)
  for (const text of ['/ip4/10.0.0.6/tcp/1', '/ip4/8.8.8.8/tcp/1', '/dns4/a.example/tcp/1']) {
    assert.ok(policy.mayDial(address(text)), text)
  }
})

test('what the operator named may be dialled, and only that', () => {
  const policy = new AddressPolicy([address('/ip4/0.0.0.0/tcp/0')])
  policy.bound = () => [address('/ip4/10.0.0.5/tcp/4001')]
  policy.allow(address('/ip4/127.0.0.1/tcp/4001'))
  assert.ok(policy.mayDial(address('/ip4/127.0.0.1/tcp/4001')))
  assert.not(policy.mayDial(address('/ip4/127.0.0.1/tcp/4002')))
})

test('a node that is all loopback may dial loopback', () => {
  const policy = new AddressPolicy([address('/ip4/127.0.0.1/tcp/0')])
  policy.bound = () => [address('/ip4/127.0.0.1/tcp/4001'), address('/ip6/::1/tcp/4001')]
  assert.ok(policy.mayDial(address('/ip4/127.0.0.1/tcp/4002')))
})

test.run()
