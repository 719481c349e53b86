// What a member's rows must be: everything that it knows, and no secret longer than it may (6 and 14 of groups design §12).
import { inspect, isDeepStrictEqual } from 'node:util'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { MINUTE_MS } from '../../protocols/base/time.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import { PAST_EPOCHS_MS } from '../../protocols/group/types.ts'
import { GROUP_TABLES } from '../../src/node/group-rows.ts'
import type { Member } from './cast.ts'
import { Violation } from './cast.ts'

/** Clocks are read when something happens, or a timer ends; nothing is wiped in between. */
const EXPIRY_SLACK_MS: number = 15 * MINUTE_MS

/** 6: rows of secrets are those of epochs within the bound, and no others. */
export function checkRetention(member: Member, state: GroupState): void {
  const { held, checkpoints, owed, tip } = state
  const fail = (text: string): never => {
    throw new Violation('forward secrecy', `${member.name} ${text}`)
  }
  for (const [id, { endedAt }] of held) {
    if (id === tip || endedAt === undefined) continue
    if (member.nowMs - endedAt > PAST_EPOCHS_MS + EXPIRY_SLACK_MS) fail('keeps an epoch too long')
  }
  const counts = [
    [GROUP_TABLES.epoch, held.size],
    [GROUP_TABLES.snapshot, held.size],
    [GROUP_TABLES.checkpoint, checkpoints.size],
  ] as const
  for (const [table, size] of counts) {
    const rows = member.tables.get(table)?.size ?? 0
    if (rows !== size) fail(`has ${rows} rows in ${table} for ${size}`)
  }
  const hashes = [...held.values(), ...checkpoints.values(), ...owed].map((one) =>
    formatHex(one.treeHash),
  )
  const trees = member.tables.get(GROUP_TABLES.tree)?.size ?? 0
  if (trees !== new Set(hashes).size) fail(`has ${trees} trees for ${new Set(hashes).size}`)
}

/** 14: what is durable is everything but what a restart may forget. */
export function sameState(member: Member, a: GroupState, b: GroupState): void {
  const isSame = (key: keyof GroupState): boolean =>
    key === 'chain'
      ? a.chain.base === b.chain.base && isDeepStrictEqual(a.chain.nodes, b.chain.nodes)
      : key === 'votes'
        ? isDeepStrictEqual(counted(a.votes), counted(b.votes))
        : isDeepStrictEqual(a[key], b[key])
  for (const key of Object.keys(a) as (keyof GroupState)[]) {
    if (key === 'volatile' || isSame(key)) continue
    const what = `${key}: ${differenceOf(a[key], b[key])}`
    throw new Violation('restart equivalence', `rows of ${member.name} say another ${what}`)
  }
}

/** What of votes matters: of a double one that it is one. */
function counted(votes: GroupState['votes']): Map<PeerId, unknown> {
  const all = [...votes].map(([peer, vote]) => {
    return [peer, vote.isDouble === true ? { gen: vote.gen, isDouble: true } : vote] as const
  })
  return new Map(all)
}

/** Where two values begin to differ, for a reader. */
function differenceOf(a: unknown, b: unknown, depth = 0): string {
  if (isDeepStrictEqual(a, b)) return ''
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || depth > 4) {
    return `${inspect(a, { depth: 1 })} is ${inspect(b, { depth: 1 })}`.slice(0, 200)
  }
  const entriesOf = (one: object): Map<unknown, unknown> =>
    one instanceof Map ? one : new Map(Object.entries(one))
  const [left, right] = [entriesOf(a), entriesOf(b)]
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    if (isDeepStrictEqual(left.get(key), right.get(key))) continue
    if (key === 'children' || key === 'forks') continue
    return `${String(key).slice(0, 12)} ${differenceOf(left.get(key), right.get(key), depth + 1)}`
  }
  return ''
}
