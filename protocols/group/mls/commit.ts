// Making commits (RFC 9420 §12.4): proposals, a fresh path always, and Welcomes. Floor 0, pure.
import type { Commit } from 'ts-mls/commit.js'
import type { Extension } from 'ts-mls/extension.js'
import { encodeGroupContext } from 'ts-mls/groupContext.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import type { Proposal as MlsProposal } from 'ts-mls/proposal.js'
import { equalBytes, wipe } from '../../base/bytes.ts'
import type { Bytes } from '../../base/bytes.ts'
import type { PeerId } from '../../base/ids.ts'
import type { TimeMs } from '../../base/time.ts'
import type { Identity, Proposal, WelcomeFor } from '../mls-engine.ts'
import {
  PUBLIC_MESSAGE,
  assembleCommit,
  confirmTranscript,
  encodeCommitContent,
  interimTranscript,
  tagMembership,
  toSign,
} from './messages/framing.ts'
import { readKeyPackage, toFacts } from './messages/key-package.ts'
import { deriveFromCommit } from './keys/key-schedule.ts'
import type { CommittedEpoch } from './keys/key-schedule.ts'
import { plantSecretTree } from './keys/secret-tree.ts'
import type { Suite } from './keys/suite.ts'
import { toGroupExtensions } from './profile.ts'
import { applyChanges } from './proposals.ts'
import type { Changes, Newcomer } from './proposals.ts'
import { ensure, required } from './refusal.ts'
import { copyKeys, leafIndexOf } from './state.ts'
import type { EpochState } from './state.ts'
import { keyAt, rootHash } from './tree/tree.ts'
import type { Tree } from './tree/tree.ts'
import { leafOfNode } from './tree/tree-math.ts'
import { makePath, sealPath } from './tree/update-path.ts'
import type { PathKeys } from './tree/update-path.ts'
import { makeWelcomes } from './messages/welcome.ts'

/** A commit of ours. */
export interface OwnCommit {
  readonly child: EpochState
  readonly commit: Bytes
  readonly welcomes: readonly WelcomeFor[]
}

/** Makes a commit of these proposals on top of an epoch. */
export function makeCommit(
  suite: Suite,
  parent: EpochState,
  proposals: readonly Proposal[],
  nowMs: TimeMs,
): OwnCommit {
  const { context, ownLeaf, self } = parent
  const changes = toChanges(suite, parent.tree, proposals, nowMs)
  const changed = applyChanges(suite, parent.tree, changes, ownLeaf)
  const path = makePath(suite, changed.tree, {
    leafIndex: ownLeaf,
    self,
    groupId: context.groupId,
  })
  const extensions = changes.extensions ?? context.extensions
  const next = provisionalContext(suite, context, path.tree, extensions)
  const sealed = sealPath(suite, changed.tree, path, encodeGroupContext(next), changed.added)
  const commit: Commit = { proposals: toInline(changes), path: sealed }
  const content = encodeCommitContent(context.groupId, context.epoch, ownLeaf, commit)
  const framed = signCommit(suite, parent, content)
  const derived = deriveChild(suite, {
    content,
    signature: framed.signature,
    context: next,
    interim: interimTranscript(
      suite.primitives,
      context.confirmedTranscriptHash,
      parent.confirmationTag,
    ),
    init: parent.secrets.init,
    commitSecret: path.commitSecret,
  })
  const { membership } = parent.secrets
  const { confirmationTag } = derived
  const tag = tagMembership(
    suite.primitives,
    membership,
    framed.signed,
    framed.signature,
    confirmationTag,
  )
  const child = toChild(self, ownLeaf, path.tree, mergeKeys(parent, path.tree, path.keys), derived)
  const { joiner } = derived.epoch
  const { adds } = changes
  const welcomes = makeWelcomes(suite, child, { joiner, path, adds, added: changed.added })
  wipe(joiner, derived.epoch.confirmation, ...path.secrets)
  return {
    child,
    commit: assembleCommit(content, framed.signature, confirmationTag, tag),
    welcomes,
  }
}

function toChanges(
  suite: Suite,
  tree: Tree,
  proposals: readonly Proposal[],
  nowMs: TimeMs,
): Changes {
  const adds: Newcomer[] = []
  const removes: { peer: PeerId; leafIndex: number }[] = []
  let extensions: Extension[] | undefined
  for (const proposal of proposals) {
    switch (proposal.kind) {
      case 'add': {
        const verified = readKeyPackage(suite, proposal.keyPackage)
        const { notBeforeMs, notAfterMs } = toFacts(verified)
        ensure(notBeforeMs <= nowMs && nowMs <= notAfterMs, 'a KeyPackage is not valid now')
        adds.push(verified)
        break
      }
      case 'remove': {
        const { peer } = proposal
        const found = leafIndexOf(tree, peer)
        removes.push({ peer, leafIndex: required(found, 'not a member', 'GROUP_NOT_MEMBER') })
        break
      }
      case 'policy':
        ensure(extensions === undefined, 'the policy is set twice')
        extensions = toGroupExtensions(Uint8Array.from(proposal.policy))
        break
    }
  }
  return { adds, removes, extensions }
}

function toInline({ adds, removes, extensions }: Changes): Commit['proposals'] {
  const proposals: MlsProposal[] = [
    ...removes.map(({ leafIndex }) => ({
      proposalType: 'remove' as const,
      remove: { removed: leafIndex },
    })),
    ...adds.map(({ keyPackage }) => ({ proposalType: 'add' as const, add: { keyPackage } })),
  ]
  if (extensions !== undefined) {
    const groupContextExtensions = { extensions }
    proposals.push({ proposalType: 'group_context_extensions', groupContextExtensions })
  }
  return proposals.map((proposal) => ({ proposalOrRefType: 'proposal', proposal }))
}

/** The next epoch's GroupContext, still with the old transcript hash: what path secrets are sealed under. */
export function provisionalContext(
  suite: Suite,
  context: GroupContext,
  tree: Tree,
  extensions: Extension[],
): GroupContext {
  const treeHash = rootHash(suite.primitives, tree)
  return { ...context, epoch: context.epoch + 1n, treeHash, extensions }
}

function signCommit(
  suite: Suite,
  { self, context }: EpochState,
  content: Bytes,
): { readonly signed: Bytes; readonly signature: Bytes } {
  const signed = toSign(PUBLIC_MESSAGE, content, encodeGroupContext(context))
  return { signed, signature: suite.signWithLabel(self, 'FramedContentTBS', signed) }
}

/** What a child epoch is derived from. */
export interface ChildInput {
  readonly content: Bytes
  readonly signature: Bytes
  readonly interim: Bytes
  /** Provisional context. */
  readonly context: GroupContext
  readonly init: Bytes
  /** Wiped. */
  readonly commitSecret: Bytes
}

/** A child epoch's context and secrets. */
export interface DerivedChild {
  readonly context: GroupContext
  readonly epoch: CommittedEpoch
  readonly confirmationTag: Bytes
}

/** Derives the child epoch of a commit: its context, its secrets and its confirmation tag. */
export function deriveChild(suite: Suite, input: ChildInput): DerivedChild {
  const { content, signature, interim, init, commitSecret } = input
  const { primitives } = suite
  const confirmed = confirmTranscript(primitives, interim, content, signature)
  const context = { ...input.context, confirmedTranscriptHash: confirmed }
  const epoch = deriveFromCommit(suite, init, commitSecret, encodeGroupContext(context))
  return { context, epoch, confirmationTag: primitives.hmacSha256(epoch.confirmation, confirmed) }
}

/** The state of a derived child. */
export function toChild(
  self: Identity,
  ownLeaf: number,
  tree: Tree,
  keys: PathKeys,
  derived: DerivedChild,
): EpochState {
  const { context, confirmationTag, epoch } = derived
  const leaves = leafOfNode(tree.nodes.length + 1)
  const messages = plantSecretTree(leaves, epoch.encryption)
  return { self, context, tree, ownLeaf, keys, secrets: epoch.secrets, confirmationTag, messages }
}

/** Fresh keys, and those of the parent epoch whose nodes are still the same: no other outlives its node. */
export function mergeKeys(
  parent: Pick<EpochState, 'keys' | 'tree'>,
  tree: Tree,
  fresh: PathKeys,
): PathKeys {
  const kept = [...parent.keys].filter(([node]) => {
    const before = keyAt(parent.tree, node)
    const after = keyAt(tree, node)
    if (fresh.has(node) || before === undefined || after === undefined) return false
    return equalBytes(before, after)
  })
  return new Map([...copyKeys(new Map(kept)), ...fresh])
}
