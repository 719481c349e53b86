// The MLS working group's vectors against what the engine is made of. Cipher suite 1; every other suite, and what
// the engine does not have (Update and PSK proposals, proposals by reference), is in group.mls-package.test.ts.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { GroupContext, Node } from 'ts-mls'
import { decodeMlsMessage } from 'ts-mls'
import { decodeAuthenticatedContent } from 'ts-mls/authenticatedContent.js'
import { encodeFramedContent } from 'ts-mls/framedContent.js'
import { encodeGroupContext } from 'ts-mls/groupContext.js'
import { decodeGroupSecrets } from 'ts-mls/groupSecrets.js'
import { decodeProposal } from 'ts-mls/proposal.js'
import { encodeRatchetTree } from 'ts-mls/ratchetTree.js'
import { decodeUpdatePath } from 'ts-mls/updatePath.js'
import { equalBytes, formatHex, makeReader } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { toCredential } from '../../protocols/group/mls/credential.ts'
import { deriveFromJoiner, exportSecret } from '../../protocols/group/mls/keys/key-schedule.ts'
import { plantSecretTree, takeKey } from '../../protocols/group/mls/keys/secret-tree.ts'
import { SUITE_NAME } from '../../protocols/group/mls/keys/suite.ts'
import { openMessage, sealMessage } from '../../protocols/group/mls/messages/application.ts'
import { decodeBareGroupInfo, decodeTree } from '../../protocols/group/mls/messages/codec.ts'
import * as framing from '../../protocols/group/mls/messages/framing.ts'
import { refOf } from '../../protocols/group/mls/messages/key-package.ts'
import { welcomeKeys } from '../../protocols/group/mls/messages/welcome.ts'
import { ownCapabilities } from '../../protocols/group/mls/profile.ts'
import type { EpochState } from '../../protocols/group/mls/state.ts'
import { areParentHashesValid } from '../../protocols/group/mls/tree/parent-hash.ts'
import * as math from '../../protocols/group/mls/tree/tree-math.ts'
import * as trees from '../../protocols/group/mls/tree/tree.ts'
import * as paths from '../../protocols/group/mls/tree/update-path.ts'
import { leafSignatureInput } from '../../protocols/group/mls/tree/validate.ts'
import { readVec, vec } from '../../protocols/group/tls.ts'
import { hex, mlsVectors, ofSuiteOne, ourSuite } from '../support/mls-vectors.ts'

const test = suite('group · mls vectors')
const { primitives } = ourSuite
const NONE = new Uint8Array(0)

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
  const cases = mlsVectors<TreeMathCase>('tree-math')
  if (cases === undefined) return
  for (const entry of cases) {
    const nodes = math.nodeCount(entry.n_leaves)
    assert.is(nodes, entry.n_nodes)
    assert.is(math.rootOf(nodes), entry.root)
    for (let node = 0; node < nodes; node++) {
      assert.is(math.leftOf(node) ?? null, entry.left[node])
      assert.is(math.rightOf(node) ?? null, entry.right[node])
      assert.is(math.parentOf(node, nodes) ?? null, entry.parent[node])
      assert.is(math.siblingOf(node, nodes) ?? null, entry.sibling[node])
    }
  }
  assert.is(cases.length, 10)
})

test('deserialization: 13 of 14 lengths, both ways; a length of 2^30 - 1 is refused by its bound', () => {
  const cases = mlsVectors<{ vlbytes_header: string; length: number }>('deserialization')
  if (cases === undefined) return
  let ran = 0
  for (const { vlbytes_header: header, length } of cases) {
    if (length > 65_536) {
      assert.is(readVec(makeReader(hex(header)), 65_536), undefined)
      continue
    }
    const encoded = vec(new Uint8Array(length))
    assert.is(formatHex(encoded.subarray(0, encoded.length - length)), header)
    assert.is(readVec(makeReader(encoded), 65_536)?.length, length)
    ran++
  }
  assert.is(ran, 13)
})

interface BasicsCase {
  cipher_suite: number
  expand_with_label: { secret: string; label: string; context: string; length: number; out: string }
  derive_secret: { secret: string; label: string; out: string }
  derive_tree_secret: {
    secret: string
    label: string
    generation: number
    length: number
    out: string
  }
  sign_with_label: { priv: string; pub: string; content: string; label: string; signature: string }
  encrypt_with_label: {
    priv: string
    pub: string
    label: string
    context: string
    plaintext: string
    kem_output: string
    ciphertext: string
  }
}

test('crypto-basics: expand, derive, sign and encrypt with label', () => {
  const cases = mlsVectors<BasicsCase>('crypto-basics')
  if (cases === undefined) return
  const [entry] = ofSuiteOne(cases)
  assert.ok(entry)
  const { expand_with_label: e, derive_secret: d, derive_tree_secret: t } = entry
  const expanded = ourSuite.expandWithLabel(hex(e.secret), e.label, hex(e.context), e.length)
  assert.equal(expanded, hex(e.out))
  assert.equal(ourSuite.deriveSecret(hex(d.secret), d.label), hex(d.out))
  const tree = ourSuite.deriveTreeSecret(hex(t.secret), t.label, t.generation, t.length)
  assert.equal(tree, hex(t.out))
  const { sign_with_label: s, encrypt_with_label: h } = entry
  const verified = (signature: Bytes) =>
    ourSuite.verifyWithLabel(hex(s.pub), s.label, hex(s.content), signature)
  assert.ok(verified(hex(s.signature)))
  const signer = { sign: (message: Bytes) => primitives.sign(hex(s.priv), message) }
  assert.ok(verified(ourSuite.signWithLabel(signer, s.label, hex(s.content))))
  const pair = { secret: hex(h.priv), publicKey: hex(h.pub) }
  const open = (sealed: { enc: Bytes; ciphertext: Bytes }) =>
    ourSuite.decryptWithLabel(pair, h.label, hex(h.context), sealed)
  const given = { enc: hex(h.kem_output), ciphertext: hex(h.ciphertext) }
  assert.equal(open(given), hex(h.plaintext))
  const { publicKey } = pair
  const own = ourSuite.encryptWithLabel(publicKey, h.label, hex(h.context), hex(h.plaintext))
  assert.ok(own)
  assert.equal(open(own), hex(h.plaintext))
})

interface SecretTreeCase {
  cipher_suite: number
  encryption_secret: string
  leaves: { generation: number; application_key: string; application_nonce: string }[][]
}

test('secret-tree: application keys of 3 trees, 82 keys', () => {
  const cases = mlsVectors<SecretTreeCase>('secret-tree')
  if (cases === undefined) return
  let ran = 0
  for (const entry of ofSuiteOne(cases)) {
    let tree = plantSecretTree(entry.leaves.length, hex(entry.encryption_secret))
    for (const [leaf, generations] of entry.leaves.entries()) {
      for (const { generation, application_key: key, application_nonce: nonce } of generations) {
        const taken = takeKey(ourSuite, tree, leaf, generation)
        assert.equal([taken.key, taken.nonce], [hex(key), hex(nonce)])
        ;({ tree } = taken)
        ran++
      }
    }
  }
  assert.is(ran, 82)
})

interface ScheduleCase {
  cipher_suite: number
  epochs: {
    external_secret: string
    external_pub: string
    exporter_secret: string
    exporter: { label: string; context: string; length: number; secret: string }
  }[]
}

test('key-schedule: exporter and external_pub of 5 epochs', () => {
  const cases = mlsVectors<ScheduleCase>('key-schedule')
  if (cases === undefined) return
  const epochs = ofSuiteOne(cases).flatMap((entry) => entry.epochs)
  for (const epoch of epochs) {
    const { label, context, length, secret } = epoch.exporter
    const exporter = hex(epoch.exporter_secret)
    assert.equal(exportSecret(ourSuite, exporter, label, hex(context), length), hex(secret))
    const pair = ourSuite.hpke.deriveKeyPair(hex(epoch.external_secret))
    assert.equal(pair.publicKey, hex(epoch.external_pub))
  }
  assert.is(epochs.length, 5)
})

interface TranscriptCase {
  cipher_suite: number
  confirmation_key: string
  authenticated_content: string
  interim_transcript_hash_before: string
  confirmed_transcript_hash_after: string
  interim_transcript_hash_after: string
}

test('transcript-hashes: confirmed, interim and confirmation tag', () => {
  const cases = mlsVectors<TranscriptCase>('transcript-hashes')
  if (cases === undefined) return
  const [entry] = ofSuiteOne(cases)
  assert.ok(entry)
  const bytes = hex(entry.authenticated_content)
  const decoded = decodeAuthenticatedContent(bytes, 0)?.[0]
  assert.ok(decoded?.auth.contentType === 'commit')
  const { content, auth } = decoded
  const before = hex(entry.interim_transcript_hash_before)
  const encoded = encodeFramedContent(content)
  const confirmed = framing.confirmTranscript(primitives, before, encoded, auth.signature)
  assert.equal(confirmed, hex(entry.confirmed_transcript_hash_after))
  const { confirmationTag } = auth
  assert.equal(primitives.hmacSha256(hex(entry.confirmation_key), confirmed), confirmationTag)
  const interim = framing.interimTranscript(primitives, confirmed, confirmationTag)
  assert.equal(interim, hex(entry.interim_transcript_hash_after))
})

interface ProtectionCase {
  cipher_suite: number
  group_id: string
  epoch: number
  tree_hash: string
  confirmed_transcript_hash: string
  signature_priv: string
  signature_pub: string
  encryption_secret: string
  sender_data_secret: string
  membership_key: string
  commit_pub: string
  application: string
  application_priv: string
}

/** The vector's group of two, whose leaf 1 sends, as one of its members holds it. */
function protectionState(entry: ProtectionCase, ownLeaf: number): EpochState {
  const signaturePublicKey = hex(entry.signature_pub)
  const peer = peerIdFromPublicKey(signaturePublicKey)
  const node: Node = {
    nodeType: 'leaf',
    leaf: {
      leafNodeSource: 'update',
      hpkePublicKey: new Uint8Array(32),
      signaturePublicKey,
      credential: toCredential(peer),
      capabilities: ownCapabilities(),
      extensions: [],
      signature: NONE,
    },
  }
  const secrets = {
    senderData: hex(entry.sender_data_secret),
    exporter: NONE,
    external: NONE,
    membership: hex(entry.membership_key),
    authenticator: NONE,
    init: NONE,
  }
  const self = { peer, sign: (bytes: Bytes) => primitives.sign(hex(entry.signature_priv), bytes) }
  const context: GroupContext = {
    version: 'mls10',
    cipherSuite: SUITE_NAME,
    groupId: hex(entry.group_id),
    epoch: BigInt(entry.epoch),
    treeHash: hex(entry.tree_hash),
    confirmedTranscriptHash: hex(entry.confirmed_transcript_hash),
    extensions: [],
  }
  const tree = trees.toTree([node, undefined, node])
  const messages = plantSecretTree(2, hex(entry.encryption_secret))
  const keys = new Map<number, Bytes>()
  return { self, context, tree, ownLeaf, keys, secrets, confirmationTag: NONE, messages }
}

test('message-protection: application message both ways, tag and signature of a commit', () => {
  const cases = mlsVectors<ProtectionCase>('message-protection')
  if (cases === undefined) return
  const [entry] = ofSuiteOne(cases)
  assert.ok(entry)
  const opened = openMessage(ourSuite, protectionState(entry, 0), hex(entry.application_priv))
  assert.equal(opened.plaintext, hex(entry.application))
  const sealed = sealMessage(ourSuite, protectionState(entry, 1), hex(entry.application), NONE)
  const back = openMessage(ourSuite, protectionState(entry, 0), sealed.message)
  assert.equal([back.plaintext, back.senderLeaf], [hex(entry.application), 1])

  const message = decodeMlsMessage(hex(entry.commit_pub), 0)?.[0]
  assert.ok(message?.wireformat === 'mls_public_message')
  const { content, auth } = message.publicMessage
  assert.ok(auth.contentType === 'commit' && message.publicMessage.senderType === 'member')
  const state = protectionState(entry, 0)
  const context = encodeGroupContext(state.context)
  const signed = framing.toSign(framing.PUBLIC_MESSAGE, encodeFramedContent(content), context)
  const { signature, confirmationTag } = auth
  const { membership } = state.secrets
  const tag = framing.tagMembership(primitives, membership, signed, signature, confirmationTag)
  assert.equal(tag, message.publicMessage.membershipTag)
  const key = hex(entry.signature_pub)
  assert.ok(ourSuite.verifyWithLabel(key, 'FramedContentTBS', signed, signature))
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
  const ours = ofSuiteOne(cases)
  for (const entry of ours) {
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
  }
  assert.is(ours.length, 14)
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
  if (cases === undefined) return
  let ran = 0
  for (const entry of cases) {
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
    ran++
  }
  assert.is(ran, 4)
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

interface WelcomeCase {
  cipher_suite: number
  init_priv: string
  key_package: string
  signer_pub: string
  welcome: string
}

test('welcome: secrets, GroupInfo, its signature and confirmation tag', () => {
  const cases = mlsVectors<WelcomeCase>('welcome')
  if (cases === undefined) return
  const [entry] = ofSuiteOne(cases)
  assert.ok(entry)
  const package_ = decodeMlsMessage(hex(entry.key_package), 0)?.[0]
  const message = decodeMlsMessage(hex(entry.welcome), 0)?.[0]
  assert.ok(package_?.wireformat === 'mls_key_package' && message?.wireformat === 'mls_welcome')
  const { keyPackage } = package_
  const { secrets, encryptedGroupInfo } = message.welcome
  const ref = refOf(ourSuite, keyPackage)
  const mine = secrets.find(({ newMember }) => equalBytes(newMember, ref))
  assert.ok(mine)
  const { kemOutput: enc, ciphertext } = mine.encryptedGroupSecrets
  const pair = { secret: hex(entry.init_priv), publicKey: keyPackage.initKey }
  const opened = ourSuite.decryptWithLabel(pair, 'Welcome', encryptedGroupInfo, { enc, ciphertext })
  const joiner = decodeGroupSecrets(opened ?? NONE, 0)?.[0].joinerSecret
  assert.ok(joiner)
  const { key, nonce } = welcomeKeys(ourSuite, joiner)
  const bytes = primitives.openAesGcm(key, nonce, NONE, encryptedGroupInfo)
  const groupInfo = decodeBareGroupInfo(bytes ?? NONE)
  const { groupContext: context, confirmationTag, signature } = groupInfo
  const derived = deriveFromJoiner(ourSuite, joiner, encodeGroupContext(context))
  const tag = primitives.hmacSha256(derived.confirmation, context.confirmedTranscriptHash)
  assert.equal(tag, confirmationTag)
  const tbs = (bytes ?? NONE).subarray(0, (bytes ?? NONE).length - vec(signature).length)
  assert.ok(ourSuite.verifyWithLabel(hex(entry.signer_pub), 'GroupInfoTBS', tbs, signature))
})

test.run()
