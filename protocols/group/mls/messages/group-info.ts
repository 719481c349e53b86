// GroupInfo (RFC 9420 §12.4.3): signed by a member, in Welcomes and for external commits. Floor 0, pure.
import type { GroupContext } from 'ts-mls/groupContext.js'
import { encodeGroupInfoTBS } from 'ts-mls/groupInfo.js'
import type { GroupInfo, GroupInfoTBS } from 'ts-mls/groupInfo.js'
import { encodeMlsMessage } from 'ts-mls/message.js'
import { makeReader, wipe } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import type { GroupInfoFacts, Identity } from '../../mls-engine.ts'
import { readVec, vec } from '../../tls.ts'
import { decodeMessage } from './codec.ts'
import { HPKE_PUBLIC_BYTES } from '../keys/hpke.ts'
import { SUITE_NAME } from '../keys/suite.ts'
import type { Suite } from '../keys/suite.ts'
import { readPolicy } from '../profile.ts'
import { ensure, required } from '../refusal.ts'
import { deriveExternalPair, hashGroupInfo } from '../state.ts'
import type { EpochState } from '../state.ts'
import { leafAt } from '../tree/tree.ts'
import type { Tree } from '../tree/tree.ts'

/** Signs a GroupInfo as the member at `signer`. */
export function signGroupInfo(suite: Suite, self: Identity, tbs: GroupInfoTBS): GroupInfo {
  return { ...tbs, signature: suite.signWithLabel(self, 'GroupInfoTBS', encodeGroupInfoTBS(tbs)) }
}

/** Verifies that the member it names signed a GroupInfo. */
export function verifyGroupInfo(suite: Suite, tree: Tree, groupInfo: GroupInfo): void {
  const signer = required(leafAt(tree, groupInfo.signer), 'the signer is nobody')
  const { signaturePublicKey } = signer
  const tbs = encodeGroupInfoTBS(groupInfo)
  const { signature } = groupInfo
  const signed = suite.verifyWithLabel(signaturePublicKey, 'GroupInfoTBS', tbs, signature)
  ensure(signed, 'the GroupInfo signature is false')
}

/** Checks that a GroupContext is of this profile. */
export function checkContext(context: GroupContext): void {
  ensure(context.cipherSuite === SUITE_NAME, 'another cipher suite')
  ensure(context.epoch <= BigInt(Number.MAX_SAFE_INTEGER), 'an epoch out of range')
  readPolicy(context.extensions)
}

/** A signed GroupInfo for external commits, as MLSMessage without the tree. */
export function makeExternalGroupInfo(suite: Suite, state: EpochState): Bytes {
  const pair = deriveExternalPair(suite, state.secrets)
  wipe(pair.secret)
  // external_pub holds a struct whose field is a vector: the key with its length in front (RFC 9420 §12.4.3.2).
  const extensions = [
    { extensionType: 'external_pub' as const, extensionData: vec(pair.publicKey) },
  ]
  const { context: groupContext, confirmationTag, ownLeaf: signer } = state
  const tbs = { groupContext, extensions, confirmationTag, signer }
  const groupInfo = signGroupInfo(suite, state.self, tbs)
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_group_info', groupInfo })
}

/** A GroupInfo for external commits, decoded. */
export interface ExternalGroupInfo {
  readonly groupInfo: GroupInfo
  readonly externalPub: Bytes
}

/** Decodes a GroupInfo for external commits; its signature is not verified yet. */
export function readExternalGroupInfo(bytes: Bytes): ExternalGroupInfo {
  const { groupInfo } = decodeMessage('mls_group_info', bytes)
  checkContext(groupInfo.groupContext)
  const [extension] = groupInfo.extensions
  const only = groupInfo.extensions.length === 1 && extension?.extensionType === 'external_pub'
  const reader = makeReader(required(only ? extension.extensionData : undefined, 'no external_pub'))
  const externalPub = readVec(reader, HPKE_PUBLIC_BYTES)
  ensure(reader.done, 'external_pub has trailing octets')
  return { groupInfo, externalPub: required(externalPub, 'external_pub does not decode') }
}

/** The facts of a GroupInfo. */
export function toGroupInfoFacts(suite: Suite, info: ExternalGroupInfo): GroupInfoFacts {
  const { groupContext, confirmationTag } = info.groupInfo
  return {
    groupId: groupContext.groupId.slice(),
    epoch: Number(groupContext.epoch),
    treeHash: groupContext.treeHash.slice(),
    policy: readPolicy(groupContext.extensions).slice(),
    groupInfoHash: hashGroupInfo(suite, groupContext, confirmationTag, info.externalPub),
  }
}
