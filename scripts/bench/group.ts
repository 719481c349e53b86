// MLS groups: our engine beside ts-mls 1.6.4 with its default provider, both live in one group, turn by turn
// (spec §8). `--n 2,8,32,128` chooses sizes, up to 1,024. Runs alone too: `node scripts/bench/group.ts`.
import { cpus } from 'node:os'
import * as tsMls from 'ts-mls'
import type { ClientState } from 'ts-mls'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import type { MlsEpoch } from '../../protocols/group/mls-engine.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import * as pairs from './group-pair.ts'
import type { Pair, Seat, TheirKeyPackage } from './group-pair.ts'
import { format, printTable, spread } from './result.ts'
import type { BenchResult, Spread } from './result.ts'

const SIZES = [2, 8, 32, 128]
const SIZE_MAX = 1_024
/** Above this many members ts-mls is not asked to join a cold tree: its check there costs N² hashes. */
const THEIR_COLD_JOIN_MAX = 128

const { engine, must, NONE, NOW, theirImpl } = pairs

type Side = 'ours' | 'theirs'
type Samples = Map<string, Record<Side, number[]>>

/** Times a piece of work and keeps what it answers. */
async function timed<T>(
  samples: Samples,
  name: string,
  side: Side,
  work: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now()
  const value = await work()
  const row = samples.get(name) ?? { ours: [], theirs: [] }
  row[side].push(performance.now() - startedAt)
  samples.set(name, row)
  return value
}

function roundsAt(n: number): number {
  if (n <= 128) return 7
  return n <= 256 ? 5 : 3
}

async function theirCommit(state: ClientState): Promise<Bytes> {
  const context = { state, cipherSuite: theirImpl }
  const { commit } = await tsMls.createCommit(context, { wireAsPublicMessage: true })
  return tsMls.encodeMlsMessage(commit)
}

async function theirProcess(state: ClientState, bytes: Bytes): Promise<void> {
  const message = tsMls.decodeMlsMessage(bytes, 0)?.[0]
  if (message?.wireformat !== 'mls_public_message') throw new Error('a commit decodes')
  const index = tsMls.emptyPskIndex
  await tsMls.processPublicMessage(state, message.publicMessage, index, theirImpl)
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
  await timed(samples, 'add all', 'theirs', () => addAll(theirAlone, own))
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

async function addAll(
  state: ClientState,
  own: readonly { readonly keyPackage: Bytes }[],
): Promise<void> {
  const extraProposals = own.map(({ keyPackage: bytes }) => {
    const message = tsMls.decodeMlsMessage(bytes, 0)?.[0]
    if (message?.wireformat !== 'mls_key_package') throw new Error('a KeyPackage decodes')
    return { proposalType: 'add' as const, add: { keyPackage: message.keyPackage } }
  })
  const context = { state, cipherSuite: theirImpl }
  await tsMls.createCommit(context, { wireAsPublicMessage: true, extraProposals })
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

/** How often a warm commit of ours, and following theirs, ask for digests and derivations. */
async function countWork(
  ours: MlsEpoch,
  seat: Seat,
  other: Bytes,
): Promise<Record<string, number>> {
  const counts = { digests: 0, expansions: 0 }
  const primitives: Primitives = {
    ...native,
    sha256: (...parts) => (counts.digests++, native.sha256(...parts)),
    hkdfExpandSha256: (prk, info, length) => (
      counts.expansions++,
      native.hkdfExpandSha256(prk, info, length)
    ),
  }
  const counting = makeMlsEngine({ primitives, random: randomBytes })
  const copy = await counting.restore(engine.snapshot(ours, 'full'), engine.tree(ours), seat)
  const since = (): Record<string, number> => {
    const { digests, expansions } = counts
    Object.assign(counts, { digests: 0, expansions: 0 })
    return { digests, expansions }
  }
  since()
  must(await counting.commit(copy, { proposals: [], nowMs: NOW }))
  const commit = since()
  must(await counting.process(copy, other))
  const process = since()
  return {
    commitDigests: commit['digests'] ?? 0,
    commitExpansions: commit['expansions'] ?? 0,
    processDigests: process['digests'] ?? 0,
    processExpansions: process['expansions'] ?? 0,
  }
}

function sealsIn(bytes: Bytes): number {
  const message = tsMls.decodeMlsMessage(bytes, 0)?.[0]
  if (message?.wireformat !== 'mls_public_message') return 0
  const { content } = message.publicMessage
  const nodes = content.contentType === 'commit' ? (content.commit.path?.nodes ?? []) : []
  return nodes.reduce((sum, { encryptedPathSecret }) => sum + encryptedPathSecret.length, 0)
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
  for (let i = 0; i < Math.min(rounds, n > 128 ? 3 : rounds); i++) await growth(samples, n, seats)
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
  let other = NONE
  for (let i = 0; i < rounds; i++) {
    const [mine, theirs] = await turn(samples, 'warm', pair)
    other = theirs
    figures['commitBytes'] = mine.length
    figures['seals'] = sealsIn(mine)
    figures['messageBytes'] = (await messages(samples, pair)).length
  }
  figures['treeBytes'] = engine.tree(pair.ours).length
  figures['snapshotBytes'] = engine.snapshot(pair.ours, 'full').length
  Object.assign(figures, await countWork(pair.ours, live[n - 2] ?? founder, other))
  return { n, samples, figures }
}

function cell({ median, min, max }: Spread): string {
  return `${format(median)} (${format(min)}–${format(max)})`
}

function show({ n, samples, figures }: Measured): void {
  const rows = [['ms: median (least–most)', 'ours', 'ts-mls 1.6.4', 'ratio', 'rounds']]
  for (const [name, { ours, theirs }] of samples) {
    const [a, b] = [spread(ours), spread(theirs)]
    const ratio = theirs.length === 0 ? '–' : `${format(b.median / a.median)}×`
    const their = theirs.length === 0 ? 'not measured' : cell(b)
    rows.push([name, cell(a), their, ratio, String(ours.length)])
  }
  printTable(`group of ${String(n)}`, rows)
  const facts = Object.entries(figures).map(([name, value]) => `${name} ${String(value)}`)
  console.log(facts.join(', '))
}

/** Slope of a log-log fit: 1 means linear growth. */
function exponent(points: readonly (readonly [n: number, ms: number])[]): number {
  const logs = points.map(([n, ms]) => [Math.log(n), Math.log(ms)] as const)
  const mean = (at: 0 | 1): number => logs.reduce((sum, log) => sum + log[at], 0) / logs.length
  const [x, y] = [mean(0), mean(1)]
  const cross = logs.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0)
  return cross / logs.reduce((sum, [a]) => sum + (a - x) ** 2, 0)
}

function sizesIn(options: readonly string[]): number[] {
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

/** Runs the bench; ratios above 1 mean that ours is faster than ts-mls 1.6.4 with its default provider. */
export async function run(options: readonly string[] = []): Promise<BenchResult> {
  const ratios: Record<string, number> = {}
  const figures: Record<string, number> = {}
  const growthOf = new Map<string, [number, number][]>()
  console.log(
    `Node ${process.version}, ${String(cpus().length)} × ${cpus()[0]?.model ?? 'unknown'}`,
  )
  for (const n of sizesIn(options)) {
    const measured = await measure(n)
    show(measured)
    for (const [name, row] of RATIOS) {
      const sample = measured.samples.get(row)
      if (sample === undefined) continue
      const ours = spread(sample.ours).median
      figures[`${name}${String(n)}Ms`] = ours
      if (sample.theirs.length > 0) {
        ratios[`${name}${String(n)}`] = spread(sample.theirs).median / ours
      }
      if (n >= 32) growthOf.set(name, [...(growthOf.get(name) ?? []), [n, ours]])
    }
    for (const [name, value] of Object.entries(measured.figures)) {
      figures[`${name}${String(n)}`] = value
    }
  }
  for (const [name, points] of growthOf) {
    if (points.length < 2) continue
    figures[`${name}Exponent`] = exponent(points)
    console.log(`${name} grows as N^${format(exponent(points))} from 32 members on`)
  }
  return { bench: 'group', ratios, figures }
}

if (process.argv[1] === import.meta.filename) await run(process.argv.slice(2))
