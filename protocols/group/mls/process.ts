// Following commits of others (RFC 9420 §12.4.2), members' and resyncing members'. Floor 0, pure.
import type { Extension } from 'ts-mls/extension.js'
import { encodeGroupContext } from 'ts-mls/groupContext.js'
import type { PublicMessage } from 'ts-mls/publicMessage.js'
import type { UpdatePath } from 'ts-mls/updatePath.js'
import { equalBytes, wipe } from '../../base/bytes.ts'
import type { Bytes } from '../../base/bytes.ts'
import type { PeerId } from '../../base/ids.ts'
import type { CommitContent } from '../mls-engine.ts'
import { decodeMessage } from './messages/codec.ts'
import { deriveChild, mergeKeys, provisionalContext, toChild } from './commit.ts'
import { readExternalChanges, receiveInitSecret } from './external.ts'
import {
  PUBLIC_MESSAGE,
  interimTranscript,
  tagMembership,
  toFramedCommit,
  toSign,
} from './messages/framing.ts'
import type { FramedCommit } from './messages/framing.ts'
import type { Suite } from './keys/suite.ts'
import { applyChanges, memberAt, readChanges, toContent } from './proposals.ts'
import { ensure, required } from './refusal.ts'
import type { EpochState } from './state.ts'
import { leafAt } from './tree/tree.ts'
import type { Tree } from './tree/tree.ts'
import { applyPath, openPath } from './tree/update-path.ts'
import { verifyLeaf } from './tree/validate.ts'

/** A followed commit; without child if it removed this member. */
export interface Followed {
  readonly content: CommitContent
  readonly child: EpochState | undefined
}

/** Verifies a commit of another member on top of an epoch and derives the child. */
export function followCommit(suite: Suite, parent: EpochState, bytes: Bytes): Followed {
  const { publicMessage } = decodeMessage('mls_public_message', bytes)
  const { content } = publicMessage
  const { context } = parent
  const fits = content.epoch === context.epoch && equalBytes(content.groupId, context.groupId)
  ensure(fits, 'a commit of another epoch', 'GROUP_EPOCH_STALE')
  const framed = toFramedCommit(content, publicMessage.auth)
  const path = required(framed.commit.path, 'a commit without path')
  const { sender } = content
  if (sender.senderType === 'new_member_commit') return followExternal(suite, parent, framed, path)
  ensure(sender.senderType === 'member', 'a commit by a stranger')
  const { leafIndex } = sender
  ensure(leafIndex !== parent.ownLeaf, 'an own commit: resume its checkpoint', 'GROUP_NOT_FOR_ME')
  verifyMembership(suite, parent, framed, publicMessage)
  return followMember(suite, parent, framed, path, memberAt(parent.tree, leafIndex))
}

function verifyMembership(
  suite: Suite,
  parent: EpochState,
  framed: FramedCommit,
  message: PublicMessage,
): void {
  const signed = toSign(PUBLIC_MESSAGE, framed.bytes, encodeGroupContext(parent.context))
  const { signature, confirmationTag } = framed
  const { membership } = parent.secrets
  const expected = tagMembership(suite.primitives, membership, signed, signature, confirmationTag)
  const tag = message.senderType === 'member' ? message.membershipTag : undefined
  ensure(tag !== undefined && equalBytes(tag, expected), 'the membership tag is false')
}

function verifySignature(
  suite: Suite,
  parent: EpochState,
  framed: FramedCommit,
  publicKey: Bytes,
): void {
  const signed = toSign(PUBLIC_MESSAGE, framed.bytes, encodeGroupContext(parent.context))
  const verified = suite.verifyWithLabel(publicKey, 'FramedContentTBS', signed, framed.signature)
  ensure(verified, 'the commit signature is false')
}

function followMember(
  suite: Suite,
  parent: EpochState,
  framed: FramedCommit,
  path: UpdatePath,
  committer: { readonly peer: PeerId; readonly leafIndex: number },
): Followed {
  const { context, tree } = parent
  const { leafIndex } = committer
  const leaf = required(leafAt(tree, leafIndex), 'the committer is nobody')
  verifySignature(suite, parent, framed, leaf.signaturePublicKey)
  const changes = readChanges(suite, tree, framed.commit)
  const changed = applyChanges(suite, tree, changes, leafIndex)
  const content = toContent(changes, committer.peer, leafIndex)
  const peer = verifyLeaf(suite, path.leafNode, context.groupId, leafIndex)
  ensure(peer === committer.peer, 'the path has the leaf of another')
  const applied = applyPath(suite, changed.tree, leafIndex, path)
  if (changes.removes.some((removed) => removed.leafIndex === parent.ownLeaf)) {
    return { content, child: undefined }
  }
  const follower = { before: changed.tree, applied, path, added: changed.added }
  const extensions = changes.extensions ?? context.extensions
  const init = parent.secrets.init
  return { content, child: toFollower(suite, parent, framed, { ...follower, extensions, init }) }
}

function followExternal(
  suite: Suite,
  parent: EpochState,
  framed: FramedCommit,
  path: UpdatePath,
): Followed {
  const { context, tree } = parent
  verifySignature(suite, parent, framed, path.leafNode.signaturePublicKey)
  const external = readExternalChanges(tree, framed.commit, path.leafNode)
  const { before, leafIndex, removed, kemOutput } = external
  const peer = verifyLeaf(suite, path.leafNode, context.groupId, leafIndex)
  ensure(peer === removed.peer, 'a resync replaces the leaf of another')
  const kind = 'external'
  const content = {
    kind,
    committer: peer,
    committerLeaf: leafIndex,
    adds: [],
    removes: [],
  } as const
  const applied = applyPath(suite, before, leafIndex, path, tree)
  if (removed.leafIndex === parent.ownLeaf) return { content, child: undefined }
  const init = receiveInitSecret(suite, parent.secrets, kemOutput)
  const { extensions } = context
  const follower = { before, applied, path, added: [leafIndex], extensions, init }
  const child = toFollower(suite, parent, framed, follower)
  wipe(init)
  return { content, child }
}

interface Follower {
  readonly before: Tree
  readonly applied: ReturnType<typeof applyPath>
  readonly path: UpdatePath
  readonly added: readonly number[]
  readonly extensions: Extension[]
  readonly init: Bytes
}

function toFollower(
  suite: Suite,
  parent: EpochState,
  framed: FramedCommit,
  follower: Follower,
): EpochState {
  const { before, applied, path, added, extensions, init } = follower
  const { context, ownLeaf: leafIndex, keys } = parent
  const next = provisionalContext(suite, context, applied.tree, extensions)
  const learnt = openPath(suite, {
    before,
    applied,
    path,
    own: { leafIndex, keys },
    context: encodeGroupContext(next),
    added,
  })
  const { confirmedTranscriptHash } = context
  const { confirmationTag } = parent
  const derived = deriveChild(suite, {
    content: framed.bytes,
    signature: framed.signature,
    interim: interimTranscript(suite.primitives, confirmedTranscriptHash, confirmationTag),
    context: next,
    init,
    commitSecret: learnt.commitSecret,
  })
  wipe(derived.epoch.joiner, derived.epoch.confirmation)
  const confirmed = equalBytes(derived.confirmationTag, framed.confirmationTag)
  ensure(confirmed, 'the confirmation tag is false')
  const merged = mergeKeys(parent, applied.tree, learnt.keys)
  return toChild(parent.self, leafIndex, applied.tree, merged, derived)
}
