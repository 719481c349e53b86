// A kill at each persistence point of one member ends as no kill at all (groups design §12, 14): before a step is durable,
// after it is and before anything of it is done, and in between.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Change } from '../../protocols/group/state.ts'
import { SimMember } from './group-node.ts'
import type { CrashPoint } from './group-node.ts'
import { Invariants } from './invariants.ts'
import { makeWorld } from './world.ts'

const test = suite('sim · restarts')

const SECOND_MS = 1_000
/** Steps of one member in the story below, at least. */
const STEPS = 40

interface Kill {
  readonly at: number
  readonly point: CrashPoint
}

/** Three members talk and change things, one of which may be killed once; answers what each of them ends with. */
async function tell(kill?: Kill): Promise<unknown> {
  const world = makeWorld({ seed: 'restarts', engine: 'fake' })
  world.watchers.push(new Invariants(world))
  const [alice, bob, carol] = ['alice', 'bob', 'carol'].map((name) => new SimMember(world, name))
  assert.ok(alice && bob && carol)
  const rest = (): Promise<void> => world.timeline.run(15 * SECOND_MS)
  await alice.found()
  const changes: Change[] = []
  for (const other of [bob, carol]) {
    const { keyPackage, ref } = await other.keyPackage()
    changes.push({ kind: 'add', peer: other.peer, keyPackage, ref })
  }
  await alice.hear({ kind: 'changesAsked', changes })
  await rest()
  if (kill !== undefined) bob.lightFuse(kill.at, kill.point, SECOND_MS)
  // What a kill swallowed before it was durable, its agent asks for again.
  const insist = async (done: () => boolean, ask: () => Promise<unknown>): Promise<void> => {
    while (!done()) {
      if (bob.isUp) await ask()
      await world.timeline.run(2 * SECOND_MS)
    }
  }
  const said = (text: string) => (): boolean =>
    bob.delivered.some(({ payload }) => new TextDecoder().decode(payload.body) === text)
  await alice.say('one')
  await insist(said('two'), () => bob.say('two'))
  const promotion = { kind: 'role', member: { peer: bob.peer, gen: 1 }, role: 'admin' } as const
  await alice.hear({ kind: 'changesAsked', changes: [promotion] })
  await rest()
  const removal = { kind: 'remove', member: { peer: carol.peer, gen: 1 } } as const
  await insist(
    () => bob.isUp && !bob.view.roster.has(carol.peer),
    () => bob.ask({ kind: 'changesAsked', changes: [removal] }),
  )
  await insist(said('three'), () => bob.say('three'))
  await alice.say('four')
  await world.timeline.run(90 * SECOND_MS)
  assert.is(alice.authenticator, bob.authenticator)
  return [alice, bob, carol].map((one) => ({
    phase: one.state?.phase,
    roster: [...one.view.roster],
    admins: one.view.policy.admins,
    heard: one.delivered.map(({ payload }) => new TextDecoder().decode(payload.body)).sort(),
  }))
}

for (const point of ['before', 'after', 'between'] as const) {
  test(`killed ${point} each of ${STEPS} commits, all ends the same`, async () => {
    const whole = await tell()
    for (let at = 0; at < STEPS; at++) assert.equal(await tell({ at, point }), whole, `step ${at}`)
  })
}

test.run()
