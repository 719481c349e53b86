// What is behind a handle: one epoch as one member holds it. Floor 0, pure.
import { encodeGroupContext } from 'ts-mls/groupContext.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import { concat, wipe } from '../../base/bytes.ts'
import type { Bytes } from '../../base/bytes.ts'
import { invariant } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import type { Identity, PublicInfo, RosterEntry } from '../mls-engine.ts'
import { vec } from '../tls.ts'
import { peerOfLeaf } from './credential.ts'
import type { KeyPair } from './keys/hpke.ts'
import { wipeSecrets } from './keys/key-schedule.ts'
import type { EpochSecrets } from './keys/key-schedule.ts'
import { disposeSecretTree } from './keys/secret-tree.ts'
import type { SecretTree } from './keys/secret-tree.ts'
import type { Suite } from './keys/suite.ts'
import { readPolicy } from './profile.ts'
import { leavesOf } from './tree/tree.ts'
import type { Tree } from './tree/tree.ts'
import type { PathKeys } from './tree/update-path.ts'

/** An epoch. Public parts are shared between handles, secret ones never, but for counted message keys. */
export interface EpochState {
  readonly self: Identity
  readonly context: GroupContext
  readonly tree: Tree
  readonly ownLeaf: number
  /** Private HPKE keys of the own leaf and of the parents above it, by node index. */
  readonly keys: PathKeys
  readonly secrets: EpochSecrets
  readonly confirmationTag: Bytes
  /** Message keys; absent from stripped handles. */
  readonly messages: SecretTree | undefined
}

const rosters = new WeakMap<Tree, readonly RosterEntry[]>()

/** Members by leaf index. Every leaf of a tree in use was checked. */
export function rosterOf(tree: Tree): readonly RosterEntry[] {
  const known = rosters.get(tree)
  if (known !== undefined) return known
  const roster = leavesOf(tree).map(({ leaf, leafIndex }) => {
    const peer = peerOfLeaf(leaf)
    invariant(peer !== undefined, 'leaves of a tree in use were checked')
    return { peer, leafIndex }
  })
  rosters.set(tree, roster)
  return roster
}

/** The leaf index of a member; undefined for others. */
export function leafIndexOf(tree: Tree, peer: PeerId): number | undefined {
  return rosterOf(tree).find((entry) => entry.peer === peer)?.leafIndex
}

/** The key pair to which external commits are sealed (RFC 9420 §8.3). */
export function deriveExternalPair(suite: Suite, secrets: EpochSecrets): KeyPair {
  return suite.hpke.deriveKeyPair(secrets.external)
}

/** SHA-256(GroupContext ‖ confirmation_tag ‖ external_pub), the latter two as vectors. */
export function hashGroupInfo(
  suite: Suite,
  context: GroupContext,
  confirmationTag: Bytes,
  externalPub: Bytes,
): Bytes {
  const encoded = encodeGroupContext(context)
  return suite.primitives.sha256(concat(encoded, vec(confirmationTag), vec(externalPub)))
}

/** The public facts of an epoch. */
export function toPublicInfo(suite: Suite, state: EpochState): PublicInfo {
  const { context, tree, ownLeaf, secrets, confirmationTag } = state
  const pair = deriveExternalPair(suite, secrets)
  wipe(pair.secret)
  return {
    groupId: context.groupId.slice(),
    epoch: Number(context.epoch),
    ownLeaf,
    roster: rosterOf(tree),
    policy: readPolicy(context.extensions).slice(),
    treeHash: context.treeHash.slice(),
    authenticator: secrets.authenticator.slice(),
    confirmationTag: confirmationTag.slice(),
    context: encodeGroupContext(context),
    groupInfoHash: hashGroupInfo(suite, context, confirmationTag, pair.publicKey),
  }
}

/** Zeroizes what this state alone holds. */
export function disposeState(state: EpochState): void {
  wipe(...state.keys.values())
  wipeSecrets(state.secrets)
  if (state.messages !== undefined) disposeSecretTree(state.messages)
}

/** Independent copies of private keys. */
export function copyKeys(keys: PathKeys): Map<number, Bytes> {
  const copy = new Map<number, Bytes>()
  for (const [node, key] of keys) copy.set(node, key.slice())
  return copy
}
