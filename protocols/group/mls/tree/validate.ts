// What makes leaves and trees acceptable (RFC 9420 §7.3, §7.9, §12.4.3.1). Floor 0, pure.
import { encodeLeafNodeTBS } from 'ts-mls/leafNode.js'
import type { LeafNode, LeafNodeTBS } from 'ts-mls/leafNode.js'
import { equalBytes } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import type { PeerId } from '../../../base/ids.ts'
import { peerOfLeaf } from '../credential.ts'
import type { Suite } from '../keys/suite.ts'
import { areCapable } from '../profile.ts'
import { ensure, required } from '../refusal.ts'
import { areParentHashesValid } from './parent-hash.ts'
import { keyAt, leafAt, leavesOf, parentAt, rootHash } from './tree.ts'
import type { Tree } from './tree.ts'
import { directPathOf, isWithin, nodeOfLeaf } from './tree-math.ts'

/** From this many leaves on, their signatures are verified off the main thread. */
const ASYNC_LEAVES_MIN = 128

/** What a leaf's signature covers (RFC 9420 §7.2). */
export function leafSignatureInput(leaf: LeafNode, groupId: Bytes, leafIndex: number): Bytes {
  const tbs: LeafNodeTBS =
    leaf.leafNodeSource === 'key_package' ? leaf : { ...leaf, groupId, leafIndex }
  return encodeLeafNodeTBS(tbs)
}

/** Checks everything about a leaf but its signature, and answers its peer. */
export function checkLeaf(leaf: LeafNode): PeerId {
  const peer = required(peerOfLeaf(leaf), 'the credential does not hold the signature key')
  ensure(areCapable(leaf.capabilities), 'a leaf lacks capabilities')
  const { extensions } = leaf.capabilities
  const listed = leaf.extensions.every(
    ({ extensionType }) => typeof extensionType !== 'number' || extensions.includes(extensionType),
  )
  ensure(listed, 'a leaf extension is not among its capabilities')
  return peer
}

/** Checks a leaf with its signature, and answers its peer. */
export function verifyLeaf(
  suite: Suite,
  leaf: LeafNode,
  groupId: Bytes,
  leafIndex: number,
): PeerId {
  const peer = checkLeaf(leaf)
  const input = leafSignatureInput(leaf, groupId, leafIndex)
  const signed = suite.verifyWithLabel(
    leaf.signaturePublicKey,
    'LeafNodeTBS',
    input,
    leaf.signature,
  )
  ensure(signed, 'a leaf signature is false')
  return peer
}

/**
 * Checks a whole tree that a stranger handed over: signed tree hash, every leaf, distinct keys,
 * unmerged leaves, parent hashes.
 */
export async function verifyTree(
  suite: Suite,
  tree: Tree,
  groupId: Bytes,
  treeHash: Bytes,
): Promise<void> {
  ensure(equalBytes(rootHash(suite.primitives, tree), treeHash), 'the tree is another one')
  for (const { leaf } of leavesOf(tree)) checkLeaf(leaf)
  checkDistinctKeys(tree)
  for (let node = 1; node < tree.nodes.length; node += 2) checkUnmerged(tree, node)
  ensure(areParentHashesValid(suite.primitives, tree), 'a parent hash is false')
  await verifyLeafSignatures(suite, tree, groupId)
}

async function verifyLeafSignatures(suite: Suite, tree: Tree, groupId: Bytes): Promise<void> {
  const leaves = leavesOf(tree)
  const verdicts = leaves.map(async ({ leaf, leafIndex }) => {
    const { signaturePublicKey: key, signature } = leaf
    const input = leafSignatureInput(leaf, groupId, leafIndex)
    return leaves.length < ASYNC_LEAVES_MIN
      ? suite.verifyWithLabel(key, 'LeafNodeTBS', input, signature)
      : suite.verifyWithLabelAsync(key, 'LeafNodeTBS', input, signature)
  })
  const verified = (await Promise.all(verdicts)).every((verdict) => verdict)
  ensure(verified, 'a leaf signature is false')
}

function checkDistinctKeys(tree: Tree): void {
  const hpkeKeys = new Set<string>()
  const signatureKeys = new Set<string>()
  for (const [node] of tree.nodes.entries()) {
    const key = keyAt(tree, node)
    if (key === undefined) continue
    const name = String(key)
    ensure(key.length === 32 && !hpkeKeys.has(name), 'an HPKE key is malformed or used twice')
    hpkeKeys.add(name)
  }
  for (const { leaf } of leavesOf(tree)) {
    const name = String(leaf.signaturePublicKey)
    ensure(!signatureKeys.has(name), 'a member is there twice')
    signatureKeys.add(name)
  }
}

/**
 * Every unmerged leaf of a node exists below it and is unmerged in all parents between. The parents may
 * well have unmerged leaves of their own: lists of a node and of its ancestor need not be equal.
 */
function checkUnmerged(tree: Tree, node: number): void {
  const parent = parentAt(tree, node)
  if (parent === undefined) return
  let previous = -1
  for (const leaf of parent.unmergedLeaves) {
    const at = nodeOfLeaf(leaf)
    ensure(leaf > previous && isWithin(at, node), 'unmerged leaves are out of order or place')
    ensure(leafAt(tree, leaf) !== undefined, 'an unmerged leaf is blank')
    previous = leaf
    for (const between of directPathOf(at, tree.nodes.length)) {
      if (between === node) break
      const lists = parentAt(tree, between)?.unmergedLeaves.includes(leaf) ?? true
      ensure(lists, 'a parent omits an unmerged leaf')
    }
  }
}

/** Checks that HPKE keys to come are usable, distinct, and not yet in the tree. */
export function checkFreshKeys(suite: Suite, tree: Tree, keys: readonly Bytes[]): void {
  const names = new Set(keys.map(String))
  ensure(names.size === keys.length, 'an HPKE key is used twice')
  for (const key of keys) ensure(suite.hpke.isUsable(key), 'an HPKE key is unusable')
  const firsts = new Set(keys.map((key) => key[0]))
  for (const [node] of tree.nodes.entries()) {
    const held = keyAt(tree, node)
    if (held === undefined || !firsts.has(held[0])) continue
    ensure(!names.has(String(held)), 'an HPKE key is in the tree already')
  }
}
