// The records of a group and how they hang together: a tree below a base (spec.md §4.1). Floor 0, pure.
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { invariant } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { verifyRecord } from './commit-record.ts'
import type { CommitId, CommitRecord, GroupId, MemberRef, RecordEntry, View } from './types.ts'
import { RECORDS_MAX } from './types.ts'
import { genesisView, viewAfter } from './view.ts'

/** A valid record in its place. */
export interface ChainNode {
  readonly record: CommitRecord
  readonly entry: RecordEntry
  readonly view: View
  /** Its sealed commit is at hand, unless it is the base. */
  readonly hasBody: boolean
  /** This member could not follow it: it is never selected. */
  readonly failed: boolean
}

/** All valid records that hang on the base: genesis, or the commit that this member joined by. */
export interface Chain {
  readonly base: CommitId
  readonly nodes: ReadonlyMap<CommitId, ChainNode>
  readonly children: ReadonlyMap<CommitId, readonly CommitId[]>
}

/** A chain of its base alone. The base was verified by who joined on it. */
export function chainOf(record: CommitRecord, entry: RecordEntry, view: View): Chain {
  const node: ChainNode = { record, entry, view, hasBody: true, failed: false }
  return { base: record.commitId, nodes: new Map([[record.commitId, node]]), children: new Map() }
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
    hasBody: body !== undefined,
    failed: false,
  }
  const siblings = chain.children.get(record.parent) ?? []
  const children = new Map(chain.children).set(record.parent, [...siblings, commitId])
  return decoded({ ...replace(chain, node), children })
}

/** The chain with one node's failure noted: neither it nor what hangs on it is ever selected. */
export function markFailed(chain: Chain, id: CommitId): Chain {
  return replace(chain, { ...nodeOf(chain, id), failed: true })
}

function replace(chain: Chain, node: ChainNode): Chain {
  return { ...chain, nodes: new Map(chain.nodes).set(node.record.commitId, node) }
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
export function isKnown(chain: Chain, { peer, gen }: MemberRef): boolean {
  for (const { view } of chain.nodes.values()) if (view.roster.get(peer) === gen) return true
  return false
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
