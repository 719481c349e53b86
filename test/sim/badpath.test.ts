// A commit that some can follow and others cannot keeps nobody apart for good: who was cut off from all that followed it is
// let in once it meets them again, whatever its author does meanwhile (spec §4.2, §4.8).
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isClosed, leadsTo } from '../../protocols/group/chain.ts'
import type { Change } from '../../protocols/group/state.ts'
import { selectTip } from '../../protocols/group/selection.ts'
import { PAST_EPOCHS_MAX } from '../../protocols/group/types.ts'
import type { CommitId } from '../../protocols/group/types.ts'
import { Adversary } from './adversary.ts'
import type { World } from './cast.ts'
import { SimMember } from './group-node.ts'
import { makeWorld } from './world.ts'

const test = suite('sim · bad path')

const SECOND_MS = 1_000
/** Ways in which paths are spoilt: among them is one that two of three members can open. */
const SPOILS = 40
/** So many commits are made for a small id. */
const TRIES = 256
const STILL_HERE = Buffer.from('still here')
/** Longer than the attempts after which what failed is closed. */
const CLOSED_MS = 240 * SECOND_MS

interface Split {
  readonly world: World
  readonly dave: SimMember
  readonly honest: readonly SimMember[]
  /** Cannot follow what the others can. */
  readonly out: SimMember
  readonly bad: CommitId
}

/** Four members, one of whom votes twice and then makes a commit that two of the others can follow. */
async function split(salt: number): Promise<Split | undefined> {
  const world = makeWorld({ seed: 'bad path', engine: 'fake' })
  const [alice, bob, carol, dave] = ['alice', 'bob', 'carol', 'dave'].map(
    (name) => new SimMember(world, name),
  )
  assert.ok(alice && bob && carol && dave)
  dave.isHonest = false
  await alice.found()
  const changes: Change[] = []
  for (const other of [bob, carol, dave]) {
    const { keyPackage, ref } = await other.keyPackage()
    changes.push({ kind: 'add', peer: other.peer, keyPackage, ref })
  }
  await alice.ask({ kind: 'changesAsked', changes })
  await world.timeline.run(120 * SECOND_MS)
  const honest = [alice, bob, carol]
  // Without its weight neither branch has more than half of the four.
  new Adversary(dave, 1).doubleVote()
  await world.timeline.run(60 * SECOND_MS)
  assert.ok(honest.every((one) => one.demand().proofs.has(dave.peer)))
  const before = new Set(alice.demand().chain.nodes.keys())
  await new Adversary(dave, salt).badPath()
  const failed = (one: SimMember): boolean =>
    [...one.demand().chain.nodes.values()].some((node) => node.failed !== false)
  // The votes of those who followed come at once, the first question for the way in later.
  await world.timeline.run(SECOND_MS / 2)
  const [out, ...others] = honest.filter(failed)
  const bad = [...alice.demand().chain.nodes.keys()].find((id) => !before.has(id))
  return out === undefined || bad === undefined || others.length > 0
    ? undefined
    : { world, dave, honest, out, bad }
}

async function splitSomehow(): Promise<Split> {
  for (let salt = 0; salt < SPOILS; salt++) {
    const made = await split(salt)
    if (made !== undefined) return made
  }
  throw new Error('no path was spoilt for one member alone')
}

/** The one that cannot follow is alone until it has given up, goes its own way, and is back. */
async function partAndHeal(made: Split, meanwhile: () => Promise<void>): Promise<void> {
  const { world, honest, out, bad } = made
  const end = world.network.part([out.name])
  await world.timeline.run(CLOSED_MS / 2)
  await out.ask({ kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
  await meanwhile()
  await world.timeline.run(CLOSED_MS / 2)
  const node = out.demand().chain.nodes.get(bad)
  assert.ok(node !== undefined && isClosed(node.failed))
  const tips = new Set(honest.map(({ authenticator }) => authenticator))
  assert.is(tips.size, 2)
  end()
}

function together({ honest }: Split): boolean {
  return new Set(honest.map(({ authenticator }) => authenticator)).size === 1
}

test('who cannot follow, and met nobody who could, is let in once it does', async () => {
  const made = await splitSomehow()
  await partAndHeal(made, () => Promise.resolve())
  await made.world.timeline.run(120 * SECOND_MS)
  assert.ok(together(made))
  const { chain, tip } = made.out.demand()
  assert.ok(leadsTo(chain, made.bad, tip))
})

test('nor is it kept out by what nobody can follow behind that', async () => {
  const made = await splitSomehow()
  await partAndHeal(made, () => new Adversary(made.dave, 7).badPath(1))
  await made.world.timeline.run(300 * SECOND_MS)
  assert.ok(together(made))
})

test('what is selected for its id alone, and lets nobody in, is not waited for', async () => {
  const world = makeWorld({ seed: 'nobody in', engine: 'fake' })
  const [alice, bob, dave] = ['alice', 'bob', 'dave'].map((name) => new SimMember(world, name))
  assert.ok(alice && bob && dave)
  dave.isHonest = false
  const invite = async (one: SimMember): Promise<void> => {
    const { keyPackage, ref } = await one.keyPackage()
    const changes: Change[] = [{ kind: 'add', peer: one.peer, keyPackage, ref }]
    await alice.ask({ kind: 'changesAsked', changes })
    await world.timeline.run(120 * SECOND_MS)
  }
  await alice.found()
  await invite(dave)
  const end = world.network.part(['dave'])
  await invite(bob)
  // Beyond all epochs that she holds: only from outside could she enter what Dave makes.
  for (let i = 0; i < 2 * PAST_EPOCHS_MAX; i++) {
    await alice.ask({ kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
    await world.timeline.run(20 * SECOND_MS)
  }
  const before = alice.demand().tip
  const adversary = new Adversary(dave, 1)
  const made = await adversary.commit({ tries: TRIES })
  end()
  adversary.publish(made)
  await dave.crash()
  await world.timeline.run(SECOND_MS)
  const { chain, votes } = alice.demand()
  assert.not.ok(leadsTo(chain, before, selectTip(chain, votes)), 'the smaller id of as many votes')
  await world.timeline.run(CLOSED_MS)
  await alice.say('still here')
  await world.timeline.run(60 * SECOND_MS)
  assert.ok(bob.delivered.some(({ payload }) => Buffer.from(payload.body).equals(STILL_HERE)))
})

test.run()
