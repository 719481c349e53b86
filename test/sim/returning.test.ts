// A member that was off for a thousand epochs catches up from any member, and reads what was said meanwhile, in order.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Change } from '../../protocols/group/state.ts'
import { SimMember } from './group-node.ts'
import { makeWorld } from './world.ts'

const test = suite('sim · returning')

const EPOCHS = 1_000
/** Every so many epochs something is said. */
const SAID_EVERY = 10
const SECOND_MS = 1_000

test('a member that was off for 1,000 epochs reads all that was said, in order, and goes on', async () => {
  const world = makeWorld({ seed: 'returning' })
  const [alice, bob, carol] = ['alice', 'bob', 'carol'].map((name) => new SimMember(world, name))
  assert.ok(alice && bob && carol)
  await alice.found()
  const changes: Change[] = []
  for (const other of [bob, carol]) {
    const { keyPackage, ref } = await other.keyPackage()
    changes.push({ kind: 'add', peer: other.peer, keyPackage, ref })
  }
  await alice.hear({ kind: 'changesAsked', changes })
  await world.timeline.run(120 * SECOND_MS)
  await carol.crash()
  const said: string[] = []
  for (let i = 0; i < EPOCHS; i++) {
    const by = i % 2 === 0 ? alice : bob
    await by.hear({ kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
    if (i % SAID_EVERY === 0) {
      said.push(`said ${i}`)
      await by.say(`said ${i}`)
    }
    await world.timeline.run(3 * SECOND_MS)
  }
  assert.ok(alice.view.epoch > EPOCHS)
  const startedAt = performance.now()
  await carol.restart()
  await world.timeline.run(300 * SECOND_MS)
  console.error(`caught up in ${Math.round(performance.now() - startedAt)} ms`)
  assert.is(carol.authenticator, alice.authenticator)
  const texts = carol.delivered.map(({ payload }) => new TextDecoder().decode(payload.body))
  assert.equal(texts.filter((text) => text.startsWith('said')).sort(byNumber), said)
  assert.is(carol.state?.since, carol.state?.chain.nodes.get(carol.state.since)?.record.commitId)
  for (const author of [alice, bob]) {
    const numbers = carol.delivered
      .filter(({ payload }) => payload.author.peer === author.peer)
      .map(({ payload }) => payload.n)
    assert.equal(
      numbers,
      [...numbers].sort((a, b) => a - b),
    )
  }
  assert.not.ok(carol.delivered.some(({ gap, late }) => gap || late))
})

function byNumber(a: string, b: string): number {
  return Number(a.split(' ')[1]) - Number(b.split(' ')[1])
}

test.run()
