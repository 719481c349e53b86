// MLS groups: our engine beside ts-mls 1.6.4 with its default provider, both live in one group, turn by turn
// (spec §8). Sizes 2 to 256; `--large` adds 512 and 1,024, which take minutes, nearly all of them to fill the parents;
// `--n 2,8,32` chooses others. Medians of 5 rounds at least, above 256 members of 3.
// Runs alone too: `node scripts/bench/group.ts`.
import { cpus } from 'node:os'
import * as tsMls from 'ts-mls'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { MlsEpoch } from '../../protocols/group/mls-engine.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import * as pairs from './group-pair.ts'
import type { Pair, Seat, TheirKeyPackage } from './group-pair.ts'
import { countWork, sealsIn } from './group-counts.ts'
import { measureFounding } from './group-founding.ts'
import { exponentOf, showSamples, timed } from './group-samples.ts'
import type { Samples } from './group-samples.ts'
import { format, printTable, spread } from './result.ts'
import type { BenchResult } from './result.ts'

/** Said by `npm run bench -- --help`. */
export const usage =
  'MLS groups beside ts-mls; --large adds 512 and 1,024 members (minutes), --n 2,8,32 takes these'

const SIZES = [2, 8, 32, 128, 256]
const SIZES_LARGE = [512, 1_024]
const SIZE_MAX = 1_024
/** Below this size fixed costs hide the growth. */
const GROWTH_FROM = 32
/** Above this many members ts-mls is not asked to join a cold tree: its check there costs N² hashes. */
const THEIR_COLD_JOIN_MAX = 128

const { engine, must, NONE, NOW, theirCommit, theirImpl, theirProcess } = pairs

function roundsAt(n: number): number {
  if (n <= 128) return 7
  return n <= 256 ? 5 : 3
}

/** One turn: each side commits, and follows the other's commit, from the same epoch. */
async function turn(samples: Samples, kind: string, pair: Pair): Promise<[Bytes, Bytes]> {
  const { ours, theirs } = pair
  const rekey = { proposals: [], nowMs: NOW }
  const pending = must(
    await timed(samples, `commit ${kind}`, 'ours', () => engine.commit(ours, rekey)),
  )
  const other = await timed(samples, `commit ${kind}`, 'theirs', () => theirCommit(theirs))
  await timed(samples, `process ${kind}`, 'theirs', () => theirProcess(theirs, pending.commit))
  const followed = await timed(samples, `process ${kind}`, 'ours', () =>
    engine.process(ours, other),
  )
  if (must(followed).kind !== 'advanced') throw new Error('nobody was removed')
  return [pending.commit, other]
}

async function messages(samples: Samples, { ours, theirs }: Pair): Promise<Bytes> {
  const body = randomBytes(1_024)
  const seal = 'seal 1 KiB'
  const open = 'open 1 KiB'
  const sealed = await timed(samples, seal, 'ours', () => engine.seal(ours, body, NONE))
  const bytes = await timed(samples, seal, 'theirs', async () => {
    const made = await tsMls.createApplicationMessage(theirs, body, theirImpl)
    const { privateMessage } = made
    const wireformat = 'mls_private_message'
    return tsMls.encodeMlsMessage({ version: 'mls10', wireformat, privateMessage })
  })
  must(await timed(samples, open, 'ours', () => engine.open(ours, bytes)))
  await timed(samples, open, 'theirs', async () => {
    const message = tsMls.decodeMlsMessage(sealed.message, 0)?.[0]
    if (message?.wireformat !== 'mls_private_message') throw new Error('a message decodes')
    const index = tsMls.emptyPskIndex
    await tsMls.processPrivateMessage(theirs, message.privateMessage, index, theirImpl)
  })
  return sealed.message
}

/** Founding, adding all in one commit, joining the still cold tree. */
async function growth(samples: Samples, n: number, seats: readonly Seat[]): Promise<void> {
  const [founder, ...others] = seats
  if (founder === undefined) return
  const groupId = randomBytes(32)
  const create = { groupId, self: founder, policy: randomBytes(64), nowMs: NOW }
  const alone = await timed(samples, 'create', 'ours', () => engine.create(create))
  const theirAlone = await timed(samples, 'create', 'theirs', async () => {
    const { publicPackage, privatePackage } = await pairs.theirKeyPackage(founder)
    return tsMls.createGroup(groupId, publicPackage, privatePackage, [], theirImpl)
  })
  const own = await Promise.all(others.map((seat) => engine.keyPackage(seat, { nowMs: NOW })))
  const last = others.at(-1) ?? founder
  const theirs = await pairs.theirKeyPackage(last)
  const proposals = own.map(({ keyPackage }) => ({ kind: 'add' as const, keyPackage }))
  const pending = must(
    await timed(samples, 'add all', 'ours', () => engine.commit(alone, { proposals, nowMs: NOW })),
  )
  const asTheirs = own.map(({ keyPackage }) => pairs.toTheirAdd(keyPackage))
  await timed(samples, 'add all', 'theirs', () => theirCommit(theirAlone, asTheirs))
  const tree = engine.tree(pending.child)
  const welcome = pending.welcomes.at(-1)?.welcome ?? NONE
  const secret = own.at(-1)?.secret ?? NONE
  must(
    await timed(samples, 'join cold', 'ours', () =>
      engine.join({ welcome, secret, tree, self: last }),
    ),
  )
  if (n <= THEIR_COLD_JOIN_MAX) await joinCold(samples, alone, proposals, theirs)
}

async function joinCold(
  samples: Samples,
  alone: MlsEpoch,
  proposals: readonly { readonly kind: 'add'; readonly keyPackage: Bytes }[],
  theirs: TheirKeyPackage,
): Promise<void> {
  const adds = [...proposals.slice(0, -1), { kind: 'add' as const, keyPackage: theirs.message }]
  const pending = must(await engine.commit(alone, { proposals: adds, nowMs: NOW }))
  const tree = engine.tree(pending.child)
  const welcome = pending.welcomes.at(-1)?.welcome ?? NONE
  await timed(samples, 'join cold', 'theirs', () => pairs.joinWithTheirs(welcome, tree, theirs))
}

interface Measured {
  readonly n: number
  readonly samples: Samples
  readonly figures: Record<string, number>
}

async function measure(n: number): Promise<Measured> {
  const samples: Samples = new Map()
  const figures: Record<string, number> = {}
  const seats = Array.from({ length: n }, () => pairs.makeSeat())
  const rounds = roundsAt(n)
  for (let i = 0; i < rounds; i++) await growth(samples, n, seats)
  const live = seats.slice(0, n - 1)
  const founder = live[0] ?? pairs.makeSeat()
  if (n <= THEIR_COLD_JOIN_MAX) {
    const cold = await pairs.admit(await pairs.seatAll([founder]), live.slice(1))
    for (let i = 0; i < rounds; i++) {
      const [mine] = await turn(samples, 'cold', cold)
      figures['coldCommitBytes'] = mine.length
    }
  }
  const pair = await pairs.admit(await pairs.warm(await pairs.seatAll(live), live))
  let [mine, other] = [NONE, NONE]
  for (let i = 0; i < rounds; i++) {
    ;[mine, other] = await turn(samples, 'warm', pair)
    figures['commitBytes'] = mine.length
    figures['seals'] = sealsIn(mine)
    figures['messageBytes'] = (await messages(samples, pair)).length
  }
  figures['treeBytes'] = engine.tree(pair.ours).length
  figures['snapshotBytes'] = engine.snapshot(pair.ours, 'full').length
  Object.assign(figures, await countWork(pair, live[n - 2] ?? founder, [mine, other]))
  return { n, samples, figures }
}

function sizesIn(options: readonly string[]): number[] {
  if (options.includes('--large')) return [...SIZES, ...SIZES_LARGE]
  const at = options.findIndex((option) => option === '--n' || option.startsWith('--n='))
  if (at < 0) return SIZES
  const text = options[at] === '--n' ? (options[at + 1] ?? '') : (options[at] ?? '').slice(4)
  const sizes = text.split(',').map(Number)
  if (sizes.every((n) => n % 2 === 0 && n >= 2 && n <= SIZE_MAX)) return sizes
  throw new RangeError(`--n takes even sizes from 2 to ${String(SIZE_MAX)}, such as 2,8,32`)
}

const RATIOS: readonly (readonly [name: string, row: string])[] = [
  ['commit', 'commit warm'],
  ['process', 'process warm'],
  ['commitCold', 'commit cold'],
  ['processCold', 'process cold'],
  ['join', 'join cold'],
  ['addAll', 'add all'],
  ['seal', 'seal 1 KiB'],
  ['open', 'open 1 KiB'],
]

/** Exponents of a log-log fit: 1 means linear growth. */
function showGrowth(figures: Readonly<Record<string, number>>): void {
  const rows = RATIOS.flatMap(([name]) => {
    const [ours, theirs] = [figures[`${name}Exponent`], figures[`${name}TheirsExponent`]]
    const cell = (exponent = Number.NaN): string => format(exponent)
    return ours === undefined ? [] : [[name, cell(ours), cell(theirs)]]
  })
  if (rows.length === 0) return
  const heading = `time grows as N to the power of, from ${String(GROWTH_FROM)} members on`
  printTable(heading, [['', 'ours', 'ts-mls 1.6.4'], ...rows])
}

/** Runs the bench; ratios above 1 mean that ours is faster than ts-mls 1.6.4 with its default provider. */
export async function run(options: readonly string[] = []): Promise<BenchResult> {
  const ratios: Record<string, number> = {}
  const figures: Record<string, number> = {}
  const growthOf = new Map<string, [number, number][]>()
  const note = (name: string, n: number, ms: number): void =>
    void growthOf.set(name, [...(growthOf.get(name) ?? []), [n, ms]])
  console.log(
    `Node ${process.version}, ${String(cpus().length)} × ${cpus()[0]?.model ?? 'unknown'}`,
  )
  for (const n of sizesIn(options)) {
    const measured = await measure(n)
    showSamples(`group of ${String(n)}`, measured.samples)
    const facts = Object.entries(measured.figures).map(
      ([name, value]) => `${name} ${String(value)}`,
    )
    console.log(facts.join(', '))
    for (const [name, row] of RATIOS) {
      const sample = measured.samples.get(row)
      if (sample === undefined) continue
      const ours = spread(sample.ours).median
      figures[`${name}${String(n)}Ms`] = ours
      if (n >= GROWTH_FROM) note(name, n, ours)
      if (sample.theirs.length === 0) continue
      const theirs = spread(sample.theirs).median
      ratios[`${name}${String(n)}`] = theirs / ours
      figures[`${name}${String(n)}TheirsMs`] = theirs
      if (n >= GROWTH_FROM) note(`${name}Theirs`, n, theirs)
    }
    for (const [name, value] of Object.entries(measured.figures)) {
      figures[`${name}${String(n)}`] = value
    }
  }
  for (const [name, points] of growthOf) {
    if (points.length > 1) figures[`${name}Exponent`] = exponentOf(points)
  }
  showGrowth(figures)
  Object.assign(figures, await measureFounding())
  return { bench: 'group', ratios, figures }
}

if (process.argv[1] === import.meta.filename) await run(process.argv.slice(2))
