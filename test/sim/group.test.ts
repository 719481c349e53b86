// A seeded simulation of groups: real machines and the real engine in virtual time, over a network that loses, repeats,
// reorders and parts, with members that crash. `SEED=7 node test/sim/group.test.ts` runs one seed again,
// `SEEDS=200` that many.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { toGroupId } from '../../protocols/group/ids.ts'
import { refKey } from '../../protocols/group/ids.ts'
import { isAdmin } from '../../protocols/group/policy.ts'
import type { Change } from '../../protocols/group/state.ts'
import { SimMember } from './group-node.ts'
import type { World } from './group-node.ts'
import { Chance, Network, Timeline } from './network.ts'

const test = suite('sim · group')

const NAMES = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank'] as const
const COUNT = Number(process.env['SEEDS'] ?? '40')
const SEEDS =
  process.env['SEED'] === undefined
    ? Array.from({ length: COUNT }, (_, i) => i + 1)
    : [Number(process.env['SEED'])]
const ACTIONS = 60
/** Changes in one run. */
const CHANGES_MAX = 30
const MINUTE_MS = 60_000

interface Said {
  readonly by: SimMember
  readonly text: string
  /** Who was in the group, and who had been removed, as its author saw it. */
  readonly hearers: ReadonlySet<SimMember>
  readonly removed: ReadonlySet<SimMember>
}

interface Run {
  readonly world: World
  readonly all: readonly SimMember[]
  readonly said: Said[]
  changes: number
}

function makeRun(seed: number): Run {
  const chance = new Chance(`seed ${seed}`)
  const timeline = new Timeline()
  const network = new Network(timeline, chance, {
    loss: 0.05 * (seed % 4),
    repeats: 0.1,
    delayMs: [5, 400],
  })
  const groupId = toGroupId(chance.bytes(32))
  const world: World = { timeline, network, chance, members: new Map(), groupId }
  const all = NAMES.map((name) => new SimMember(world, name))
  return { world, all, said: [], changes: 0 }
}

async function invite(by: SimMember, others: readonly SimMember[]): Promise<void> {
  const changes: Change[] = []
  for (const other of others) {
    const { keyPackage, ref } = await other.keyPackage()
    changes.push({ kind: 'add', peer: other.peer, keyPackage, ref })
  }
  await by.hear({ kind: 'changesAsked', changes })
}

/** Something that a member does, or that befalls it. */
async function act(run: Run): Promise<void> {
  const { world, all } = run
  const { chance, timeline, network } = world
  const member = chance.pick(all.filter((one) => one.isUp && one.isMember))
  if (member === undefined) return
  const dice = chance.share()
  if (dice < 0.7) await speak(run, member)
  else if (dice < 0.86) {
    if (run.changes++ < CHANGES_MAX) await change(run, member)
  } else if (dice < 0.93) {
    await member.crash()
    timeline.after(chance.upTo(MINUTE_MS / 2), () => member.restart())
  } else {
    network.part(all.filter(() => chance.share() < 0.4).map(({ name }) => name))
    timeline.after(chance.upTo(MINUTE_MS / 2), () => {
      network.heal()
      return Promise.resolve()
    })
  }
}

async function speak({ all, said }: Run, member: SimMember): Promise<void> {
  const { view } = member
  const text = `${member.name} ${said.length}`
  const hearers = new Set(all.filter(({ peer }) => view.roster.has(peer)))
  const removed = new Set(all.filter(({ peer }) => view.gone.has(peer)))
  said.push({ by: member, text, hearers, removed })
  await member.say(text)
}

async function change({ world, all }: Run, member: SimMember): Promise<void> {
  const { view, state } = member
  const { chance } = world
  const isPlain = !isAdmin(view.policy, state?.self ?? { peer: member.peer, gen: 0 })
  const dice = isPlain ? 0 : chance.share()
  const inside = all.filter(({ peer }) => peer !== member.peer && view.roster.has(peer))
  if (dice < 0.3) {
    await member.hear({ kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
  } else if (dice < 0.6) {
    const strangers = all.filter(({ peer }) => !view.roster.has(peer) && !view.gone.has(peer))
    const other = chance.pick(strangers)
    if (other !== undefined) await invite(member, [other])
  } else {
    const other = chance.pick(inside)
    const gen = other && view.roster.get(other.peer)
    if (other === undefined || gen === undefined) return
    const ref = { peer: other.peer, gen }
    const one: Change =
      dice < 0.8 ? { kind: 'role', member: ref, role: 'admin' } : { kind: 'remove', member: ref }
    await member.hear({ kind: 'changesAsked', changes: [one] })
  }
}

async function quiesce({ world, all }: Run): Promise<void> {
  world.network.heal()
  world.network.faults = { loss: 0, repeats: 0, delayMs: [5, 100] }
  await world.timeline.run(5 * MINUTE_MS)
  for (const member of all) if (!member.isUp) await member.restart()
  await world.timeline.run(10 * MINUTE_MS)
}

const textOf = (body: Uint8Array): string => new TextDecoder().decode(body)

for (const seed of SEEDS) {
  test(`seed ${seed}: one group, nothing lost, nothing twice, each author in order`, async () => {
    const run = makeRun(seed)
    const { world, all, said } = run
    try {
      const [alice, bob, carol] = all
      assert.ok(alice && bob && carol)
      await alice.found()
      await invite(alice, [bob, carol])
      await world.timeline.run(10_000)
      for (let i = 0; i < ACTIONS; i++) {
        await world.timeline.run(world.chance.upTo(8_000))
        await act(run)
      }
      await quiesce(run)
      check(run)
      assert.ok(said.length > ACTIONS / 5, 'something was said')
    } catch (error) {
      console.error(`SEED=${seed} node test/sim/group.test.ts`)
      throw error
    }
  })
}

function check({ all, said }: Run): void {
  const members = all.filter(({ isMember }) => isMember)
  // Members of the selected branch agree on everything.
  const tips = new Set(members.map(({ state }) => state?.tip))
  assert.is(
    tips.size,
    1,
    `tips: ${members.map((m) => `${m.name} ${m.state?.tip.slice(0, 6)}`).join()}`,
  )
  assert.is(new Set(members.map(({ authenticator }) => authenticator)).size, 1, 'authenticators')
  for (const member of all) {
    const seen = new Set<string>()
    const last = new Map<string, number>()
    for (const { payload, late } of member.delivered) {
      const author = refKey(payload.author)
      const name = `${author}/${payload.n}`
      assert.not(seen.has(name), `${member.name} got ${textOf(payload.body)} twice`)
      seen.add(name)
      if (late) continue
      assert.ok((last.get(author) ?? 0) < payload.n, `${member.name}: ${author} out of order`)
      last.set(author, payload.n)
    }
  }
  for (const { by, text, hearers, removed } of said) {
    const heard = (one: SimMember): boolean =>
      one.delivered.some(({ payload }) => textOf(payload.body) === text)
    // Whoever was on the roster in its author's eyes, and has been ever since, has heard it; what a member says on
    // a branch that lost, on the other of which it is removed, is gone with it.
    for (const one of hearers) {
      if (by.isMember && one.isMember && one.joins <= 1)
        assert.ok(heard(one), `${one.name} never heard “${text}”`)
    }
    // Removed stays removed.
    for (const one of removed) {
      if (one.joins <= 1) assert.not(heard(one), `${one.name} was removed and heard “${text}”`)
    }
  }
}

async function fiveInGroup(seed: number): Promise<{ world: World; all: readonly SimMember[] }> {
  const { world, all } = makeRun(4 * seed)
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

test.run()
