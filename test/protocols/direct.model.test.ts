// Two ends over a link that reorders, loses and repeats, with crossed initiations, resets and reloads from rows.
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { HOUR_MS, toTimeMs } from '../../protocols/base/time.ts'
import { SEAL_DRAW_BYTES } from '../../protocols/direct/envelope-seal.ts'
import { loadSessions, sessionRows } from '../../protocols/direct/session-rows.ts'
import { noSessions } from '../../protocols/direct/session.ts'
import type { Sessions } from '../../protocols/direct/session.ts'
import type { SealedAt } from '../../protocols/direct/sessions.ts'
import { countSkipped } from '../../protocols/direct/skipped.ts'
import {
  HEADER_TRIALS_MAX,
  SESSIONS_PER_PEER_MAX,
  SKIP_PER_SESSION_MAX,
} from '../../protocols/direct/types.ts'
import type { Body } from '../../protocols/direct/types.ts'
import {
  drawsOf,
  fetchFrom,
  makeAgent,
  NOTHING_TO_SAY,
  NOW,
  operationsOf,
  say,
  seeded,
  valueOf,
} from '../support/direct-cast.ts'
import type { Agent } from '../support/direct-cast.ts'

const test = suite('direct · model')
const operations = operationsOf(seeded)
const CAST = [makeAgent(seeded, 'Alice'), makeAgent(seeded, 'Bob')] as const

/** Old chains whose keys are kept for certain: beyond them, a late envelope may be lost. */
const CHAINS_KEPT = HEADER_TRIALS_MAX - 2

type Action =
  | { readonly kind: 'send' | 'receipt' | 'reset' | 'initiate' | 'reload'; readonly by: 0 | 1 }
  | { readonly kind: 'hour' }
  | { readonly kind: 'deliver' | 'drop' | 'repeat'; readonly place: number }

interface Flight {
  readonly to: 0 | 1
  readonly envelope: Bytes
  readonly body: Body
  readonly at: SealedAt
}

/** What one end may do alone, freezing what it is given and asking twice. */
class Side {
  readonly agent: Agent
  readonly other: Agent
  readonly draw: (length: number) => Bytes
  sessions: Sessions
  nowMs = NOW
  saved = new Map<string, Bytes>()
  used = new Set<string>()

  constructor(agent: Agent, other: Agent, seed: string) {
    this.agent = agent
    this.other = other
    this.draw = drawsOf(seeded, `${seed} ${agent.name}`)
    this.sessions = freeze(noSessions(other.peer))
  }

  /** Persists the difference, as a store would, and checks the limits. */
  settle(next: Sessions): void {
    for (const row of sessionRows(this.sessions, next)) {
      if (row.kind === 'put') this.saved.set(row.key, row.value)
      else assert.ok(this.saved.delete(row.key), `${row.key} was there`)
    }
    assert.ok(next.list.length <= SESSIONS_PER_PEER_MAX)
    for (const { ratchet } of next.list) {
      assert.ok(countSkipped(ratchet.skipped) <= SKIP_PER_SESSION_MAX)
      assert.ok(ratchet.skipped.length < HEADER_TRIALS_MAX)
    }
    this.sessions = freeze(next)
  }

  reload(): void {
    const rows = [...this.saved].map(([key, value]) => ({ key, value }))
    const loaded = valueOf(loadSessions(this.other.peer, rows))
    assert.equal(loaded, this.sessions)
    this.sessions = freeze(loaded)
  }

  initiate(nowMs = this.nowMs): void {
    const fetched = fetchFrom(this.other)
    const draws = valueOf(operations.drawInitiation(fetched, this.draw))
    const attempt = (): unknown =>
      operations.initiate(this.agent.own, this.sessions, fetched, draws, nowMs)
    const made = operations.initiate(this.agent.own, this.sessions, fetched, draws, nowMs)
    assert.equal(attempt(), made)
    this.settle(valueOf(made).sessions)
  }

  seal(body: Body): { envelope: Bytes; at: SealedAt } {
    if (operations.needsBundle(this.sessions, { nowMs: this.nowMs })) this.initiate()
    const draws = this.draw(SEAL_DRAW_BYTES)
    const sealed = operations.seal(this.agent.own, this.sessions, body, draws, this.nowMs)
    assert.equal(operations.seal(this.agent.own, this.sessions, body, draws, this.nowMs), sealed)
    const { sessions, envelope, at } = valueOf(sealed)
    this.settle(sessions)
    return { envelope, at }
  }

  /** Answers the body, or undefined if the envelope is refused. */
  open(envelope: Bytes): Body | undefined {
    const { own, prekeys } = this.agent
    const lookup = {
      ...prekeys,
      isUsed: ({ baseKey }: { readonly baseKey: Bytes }): boolean => this.used.has(baseKey.join()),
    }
    const { nowMs } = this
    const before = structuredClone(this.sessions)
    const opened = operations.open(own, this.sessions, lookup, envelope, nowMs)
    assert.equal(operations.open(own, this.sessions, lookup, envelope, nowMs), opened)
    assert.equal(this.sessions, before)
    if (!opened.ok) return undefined
    const { consumed } = opened.value
    if (consumed !== undefined) this.used.add(consumed.tuple.baseKey.join())
    this.settle(opened.value.sessions)
    return opened.value.body
  }
}

/** Freezes all but the octets, which cannot be frozen: those are compared with a copy. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const part of Object.values(value)) freeze(part)
  return Object.freeze(value)
}

const by = fc.constantFrom(0 as const, 1 as const)
const place = fc.nat(5)
const anyAction: fc.Arbitrary<Action> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('send' as const), by }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('receipt' as const), by }) },
  // Epochs of the post-quantum ratchet fall due.
  { weight: 1, arbitrary: fc.constant({ kind: 'hour' as const }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('deliver' as const), place }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('drop' as const, 'repeat' as const), place }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('reset' as const, 'initiate' as const, 'reload' as const),
      by,
    }),
  },
)

/** Runs a story; every envelope opens at most once, and those in time exactly once. */
function run(actions: readonly Action[], seed: string, isCalm: boolean): void {
  const sides = [new Side(CAST[0], CAST[1], seed), new Side(CAST[1], CAST[0], seed)] as const
  const flights: Flight[] = []
  const arrived: Flight[] = []
  let sequence = 0
  const send = (from: 0 | 1, body: Body): void => {
    const sealed = sides[from].seal(body)
    flights.push({ to: from === 0 ? 1 : 0, body, ...sealed })
  }
  const deliver = (flight: Flight): void => {
    const got = sides[flight.to].open(flight.envelope)
    const { list } = sides[flight.to === 0 ? 1 : 0].sessions
    const sender = list.find(({ id }) => id === flight.at.session)
    const chains = sender === undefined ? Infinity : sender.ratchet.sendingChains - flight.at.chain
    if (isCalm && chains < CHAINS_KEPT) assert.equal(got, flight.body)
    else if (got !== undefined) assert.equal(got, flight.body)
    if (got !== undefined) arrived.push(flight)
  }
  for (const action of actions) {
    if (action.kind === 'send') send(action.by, say(++sequence))
    else if (action.kind === 'receipt') send(action.by, NOTHING_TO_SAY)
    else if (action.kind === 'hour') {
      for (const side of sides) side.nowMs = toTimeMs(side.nowMs + HOUR_MS)
    } else if (action.kind === 'reset') {
      sides[action.by].initiate()
      send(action.by, { receipts: [], controls: [{ kind: 'reset' }] })
    } else if (action.kind === 'initiate') sides[action.by].initiate()
    else if (action.kind === 'reload') sides[action.by].reload()
    else if ('place' in action) {
      const pool = action.kind === 'repeat' ? arrived : flights
      const at = Math.min(action.place, pool.length - 1)
      const flight = pool[at]
      if (flight === undefined) continue
      if (action.kind === 'repeat') {
        assert.is(sides[flight.to].open(flight.envelope), undefined)
        continue
      }
      flights.splice(at, 1)
      if (action.kind === 'deliver') deliver(flight)
    }
  }
  for (const flight of flights.splice(0)) deliver(flight)
  assert.is(new Set(arrived.map(({ envelope }) => envelope)).size, arrived.length)
  converge(sides)
}

/** Whatever happened: two exchanges later both ends send on the same session, and everything opens. */
function converge(sides: readonly [Side, Side]): void {
  const exchange = (): void => {
    for (const from of [0, 1] as const) {
      const body = say(1)
      assert.equal(sides[from === 0 ? 1 : 0].open(sides[from].seal(body).envelope), body)
    }
  }
  exchange()
  exchange()
  assert.is(sides[0].sessions.list[0]!.id, sides[1].sessions.list[0]!.id)
}

test('reordering, loss and repetition: once each, inputs untouched, limits kept', () => {
  const calm = anyAction.filter(({ kind }) => kind !== 'reset' && kind !== 'initiate')
  fc.assert(
    fc.property(fc.array(calm, { maxLength: 60 }), fc.string(), (actions, seed) => {
      run(actions, seed, true)
    }),
    { numRuns: 40 },
  )
})

test('new sessions and resets at any moment: never twice, and both ends meet again', () => {
  fc.assert(
    fc.property(fc.array(anyAction, { maxLength: 60 }), fc.string(), (actions, seed) => {
      run(actions, seed, false)
    }),
    { numRuns: 40 },
  )
})

test.run()
