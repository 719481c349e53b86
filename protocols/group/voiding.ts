// Which records are void: made by somebody on one branch whom another branch removed (spec.md §4.2). Floor 0, pure.
import { forkPoint, leadsTo, nodeOf } from './chain.ts'
import type { Chain, ChainNode } from './chain.ts'
import { sameRef } from './ids.ts'
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
 * that has more than half.
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
function* besideBy(chain: Chain, { record }: ChainNode): Iterable<ChainNode> {
  for (const { member, evidence } of record.removes) {
    if (evidence !== undefined) continue
    for (const node of chain.nodes.values()) {
      if (!sameRef(node.record.author, member) || node.record.commitId === chain.base) continue
      const { commitId } = node.record
      if (leadsTo(chain, commitId, record.commitId)) continue
      if (!leadsTo(chain, record.commitId, commitId)) yield node
    }
  }
}

function hasMajority(chain: Chain, weigh: Weigh, removal: ChainNode, made: ChainNode): boolean {
  const { commitId } = removal.record
  const at = forkPoint(chain, commitId, made.record.commitId)
  return 2 * weigh(at, commitId) > nodeOf(chain, at).view.roster.size
}

function isOutranked(chain: Chain, weigh: Weigh, { record }: ChainNode, made: ChainNode): boolean {
  const { commitId, author } = made.record
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
