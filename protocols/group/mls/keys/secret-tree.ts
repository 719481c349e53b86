// The secret tree (RFC 9420 §9), derived leaf by leaf as messages come, and its application ratchets.
// Floor 0, pure.
//
// Handles that follow one another share what they have in common: each secret counts its owners and is
// zeroized with the last. A step makes a new tree and leaves the one it started from alone.
import { concat, utf8, wipe } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import { invariant } from '../../../base/errors.ts'
import { GENERATIONS_KEPT_MAX, GENERATION_JUMP_MAX, GENERATION_STEP_MAX } from '../../mls-engine.ts'
import { ensure } from '../refusal.ts'
import { leftOf, nodeCount, nodeOfLeaf, rightOf, rootOf, siblingOf } from '../tree/tree-math.ts'
import { directPathOf } from '../tree/tree-math.ts'
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, HASH_BYTES } from './suite.ts'
import type { Suite } from './suite.ts'

/** Skipped keys kept in an epoch over all senders, as long as each may keep `SKIPPED_SHARE_MIN`. */
export const SKIPPED_KEYS_MAX = 16_384
/** What a sender may keep however much the others do. */
export const SKIPPED_SHARE_MIN = 64
/** A message key and its nonce, side by side. */
export const MESSAGE_KEY_BYTES: number = AEAD_KEY_BYTES + AEAD_NONCE_BYTES

const LEFT = utf8('left')
const RIGHT = utf8('right')
const NONE = new Uint8Array(0)

/** A secret of a node not yet split, with the number of trees that hold it. */
export interface NodeSecret {
  owners: number
  readonly secret: Bytes
}

/** A sender's application ratchet, with the number of trees that hold it. */
export interface Ratchet {
  owners: number
  /** Generation that `secret` gives. */
  readonly generation: number
  readonly secret: Bytes
  /** Message keys jumped over, by generation, ascending. */
  readonly skipped: ReadonlyMap<number, Bytes>
  /** The one long jump of the epoch is used up. */
  readonly jumped: boolean
}

/** An epoch's message keys: node secrets above leaves not touched yet, ratchets of the others. */
export interface SecretTree {
  readonly leaves: number
  readonly nodes: ReadonlyMap<number, NodeSecret>
  readonly ratchets: ReadonlyMap<number, Ratchet>
}

/** A message key taken out of a tree. */
export interface TakenKey {
  readonly tree: SecretTree
  readonly generation: number
  readonly key: Bytes
  readonly nonce: Bytes
}

/** Begins an epoch's tree of so many leaves; takes over the encryption_secret. */
export function plantSecretTree(leaves: number, encryptionSecret: Bytes): SecretTree {
  const root = rootOf(nodeCount(leaves))
  const nodes = new Map([[root, { owners: 1, secret: encryptionSecret }]])
  return { leaves, nodes, ratchets: new Map() }
}

/** Gives a tree up: zeroizes the secrets that no other tree holds. */
export function disposeSecretTree(tree: SecretTree): void {
  for (const node of tree.nodes.values()) if (--node.owners === 0) wipe(node.secret)
  for (const ratchet of tree.ratchets.values()) {
    if (--ratchet.owners === 0) wipe(ratchet.secret, ...ratchet.skipped.values())
  }
}

/** Takes the next key of a leaf's ratchet: for sealing. */
export function takeNextKey(suite: Suite, tree: SecretTree, leaf: number): TakenKey {
  const { draft, ratchet } = ratchetOf(suite, tree, leaf)
  return take(suite, draft, leaf, ratchet, ratchet.generation)
}

/**
 * Takes the key of one generation of a leaf's ratchet: for opening.
 *
 * Refuses with `GROUP_CONSUMED` or `GROUP_TOO_FAR_AHEAD`. A jump beyond `GENERATION_JUMP_MAX` is
 * allowed once, because anybody in the group can make others compute it.
 */
export function takeKey(
  suite: Suite,
  tree: SecretTree,
  leaf: number,
  generation: number,
): TakenKey {
  const { draft, ratchet } = ratchetOf(suite, tree, leaf)
  try {
    const step = generation - ratchet.generation
    if (step < 0) {
      ensure(ratchet.skipped.has(generation), 'the key was used or dropped', 'GROUP_CONSUMED')
      return takeSkipped(draft, leaf, ratchet, generation)
    }
    const far = step > GENERATION_STEP_MAX || (step > GENERATION_JUMP_MAX && ratchet.jumped)
    ensure(!far, 'too many generations at once', 'GROUP_TOO_FAR_AHEAD')
    return take(suite, draft, leaf, ratchet, generation)
  } catch (error) {
    disposeSecretTree(draft)
    throw error
  }
}

interface Draft extends SecretTree {
  readonly nodes: Map<number, NodeSecret>
  readonly ratchets: Map<number, Ratchet>
}

/** A draft of the tree in which the leaf has its ratchet. */
function ratchetOf(
  suite: Suite,
  tree: SecretTree,
  leaf: number,
): { draft: Draft; ratchet: Ratchet } {
  const draft: Draft = {
    leaves: tree.leaves,
    nodes: new Map(tree.nodes),
    ratchets: new Map(tree.ratchets),
  }
  for (const node of draft.nodes.values()) node.owners++
  for (const ratchet of draft.ratchets.values()) ratchet.owners++
  const held = draft.ratchets.get(leaf)
  if (held !== undefined) return { draft, ratchet: held }
  const secret = splitTo(suite, draft, leaf)
  const ratchet: Ratchet = {
    owners: 1,
    generation: 0,
    secret: suite.expandWithLabel(secret, 'application', NONE, HASH_BYTES),
    skipped: new Map(),
    jumped: false,
  }
  wipe(secret)
  draft.ratchets.set(leaf, ratchet)
  return { draft, ratchet }
}

/** Splits node secrets on the way down to a leaf, keeping the siblings', and takes the leaf's out. */
function splitTo(suite: Suite, draft: Draft, leaf: number): Bytes {
  const width = nodeCount(draft.leaves)
  const way = [nodeOfLeaf(leaf), ...directPathOf(nodeOfLeaf(leaf), width)]
  const from = way.findIndex((node) => draft.nodes.has(node))
  const top = way[from]
  invariant(top !== undefined, 'a leaf without ratchet has a node secret above it')
  let secret = takeNode(draft, top)
  for (let i = from - 1; i >= 0; i--) {
    const node = way[i] ?? 0
    const above = way[i + 1] ?? 0
    const beside = siblingOf(node, width)
    invariant(beside !== undefined, 'only the root has no sibling')
    const isLeft = leftOf(above) === node
    invariant(isLeft || rightOf(above) === node, 'the way leads from parents to children')
    const mine = suite.expandWithLabel(secret, 'tree', isLeft ? LEFT : RIGHT, HASH_BYTES)
    const others = suite.expandWithLabel(secret, 'tree', isLeft ? RIGHT : LEFT, HASH_BYTES)
    draft.nodes.set(beside, { owners: 1, secret: others })
    wipe(secret)
    secret = mine
  }
  return secret
}

/** Takes a node secret out of a draft: a copy if other trees hold it too. */
function takeNode(draft: Draft, node: number): Bytes {
  const held = draft.nodes.get(node)
  invariant(held !== undefined, 'the node has a secret')
  draft.nodes.delete(node)
  const copy = held.secret.slice()
  if (--held.owners === 0) wipe(held.secret)
  return copy
}

function replaceRatchet(draft: Draft, leaf: number, old: Ratchet, next: Ratchet): void {
  draft.ratchets.set(leaf, next)
  if (--old.owners === 0) wipe(old.secret, ...old.skipped.values())
}

function takeSkipped(draft: Draft, leaf: number, ratchet: Ratchet, generation: number): TakenKey {
  const skipped = copySkipped(ratchet.skipped)
  const messageKey = skipped.get(generation)
  invariant(messageKey !== undefined, 'the key was there')
  skipped.delete(generation)
  const { secret, jumped } = ratchet
  const next = {
    owners: 1,
    generation: ratchet.generation,
    secret: secret.slice(),
    skipped,
    jumped,
  }
  replaceRatchet(draft, leaf, ratchet, next)
  return toTaken(draft, generation, messageKey)
}

function take(
  suite: Suite,
  draft: Draft,
  leaf: number,
  ratchet: Ratchet,
  generation: number,
): TakenKey {
  const kept = Math.min(GENERATIONS_KEPT_MAX, room(draft, leaf))
  const skipped = copySkipped(ratchet.skipped)
  let secret: Bytes = ratchet.secret.slice()
  for (let at = ratchet.generation; at < generation; at++) {
    if (generation - at <= kept) skipped.set(at, deriveMessageKey(suite, secret, at))
    secret = advance(suite, secret, at)
  }
  for (const [oldest, key] of skipped) {
    if (skipped.size <= kept) break
    wipe(key)
    skipped.delete(oldest)
  }
  const messageKey = deriveMessageKey(suite, secret, generation)
  const next: Ratchet = {
    owners: 1,
    generation: generation + 1,
    secret: advance(suite, secret, generation),
    skipped,
    jumped: ratchet.jumped || generation - ratchet.generation > GENERATION_JUMP_MAX,
  }
  replaceRatchet(draft, leaf, ratchet, next)
  return toTaken(draft, generation, messageKey)
}

/** How many skipped keys this leaf may keep. */
function room(draft: Draft, leaf: number): number {
  let others = 0
  for (const [other, ratchet] of draft.ratchets) if (other !== leaf) others += ratchet.skipped.size
  return Math.max(SKIPPED_SHARE_MIN, SKIPPED_KEYS_MAX - others)
}

function copySkipped(skipped: ReadonlyMap<number, Bytes>): Map<number, Bytes> {
  const copy = new Map<number, Bytes>()
  for (const [generation, key] of skipped) copy.set(generation, key.slice())
  return copy
}

function advance(suite: Suite, secret: Bytes, generation: number): Bytes {
  const next = suite.deriveTreeSecret(secret, 'secret', generation, HASH_BYTES)
  wipe(secret)
  return next
}

function deriveMessageKey(suite: Suite, secret: Bytes, generation: number): Bytes {
  const key = suite.deriveTreeSecret(secret, 'key', generation, AEAD_KEY_BYTES)
  const nonce = suite.deriveTreeSecret(secret, 'nonce', generation, AEAD_NONCE_BYTES)
  const both = concat(key, nonce)
  wipe(key, nonce)
  return both
}

function toTaken(tree: SecretTree, generation: number, messageKey: Bytes): TakenKey {
  const key = messageKey.slice(0, AEAD_KEY_BYTES)
  const nonce = messageKey.slice(AEAD_KEY_BYTES)
  wipe(messageKey)
  return { tree, generation, key, nonce }
}
