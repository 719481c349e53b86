// Rounds of the mesh bench: one node says or commits something, and it is timed until everybody has it.
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Crew, RemoteNode } from './mesh-crew.ts'
import { nowMs } from './mesh-node.ts'
import type { Kind, Thing } from './mesh-node.ts'
import { format, quantile } from './result.ts'

/** Rounds of one kind, and the time after which no further one begins. */
const ROUNDS = 100
const PHASE_MS = 30_000
/** After this a round has failed, and whoever does not have it by then has missed it. */
const REACH_MS = 30_000
/** Between a round and the next: acknowledgements of a commit are still on their way. */
const PAUSE_MS = { message: 50, commit: 500 }
/** A restarting node is up for so long, and down for so long. */
const UP_MS = 6_000
const DOWN_MS = 1_000

/** Notes what reached whom. */
export class Arrivals {
  readonly #at = new Map<Thing, Map<number, number>>()
  #changed: () => void = () => undefined

  note(index: number, thing: Thing, atMs: number): void {
    const nodes = this.#at.get(thing) ?? new Map<number, number>()
    if (!nodes.has(index)) nodes.set(index, atMs)
    this.#at.set(thing, nodes)
    this.#changed()
  }

  /** When a thing reached each of the nodes; undefined for those that it did not reach in time. */
  async all(
    thing: Thing,
    nodes: readonly RemoteNode[],
    untilMs: number,
  ): Promise<(number | undefined)[]> {
    const times = (): (number | undefined)[] =>
      nodes.map(({ index }) => this.#at.get(thing)?.get(index))
    while (times().includes(undefined) && nowMs() < untilMs) {
      await Promise.race([
        new Promise<void>((resolve) => (this.#changed = resolve)),
        sleep(untilMs - nowMs()),
      ])
    }
    return times()
  }
}

/** What rounds of one kind gave: milliseconds until the last of the nodes, and until each. */
export interface Rounds {
  readonly kind: Kind
  readonly restarting: number
  readonly stayed: number[]
  readonly everyone: number[]
  readonly each: number[]
  restarts: number
  missed: number
  /** Of a round, over all processes. */
  cpuMs: number
  /** Of all cores, by this bench and by everything. */
  ownShare: number
  busyShare: number
}

/** Who takes part. */
export interface Players {
  readonly crew: Crew
  readonly arrivals: Arrivals
  readonly members: readonly RemoteNode[]
  readonly restarting: readonly RemoteNode[]
}

/** Rounds of one kind; some nodes restart meanwhile. */
export async function playRounds(kind: Kind, players: Players): Promise<Rounds> {
  const { crew, restarting } = players
  const rounds: Rounds = {
    kind,
    restarting: restarting.length,
    stayed: [],
    everyone: [],
    each: [],
    restarts: 0,
    missed: 0,
    cpuMs: 0,
    ownShare: 0,
    busyShare: 0,
  }
  const stop = new AbortController()
  const turns = restarting.map((node, i) =>
    restartOften(node, i / restarting.length, stop.signal, () => (rounds.restarts += 1)),
  )
  const [beganAt, busyBefore, before] = [nowMs(), busyMs(), await crew.usage()]
  try {
    for (let round = 0; round < ROUNDS && nowMs() < beganAt + PHASE_MS; round++) {
      await playRound(rounds, players)
      await sleep(PAUSE_MS[kind])
    }
  } finally {
    stop.abort()
    await Promise.all(turns)
  }
  const cpuMs = (await crew.usage()).cpuMs - before.cpuMs
  const coresMs = (nowMs() - beganAt) * cpus().length
  rounds.cpuMs = cpuMs / rounds.everyone.length
  rounds.ownShare = cpuMs / coresMs
  rounds.busyShare = (busyMs() - busyBefore) / coresMs
  return rounds
}

async function playRound(
  rounds: Rounds,
  { arrivals, members, restarting }: Players,
): Promise<void> {
  const steady = members.filter((node) => !restarting.includes(node))
  const from = steady[Math.floor(Math.random() * steady.length)]
  if (from === undefined) throw new Error('somebody stays')
  const others = [...steady, ...restarting].filter((node) => node !== from)
  const startedAt = nowMs()
  // Neither a commit that is not made in time nor one that does not arrive holds up the bench.
  const late = sleep(REACH_MS).then(() => undefined)
  const caused = from.call('cause', rounds.kind) as Promise<Thing>
  const thing = await Promise.race([caused.catch(() => late), late])
  const times =
    thing === undefined
      ? others.map(() => undefined)
      : await arrivals.all(thing, others, startedAt + REACH_MS)
  const taken = times.map((atMs) => (atMs ?? Number.POSITIVE_INFINITY) - startedAt)
  rounds.each.push(...taken.filter(Number.isFinite))
  rounds.missed += taken.filter((ms) => !Number.isFinite(ms)).length
  rounds.stayed.push(Math.max(...taken.slice(0, steady.length - 1)))
  rounds.everyone.push(Math.max(...taken))
}

/** Stops and starts a node until told otherwise; it is up then. `share` of a turn later than the first. */
async function restartOften(
  node: RemoteNode,
  share: number,
  signal: AbortSignal,
  onRestart: () => void,
): Promise<void> {
  const wait = (ms: number): Promise<void> =>
    sleep(ms, undefined, { signal }).catch(() => undefined)
  await wait(share * (UP_MS + DOWN_MS))
  while (!signal.aborted) {
    await node.call('stop')
    await wait(DOWN_MS)
    await node.call('restart')
    onRestart()
    await wait(UP_MS)
  }
}

/** Milliseconds that the cores of this machine were busy, whoever with. */
function busyMs(): number {
  const times = cpus().map(({ times: { user, nice, sys, irq } }) => user + nice + sys + irq)
  return times.reduce((total, one) => total + one, 0)
}

/** The head of the table. */
export const COLUMNS: readonly string[] = [
  '',
  'p50 who stayed',
  'p99',
  'p50 everyone',
  'p99',
  'p50 each',
  'p99',
  'missed',
  'rounds',
  'restarts',
  'CPU s a round',
  'cores, ours',
  'all',
]

/** One line of it. */
export function row(rounds: Rounds): string[] {
  const { kind, restarting, stayed, everyone, each } = rounds
  const pair = (all: readonly number[]): string[] =>
    [0.5, 0.99].map((q) => format(quantile(all, q)))
  return [
    `${kind}, ${restarting === 0 ? 'all up' : `${restarting} restarting`}`,
    ...pair(stayed),
    ...pair(everyone),
    ...pair(each),
    String(rounds.missed),
    String(everyone.length),
    String(rounds.restarts),
    format(rounds.cpuMs / 1_000),
    percent(rounds.ownShare),
    percent(rounds.busyShare),
  ]
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`
}

/** The same for programs. */
export function figuresOf(rounds: Rounds): Record<string, number> {
  const { kind, restarting, stayed, everyone, each } = rounds
  const prefix = restarting > 0 ? `${kind}Restarting` : kind
  return {
    [`${prefix}StayedPercentile50Ms`]: quantile(stayed, 0.5),
    [`${prefix}StayedPercentile99Ms`]: quantile(stayed, 0.99),
    [`${prefix}EveryonePercentile50Ms`]: quantile(everyone, 0.5),
    [`${prefix}EveryonePercentile99Ms`]: quantile(everyone, 0.99),
    [`${prefix}EachPercentile50Ms`]: quantile(each, 0.5),
    [`${prefix}EachPercentile99Ms`]: quantile(each, 0.99),
    [`${prefix}CpuMs`]: rounds.cpuMs,
    [`${prefix}OwnShare`]: rounds.ownShare,
    [`${prefix}BusyShare`]: rounds.busyShare,
    [`${prefix}Missed`]: rounds.missed,
    [`${prefix}Rounds`]: everyone.length,
  }
}
