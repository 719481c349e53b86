// External commits (RFC 9420 §12.4.3.2), here only as resync: a member replaces its own leaf. Floor 0, pure.
import type { Commit } from 'ts-mls/commit.js'
import { encodeGroupContext } from 'ts-mls/groupContext.js'
import type { LeafNodeCommit } from 'ts-mls/leafNode.js'
import { utf8, wipe } from '../../base/bytes.ts'
import type { Bytes } from '../../base/bytes.ts'
import type { PeerId } from '../../base/ids.ts'
import type { TimeMs } from '../../base/time.ts'
import type { Identity } from '../mls-engine.ts'
import { decodeTree } from './messages/codec.ts'
import { deriveChild, provisionalContext, toChild } from './commit.ts'
import type { OwnCommit } from './commit.ts'
import {
  PUBLIC_MESSAGE,
  assembleCommit,
  encodeCommitContent,
  interimTranscript,
  toSign,
} from './messages/framing.ts'
import { readExternalGroupInfo, verifyGroupInfo } from './messages/group-info.ts'
import { makeKeyPackage, wipeOwn } from './messages/key-package.ts'
import { HASH_BYTES } from './keys/suite.ts'
import type { Suite } from './keys/suite.ts'
import type { EpochSecrets } from './keys/key-schedule.ts'
import { inlineProposals, memberAt } from './proposals.ts'
import { ensure, required } from './refusal.ts'
import { deriveExternalPair, leafIndexOf } from './state.ts'
import { withLeafAdded, withLeavesRemoved } from './tree/tree.ts'
import type { Tree } from './tree/tree.ts'
import { makePath, sealPath } from './tree/update-path.ts'
import { verifyTree } from './tree/validate.ts'

const EXPORT_CONTEXT = utf8('MLS 1.0 external init secret')

/** What a resyncing member needs. */
export interface ResyncInput {
  readonly groupInfo: Bytes
  readonly tree: Bytes
  readonly self: Identity
  readonly nowMs: TimeMs
}

/** Makes an external commit that replaces this member's leaf. */
export async function makeResync(suite: Suite, input: ResyncInput): Promise<OwnCommit> {
  const { self, nowMs } = input
  const { groupInfo, externalPub } = readExternalGroupInfo(input.groupInfo)
  const { groupContext: context } = groupInfo
  const { groupId, treeHash, epoch, confirmedTranscriptHash } = context
  const tree = decodeTree(input.tree)
  await verifyTree(suite, tree, groupId, treeHash)
  verifyGroupInfo(suite, tree, groupInfo)
  const old = required(leafIndexOf(tree, self.peer), 'no leaf to replace', 'GROUP_NOT_MEMBER')
  const exported = suite.hpke.sendExport(externalPub, EXPORT_CONTEXT, HASH_BYTES)
  const { enc, secret: init } = required(exported, 'external_pub is unusable')
  const own = makeKeyPackage(suite, self, nowMs, false)
  wipeOwn(own)
  const placed = withLeafAdded(withLeavesRemoved(tree, [old]), own.keyPackage.leafNode)
  const { leafIndex } = placed
  const path = makePath(suite, placed.tree, { leafIndex, self, groupId })
  const next = provisionalContext(suite, context, path.tree, context.extensions)
  const commit: Commit = {
    proposals: [
      {
        proposalOrRefType: 'proposal',
        proposal: { proposalType: 'remove', remove: { removed: old } },
      },
      {
        proposalOrRefType: 'proposal',
        proposal: { proposalType: 'external_init', externalInit: { kemOutput: enc } },
      },
    ],
    path: sealPath(suite, placed.tree, path, encodeGroupContext(next), [leafIndex]),
  }
  const content = encodeCommitContent(groupId, epoch, undefined, commit)
  const signed = toSign(PUBLIC_MESSAGE, content, encodeGroupContext(context))
  const signature = suite.signWithLabel(self, 'FramedContentTBS', signed)
  const { confirmationTag } = groupInfo
  const derived = deriveChild(suite, {
    content,
    signature,
    interim: interimTranscript(suite.primitives, confirmedTranscriptHash, confirmationTag),
    context: next,
    init,
    commitSecret: path.commitSecret,
  })
  wipe(init, derived.epoch.joiner, derived.epoch.confirmation, ...path.secrets)
  return {
    child: toChild(self, leafIndex, path.tree, path.keys, derived),
    commit: assembleCommit(content, signature, derived.confirmationTag, undefined),
    welcomes: [],
  }
}

/** A resync as its followers read it. */
export interface ExternalChanges {
  /** The tree with the old leaf gone and the new one in its place. */
  readonly before: Tree
  readonly leafIndex: number
  readonly removed: { readonly peer: PeerId; readonly leafIndex: number }
  readonly kemOutput: Bytes
}

/** Reads the proposals of an external commit: exactly one Remove and one ExternalInit. */
export function readExternalChanges(
  tree: Tree,
  commit: Commit,
  leaf: LeafNodeCommit,
): ExternalChanges {
  let kemOutput: Bytes | undefined
  let removedLeaf: number | undefined
  for (const proposal of inlineProposals(commit)) {
    if (proposal.proposalType === 'external_init' && kemOutput === undefined) {
      const { externalInit } = proposal
      ;({ kemOutput } = externalInit)
    } else {
      const isFirst = proposal.proposalType === 'remove' && removedLeaf === undefined
      ensure(isFirst, 'a proposal that does not fit an external commit')
      const { remove } = proposal
      removedLeaf = remove.removed
    }
  }
  const removed = memberAt(tree, required(removedLeaf, 'a stranger joins from outside'))
  const placed = withLeafAdded(withLeavesRemoved(tree, [removed.leafIndex]), leaf)
  return {
    before: placed.tree,
    leafIndex: placed.leafIndex,
    removed,
    kemOutput: required(kemOutput, 'no ExternalInit'),
  }
}

/** The init_secret that an external commit brings along. */
export function receiveInitSecret(suite: Suite, secrets: EpochSecrets, kemOutput: Bytes): Bytes {
  const pair = deriveExternalPair(suite, secrets)
  const init = suite.hpke.receiveExport(pair, kemOutput, EXPORT_CONTEXT, HASH_BYTES)
  wipe(pair.secret)
  return required(init, 'the external init does not open')
}
