// One group of many nodes over TCP on loopback: how long until a message, or a commit, has reached everyone, while all
// are up and while a tenth of them stop and start again on their homes. `--nodes 50` chooses how many, 4 to 100.
//
// All nodes live in this process and share its one thread and one disk: times are what all of them together take,
// so they are an upper bound for nodes on machines of their own, and the CPU column is the work of the whole group.
// Alone: `node scripts/bench/mesh.ts`, which `--cpu-prof` can look into.
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { utf8 } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { MeshNode } from './mesh-node.ts'
import type { Thing } from './mesh-node.ts'
import { format, printTable, quantile } from './result.ts'
import type { BenchResult } from './result.ts'

/** Said by `npm run bench -- --help`. */
export const usage = 'a group over TCP on loopback, messages and commits; --nodes 50'

const NODES = 50
const NODES_MAX = 100
const RESTARTING_SHARE = 0.1
/** Rounds of one kind, and the time after which no further one begins. */
const ROUNDS = 100
const PHASE_MS = 15_000
/** After this a round has failed, and whoever is not in by then is measured as missing. */
const REACH_MS = 15_000
const JOIN_MS = 60_000
/** The nodes are calm when they take less than this share of a core for so long; it is awaited for at most so long. */
const CALM_SHARE = 0.3
const CALM_STEP_MS = 1_000
const CALM_MS = 3_000
const CALM_MS_MAX = 90_000
/** Between a round and the next: acknowledgements of a commit are still on their way. */
const PAUSE_MS = { message: 50, commit: 500 }
/** A restarting node is up for so long, and down for so long. */
const UP_MS = 4_000
const DOWN_MS = 1_000
const MIB: number = 1_024 * 1_024

type Kind = 'message' | 'commit'

/** Notes what reached whom. */
class Arrivals {
  readonly #at = new Map<Thing, Map<MeshNode, number>>()
  #changed: () => void = () => undefined

  note(node: MeshNode, thing: Thing, atMs: number): void {
    const nodes = this.#at.get(thing) ?? new Map<MeshNode, number>()
    if (!nodes.has(node)) nodes.set(node, atMs)
    this.#at.set(thing, nodes)
    this.#changed()
  }

  /** When a thing reached each of the nodes; undefined for those that it did not reach in time. */
  async all(
    thing: Thing,
    nodes: readonly MeshNode[],
    untilMs: number,
  ): Promise<(number | undefined)[]> {
    const times = (): (number | undefined)[] => nodes.map((node) => this.#at.get(thing)?.get(node))
    while (times().includes(undefined) && performance.now() < untilMs) {
      await Promise.race([
        new Promise<void>((resolve) => (this.#changed = resolve)),
        sleep(untilMs - performance.now()),
      ])
    }
    return times()
  }
}

/** What rounds of one kind gave: milliseconds until the last of the nodes, and until each. */
interface Rounds {
  readonly name: string
  readonly stayed: number[]
  readonly everyone: number[]
  readonly each: number[]
  missed: number
  cpuMs: number
}

class Mesh implements AsyncDisposable {
  readonly nodes: MeshNode[] = []
  readonly #arrivals = new Arrivals()
  readonly #folder = mkdtempSync(join(tmpdir(), 'conclave-bench-'))
  #groupId = ''

  /** Starts the nodes; the first knows where the others listen, and they know the first. */
  async start(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const folder = join(this.#folder, String(i))
      const note = this.#arrivals.note.bind(this.#arrivals)
      this.nodes.push(await MeshNode.start(folder, note))
    }
    const [first, ...others] = this.nodes
    for (const other of others) {
      await first?.agent.resolvePeer(other.agent.ready.ticket)
      await other.agent.resolvePeer(first?.agent.ready.ticket ?? '')
    }
  }

  /** Founds the group with one commit; answers the milliseconds until all are in, or undefined if not all are in time. */
  async found(): Promise<number | undefined> {
    const [founder, ...others] = this.nodes
    if (founder === undefined) throw new Error('a mesh has nodes')
    const { groups } = founder.agent
    this.#groupId = (await groups.create('mesh')).groupId
    const startedAt = performance.now()
    const peers = others.map(({ peerId }) => peerId)
    try {
      await groups.invite(this.#groupId, peers, { until: 'joined', timeoutMs: JOIN_MS })
    } catch (error) {
      if (error instanceof ConclaveError && error.code === 'STATE_NOT_REACHED') return undefined
      throw error
    }
    return performance.now() - startedAt
  }

  /** Waits until the nodes have found each other and have little else to do; answers the milliseconds it took. */
  async calm(): Promise<number> {
    const beganAt = performance.now()
    for (let calmFor = 0; calmFor < CALM_MS && performance.now() - beganAt < CALM_MS_MAX;) {
      const before = process.cpuUsage()
      await sleep(CALM_STEP_MS)
      const { user, system } = process.cpuUsage(before)
      const isCalm = (user + system) / 1_000 < CALM_STEP_MS * CALM_SHARE
      calmFor = isCalm ? calmFor + CALM_STEP_MS : 0
    }
    return performance.now() - beganAt
  }

  /** Those that are in. */
  async members(): Promise<MeshNode[]> {
    const lists = this.nodes.map(async (node) => ({ node, groups: await node.agent.groups.list() }))
    return (await Promise.all(lists)).flatMap(({ node, groups }) =>
      groups.length > 0 ? [node] : [],
    )
  }

  /** Rounds of one kind; some nodes restart meanwhile. */
  async rounds(
    kind: Kind,
    members: readonly MeshNode[],
    restarting: readonly MeshNode[],
  ): Promise<Rounds> {
    const during = restarting.length === 0 ? 'all up' : `${restarting.length} restarting`
    const rounds: Rounds = {
      name: `${kind}, ${during}`,
      stayed: [],
      everyone: [],
      each: [],
      missed: 0,
      cpuMs: 0,
    }
    const stop = new AbortController()
    const restarts = restarting.map((node, i) =>
      restartOften(node, i / restarting.length, stop.signal),
    )
    const endAt = performance.now() + PHASE_MS
    const before = process.cpuUsage()
    try {
      for (let round = 0; round < ROUNDS && performance.now() < endAt; round++) {
        await this.#round(kind, rounds, members, restarting)
        await sleep(PAUSE_MS[kind])
      }
    } finally {
      stop.abort()
      await Promise.all(restarts)
    }
    const { user, system } = process.cpuUsage(before)
    rounds.cpuMs = (user + system) / 1_000 / rounds.everyone.length
    return rounds
  }

  async #round(
    kind: Kind,
    rounds: Rounds,
    members: readonly MeshNode[],
    restarting: readonly MeshNode[],
  ): Promise<void> {
    const steady = members.filter((node) => !restarting.includes(node))
    const from = steady[Math.floor(Math.random() * steady.length)]
    if (from === undefined) throw new Error('somebody stays')
    const others = [...steady, ...restarting].filter((node) => node !== from)
    const startedAt = performance.now()
    // Neither a commit that is not made in time nor one that does not arrive holds up the bench.
    const late = sleep(REACH_MS).then(() => undefined)
    const thing = await Promise.race([this.#cause(kind, from).catch(() => late), late])
    const times =
      thing === undefined
        ? others.map(() => undefined)
        : await this.#arrivals.all(thing, others, startedAt + REACH_MS)
    const taken = times.map((atMs) => (atMs ?? Number.POSITIVE_INFINITY) - startedAt)
    rounds.each.push(...taken.filter(Number.isFinite))
    rounds.missed += taken.filter((ms) => !Number.isFinite(ms)).length
    rounds.stayed.push(Math.max(...taken.slice(0, steady.length - 1)))
    rounds.everyone.push(Math.max(...taken))
  }

  async #cause(kind: Kind, { agent: { groups } }: MeshNode): Promise<Thing> {
    if (kind === 'commit') return `epoch ${(await groups.rekey(this.#groupId)).epoch}`
    return `message ${(await groups.send(this.#groupId, utf8('x'.repeat(256)))).id}`
  }

  /** Waits until all hold one epoch; answers false if they do not in time. */
  async agree(nodes: readonly MeshNode[]): Promise<boolean> {
    const untilMs = performance.now() + REACH_MS
    for (;;) {
      const infos = nodes.map(({ agent }) => agent.groups.info(this.#groupId))
      const seen = new Set((await Promise.all(infos)).map(({ authenticator }) => authenticator))
      if (seen.size === 1 || performance.now() > untilMs) return seen.size === 1
      await sleep(100)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.filter(({ isUp }) => isUp).map((node) => node.stop()))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Stops and starts a node until told otherwise; it is up then. `share` of a turn later than the first. */
async function restartOften(node: MeshNode, share: number, signal: AbortSignal): Promise<void> {
  const wait = (ms: number): Promise<void> =>
    sleep(ms, undefined, { signal }).catch(() => undefined)
  await wait(share * (UP_MS + DOWN_MS))
  while (!signal.aborted) {
    await node.stop()
    await wait(DOWN_MS)
    await node.restart()
    await wait(UP_MS)
  }
}

function nodesIn(options: readonly string[]): number {
  const at = options.findIndex((option) => option === '--nodes' || option.startsWith('--nodes='))
  if (at < 0) return NODES
  const text = options[at] === '--nodes' ? options[at + 1] : options[at]?.slice('--nodes='.length)
  const count = Number(text)
  if (Number.isInteger(count) && count >= 4 && count <= NODES_MAX) return count
  throw new RangeError(`--nodes takes a number from 4 to ${NODES_MAX}`)
}

function row({ name, stayed, everyone, each, missed, cpuMs }: Rounds): string[] {
  const pair = (all: readonly number[]): string[] =>
    [0.5, 0.99].map((q) => format(quantile(all, q)))
  return [
    name,
    ...pair(stayed),
    ...pair(everyone),
    ...pair(each),
    format(cpuMs),
    String(missed),
    String(everyone.length),
  ]
}

function figuresOf({
  name,
  stayed,
  everyone,
  each,
  missed,
  cpuMs,
}: Rounds): Record<string, number> {
  const kind = name.startsWith('message') ? 'message' : 'commit'
  const prefix = name.endsWith('restarting') ? `${kind}Restarting` : kind
  return {
    [`${prefix}StayedPercentile50Ms`]: quantile(stayed, 0.5),
    [`${prefix}StayedPercentile99Ms`]: quantile(stayed, 0.99),
    [`${prefix}EveryonePercentile50Ms`]: quantile(everyone, 0.5),
    [`${prefix}EveryonePercentile99Ms`]: quantile(everyone, 0.99),
    [`${prefix}EachPercentile50Ms`]: quantile(each, 0.5),
    [`${prefix}EachPercentile99Ms`]: quantile(each, 0.99),
    [`${prefix}CpuMs`]: cpuMs,
    [`${prefix}Missed`]: missed,
    [`${prefix}Rounds`]: everyone.length,
  }
}

/** Rejections that nobody handled would end the program: here they are counted. */
function countLoose(): { end: () => { readonly count: number; readonly first?: string } } {
  const found: unknown[] = []
  const note = (reason: unknown): void => void found.push(reason)
  process.on('unhandledRejection', note)
  return {
    end() {
      process.off('unhandledRejection', note)
      const [first] = found
      const text = first instanceof Error ? first.stack : String(first)
      return { count: found.length, ...(found.length > 0 && text !== undefined && { first: text }) }
    },
  }
}

/** Runs the bench. */
export async function run(options: readonly string[] = []): Promise<BenchResult> {
  const count = nodesIn(options)
  const loose = countLoose()
  await using mesh = new Mesh()
  const beganAt = performance.now()
  console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`)
  await mesh.start(count)
  const startedMs = performance.now() - beganAt
  const joinedMs = (await mesh.found()) ?? Number.NaN
  const members = await mesh.members()
  console.log(
    `started in ${format(startedMs)} ms, ${members.length} of ${count} in after ${format(joinedMs)} ms`,
  )
  const calmMs = await mesh.calm()
  console.log(`calm after ${format(calmMs)} ms`)
  const restarting = members.slice(-Math.max(1, Math.round(members.length * RESTARTING_SHARE)))
  const all: Rounds[] = []
  for (const some of [[], restarting]) {
    for (const kind of ['message', 'commit'] as const) {
      const rounds = await mesh.rounds(kind, members, some)
      console.log(`${rounds.name}: ${rounds.everyone.length} rounds`)
      all.push(rounds)
    }
  }
  const isOne = await mesh.agree(members)
  const mostMiB = process.resourceUsage().maxRSS / 1_024
  const nowMiB = process.memoryUsage.rss() / MIB
  printTable(`a group of ${count} nodes in one process, TCP on loopback, ms until it reached`, [
    [
      '',
      'p50 who stayed',
      'p99',
      'p50 everyone',
      'p99',
      'p50 each',
      'p99',
      'CPU a round',
      'missed',
      'rounds',
    ],
    ...all.map(row),
  ])
  const { count: looseCount, first } = loose.end()
  console.log(
    [
      `one epoch at the end: ${isOne ? 'yes' : 'no'}`,
      `memory ${format(nowMiB)} MiB, most ${format(mostMiB)} MiB`,
      `rejections that nobody handled: ${looseCount}`,
    ].join('; '),
  )
  if (first !== undefined) console.log(first)
  const figures = {
    nodes: count,
    startedMs,
    joinedMs,
    calmMs,
    joined: members.length,
    mostMiB,
    looseCount,
  }
  Object.assign(figures, ...all.map(figuresOf))
  return { bench: 'mesh', ratios: {}, figures: { ...figures, agreed: Number(isOne) } }
}

if (import.meta.main) await run(process.argv.slice(2))
