// Members whose branch lost: the admin that added them adds them again, and if it does not, another one does
// (spec.md §4.5). Floor 0, pure.
import type { PeerId } from '../base/ids.ts'
import { leadsTo, nodeOf } from './chain.ts'
import { refOfKey } from './ids.ts'
import { isAdmin } from './policy.ts'
import { standingOf } from './selection.ts'
import type { GroupState, Stray } from './state.ts'
import type { GroupTurn } from './turn.ts'
import { MEMBERS_MAX, STRAY_MS, STRAY_TIMES_MAX } from './types.ts'
import type { MemberRef } from './types.ts'

/** Notes whom the selected branch lacks, and asks for an invitation of those whom nobody has added again for long. */
export function reviewStrays(turn: GroupTurn): void {
  const { strays } = turn.state.volatile
  const isExecutor = turn.state.phase === 'member' && isAdmin(turn.view.policy, turn.state.self)
  const found = isExecutor ? straysOf(turn.state) : []
  if (found.length === 0 && strays.size === 0) return
  const next = new Map<PeerId, Stray>()
  for (const { peer, gen } of found) {
    const known = strays.get(peer)
    const stray = known?.gen === gen ? known : { gen, times: 0, dueAt: dueAt(turn, 0) }
    const isDue = stray.dueAt <= turn.nowMs
    next.set(peer, isDue ? again(turn, stray) : stray)
    if (isDue) turn.ask({ kind: 'inviteAgain', peer })
  }
  turn.note({ strays: next })
}

function again(turn: GroupTurn, { gen, times }: Stray): Stray {
  return { gen, times: times + 1, dueAt: dueAt(turn, times + 1) }
}

/** Admins do not all invite at once; who cannot be invited is tried at growing distances. */
function dueAt(turn: GroupTurn, times: number): number {
  const [a = 0, b = 0] = turn.draw(2)
  const span = STRAY_MS * 2 ** Math.min(times, STRAY_TIMES_MAX)
  return Math.round(turn.nowMs + span * (1 + (a * 256 + b) / 65_536))
}

/** Those whom an admin added on another branch, whom no branch removed, and who are not on ours. */
export function straysOf({ chain, votes, tip }: GroupState): MemberRef[] {
  if (chain.forks.length === 0) return []
  const { roster, gone } = nodeOf(chain, tip).view
  if (roster.size >= MEMBERS_MAX) return []
  const { voided } = standingOf(chain, votes)
  const strays: MemberRef[] = []
  for (const [key, addedIn] of chain.known) {
    if (addedIn.length === 0) continue
    const ref = refOfKey(key)
    if (roster.has(ref.peer) || (gone.get(ref.peer) ?? 0) >= ref.gen) continue
    if (!addedIn.some((id) => !voided.has(id) && !leadsTo(chain, tip, id))) continue
    if (!isRemoved(chain, voided, ref)) strays.push(ref)
  }
  return strays
}

function isRemoved(
  chain: GroupState['chain'],
  voided: ReadonlySet<string>,
  { peer, gen }: MemberRef,
): boolean {
  return chain.removals.some(
    (id) =>
      !voided.has(id) &&
      nodeOf(chain, id).record.removes.some(
        ({ member }) => member.peer === peer && member.gen >= gen,
      ),
  )
}
