// Parent hashes (RFC 9420 §7.9): who set a parent node knew the subtree beside it. Floor 0, pure.
import type { ParentNode } from 'ts-mls/parentNode.js'
import { encodeParentHashInput } from 'ts-mls/parentHash.js'
import { equalBytes } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import type { Primitives } from '../../../base/primitives.ts'
import type { PathStep, Tree } from './tree.ts'
import { originalTreeHash, parentAt, resolutionOf, treeHashOf } from './tree.ts'
import { isLeaf, isWithin, leftOf, nodeOfLeaf, rightOf } from './tree-math.ts'

const NONE = new Uint8Array(0)

/** Fresh parents of a path with their parent hashes, and the parent hash for the leaf below. */
export interface HashedPath {
  readonly parents: ReadonlyMap<number, ParentNode>
  readonly leafParentHash: Bytes
}

/**
 * Computes the parent hashes of a new path, from the root down.
 *
 * @param keys - The new HPKE key of each step.
 */
export function hashPath(
  primitives: Primitives,
  tree: Tree,
  steps: readonly PathStep[],
  keys: readonly Bytes[],
): HashedPath {
  const parents = new Map<number, ParentNode>()
  let parentHash: Bytes = NONE
  for (let i = steps.length - 1; i >= 0; i--) {
    const step = steps[i]
    const hpkePublicKey = keys[i]
    if (step === undefined || hpkePublicKey === undefined) continue
    parents.set(step.node, { hpkePublicKey, parentHash, unmergedLeaves: [] })
    // Nothing below a fresh node is unmerged: the sibling's original tree hash is its tree hash.
    const originalSiblingTreeHash = treeHashOf(primitives, tree, step.beside)
    const input = { encryptionKey: hpkePublicKey, parentHash, originalSiblingTreeHash }
    parentHash = primitives.sha256(encodeParentHashInput(input))
  }
  return { parents, leafParentHash: parentHash }
}

/** True if every parent node is vouched for by exactly one node below it (RFC 9420 §7.9.2). */
export function areParentHashesValid(primitives: Primitives, tree: Tree): boolean {
  for (let node = 1; node < tree.nodes.length; node += 2) {
    const parent = parentAt(tree, node)
    if (parent !== undefined && !isVouchedFor(primitives, tree, node, parent)) return false
  }
  return true
}

function isVouchedFor(
  primitives: Primitives,
  tree: Tree,
  node: number,
  parent: ParentNode,
): boolean {
  const left = leftOf(node)
  const right = rightOf(node)
  if (left === undefined || right === undefined) return false
  const unmerged = parent.unmergedLeaves.map(nodeOfLeaf)
  let vouchers = 0
  for (const [child, sibling] of [
    [left, right],
    [right, left],
  ] as const) {
    // The voucher is what the child resolves to besides the leaves that came after it.
    const under = new Set(unmerged.filter((leaf) => isWithin(leaf, child)))
    const resolution = resolutionOf(tree, child)
    const others = resolution.filter((resolved) => !under.has(resolved))
    const [voucher] = others
    if (voucher === undefined || others.length !== 1) continue
    if (resolution.length !== under.size + 1) continue
    const claimed = parentHashAt(tree, voucher)
    if (claimed === undefined) continue
    const originalSiblingTreeHash = originalTreeHash(
      primitives,
      tree,
      sibling,
      parent.unmergedLeaves,
    )
    const { hpkePublicKey: encryptionKey, parentHash } = parent
    const input = encodeParentHashInput({ encryptionKey, parentHash, originalSiblingTreeHash })
    if (equalBytes(primitives.sha256(input), claimed)) vouchers++
  }
  return vouchers === 1
}

function parentHashAt(tree: Tree, node: number): Bytes | undefined {
  const found = tree.nodes[node]
  if (found === undefined) return undefined
  if (!isLeaf(node)) return found.nodeType === 'parent' ? found.parent.parentHash : undefined
  if (found.nodeType !== 'leaf') return undefined
  return found.leaf.leafNodeSource === 'commit' ? found.leaf.parentHash : undefined
}
