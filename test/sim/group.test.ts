// Directed runs of groups: real machines and the real engine in virtual time.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Change } from '../../protocols/group/state.ts'
import { SimMember } from './group-node.ts'
import { makeWorld } from './world.ts'
import type { World } from './cast.ts'

const test = suite('sim · group')

const NAMES = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank'] as const
const MINUTE_MS = 60_000

const textOf = (body: Uint8Array): string => new TextDecoder().decode(body)

async function invite(by: SimMember, others: readonly SimMember[]): Promise<void> {
  const changes: Change[] = []
  for (const other of others) {
    const { keyPackage, ref } = await other.keyPackage()
    changes.push({ kind: 'add', peer: other.peer, keyPackage, ref })
  }
  await by.hear({ kind: 'changesAsked', changes })
}

async function fiveInGroup(seed: number): Promise<{ world: World; all: readonly SimMember[] }> {
  const world = makeWorld({ seed: `directed ${seed}` })
  const all = NAMES.map((name) => new SimMember(world, name))
  const [alice, ...others] = all
  assert.ok(alice)
  await alice.found()
  await invite(alice, others.slice(0, 4))
  await world.timeline.run(MINUTE_MS)
  const carol = others[1]
  const gen = carol && alice.view.roster.get(carol.peer)
  assert.ok(gen)
  const promotion = { kind: 'role', member: { peer: carol.peer, gen }, role: 'admin' } as const
  await alice.hear({ kind: 'changesAsked', changes: [promotion] })
  await world.timeline.run(MINUTE_MS)
  return { world, all }
}

test('a removal on one side of a cut is one on the other, though the other side has the votes', async () => {
  const { world, all } = await fiveInGroup(1)
  const [alice, bob, carol, dave, erin] = all
  assert.ok(alice && bob && carol && dave && erin)
  world.network.part(['alice', 'bob'])
  const gen = alice.view.roster.get(dave.peer)
  assert.ok(gen)
  const removal = { kind: 'remove', member: { peer: dave.peer, gen } } as const
  await alice.hear({ kind: 'changesAsked', changes: [removal] })
  for (const one of [carol, erin, carol]) {
    await one.hear({ kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
    await world.timeline.run(20_000)
  }
  await dave.say('still in here')
  await world.timeline.run(20_000)
  assert.not.ok(alice.view.roster.has(dave.peer))
  assert.ok(carol.view.roster.has(dave.peer))
  world.network.heal()
  await world.timeline.run(5 * MINUTE_MS)
  const left = [alice, bob, carol, erin]
  assert.is(new Set(left.map(({ authenticator }) => authenticator)).size, 1)
  for (const one of left) assert.not.ok(one.view.roster.has(dave.peer), one.name)
  assert.not.ok(dave.isMember)
  await carol.say('after the removal')
  await world.timeline.run(MINUTE_MS)
  const hears = (one: SimMember, text: string): boolean =>
    one.delivered.some(({ payload }) => textOf(payload.body) === text)
  for (const one of [alice, bob, erin]) assert.ok(hears(one, 'after the removal'), one.name)
  assert.not.ok(hears(dave, 'after the removal'))
})

test('nothing is said to somebody whom another branch removed, not even before the removal is made here', async () => {
  const { world, all } = await fiveInGroup(2)
  const [alice, , carol, dave] = all
  assert.ok(alice && carol && dave)
  world.network.part(['alice'])
  const gen = alice.view.roster.get(dave.peer)
  assert.ok(gen)
  const removal = { kind: 'remove', member: { peer: dave.peer, gen } } as const
  await alice.hear({ kind: 'changesAsked', changes: [removal] })
  await carol.hear({ kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
  await world.timeline.run(20_000)
  // Carol learns of the removal from its record alone, asks to speak in the same moment, and cannot yet remove.
  const record = [...(alice.state?.chain.nodes.values() ?? [])].find(
    (node) => node.record.removes.length > 0,
  )
  assert.ok(record)
  const { published } = carol
  const before = published.length
  await carol.hear({ kind: 'recordsHeard', entries: [record.entry] })
  await carol.say('not for Dave')
  world.network.heal()
  await world.timeline.run(5 * MINUTE_MS)
  assert.ok(published.length > before)
  const heard = dave.delivered.map(({ payload }) => textOf(payload.body))
  assert.not.ok(heard.includes('not for Dave'))
  assert.ok(alice.delivered.some(({ payload }) => textOf(payload.body) === 'not for Dave'))
})

test('who was added on a branch that lost is added by another admin, if its own does not come back', async () => {
  const { world, all } = await fiveInGroup(3)
  const [alice, bob, carol, , , frank] = all
  assert.ok(alice && bob && carol && frank)
  const heal = world.network.part(['alice', 'frank'])
  await invite(alice, [frank])
  for (const one of [bob, carol]) {
    await one.hear({ kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
    await world.timeline.run(20_000)
  }
  assert.ok(frank.isMember)
  await frank.say('is anybody here')
  await world.timeline.run(20_000)
  await alice.crash()
  heal()
  await world.timeline.run(40_000)
  assert.not.ok(carol.view.roster.has(frank.peer))
  await world.timeline.run(5 * MINUTE_MS)
  assert.is(carol.view.roster.get(frank.peer), 1)
  for (const one of [bob, carol]) assert.is(one.authenticator, frank.authenticator, one.name)
  await carol.say('we are')
  await world.timeline.run(MINUTE_MS)
  assert.ok(frank.delivered.some(({ payload }) => textOf(payload.body) === 'we are'))
  await alice.restart()
  await world.timeline.run(5 * MINUTE_MS)
  assert.is(alice.authenticator, frank.authenticator)
})

test('whose removal turns out to be void is a member again, and hears what was said meanwhile', async () => {
  const { world, all } = await fiveInGroup(4)
  const [alice, bob, carol, dave, erin] = all
  assert.ok(alice && bob && carol && dave && erin)
  const remove = async (by: SimMember, { peer }: SimMember): Promise<void> => {
    const gen = by.view.roster.get(peer)
    assert.ok(gen)
    await by.hear({ kind: 'changesAsked', changes: [{ kind: 'remove', member: { peer, gen } }] })
  }
  const heal = world.network.part(['carol', 'dave'])
  await dave.say('before')
  await remove(carol, dave)
  await remove(alice, carol)
  await world.timeline.run(5 * MINUTE_MS)
  assert.is(dave.state?.phase, 'removed')
  await alice.say('meanwhile')
  await world.timeline.run(MINUTE_MS)
  heal()
  await world.timeline.run(5 * MINUTE_MS)
  assert.is(carol.state?.phase, 'removed')
  await dave.say('back')
  await world.timeline.run(MINUTE_MS)
  const texts = ({ delivered }: SimMember): string[] =>
    delivered.map(({ payload }) => textOf(payload.body))
  for (const one of [alice, bob, erin]) {
    assert.is(one.authenticator, dave.authenticator, one.name)
    assert.equal(texts(one).slice(-2), ['before', 'back'], one.name)
  }
  assert.ok(texts(dave).includes('meanwhile'))
})

test.run()
