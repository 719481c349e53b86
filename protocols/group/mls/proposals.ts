// What a commit changes: checked against the roster and applied to the tree (RFC 9420 §12.2, §12.3). Floor 0,
// pure. Proposals travel inside their commit; kinds outside the profile are refused.
import type { Extension } from 'ts-mls/extension.js'
import type { KeyPackage } from 'ts-mls/keyPackage.js'
import type { Proposal as MlsProposal } from 'ts-mls/proposal.js'
import type { Commit } from 'ts-mls/commit.js'
import type { Bytes } from '../../base/bytes.ts'
import type { PeerId } from '../../base/ids.ts'
import type { CommitContent } from '../mls-engine.ts'
import { MEMBERS_MAX } from '../types.ts'
import { refOf, verifyKeyPackage } from './messages/key-package.ts'
import type { Suite } from './keys/suite.ts'
import { readPolicy } from './profile.ts'
import { Refusal, ensure, required } from './refusal.ts'
import { rosterOf } from './state.ts'
import { withLeafAdded, withLeavesRemoved } from './tree/tree.ts'
import type { Tree } from './tree/tree.ts'
import { checkFreshKeys } from './tree/validate.ts'

/** Everybody is removed, as many are added, and the policy changes. */
const PROPOSALS_MAX: number = 2 * MEMBERS_MAX + 1

/** A member to be added, its KeyPackage verified. */
export interface Newcomer {
  readonly peer: PeerId
  readonly ref: Bytes
  readonly keyPackage: KeyPackage
}

/** A commit's changes, verified one by one. */
export interface Changes {
  readonly adds: readonly Newcomer[]
  readonly removes: readonly { readonly peer: PeerId; readonly leafIndex: number }[]
  /** GroupContext extensions, if the commit replaces them. */
  readonly extensions: Extension[] | undefined
}

/** Reads the proposals of a member's commit. */
export function readChanges(suite: Suite, tree: Tree, commit: Commit): Changes {
  const adds: Newcomer[] = []
  const removes: { peer: PeerId; leafIndex: number }[] = []
  let extensions: Extension[] | undefined
  for (const proposal of inlineProposals(commit)) {
    switch (proposal.proposalType) {
      case 'add': {
        const { keyPackage } = proposal.add
        const peer = verifyKeyPackage(suite, keyPackage)
        adds.push({ peer, ref: refOf(suite, keyPackage), keyPackage })
        break
      }
      case 'remove':
        removes.push(memberAt(tree, proposal.remove.removed))
        break
      case 'group_context_extensions':
        ensure(extensions === undefined, 'extensions are set twice')
        ;({ extensions } = proposal.groupContextExtensions)
        readPolicy(extensions)
        break
      case 'update':
      case 'psk':
      case 'reinit':
      case 'external_init':
      default:
        throw new Refusal('GROUP_COMMIT_INVALID', 'a proposal outside the profile')
    }
  }
  return { adds, removes, extensions }
}

/** The proposals of a commit, none of them by reference. */
export function inlineProposals(commit: Commit): MlsProposal[] {
  ensure(commit.proposals.length <= PROPOSALS_MAX, 'too many proposals')
  return commit.proposals.map((entry) => {
    const proposal = entry.proposalOrRefType === 'proposal' ? entry.proposal : undefined
    return required(proposal, 'a proposal by reference')
  })
}

/** The member at a leaf. */
export function memberAt(tree: Tree, leafIndex: number): { peer: PeerId; leafIndex: number } {
  const found = rosterOf(tree).find((entry) => entry.leafIndex === leafIndex)
  return required(found, 'a Remove names a blank leaf', 'GROUP_NOT_MEMBER')
}

/** A tree after a commit's proposals, and the leaves that it adds. */
export interface ChangedTree {
  readonly tree: Tree
  readonly added: readonly number[]
}

/** Applies removes, then adds, as a commit by the member at `committer`. */
export function applyChanges(
  suite: Suite,
  tree: Tree,
  changes: Changes,
  committer: number,
): ChangedTree {
  checkFit(suite, tree, changes, committer)
  const leafIndices = changes.removes.map(({ leafIndex }) => leafIndex)
  let changed = withLeavesRemoved(tree, leafIndices)
  const added: number[] = []
  for (const { keyPackage } of changes.adds) {
    const next = withLeafAdded(changed, keyPackage.leafNode)
    changed = next.tree
    added.push(next.leafIndex)
  }
  return { tree: changed, added }
}

function checkFit(suite: Suite, tree: Tree, changes: Changes, committer: number): void {
  const { adds, removes } = changes
  const roster = rosterOf(tree)
  const leaving = new Set(removes.map(({ leafIndex }) => leafIndex))
  ensure(leaving.size === removes.length, 'a member is removed twice')
  ensure(!leaving.has(committer), 'a committer cannot remove itself')
  const staying = roster.filter(({ leafIndex }) => !leaving.has(leafIndex)).map(({ peer }) => peer)
  const peers = new Set([...staying, ...adds.map(({ peer }) => peer)])
  const distinct = peers.size === staying.length + adds.length
  ensure(distinct, 'a member is added twice', 'GROUP_ALREADY_MEMBER')
  ensure(peers.size <= MEMBERS_MAX, 'too many members', 'GROUP_FULL')
  if (adds.length > 0) {
    const keys = adds.map(({ keyPackage }) => keyPackage.leafNode.hpkePublicKey)
    checkFreshKeys(suite, tree, keys)
  }
}

/** What the group protocol is told about a member's commit. */
export function toContent(
  changes: Changes,
  committer: PeerId,
  committerLeaf: number,
): CommitContent {
  const { adds, removes, extensions } = changes
  return {
    kind: 'member',
    committer,
    committerLeaf,
    adds: adds.map(({ peer, ref }) => ({ peer, ref })),
    removes: removes.map(({ peer, leafIndex }) => ({ peer, leafIndex })),
    ...(extensions === undefined ? {} : { policy: readPolicy(extensions).slice() }),
  }
}
