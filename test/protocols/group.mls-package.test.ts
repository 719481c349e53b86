// All 16 files of the MLS working group against the entry points of ts-mls: cipher suite 1 over our Primitives, the
// others with the library's own provider. Suites 3, 4 and 6 need optional peers of it that are not installed
// (@hpke/chacha20poly1305, @hpke/dhkem-x448). What the engine itself can run is in group.mls-vectors.test.ts as well;
// whole clients are in group.mls-passive.test.ts. The counts are those of test/support/mls-ledger.ts.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { CiphersuiteImpl, GroupContext } from 'ts-mls'
import { decodeMlsMessage, defaultKeyRetentionConfig } from 'ts-mls'
import { decodeAuthenticatedContent } from 'ts-mls/authenticatedContent.js'
import { decryptWithLabel, encryptWithLabel } from 'ts-mls/crypto/hpke.js'
import { refhash } from 'ts-mls/crypto/hash.js'
import { deriveSecret, deriveTreeSecret, expandWithLabel } from 'ts-mls/crypto/kdf.js'
import { verifyWithLabel } from 'ts-mls/crypto/signature.js'
import { verifyConfirmationTag } from 'ts-mls/framedContent.js'
import { decodeGroupContext, extractJoinerSecret } from 'ts-mls/groupContext.js'
import * as groupInfos from 'ts-mls/groupInfo.js'
import { makeKeyPackageRef } from 'ts-mls/keyPackage.js'
import { deriveKeySchedule, mlsExporter } from 'ts-mls/keySchedule.js'
import { verifyLeafNodeSignature } from 'ts-mls/leafNode.js'
import { unprotectPrivateMessage } from 'ts-mls/messageProtection.js'
import { unprotectPublicMessage } from 'ts-mls/messageProtectionPublic.js'
import { verifyParentHashes } from 'ts-mls/parentHash.js'
import { getCommitSecret } from 'ts-mls/pathSecrets.js'
import { computePskSecret } from 'ts-mls/presharedkey.js'
import { toPrivateKeyPath } from 'ts-mls/privateKeyPath.js'
import { encodeProposal, decodeProposal } from 'ts-mls/proposal.js'
import * as ratchetTrees from 'ts-mls/ratchetTree.js'
import { createSecretTree, ratchetToGeneration } from 'ts-mls/secretTree.js'
import { expandSenderDataKey, expandSenderDataNonce } from 'ts-mls/sender.js'
import { createConfirmedHash, createInterimHash } from 'ts-mls/transcriptHash.js'
import { treeHash, treeHashRoot } from 'ts-mls/treeHash.js'
import * as treemath from 'ts-mls/treemath.js'
import { applyUpdatePath, decodeUpdatePath } from 'ts-mls/updatePath.js'
import { applyUpdatePathSecret } from 'ts-mls/createCommit.js'
import { encodeCommit } from 'ts-mls/commit.js'
import { determineLength } from 'ts-mls/codec/variableLength.js'
import { decryptGroupInfo, decryptGroupSecrets } from 'ts-mls/welcome.js'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { LEDGER, Tally } from '../support/mls-ledger.ts'
import { given, hex, mlsVectors, nameOf, runOverPackage } from '../support/mls-vectors.ts'
import type { OfSuite, PackageCheck } from '../support/mls-vectors.ts'

const test = suite('group · mls vectors over ts-mls')
const tally = new Tally('ts-mls')

function run<T extends OfSuite>(file: string, check: PackageCheck<T>): Promise<void> {
  return runOverPackage(tally, file, check)
}

function contextOf(
  id: number,
  fields: { group_id: string; epoch: number; confirmed_transcript_hash: string },
  hash: Bytes,
): GroupContext {
  return {
    version: 'mls10',
    cipherSuite: nameOf(id),
    groupId: hex(fields.group_id),
    epoch: BigInt(fields.epoch),
    treeHash: hash,
    confirmedTranscriptHash: hex(fields.confirmed_transcript_hash),
    extensions: [],
  }
}

interface TreeMathCase extends Record<'left' | 'right' | 'parent' | 'sibling', (number | null)[]> {
  n_leaves: number
  n_nodes: number
  root: number
}

/** ts-mls throws where there is no such node. */
function nodeOrNull(find: () => number): number | null {
  try {
    return find()
  } catch {
    return null
  }
}

test('tree-math: 10 trees', () => {
  for (const entry of mlsVectors<TreeMathCase>('tree-math') ?? []) {
    const { n_leaves: leaves, n_nodes: nodes } = entry
    assert.is(treemath.nodeWidth(leaves), nodes)
    assert.is(treemath.root(leaves), entry.root)
    for (let at = 0; at < nodes; at++) {
      const node = treemath.toNodeIndex(at)
      assert.is(
        nodeOrNull(() => treemath.left(node)),
        entry.left[at],
      )
      assert.is(
        nodeOrNull(() => treemath.right(node)),
        entry.right[at],
      )
      assert.is(
        nodeOrNull(() => treemath.parent(node, leaves)),
        entry.parent[at],
      )
      assert.is(
        nodeOrNull(() => treemath.sibling(node, leaves)),
        entry.sibling[at],
      )
    }
    tally.ran('tree-math', 0, 'every node')
  }
})

test('deserialization: 14 headers', () => {
  const cases = mlsVectors<{ vlbytes_header: string; length: number }>('deserialization')
  for (const { vlbytes_header: header, length } of cases ?? []) {
    assert.is(determineLength(hex(header)).length, length)
    tally.ran('deserialization', 0, 'length')
  }
})

type Fields = Record<string, string>

test('crypto-basics', () =>
  run<
    OfSuite & {
      ref_hash: Fields
      derive_secret: Fields
      sign_with_label: Fields
      encrypt_with_label: Fields
      expand_with_label: Fields & { length: never }
      derive_tree_secret: Fields & { length: never; generation: never }
    }
  >('crypto-basics', async (entry, impl, did) => {
    const at = (fields: Fields, name: string): Bytes => hex(given(fields[name]))
    const label = (fields: Fields): string => given(fields['label'])
    const { ref_hash: r, derive_secret: d, sign_with_label: s, encrypt_with_label: h } = entry
    const { expand_with_label: e, derive_tree_secret: t } = entry
    assert.equal(await refhash(label(r), at(r, 'value'), impl.hash), at(r, 'out'))
    assert.equal(await deriveSecret(at(d, 'secret'), label(d), impl.kdf), at(d, 'out'))
    const context = at(e, 'context')
    const expanded = expandWithLabel(at(e, 'secret'), label(e), context, e.length, impl.kdf)
    assert.equal(await expanded, at(e, 'out'))
    const secret = at(t, 'secret')
    const derived = deriveTreeSecret(secret, label(t), t.generation, t.length, impl.kdf)
    assert.equal(await derived, at(t, 'out'))
    const [pub, signature] = [at(s, 'pub'), at(s, 'signature')]
    assert.ok(await verifyWithLabel(pub, label(s), at(s, 'content'), signature, impl.signature))
    const key = await impl.hpke.importPrivateKey(at(h, 'priv'))
    const open = (enc: Bytes, ct: Bytes) =>
      decryptWithLabel(key, label(h), at(h, 'context'), enc, ct, impl.hpke)
    assert.equal(await open(at(h, 'kem_output'), at(h, 'ciphertext')), at(h, 'plaintext'))
    const to = await impl.hpke.importPublicKey(at(h, 'pub'))
    const plaintext = at(h, 'plaintext')
    const sealed = await encryptWithLabel(to, label(h), at(h, 'context'), plaintext, impl.hpke)
    assert.equal(await open(sealed.enc, sealed.ct), plaintext)
    did('ref_hash', 'derive_secret', 'expand_with_label', 'derive_tree_secret')
    did('sign_with_label', 'encrypt_with_label')
  }))

type KeyName = 'application_key' | 'application_nonce' | 'handshake_key' | 'handshake_nonce'
type LeafKeys = Record<KeyName, string> & { generation: number }

test('secret-tree', () =>
  run<OfSuite & { encryption_secret: string; sender_data: Fields; leaves: LeafKeys[][] }>(
    'secret-tree',
    async (entry, impl, did) => {
      const { sender_data: sd } = entry
      const [secret, ciphertext] = [
        hex(given(sd['sender_data_secret'])),
        hex(given(sd['ciphertext'])),
      ]
      assert.equal(await expandSenderDataKey(impl, secret, ciphertext), hex(given(sd['key'])))
      assert.equal(await expandSenderDataNonce(impl, secret, ciphertext), hex(given(sd['nonce'])))
      const encryption = hex(entry.encryption_secret)
      const tree = await createSecretTree(entry.leaves.length, encryption, impl.kdf)
      for (const [leafIndex, generations] of entry.leaves.entries()) {
        for (const keys of generations) {
          const reuseGuard = new Uint8Array(4) as Bytes & { length: 4 }
          const { generation } = keys
          const sender = { leafIndex, generation, reuseGuard }
          const take = (type: 'application' | 'commit') =>
            ratchetToGeneration(tree, sender, type, defaultKeyRetentionConfig, impl)
          const application = await take('application')
          assert.equal(application.key, hex(keys.application_key))
          assert.equal(application.nonce, hex(keys.application_nonce))
          const handshake = await take('commit')
          assert.equal(handshake.key, hex(keys.handshake_key))
          assert.equal(handshake.nonce, hex(keys.handshake_nonce))
        }
      }
      did('sender_data', 'application', 'handshake')
    },
  ))

interface ProtectionCase extends OfSuite {
  group_id: string
  epoch: number
  tree_hash: string
  confirmed_transcript_hash: string
  signature_pub: string
  encryption_secret: string
  sender_data_secret: string
  membership_key: string
  proposal: string
  proposal_priv: string
  proposal_pub: string
  commit: string
  commit_priv: string
  commit_pub: string
  application: string
  application_priv: string
}

test('message-protection', () =>
  run<ProtectionCase>('message-protection', async (entry, impl, did) => {
    const context = contextOf(entry.cipher_suite, entry, hex(entry.tree_hash))
    const key = hex(entry.signature_pub)
    const openPrivate = async (text: string) => {
      const message = given(decodeMlsMessage(hex(text), 0))[0]
      assert.ok(message.wireformat === 'mls_private_message')
      const secretTree = await createSecretTree(2, hex(entry.encryption_secret), impl.kdf)
      const secret = hex(entry.sender_data_secret)
      const config = defaultKeyRetentionConfig
      const { privateMessage } = message
      const opened = unprotectPrivateMessage(
        secret,
        privateMessage,
        secretTree,
        [],
        context,
        config,
        impl,
        key,
      )
      return (await opened).content.content
    }
    const openPublic = async (text: string) => {
      const message = given(decodeMlsMessage(hex(text), 0))[0]
      assert.ok(message.wireformat === 'mls_public_message')
      const membership = hex(entry.membership_key)
      const { publicMessage } = message
      return (await unprotectPublicMessage(membership, context, [], publicMessage, impl, key))
        .content
    }
    const application = await openPrivate(entry.application_priv)
    assert.ok(application.contentType === 'application')
    assert.equal(application.applicationData, hex(entry.application))
    for (const content of [
      await openPrivate(entry.proposal_priv),
      await openPublic(entry.proposal_pub),
    ]) {
      assert.ok(content.contentType === 'proposal')
      assert.equal(encodeProposal(content.proposal), hex(entry.proposal))
    }
    for (const content of [
      await openPrivate(entry.commit_priv),
      await openPublic(entry.commit_pub),
    ]) {
      assert.ok(content.contentType === 'commit')
      assert.equal(encodeCommit(content.commit), hex(entry.commit))
    }
    did('application_priv', 'proposal_priv', 'proposal_pub', 'commit_priv', 'commit_pub')
  }))

interface ScheduleCase extends OfSuite {
  initial_init_secret: string
  epochs: (Fields & {
    exporter: { label: string; context: string; length: number; secret: string } & string
  })[]
}

test('key-schedule', () =>
  run<ScheduleCase>('key-schedule', async (entry, impl, did) => {
    let init = hex(entry.initial_init_secret)
    assert.is(entry.epochs.length, 5)
    for (const epoch of entry.epochs) {
      const at = (name: string): Bytes => hex(given(epoch[name]))
      const context = given(decodeGroupContext(at('group_context'), 0))[0]
      const joiner = await extractJoinerSecret(context, init, at('commit_secret'), impl.kdf)
      assert.equal(joiner, at('joiner_secret'))
      const psk = at('psk_secret')
      const welcome = await groupInfos.extractWelcomeSecret(joiner, psk, impl.kdf)
      assert.equal(welcome, at('welcome_secret'))
      const [schedule, encryption] = await deriveKeySchedule(joiner, psk, context, impl.kdf)
      assert.equal(encryption, at('encryption_secret'))
      assert.equal(
        [
          schedule.confirmationKey,
          schedule.epochAuthenticator,
          schedule.exporterSecret,
          schedule.externalSecret,
          schedule.initSecret,
          schedule.membershipKey,
          schedule.resumptionPsk,
          schedule.senderDataSecret,
        ],
        [
          'confirmation_key',
          'epoch_authenticator',
          'exporter_secret',
          'external_secret',
          'init_secret',
          'membership_key',
          'resumption_psk',
          'sender_data_secret',
        ].map(at),
      )
      const pair = await impl.hpke.deriveKeyPair(schedule.externalSecret)
      assert.equal(await impl.hpke.exportPublicKey(pair.publicKey), at('external_pub'))
      const { label, context: data, length, secret } = epoch.exporter
      const exporter = schedule.exporterSecret
      assert.equal(await mlsExporter(exporter, label, hex(data), length, impl), hex(secret))
      init = schedule.initSecret
    }
    did('joiner_secret', 'welcome_secret', 'secrets of an epoch', 'resumption_psk')
    did('external_pub', 'exporter')
  }))

test('psk_secret', () =>
  run<OfSuite & { psks: Fields[]; psk_secret: string }>('psk_secret', async (entry, impl, did) => {
    const psks = entry.psks.map((psk): Parameters<typeof computePskSecret>[0][number] => [
      {
        psktype: 'external',
        pskId: hex(given(psk['psk_id'])),
        pskNonce: hex(given(psk['psk_nonce'])),
      },
      hex(given(psk['psk'])),
    ])
    assert.equal(await computePskSecret(psks, impl), hex(entry.psk_secret))
    did('psk_secret')
  }))

interface TranscriptCase extends OfSuite {
  authenticated_content: string
  interim_transcript_hash_before: string
  confirmed_transcript_hash_after: string
  interim_transcript_hash_after: string
  confirmation_key: string
}

test('transcript-hashes', () =>
  run<TranscriptCase>('transcript-hashes', async (entry, impl, did) => {
    const at = (name: Exclude<keyof TranscriptCase, 'cipher_suite'>): Bytes => hex(entry[name])
    const found = given(decodeAuthenticatedContent(at('authenticated_content'), 0))[0]
    const { content, auth, wireformat } = found
    assert.ok(content.contentType === 'commit' && auth.contentType === 'commit')
    const before = at('interim_transcript_hash_before')
    const { signature, confirmationTag: tag } = auth
    const input = { wireformat, content, signature }
    const confirmed = await createConfirmedHash(before, input, impl.hash)
    assert.equal(confirmed, at('confirmed_transcript_hash_after'))
    const interim = await createInterimHash(confirmed, tag, impl.hash)
    assert.equal(interim, at('interim_transcript_hash_after'))
    assert.ok(await verifyConfirmationTag(at('confirmation_key'), tag, confirmed, impl.hash))
    did('confirmed', 'interim', 'confirmation_tag')
  }))

interface ValidationCase extends OfSuite {
  tree: string
  group_id: string
  tree_hashes: string[]
  resolutions: number[][]
}

test('tree-validation', () =>
  run<ValidationCase>('tree-validation', async (entry, impl, did) => {
    const tree = given(ratchetTrees.decodeRatchetTree(hex(entry.tree), 0))[0]
    for (const [i, expected] of entry.tree_hashes.entries()) {
      const node = treemath.toNodeIndex(i)
      assert.equal(await treeHash(tree, node, impl.hash), hex(expected))
      assert.equal(ratchetTrees.resolution(tree, node), entry.resolutions[i])
    }
    assert.ok(await verifyParentHashes(tree, impl.hash))
    for (const [i, node] of tree.entries()) {
      if (node?.nodeType !== 'leaf') continue
      const groupId = hex(entry.group_id)
      assert.ok(await verifyLeafNodeSignature(node.leaf, groupId, i / 2, impl.signature))
    }
    did('tree_hashes', 'resolutions', 'parent_hashes', 'signatures')
  }))

test('tree-operations', () =>
  run<
    OfSuite & {
      proposal: string
      proposal_sender: number
      tree_before: string
      tree_after: string
      tree_hash_after: string
    }
  >('tree-operations', async (entry, impl, did) => {
    const before = given(ratchetTrees.decodeRatchetTree(hex(entry.tree_before), 0))[0]
    const proposal = given(decodeProposal(hex(entry.proposal), 0))[0]
    const { toLeafIndex } = treemath
    let after = before
    if ('add' in proposal) {
      ;[after] = ratchetTrees.addLeafNode(before, proposal.add.keyPackage.leafNode)
    } else if ('remove' in proposal) {
      after = ratchetTrees.removeLeafNode(before, toLeafIndex(proposal.remove.removed))
    } else if ('update' in proposal) {
      const sender = toLeafIndex(entry.proposal_sender)
      after = ratchetTrees.updateLeafNode(before, proposal.update.leafNode, sender)
    }
    assert.equal(ratchetTrees.encodeRatchetTree(after), hex(entry.tree_after))
    assert.equal(await treeHashRoot(after, impl.hash), hex(entry.tree_hash_after))
    did(proposal.proposalType as string)
  }))

interface TreeKemCase extends OfSuite {
  group_id: string
  epoch: number
  confirmed_transcript_hash: string
  ratchet_tree: string
  leaves_private: {
    index: number
    encryption_priv: string
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

type PrivatePath = Awaited<ReturnType<typeof toPrivateKeyPath>>

async function privatePaths(entry: TreeKemCase, impl: CiphersuiteImpl): Promise<PrivatePath[]> {
  const paths: PrivatePath[] = []
  for (const {
    index: leafIndex,
    encryption_priv: key,
    path_secrets: given,
  } of entry.leaves_private) {
    const secrets = Object.fromEntries(given.map(({ node, path_secret: s }) => [node, hex(s)]))
    const above = await toPrivateKeyPath(secrets, leafIndex, impl)
    paths.push({ leafIndex, privateKeys: { ...above.privateKeys, [leafIndex * 2]: hex(key) } })
  }
  return paths
}

async function followPath(
  entry: TreeKemCase,
  update: TreeKemCase['update_paths'][number],
  impl: CiphersuiteImpl,
  own: readonly PrivatePath[],
): Promise<void> {
  const before = given(ratchetTrees.decodeRatchetTree(hex(entry.ratchet_tree), 0))[0]
  const sender = treemath.toLeafIndex(update.sender)
  const path = given(decodeUpdatePath(hex(update.update_path), 0))[0]
  const tree = await applyUpdatePath(before, sender, path, impl.hash)
  const hash = await treeHashRoot(tree, impl.hash)
  assert.equal(hash, hex(update.tree_hash_after))
  const context = contextOf(entry.cipher_suite, entry, hash)
  for (const privatePath of own) {
    const expected = update.path_secrets[privatePath.leafIndex]
    if (typeof expected !== 'string') continue
    const opened = await applyUpdatePathSecret(tree, privatePath, sender, context, path, [], impl)
    assert.equal(opened.pathSecret, hex(expected))
    const node = treemath.toNodeIndex(opened.nodeIndex)
    const commitSecret = await getCommitSecret(tree, node, opened.pathSecret, impl.kdf)
    assert.equal(commitSecret, hex(update.commit_secret))
  }
}

test('treekem', () =>
  run<TreeKemCase>('treekem', async (entry, impl, did) => {
    const own = await privatePaths(entry, impl)
    for (const update of entry.update_paths) await followPath(entry, update, impl, own)
    did('paths given')
  }))

test('welcome', () =>
  run<OfSuite & { init_priv: string; key_package: string; signer_pub: string; welcome: string }>(
    'welcome',
    async (entry, impl, did) => {
      const package_ = given(decodeMlsMessage(hex(entry.key_package), 0))[0]
      const message = given(decodeMlsMessage(hex(entry.welcome), 0))[0]
      assert.ok(package_.wireformat === 'mls_key_package' && message.wireformat === 'mls_welcome')
      const { welcome } = message
      const ref = await makeKeyPackageRef(package_.keyPackage, impl.hash)
      const key = await impl.hpke.importPrivateKey(hex(entry.init_priv))
      const { joinerSecret } = given(await decryptGroupSecrets(key, ref, welcome, impl.hpke))
      const psk = new Uint8Array(impl.kdf.size)
      const info = given(await decryptGroupInfo(welcome, joinerSecret, psk, impl))
      const signer = hex(entry.signer_pub)
      assert.ok(await groupInfos.verifyGroupInfoSignature(info, signer, impl.signature))
      assert.ok(await groupInfos.verifyGroupInfoConfirmationTag(info, joinerSecret, psk, impl))
      did('group_secrets', 'signature', 'confirmation_tag')
    },
  ))

const ELSEWHERE = [
  'messages',
  'passive-client-handling-commit',
  'passive-client-random',
  'passive-client-welcome',
]

test('every case of the ledger has run', () =>
  tally.settle(Object.keys(LEDGER).filter((file) => !ELSEWHERE.includes(file))))

test.run()
