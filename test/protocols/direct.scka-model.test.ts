// Epochs over a link that loses, repeats and reorders, with hours passing; and what a thief of the state can still read.
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { Session } from '../../protocols/direct/session.ts'
import { SCKA_EPOCH_MESSAGES, SCKA_EPOCH_MS } from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { makePair, NOW, operationsOf, say, seeded, valueOf } from '../support/direct-cast.ts'
import type { End } from '../support/direct-cast.ts'
import { pairUp } from '../support/direct-party.ts'
import { SckaSide } from '../support/scka-pair.ts'
import type { SckaMessage } from '../support/scka-pair.ts'

const test = suite('direct · post-quantum model')

type Action =
  | { readonly kind: 'send'; readonly by: 0 | 1 }
  | { readonly kind: 'deliver' | 'drop' | 'repeat'; readonly place: number }
  | { readonly kind: 'hour' }

const place = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.nat(6) },
)
const actions = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({ kind: fc.constant('send' as const), by: fc.constantFrom(0, 1) }),
    },
    { weight: 8, arbitrary: fc.record({ kind: fc.constant('deliver' as const), place }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constantFrom('drop' as const, 'repeat' as const), place }),
    },
    { weight: 2, arbitrary: fc.constant({ kind: 'hour' as const }) },
  ),
  { minLength: 80, maxLength: 250 },
) as fc.Arbitrary<Action[]>

interface Flight extends SckaMessage {
  readonly to: 0 | 1
}

/** Two sides and the link; checks what must always hold. */
class World {
  readonly sides: readonly [SckaSide, SckaSide]
  readonly flights: Flight[] = []
  readonly arrived: Flight[] = []

  constructor(seed: string) {
    this.sides = [new SckaSide('initiator', seed), new SckaSide('responder', seed)]
  }

  run(action: Action): void {
    if (action.kind === 'send') this.send(action.by)
    else if (action.kind === 'hour') this.passHour()
    else {
      const pool = action.kind === 'repeat' ? this.arrived : this.flights
      const at = Math.min(action.place, pool.length - 1)
      const flight = pool[at]
      if (flight === undefined) return
      if (action.kind === 'repeat') this.#repeat(flight)
      else pool.splice(at, 1)
      if (action.kind === 'deliver') this.deliver(flight)
    }
    this.#check()
  }

  passHour(): void {
    for (const side of this.sides) side.nowMs = toTimeMs(side.nowMs + SCKA_EPOCH_MS)
  }

  send(by: 0 | 1): void {
    this.flights.push({ to: by === 0 ? 1 : 0, ...this.sides[by].send() })
  }

  deliver(flight: Flight): void {
    assert.equal(valueOf(this.sides[flight.to].open(flight)), flight.key)
    this.arrived.push(flight)
    this.#check()
  }

  /** Its key is gone, and nothing changes. */
  #repeat(flight: Flight): void {
    const side = this.sides[flight.to]
    const { state } = side
    assert.is(valueOf(side.open(flight)), undefined)
    assert.is(side.state, state)
  }

  #check(): void {
    for (const { state, openedEpoch, skipped, sent, opened } of this.sides) {
      const derived = state.sending.epoch + (state.step.kind === 'encapsulated' ? 1 : 0)
      // Neither side completes epoch e + 2 before it has opened a message of e + 1.
      assert.ok(derived <= openedEpoch + 1, `${derived} derived, ${openedEpoch} opened`)
      assert.is(state.receiving.epoch, openedEpoch)
      assert.is(state.nextReceiving === undefined, derived === openedEpoch)
      assert.ok(skipped.size <= opened && sent >= 0)
    }
    const [a, b] = this.sides.map(({ state }) => state.sending.epoch) as [number, number]
    assert.ok(Math.abs(a - b) <= 1)
  }
}

test('whatever is lost, late or repeated, both sides find the same keys, and epochs go on', () => {
  let most = 0
  fc.assert(
    fc.property(actions, fc.string(), (story, seed) => {
      const world = new World(seed)
      for (const action of story) world.run(action)
      for (const flight of world.flights.splice(0)) world.deliver(flight)
      for (const { skipped } of world.sides)
        for (const key of skipped.values()) assert.is(key.length, 32)
      // Undisturbed, each hour brings an epoch.
      const before = world.sides[0].state.sending.epoch
      for (let round = 0; round < 8; round++) {
        world.passHour()
        for (const by of [0, 1] as const) {
          world.send(by)
          world.deliver(world.flights.pop()!)
        }
      }
      const after = world.sides[0].state.sending.epoch
      assert.ok(after >= before + 3, `${before} to ${after}`)
      most = Math.max(most, before)
    }),
    { numRuns: 60 },
  )
  assert.ok(most >= 4, `stories reach epoch ${most}`)
})

const stepOf = ({ sessions }: End): string => sessions.list[0]!.scka.step.kind
const sckaOf = ({ sessions }: End): Session['scka'] => sessions.list[0]!.scka

test('crossed initiations: each session has epochs of its own', () => {
  const [a, b] = makePair(native, 'crossed epochs')
  a.initiate('pair')
  b.initiate('pair')
  const [fromA, fromB] = [a.seal(say(1)).envelope, b.seal(say(1)).envelope]
  valueOf(b.open(fromA))
  valueOf(a.open(fromB))
  for (let turn = 2; turn < 5; turn++) {
    assert.equal(valueOf(b.open(a.seal(say(turn)).envelope)).body, say(turn))
    assert.equal(valueOf(a.open(b.seal(say(turn)).envelope)).body, say(turn))
  }
  assert.is(a.sessions.list[0]!.id, b.sessions.list[0]!.id)
  assert.equal([sckaOf(a).sending.epoch, sckaOf(b).sending.epoch], [1, 1])
  const { sending, receiving } = a.sessions.list[1]!.scka
  assert.equal([sending.epoch, receiving.epoch], [0, 0])
})

test('an offer that is lost rides again; a late one that was answered does no harm', () => {
  const [a, b] = makePair(seeded, 'offers')
  a.initiate('pair')
  const [one, two, three] = [1, 2, 3].map((i) => a.seal(say(i)).envelope)
  valueOf(b.open(two!))
  const answers = [1, 2].map((i) => b.seal(say(i)).envelope)
  valueOf(b.open(one!))
  assert.is(stepOf(b), 'encapsulated')
  valueOf(a.open(answers[1]!))
  assert.is(sckaOf(a).sending.epoch, 1)
  valueOf(a.open(answers[0]!))
  valueOf(b.open(a.seal(say(4)).envelope))
  assert.is(sckaOf(b).sending.epoch, 1)
  valueOf(b.open(three!))
  assert.equal([stepOf(a), stepOf(b)], ['idle', 'idle'])
  assert.equal(b.sessions.list[0]!.ratchet.skipped, [])
})

// Spec §4.1.4: "Receipt-only envelopes count like all others, so a one-way conversation completes epochs."
test('one side talks, the other only receipts: epochs are completed', () => {
  const [alice, bob] = pairUp(native)
  const epochs = (): number[] =>
    [alice, bob].map(({ state }) => state.sessions.list[0]?.scka.sending.epoch ?? -1)
  alice.connectTo(bob)
  for (let i = 0; i < 5 * SCKA_EPOCH_MESSAGES && Math.min(...epochs()) < 3; i++) {
    for (const sent of alice.transmitted(alice.submit(`message ${i}`))) {
      bob.receive(sent)
      alice.result(sent, 'accepted')
    }
    for (const receipt of bob.flushReceipts()) {
      alice.receive(receipt)
      bob.result(receipt, 'accepted')
    }
  }
  assert.ok(Math.min(...epochs()) >= 3, epochs().join())
})

/** Everything of an end's sessions at one moment. */
const steal = (end: End): Session[] => structuredClone([...end.sessions.list])

test('a thief of the whole state reads on until a turn on both sides and a new epoch, and no further', () => {
  const story = fc.array(fc.constantFrom(0, 1, 2), { minLength: 1, maxLength: 25 })
  fc.assert(
    fc.property(story, fc.string(), (turns, seed) => {
      const ends = makePair(seeded, seed)
      const [victim, peer] = ends
      const operations = operationsOf(seeded)
      let nowMs = NOW
      const exchange = (from: End, to: End): Bytes => {
        const { envelope } = from.seal(say(1), nowMs)
        valueOf(to.open(envelope, nowMs))
        return envelope
      }
      victim.initiate('pair')
      exchange(victim, peer)
      for (const turn of turns) {
        if (turn === 2) nowMs = toTimeMs(nowMs + SCKA_EPOCH_MS)
        else exchange(ends[turn], ends[1 - turn]!)
      }
      exchange(peer, victim)
      // The thief holds a copy, and opens with it whatever comes for the victim.
      let stolen = steal(victim)
      const thiefOpens = (envelope: Bytes): boolean => {
        const sessions = { ...victim.sessions, list: stolen }
        const { own, prekeys } = victim.agent
        const opened = operations.open(own, sessions, prekeys, envelope, nowMs)
        if (opened.ok) stolen = [...opened.value.sessions.list]
        return opened.ok
      }
      assert.ok(thiefOpens(exchange(peer, victim)), 'the stolen state is worth something')
      // Both turn and agree on two more epochs: one of them is proposed and answered since the theft.
      const epoch = sckaOf(victim).sending.epoch
      for (let i = 0; i < 20 && sckaOf(victim).receiving.epoch < epoch + 2; i++) {
        nowMs = toTimeMs(nowMs + SCKA_EPOCH_MS)
        exchange(victim, peer)
        thiefOpens(exchange(peer, victim))
      }
      assert.is(sckaOf(victim).receiving.epoch, epoch + 2)
      // Each ratchet alone has closed: with all of the other one handed to it anew, the thief reads nothing.
      const { envelope } = peer.seal(say(2), nowMs)
      const fresh = victim.sessions.list[0]!
      const old = stolen[0]!
      const variants = [
        { ...fresh, ratchet: old.ratchet, scka: old.scka },
        { ...fresh, ratchet: old.ratchet },
        { ...fresh, scka: old.scka },
      ]
      for (const list of variants) {
        stolen = [list]
        assert.not(thiefOpens(envelope))
      }
      stolen = [fresh]
      assert.ok(thiefOpens(envelope), 'what the victim holds opens it')
    }),
    { numRuns: 25 },
  )
})

// A quantum computer solves every Diffie-Hellman step: the thief is given the whole classical ratchet, always.
test('a thief with a quantum computer loses the conversation with the new epoch, not before', () => {
  const [victim, peer] = makePair(native, 'quantum')
  const { own, prekeys } = victim.agent
  victim.initiate('pair')
  for (let i = 1; i < 4; i++) {
    valueOf(peer.open(victim.seal(say(i)).envelope))
    valueOf(victim.open(peer.seal(say(i)).envelope))
  }
  const epoch = sckaOf(victim).sending.epoch
  let stolen = structuredClone(sckaOf(victim))
  let read = 0
  const thiefReads = (envelope: Bytes): boolean => {
    const list = [{ ...victim.sessions.list[0]!, scka: stolen }]
    const opened = operationsOf(native).open(
      own,
      { ...victim.sessions, list },
      prekeys,
      envelope,
      NOW,
    )
    if (opened.ok) stolen = opened.value.session.scka
    return opened.ok
  }
  while (sckaOf(victim).receiving.epoch === epoch) {
    const { envelope } = peer.seal(say(9))
    const isOld = sckaOf(peer).sending.epoch === epoch
    assert.is(thiefReads(envelope), isOld)
    if (isOld) read += 1
    valueOf(victim.open(envelope))
    valueOf(peer.open(victim.seal(say(9)).envelope))
  }
  assert.ok(read > 10, 'within the epoch the stolen chain leads on')
  assert.is(sckaOf(victim).receiving.epoch, epoch + 1)
})

test.run()
