// How far a group is that follows many epochs after a long absence. Floor 3.
import { nodeOf } from '../../protocols/group/chain.ts'
import { selectTip } from '../../protocols/group/selection.ts'
import type { GroupState } from '../../protocols/group/state.ts'

/* Implementation constants: ours to tune. */
/** Fewer epochs are followed before anybody could read that they are. */
export const CATCH_UP_EPOCHS_MIN = 16
/** Pause between two reports. */
export const CATCH_UP_EVERY_MS = 250

/** So many epochs are followed of those that are to be; equal when the group is there. */
export interface CatchUp {
  readonly name: string
  readonly done: number
  readonly of: number
}

/** Makes what is called after every step of a group, and reports while the group catches up. */
export function watchCatchUp(
  report: (progress: CatchUp) => void,
  now: () => number,
): (state: GroupState) => void {
  let from: number | undefined
  let reportedAt = 0
  return ({ chain, votes, tip, phase }) => {
    const isActive = phase === 'member' || phase === 'leaving'
    const selected = isActive ? selectTip(chain, votes) : tip
    const { policy, epoch } = nodeOf(chain, tip).view
    const { name } = policy
    const last = nodeOf(chain, selected).view.epoch
    if (selected === tip) {
      if (from !== undefined) report({ name, done: epoch - from, of: epoch - from })
      from = undefined
      return
    }
    if (from === undefined && last - epoch < CATCH_UP_EPOCHS_MIN) return
    from ??= epoch
    if (now() - reportedAt < CATCH_UP_EVERY_MS) return
    reportedAt = now()
    report({ name, done: Math.max(0, epoch - from), of: Math.max(1, last - from) })
  }
}
