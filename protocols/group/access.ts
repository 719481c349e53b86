// Who is served what of a group (spec.md §3.7). Floor 0, pure.
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { admit, freeze, leadsTo, nodeOf, removalOf, thaw } from './chain.ts'
import type { Chain } from './chain.ts'
import { decodeRecord, verifyRecord } from './commit-record.ts'
import { refKey, refOfKey } from './ids.ts'
import { standingOf } from './selection.ts'
import type { GroupState } from './state.ts'
import { SYNC_IDS_MAX } from './types.ts'
import type { CommitId, CommitRecord, MemberRef, RecordEntry } from './types.ts'
import { isBeside } from './voiding.ts'

/** What a peer may have: everything; what shows it that it is out; nothing. */
export type Access = 'everything' | Farewell | 'denied'

/** The records up to the one by which a peer is out, and those up to void ones that added it. */
export interface Farewell {
  readonly until: CommitId
  readonly addedIn: readonly CommitId[]
}

/** Octets of the records that somebody shows to prove that it is a member. */
const SHOWN_BYTES_MAX = 196_608

/** Whom to ask for what is new: the others of the tip; whoever is alone there, all that ever were members. */
export function partnersOf({ chain, tip, self }: GroupState): PeerId[] {
  const isOther = (peer: PeerId): boolean => peer !== self.peer
  const others = [...nodeOf(chain, tip).view.roster.keys()].filter(isOther)
  if (others.length > 0) return others
  return [...new Set([...chain.known.keys()].map((key) => refOfKey(key).peer))].filter(isOther)
}

/** What a peer may have: a member of any branch that is not void everything, one that is out what shows it that. */
export function accessOf({ chain, votes, tip, phase }: GroupState, peer: PeerId): Access {
  if (phase === 'left') return 'denied'
  const { roster, gone } = nodeOf(chain, tip).view
  if (roster.has(peer)) return 'everything'
  const { voided } = standingOf(chain, votes)
  let until = removalOf(chain, tip, peer)
  const voidlyAddedIn: CommitId[] = []
  for (let gen = (gone.get(peer) ?? 0) + 1; ; gen++) {
    const addedIn = chain.known.get(refKey({ peer, gen }))
    if (addedIn === undefined) break
    if (addedIn.some((id) => !voided.has(id))) return 'everything'
    for (const id of addedIn) until = voidedBy(chain, voided, id) ?? until
    voidlyAddedIn.push(...addedIn)
  }
  return until === undefined ? 'denied' : { until, addedIn: voidlyAddedIn }
}

/** True if a record is among those that show a peer that it is out. */
export function isShownBy(chain: Chain, { until, addedIn }: Farewell, id: CommitId): boolean {
  const { record } = nodeOf(chain, id)
  if (record.epoch <= nodeOf(chain, until).record.epoch) return true
  return addedIn.some((one) => leadsTo(chain, id, one))
}

/** The first removal that makes a record void: of the author of the first void one on the way to it. */
function voidedBy(chain: Chain, voided: ReadonlySet<CommitId>, id: CommitId): CommitId | undefined {
  let root = nodeOf(chain, id)
  for (let up = root; voided.has(up.record.commitId); up = nodeOf(chain, up.record.parent))
    root = up
  let first: CommitRecord | undefined
  for (const one of chain.removals) {
    const removal = nodeOf(chain, one)
    if (voided.has(one) || !isBeside(chain, removal, root)) continue
    if (first === undefined || removal.record.epoch < first.epoch) first = removal.record
  }
  return first?.commitId
}

/** True if a removal made void what a membership rests on: it removes an author of what leads from `at` to there. */
export function isVoidedBy(
  chain: Chain,
  removal: CommitId,
  at: CommitId,
  joinedBy: CommitId,
): boolean {
  const made = nodeOf(chain, removal)
  for (let node = chain.nodes.get(joinedBy); node !== undefined;) {
    const { commitId, parent } = node.record
    if (leadsTo(chain, commitId, at)) return false
    if (isBeside(chain, made, node)) return true
    node = chain.nodes.get(parent)
  }
  return false
}

/**
 * True if a member may join by this record: it adds it later than it came in, or again on a branch that is not known. An
 * earlier one leads nowhere, even where the records that would show that have not come yet.
 */
export function isWayIn({ chain, self }: GroupState, { adds, commitId }: CommitRecord): boolean {
  const added = adds.find(({ member }) => member.peer === self.peer)?.member
  if (added === undefined || added.gen < self.gen) return false
  return added.gen > self.gen || !chain.nodes.has(commitId)
}

/**
 * What a member shows that is not known as one: the record that added it, and as many before it as may be shown,
 * parents first.
 */
export function recordsToShow({ chain, joinedBy }: GroupState): RecordEntry[] {
  const shown: RecordEntry[] = []
  let bytes = 0
  for (let node = chain.nodes.get(joinedBy); node !== undefined;) {
    const { record, evidence } = node.entry
    bytes += record.length + evidence.reduce((sum, one) => sum + one.length, 16)
    if (bytes > SHOWN_BYTES_MAX || shown.length === SYNC_IDS_MAX) break
    shown.unshift({ record, evidence })
    node = chain.nodes.get(node.record.parent)
  }
  return shown
}

/**
 * Those of the records that a peer shows that hang on what is known, if all of them are valid and make it a member;
 * looks no further than the first that is not.
 */
export function provenBy(
  primitives: Primitives,
  state: GroupState,
  peer: PeerId,
  shown: readonly RecordEntry[],
): readonly RecordEntry[] {
  if (state.phase !== 'member') return []
  const base = nodeOf(state.chain, state.chain.base).record.epoch
  const proven: RecordEntry[] = []
  let chain = thaw(state.chain)
  let last: MemberRef | undefined
  for (const entry of shown) {
    const named = decodeRecord(entry.record)
    if (!named.ok) return []
    // What is before the base is not judged here, and not needed.
    if (named.value.epoch <= base) continue
    const record = verifyRecord(primitives, entry.record)
    if (!record.ok) return []
    const grown = admit(primitives, chain, record.value, entry, state.groupId)
    if (!grown.ok) return []
    chain = grown.value
    last = record.value.adds.find(({ member }) => member.peer === peer)?.member
    proven.push(entry)
  }
  freeze(chain)
  return last === undefined ? [] : proven
}
