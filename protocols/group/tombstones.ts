// Removals on other branches: a removal anywhere is one everywhere (spec.md §4.7). Floor 0, pure.
import { equalBytes } from '../base/bytes.ts'
import type { PeerId } from '../base/ids.ts'
import { isVoidedBy } from './access.ts'
import { forkPoint, leadsTo, nodeOf, pathFrom } from './chain.ts'
import type { Chain, ChainNode } from './chain.ts'
import { verifyRecord } from './commit-record.ts'
import { refKey } from './ids.ts'
import { endMembership } from './membership.ts'
import { outranks } from './policy.ts'
import { hasMajorityAt, standingOf } from './selection.ts'
import { verifyLeave } from './signed-notes.ts'
import type { PendingLeave } from './state.ts'
import type { GroupTurn } from './turn.ts'
import type { CommitId, MemberRef, RecordRemove } from './types.ts'
import { isMember } from './view.ts'

/** Notes whom another branch removed and this one did not; and the own removal, where everybody will agree on it. */
export function reviewTombstones(turn: GroupTurn): void {
  const { chain, tip, votes } = turn.state
  const { before } = turn
  if (chain === before.chain && tip === before.tip && votes === before.votes) return
  const { outSince, ...volatile } = turn.state.volatile
  if (outSince !== undefined) turn.change({ volatile })
  // Where nothing lies beside or after the tip there is nothing to find.
  if (chain.forks.length === 0 && !chain.children.has(tip)) return
  const { roster } = turn.view
  const { voided, tip: selected } = standingOf(chain, votes)
  const next = new Map<PeerId, PendingLeave>()
  let isRemoved = false
  for (const [peer, pending] of turn.state.leaves) {
    // What was void when it was noted may have become so since.
    if (pending.kind === 'leave') next.set(peer, pending)
  }
  for (const id of chain.removals) {
    const node = nodeOf(chain, id)
    // What is about to be followed removes by itself. What failed, or is not to be had yet, is an admin's signed word all
    // the same: were it none, those who can't tell that it failed would go by it, and the others would not.
    const isNext = isOnTheWay(chain, tip, id) && leadsTo(chain, id, selected)
    if (voided.has(id) || isNext) continue
    for (const one of node.record.removes) {
      const { peer, gen } = one.member
      if (roster.get(peer) !== gen) continue
      const cited = citedBy(turn, node, one)
      if (cited === undefined) continue
      if (peer === turn.state.self.peer && isAgreed(turn, node, cited.authority)) isRemoved = true
      const known = turn.state.leaves.get(peer)
      const isKnown = known !== undefined && equalBytes(known.bytes, cited.bytes)
      const heardAt = isKnown ? known.heardAt : turn.nowMs
      if (!next.has(peer)) next.set(peer, { bytes: cited.bytes, heardAt, gen, kind: cited.kind })
    }
  }
  for (const [peer, { kind }] of next) {
    if (kind === 'tombstone' && !hasExecutor(turn, peer, next)) next.delete(peer)
  }
  const { leaves } = turn.state
  const isSame =
    next.size === leaves.size &&
    [...next].every(([peer, { bytes }]) => {
      const known = leaves.get(peer)
      return known !== undefined && equalBytes(known.bytes, bytes)
    })
  if (!isSame) turn.change({ leaves: next })
  // Nobody else is left on a branch that is void: there is nothing to be executed there.
  const isOut = voided.has(tip) || hasExecutor(turn, turn.state.self.peer, next)
  if ((isRemoved && isOut) || isVoidlyAdded(turn)) turn.note({ outSince: outSince ?? turn.nowMs })
}

/** True if a commit follows from the tip, and nothing on the way to it has failed here. */
function isOnTheWay(chain: Chain, tip: CommitId, id: CommitId): boolean {
  if (!leadsTo(chain, tip, id)) return false
  const path = pathFrom(chain, id, (one) => one === tip)
  return path?.steps.every((one) => nodeOf(chain, one).failed === false) === true
}

interface Cited {
  readonly kind: PendingLeave['kind']
  readonly bytes: Uint8Array
  /** Who removed; absent where the member left by itself. */
  readonly authority?: MemberRef
}

/** What a removal rests on: its own record, the one that it cites, or the member's Leave. */
function citedBy(
  { primitives }: GroupTurn,
  { record, entry }: ChainNode,
  { evidence }: RecordRemove,
): Cited | undefined {
  if (evidence === undefined) {
    return { kind: 'tombstone', bytes: entry.record, authority: record.author }
  }
  const bytes = entry.evidence.find((one) => equalBytes(primitives.sha256(one), evidence))
  if (bytes === undefined) return undefined
  if (verifyLeave(primitives, bytes).ok) return { kind: 'leave', bytes }
  const cited = verifyRecord(primitives, bytes)
  return cited.ok ? { kind: 'tombstone', bytes, authority: cited.value.author } : undefined
}

/** True if void records alone have added this member: there is no branch for it to wait for. */
function isVoidlyAdded({ state }: GroupTurn): boolean {
  const { chain, votes, self } = state
  const added = chain.known.get(refKey(self)) ?? []
  const { voided, tip } = standingOf(chain, votes)
  if (added.length === 0 || !added.every((id) => voided.has(id))) return false
  return !isMember(nodeOf(chain, tip).view, self)
}

/** True if every branch will follow the removal: it is ranked above the removed, or most at the fork voted for it. */
function isAgreed(turn: GroupTurn, node: ChainNode, authority: MemberRef | undefined): boolean {
  if (authority === undefined) return true
  const { chain, tip, votes, self } = turn.state
  const { commitId } = node.record
  const at = forkPoint(chain, tip, commitId)
  if (outranks(nodeOf(chain, at).view.policy, authority, self)) return true
  return hasMajorityAt(chain, votes, at, commitId)
}

/** True if somebody may make the removal here: its author is an admin still, or another one is left. */
function hasExecutor(
  { view }: GroupTurn,
  peer: PeerId,
  pending: ReadonlyMap<PeerId, PendingLeave>,
): boolean {
  return view.policy.admins.some((admin) => {
    if (admin.peer === peer) return false
    const own = pending.get(admin.peer)
    return own?.kind !== 'tombstone' || own.gen !== admin.gen
  })
}

/**
 * Takes a member's word that this one is removed; its connection proves who it is. Whoever is removed is not shown the
 * votes, so that this is how it learns that most agree.
 */
export function takeRemovalHeard(turn: GroupTurn, peer: PeerId, removal: CommitId): void {
  const { chain, tip, self, votes } = turn.state
  const node = chain.nodes.get(removal)
  if (node === undefined || node.view.roster.has(self.peer)) return
  const deniedBy = new Map(turn.state.volatile.deniedBy).set(peer, removal)
  turn.note({ deniedBy })
  const at = forkPoint(chain, tip, removal)
  const { roster } = nodeOf(chain, at).view
  // Where it was not on the roster it was never removed: unless what added it is void, it waits to be added there as well.
  const wasIn = roster.get(self.peer) === self.gen
  if (!wasIn && !isVoidedBy(chain, removal, at, turn.state.joinedBy)) return
  const agreed = [...roster.keys()].filter((one) => deniedBy.has(one)).length
  if (2 * agreed > roster.size || hasMajorityAt(chain, votes, at, removal)) {
    endMembership(turn, turn.state.phase === 'leaving' ? 'left' : 'removed')
  }
}
