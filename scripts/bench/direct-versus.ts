// Sessions in memory, ours against libsignal's: the same measures in interleaved rounds of one process.
import { ownContestant } from './direct-contestant.ts'
import type { Contestant, Side } from './direct-contestant.ts'
import { loadLibsignal } from './peers/libsignal/contestant.ts'
import { format, printTable, spread } from './result.ts'

/** Rounds that count; one more before them warms up. */
const ROUNDS = 10
/** Messages, or setups, of one round. */
const COUNTS = {
  oneWay: 1_000,
  pingPong: 400,
  setup: 80,
  oneWayReread: 1_000,
  pingPongReread: 400,
} as const

type Measure = keyof typeof COUNTS
const MEASURES: readonly Measure[] = [
  'oneWay',
  'pingPong',
  'setup',
  'oneWayReread',
  'pingPongReread',
]

/** Per second, by contestant and measure. */
export interface Versus {
  /** Ours over libsignal's, in the measures that a running node resembles; empty if it cannot take part. */
  readonly ratios: Readonly<Record<string, number>>
  readonly figures: Readonly<Record<string, number>>
}

async function timed(count: number, work: (at: number) => void | Promise<void>): Promise<number> {
  const startedAt = performance.now()
  for (let at = 0; at < count; at++) {
    const working = work(at)
    if (working !== undefined) await working
  }
  return (count * 1_000) / (performance.now() - startedAt)
}

async function runRound(contestant: Contestant, measure: Measure): Promise<number> {
  const count = COUNTS[measure]
  if (measure === 'setup') {
    const setups = Array.from({ length: count }, () => contestant.prepareSetup())
    return timed(count, (at) => setups[at]?.())
  }
  const send = await contestant.startTalk(measure.endsWith('Reread'))
  // Both have heard of the other: no handshake rides along any more.
  for (const from of ['alice', 'bob', 'alice'] as const) await send(from)
  const turn = (at: number): Side =>
    measure.startsWith('pingPong') && at % 2 === 0 ? 'bob' : 'alice'
  return timed(count, (at) => send(turn(at)))
}

async function openPeer(): Promise<Contestant | string> {
  try {
    return await loadLibsignal()
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Measures, prints a table, and answers medians: `ownOneWay`, `libsignalOneWay`, with `…Min` and `…Max`. */
export async function measureVersus(rounds: number = ROUNDS): Promise<Versus> {
  const own = ownContestant()
  const peer = await openPeer()
  const contestants: [string, Contestant][] = [['own', own]]
  if (typeof peer !== 'string') contestants.push(['libsignal', peer])
  const samples = new Map<string, number[]>()
  for (let round = 0; round <= rounds; round++) {
    for (const measure of MEASURES) {
      for (const [name, contestant] of contestants) {
        const rate = await runRound(contestant, measure)
        const key = keyOf(name, measure)
        if (round > 0) samples.set(key, [...(samples.get(key) ?? []), rate])
      }
    }
  }
  const figures: Record<string, number> = { suite: own.suite }
  for (const [key, rates] of samples) {
    const { median, min, max } = spread(rates)
    Object.assign(figures, { [key]: median, [`${key}Min`]: min, [`${key}Max`]: max })
  }
  const ratios = Object.fromEntries(
    MEASURES.map((measure) => {
      const theirs = samples.get(keyOf('libsignal', measure)) ?? []
      const ours = samples.get(keyOf('own', measure)) ?? []
      // Round by round: what disturbs the machine disturbs both of a round.
      return [measure, spread(theirs.map((rate, round) => Number(ours[round]) / rate)).median]
    }),
  )
  print(own, peer, figures, ratios)
  const { oneWay = Number.NaN, pingPong = Number.NaN, setup = Number.NaN, ...others } = ratios
  if (typeof peer === 'string') return { ratios: {}, figures }
  return { ratios: { oneWay, pingPong, setup }, figures: { ...figures, ...suffixed(others) } }
}

function suffixed(ratios: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(ratios).map(([name, ratio]) => [`${name}Ratio`, ratio]))
}

function keyOf(name: string, measure: Measure): string {
  return `${name}${measure.charAt(0).toUpperCase()}${measure.slice(1)}`
}

function print(
  own: Contestant,
  peer: Contestant | string,
  figures: Readonly<Record<string, number>>,
  ratios: Readonly<Record<string, number>>,
): void {
  const cell = (name: string, measure: Measure): string => {
    const key = keyOf(name, measure)
    const [median, min, max] = [key, `${key}Min`, `${key}Max`].map((one) =>
      format(figures[one] ?? Number.NaN),
    )
    return `${median} (${min}–${max})`
  }
  const rows = MEASURES.map((measure) => {
    const cells = [measure, cell('own', measure)]
    if (typeof peer === 'string') return cells
    return [...cells, cell('libsignal', measure), `${format(ratios[measure] ?? Number.NaN)}×`]
  })
  const head = typeof peer === 'string' ? ['', 'own'] : ['', 'own', 'libsignal', 'ratio']
  printTable(
    `sessions in memory, 256 B, per second: median (least–best) of ${ROUNDS} interleaved rounds; median ratio`,
    [head, ...rows],
  )
  console.log('sessions are serialized at every message; Reread: and read back from their bytes')
  console.log(`own: ${own.name}; Node ${process.version}; synchronous calls`)
  if (typeof peer === 'string') console.log(`libsignal takes no part, so no ratios: ${peer}`)
  else console.log(`libsignal: ${peer.name}; asynchronous calls over its native module, awaited`)
}

if (import.meta.main) await measureVersus()
