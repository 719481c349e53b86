// What cannot be followed here and nobody showed the way into. It is left aside, but not for good: whoever followed it may
// be met later, so those who voted for it are asked again and again (spec.md §4.2, §4.8). Floor 0, pure.
import { toTimeMs } from '../base/time.ts'
import { failCommit } from './adoption.ts'
import { isClosed, leadsTo, nodeOf, openTo, pathFrom } from './chain.ts'
import type { Chain } from './chain.ts'
import type { Job } from './jobs.ts'
import { hasMajority, selectTip, targetsOf } from './selection.ts'
import type { GroupState } from './state.ts'
import type { GroupTurn } from './turn.ts'
import { RESYNC_RETRY_MS, RESYNC_SPREAD_MS } from './types.ts'
import type { CommitId } from './types.ts'
import { isMember } from './view.ts'

/** So often is asked in vain for a way into what somebody else is on, before it is closed. */
export const CLOSED_AFTER = 3
/** The pauses between two probes grow with each, up to this many times the first span. */
const PROBE_DOUBLINGS_MAX = 2
/** Members that come back at the same time draw from a wider span after each attempt, up to this many times it. */
const SPREAD_TIMES_MAX = 16

/** A random time within a span that grows with each attempt. */
export function spreadMs(
  turn: GroupTurn,
  attempts: number,
  spanMs: number = RESYNC_SPREAD_MS,
): number {
  const [a = 0, b = 0] = turn.draw(2)
  const times = Math.min(2 ** attempts, SPREAD_TIMES_MAX)
  return ((a * 256 + b) / 65_536) * spanMs * times
}

/** Leaves aside what keeps this member out of an epoch that nobody shows the way into; false if nothing may be. */
export function closeOff(turn: GroupTurn, to: CommitId): boolean {
  const commitId = lastOut(turn.state, to)
  if (commitId === undefined) return false
  close(turn, commitId)
  const { comingBack: _, ...volatile } = turn.state.volatile
  turn.change({ volatile })
  if (volatile.probe === undefined) planProbe(turn, 0)
  turn.ask({ kind: 'wantSync' })
  return true
}

function close(turn: GroupTurn, commitId: CommitId): void {
  const { failed } = nodeOf(turn.state.chain, commitId)
  failCommit(turn, commitId, failed === false ? 'untried' : 'closed')
}

/**
 * The commit to be left aside on the way to one that cannot be entered: what failed here, or else where the own branch is
 * left, or what all who were there have left behind; but where somebody voted for what lies between, the last branch that
 * not all of those are on, so that they are asked next. What most voted for is waited for.
 */
function lastOut(state: GroupState, to: CommitId): CommitId | undefined {
  const { chain, votes, held, tip } = state
  const steps = pathFrom(chain, to, (id) => held.has(id))?.steps ?? allTo(chain, to)
  const mayClose = (id: CommitId): boolean => !hasMajority(chain, votes, id)
  const isOut = (id: CommitId): boolean => nodeOf(chain, id).failed !== false && mayClose(id)
  const failedAt = steps.findIndex(isOut)
  const beside = steps.findIndex((id) => !leadsTo(chain, id, tip) && mayClose(id))
  const leftAt = beside < 0 && mayClose(to) ? steps.length - 1 : beside
  const first = failedAt < 0 ? leftAt : failedAt
  const [failed, ...beyond] = first < 0 ? [] : steps.slice(first)
  if (failed === undefined) return undefined
  const paths = pathsOn(state, failed)
  const last = beyond.findLast((id) => {
    const { parent } = nodeOf(chain, id).record
    return mayClose(id) && paths.some((path) => path.has(parent) && !path.has(id))
  })
  return last ?? failed
}

function allTo(chain: Chain, to: CommitId): CommitId[] {
  const steps: CommitId[] = []
  for (let id = to; id !== chain.base; id = nodeOf(chain, id).record.parent) steps.unshift(id)
  return steps
}

/** The ways to what others voted for, of those who may show the way into a commit that this member is out of. */
function pathsOn({ chain, votes, self }: GroupState, id: CommitId): ReadonlySet<CommitId>[] {
  const { record, failed } = nodeOf(chain, id)
  // The author of what failed here knows a way that others may not; what was never tried may be its author's alone.
  const nobody = failed === 'untried' ? self.peer : record.author.peer
  return targetsOf(chain, votes)
    .filter(({ path, voters }) => path.has(id) && [...voters.keys()].some((one) => one !== nobody))
    .map(({ path }) => path)
}

/** Says when closed commits are asked for next, if there are any. */
export function planProbe(turn: GroupTurn, attempts: number): void {
  const { probe: _, ...volatile } = turn.state.volatile
  turn.change({ volatile })
  if (![...turn.state.chain.nodes.values()].some(({ failed }) => isClosed(failed))) return
  const pauseMs = attempts === 0 ? 0 : RESYNC_RETRY_MS
  const dueAt = toTimeMs(
    Math.round(turn.nowMs + pauseMs + spreadMs(turn, Math.min(attempts, PROBE_DOUBLINGS_MAX))),
  )
  turn.note({ probe: { dueAt, attempts } })
}

/**
 * Asks for the way into what would be selected if one of the closed commits were open, one after another. This member
 * stays where it is meanwhile: who votes for a commit and lets nobody in holds nobody up.
 */
export function probeClosed(turn: GroupTurn): void {
  const { chain, votes, self, phase, volatile } = turn.state
  const { probe } = volatile
  if (probe === undefined || turn.nowMs < probe.dueAt || phase !== 'member') return
  const { attempts } = probe
  planProbe(turn, attempts + 1)
  const selected = selectTip(chain, votes)
  const closed = [...chain.nodes.keys()].filter((id) => {
    return isClosed(nodeOf(chain, id).failed) && pathsOn(turn.state, id).length > 0
  })
  for (const [i] of closed.entries()) {
    const of = closed[(attempts + i) % closed.length]
    const open = of && openTo(chain, of)
    const to = open && selectTip(open, votes)
    if (of === undefined || open === undefined || to === undefined || to === selected) continue
    if (!isMember(nodeOf(chain, to).view, self)) continue
    if (turn.state.volatile.probe !== undefined) {
      turn.note({ probe: { ...turn.state.volatile.probe, to } })
    }
    turn.ask({ kind: 'wantInfo', commitId: to })
    // Nor does anybody show the way there: those who stayed behind it may.
    const isLong = attempts >= CLOSED_AFTER * closed.length
    const last = isLong ? lastOut(turn.state, to) : undefined
    if (last !== undefined && !isClosed(nodeOf(chain, last).failed)) close(turn, last)
    return
  }
}

/** With the way into a closed branch at hand, the commit that enters it: made at all, it shows that the way is one. */
export function probeJob(turn: GroupTurn): Job | undefined {
  const { state, nowMs } = turn
  const { to, info } = state.volatile.probe ?? {}
  if (to === undefined || info === undefined || state.phase !== 'member') return undefined
  if (turn.isFetching()) return undefined
  const { groupInfoHash } = nodeOf(state.chain, to).record
  return { kind: 'resync', parent: to, info, groupInfoHash, nowMs }
}

/** What leads to a commit that can be entered is closed no more. */
export function openClosed(turn: GroupTurn, to: CommitId): void {
  const { chain } = turn.state
  const open = openTo(chain, to)
  if (open === chain) return
  turn.change({ chain: open })
  for (const [commitId, { entry, failed }] of open.nodes) {
    if (chain.nodes.get(commitId)?.failed === failed) continue
    turn.ask({ kind: 'saveRecord', commitId, entry, failed })
  }
}
