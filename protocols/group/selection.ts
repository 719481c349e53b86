// Which branch everybody adopts: a pure function of records and votes (spec.md §4.2). Floor 0, pure.
// Arrival order and clocks are no inputs, so whoever holds the same set selects the same tip.
import type { PeerId } from '../base/ids.ts'
import { leadsTo, nodeOf, pathTo } from './chain.ts'
import type { Chain, ChainNode } from './chain.ts'
import type { CommitId, View } from './types.ts'
import { findVoid } from './voiding.ts'

/** The latest that a member said it is on, by an ack or an own commit. */
export interface Vote {
  readonly gen: number
  /** Compared within one author only. */
  readonly seq: number
  readonly commitId: CommitId
  /** It signed two different votes with one seq: it has no weight until it is added again. */
  readonly isDouble?: true
}

/** Latest votes by author. */
export type Votes = ReadonlyMap<PeerId, Vote>

/** What follows from records and votes. */
export interface Standing {
  /** The selected tip. */
  readonly tip: CommitId
  /** The last commit on the way to the tip that will not lose; absent if not even the base is sure. */
  readonly final?: CommitId
  /** Records that are void, and what hangs on them. */
  readonly voided: ReadonlySet<CommitId>
}

/** True if a vote replaces the one that is known of its author. */
export function isNewer(votes: Votes, peer: PeerId, { gen, seq }: Vote): boolean {
  const known = votes.get(peer)
  if (known === undefined || gen > known.gen) return true
  return gen === known.gen && known.isDouble === undefined && seq > known.seq
}

/** True if a vote and the one that is known of its author prove that it votes twice. */
export function isContrary(votes: Votes, peer: PeerId, { gen, seq, commitId }: Vote): boolean {
  const known = votes.get(peer)
  return known?.gen === gen && known.seq === seq && known.commitId !== commitId
}

/** Chains and votes are replaced, never changed: what follows from them is computed once. */
const known = new WeakMap<Chain, { readonly votes: Votes; readonly standing: Standing }>()

/**
 * Selects the tip. From the base, at each fork: the child whose subtree holds the latest votes of the most
 * members of the parent's roster, then the smaller commit id (LMD-GHOST). What is void, or cannot be had, is no child.
 */
export function standingOf(chain: Chain, votes: Votes): Standing {
  const last = known.get(chain)
  if (last?.votes === votes) return last.standing
  const weigh = (at: CommitId, id: CommitId): number => weightOf(chain, votes, at, id)
  const voided = findVoid(chain, weigh)
  const path = pathToTip(chain, votes, voided)
  const tip = path.at(-1) ?? chain.base
  const final = lastFinal(chain, votes, path)
  const standing = { tip, voided, ...(final !== undefined && { final }) }
  known.set(chain, { votes, standing })
  return standing
}

/** The selected tip: see `standingOf`. */
export function selectTip(chain: Chain, votes: Votes): CommitId {
  return standingOf(chain, votes).tip
}

/**
 * True if a commit will not lose: at each step from the base to it, more than half of the roster voted for what it
 * leads to. Of a base whose parent is not known, more than half of its own roster.
 */
export function isFinal(chain: Chain, votes: Votes, id: CommitId): boolean {
  const { final } = standingOf(chain, votes)
  return final !== undefined && leadsTo(chain, id, final)
}

/** How many members of `at`'s roster voted for `id` or what hangs on it. */
export function weightOf(chain: Chain, votes: Votes, at: CommitId, id: CommitId): number {
  const { roster } = nodeOf(chain, at).view
  let weight = 0
  for (const { path, voters } of targetsOf(chain, votes)) {
    if (!path.has(id)) continue
    for (const [peer, gen] of voters) if (roster.get(peer) === gen) weight += 1
  }
  return weight
}

/** Members that voted for the same commit. */
export interface Target {
  /** The commit and all before it. */
  readonly path: ReadonlySet<CommitId>
  readonly voters: ReadonlyMap<PeerId, number>
}

const targets = new WeakMap<Chain, { readonly votes: Votes; readonly of: readonly Target[] }>()

/** What members voted for. Most are on one of a few commits: the way to each is walked once. */
export function targetsOf(chain: Chain, votes: Votes): readonly Target[] {
  const last = targets.get(chain)
  if (last?.votes === votes) return last.of
  const byCommit = new Map<CommitId, Map<PeerId, number>>()
  for (const [peer, { gen, commitId, isDouble }] of votes) {
    if (isDouble === true || !chain.nodes.has(commitId)) continue
    const voters = byCommit.get(commitId) ?? new Map<PeerId, number>()
    byCommit.set(commitId, voters.set(peer, gen))
  }
  const of = [...byCommit].map(([id, voters]) => ({ path: pathTo(chain, id), voters }))
  targets.set(chain, { votes, of })
  return of
}

/** True if more than half of its parent's roster voted for a commit, or for what hangs on it. */
export function hasMajority(chain: Chain, votes: Votes, id: CommitId): boolean {
  return hasMajorityAt(chain, votes, nodeOf(chain, id).record.parent, id)
}

/** True if more than half of the roster at a commit voted for `id` or what hangs on it. */
export function hasMajorityAt(chain: Chain, votes: Votes, at: CommitId, id: CommitId): boolean {
  return 2 * weightOf(chain, votes, at, id) > nodeOf(chain, at).view.roster.size
}

/** A commit that is not here, or was not understood here, counts all the same once most of the others have it. */
function isAvailable(chain: Chain, votes: Votes, id: CommitId): boolean {
  const { hasBody, failed } = nodeOf(chain, id)
  if (hasBody && failed === false) return true
  if (hasMajority(chain, votes, id)) return true
  return failed === true ? hasFollower(chain, votes, id) : !failed && hasRest(chain, votes, id)
}

/** True if somebody else than its author has followed a commit, who may show the way into it. */
function hasFollower(chain: Chain, votes: Votes, id: CommitId): boolean {
  const { author } = nodeOf(chain, id).record
  return targetsOf(chain, votes).some(
    ({ path, voters }) => path.has(id) && [...voters.keys()].some((peer) => peer !== author.peer),
  )
}

/** True of a removal of half of a roster or less that all who remain voted for, or for what hangs on it. */
function hasRest(chain: Chain, votes: Votes, id: CommitId): boolean {
  const { record } = nodeOf(chain, id)
  if (record.removes.length === 0) return false
  const { roster } = nodeOf(chain, record.parent).view
  const rest = new Map(roster)
  for (const { member } of record.removes) rest.delete(member.peer)
  if (2 * rest.size < roster.size) return false
  for (const { path, voters } of targetsOf(chain, votes)) {
    if (!path.has(id)) continue
    for (const [peer, gen] of voters) if (rest.get(peer) === gen) rest.delete(peer)
  }
  return rest.size === 0
}

function pathToTip(chain: Chain, votes: Votes, voided: ReadonlySet<CommitId>): CommitId[] {
  const path = [chain.base]
  for (let at = chain.base; ;) {
    const children = (chain.children.get(at) ?? []).filter(
      (id) => !voided.has(id) && isAvailable(chain, votes, id),
    )
    const [only] = children
    if (only === undefined) return path
    at = children.length === 1 ? only : preferred(chain, votes, at, children)
    path.push(at)
  }
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

/** Walks along the path as far as more than half of each roster voted for what comes next. */
function lastFinal(chain: Chain, votes: Votes, path: readonly CommitId[]): CommitId | undefined {
  const reached = reachOf(chain, votes, path)
  const base = nodeOf(chain, chain.base)
  if (base.record.kind !== 'genesis' && mostReach(base.view, votes, reached) < 0) return undefined
  let final = 0
  let roster: View['roster'] | undefined
  let reach = -1
  for (const [at, id] of path.entries()) {
    const { view } = nodeOf(chain, id)
    // Rosters are shared between commits that do not change them.
    if (view.roster !== roster) reach = mostReach(view, votes, reached)
    ;({ roster } = view)
    const next = path[at + 1]
    if (next === undefined) break
    if (reach <= at && !isLeftToThem(view, nodeOf(chain, next), votes, reached, at)) break
    final = at + 1
  }
  return path[final]
}

/** Where half of a roster or less is removed, all who remain are enough: of two members one can never be a majority. */
function isLeftToThem(
  { roster }: View,
  { record }: ChainNode,
  votes: Votes,
  reached: ReadonlyMap<PeerId, number>,
  at: number,
): boolean {
  const removed = new Set(record.removes.map(({ member }) => member.peer))
  if (removed.size === 0 || 2 * removed.size > roster.size) return false
  return [...roster].every(
    ([peer, gen]) =>
      removed.has(peer) || (votes.get(peer)?.gen === gen && (reached.get(peer) ?? -1) > at),
  )
}

/** How far along the path each vote reaches; votes for what is not known reach nowhere. */
function reachOf(
  chain: Chain,
  votes: Votes,
  path: readonly CommitId[],
): ReadonlyMap<PeerId, number> {
  const places = new Map(path.map((id, at) => [id, at]))
  const reached = new Map<PeerId, number>()
  for (const [peer, { commitId, isDouble }] of votes) {
    if (isDouble === true) continue
    let node = chain.nodes.get(commitId)
    while (node !== undefined && !places.has(node.record.commitId)) {
      node = chain.nodes.get(node.record.parent)
    }
    const place = node && places.get(node.record.commitId)
    if (place !== undefined) reached.set(peer, place)
  }
  return reached
}

/** As far as more than half of a roster reach; -1 if they do not even reach the base. */
function mostReach({ roster }: View, votes: Votes, reached: ReadonlyMap<PeerId, number>): number {
  const places: number[] = []
  for (const [peer, gen] of roster) {
    const place = votes.get(peer)?.gen === gen ? reached.get(peer) : undefined
    if (place !== undefined) places.push(place)
  }
  places.sort((a, b) => b - a)
  return places[Math.floor(roster.size / 2)] ?? -1
}
