// What an agent asks for, kept until the commit that makes it is settled (spec.md §4.5). Floor 0, pure.
import type { PeerId } from '../base/ids.ts'
import { toTimeMs } from '../base/time.ts'
import { leadsTo } from './chain.ts'
import { isAdmin } from './policy.ts'
import { isSettled } from './settled.ts'
import type { Change, GroupState, Intent } from './state.ts'
import type { GroupTurn } from './turn.ts'
import { INTENTS_MAX, LOST_SPREAD_MS, PAST_EPOCHS_MS, REKEY_MS } from './types.ts'
import type { View } from './types.ts'
import { isMember } from './view.ts'

/** After many losses the span to draw from grows no more. */
const LOST_TIMES_MAX = 16

/** Adds changes to what is asked for. */
export function askChanges(turn: GroupTurn, changes: readonly Change[], isRoutine = false): void {
  let { intentId } = turn.state
  const asked = changes.map((change): Intent => {
    intentId += 1
    const intent = { id: intentId, change, askedAt: turn.nowMs, attempts: 0 }
    return isRoutine ? { ...intent, isRoutine } : intent
  })
  const last = turn.state.intents.filter(
    ({ change }) => !changes.some((next) => supersedes(next, change)),
  )
  const intents = [...last, ...asked]
  const isOpen = ({ committedIn }: Intent): boolean => committedIn === undefined
  // Where nothing becomes final for long, the oldest that were committed are taken for done.
  const excess = intents.length - INTENTS_MAX
  const done = new Set(intents.filter((one) => !isOpen(one)).slice(0, Math.max(0, excess)))
  turn.change({ intentId, intents: intents.filter((one) => !done.has(one)) })
}

/** True if what was asked for before is not to be made again, should it lose: another change was asked for since. */
function supersedes(next: Change, last: Change): boolean {
  if (last.kind === 'rekey' || next.kind === 'rekey') return next.kind === last.kind
  const peerOf = (one: Exclude<Change, { kind: 'rekey' }>): PeerId =>
    one.kind === 'add' ? one.peer : one.member.peer
  if (peerOf(next) !== peerOf(last)) return false
  return next.kind === 'remove' ? last.kind !== 'remove' : next.kind === last.kind
}

/** True if the group already is as the change wants it. */
export function isDone(change: Change, view: View): boolean {
  switch (change.kind) {
    case 'add':
      return view.roster.has(change.peer)
    case 'remove':
      return !isMember(view, change.member)
    case 'role':
      return (
        !isMember(view, change.member) ||
        isAdmin(view.policy, change.member) === (change.role === 'admin')
      )
    case 'rekey':
      return false
  }
}

/** Takes back what was committed on a branch that lost; forgets what is settled. */
export function reviewIntents(turn: GroupTurn): void {
  const { chain, tip, intents } = turn.state
  if (intents.length === 0) return
  const next: Intent[] = []
  for (const intent of intents) {
    const { committedIn } = intent
    if (committedIn === undefined) {
      if (!isDone(intent.change, turn.view)) next.push(intent)
    } else if (!leadsTo(chain, committedIn, tip)) next.push(afterLoss(turn, intent))
    else if (!isSettled(turn.state, committedIn) && isWorthAgain(turn, intent)) next.push(intent)
  }
  if (next.length !== intents.length || next.some((one, i) => one !== intents[i])) {
    turn.change({ intents: next })
  }
}

/** Members whose commits met do not all try again at once; a removal does not wait. */
function afterLoss(turn: GroupTurn, intent: Intent): Intent {
  const { committedIn: _, dueAt: __, ...open } = intent
  if (open.change.kind === 'remove') return open
  const losses = (open.losses ?? 0) + 1
  const [a = 0, b = 0] = turn.draw(2)
  const span = LOST_SPREAD_MS * Math.min(2 ** (losses - 1), LOST_TIMES_MAX)
  const dueAt = toTimeMs(Math.round(turn.nowMs + ((a * 256 + b) / 65_536) * span))
  return { ...open, losses, dueAt }
}

/** Fresh keys that lost after a day would be none; who is in and who is out is made again whenever it lost. */
function isWorthAgain(turn: GroupTurn, { change, askedAt }: Intent): boolean {
  return change.kind !== 'rekey' || turn.nowMs - askedAt < PAST_EPOCHS_MS
}

/** Changes that wait to be committed. */
export function openIntents({ intents }: GroupState): Intent[] {
  return intents.filter(({ committedIn }) => committedIn === undefined)
}

/** Asks for fresh keys where the own ones are old and something was said under them. */
export function reviewKeyAge(turn: GroupTurn): void {
  const { rekeyedLamport, lamport, intents, phase } = turn.state
  if (phase !== 'member' || turn.nowMs < rekeyDueAt(turn.state)) return
  if (lamport === rekeyedLamport || intents.some(({ change }) => change.kind === 'rekey')) return
  askChanges(turn, [{ kind: 'rekey' }], true)
}

/** When own keys are old. */
export function rekeyDueAt({ rekeyedAt }: GroupState): number {
  return rekeyedAt + REKEY_MS
}
