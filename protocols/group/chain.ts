// The records of a group and how they hang together: a tree below a base (spec.md §4.1). Floor 0, pure.
import { equalBytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { invariant } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { decodeRecord, verifyRecord } from './commit-record.ts'
import { refKey } from './ids.ts'
import type { CommitId, CommitRecord, GroupId, MemberRef, RecordEntry, View } from './types.ts'
import { RECORDS_MAX } from './types.ts'
import { genesisView, viewAfter } from './view.ts'

/**
 * Whether a commit could not be followed here; `closed`: nor did anybody show the way into it; `untried`: nobody did, and
 * what is before it could not be followed here.
 */
export type Failed = boolean | 'closed' | 'untried'

/** A valid record in its place. */
export interface ChainNode {
  readonly record: CommitRecord
  readonly entry: RecordEntry
  readonly view: View
  /** Of members removed by citing a removal on another branch, as `refKey` names them: what that one hangs on. */
  readonly cited: ReadonlyMap<string, CommitId>
  /** Its sealed commit is at hand, or not needed: it leads to where this member came in. */
  readonly hasBody: boolean
  /** This member could not follow it: it is selected only for what others have done with it. */
  readonly failed: Failed
}

/** All valid records that hang on the base: genesis, or, until the records before it came, the commit joined by. */
export interface Chain {
  readonly base: CommitId
  readonly nodes: ReadonlyMap<CommitId, ChainNode>
  readonly children: ReadonlyMap<CommitId, readonly CommitId[]>
  /** Every membership on any roster, as `refKey` names it, and the commits that added it; none of those at the base. */
  readonly known: ReadonlyMap<string, readonly CommitId[]>
  /** Commits in which somebody is removed. */
  readonly removals: readonly CommitId[]
  /** Commits with more than one child. */
  readonly forks: readonly CommitId[]
}

/** A chain whose collections nobody else holds yet. */
interface Growing extends Chain {
  readonly nodes: Map<CommitId, ChainNode>
  readonly children: Map<CommitId, readonly CommitId[]>
  readonly known: Map<string, readonly CommitId[]>
  readonly removals: CommitId[]
  readonly forks: CommitId[]
}

const NONE: ReadonlyMap<string, CommitId> = new Map()

/** Chains that grow in place. */
const thawed = new WeakMap<Chain, Growing>()

/** A chain of its base alone. The base was verified by who joined on it. */
export function chainOf(record: CommitRecord, entry: RecordEntry, view: View): Chain {
  const node: ChainNode = { record, entry, view, cited: NONE, hasBody: true, failed: false }
  return {
    base: record.commitId,
    nodes: new Map([[record.commitId, node]]),
    children: new Map(),
    known: new Map([...view.roster].map(([peer, gen]) => [refKey({ peer, gen }), []])),
    removals: [],
    forks: [],
  }
}

function copyOf(chain: Chain): Growing {
  return {
    base: chain.base,
    nodes: new Map(chain.nodes),
    children: new Map(chain.children),
    known: new Map(chain.known),
    removals: [...chain.removals],
    forks: [...chain.forks],
  }
}

/** A copy that many records can be admitted to cheaply, until `freeze`: meanwhile only the newest answer is valid. */
export function thaw(chain: Chain): Chain {
  const copy = copyOf(chain)
  thawed.set(copy, copy)
  return copy
}

/** Ends what `thaw` began. */
export function freeze(chain: Chain): void {
  thawed.delete(chain)
}

/** A chain that begins with a genesis record. */
export function chainFromGenesis(primitives: Primitives, entry: RecordEntry): Decoded<Chain> {
  const record = verifyRecord(primitives, entry.record)
  if (!record.ok) return record
  const view = genesisView(primitives, record.value)
  return view.ok ? decoded(chainOf(record.value, entry, view.value)) : view
}

/** The node of a commit that is known to be there. */
export function nodeOf(chain: Chain, id: CommitId): ChainNode {
  const node = chain.nodes.get(id)
  invariant(node !== undefined, 'a commit of the chain is in it')
  return node
}

/**
 * Adds a record whose parent is there, or the sealed commit of one that is.
 *
 * @param record - As `verifyRecord` answered it: its signature holds.
 * @returns The chain, the same one if nothing is new; why the record is not valid otherwise.
 */
export function admit(
  primitives: Primitives,
  chain: Chain,
  record: CommitRecord,
  entry: RecordEntry,
  groupId: GroupId,
): Decoded<Chain> {
  const { commitId } = record
  const known = chain.nodes.get(commitId)
  const body = bodyFor(primitives, known?.record ?? record, entry)
  if (known !== undefined) {
    if (known.hasBody || body === undefined) return decoded(chain)
    return decoded(replace(chain, { ...known, hasBody: true, entry: { ...known.entry, body } }))
  }
  if (record.groupId !== groupId) return refused('GROUP_COMMIT_INVALID')
  const parent = chain.nodes.get(record.parent)
  if (parent === undefined) return refused('GROUP_EPOCH_UNKNOWN')
  if (chain.nodes.size >= RECORDS_MAX) return refused('LIMIT_QUOTA')
  const view = viewAfter(primitives, parent.view, record, entry.evidence)
  if (!view.ok) return view
  const { body: _, ...rest } = entry
  const node: ChainNode = {
    record,
    entry: body === undefined ? rest : { ...rest, body },
    view: view.value,
    cited: citedIn(primitives, record, entry),
    hasBody: body !== undefined,
    failed: false,
  }
  return decoded(grow(chain, node))
}

/** What the removals hang on that a valid record cites. */
function citedIn(
  primitives: Primitives,
  { removes }: CommitRecord,
  { evidence }: RecordEntry,
): ReadonlyMap<string, CommitId> {
  if (evidence.length === 0) return NONE
  const cited = new Map<string, CommitId>()
  for (const { member, evidence: hash } of removes) {
    const bytes = evidence.find(
      (one) => hash !== undefined && equalBytes(primitives.sha256(one), hash),
    )
    const removal = bytes && decodeRecord(bytes)
    if (removal?.ok === true) cited.set(refKey(member), removal.value.parent)
  }
  return cited
}

/** Hangs a node on its parent. */
function grow(chain: Chain, node: ChainNode): Chain {
  const { commitId, parent, adds, removes } = node.record
  const next = nextOf(chain)
  const { nodes, children, known, removals, forks } = next
  nodes.set(commitId, node)
  const siblings = children.get(parent) ?? []
  children.set(parent, [...siblings, commitId])
  if (siblings.length === 1) forks.push(parent)
  for (const { member } of adds) {
    const key = refKey(member)
    known.set(key, [...(known.get(key) ?? []), commitId])
  }
  if (removes.length > 0) removals.push(commitId)
  return next
}

function nextOf(chain: Chain): Growing {
  const growing = thawed.get(chain)
  if (growing === undefined) return copyOf(chain)
  const next = { ...growing }
  thawed.set(next, next)
  return next
}

/** The chain with one node's failure noted: neither it nor what hangs on it is ever selected. */
export function markFailed(chain: Chain, id: CommitId, failed: Failed = true): Chain {
  return replace(chain, { ...nodeOf(chain, id), failed })
}

/** True of what is left aside because nobody shows the way into it. */
export function isClosed(failed: Failed): failed is 'closed' | 'untried' {
  return failed === 'closed' || failed === 'untried'
}

/** The chain with all before a commit, and itself, closed no more; the same one if nothing was. */
export function openTo(chain: Chain, id: CommitId): Chain {
  const closed = [...pathTo(chain, id)].filter((one) => isClosed(nodeOf(chain, one).failed))
  return closed.reduce(
    (next, one) => markFailed(next, one, nodeOf(chain, one).failed === 'closed'),
    chain,
  )
}

/** The chain with all before a commit, and itself, noted as followed: a member that joined by it needs them no more. */
export function markFollowed(chain: Chain, id: CommitId): Chain {
  let next = thaw(chain)
  let node = chain.nodes.get(id)
  while (node !== undefined) {
    next = replace(next, { ...node, hasBody: true })
    node = chain.nodes.get(node.record.parent)
  }
  freeze(next)
  return next
}

function replace(chain: Chain, node: ChainNode): Chain {
  const next = nextOf(chain)
  next.nodes.set(node.record.commitId, node)
  return next
}

function bodyFor(
  primitives: Primitives,
  record: CommitRecord,
  { body }: RecordEntry,
): RecordEntry['body'] {
  if (body?.length !== record.bodyBytes) return undefined
  const hash = primitives.sha256(body)
  return hash.every((octet, i) => octet === record.sealedHash[i]) ? body : undefined
}

/** True if `ancestor` is `id` or lies on its way to the base. */
export function leadsTo(chain: Chain, ancestor: CommitId, id: CommitId): boolean {
  const epoch = chain.nodes.get(ancestor)?.record.epoch
  if (epoch === undefined) return false
  let node = chain.nodes.get(id)
  while (node !== undefined && node.record.epoch > epoch) node = chain.nodes.get(node.record.parent)
  return node?.record.commitId === ancestor
}

/** A commit and all before it. */
export function pathTo(chain: Chain, id: CommitId): Set<CommitId> {
  const path = new Set<CommitId>()
  for (let node = chain.nodes.get(id); node !== undefined;) {
    path.add(node.record.commitId)
    node = chain.nodes.get(node.record.parent)
  }
  return path
}

/** The commits from the last one for which `isHeld` holds (itself left out) to `tip`; undefined if there is none. */
export function pathFrom(
  chain: Chain,
  tip: CommitId,
  isHeld: (id: CommitId) => boolean,
): { readonly from: CommitId; readonly steps: readonly CommitId[] } | undefined {
  const steps: CommitId[] = []
  let id = tip
  while (!isHeld(id)) {
    steps.unshift(id)
    if (id === chain.base) return undefined
    id = nodeOf(chain, id).record.parent
  }
  return { from: id, steps }
}

/** True if any known roster has the member: on whatever branch, it may be heard. */
export function isKnown(chain: Chain, ref: MemberRef): boolean {
  return chain.known.has(refKey(ref))
}

/** True if a member may have what was said in an epoch: there is a branch on which it was not added after it. */
export function wasMemberAt(chain: Chain, ref: MemberRef, id: CommitId): boolean {
  const added = chain.known.get(refKey(ref))
  if (added === undefined) return false
  return added.length === 0 || added.some((one) => one === id || !leadsTo(chain, id, one))
}

/** The last commit that two have in common. */
export function forkPoint(chain: Chain, a: CommitId, b: CommitId): CommitId {
  let [one, other] = [nodeOf(chain, a), nodeOf(chain, b)]
  while (one !== other) {
    const up = one.record.epoch >= other.record.epoch ? one : other
    const next = nodeOf(chain, up.record.parent)
    if (up === one) one = next
    else other = next
  }
  return one.record.commitId
}

/** The records that somebody lacks who holds `known` and all before them; parents first. */
export function recordsBeyond(chain: Chain, known: readonly CommitId[]): ChainNode[] {
  const held = new Set<CommitId>()
  for (const one of known) {
    let node = chain.nodes.get(one)
    while (node !== undefined && !held.has(node.record.commitId)) {
      held.add(node.record.commitId)
      node = chain.nodes.get(node.record.parent)
    }
  }
  const lacking = [...chain.nodes.values()].filter(({ record }) => !held.has(record.commitId))
  return lacking.sort((a, b) => a.record.epoch - b.record.epoch)
}

/** The commit that removed a peer on the way to `tip`, if one did and it was not added again. */
export function removalOf(chain: Chain, tip: CommitId, peer: PeerId): CommitId | undefined {
  let node = chain.nodes.get(tip)
  if (node?.view.roster.has(peer) !== false) return undefined
  while (node !== undefined) {
    if (node.record.removes.some(({ member }) => member.peer === peer)) return node.record.commitId
    node = chain.nodes.get(node.record.parent)
  }
  return undefined
}
