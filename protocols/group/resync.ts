// Coming back from outside: a member whose branch lost beyond its held epochs makes an external commit on the one that
// won (spec.md §4.3). Floor 0, pure.
import { invariant } from '../base/errors.ts'
import { toTimeMs } from '../base/time.ts'
import { adopt, listenTo } from './adoption.ts'
import { markFailed, markFollowed, nodeOf, pathTo, wasMemberAt } from './chain.ts'
import { recordCommit } from './commits.ts'
import type { Job, JobResult } from './jobs.ts'
import { noteAbsence } from './messages.ts'
import { hasMajority, selectTip } from './selection.ts'
import type { GroupEvent, GroupState } from './state.ts'
import type { GroupTurn } from './turn.ts'
import { INFO_GENERATIONS_MAX, RESYNC_RETRY_MS, RESYNC_SPREAD_MS } from './types.ts'
import type { CommitId, GenerationSecret, MemberRef } from './types.ts'
import { isMember } from './view.ts'

/** Members that come back at the same time draw from a wider span after each attempt, up to this many times it. */
const SPREAD_TIMES_MAX = 16
/** So often is asked for a way into what failed here and somebody else followed. */
const CLOSED_AFTER = 3

/**
 * What is to be done to enter an epoch from outside: at first to wait, for whoever else comes back; then to ask for its
 * EntryInfo; and with it at hand, to commit.
 *
 * @param waitMs - How much longer the ordinary way is to be awaited.
 */
export function resyncJob(turn: GroupTurn, to: CommitId, waitMs: number): Job | undefined {
  const { state, nowMs } = turn
  const { comingBack } = state.volatile
  const node = nodeOf(state.chain, to)
  // Whoever is not on its roster can only be added again.
  if (state.phase !== 'member' || !isMember(node.view, state.self)) return undefined
  if (comingBack?.to !== to) {
    const attempts = comingBack?.attempts ?? 0
    const drawAt = (tries: number): number => nowMs + waitMs + spread(turn, tries)
    const drawnAt = drawAt(attempts)
    // Who has waited does not begin anew because somebody else came in before it, or the group went on.
    const waitedAt = comingBack === undefined ? drawnAt : Math.max(comingBack.dueAt, drawAt(0))
    const dueAt = toTimeMs(Math.round(Math.min(drawnAt, waitedAt)))
    turn.note({ comingBack: { to, dueAt, attempts } })
    return undefined
  }
  const { info } = comingBack
  if (info !== undefined) {
    const { groupInfoHash } = node.record
    return { kind: 'resync', parent: to, info, groupInfoHash, nowMs }
  }
  if (nowMs >= comingBack.dueAt) {
    if (comingBack.attempts >= CLOSED_AFTER && closeFailed(turn, to)) return undefined
    askAgain(turn, comingBack.attempts)
    turn.ask({ kind: 'wantInfo', commitId: to })
  }
  return undefined
}

/** Nobody shows the way into a commit that failed here: it is not waited for until most others are beyond it. */
function closeFailed(turn: GroupTurn, to: CommitId): boolean {
  const path = [...pathTo(turn.state.chain, to)]
  const failed = path.filter((id) => nodeOf(turn.state.chain, id).failed === true)
  const closed = failed.filter((id) => !hasMajority(turn.state.chain, turn.state.votes, id))
  for (const commitId of closed) {
    const chain = markFailed(turn.state.chain, commitId, 'closed')
    turn.change({ chain })
    const { entry } = nodeOf(chain, commitId)
    turn.ask({ kind: 'saveRecord', commitId, entry, failed: 'closed' })
  }
  if (closed.length === 0) return false
  const { comingBack: _, ...volatile } = turn.state.volatile
  turn.change({ volatile })
  turn.ask({ kind: 'wantSync' })
  return true
}

function spread(turn: GroupTurn, attempts: number): number {
  const [a = 0, b = 0] = turn.draw(2)
  const times = Math.min(2 ** attempts, SPREAD_TIMES_MAX)
  return ((a * 256 + b) / 65_536) * RESYNC_SPREAD_MS * times
}

function askAgain(turn: GroupTurn, attempts: number): void {
  const { comingBack } = turn.state.volatile
  if (comingBack === undefined) return
  const { to } = comingBack
  const dueAt = toTimeMs(Math.round(turn.nowMs + RESYNC_RETRY_MS + spread(turn, attempts)))
  turn.note({ comingBack: { to, dueAt, attempts: attempts + 1 } })
}

/** Transport secrets that a member may have, newest first: of generations that did not begin before it was added. */
export function generationsFor(state: GroupState, ref: MemberRef): GenerationSecret[] {
  const { chain, tip, generations } = state
  const current = nodeOf(chain, tip).view.generation
  const epochOf = (start: CommitId): number => chain.nodes.get(start)?.record.epoch ?? 0
  return [...generations]
    .filter(([start]) => start === current || wasMemberAt(chain, ref, start))
    .sort(([a], [b]) => epochOf(b) - epochOf(a))
    .slice(0, INFO_GENERATIONS_MAX)
    .map(([start, { generation }]) => ({ start, tx: generation.tx }))
}

/** Keeps what a member of the epoch gave. */
export function takeInfo(
  turn: GroupTurn,
  { commitId, info }: Extract<GroupEvent, { kind: 'infoHeard' }>,
): void {
  const { comingBack } = turn.state.volatile
  if (comingBack?.to === commitId) turn.note({ comingBack: { ...comingBack, info } })
}

/** What was given did not lead into the epoch: somebody else is asked. */
export function takeRefusedResync(turn: GroupTurn): void {
  askAgain(turn, turn.state.volatile.comingBack?.attempts ?? 0)
}

/** Makes the external commit durable, publishes it and adopts it, unless the group has moved on since. */
export function takeResynced(
  turn: GroupTurn,
  job: Extract<Job, { kind: 'resync' }>,
  result: Extract<JobResult, { kind: 'committed' }>,
): void {
  const { state } = turn
  const { parent, info } = job
  if (selectTip(state.chain, state.votes) !== parent || state.held.has(parent)) return
  const { commitId, epoch } = result
  const { view } = nodeOf(state.chain, parent)
  for (const { start, tx } of info.generations) {
    const isOne = state.chain.nodes.get(start)?.view.generation === start
    if (isOne && !state.generations.has(start)) listenTo(turn, start, tx)
  }
  if (!turn.state.generations.has(view.generation)) {
    askAgain(turn, state.volatile.comingBack?.attempts ?? 0)
    return
  }
  recordCommit(turn, { kind: 'resync', parent, bodyKey: info.bodyKey, result })
  const { comingBack, ...volatile } = turn.state.volatile
  invariant(comingBack !== undefined, 'who comes back was on the way')
  // What led there is behind this member now, as it is after a restart.
  turn.change({ since: commitId, volatile, chain: markFollowed(turn.state.chain, commitId) })
  noteAbsence(turn)
  adopt(turn, commitId, epoch)
  turn.ask({ kind: 'wantSync' }) // frames of generations that were not known before
}
