// When a new session is opened although there is one, and how a peer's reset is followed (spec.md §4.2.5).
// Floor 0, pure. Both are rate limited, so that two broken peers don't storm each other.
import { RESET_FOLLOWED_MS } from './conversation.ts'
import type { Resets } from './conversation.ts'
import type { Turn } from './turn.ts'
import { RESET_INTERVAL_MAX_MS, RESET_INTERVAL_MS } from './types.ts'

/**
 * Asks for a new session, unless one was opened for such a reason too short a time ago.
 *
 * @param renewal - `reset` makes the peer re-encrypt what it has not delivered.
 */
export function requestRenewal(turn: Turn, renewal: 'reset' | 'renew'): void {
  const { resets } = turn.state.ledger
  if (resets.openedAt + resets.intervalMs > turn.nowMs) return
  // A reset says more than the others, and the peer needs to hear it.
  if (turn.state.renewal !== 'reset') turn.change({ renewal })
}

/** Notes that a session was opened for such a reason: the next one has to wait longer. */
export function renewalOpened(turn: Turn): void {
  const { resets } = turn.state.ledger
  turn.book({
    resets: { ...resets, openedAt: turn.nowMs, intervalMs: nextInterval(resets, turn.nowMs) },
  })
}

/** True if a reset of the peer's may be followed now; notes that it is. */
export function mayFollowReset(turn: Turn): boolean {
  const { resets } = turn.state.ledger
  if (resets.followedAt + RESET_FOLLOWED_MS > turn.nowMs) return false
  turn.book({ resets: { ...resets, followedAt: turn.nowMs } })
  return true
}

function nextInterval({ openedAt, intervalMs }: Resets, nowMs: number): number {
  if (openedAt === 0) return RESET_INTERVAL_MS
  // A day without one after the pause itself: whatever was broken has been mended.
  if (openedAt + intervalMs + RESET_INTERVAL_MAX_MS <= nowMs) return RESET_INTERVAL_MS
  return Math.min(intervalMs * 2, RESET_INTERVAL_MAX_MS)
}
