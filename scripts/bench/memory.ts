// What a node with many sessions and many waiting messages occupies, and how fast it starts. `npm run bench -- memory`.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildHome } from './memory-home.ts'
import type { HomeSize } from './memory-home.ts'
import { format, printTable, spread } from './result.ts'
import type { BenchResult } from './result.ts'

const SIZES: Readonly<Record<string, HomeSize>> = {
  empty: { peers: 0, outgoing: 0, incoming: 0 },
  full: { peers: 10_000, outgoing: 5, incoming: 5 },
}
const STARTS = 3
const MIB: number = 1_024 * 1_024

interface Report {
  readonly readyMs: number
  readonly readyBytes: number
  readonly settledBytes: number
  readonly most: number
  readonly countMs: number
  readonly unread: number
  readonly queued: number
}

/** Starts a node as the program does: with code that an earlier start has compiled. */
async function startOnce(home: string, code: string): Promise<Report> {
  const child = fork(new URL('memory-node.ts', import.meta.url), [home], {
    stdio: 'inherit',
    env: { ...process.env, NODE_COMPILE_CACHE: code },
  })
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the node has ended')))
  ended.catch(() => undefined)
  const [report] = (await Promise.race([once(child, 'message'), ended])) as [Report]
  const gone = once(child, 'exit')
  child.disconnect()
  await gone
  return report
}

function demandAll({ peers, outgoing, incoming }: HomeSize, { queued, unread }: Report): void {
  if (queued === peers * outgoing && unread === peers * incoming) return
  throw new Error(`the node counts ${queued} queued and ${unread} unread messages`)
}

/** Runs the bench. */
export async function run(): Promise<BenchResult> {
  const figures: Record<string, number> = {}
  const rows: string[][] = []
  for (const [name, size] of Object.entries(SIZES)) {
    const folder = mkdtempSync(join(tmpdir(), 'conclave-bench-'))
    try {
      const home = join(folder, 'home')
      await buildHome(home, size)
      const reports: Report[] = []
      const code = join(folder, 'code')
      figures[`${name}FirstReadyMs`] = (await startOnce(home, code)).readyMs
      for (let start = 0; start < STARTS; start++) reports.push(await startOnce(home, code))
      for (const report of reports) demandAll(size, report)
      const of = (field: keyof Report): number => spread(reports.map((one) => one[field])).median
      Object.assign(figures, {
        [`${name}ReadyMs`]: of('readyMs'),
        [`${name}ReadyMiB`]: of('readyBytes') / MIB,
        [`${name}SettledMiB`]: of('settledBytes') / MIB,
        [`${name}MostMiB`]: Math.max(...reports.map(({ most }) => most)) / MIB,
        [`${name}CountMs`]: of('countMs'),
      })
      rows.push([
        `${size.peers} sessions, ${size.peers * (size.outgoing + size.incoming)} messages`,
        ...['FirstReadyMs', 'ReadyMs', 'ReadyMiB', 'SettledMiB', 'MostMiB', 'CountMs'].map((one) =>
          format(figures[`${name}${one}`] ?? Number.NaN),
        ),
      ])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  printTable(`a node after a fresh start, medians of ${STARTS} starts`, [
    ['', 'first, ms', 'ready, ms', 'MiB then', 'MiB 5 s later', 'most MiB', 'counting, ms'],
    ...rows,
  ])
  return { bench: 'memory', ratios: {}, figures }
}
