// The engine beside ts-mls's own client in one group, as a peer and as a liar.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeMlsMessage, joinGroupExternal } from 'ts-mls'
import type { CiphersuiteImpl, Proposal } from 'ts-mls'
import { equalBytes, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import { decodeMessage, decodeTree } from '../../protocols/group/mls/messages/codec.ts'
import * as keyPackages from '../../protocols/group/mls/messages/key-package.ts'
import { POLICY_EXTENSION } from '../../protocols/group/mls-engine.ts'
import type { MlsEngine } from '../../protocols/group/mls-engine.ts'
import { native } from '../../src/crypto/native.ts'
import { NOW, Room, advance, codeOf, must } from '../support/mls-room.ts'
import { Outsider, outsideImpl, outsideKeyPackage, outsideSuite } from '../support/mls-outsider.ts'
import { seededBytes, seededPeer } from '../support/seeded.ts'

const test = suite('group · engine interop')
const NONE = new Uint8Array(0)

function engineOf(seed: string): MlsEngine {
  return makeMlsEngine({ primitives: native, random: seededBytes(seed) })
}

/** A room and ts-mls's client `tina` in it. */
async function mixed(seed: string): Promise<{ room: Room; tina: Outsider }> {
  const room = await Room.of(engineOf(seed), 'alice', 'bob', 'carol')
  const own = await outsideKeyPackage('tina')
  const pending = await room.commit('alice', { kind: 'add', keyPackage: own.message })
  const welcome = pending.welcomes[0]?.welcome ?? NONE
  const tina = await Outsider.join(welcome, room.engine.tree(pending.child), own)
  return { room, tina }
}

function sameEpoch(room: Room, tina: Outsider): void {
  room.agree()
  const [epoch] = [...room.members.values()]
  assert.ok(epoch)
  assert.equal(tina.authenticator, room.engine.info(epoch).authenticator)
}

/** Everybody in the room follows a commit of Tina's. */
async function follow(room: Room, commit: Bytes): Promise<void> {
  for (const [name, epoch] of [...room.members]) {
    const processed = must(await room.engine.process(epoch, commit))
    if (processed.kind === 'removed') room.members.delete(name)
    else room.members.set(name, advance(processed))
  }
}

test('ts-mls joins by our Welcome and follows our rekeys, adds, removes and policies', async () => {
  const { room, tina } = await mixed('joins')
  sameEpoch(room, tina)
  const commits = [
    async () => room.commit('bob'),
    async () => room.add('carol', 'dave', 'erin'),
    async () => room.commit('dave'),
    async () => room.commit('alice', { kind: 'remove', peer: Room.peer('bob').peer }),
    async () => room.commit('carol', { kind: 'policy', policy: Uint8Array.of(7) }),
    async () => room.resync('erin', 'alice'),
  ]
  for (const act of commits) {
    await tina.follow((await act()).commit)
    sameEpoch(room, tina)
  }
})

test('we follow rekeys and removes of ts-mls', async () => {
  const { room, tina } = await mixed('follows')
  await follow(room, await tina.commit())
  sameEpoch(room, tina)
  const remove: Proposal = { proposalType: 'remove', remove: { removed: 1 } }
  await follow(room, await tina.commit(remove))
  assert.not(room.members.has('bob'))
  sameEpoch(room, tina)
  await tina.follow((await room.commit('carol')).commit)
  sameEpoch(room, tina)
})

test('application messages pass both ways', async () => {
  const { room, tina } = await mixed('talks')
  const { engine } = room
  for (const text of ['one', 'two']) {
    const opened = must(await engine.open(room.at('alice'), await tina.seal(utf8(text))))
    assert.equal([opened.plaintext, opened.sender], [utf8(text), seededPeer('tina').peer])
    room.members.set('alice', opened.next)
    const sealed = await engine.seal(room.at('bob'), utf8(text), NONE)
    room.members.set('bob', sealed.next)
    assert.equal(await tina.open(sealed.message), utf8(text))
  }
})

test('ts-mls resyncs through our GroupInfo, whose external_pub has its length in front', async () => {
  const { room, tina } = await mixed('external')
  const { engine } = room
  const bytes = await engine.groupInfo(room.at('alice'))
  const { groupInfo } = decodeMessage('mls_group_info', bytes)
  const own = await outsideKeyPackage('tina')
  // ts-mls passes external_pub on as it is: strip the length for it.
  const { hpke } = outsideImpl
  const importPublicKey = (key: Bytes) =>
    hpke.importPublicKey(key.length === 33 ? key.subarray(1) : key)
  const impl: CiphersuiteImpl = { ...outsideImpl, hpke: { ...hpke, importPublicKey } }
  const tree = decodeTree(engine.tree(room.at('alice'))).nodes
  const { publicPackage, privatePackage } = own
  const joined = await joinGroupExternal(groupInfo, publicPackage, privatePackage, true, impl, tree)
  const { publicMessage } = joined
  const message = { version: 'mls10', wireformat: 'mls_public_message', publicMessage } as const
  await follow(room, encodeMlsMessage(message))
  tina.state = joined.newState
  sameEpoch(room, tina)
})

test('a commit without path is refused, though RFC 9420 would let an Add pass', async () => {
  const { room, tina } = await mixed('no path')
  const { publicPackage: keyPackage } = await outsideKeyPackage('dave')
  const commit = await tina.commit({ proposalType: 'add', add: { keyPackage } })
  assert.is(codeOf(await room.engine.process(room.at('bob'), commit)), 'GROUP_COMMIT_INVALID')
})

test('a KeyPackage whose signature key is not that of its peer ID is refused everywhere', async () => {
  const { room, tina } = await mixed('false credential')
  const mallory = seededPeer('mallory')
  const fake = await outsideKeyPackage('dave', mallory)
  const { engine } = room
  assert.is(codeOf(await engine.readKeyPackage(fake.message)), 'GROUP_COMMIT_INVALID')
  const proposals = [{ kind: 'add', keyPackage: fake.message }] as const
  const own = await engine.commit(room.at('alice'), { proposals, nowMs: NOW })
  assert.is(codeOf(own), 'GROUP_COMMIT_INVALID')
  const add: Proposal = { proposalType: 'add', add: { keyPackage: fake.publicPackage } }
  const remove: Proposal = { proposalType: 'remove', remove: { removed: 1 } }
  const commit = await tina.commit(remove, add)
  assert.is(codeOf(await engine.process(room.at('alice'), commit)), 'GROUP_COMMIT_INVALID')
})

test('several bad Adds in one commit are one refusal, and nothing else goes wrong', async () => {
  const { room, tina } = await mixed('two bad')
  const fakes = [
    await outsideKeyPackage('dave', seededPeer('mallory')),
    await outsideKeyPackage('erin', seededPeer('max')),
  ]
  const failures: unknown[] = []
  const note = (reason: unknown) => failures.push(reason)
  process.on('unhandledRejection', note)
  const proposals = fakes.map(({ message }) => ({ kind: 'add' as const, keyPackage: message }))
  const own = await room.engine.commit(room.at('alice'), { proposals, nowMs: NOW })
  assert.is(codeOf(own), 'GROUP_COMMIT_INVALID')
  const remove: Proposal = { proposalType: 'remove', remove: { removed: 2 } }
  const adds = fakes.map(({ publicPackage: keyPackage }): Proposal => ({
    proposalType: 'add',
    add: { keyPackage },
  }))
  const commit = await tina.commit(remove, ...adds)
  const answer = await room.engine.process(room.at('alice'), commit)
  assert.is(codeOf(answer), 'GROUP_COMMIT_INVALID')
  await new Promise((resolve) => setTimeout(resolve, 10))
  process.off('unhandledRejection', note)
  assert.equal(failures, [])
})

test('an Add whose keys nothing can be sealed to is refused', async () => {
  const room = await Room.of(engineOf('low order'), 'alice', 'bob')
  const { engine } = room
  const self = seededPeer('carol')
  for (const at of [0, 1]) {
    let made = 0
    const hpke = {
      ...outsideSuite.hpke,
      generateKeyPair: () => {
        const pair = outsideSuite.hpke.generateKeyPair()
        return made++ === at ? { ...pair, publicKey: new Uint8Array(32) } : pair
      },
    }
    const own = keyPackages.makeKeyPackage({ ...outsideSuite, hpke }, self, NOW, false)
    const keyPackage = keyPackages.encodeKeyPackageMessage(own.keyPackage)
    const proposals = [{ kind: 'add', keyPackage }] as const
    const answer = await engine.commit(room.at('alice'), { proposals, nowMs: NOW })
    assert.is(codeOf(answer), 'GROUP_COMMIT_INVALID')
  }
})

test('an Add that repeats an HPKE key of the tree is refused', async () => {
  const room = await Room.of(engineOf('same key'), 'alice', 'bob')
  const { engine } = room
  const taken = decodeTree(engine.tree(room.at('alice'))).nodes[2]
  assert.ok(taken?.nodeType === 'leaf')
  const { hpkePublicKey: publicKey } = taken.leaf
  let made = 0
  const hpke = {
    ...outsideSuite.hpke,
    generateKeyPair: () => {
      const pair = outsideSuite.hpke.generateKeyPair()
      return made++ === 1 ? { ...pair, publicKey } : pair
    },
  }
  const own = keyPackages.makeKeyPackage({ ...outsideSuite, hpke }, seededPeer('carol'), NOW, false)
  const proposals = [{ kind: 'add', keyPackage: keyPackages.encodeOwn(own).keyPackage }] as const
  const answer = await engine.commit(room.at('alice'), { proposals, nowMs: NOW })
  assert.is(codeOf(answer), 'GROUP_COMMIT_INVALID')
})

test('the policy is extension 0xF0C1 of the GroupContext, and nothing may stand beside it', async () => {
  const { room, tina } = await mixed('extensions')
  const { extensions } = tina.state.groupContext
  const policy = extensions.find(({ extensionType }) => extensionType === POLICY_EXTENSION)
  assert.ok(policy && equalBytes(policy.extensionData, Uint8Array.of(1, 2, 3)))
  const remove: Proposal = { proposalType: 'remove', remove: { removed: 2 } }
  const groupContextExtensions = {
    extensions: [...extensions, { extensionType: 0xf0c2, extensionData: NONE }],
  }
  const set: Proposal = { proposalType: 'group_context_extensions', groupContextExtensions }
  const commit = await tina.commit(remove, set)
  const answer = await room.engine.process(room.at('alice'), commit)
  assert.is(codeOf(answer), 'GROUP_COMMIT_INVALID')
})

test('proposals outside the profile are refused: by reference, of unknown kinds', async () => {
  const { room, tina } = await mixed('outside')
  const remove: Proposal = { proposalType: 'remove', remove: { removed: 2 } }
  const before = tina.state
  const unknown = await tina.commit(remove, { proposalType: 0xf0ff, proposalData: NONE })
  tina.state = before
  await tina.propose(remove)
  const byReference = await tina.commit()
  for (const commit of [unknown, byReference]) {
    const answer = await room.engine.process(room.at('alice'), commit)
    assert.is(codeOf(answer), 'GROUP_COMMIT_INVALID')
  }
})

test('a leaf extension must be among the capabilities; endless lifetimes stay numbers', async () => {
  const engine = engineOf('leaf')
  const self = seededPeer('dave')
  const extensions = [{ extensionType: 0xf0c3, extensionData: NONE }]
  const odd = await outsideKeyPackage('dave', self, { extensions })
  assert.is(codeOf(await engine.readKeyPackage(odd.message)), 'GROUP_COMMIT_INVALID')
  const listed = [{ extensionType: POLICY_EXTENSION, extensionData: NONE }]
  const notAfter = 0xffff_ffff_ffff_ffffn
  const endless = await outsideKeyPackage('dave', self, { extensions: listed, notAfter })
  const facts = must(await engine.readKeyPackage(endless.message))
  assert.ok(Number.isSafeInteger(facts.notAfterMs) && facts.notAfterMs > NOW)
})

test.run()
