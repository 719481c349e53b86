// The ratchet tree (RFC 9420 §7): nodes, cached tree hashes, and changes that leave the original alone.
// Floor 0, pure.
import type { LeafNode } from 'ts-mls/leafNode.js'
import type { ParentNode } from 'ts-mls/parentNode.js'
import type { RatchetTree } from 'ts-mls/ratchetTree.js'
import { encodeLeafNodeHashInput, encodeParentNodeHashInput } from 'ts-mls/treeHash.js'
import type { Bytes } from '../../../base/bytes.ts'
import { invariant } from '../../../base/errors.ts'
import type { Primitives } from '../../../base/primitives.ts'
import {
  directPathOf,
  fullWidth,
  isLeaf,
  isWithin,
  leafOfNode,
  leftOf,
  nodeCount,
  nodeOfLeaf,
  rightOf,
  rootOf,
  siblingOf,
} from './tree-math.ts'

/** A tree as members share it. Its nodes never change; its hashes are filled in as they are asked for. */
export interface Tree {
  /** All 2n - 1 nodes, n a power of two; blanks are undefined. */
  readonly nodes: RatchetTree
  readonly hashes: (Bytes | undefined)[]
}

/** A node of a filtered direct path and what lies beside the way up to it (RFC 9420 §4.1.2). */
export interface PathStep {
  readonly node: number
  /** The child of `node` that is not on the way from the leaf. */
  readonly beside: number
  /** Resolution of `beside`, never empty. */
  readonly resolution: readonly number[]
}

/** Wraps nodes, blank-filled to full width. */
export function toTree(nodes: RatchetTree): Tree {
  const leaves = fullWidth(Math.ceil((nodes.length + 1) / 2))
  const full = nodes.slice()
  while (full.length < nodeCount(leaves)) full.push(undefined)
  return { nodes: full, hashes: new Array<Bytes | undefined>(full.length).fill(undefined) }
}

/** The leaf at an index; undefined if it is blank or out of range. */
export function leafAt(tree: Tree, leaf: number): LeafNode | undefined {
  const node = tree.nodes[nodeOfLeaf(leaf)]
  return node?.nodeType === 'leaf' ? node.leaf : undefined
}

/** The parent node at a node index; undefined if it is blank. */
export function parentAt(tree: Tree, node: number): ParentNode | undefined {
  const found = tree.nodes[node]
  return found?.nodeType === 'parent' ? found.parent : undefined
}

/** The HPKE key at a node index; undefined if it is blank. */
export function keyAt(tree: Tree, node: number): Bytes | undefined {
  const found = tree.nodes[node]
  if (found === undefined) return undefined
  return found.nodeType === 'leaf' ? found.leaf.hpkePublicKey : found.parent.hpkePublicKey
}

/** All leaves with their indices, ascending. */
export function leavesOf(tree: Tree): { readonly leafIndex: number; readonly leaf: LeafNode }[] {
  const leaves: { leafIndex: number; leaf: LeafNode }[] = []
  for (let node = 0; node < tree.nodes.length; node += 2) {
    const leaf = leafAt(tree, leafOfNode(node))
    if (leaf !== undefined) leaves.push({ leafIndex: leafOfNode(node), leaf })
  }
  return leaves
}

/** A tree with this leaf in its leftmost blank place, twice as wide if there is none (RFC 9420 §7.7). */
export function withLeafAdded(tree: Tree, leaf: LeafNode): { tree: Tree; leafIndex: number } {
  let at = 0
  while (at < tree.nodes.length && tree.nodes[at] !== undefined) at += 2
  const nodes = tree.nodes.slice()
  const hashes = tree.hashes.slice()
  if (at >= nodes.length) {
    const width = nodeCount(2 * leafOfNode(tree.nodes.length + 1))
    while (nodes.length < width) nodes.push(undefined)
    while (hashes.length < width) hashes.push(undefined)
  }
  const leafIndex = leafOfNode(at)
  for (const ancestor of directPathOf(at, nodes.length)) {
    hashes[ancestor] = undefined
    const node = nodes[ancestor]
    if (node?.nodeType !== 'parent') continue
    const unmergedLeaves = [...node.parent.unmergedLeaves, leafIndex].sort((a, b) => a - b)
    nodes[ancestor] = { nodeType: 'parent', parent: { ...node.parent, unmergedLeaves } }
  }
  nodes[at] = { nodeType: 'leaf', leaf }
  hashes[at] = undefined
  return { tree: { nodes, hashes }, leafIndex }
}

/** A tree without these leaves: they and their ancestors are blank, and the blank right is cut off. */
export function withLeavesRemoved(tree: Tree, leafIndices: readonly number[]): Tree {
  if (leafIndices.length === 0) return tree
  const nodes = tree.nodes.slice()
  const hashes = tree.hashes.slice()
  for (const leafIndex of leafIndices) blankPath(nodes, hashes, nodeOfLeaf(leafIndex))
  let last = nodes.length - 1
  while (last > 0 && nodes[last] === undefined) last -= 2
  const width = nodeCount(fullWidth(leafOfNode(last) + 1))
  return { nodes: nodes.slice(0, width), hashes: hashes.slice(0, width) }
}

function blankPath(nodes: RatchetTree, hashes: (Bytes | undefined)[], leaf: number): void {
  for (const node of [leaf, ...directPathOf(leaf, nodes.length)]) {
    nodes[node] = undefined
    hashes[node] = undefined
  }
}

/** A tree whose path from a leaf up holds just these parents and, if given, another leaf. */
export function withPath(
  tree: Tree,
  leafIndex: number,
  parents: ReadonlyMap<number, ParentNode>,
  leaf: LeafNode | undefined,
): Tree {
  const nodes = tree.nodes.slice()
  const hashes = tree.hashes.slice()
  const at = nodeOfLeaf(leafIndex)
  for (const ancestor of directPathOf(at, nodes.length)) {
    const parent = parents.get(ancestor)
    nodes[ancestor] = parent === undefined ? undefined : { nodeType: 'parent', parent }
    hashes[ancestor] = undefined
  }
  if (leaf !== undefined) nodes[at] = { nodeType: 'leaf', leaf }
  hashes[at] = undefined
  return { nodes, hashes }
}

/** The resolution of a node (RFC 9420 §4.1.1): the fewest non-blank nodes that cover its members. */
export function resolutionOf(tree: Tree, node: number): number[] {
  const found = tree.nodes[node]
  if (found?.nodeType === 'leaf') return [node]
  if (found !== undefined) return [node, ...found.parent.unmergedLeaves.map(nodeOfLeaf)]
  const left = leftOf(node)
  const right = rightOf(node)
  if (left === undefined || right === undefined) return []
  return [...resolutionOf(tree, left), ...resolutionOf(tree, right)]
}

/** The filtered direct path of a leaf, from below to the root. */
export function filteredPath(tree: Tree, leafIndex: number): PathStep[] {
  const steps: PathStep[] = []
  let below = nodeOfLeaf(leafIndex)
  for (const node of directPathOf(below, tree.nodes.length)) {
    const beside = siblingOf(below, tree.nodes.length)
    invariant(beside !== undefined, 'only the root has no sibling')
    const resolution = resolutionOf(tree, beside)
    if (resolution.length > 0) steps.push({ node, beside, resolution })
    below = node
  }
  return steps
}

/** The tree hash of a subtree (RFC 9420 §7.8): 32 bytes. */
export function treeHashOf(primitives: Primitives, tree: Tree, node: number): Bytes {
  const cached = tree.hashes[node]
  if (cached !== undefined) return cached
  const digest = isLeaf(node)
    ? hashLeaf(primitives, node, leafAt(tree, leafOfNode(node)))
    : hashParent(primitives, node, parentAt(tree, node), (child) =>
        treeHashOf(primitives, tree, child),
      )
  tree.hashes[node] = digest
  return digest
}

/** The tree hash of the whole. */
export function rootHash(primitives: Primitives, tree: Tree): Bytes {
  return treeHashOf(primitives, tree, rootOf(tree.nodes.length))
}

/** The tree hash that a subtree had before these leaves were added: the input of parent hashes. */
export function originalTreeHash(
  primitives: Primitives,
  tree: Tree,
  node: number,
  added: readonly number[],
): Bytes {
  const within = added.filter((leaf) => isWithin(nodeOfLeaf(leaf), node))
  if (within.length === 0) return treeHashOf(primitives, tree, node)
  if (isLeaf(node)) return hashLeaf(primitives, node, undefined)
  const parent = parentAt(tree, node)
  const unmergedLeaves = parent?.unmergedLeaves.filter((leaf) => !within.includes(leaf)) ?? []
  const original = parent === undefined ? undefined : { ...parent, unmergedLeaves }
  return hashParent(primitives, node, original, (child) =>
    originalTreeHash(primitives, tree, child, within),
  )
}

function hashLeaf(primitives: Primitives, node: number, leafNode: LeafNode | undefined): Bytes {
  const leafIndex = leafOfNode(node)
  return primitives.sha256(encodeLeafNodeHashInput({ nodeType: 'leaf', leafIndex, leafNode }))
}

function hashParent(
  primitives: Primitives,
  node: number,
  parentNode: ParentNode | undefined,
  hashChild: (child: number) => Bytes,
): Bytes {
  const left = leftOf(node)
  const right = rightOf(node)
  invariant(left !== undefined && right !== undefined, 'a parent has two children')
  const input = encodeParentNodeHashInput({
    nodeType: 'parent',
    parentNode,
    leftHash: hashChild(left),
    rightHash: hashChild(right),
  })
  return primitives.sha256(input)
}
