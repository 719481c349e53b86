// The ratchet in memory: one-way, ping-pong and session setup at 256 B, over both Primitives. Part of the direct
// bench; alone: `node scripts/bench/direct-memory.ts`. Header encryption and padding are on; nothing is saved.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { SEAL_DRAW_BYTES } from '../../protocols/direct/envelope-seal.ts'
import { noSessions } from '../../protocols/direct/session.ts'
import type { Sessions } from '../../protocols/direct/session.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import {
  fetchFrom,
  makeAgent,
  NOW,
  operationsOf,
  say,
  valueOf,
} from '../../test/support/direct-cast.ts'
import type { Agent } from '../../test/support/direct-cast.ts'
import { format, printTable, spread } from './result.ts'

const CONTENT_BYTES = 256
const ROUNDS = 7
const IMPLEMENTATIONS = { native, portable } as const
/** Messages, or setups, of one round: about a quarter of a second each. */
const COUNTS = {
  native: { oneWay: 4_000, pingPong: 500, setup: 100 },
  portable: { oneWay: 2_000, pingPong: 40, setup: 8 },
} as const

type Measure = keyof (typeof COUNTS)['native']
const MEASURES: readonly Measure[] = ['oneWay', 'pingPong', 'setup']

interface Cast {
  readonly primitives: Primitives
  readonly alice: Agent
  readonly bob: Agent
}

/** A conversation that has left its handshake behind. */
interface Talk {
  readonly send: (from: 'alice' | 'bob') => void
}

function startTalk({ primitives, alice, bob }: Cast): Talk {
  const operations = operationsOf(primitives)
  const body = say(1, new Uint8Array(CONTENT_BYTES))
  const fetched = fetchFrom(bob)
  const draws = valueOf(operations.drawInitiation(fetched, randomBytes))
  const made = operations.initiate(alice.own, noSessions(bob.peer), fetched, draws, NOW)
  const states: Record<'alice' | 'bob', Sessions> = {
    alice: valueOf(made).sessions,
    bob: noSessions(alice.peer),
  }
  const send = (from: 'alice' | 'bob'): void => {
    const [own, to, theirs] =
      from === 'alice' ? ([alice, 'bob', bob] as const) : ([bob, 'alice', alice] as const)
    const draw = randomBytes(SEAL_DRAW_BYTES)
    const sealed = valueOf(operations.seal(own.own, states[from], body, draw, NOW))
    states[from] = sealed.sessions
    const opened = operations.open(theirs.own, states[to], theirs.prekeys, sealed.envelope, NOW)
    states[to] = valueOf(opened).sessions
  }
  send('alice')
  send('bob')
  send('alice')
  return { send }
}

/** From a bundle in hand to the first opened message: verification, handshake, envelope, handshake. */
function setUp({ primitives, alice, bob }: Cast, fetched: { bundle: Bytes; entry: Bytes }): void {
  const operations = operationsOf(primitives)
  const offer = { ...fetched, from: bob.peer }
  const draws = valueOf(operations.drawInitiation(offer, randomBytes))
  const made = valueOf(operations.initiate(alice.own, noSessions(bob.peer), offer, draws, NOW))
  const draw = randomBytes(SEAL_DRAW_BYTES)
  const sealed = valueOf(operations.seal(alice.own, made.sessions, say(1), draw, NOW))
  const start = noSessions(alice.peer)
  valueOf(operations.open(bob.own, start, bob.prekeys, sealed.envelope, NOW))
}

function timed(count: number, work: () => void): number {
  const startedAt = performance.now()
  for (let i = 0; i < count; i++) work()
  return (count * 1_000) / (performance.now() - startedAt)
}

/** One round of one measure: messages, or setups, per second. */
function runRound(name: keyof typeof COUNTS, measure: Measure, cast: Cast): number {
  const count = COUNTS[name][measure]
  if (measure === 'setup') {
    const { bundle, pair } = cast.bob.published
    return timed(count, () => setUp(cast, { bundle, entry: pair }))
  }
  const { send } = startTalk(cast)
  if (measure === 'oneWay') return timed(count, () => send('alice'))
  let turn = 0
  return timed(count, () => send(turn++ % 2 === 0 ? 'bob' : 'alice'))
}

/**
 * Measures the ratchet in memory, implementations and measures interleaved round by round.
 *
 * @returns Medians, least and greatest per second, keyed such as `nativeOneWay`, `nativeOneWayMin`.
 */
export function measureDirectMemory(rounds: number = ROUNDS): {
  readonly figures: Readonly<Record<string, number>>
} {
  const names = ['native', 'portable'] as const
  const samples = new Map<string, number[]>()
  const casts = names.map((name) => {
    const primitives = IMPLEMENTATIONS[name]
    const [alice, bob] = [makeAgent(primitives, 'Alice'), makeAgent(primitives, 'Bob')]
    return { name, cast: { primitives, alice, bob } }
  })
  // The first round warms up and does not count.
  for (let round = 0; round <= rounds; round++) {
    for (const measure of MEASURES) {
      for (const { name, cast } of casts) {
        const rate = runRound(name, measure, cast)
        const key = `${name}${measure.charAt(0).toUpperCase()}${measure.slice(1)}`
        if (round > 0) samples.set(key, [...(samples.get(key) ?? []), rate])
      }
    }
  }
  const figures: Record<string, number> = {}
  for (const [key, rates] of samples) {
    const { median, min, max } = spread(rates)
    Object.assign(figures, { [key]: median, [`${key}Min`]: min, [`${key}Max`]: max })
  }
  return { figures }
}

if (import.meta.main) {
  const { figures } = measureDirectMemory()
  const rows = Object.keys(figures)
    .filter((key) => !/(?:Min|Max)$/.test(key))
    .map((key) => [key, figures[key], figures[`${key}Min`], figures[`${key}Max`]])
    .map(([key, ...rest]) => [String(key), ...rest.map((rate) => format(Number(rate)))])
  printTable(
    `direct in memory, ${CONTENT_BYTES} B, per second, ${ROUNDS} rounds, Node ${process.version}`,
    [['', 'median', 'min', 'max'], ...rows],
  )
}
