// Members that are to be removed: who asked to leave, and whose turn it is to execute it (spec.md §4.5). Floor 0, pure.
import { compareBytes, concat, equalBytes } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { peerIdToBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { nodeOf } from './chain.ts'
import type { GroupState } from './state.ts'
import type { GroupTurn } from './turn.ts'
import { SETTLE_MS } from './types.ts'
import type { MemberRef } from './types.ts'
import { isMember } from './view.ts'

/** Keeps another member's Leave until somebody executes it. */
export function takeLeave(turn: GroupTurn, bytes: Bytes, author: MemberRef): void {
  const known = turn.state.leaves.get(author.peer)
  if (!isMember(turn.view, author)) return
  if (known !== undefined && equalBytes(known.bytes, bytes)) return
  const pending = { bytes, heardAt: turn.nowMs, gen: author.gen, kind: 'leave' as const }
  turn.change({ leaves: new Map(turn.state.leaves).set(author.peer, pending) })
}

/** Forgets the Leaves of those who are gone, or are the last admin of others. */
export function reviewLeaves(turn: GroupTurn): void {
  const { leaves } = turn.state
  const { roster, policy } = turn.view
  const isLast = (peer: PeerId): boolean =>
    roster.size > 1 && policy.admins.every((admin) => admin.peer === peer)
  const left = [...leaves].filter(
    ([peer, { gen, kind }]) => roster.get(peer) === gen && !(kind === 'leave' && isLast(peer)),
  )
  if (left.length !== leaves.size) turn.change({ leaves: new Map(left) })
}

/** When this member would execute another's Leave: a settle time later than the one ranked before it. */
export function leaveDueAt(primitives: Primitives, state: GroupState, leaver: PeerId): number {
  const pending = state.leaves.get(leaver)
  const epoch = state.held.get(state.tip)
  if (pending === undefined || epoch === undefined) return Number.POSITIVE_INFINITY
  const { roster } = nodeOf(state.chain, state.tip).view
  const rankOf = (peer: PeerId): Bytes =>
    primitives.hmacSha256(epoch.rankKey, concat(peerIdToBytes(leaver), peerIdToBytes(peer)))
  const own = rankOf(state.self.peer)
  let rank = 0
  for (const peer of roster.keys()) {
    if (peer !== leaver && compareBytes(rankOf(peer), own) < 0) rank += 1
  }
  const settleMs = pending.kind === 'tombstone' ? SETTLE_MS / 4 : SETTLE_MS
  return pending.heardAt + rank * settleMs
}
