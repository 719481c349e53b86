// 9 of groups design §12: what a member may do and has to do is done within a bound, whatever else happens to the others.
import { SECOND_MS } from '../../protocols/base/time.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import { refKey } from '../../protocols/group/ids.ts'
import { isAdmin } from '../../protocols/group/policy.ts'
import { selectTip } from '../../protocols/group/selection.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import { SETTLE_MS } from '../../protocols/group/types.ts'
import { isMember, isRemovalBy } from '../../protocols/group/view.ts'
import type { Member, StepTaken, Watcher, World } from './cast.ts'
import { Violation } from './cast.ts'

/** What engine jobs and timers take beside: a few jobs of 40 ms, and a tick of 100 ms before each. */
const WORK_MS: number = SECOND_MS

/** A removal that a member is to make, and how long it may take. */
interface Due {
  readonly name: string
  readonly withinMs: number
}

/** Watches that removals are made in time. */
export class Liveness implements Watcher {
  readonly #world: World
  /** Since when which member is to make which removal without anything in its way. */
  readonly #since = new Map<Member, Map<string, number>>()

  constructor(world: World) {
    this.#world = world
  }

  stepped({ member, after }: StepTaken): void {
    if (!member.isHonest) return
    const { elapsedMs } = this.#world.timeline
    const known = this.#since.get(member)
    const dues = duesOf(member, after)
    if (known === undefined && dues.length === 0) return
    const next = new Map<string, number>()
    for (const { name, withinMs } of dues) {
      const since = known?.get(name) ?? elapsedMs
      next.set(name, since)
      if (elapsedMs - since <= withinMs + WORK_MS) continue
      const waited = `${elapsedMs - since} ms, ${withinMs} at most`
      throw new Violation(
        'liveness',
        `${member.name} leaves the removal of ${name} undone: ${waited}`,
      )
    }
    this.#since.set(member, next)
  }

  publishing(): void {
    // Nothing is to be done here.
  }

  restarted(member: Member): void {
    this.#since.delete(member)
  }

  restored(member: Member): void {
    this.#since.delete(member)
  }
}

/** Nothing if the member cannot act: it is not there, not where the group is, or has yet to learn where that is. */
function duesOf(member: Member, state: GroupState): Due[] {
  const { chain, tip, votes, phase, volatile, intents, leaves, groupId, self } = state
  if (phase !== 'member' || (leaves.size === 0 && intents.length === 0)) return []
  const { view } = nodeOf(chain, tip)
  const isCatchingUp = view.roster.size > 1 && member.nowMs < volatile.catchUpUntil
  if (isCatchingUp || selectTip(chain, votes) !== tip) return []
  const { primitives } = member.world
  const { policy, roster } = view
  const isOwnAdmin = isAdmin(policy, self)
  const dues: Due[] = []
  for (const [peer, { gen, kind, bytes }] of leaves) {
    const ref = { peer, gen }
    const hasOther = policy.admins.some((admin) => admin.peer !== peer)
    if (peer === self.peer || !hasOther || !isMember(view, ref)) continue
    const check = { groupId, policy, member: ref }
    const mayAct = kind === 'leave' || isOwnAdmin || isRemovalBy(primitives, bytes, check)
    const spreadMs = kind === 'leave' ? SETTLE_MS : SETTLE_MS / 4
    const withinMs = roster.size * spreadMs + 2 * SETTLE_MS
    if (mayAct) dues.push({ name: refKey(ref), withinMs })
  }
  const open = intents.filter(({ committedIn }) => committedIn === undefined)
  if (!isOwnAdmin || open.some(({ attempts }) => attempts > 0)) return dues
  for (const { change } of open) {
    if (change.kind !== 'remove' || !isMember(view, change.member)) continue
    dues.push({ name: refKey(change.member), withinMs: 2 * SETTLE_MS })
  }
  return dues
}
