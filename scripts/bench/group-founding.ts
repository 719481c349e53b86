// What a large group costs at once: founding it with one commit that adds all, and removing one member of 400.
import * as tsMls from 'ts-mls'
import { randomBytes } from '../../src/crypto/random.ts'
import * as pairs from './group-pair.ts'
import type { Pair, Seat } from './group-pair.ts'
import { showSamples, timed } from './group-samples.ts'
import type { Samples } from './group-samples.ts'
import { spread } from './result.ts'

const FOUNDED = [250, 400]
const REMOVED_FROM = 400
const ROUNDS = 5
const { engine, must, NOW, theirCommit, theirImpl, theirProcess } = pairs

/** What XMTP publishes, milliseconds, by row. */
const XMTP: Readonly<Record<string, string>> = {
  'create a group of 250': '4,300',
  'create a group of 400': '7,600',
  'remove one of 400, warm: commit': '320',
  'remove one of 400, cold: commit': '320',
}
const XMTP_REMARK = 'XMTP: as it publishes them. Its figures include its network, ours do not.'

/** Founds a group of `n`: key packages at hand, one commit, a Welcome for each, nothing sent. */
async function found(samples: Samples, n: number): Promise<void> {
  const seats = Array.from({ length: n }, () => pairs.makeSeat())
  const [founder, ...others] = seats
  if (founder === undefined) return
  const own = await Promise.all(others.map((seat) => engine.keyPackage(seat, { nowMs: NOW })))
  const proposals = own.map(({ keyPackage }) => ({ kind: 'add' as const, keyPackage }))
  const adds = own.map(({ keyPackage }) => pairs.toTheirAdd(keyPackage))
  const name = `create a group of ${String(n)}`
  for (let round = 0; round < ROUNDS; round++) {
    const groupId = randomBytes(32)
    const create = { groupId, self: founder, policy: randomBytes(64), nowMs: NOW }
    const { welcomes } = await timed(samples, name, 'ours', async () => {
      const alone = await engine.create(create)
      return must(await engine.commit(alone, { proposals, nowMs: NOW }))
    })
    if (welcomes.length !== n - 1) throw new Error('each newcomer has a Welcome')
    const { publicPackage, privatePackage } = await pairs.theirKeyPackage(founder)
    await timed(samples, name, 'theirs', async () => {
      const alone = await tsMls.createGroup(groupId, publicPackage, privatePackage, [], theirImpl)
      return theirCommit(alone, adds)
    })
  }
}

/** Removes the member beside the founder: the commit, and following it. */
async function remove(
  samples: Samples,
  name: string,
  { ours, theirs }: Pair,
  { peer }: Seat,
): Promise<void> {
  const proposals = [{ kind: 'remove' as const, peer }]
  const theirProposals = [{ proposalType: 'remove' as const, remove: { removed: 1 } }]
  for (let round = 0; round < ROUNDS; round++) {
    const pending = must(
      await timed(samples, `${name}: commit`, 'ours', () =>
        engine.commit(ours, { proposals, nowMs: NOW }),
      ),
    )
    const other = await timed(samples, `${name}: commit`, 'theirs', () =>
      theirCommit(theirs, theirProposals),
    )
    await timed(samples, `${name}: process`, 'theirs', () => theirProcess(theirs, pending.commit))
    must(await timed(samples, `${name}: process`, 'ours', () => engine.process(ours, other)))
  }
}

/** Medians of ours by the words of their rows. */
function figuresOf(samples: Samples): Record<string, number> {
  const words = (name: string): string =>
    name.replaceAll(/[^a-z0-9]+(.)/g, (_match, first: string) => first.toUpperCase())
  return Object.fromEntries(
    [...samples].flatMap(([name, { ours, theirs }]) => [
      [`${words(name)}Ms`, spread(ours).median],
      [`${words(name)}TheirsMs`, spread(theirs).median],
    ]),
  )
}

/** Measures, prints a table and answers the figures. */
export async function measureFounding(): Promise<Record<string, number>> {
  const samples: Samples = new Map()
  for (const n of FOUNDED) await found(samples, n)
  const live = Array.from({ length: REMOVED_FROM - 1 }, () => pairs.makeSeat())
  const [founder, second] = live
  if (founder === undefined || second === undefined) throw new Error('a group of 400 has members')
  const name = `remove one of ${String(REMOVED_FROM)}`
  const warm = await pairs.admit(await pairs.warm(await pairs.seatAll(live), live))
  await remove(samples, `${name}, warm`, warm, second)
  const cold = await pairs.admit(await pairs.seatAll([founder]), live.slice(1))
  await remove(samples, `${name}, cold`, cold, second)
  showSamples('large groups', samples, { title: 'XMTP', cells: XMTP })
  console.log(XMTP_REMARK)
  return figuresOf(samples)
}
