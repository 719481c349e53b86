// What is beyond doubt. More than half of the latest votes make a commit final, but a vote can still move, of a member
// that had not heard the others; so what a lost branch would call for again is kept for a day longer (spec.md §4.2).
// Floor 0, pure.
import { leadsTo } from './chain.ts'
import { standingOf } from './selection.ts'
import type { GroupState } from './state.ts'
import type { GroupTurn } from './turn.ts'
import { SETTLED_MS } from './types.ts'
import type { CommitId } from './types.ts'

/** Notes what has been final for long enough. After a restart the wait begins anew. */
export function reviewSettled(turn: GroupTurn): void {
  const { chain, votes, volatile } = turn.state
  const { final } = standingOf(chain, votes)
  const { settling } = volatile
  if (final === undefined) return
  if (settling !== undefined && turn.nowMs - settling.at < SETTLED_MS) return
  const isLasting = settling !== undefined && leadsTo(chain, settling.final, final)
  turn.note({
    settling: { final, at: turn.nowMs },
    ...(isLasting && { settled: settling.final }),
  })
}

/** True of a commit that has been final for a day or more. */
export function isSettled({ chain, volatile }: GroupState, id: CommitId): boolean {
  return volatile.settled !== undefined && leadsTo(chain, id, volatile.settled)
}
