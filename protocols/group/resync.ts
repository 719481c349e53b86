// Coming back from outside: a member whose branch lost beyond its held epochs makes an external commit on the one that
// won (spec.md §4.8). Floor 0, pure.
import { toTimeMs } from '../base/time.ts'
import { adopt, listenTo } from './adoption.ts'
import { leadsTo, markFollowed, nodeOf, pathTo, wasMemberAt } from './chain.ts'
import { CLOSED_AFTER, closeOff, openClosed, planProbe, spreadMs } from './closed.ts'
import { recordCommit } from './commits.ts'
import type { Job, JobResult } from './jobs.ts'
import { noteAbsence } from './messages.ts'
import { selectTip } from './selection.ts'
import type { GroupEvent, GroupState } from './state.ts'
import type { GroupTurn } from './turn.ts'
import { INFO_GENERATIONS_MAX, RESYNC_RETRY_MS, RESYNC_SPREAD_MS, SETTLE_MS } from './types.ts'
import type { CommitId, GenerationSecret, MemberRef } from './types.ts'
import { isMember } from './view.ts'

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
    const { attempts = 0, unanswered = 0 } = comingBack ?? {}
    const spanMs = Math.min(strayed(state, to) * SETTLE_MS, RESYNC_SPREAD_MS)
    const drawAt = (tries: number): number => nowMs + waitMs + spreadMs(turn, tries, spanMs)
    const drawnAt = drawAt(attempts)
    // Who has waited does not begin anew because somebody else came in before it, or the group went on.
    const waitedAt = comingBack === undefined ? drawnAt : Math.max(comingBack.dueAt, drawAt(0))
    const dueAt = toTimeMs(Math.round(Math.min(drawnAt, waitedAt)))
    turn.note({ comingBack: { to, dueAt, attempts, unanswered } })
    return undefined
  }
  const { info } = comingBack
  if (info !== undefined) {
    const { groupInfoHash } = node.record
    return { kind: 'resync', parent: to, info, groupInfoHash, nowMs }
  }
  if (nowMs >= comingBack.dueAt) {
    if (comingBack.unanswered >= CLOSED_AFTER && closeOff(turn, to)) return undefined
    askAgain(turn, comingBack.attempts)
    turn.ask({ kind: 'wantInfo', commitId: to })
  }
  return undefined
}

/** How many members may be coming back to a commit: those that are on other branches as far as is known, this one at least. */
function strayed({ chain, votes, self }: GroupState, to: CommitId): number {
  const path = pathTo(chain, to)
  const { roster } = nodeOf(chain, to).view
  const others = [...votes].filter(([peer, { gen, commitId }]) => {
    if (peer === self.peer || roster.get(peer) !== gen) return false
    return !path.has(commitId) && !leadsTo(chain, to, commitId)
  })
  return 1 + others.length
}

function askAgain(turn: GroupTurn, attempts: number): void {
  const { comingBack } = turn.state.volatile
  if (comingBack === undefined) return
  const { to, unanswered } = comingBack
  const dueAt = toTimeMs(Math.round(turn.nowMs + RESYNC_RETRY_MS + spreadMs(turn, attempts)))
  turn.note({ comingBack: { to, dueAt, attempts: attempts + 1, unanswered: unanswered + 1 } })
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
  const { comingBack, probe } = turn.state.volatile
  if (comingBack?.to === commitId) turn.note({ comingBack: { ...comingBack, info } })
  if (probe?.to === commitId) turn.note({ probe: { ...probe, info } })
}

/** What was given did not lead into the epoch: somebody else is asked. */
export function takeRefusedResync(
  turn: GroupTurn,
  { info }: Extract<Job, { kind: 'resync' }>,
): void {
  const { comingBack, probe } = turn.state.volatile
  if (probe?.info === info) planProbe(turn, probe.attempts)
  else askAgain(turn, comingBack?.attempts ?? 0)
}

/** Makes the external commit durable, publishes it and adopts it, unless the group has moved on since. */
export function takeResynced(
  turn: GroupTurn,
  job: Extract<Job, { kind: 'resync' }>,
  result: Extract<JobResult, { kind: 'committed' }>,
): void {
  const { parent, info } = job
  openClosed(turn, parent)
  const { probe, comingBack: answered } = turn.state.volatile
  if (probe !== undefined) planProbe(turn, probe.attempts)
  if (answered !== undefined) turn.note({ comingBack: { ...answered, unanswered: 0 } })
  const { state } = turn
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
  const { comingBack: _, ...volatile } = turn.state.volatile
  // What led there is behind this member now, as it is after a restart.
  turn.change({ since: commitId, volatile, chain: markFollowed(turn.state.chain, commitId) })
  noteAbsence(turn)
  adopt(turn, commitId, epoch)
  turn.ask({ kind: 'wantSync' }) // frames of generations that were not known before
}
