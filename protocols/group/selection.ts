// Which branch everybody adopts: a pure function of records and votes (spec.md §4.2). Floor 0, pure.
// Arrival order and clocks are no inputs, so whoever holds the same set selects the same tip.
import type { PeerId } from '../base/ids.ts'
import { leadsTo, nodeOf } from './chain.ts'
import type { Chain } from './chain.ts'
import type { CommitId } from './types.ts'

/** The latest that a member said it is on, by an ack or an own commit. */
export interface Vote {
  readonly gen: number
  /** Compared within one author only. */
  readonly seq: number
  readonly commitId: CommitId
}

/** Latest votes by author. */
export type Votes = ReadonlyMap<PeerId, Vote>

/** True if a vote replaces the one that is known of its author. */
export function isNewer(votes: Votes, peer: PeerId, { gen, seq }: Vote): boolean {
  const known = votes.get(peer)
  return known === undefined || gen > known.gen || (gen === known.gen && seq > known.seq)
}

/**
 * Selects the tip. From the base, at each fork: the child whose subtree holds the latest votes of the most
 * members of the parent's roster, then the smaller commit id (LMD-GHOST). What cannot be followed is no child.
 */
export function selectTip(chain: Chain, votes: Votes): CommitId {
  let tip = chain.base
  for (;;) {
    const children = (chain.children.get(tip) ?? []).filter((id) => isAvailable(chain, id))
    const [only] = children
    if (only === undefined) return tip
    tip = children.length === 1 ? only : preferred(chain, votes, tip, children)
  }
}

/** How many members of `at`'s roster voted for `id` or what hangs on it. */
export function weightOf(chain: Chain, votes: Votes, at: CommitId, id: CommitId): number {
  let weight = 0
  for (const [peer, gen] of nodeOf(chain, at).view.roster) {
    const vote = votes.get(peer)
    if (vote?.gen === gen && leadsTo(chain, id, vote.commitId)) weight += 1
  }
  return weight
}

function isAvailable(chain: Chain, id: CommitId): boolean {
  const { hasBody, failed } = nodeOf(chain, id)
  return hasBody && !failed
}

function preferred(
  chain: Chain,
  votes: Votes,
  parent: CommitId,
  children: readonly CommitId[],
): CommitId {
  const weighed = children.map((id) => ({ id, weight: weightOf(chain, votes, parent, id) }))
  weighed.sort((a, b) => b.weight - a.weight || (a.id < b.id ? -1 : 1))
  const [best] = weighed
  return best?.id ?? parent
}

/**
 * True if more than half of the roster of its parent voted for `id` or what hangs on it: it will not lose. Of the
 * commit that a member joined by, whose parent it does not know, more than half of its own roster.
 */
export function isFinal(chain: Chain, votes: Votes, id: CommitId): boolean {
  const { record } = nodeOf(chain, id)
  if (record.kind === 'genesis') return true
  const at = id === chain.base ? id : record.parent
  return 2 * weightOf(chain, votes, at, id) > nodeOf(chain, at).view.roster.size
}
