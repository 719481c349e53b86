// The MLS working group's vectors of trees against what the engine is made of; the others are in
// group.mls-vectors.test.ts.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeGroupContext } from 'ts-mls/groupContext.js'
import { decodeProposal } from 'ts-mls/proposal.js'
import { encodeRatchetTree } from 'ts-mls/ratchetTree.js'
import { decodeUpdatePath } from 'ts-mls/updatePath.js'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { SUITE_NAME } from '../../protocols/group/mls/keys/suite.ts'
import { decodeTree } from '../../protocols/group/mls/messages/codec.ts'
import { areParentHashesValid } from '../../protocols/group/mls/tree/parent-hash.ts'
import * as math from '../../protocols/group/mls/tree/tree-math.ts'
import * as trees from '../../protocols/group/mls/tree/tree.ts'
import * as paths from '../../protocols/group/mls/tree/update-path.ts'
import { leafSignatureInput } from '../../protocols/group/mls/tree/validate.ts'
import { Tally } from '../support/mls-ledger.ts'
import { hex, mlsVectors, ofSuiteOne, ourSuite } from '../support/mls-vectors.ts'

const test = suite('group · mls tree vectors')
const { primitives } = ourSuite
const tally = new Tally('engine')

interface TreeMathCase {
  n_leaves: number
  n_nodes: number
  root: number
  left: (number | null)[]
  right: (number | null)[]
  parent: (number | null)[]
  sibling: (number | null)[]
}

test('tree-math: all 10 trees', () => {
  for (const entry of mlsVectors<TreeMathCase>('tree-math') ?? []) {
    const nodes = math.nodeCount(entry.n_leaves)
    assert.is(nodes, entry.n_nodes)
    assert.is(math.rootOf(nodes), entry.root)
    for (let node = 0; node < nodes; node++) {
      assert.is(math.leftOf(node) ?? null, entry.left[node])
      assert.is(math.rightOf(node) ?? null, entry.right[node])
      assert.is(math.parentOf(node, nodes) ?? null, entry.parent[node])
      assert.is(math.siblingOf(node, nodes) ?? null, entry.sibling[node])
    }
    tally.ran('tree-math', 0, 'every node')
  }
})

interface ValidationCase {
  cipher_suite: number
  tree: string
  group_id: string
  tree_hashes: string[]
  resolutions: number[][]
}

test('tree-validation: hashes, resolutions, parent hashes and signatures of 14 trees', () => {
  const cases = mlsVectors<ValidationCase>('tree-validation')
  if (cases === undefined) return
  for (const entry of ofSuiteOne(cases)) {
    const tree = decodeTree(hex(entry.tree))
    for (const [node, expected] of entry.tree_hashes.entries()) {
      assert.is(formatHex(trees.treeHashOf(primitives, tree, node)), expected)
      assert.equal(trees.resolutionOf(tree, node), entry.resolutions[node])
    }
    assert.ok(areParentHashesValid(primitives, tree))
    for (const { leaf, leafIndex } of trees.leavesOf(tree)) {
      const input = leafSignatureInput(leaf, hex(entry.group_id), leafIndex)
      const { signaturePublicKey, signature } = leaf
      assert.ok(ourSuite.verifyWithLabel(signaturePublicKey, 'LeafNodeTBS', input, signature))
    }
    tally.ran('tree-validation', 1, 'tree_hashes', 'resolutions', 'parent_hashes', 'signatures')
  }
})

interface OperationCase {
  proposal: string
  tree_before: string
  tree_after: string
  tree_hash_before: string
  tree_hash_after: string
}

test('tree-operations: 2 adds and 2 removes; the Update is outside the profile', () => {
  const cases = mlsVectors<OperationCase>('tree-operations')
  for (const entry of cases ?? []) {
    const before = decodeTree(hex(entry.tree_before))
    assert.is(formatHex(trees.rootHash(primitives, before)), entry.tree_hash_before)
    const proposal = decodeProposal(hex(entry.proposal), 0)?.[0]
    assert.ok(proposal)
    let after: trees.Tree | undefined
    if (proposal.proposalType === 'add' && 'add' in proposal) {
      after = trees.withLeafAdded(before, proposal.add.keyPackage.leafNode).tree
    } else if (proposal.proposalType === 'remove' && 'remove' in proposal) {
      after = trees.withLeavesRemoved(before, [proposal.remove.removed])
    }
    if (after === undefined) continue
    assert.is(formatHex(encodeRatchetTree(after.nodes.slice())), entry.tree_after)
    assert.is(formatHex(trees.rootHash(primitives, after)), entry.tree_hash_after)
    tally.ran('tree-operations', 1, proposal.proposalType as string)
  }
})

interface TreeKemCase {
  cipher_suite: number
  group_id: string
  epoch: number
  confirmed_transcript_hash: string
  ratchet_tree: string
  leaves_private: {
    index: number
    encryption_priv: string
    signature_priv: string
    path_secrets: { node: number; path_secret: string }[]
  }[]
  update_paths: {
    sender: number
    update_path: string
    path_secrets: (string | null)[]
    commit_secret: string
    tree_hash_after: string
  }[]
}

test('treekem: every leaf of 11 trees follows 62 given paths, and as many made here', () => {
  const cases = mlsVectors<TreeKemCase>('treekem')
  if (cases === undefined) return
  let [given, made] = [0, 0]
  for (const entry of ofSuiteOne(cases)) {
    for (const update of entry.update_paths) {
      followGiven(entry, update)
      given++
      followMade(entry, update.sender)
      made++
    }
    tally.ran('treekem', 1, 'paths given', 'paths made here')
  }
  assert.equal([given, made], [62, 62])
})

function kemContext(entry: TreeKemCase, treeHash: Bytes): Bytes {
  return encodeGroupContext({
    version: 'mls10',
    cipherSuite: SUITE_NAME,
    groupId: hex(entry.group_id),
    epoch: BigInt(entry.epoch),
    treeHash,
    confirmedTranscriptHash: hex(entry.confirmed_transcript_hash),
    extensions: [],
  })
}

/** The private keys of each leaf, derived from its path secrets and compared with the tree. */
function kemKeys(entry: TreeKemCase, tree: trees.Tree): Map<number, Map<number, Bytes>> {
  const keys = new Map<number, Map<number, Bytes>>()
  for (const leaf of entry.leaves_private) {
    const own = new Map([[math.nodeOfLeaf(leaf.index), hex(leaf.encryption_priv)]])
    for (const { node, path_secret: secret } of leaf.path_secrets) {
      const learnt = paths.climbChecked(ourSuite, tree, [{ node }], hex(secret))
      for (const [at, key] of learnt.keys) own.set(at, key)
    }
    keys.set(leaf.index, own)
  }
  return keys
}

function followGiven(entry: TreeKemCase, update: TreeKemCase['update_paths'][number]): void {
  const before = decodeTree(hex(entry.ratchet_tree))
  const path = decodeUpdatePath(hex(update.update_path), 0)?.[0]
  assert.ok(path)
  const applied = paths.applyPath(ourSuite, before, update.sender, path)
  const treeHash = trees.rootHash(primitives, applied.tree)
  assert.equal(treeHash, hex(update.tree_hash_after))
  for (const [leafIndex, keys] of kemKeys(entry, before)) {
    const secret = update.path_secrets[leafIndex]
    if (leafIndex === update.sender || typeof secret !== 'string') continue
    const learnt = paths.openPath(ourSuite, {
      before,
      applied,
      path,
      own: { leafIndex, keys },
      context: kemContext(entry, treeHash),
      added: [],
    })
    assert.equal(learnt.commitSecret, hex(update.commit_secret))
    const [lowest] = [...learnt.keys.keys()]
    const climbed = paths.climbChecked(
      ourSuite,
      applied.tree,
      [{ node: lowest ?? -1 }],
      hex(secret),
    )
    assert.equal(climbed.keys.get(lowest ?? -1), learnt.keys.get(lowest ?? -1))
  }
}

function followMade(entry: TreeKemCase, leafIndex: number): void {
  const before = decodeTree(hex(entry.ratchet_tree))
  const leaf = entry.leaves_private.find(({ index }) => index === leafIndex)
  assert.ok(leaf)
  const signer = hex(leaf.signature_priv)
  const peer = peerIdFromPublicKey(primitives.signPublic(signer))
  const self = { peer, sign: (message: Bytes) => primitives.sign(signer, message) }
  const groupId = hex(entry.group_id)
  const fresh = paths.makePath(ourSuite, before, { leafIndex, self, groupId })
  const context = kemContext(entry, trees.rootHash(primitives, fresh.tree))
  const path = paths.sealPath(ourSuite, before, fresh, context, [])
  const applied = paths.applyPath(ourSuite, before, leafIndex, path)
  assert.ok(areParentHashesValid(primitives, applied.tree))
  for (const [index, keys] of kemKeys(entry, before)) {
    if (index === leafIndex) continue
    const own = { leafIndex: index, keys }
    const reading = { before, applied, path, own, context, added: [] }
    assert.equal(paths.openPath(ourSuite, reading).commitSecret, fresh.commitSecret)
  }
}

const FILES = ['tree-math', 'tree-operations', 'tree-validation', 'treekem']

test('every case of the ledger has run', () => tally.settle(FILES))

test.run()
