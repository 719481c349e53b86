// The MLS working group's passive clients and messages against the entry points of ts-mls: cipher suite 1 over our
// Primitives, the others with the library's own provider (see group.mls-package.test.ts).
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  acceptAll,
  bytesToBase64,
  decodeMlsMessage,
  emptyPskIndex,
  encodeMlsMessage,
  joinGroup,
  makePskIndex,
  processMessage,
} from 'ts-mls'
import type { CiphersuiteImpl, ClientState } from 'ts-mls'
import { decodeCommit, encodeCommit } from 'ts-mls/commit.js'
import { decodeGroupSecrets, encodeGroupSecrets } from 'ts-mls/groupSecrets.js'
import * as proposals from 'ts-mls/proposal.js'
import * as ratchetTrees from 'ts-mls/ratchetTree.js'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { decodeStrictly } from '../../protocols/group/mls/messages/codec.ts'
import { Tally } from '../support/mls-ledger.ts'
import { given, hex, mlsVectors, runOverPackage } from '../support/mls-vectors.ts'
import type { OfSuite, PackageCheck } from '../support/mls-vectors.ts'

const test = suite('group · mls passive clients over ts-mls')
const NONE = new Uint8Array(0)
const tally = new Tally('ts-mls')

interface PassiveCase extends OfSuite {
  external_psks: { psk_id: string; psk: string }[]
  key_package: string
  signature_priv: string
  encryption_priv: string
  init_priv: string
  welcome: string
  ratchet_tree: string | null
  initial_epoch_authenticator: string
  epochs: { proposals: string[]; commit: string; epoch_authenticator: string }[]
}

async function feed(
  state: ClientState,
  text: string,
  psks: Record<string, Bytes>,
  impl: CiphersuiteImpl,
): Promise<ClientState> {
  const message = given(decodeMlsMessage(hex(text), 0))[0]
  const { wireformat } = message
  assert.ok(wireformat === 'mls_public_message' || wireformat === 'mls_private_message')
  const index = makePskIndex(state, psks)
  return (await processMessage(message, state, index, acceptAll, impl)).newState
}

const followPassively: PackageCheck<PassiveCase> = async (entry, impl, did) => {
  const package_ = given(decodeMlsMessage(hex(entry.key_package), 0))[0]
  const message = given(decodeMlsMessage(hex(entry.welcome), 0))[0]
  assert.ok(package_.wireformat === 'mls_key_package' && message.wireformat === 'mls_welcome')
  const psks = Object.fromEntries(
    entry.external_psks.map(({ psk_id: id, psk }) => [bytesToBase64(hex(id)), hex(psk)]),
  )
  const tree = entry.ratchet_tree
  let state = await joinGroup(
    message.welcome,
    package_.keyPackage,
    {
      initPrivateKey: hex(entry.init_priv),
      hpkePrivateKey: hex(entry.encryption_priv),
      signaturePrivateKey: hex(entry.signature_priv),
    },
    entry.external_psks.length === 0 ? emptyPskIndex : makePskIndex(undefined, psks),
    impl,
    tree === null ? undefined : given(ratchetTrees.decodeRatchetTree(hex(tree), 0))[0],
  )
  assert.equal(state.keySchedule.epochAuthenticator, hex(entry.initial_epoch_authenticator))
  for (const epoch of entry.epochs) {
    for (const proposal of epoch.proposals) state = await feed(state, proposal, psks, impl)
    state = await feed(state, epoch.commit, psks, impl)
    assert.equal(state.keySchedule.epochAuthenticator, hex(epoch.epoch_authenticator))
  }
  did('whole client')
}

const CLIENTS = [
  'passive-client-welcome',
  'passive-client-handling-commit',
  'passive-client-random',
]
for (const file of CLIENTS) test(file, () => runOverPackage(tally, file, followPassively))

test('messages: 300 cases of 17 structures survive strict decoding', () => {
  const cases = mlsVectors<Record<string, string>>('messages')
  const message = (bytes: Bytes) => decodeStrictly(decodeMlsMessage, encodeMlsMessage, bytes)
  const { decodeRatchetTree, encodeRatchetTree } = ratchetTrees
  const p = proposals
  const codecs: Record<string, (bytes: Bytes) => unknown> = {
    mls_welcome: message,
    mls_group_info: message,
    mls_key_package: message,
    ratchet_tree: (b) => decodeStrictly(decodeRatchetTree, encodeRatchetTree, b),
    group_secrets: (b) => decodeStrictly(decodeGroupSecrets, encodeGroupSecrets, b),
    add_proposal: (b) => decodeStrictly(p.decodeAdd, p.encodeAdd, b),
    update_proposal: (b) => decodeStrictly(p.decodeUpdate, p.encodeUpdate, b),
    remove_proposal: (b) => decodeStrictly(p.decodeRemove, p.encodeRemove, b),
    pre_shared_key_proposal: (b) => decodeStrictly(p.decodePSK, p.encodePSK, b),
    re_init_proposal: (b) => decodeStrictly(p.decodeReinit, p.encodeReinit, b),
    external_init_proposal: (b) => decodeStrictly(p.decodeExternalInit, p.encodeExternalInit, b),
    group_context_extensions_proposal: (b) =>
      decodeStrictly(p.decodeGroupContextExtensions, p.encodeGroupContextExtensions, b),
    commit: (b) => decodeStrictly(decodeCommit, encodeCommit, b),
    public_message_application: message,
    public_message_proposal: message,
    public_message_commit: message,
    private_message: message,
  }
  for (const entry of cases ?? []) {
    for (const [name, text] of Object.entries(entry)) {
      given(codecs[name])(hex(text))
      tally.ran('messages', 0, name)
    }
  }
  assert.throws(() => message(NONE))
})

test('every case of the ledger has run', () => tally.settle([...CLIENTS, 'messages']))

test.run()
