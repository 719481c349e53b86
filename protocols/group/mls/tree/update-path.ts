// UpdatePaths (RFC 9420 §7.4-7.6): a committer's fresh keys from its leaf to the root. Floor 0, pure.
import { encodeLeafNodeTBS } from 'ts-mls/leafNode.js'
import type { LeafNode, LeafNodeCommit } from 'ts-mls/leafNode.js'
import type { UpdatePath } from 'ts-mls/updatePath.js'
import { equalBytes, wipe } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import { invariant } from '../../../base/errors.ts'
import type { Identity } from '../../mls-engine.ts'
import type { KeyPair } from '../keys/hpke.ts'
import { HASH_BYTES } from '../keys/suite.ts'
import type { Suite } from '../keys/suite.ts'
import { ensure, required } from '../refusal.ts'
import { hashPath } from './parent-hash.ts'
import type { PathStep, Tree } from './tree.ts'
import { filteredPath, keyAt, leafAt, withPath } from './tree.ts'
import { isWithin, nodeOfLeaf } from './tree-math.ts'
import { checkFreshKeys } from './validate.ts'

/** Private HPKE keys by node index. */
export type PathKeys = ReadonlyMap<number, Bytes>

/** A fresh path, its keys still to be sealed to the others. */
export interface FreshPath {
  readonly tree: Tree
  readonly leaf: LeafNodeCommit
  readonly steps: readonly PathStep[]
  /** Path secret of each step; wipe after sealing. */
  readonly secrets: readonly Bytes[]
  readonly publicKeys: readonly Bytes[]
  /** Private keys of the leaf and of each step. */
  readonly keys: PathKeys
  readonly commitSecret: Bytes
}

/** Who makes a path: a leaf that is in the tree already, and its identity. */
export interface Committer {
  readonly leafIndex: number
  readonly self: Identity
  readonly groupId: Bytes
}

/** Makes a fresh path for a committer. */
export function makePath(suite: Suite, tree: Tree, committer: Committer): FreshPath {
  const { leafIndex } = committer
  const old = leafAt(tree, leafIndex)
  invariant(old !== undefined, 'a committer has a leaf')
  const steps = filteredPath(tree, leafIndex)
  const first = suite.random(HASH_BYTES)
  const leafPair = deriveNodePair(suite, first)
  const keys = new Map([[nodeOfLeaf(leafIndex), leafPair.secret]])
  const climbed = climb(suite, suite.deriveSecret(first, 'path'), steps.length)
  wipe(first)
  for (const [i, { node }] of steps.entries()) {
    const pair = climbed.pairs[i]
    if (pair !== undefined) keys.set(node, pair.secret)
  }
  const publicKeys = climbed.pairs.map((pair) => pair.publicKey)
  const { parents, leafParentHash } = hashPath(suite.primitives, tree, steps, publicKeys)
  const leaf = signLeaf(suite, committer, old, leafPair.publicKey, leafParentHash)
  const { secrets, commitSecret } = climbed
  const fresh = withPath(tree, leafIndex, parents, leaf)
  return { tree: fresh, leaf, steps, secrets, publicKeys, keys, commitSecret }
}

function signLeaf(
  suite: Suite,
  { self, groupId, leafIndex }: Committer,
  old: LeafNode,
  hpkePublicKey: Bytes,
  parentHash: Bytes,
): LeafNodeCommit {
  const { signaturePublicKey, credential, capabilities, extensions } = old
  const common = { hpkePublicKey, signaturePublicKey, credential, capabilities, extensions }
  const unsigned = { ...common, leafNodeSource: 'commit', parentHash } as const
  const input = encodeLeafNodeTBS({ ...unsigned, groupId, leafIndex })
  return { ...unsigned, signature: suite.signWithLabel(self, 'LeafNodeTBS', input) }
}

/**
 * Seals a fresh path's secrets to everybody beside it.
 *
 * @param context - Encoded provisional GroupContext: next epoch, new tree hash, new extensions.
 * @param added - Leaves this commit adds: they get their secret by Welcome.
 */
export function sealPath(
  suite: Suite,
  before: Tree,
  path: FreshPath,
  context: Bytes,
  added: readonly number[],
): UpdatePath {
  const newcomers = new Set(added.map(nodeOfLeaf))
  const nodes = path.steps.map(({ resolution }, i) => {
    const secret = path.secrets[i]
    const hpkePublicKey = path.publicKeys[i]
    invariant(secret !== undefined && hpkePublicKey !== undefined, 'a step has its keys')
    const encryptedPathSecret = resolution
      .filter((node) => !newcomers.has(node))
      .map((node) => {
        const theirs = keyAt(before, node) ?? new Uint8Array(0)
        const sealed = suite.encryptWithLabel(theirs, 'UpdatePathNode', context, secret)
        const { enc, ciphertext } = required(sealed, 'a member has an unusable key')
        return { kemOutput: enc, ciphertext }
      })
    return { hpkePublicKey, encryptedPathSecret }
  })
  return { leafNode: path.leaf, nodes }
}

/** Another member's path, checked and put into the tree, its secrets not read yet. */
export interface AppliedPath {
  readonly tree: Tree
  readonly steps: readonly PathStep[]
}

/**
 * Puts another's path into the tree.
 *
 * @param tree - After the commit's proposals, with some leaf of the committer.
 * @param known - The tree whose keys must not come again.
 */
export function applyPath(
  suite: Suite,
  tree: Tree,
  leafIndex: number,
  path: UpdatePath,
  known: Tree = tree,
): AppliedPath {
  const steps = filteredPath(tree, leafIndex)
  ensure(path.nodes.length === steps.length, 'the path has another length')
  const publicKeys = path.nodes.map((node) => node.hpkePublicKey)
  checkFreshKeys(suite, known, [...publicKeys, path.leafNode.hpkePublicKey])
  const { parents, leafParentHash } = hashPath(suite.primitives, tree, steps, publicKeys)
  ensure(equalBytes(leafParentHash, path.leafNode.parentHash), 'the parent hash is false')
  return { tree: withPath(tree, leafIndex, parents, path.leafNode), steps }
}

/** What a member learns from a path. */
export interface LearntPath {
  readonly keys: PathKeys
  readonly commitSecret: Bytes
}

/** A path as one member reads it. */
export interface PathReading {
  /** The tree after the commit's proposals, before its path. */
  readonly before: Tree
  readonly applied: AppliedPath
  readonly path: UpdatePath
  readonly own: { readonly leafIndex: number; readonly keys: PathKeys }
  /** Encoded provisional GroupContext. */
  readonly context: Bytes
  /** Leaves that the commit adds. */
  readonly added: readonly number[]
}

/** Opens the secret meant for this member and derives the keys above it. */
export function openPath(suite: Suite, reading: PathReading): LearntPath {
  const { before, applied, path, own, context, added } = reading
  const { steps } = applied
  const from = steps.findIndex(({ beside }) => isWithin(nodeOfLeaf(own.leafIndex), beside))
  const step = required(steps[from], 'the path passes this member by')
  const newcomers = new Set(added.map(nodeOfLeaf))
  const recipients = step.resolution.filter((node) => !newcomers.has(node))
  const sealed = path.nodes[from]?.encryptedPathSecret ?? []
  ensure(sealed.length === recipients.length, 'the path has another number of recipients')
  const at = recipients.findIndex((node) => own.keys.has(node))
  const node = required(recipients[at], 'no key of this member is addressed', 'GROUP_NOT_FOR_ME')
  const found = required(sealed[at], 'no ciphertext for this member')
  const pair = {
    secret: required(own.keys.get(node), 'no key'),
    publicKey: required(keyAt(before, node), 'no key'),
  }
  const ciphertext = { enc: found.kemOutput, ciphertext: found.ciphertext }
  const opened = suite.decryptWithLabel(pair, 'UpdatePathNode', context, ciphertext)
  const secret = required(opened, 'the path secret does not open')
  ensure(secret.length === HASH_BYTES, 'a path secret has another length')
  return climbChecked(suite, applied.tree, steps.slice(from), secret)
}

/**
 * Derives the keys of steps from a path secret of the first and compares them with the tree.
 *
 * @param secret - Wiped.
 */
export function climbChecked(
  suite: Suite,
  tree: Tree,
  steps: readonly Pick<PathStep, 'node'>[],
  secret: Bytes,
): LearntPath {
  const climbed = climb(suite, secret, steps.length)
  wipe(...climbed.secrets)
  const keys = new Map<number, Bytes>()
  for (const [i, { node }] of steps.entries()) {
    const pair = climbed.pairs[i]
    const expected = keyAt(tree, node)
    ensure(
      pair !== undefined && expected !== undefined && equalBytes(pair.publicKey, expected),
      'a path secret does not give the public key',
    )
    keys.set(node, pair.secret)
  }
  return { keys, commitSecret: climbed.commitSecret }
}

interface Climbed {
  readonly secrets: readonly Bytes[]
  readonly pairs: readonly KeyPair[]
  readonly commitSecret: Bytes
}

function climb(suite: Suite, from: Bytes, count: number): Climbed {
  const secrets: Bytes[] = []
  const pairs: KeyPair[] = []
  let secret = from
  for (let i = 0; i < count; i++) {
    secrets.push(secret)
    pairs.push(deriveNodePair(suite, secret))
    secret = suite.deriveSecret(secret, 'path')
  }
  return { secrets, pairs, commitSecret: secret }
}

function deriveNodePair(suite: Suite, pathSecret: Bytes): KeyPair {
  const nodeSecret = suite.deriveSecret(pathSecret, 'node')
  const pair = suite.hpke.deriveKeyPair(nodeSecret)
  wipe(nodeSecret)
  return pair
}
