// Which records are void: made by somebody on one branch whom another branch removed (spec.md §4.2). Floor 0, pure.
import { forkPoint, leadsTo, nodeOf } from './chain.ts'
import type { Chain, ChainNode } from './chain.ts'
import { refKey, sameRef } from './ids.ts'
import { outranks, rankOf } from './policy.ts'
import type { CommitId } from './types.ts'

/** How many members of `at`'s roster voted for `id` or what hangs on it. */
export type Weigh = (at: CommitId, id: CommitId) => number

const NONE: ReadonlySet<CommitId> = new Set()

/**
 * The void records, and all that hangs on them.
 *
 * A removal voids what the removed made beside it, that is neither before nor after it, where more than half of the
 * members at the fork voted for the removal's branch; or else where its author outranks the removed in the policy at
 * the fork, unless more than half voted for what the removed made, or the author was itself removed there by a removal
 * that has more than half. One that cites a removal on another branch has no rank, and spares what lies before that.
 */
export function findVoid(chain: Chain, weigh: Weigh): ReadonlySet<CommitId> {
  if (chain.forks.length === 0 || chain.removals.length === 0) return NONE
  const voided = new Set<CommitId>()
  const removals = inRankOrder(chain)
  for (const demanded of ['majority', 'rank'] as const) {
    for (const removal of removals) {
      for (const made of besideBy(chain, removal)) {
        if (voided.has(removal.record.commitId)) break
        if (voided.has(made.record.commitId)) continue
        const isVoid =
          demanded === 'majority'
            ? hasMajority(chain, weigh, removal, made)
            : isOutranked(chain, weigh, removal, made)
        if (isVoid) voidBranch(chain, voided, made.record.commitId)
      }
    }
  }
  return voided
}

/** Removals by the rank of their authors, then by id: an order that everybody shares. */
function inRankOrder(chain: Chain): readonly ChainNode[] {
  const ranked = chain.removals.map((id) => {
    const node = nodeOf(chain, id)
    const { policy } = nodeOf(chain, node.record.parent).view
    return { node, id, rank: rankOf(policy, node.record.author) }
  })
  ranked.sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1))
  return ranked.map(({ node }) => node)
}

/** What those whom a commit removes made, neither before nor after it. */
function* besideBy(chain: Chain, removal: ChainNode): Iterable<ChainNode> {
  const { record, cited } = removal
  // Who left by itself did nothing that would be void.
  if (cited.size === 0 && record.removes.every(({ evidence }) => evidence !== undefined)) return
  for (const node of chain.nodes.values()) {
    if (node.record.commitId !== chain.base && isBeside(chain, removal, node)) yield node
  }
}

/** True if a commit removes who made another one, and neither of the two lies before the other. */
export function isBeside(chain: Chain, { record, cited }: ChainNode, made: ChainNode): boolean {
  const { author, commitId } = made.record
  const removed = record.removes.find(({ member }) => sameRef(member, author))
  if (removed === undefined) return false
  if (leadsTo(chain, commitId, record.commitId) || leadsTo(chain, record.commitId, commitId)) {
    return false
  }
  if (removed.evidence === undefined) return true
  // Whoever removed it elsewhere had seen what lies before that.
  const seen = cited.get(refKey(author))
  return seen !== undefined && chain.nodes.has(seen) && !leadsTo(chain, commitId, seen)
}

function hasMajority(chain: Chain, weigh: Weigh, removal: ChainNode, made: ChainNode): boolean {
  const { commitId } = removal.record
  const at = forkPoint(chain, commitId, made.record.commitId)
  return 2 * weigh(at, commitId) > nodeOf(chain, at).view.roster.size
}

function isOutranked(
  chain: Chain,
  weigh: Weigh,
  { record, cited }: ChainNode,
  made: ChainNode,
): boolean {
  const { commitId, author } = made.record
  if (cited.has(refKey(author))) return false
  const at = forkPoint(chain, record.commitId, commitId)
  const { policy, roster } = nodeOf(chain, at).view
  // Secrets of what comes before a final commit are gone: nobody could go back there.
  return outranks(policy, record.author, author) && 2 * weigh(at, commitId) <= roster.size
}

function voidBranch(chain: Chain, voided: Set<CommitId>, from: CommitId): void {
  const open = [from]
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (voided.has(id)) continue
    voided.add(id)
    open.push(...(chain.children.get(id) ?? []))
  }
}
