// 10 of groups design §12: votes alone do not move members for ever, and what most of them know that most of them chose stays.
import { forkPoint, leadsTo, nodeOf } from '../../protocols/group/chain.ts'
import type { Chain } from '../../protocols/group/chain.ts'
import { standingOf } from '../../protocols/group/selection.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import type { CommitId, MemberRef } from '../../protocols/group/types.ts'
import type { Member, StepTaken, Watcher, World } from './cast.ts'
import { Violation } from './cast.ts'

/** Branches are looked at after one change of votes in so many. */
const LOOK_EVERY = 8

/** What one member selected, and how often it went over to another branch since it last heard of a new commit. */
interface Course {
  readonly base: CommitId
  readonly selected: CommitId
  readonly turns: number
}

/** Watches what members select. */
export class Stability implements Watcher {
  readonly #world: World
  readonly #courses = new Map<Member, Course>()
  /**
   * Branches by their first commit that more than half of the members at the fork are on, all honest, each of whom has
   * heard that all of these are: none of them has a reason to be the first to leave.
   */
  readonly #locked = new Map<CommitId, ReadonlyMap<Member, MemberRef>>()
  readonly #wereVoid = new Set<CommitId>()
  #changes = 0

  constructor(world: World) {
    this.#world = world
  }

  stepped({ member, before, after }: StepTaken): void {
    if (!member.isHonest || (after.votes === before.votes && after.chain === before.chain)) return
    const { tip, voided } = standingOf(after.chain, after.votes)
    for (const id of voided) this.#wereVoid.add(id)
    this.#follow(member, before, after, tip)
    if (after.chain.forks.length > 0 && this.#changes++ % LOOK_EVERY === 0) this.#look(after.chain)
  }

  publishing(): void {
    // Nothing is to be done here.
  }

  restarted(member: Member): void {
    this.#courses.delete(member)
  }

  restored(member: Member): void {
    this.#courses.delete(member)
  }

  /** Without new commits a member goes over no more often than each of the others may vote for each child of a fork. */
  #follow(member: Member, before: GroupState, after: GroupState, selected: CommitId): void {
    const { chain } = after
    const last = this.#courses.get(member)
    const { base } = chain
    const isNew = chain.nodes.size !== before.chain.nodes.size
    // Who joined anew begins with other records.
    if (last?.base !== base || isNew || !chain.nodes.has(last.selected)) {
      this.#courses.set(member, { base, selected, turns: 0 })
      return
    }
    const isOn = leadsTo(chain, last.selected, selected) || leadsTo(chain, selected, last.selected)
    const turns = last.turns + (isOn || this.#isMisled(before, after) ? 0 : 1)
    this.#courses.set(member, { base, selected, turns })
    const children = chain.forks.map((id) => chain.children.get(id)?.length ?? 0)
    const most = children.reduce((sum, count) => sum + count, 0) * member.view.roster.size
    if (turns <= most) return
    throw new Violation(
      'selection stability',
      `${member.name} goes over ${turns} times, ${most} at most`,
    )
  }

  /** True if somebody's vote changed who keeps no rules. */
  #isMisled(before: GroupState, after: GroupState): boolean {
    const { members } = this.#world
    return [...after.votes].some(
      ([peer, vote]) => before.votes.get(peer) !== vote && members.get(peer)?.isHonest !== true,
    )
  }

  #look(chain: Chain): void {
    for (const fork of chain.forks) {
      const children = chain.children.get(fork) ?? []
      if (children.some((id) => this.#locked.has(id))) continue
      for (const id of children) {
        const on = this.#membersOn(chain, fork, id)
        if (on !== undefined) this.#locked.set(id, on)
      }
    }
  }

  #membersOn(
    chain: Chain,
    fork: CommitId,
    id: CommitId,
  ): ReadonlyMap<Member, MemberRef> | undefined {
    const { roster } = nodeOf(chain, fork).view
    const on = new Map<Member, MemberRef>()
    for (const [peer, gen] of roster) {
      const member = this.#world.members.get(peer)
      if (member?.isHonest !== true || member.restores > 0 || !member.isMember) continue
      if (votesFor(member, { peer, gen }, id)) on.set(member, { peer, gen })
    }
    const areSure = [...on.keys()].every((one) =>
      [...on.values()].every((ref) => votesFor(one, ref, id)),
    )
    return 2 * on.size > roster.size && areSure ? on : undefined
  }

  /** Branches that could not lose have not, but for those that were void at some time. */
  checkEnd({ chain, tip }: GroupState): void {
    for (const [id, on] of this.#locked) {
      if (!chain.nodes.has(id) || leadsTo(chain, id, tip) || this.#wereVoid.has(id)) continue
      const { roster } = nodeOf(chain, forkPoint(chain, id, tip)).view
      const sure = [...on].filter(
        ([{ restores, isHonest }, { peer, gen }]) =>
          isHonest && restores === 0 && roster.get(peer) === gen,
      )
      if (2 * sure.length <= roster.size) continue
      const names = sure.map(([{ name }]) => name).join()
      throw new Violation(
        'selection stability',
        `${id.slice(0, 6)} lost, which ${names} were sure of`,
      )
    }
  }
}

/** True if a member's latest vote, as another one knows it, is for a commit or what hangs on it. */
function votesFor({ state }: Member, { peer, gen }: MemberRef, id: CommitId): boolean {
  const vote = state?.votes.get(peer)
  if (state === undefined || vote?.gen !== gen || vote.isDouble === true) return false
  return leadsTo(state.chain, id, vote.commitId)
}
