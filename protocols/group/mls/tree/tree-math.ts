// Index arithmetic of left-balanced binary trees of 2^d leaves (RFC 9420 §4.1, Appendix C). Floor 0, pure.
// Leaves have even node indices, parents odd ones; a tree of n leaves has 2n - 1 nodes.

/** Nodes of a tree with that many leaves (a power of two, or 0). */
export function nodeCount(leaves: number): number {
  return leaves === 0 ? 0 : 2 * leaves - 1
}

/** The node index of a leaf. */
export function nodeOfLeaf(leaf: number): number {
  return 2 * leaf
}

/** The leaf index of a leaf's node. */
export function leafOfNode(node: number): number {
  return node / 2
}

/** True for nodes that are leaves. */
export function isLeaf(node: number): boolean {
  return (node & 1) === 0
}

/** Height of a node over the leaves: the number of its low one bits. */
export function levelOf(node: number): number {
  return 31 - Math.clz32(~node & (node + 1))
}

/** The root of a tree with that many nodes. */
export function rootOf(nodes: number): number {
  return (nodes - 1) / 2
}

/** The left child; undefined for leaves. */
export function leftOf(node: number): number | undefined {
  const level = levelOf(node)
  return level === 0 ? undefined : node ^ (1 << (level - 1))
}

/** The right child; undefined for leaves. */
export function rightOf(node: number): number | undefined {
  const level = levelOf(node)
  return level === 0 ? undefined : node ^ (3 << (level - 1))
}

/** The parent; undefined for the root. */
export function parentOf(node: number, nodes: number): number | undefined {
  if (node === rootOf(nodes)) return undefined
  const level = levelOf(node)
  return (node | (1 << level)) & ~(1 << (level + 1))
}

/** The parent's other child; undefined for the root. */
export function siblingOf(node: number, nodes: number): number | undefined {
  const parent = parentOf(node, nodes)
  if (parent === undefined) return undefined
  return node < parent ? rightOf(parent) : leftOf(parent)
}

/** The ancestors of a node, from its parent to the root. */
export function directPathOf(node: number, nodes: number): number[] {
  const path: number[] = []
  let at = parentOf(node, nodes)
  while (at !== undefined) {
    path.push(at)
    at = parentOf(at, nodes)
  }
  return path
}

/** True if `node` is `ancestor` or lies below it. */
export function isWithin(node: number, ancestor: number): boolean {
  const reach = (1 << levelOf(ancestor)) - 1
  return node >= ancestor - reach && node <= ancestor + reach
}

/** Leaves of the smallest full tree that has at least `leaves` of them. */
export function fullWidth(leaves: number): number {
  let width = 1
  while (width < leaves) width *= 2
  return width
}
