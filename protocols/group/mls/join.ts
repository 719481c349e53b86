// Joining: a group of one, and by Welcome (RFC 9420 §11, §12.4.3.1). Floor 0, pure.
import { encodeGroupContext } from 'ts-mls/groupContext.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import { decodeGroupSecrets, encodeGroupSecrets } from 'ts-mls/groupSecrets.js'
import type { GroupSecrets } from 'ts-mls/groupSecrets.js'
import { encodeLeafNode } from 'ts-mls/leafNode.js'
import type { Welcome } from 'ts-mls/welcome.js'
import { equalBytes, wipe } from '../../base/bytes.ts'
import type { Bytes } from '../../base/bytes.ts'
import type { TimeMs } from '../../base/time.ts'
import type { Identity } from '../mls-engine.ts'
import { decodeBareGroupInfo, decodeMessage, decodeStrictly, decodeTree } from './messages/codec.ts'
import { checkContext, verifyGroupInfo } from './messages/group-info.ts'
import { decodeOwn, makeKeyPackage } from './messages/key-package.ts'
import type { PrivateKeyPackage } from './messages/key-package.ts'
import { deriveFromEpochSecret, deriveFromJoiner } from './keys/key-schedule.ts'
import { plantSecretTree } from './keys/secret-tree.ts'
import { HASH_BYTES, SUITE_NAME } from './keys/suite.ts'
import type { Suite } from './keys/suite.ts'
import { toGroupExtensions } from './profile.ts'
import { ensure, required } from './refusal.ts'
import { leafIndexOf } from './state.ts'
import type { EpochState } from './state.ts'
import { filteredPath, leafAt, parentAt, rootHash, toTree } from './tree/tree.ts'
import type { Tree } from './tree/tree.ts'
import { directPathOf, isWithin, leafOfNode, nodeOfLeaf } from './tree/tree-math.ts'
import { climbChecked } from './tree/update-path.ts'
import type { PathKeys } from './tree/update-path.ts'
import { verifyTree } from './tree/validate.ts'
import { welcomeKeys } from './messages/welcome.ts'

const NONE = new Uint8Array(0)

/** What begins a group. */
export interface CreateInput {
  readonly groupId: Bytes
  readonly self: Identity
  readonly policy: Bytes
  readonly nowMs: TimeMs
}

/** Makes a group whose only member is `self`. */
export function createGroup(suite: Suite, input: CreateInput): EpochState {
  const { self } = input
  const { keyPackage, init, leaf } = makeKeyPackage(suite, self, input.nowMs, false)
  wipe(init.secret)
  const tree = toTree([{ nodeType: 'leaf', leaf: keyPackage.leafNode }])
  const context: GroupContext = {
    version: 'mls10',
    cipherSuite: SUITE_NAME,
    groupId: Uint8Array.from(input.groupId),
    epoch: 0n,
    treeHash: rootHash(suite.primitives, tree),
    confirmedTranscriptHash: NONE,
    extensions: toGroupExtensions(Uint8Array.from(input.policy)),
  }
  const derived = deriveFromEpochSecret(suite, suite.random(HASH_BYTES))
  const { secrets, confirmation, encryption } = derived
  const confirmationTag = suite.primitives.hmacSha256(confirmation, NONE)
  wipe(confirmation)
  const messages = plantSecretTree(1, encryption)
  const keys = new Map([[0, leaf.secret]])
  return { self, context, tree, ownLeaf: 0, keys, secrets, confirmationTag, messages }
}

/** What a newcomer needs. */
export interface JoinInput {
  readonly welcome: Bytes
  readonly secret: Bytes
  readonly tree: Bytes
  readonly self: Identity
}

/** Joins by a Welcome. */
export async function joinGroup(suite: Suite, input: JoinInput): Promise<EpochState> {
  const own = decodeOwn(suite, input.secret)
  const { welcome } = decodeMessage('mls_welcome', input.welcome)
  ensure(welcome.cipherSuite === SUITE_NAME, 'another cipher suite')
  const groupSecrets = openSecrets(suite, own, welcome)
  const { joinerSecret } = groupSecrets
  const { key, nonce } = welcomeKeys(suite, joinerSecret)
  const { primitives } = suite
  const opened = primitives.openAesGcm(key, nonce, NONE, welcome.encryptedGroupInfo)
  wipe(key, nonce)
  const groupInfo = decodeBareGroupInfo(required(opened, 'the GroupInfo does not open'))
  const { groupContext: context, confirmationTag } = groupInfo
  checkContext(context)
  ensure(groupInfo.extensions.length === 0, 'GroupInfo extensions outside the profile')
  const tree = decodeTree(input.tree)
  await verifyTree(suite, tree, context.groupId, context.treeHash)
  verifyGroupInfo(suite, tree, groupInfo)
  const ownLeaf = findOwnLeaf(tree, own, input.self)
  const keys = learnKeys(suite, tree, { ownLeaf, signer: groupInfo.signer }, own, groupSecrets)
  const derived = deriveFromJoiner(suite, joinerSecret, encodeGroupContext(context))
  const expected = primitives.hmacSha256(derived.confirmation, context.confirmedTranscriptHash)
  wipe(joinerSecret, derived.confirmation)
  ensure(equalBytes(expected, confirmationTag), 'the confirmation tag is false')
  const { secrets, encryption } = derived
  const messages = plantSecretTree(leafOfNode(tree.nodes.length + 1), encryption)
  const { self } = input
  return { self, context, tree, ownLeaf, keys, secrets, confirmationTag, messages }
}

function openSecrets(suite: Suite, own: PrivateKeyPackage, welcome: Welcome): GroupSecrets {
  const entry = welcome.secrets.find(({ newMember }) => equalBytes(newMember, own.ref))
  const { encryptedGroupSecrets } = required(entry, 'for another KeyPackage', 'GROUP_NOT_FOR_ME')
  const { kemOutput: enc, ciphertext } = encryptedGroupSecrets
  const sealed = { enc, ciphertext }
  const opened = suite.decryptWithLabel(own.init, 'Welcome', welcome.encryptedGroupInfo, sealed)
  const bytes = required(opened, 'the group secrets do not open')
  const secrets = decodeStrictly(decodeGroupSecrets, encodeGroupSecrets, bytes)
  ensure(secrets.psks.length === 0, 'pre-shared keys are outside the profile')
  ensure(secrets.joinerSecret.length === HASH_BYTES, 'a joiner secret has another length')
  return secrets
}

function findOwnLeaf(tree: Tree, own: PrivateKeyPackage, self: Identity): number {
  const found = leafIndexOf(tree, self.peer)
  const leaf = required(leafAt(tree, found ?? -1), 'this member is not in the tree')
  const expected = encodeLeafNode(own.keyPackage.leafNode)
  ensure(equalBytes(encodeLeafNode(leaf), expected), 'the tree has another leaf of this member')
  return found ?? -1
}

/** Private keys of the own leaf and, by the path secret, of the parents shared with the committer. */
function learnKeys(
  suite: Suite,
  tree: Tree,
  { ownLeaf, signer }: { readonly ownLeaf: number; readonly signer: number },
  own: PrivateKeyPackage,
  secrets: GroupSecrets,
): PathKeys {
  const at = nodeOfLeaf(ownLeaf)
  const keys = new Map([[at, own.leaf.secret]])
  const pathSecret = required(secrets.pathSecret, 'a Welcome without path secret')
  ensure(pathSecret.length === HASH_BYTES, 'a path secret has another length')
  const steps = filteredPath(tree, signer)
  const from = steps.findIndex(({ beside }) => isWithin(at, beside))
  ensure(from >= 0, 'no parent is shared with the committer')
  const learnt = climbChecked(suite, tree, steps.slice(from), pathSecret)
  wipe(learnt.commitSecret)
  for (const [node, key] of learnt.keys) keys.set(node, key)
  for (const node of directPathOf(at, tree.nodes.length)) {
    // Whoever filled a parent without giving us its key must have listed us as unmerged.
    const parent = parentAt(tree, node)
    const known = parent === undefined || keys.has(node) || parent.unmergedLeaves.includes(ownLeaf)
    ensure(known, 'a parent that this member cannot read does not say so')
  }
  return keys
}
