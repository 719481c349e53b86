// Inviting many through the group service: one commit, until it is durable and until all are handed their JoinPackages.
// The group and its store (in memory) are real; the peers are seeded and on no network, so what direct messages cost to
// carry the packages is not in it. `npm run bench -- invite`; alone: `node scripts/bench/invite.ts`.
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { startCrowd } from '../../test/support/crowd.ts'
import { format, printTable, spread } from './result.ts'
import type { BenchResult, Spread } from './result.ts'

/** Said by `npm run bench -- --help`. */
export const usage = 'inviting 250 and 400 through the group service'

const INVITED = [250, 400]
const ROUNDS = 3
const LOOK_MS = 5
const KIB = 1_024

interface Invited {
  readonly durableMs: number
  readonly handedMs: number
  readonly busyMs: number
  readonly packageKiB: number
  /** Of the whole process up to then, the peers' key packages included. */
  readonly mostMiB: number
}

async function invite(count: number): Promise<Invited> {
  await using crowd = await startCrowd(count)
  const { groups, strangers, handoffs } = crowd
  const { groupId } = await groups.create('everyone')
  const cpu = process.cpuUsage()
  const startedAt = performance.now()
  await groups.invite(
    groupId,
    strangers.map(({ peer }) => peer),
  )
  const durableMs = performance.now() - startedAt
  while (handoffs.length < count) await sleep(LOOK_MS)
  const handedMs = performance.now() - startedAt
  const { user, system } = process.cpuUsage(cpu)
  const [first] = handoffs
  return {
    durableMs,
    handedMs,
    busyMs: (user + system) / 1_000,
    packageKiB: (first?.content.length ?? 0) / KIB,
    mostMiB: process.resourceUsage().maxRSS / KIB,
  }
}

function cell({ median, min, max }: Spread): string {
  return `${format(median)} (${format(min)}–${format(max)})`
}

/** Runs the bench. */
export async function run(): Promise<BenchResult> {
  console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`)
  const figures: Record<string, number> = {}
  const rows: string[][] = []
  for (const count of INVITED) {
    const all: Invited[] = []
    for (let round = 0; round < ROUNDS; round++) all.push(await invite(count))
    const of = (field: keyof Invited): Spread => spread(all.map((one) => one[field]))
    const fields = ['durableMs', 'handedMs', 'busyMs', 'packageKiB', 'mostMiB'] as const
    for (const field of fields) {
      figures[`invite${count}${field.charAt(0).toUpperCase()}${field.slice(1)}`] = of(field).median
    }
    rows.push([`${count} invited`, ...fields.map((field) => cell(of(field)))])
  }
  printTable(`one invitation through the service: median (least–most) of ${ROUNDS}`, [
    [
      '',
      'durable, ms',
      'all handed over, ms',
      'CPU, ms',
      'JoinPackage, KiB',
      'most MiB of the process',
    ],
    ...rows,
  ])
  return { bench: 'invite', ratios: {}, figures }
}

if (import.meta.main) await run()
