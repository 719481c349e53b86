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
import { equalBytes, formatHex, makeReader } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { toCredential } from '../../protocols/group/mls/credential.ts'
import * as schedule from '../../protocols/group/mls/keys/key-schedule.ts'
import { plantSecretTree, takeKey } from '../../protocols/group/mls/keys/secret-tree.ts'
import { HASH_BYTES, SUITE_NAME } from '../../protocols/group/mls/keys/suite.ts'
import { openMessage, sealMessage } from '../../protocols/group/mls/messages/application.ts'
import { decodeBareGroupInfo } from '../../protocols/group/mls/messages/codec.ts'
import * as framing from '../../protocols/group/mls/messages/framing.ts'
import { refOf } from '../../protocols/group/mls/messages/key-package.ts'
import { welcomeKeys } from '../../protocols/group/mls/messages/welcome.ts'
import { ownCapabilities } from '../../protocols/group/mls/profile.ts'
import type { EpochState } from '../../protocols/group/mls/state.ts'
import * as trees from '../../protocols/group/mls/tree/tree.ts'
import { readVec, vec } from '../../protocols/group/tls.ts'
import { LEDGER, Tally } from '../support/mls-ledger.ts'
import { hex, mlsVectors, ofSuiteOne, ourSuite } from '../support/mls-vectors.ts'

const test = suite('group · mls vectors')
const { primitives } = ourSuite
const NONE = new Uint8Array(0)
const tally = new Tally('engine')

test('deserialization: 13 of 14 lengths, both ways; a length of 2^30 - 1 is refused by its bound', () => {
  const cases = mlsVectors<{ vlbytes_header: string; length: number }>('deserialization')
  for (const { vlbytes_header: header, length } of cases ?? []) {
    if (length > 65_536) {
      assert.is(readVec(makeReader(hex(header)), 65_536), undefined)
      continue
    }
    const encoded = vec(new Uint8Array(length))
    assert.is(formatHex(encoded.subarray(0, encoded.length - length)), header)
    assert.is(readVec(makeReader(encoded), 65_536)?.length, length)
    tally.ran('deserialization', 0, 'length')
  }
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
  tally.ran('crypto-basics', 1, 'expand_with_label', 'derive_secret')
  tally.ran('crypto-basics', 1, 'derive_tree_secret', 'sign_with_label', 'encrypt_with_label')
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
    tally.ran('secret-tree', 1, 'application')
  }
  assert.is(ran, 82)
})

type ScheduleSecret =
  | 'init_secret'
  | 'commit_secret'
  | 'joiner_secret'
  | 'psk_secret'
  | 'group_context'
  | 'sender_data_secret'
  | 'exporter_secret'
  | 'external_secret'
  | 'membership_key'
  | 'epoch_authenticator'
  | 'confirmation_key'
  | 'encryption_secret'
  | 'external_pub'

interface ScheduleCase {
  cipher_suite: number
  initial_init_secret: string
  epochs: (Record<ScheduleSecret, string> & {
    exporter: { label: string; context: string; length: number; secret: string }
  })[]
}

test('key-schedule: 5 epochs; their pre-shared keys, which the engine has not, are mixed in here', () => {
  const cases = mlsVectors<ScheduleCase>('key-schedule')
  if (cases === undefined) return
  for (const entry of ofSuiteOne(cases)) {
    let init = hex(entry.initial_init_secret)
    for (const epoch of entry.epochs) {
      const at = (name: ScheduleSecret): Bytes => hex(epoch[name])
      const context = at('group_context')
      const joiner = schedule.deriveFromCommit(ourSuite, init, at('commit_secret'), context).joiner
      assert.equal(joiner, at('joiner_secret'))
      const member = primitives.hmacSha256(joiner, at('psk_secret'))
      const epochSecret = ourSuite.expandWithLabel(member, 'epoch', context, HASH_BYTES)
      const derived = schedule.deriveFromEpochSecret(ourSuite, epochSecret)
      assert.equal(derived, {
        secrets: {
          senderData: at('sender_data_secret'),
          exporter: at('exporter_secret'),
          external: at('external_secret'),
          membership: at('membership_key'),
          authenticator: at('epoch_authenticator'),
          init: at('init_secret'),
        },
        confirmation: at('confirmation_key'),
        encryption: at('encryption_secret'),
      })
      const { label, context: about, length, secret } = epoch.exporter
      const { exporter, external } = derived.secrets
      const exported = schedule.exportSecret(ourSuite, exporter, label, hex(about), length)
      assert.equal(exported, hex(secret))
      assert.equal(ourSuite.hpke.deriveKeyPair(external).publicKey, at('external_pub'))
      init = at('init_secret')
    }
    assert.is(entry.epochs.length, 5)
    tally.ran('key-schedule', 1, 'joiner_secret', 'secrets of an epoch', 'external_pub', 'exporter')
  }
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
  tally.ran('transcript-hashes', 1, 'confirmed', 'interim', 'confirmation_tag')
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
  const encoded = encodeFramedContent(content)
  const assembled = framing.assembleCommit(encoded, signature, confirmationTag, tag)
  assert.equal(assembled, hex(entry.commit_pub))
  const key = hex(entry.signature_pub)
  assert.ok(ourSuite.verifyWithLabel(key, 'FramedContentTBS', signed, signature))
  const made = 'application protected here'
  tally.ran('message-protection', 1, 'commit_pub', 'application_priv', made)
})

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
  const derived = schedule.deriveFromJoiner(ourSuite, joiner, encodeGroupContext(context))
  const tag = primitives.hmacSha256(derived.confirmation, context.confirmedTranscriptHash)
  assert.equal(tag, confirmationTag)
  const tbs = (bytes ?? NONE).subarray(0, (bytes ?? NONE).length - vec(signature).length)
  assert.ok(ourSuite.verifyWithLabel(hex(entry.signer_pub), 'GroupInfoTBS', tbs, signature))
  tally.ran('welcome', 1, 'group_secrets', 'signature', 'confirmation_tag')
})

/** Trees are in group.mls-trees.test.ts; strict decoding, which is the engine's own, in group.mls-passive.test.ts. */
const ELSEWHERE = ['messages', 'tree-math', 'tree-operations', 'tree-validation', 'treekem']

test('every case of the ledger has run', () =>
  tally.settle(Object.keys(LEDGER).filter((file) => !ELSEWHERE.includes(file))))

test.run()
