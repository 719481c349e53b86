// Key packages of those to be invited: all or none, a few at a time, patient with the network, and telling who failed.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { utf8 } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { fetchAdds, INVITED_AT_ONCE } from '../../src/node/group-inviting.ts'
import type { InvitingPorts } from '../../src/node/group-inviting.ts'
import type { Spare } from '../../src/node/spare-key-packages.ts'
import { rejects } from '../support/rejects.ts'
import { seededPeer } from '../support/seeded.ts'

const test = suite('node · group inviting')

const unreachable = (peer: PeerId): ConclaveError =>
  new ConclaveError('NETWORK_UNREACHABLE', `${peer} cannot be reached`)

/** Peers whose key package is their name, but for those that fail so often, or for ever. */
class Fakes implements InvitingPorts {
  readonly asked: PeerId[] = []
  readonly fails = new Map<PeerId, number>()
  readonly reserve = new Map<PeerId, Spare>()
  readonly spares: InvitingPorts['spares']
  readonly engine: InvitingPorts['engine']
  running = 0
  most = 0
  fetched = 0

  constructor() {
    const { reserve } = this
    this.spares = {
      take: async (peer) => {
        const spare = reserve.get(peer)
        reserve.delete(peer)
        return spare
      },
      giveBack: async (peer, spare) => void reserve.set(peer, spare),
    }
    this.engine = {
      readKeyPackage: async (bytes: Bytes) => {
        const peer = new TextDecoder().decode(bytes) as PeerId
        const facts = { peer, ref: bytes, notBeforeMs: 0, notAfterMs: 0, lastResort: false }
        return { ok: true, value: facts }
      },
    }
  }

  fetch: InvitingPorts['fetch'] = async (peer) => {
    this.asked.push(peer)
    this.running += 1
    this.most = Math.max(this.most, this.running)
    await new Promise((resolve) => setTimeout(resolve, 1))
    this.running -= 1
    const left = this.fails.get(peer) ?? 0
    this.fails.set(peer, left - 1)
    if (left > 0) throw unreachable(peer)
    return utf8(peer)
  }

  invite(peers: readonly PeerId[], signal = AbortSignal.timeout(20_000)) {
    return fetchAdds(this, peers, { signal, onFetched: () => void (this.fetched += 1) })
  }
}

const peers = Array.from({ length: 40 }, (_, i) => seededPeer(`peer ${i}`).peer)
const [first, second, third] = peers as [PeerId, PeerId, PeerId]

test('everybody is asked once, a few at a time, and added in the order that was asked for', async () => {
  const fakes = new Fakes()
  const adds = await fakes.invite(peers)
  assert.equal(
    adds.map((one) => one.kind === 'add' && one.peer),
    peers,
  )
  assert.is(fakes.most, INVITED_AT_ONCE)
  assert.equal([fakes.asked.length, fakes.fetched], [40, 40])
})

test('a failure of the network is tried again', async () => {
  const fakes = new Fakes()
  fakes.fails.set(second, 2)
  assert.is((await fakes.invite(peers)).length, 40)
  assert.is(fakes.asked.filter((peer) => peer === second).length, 3)
})

test('all that fail are named, with the code of the first; what was in reserve is there again', async () => {
  const fakes = new Fakes()
  for (const peer of peers.slice(0, 8)) fakes.fails.set(peer, 99)
  fakes.reserve.set(third, { keyPackage: utf8(third), fetchedAt: 1 })
  const error = await rejects(fakes.invite(peers), 'NETWORK_UNREACHABLE')
  assert.match(error.message, /no key package of 7 of 40 peers/)
  assert.match(error.message, `${first}, ${second}, `)
  assert.match(error.message, / and 2 more; of the first: /)
  assert.not.match(error.message, third)
  assert.is((error.data?.['failed'] as unknown[]).length, 7)
  assert.ok(fakes.reserve.has(third))
})

test('who is away and has one in reserve is not waited for', async () => {
  const fakes = new Fakes()
  fakes.fails.set(first, 99)
  fakes.reserve.set(first, { keyPackage: utf8(first), fetchedAt: 1 })
  assert.is((await fakes.invite([first])).length, 1)
  assert.is(fakes.asked.length, 1)
})

test('when the time is up the failure that was seen is told', async () => {
  const fakes = new Fakes()
  fakes.fails.set(first, 99)
  const startedAt = performance.now()
  const error = await rejects(
    fakes.invite([first], AbortSignal.timeout(100)),
    'NETWORK_UNREACHABLE',
  )
  assert.match(error.message, first)
  assert.ok(performance.now() - startedAt < 1_000)
})

test('what is no fault of the network is not tried again', async () => {
  const fakes = new Fakes()
  fakes.engine.readKeyPackage = async () => ({ ok: false, code: 'GROUP_COMMIT_INVALID' })
  await rejects(fakes.invite([first]), 'VERIFY_IDENTITY_MISMATCH')
  assert.is(fakes.asked.length, 1)
})

test.run()
