// What the engine is made of, where its own suite does not reach: HPKE's refusals, credentials, rows.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerOfLeaf, toCredential } from '../../protocols/group/mls/credential.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import { makeHpke } from '../../protocols/group/mls/keys/hpke.ts'
import { GENERATION_JUMP_MAX } from '../../protocols/group/mls-engine.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { Room, codeOf, flipped, must } from '../support/mls-room.ts'
import { rejects } from '../support/rejects.ts'
import { seededBytes, seededPeer } from '../support/seeded.ts'

const test = suite('group · engine parts')
const NONE = new Uint8Array(0)

for (const [name, primitives] of Object.entries({ native, portable })) {
  test(`HPKE seals to good keys only: ${name}`, () => {
    const hpke = makeHpke(primitives, seededBytes('hpke'))
    const pair = hpke.generateKeyPair()
    const [info, ad] = [utf8('info'), utf8('ad')]
    const sealed = hpke.seal(pair.publicKey, info, ad, utf8('hello'))
    assert.ok(sealed)
    const { enc, ciphertext } = sealed
    assert.equal(hpke.open(pair, enc, info, ad, ciphertext), utf8('hello'))
    const wrong: [Bytes, Bytes, Bytes, Bytes][] = [
      [enc.subarray(1), info, ad, ciphertext],
      [new Uint8Array(32), info, ad, ciphertext],
      [enc, utf8('Info'), ad, ciphertext],
      [enc, info, utf8('Ad'), ciphertext],
      [enc, info, ad, flipped(ciphertext, 0)],
      [enc, info, ad, NONE],
    ]
    for (const parts of wrong) assert.is(hpke.open(pair, ...parts), undefined)
    // RFC 7748 §6.1: u = 0 and u = 1 give the all-zero secret.
    for (const bad of [new Uint8Array(32), Uint8Array.of(1, ...new Uint8Array(31)), NONE]) {
      assert.not(hpke.isUsable(bad))
      assert.is(hpke.seal(bad, info, ad, NONE), undefined)
      assert.is(hpke.sendExport(bad, info, 32), undefined)
      assert.is(hpke.receiveExport(pair, bad, info, 32), undefined)
    }
  })

  test(`HPKE exports the same secret on both sides: ${name}`, () => {
    const hpke = makeHpke(primitives, seededBytes('export'))
    const pair = hpke.deriveKeyPair(utf8('some secret of enough length ...'))
    const sent = hpke.sendExport(pair.publicKey, utf8('context'), 48)
    assert.is(sent?.secret.length, 48)
    const received = hpke.receiveExport(pair, sent?.enc ?? NONE, utf8('context'), 48)
    assert.equal(received, sent?.secret)
  })
}

test('a leaf is a peer only by the key inside its peer ID', () => {
  const { peer, secret } = seededPeer('alice')
  const signaturePublicKey = native.signPublic(secret)
  const credential = toCredential(peer)
  assert.is(peerOfLeaf({ credential, signaturePublicKey }), peer)
  const others = [
    { credential, signaturePublicKey: native.signPublic(seededPeer('bob').secret) },
    { credential: toCredential(seededPeer('bob').peer), signaturePublicKey },
    {
      credential: { credentialType: 'basic' as const, identity: utf8('alice') },
      signaturePublicKey,
    },
    { credential: { credentialType: 'x509' as const, certificates: [] }, signaturePublicKey },
  ]
  for (const other of others) assert.is(peerOfLeaf(other), undefined)
})

test('a checkpoint keeps the Welcomes: they can still be sent after a crash', async () => {
  const engine = makeMlsEngine({ primitives: native, random: seededBytes('welcomes') })
  const room = await Room.of(engine, 'alice')
  const own = [await room.keyPackage('bob'), await room.keyPackage('carol')]
  const adds = own.map(({ keyPackage }) => ({ kind: 'add' as const, keyPackage }))
  const pending = await room.propose('alice', ...adds)
  const tree = engine.tree(pending.child)
  const resumed = await engine.resume(engine.checkpoint(pending), tree, Room.peer('alice'))
  assert.equal(resumed.welcomes, pending.welcomes)
  const [, toCarol] = resumed.welcomes
  const join = { welcome: toCarol?.welcome ?? NONE, secret: own[1]?.secret ?? NONE, tree }
  const carol = must(await engine.join({ ...join, self: Room.peer('carol') }))
  assert.equal(engine.info(carol).authenticator, engine.info(resumed.child).authenticator)
})

test('the one long jump of an epoch is not forgotten by a restart', async () => {
  const engine = makeMlsEngine({ primitives: native, random: seededBytes('jump') })
  const room = await Room.of(engine, 'alice', 'bob')
  const sent: Bytes[] = []
  let alice = room.at('alice')
  for (let i = 0; i <= 2 * GENERATION_JUMP_MAX + 3; i++) {
    const sealed = await engine.seal(alice, NONE, NONE)
    engine.dispose(alice)
    alice = sealed.next
    sent.push(sealed.message)
  }
  const at = (generation: number): Bytes => sent[generation] ?? NONE
  const jumped = must(await engine.open(room.at('bob'), at(GENERATION_JUMP_MAX + 1))).next
  const [snapshot, tree] = [engine.snapshot(jumped, 'full'), engine.tree(jumped)]
  const bob = await engine.restore(snapshot, tree, Room.peer('bob'))
  const tooFar = await engine.open(bob, at(2 * GENERATION_JUMP_MAX + 3))
  assert.is(codeOf(tooFar), 'GROUP_TOO_FAR_AHEAD')
  must(await engine.open(bob, at(2 * GENERATION_JUMP_MAX + 2)))
  must(await engine.open(bob, at(GENERATION_JUMP_MAX)))
})

test('a damaged private KeyPackage throws: it is an own row', async () => {
  const engine = makeMlsEngine({ primitives: native, random: seededBytes('row') })
  const room = await Room.of(engine, 'alice')
  const own = await room.keyPackage('bob')
  const pending = await room.propose('alice', { kind: 'add', keyPackage: own.keyPackage })
  const welcome = pending.welcomes[0]?.welcome ?? NONE
  const tree = engine.tree(pending.child)
  const self = Room.peer('bob')
  // Octet 68 is the protocol version of the KeyPackage inside.
  const damaged = [
    NONE,
    flipped(own.secret, 0),
    own.secret.subarray(0, 90),
    flipped(own.secret, 68),
  ]
  for (const secret of damaged) {
    await rejects(engine.join({ welcome, secret, tree, self }), 'STORE_CORRUPT')
  }
  const foreign = flipped(own.secret, 5)
  const joined = await engine.join({ welcome, secret: foreign, tree, self })
  assert.is(codeOf(joined), 'GROUP_COMMIT_INVALID')
})

test.run()
