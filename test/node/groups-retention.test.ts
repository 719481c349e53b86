// Keys of past epochs are gone when their time is over: whoever steals the opened store reads nothing that is older.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../protocols/base/time.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import type { Generation } from '../../protocols/group/keys.ts'
import { standingOf } from '../../protocols/group/selection.ts'
import type { Change } from '../../protocols/group/state.ts'
import type { Retention } from '../../protocols/group/turn.ts'
import {
  PAST_EPOCHS_MAX,
  PAST_EPOCHS_MS,
  PAST_FINAL_MS,
  PAST_MS_MIN,
} from '../../protocols/group/types.ts'
import type { CommitId } from '../../protocols/group/types.ts'
import type { World } from '../sim/cast.ts'
import { SimMember } from '../sim/group-node.ts'
import { SimStore } from '../sim/sim-store.ts'
import { makeWorld } from '../sim/world.ts'
import type { Store } from '../../src/store/types.ts'
import { messagesIn, Thief } from '../support/thief.ts'
import type { Published } from '../support/thief.ts'

const test = suite('node · groups retention')

/** Members look at their clocks this often in the simulation. */
const TICK_MS = 300
const LONGEST: Retention = { epochs: PAST_EPOCHS_MAX, ms: PAST_EPOCHS_MS }

/** A copy of somebody's rows, and what was true when it was taken. */
interface Theft {
  readonly victim: SimMember
  readonly rows: Store
  readonly at: number
  readonly epoch: number
  /** When each epoch was seen to be over, and to be before the final one. */
  readonly overAt: ReadonlyMap<number, number>
  readonly finalAt: ReadonlyMap<number, number>
}

/** What was seen of a member so far. */
class Watched {
  readonly member: SimMember
  readonly overAt = new Map<number, number>()
  readonly finalAt = new Map<number, number>()

  constructor(member: SimMember) {
    this.member = member
  }

  look(at: number): Theft | undefined {
    const { state } = this.member
    if (state === undefined) return undefined
    const { epoch } = this.member.view
    const { final } = standingOf(state.chain, state.votes)
    const firm = final === undefined ? 0 : nodeOf(state.chain, final).record.epoch
    for (let past = 0; past < epoch; past++) {
      if (!this.overAt.has(past)) this.overAt.set(past, at)
      if (past < firm && !this.finalAt.has(past)) this.finalAt.set(past, at)
    }
    const { overAt, finalAt } = this
    return {
      victim: this.member,
      rows: new SimStore(this.member.backup()),
      at,
      epoch,
      overAt: new Map(overAt),
      finalAt: new Map(finalAt),
    }
  }
}

/** A group in virtual time whose members are robbed after every step. */
class Robbed {
  readonly all: readonly SimMember[]
  readonly thefts: Theft[] = []
  readonly generations = new Map<CommitId, Generation>()
  readonly #world: World
  readonly #watched: readonly Watched[]

  private constructor(world: World, all: readonly SimMember[]) {
    this.#world = world
    this.all = all
    this.#watched = all.map((member) => new Watched(member))
  }

  static async of(names: readonly string[], retention?: Retention): Promise<Robbed> {
    const world = makeWorld({ seed: names.join() })
    const { timeline } = world
    const all = names.map((name) => new SimMember(world, name, retention && { retention }))
    const [founder, ...others] = all
    assert.ok(founder)
    await founder.found()
    const changes: Change[] = []
    for (const other of others) {
      const { keyPackage, ref } = await other.keyPackage()
      changes.push({ kind: 'add', peer: other.peer, keyPackage, ref })
    }
    await founder.hear({ kind: 'changesAsked', changes })
    await timeline.run(2 * MINUTE_MS)
    return new Robbed(world, all)
  }

  get groupId(): World['groupId'] {
    return this.#world.groupId
  }

  /** Everybody there speaks, one renews the keys, time goes by, everybody is robbed. */
  async step(by: SimMember, ms: number): Promise<void> {
    for (const member of this.all) if (member.isUp) await member.say('something')
    await this.run(SECOND_MS)
    await by.hear({ kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
    await this.run(ms)
  }

  async run(ms: number): Promise<void> {
    const { timeline } = this.#world
    await timeline.run(ms)
    for (const one of this.#watched) {
      for (const [start, { generation }] of one.member.state?.generations ?? []) {
        this.generations.set(start, generation)
      }
      const theft = one.look(timeline.nowMs)
      if (theft !== undefined) this.thefts.push(theft)
    }
  }

  published(): Published[] {
    return this.all.flatMap(({ published }) => published)
  }
}

/** True if the keys of an epoch must be gone. */
function isOver({ at, epoch, overAt, finalAt }: Theft, past: number, limits: Retention): boolean {
  const over = overAt.get(past)
  if (over === undefined) return false
  const ageMs = at - over - TICK_MS
  const final = finalAt.get(past)
  if (epoch - past > PAST_EPOCHS_MAX || ageMs >= limits.ms) return true
  if (epoch - past > limits.epochs && ageMs >= PAST_MS_MIN) return true
  return final !== undefined && at - Math.max(final, over) - TICK_MS >= PAST_FINAL_MS
}

/** Tries everything in every stolen store; answers the most epochs that one reached back. */
async function attack(robbed: Robbed, limits: Retention = LONGEST): Promise<number> {
  const messages = messagesIn(robbed.published(), robbed.generations.values())
  assert.ok(messages.length > 0)
  let most = 0
  for (const theft of robbed.thefts) {
    const { victim, rows, epoch } = theft
    const thief = await Thief.of(victim.name, robbed.groupId, rows)
    const reached = await thief.reach()
    for (const past of reached.epochs) {
      const name = `${victim.name} at epoch ${epoch}: keys of epoch ${past}`
      assert.not.ok(isOver(theft, past, limits), name)
    }
    most = Math.max(most, epoch - Math.min(...reached.epochs))
  }
  const last = robbed.thefts.slice(-robbed.all.length)
  for (const { victim, rows } of last) {
    const thief = await Thief.of(victim.name, robbed.groupId, rows)
    const opened = await (await thief.reach()).open(messages)
    assert.ok(opened.length < messages.length)
  }
  return most
}

test('of 20 epochs in a minute a thief has the last eight; a minute after all have moved on, none but the newest', async () => {
  const robbed = await Robbed.of(['alice', 'bob', 'carol'])
  for (let i = 0; i < 20; i++) await robbed.step(robbed.all[i % 3] as SimMember, 2 * SECOND_MS)
  await robbed.run(PAST_FINAL_MS + 10 * SECOND_MS)
  assert.is(await attack(robbed), PAST_EPOCHS_MAX)
  for (const { victim, rows } of robbed.thefts.slice(-3)) {
    const thief = await Thief.of(victim.name, robbed.groupId, rows)
    assert.equal((await thief.reach()).epochs, [victim.view.epoch])
  }
})

test('who is not in the majority keeps keys for eight epochs and 24 hours at most, its own commits among them', async () => {
  const robbed = await Robbed.of(['alice', 'bob', 'carol', 'dave', 'erin'])
  const [alice, bob, ...others] = robbed.all as [SimMember, SimMember, ...SimMember[]]
  for (const other of others) await other.crash()
  for (let i = 0; i < 20; i++) await robbed.step(i % 6 === 0 ? alice : bob, 5 * SECOND_MS)
  for (let i = 0; i < 3; i++) await robbed.step(i % 2 === 0 ? alice : bob, 9 * HOUR_MS)
  assert.is(await attack(robbed), PAST_EPOCHS_MAX)
})

test('a shorter retention is kept to', async () => {
  const limits: Retention = { epochs: 2, ms: HOUR_MS / 2 }
  const robbed = await Robbed.of(['alice', 'bob', 'carol', 'dave'], limits)
  const [alice, bob, ...others] = robbed.all as [SimMember, SimMember, ...SimMember[]]
  for (const other of others) await other.crash()
  for (let i = 0; i < 8; i++) await robbed.step(i % 2 === 0 ? alice : bob, 10 * SECOND_MS)
  await robbed.step(alice, HOUR_MS)
  assert.is(await attack(robbed, limits), limits.epochs)
  for (const { victim, rows } of robbed.thefts.slice(-2)) {
    const thief = await Thief.of(victim.name, robbed.groupId, rows)
    assert.equal(thief.epochs, [victim.view.epoch])
  }
})

test('what was opened or sealed in an epoch does not open again with what is stored of it', async () => {
  const robbed = await Robbed.of(['alice', 'bob', 'carol'])
  for (let i = 0; i < 4; i++) await robbed.step(robbed.all[i % 3] as SimMember, 3 * SECOND_MS)
  for (const member of robbed.all) await member.say('in the newest epoch')
  await robbed.run(5 * SECOND_MS)
  const messages = messagesIn(robbed.published(), robbed.generations.values())
  for (const { victim, rows } of robbed.thefts.slice(-3)) {
    const thief = await Thief.of(victim.name, robbed.groupId, rows)
    assert.is((await thief.asStored().open(messages)).length, 0)
    const used = victim.state?.tip
    assert.ok(used)
    assert.equal((await thief.nextSealed()).get(used), [1])
  }
})

test.run()
