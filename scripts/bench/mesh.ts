// One group of many nodes over TCP on loopback: how long until a message, or a commit, has reached everyone, while all
// are up and while a tenth of them stop and start again on their homes. `--nodes 50` chooses how many, 4 to 100;
// `--processes 5` how many processes they share.
//
// All nodes share this machine's cores and disk: times are what all of them together take, so they are an upper bound
// for nodes on machines of their own, and the CPU column is the work of the whole group. Where the cores are busy all
// the time the figures say how much work there is, and little about the protocol: the table shows how busy they were.
// Alone: `node --cpu-prof scripts/bench/mesh.ts` looks into every process.
import { cpus, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Crew } from './mesh-crew.ts'
import type { RemoteNode } from './mesh-crew.ts'
import { nowMs } from './mesh-node.ts'
import { Arrivals, COLUMNS, figuresOf, playRounds, row } from './mesh-rounds.ts'
import type { Rounds } from './mesh-rounds.ts'
import { format, printTable } from './result.ts'
import type { BenchResult } from './result.ts'

/** Said by `npm run bench -- --help`. */
export const usage = 'a group over TCP on loopback, messages and commits; --nodes 50, --processes 5'

const NODES = 50
const NODES_MAX = 100
const PROCESSES = 5
const RESTARTING_SHARE = 0.1
/** The bench ends itself after this, whatever it waits for. */
const RUN_MS_MAX: number = 8 * 60_000
const JOIN_MS = 90_000
const AGREE_MS = 30_000
/** The nodes are calm when they take less than this share of a core for so long; it is awaited for at most so long. */
const CALM_SHARE = 0.3
const CALM_STEP_MS = 1_000
const CALM_MS = 3_000
const CALM_MS_MAX = 60_000

/** The first knows where the others listen, and they know the first. */
async function introduce([first, ...others]: readonly RemoteNode[]): Promise<void> {
  for (const other of others) {
    await first?.call('meet', other.ticket)
    await other.call('meet', first?.ticket)
  }
}

/** Founds the group; answers the milliseconds until all are in, or undefined if not all are in time. */
async function found([founder, ...others]: readonly RemoteNode[]): Promise<number | undefined> {
  const startedAt = nowMs()
  const peers = others.map(({ peerId }) => peerId)
  const areIn = await founder?.call('found', peers, JOIN_MS)
  return areIn === true ? nowMs() - startedAt : undefined
}

async function membersOf(nodes: readonly RemoteNode[]): Promise<RemoteNode[]> {
  const areIn = await Promise.all(nodes.map((node) => node.call('isIn')))
  return nodes.filter((_, at) => areIn[at])
}

/** Waits until the nodes have found each other and have little else to do; answers the milliseconds it took. */
async function calmDown(crew: Crew): Promise<number> {
  const beganAt = nowMs()
  for (let calmFor = 0; calmFor < CALM_MS && nowMs() - beganAt < CALM_MS_MAX;) {
    const before = await crew.usage()
    await sleep(CALM_STEP_MS)
    const isCalm = (await crew.usage()).cpuMs - before.cpuMs < CALM_STEP_MS * CALM_SHARE
    calmFor = isCalm ? calmFor + CALM_STEP_MS : 0
  }
  return nowMs() - beganAt
}

/** Waits until all hold one epoch; answers false if they do not in time. */
async function agree(members: readonly RemoteNode[]): Promise<boolean> {
  const untilMs = nowMs() + AGREE_MS
  for (;;) {
    const seen = new Set(await Promise.all(members.map((node) => node.call('authenticator'))))
    if (seen.size === 1 || nowMs() > untilMs) return seen.size === 1
    await sleep(200)
  }
}

function numberIn(options: readonly string[], name: string, least: number, usual: number): number {
  const at = options.findIndex((option) => option === name || option.startsWith(`${name}=`))
  if (at < 0) return usual
  const text = options[at] === name ? options[at + 1] : options[at]?.slice(name.length + 1)
  const count = Number(text)
  if (Number.isInteger(count) && count >= least && count <= NODES_MAX) return count
  throw new RangeError(`${name} takes a number from ${least} to ${NODES_MAX}`)
}

/** Rounds of both kinds, with and without restarts. */
async function measure(
  crew: Crew,
  arrivals: Arrivals,
  members: readonly RemoteNode[],
): Promise<Rounds[]> {
  const all: Rounds[] = []
  const some = members.slice(-Math.max(1, Math.round(members.length * RESTARTING_SHARE)))
  for (const restarting of [[], some]) {
    for (const kind of ['message', 'commit'] as const) {
      const rounds = await playRounds(kind, { crew, arrivals, members, restarting })
      console.log(`${row(rounds)[0] ?? ''}: ${rounds.everyone.length} rounds`)
      all.push(rounds)
    }
  }
  return all
}

/** Runs the bench. */
export async function run(options: readonly string[] = []): Promise<BenchResult> {
  const count = numberIn(options, '--nodes', 4, NODES)
  const processes = Math.min(count, numberIn(options, '--processes', 1, PROCESSES))
  const arrivals = new Arrivals()
  await using crew = new Crew(processes, arrivals.note.bind(arrivals))
  const tooLong = setTimeout(() => {
    console.error(`the bench took more than ${RUN_MS_MAX / 60_000} minutes`)
    crew.kill()
    process.exit(1)
  }, RUN_MS_MAX)
  using _ = { [Symbol.dispose]: () => clearTimeout(tooLong) }
  const load = loadavg().map((one) => one.toFixed(1))
  const model = cpus()[0]?.model ?? 'unknown'
  console.log(`Node ${process.version}, ${cpus().length} × ${model}, load before ${load.join(' ')}`)

  const beganAt = nowMs()
  await crew.start(count)
  await introduce(crew.nodes)
  const startedMs = nowMs() - beganAt
  const joinedMs = (await found(crew.nodes)) ?? Number.NaN
  const members = await membersOf(crew.nodes)
  console.log(
    `started in ${format(startedMs)} ms, ${members.length} of ${count} in after ${format(joinedMs)} ms`,
  )
  const calmMs = await calmDown(crew)
  console.log(`calm after ${format(calmMs)} ms`)
  const all = await measure(crew, arrivals, members)
  const isOne = await agree(members)
  const { mostMiB, loose } = await crew.usage()

  const heading = `a group of ${count} nodes in ${processes} processes, TCP on loopback, ms until it reached`
  printTable(heading, [COLUMNS, ...all.map(row)])
  console.log(
    [
      `one epoch at the end: ${isOne ? 'yes' : 'no'}`,
      `memory, most, all processes: ${format(mostMiB)} MiB`,
      `rejections that nobody handled: ${loose.length}`,
    ].join('; '),
  )
  if (loose[0] !== undefined) console.log(loose[0])
  const figures = {
    nodes: count,
    processes,
    startedMs,
    joinedMs,
    calmMs,
    joined: members.length,
    mostMiB,
    looseCount: loose.length,
    agreed: Number(isOne),
  }
  Object.assign(figures, ...all.map(figuresOf))
  return { bench: 'mesh', ratios: {}, figures }
}

if (import.meta.main) await run(process.argv.slice(2))
