// What every MLS engine does with its rows, with returners, and with strangers' bytes: part of `engineConformance`.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../protocols/base/bytes.ts'
import type { MlsEngine } from '../../protocols/group/mls-engine.ts'
import { NOW, Room, advance, codeOf, flipped, must } from '../support/mls-room.ts'
import { rejects } from '../support/rejects.ts'

const NONE = new Uint8Array(0)

/** Snapshots and checkpoints. */
export function engineKeeping(title: string, makeEngine: (seed: string) => MlsEngine): void {
  const test = suite(title)

  test('a full snapshot goes on where it was: no key twice, none lost', async () => {
    const room = await Room.of(makeEngine('full'), 'alice', 'bob')
    const { engine } = room
    const first = await engine.seal(room.at('alice'), utf8('1'), NONE)
    const second = await engine.seal(first.next, utf8('2'), NONE)
    const skipped = must(await engine.open(room.at('bob'), second.message)).next
    const tree = engine.tree(skipped)
    const bob = await engine.restore(engine.snapshot(skipped, 'full'), tree, Room.peer('bob'))
    assert.is(codeOf(await engine.open(bob, second.message)), 'GROUP_CONSUMED')
    assert.equal(must(await engine.open(bob, first.message)).plaintext, utf8('1'))
    const shot = engine.snapshot(second.next, 'full')
    const alice = await engine.restore(shot, tree, Room.peer('alice'))
    assert.is((await engine.seal(alice, utf8('3'), NONE)).generation, 2)
    assert.equal(engine.snapshot(alice, 'full'), shot)
  })

  test('a stripped snapshot follows commits and exports, and opens and seals nothing', async () => {
    const room = await Room.of(makeEngine('stripped'), 'alice', 'bob', 'carol')
    const { engine } = room
    const full = engine.snapshot(room.at('bob'), 'full')
    const stripped = engine.snapshot(room.at('bob'), 'stripped')
    assert.ok(stripped.length < full.length)
    const bob = await engine.restore(stripped, engine.tree(room.at('bob')), Room.peer('bob'))
    assert.equal(engine.info(bob), engine.info(room.at('bob')))
    const exported = await engine.export(room.at('bob'), 'x', NONE, 16)
    assert.equal(await engine.export(bob, 'x', NONE, 16), exported)
    const sealed = await engine.seal(room.at('alice'), utf8('old'), NONE)
    assert.is(codeOf(await engine.open(bob, sealed.message)), 'GROUP_EPOCH_UNKNOWN')
    await rejects(engine.seal(bob, utf8('no'), NONE), 'GROUP_EPOCH_UNKNOWN')
    const pending = await room.propose('alice')
    const child = advance(must(await engine.process(bob, pending.commit)))
    const fresh = await engine.seal(pending.child, utf8('new'), NONE)
    assert.equal(must(await engine.open(child, fresh.message)).plaintext, utf8('new'))
    assert.equal(engine.snapshot(bob, 'full'), stripped)
  })

  test('a snapshot goes with its tree and its member, and damage is found', async () => {
    const room = await Room.of(makeEngine('damage'), 'alice', 'bob')
    const { engine } = room
    const snapshot = engine.snapshot(room.at('bob'), 'full')
    const tree = engine.tree(room.at('bob'))
    const bob = Room.peer('bob')
    const later = engine.tree((await room.propose('alice')).child)
    const corrupt = (work: Promise<unknown>) => rejects(work, 'STORE_CORRUPT')
    await corrupt(engine.restore(snapshot, later, bob))
    await corrupt(engine.restore(snapshot, tree, Room.peer('alice')))
    await corrupt(engine.restore(flipped(snapshot, 0), tree, bob))
    for (let length = 0; length < snapshot.length; length += 7) {
      await corrupt(engine.restore(snapshot.subarray(0, length), tree, bob))
    }
    const pending = await room.propose('bob')
    const checkpoint = engine.checkpoint(pending)
    await corrupt(engine.resume(checkpoint, tree, bob))
    for (let length = 0; length < checkpoint.length; length += 101) {
      await corrupt(engine.resume(checkpoint.subarray(0, length), later, bob))
    }
  })

  test('handles print nothing', async () => {
    const room = await Room.of(makeEngine('print'), 'alice')
    assert.is(JSON.stringify(room.at('alice')), '"[epoch]"')
    assert.equal(Object.keys(room.at('alice')), [])
  })

  test('the same seed makes the same bytes', async () => {
    const history = async () => {
      const room = await Room.of(makeEngine('twin'), 'alice', 'bob')
      const sealed = await room.engine.seal(room.at('bob'), utf8('same'), NONE)
      return [room.last?.commit, room.last?.welcomes, sealed.message]
    }
    assert.equal(await history(), await history())
  })

  test.run()
}

/** External commits. */
export function engineResync(title: string, makeEngine: (seed: string) => MlsEngine): void {
  const test = suite(title)

  test('a member replaces its leaf from outside, and everybody follows', async () => {
    const room = await Room.of(makeEngine('resync'), 'alice', 'bob', 'carol', 'dave')
    const { engine } = room
    const old = room.at('bob')
    const groupInfo = await engine.groupInfo(room.at('carol'))
    const facts = must(engine.readGroupInfo(groupInfo))
    const info = engine.info(room.at('alice'))
    assert.equal(facts.groupInfoHash, info.groupInfoHash)
    assert.equal([facts.treeHash, facts.policy, facts.epoch], [info.treeHash, info.policy, 1])
    const tree = engine.tree(room.at('carol'))
    const self = Room.peer('bob')
    const pending = must(await engine.externalJoin({ groupInfo, tree, self, nowMs: NOW }))
    assert.equal(pending.welcomes, [])
    const processed = must(await engine.process(room.at('alice'), pending.commit))
    const expected = { kind: 'external', committer: self.peer, committerLeaf: 1 }
    assert.equal(processed.content, { ...expected, adds: [], removes: [] })
    assert.is(must(await engine.process(old, pending.commit)).kind, 'removed')
    await room.adopt('bob', pending)
    room.agree()
    await room.talk('bob', 'again with you')
    await room.commit('dave')
    room.agree()
  })

  test('a resync is checkpointed like any commit', async () => {
    const room = await Room.of(makeEngine('resync checkpoint'), 'alice', 'bob')
    const { engine } = room
    const groupInfo = await engine.groupInfo(room.at('alice'))
    const tree = engine.tree(room.at('alice'))
    const self = Room.peer('bob')
    const pending = must(await engine.externalJoin({ groupInfo, tree, self, nowMs: NOW }))
    const saved = engine.checkpoint(pending)
    const resumed = await engine.resume(saved, engine.tree(pending.child), self)
    await room.adopt('bob', resumed)
    room.agree()
  })

  test('who has no leaf cannot resync', async () => {
    const room = await Room.of(makeEngine('no leaf'), 'alice', 'bob')
    const { engine } = room
    const groupInfo = await engine.groupInfo(room.at('alice'))
    const tree = engine.tree(room.at('alice'))
    const self = Room.peer('mallory')
    const answer = await engine.externalJoin({ groupInfo, tree, self, nowMs: NOW })
    assert.is(codeOf(answer), 'GROUP_NOT_MEMBER')
  })

  test('a GroupInfo with any octet changed is refused', async () => {
    const room = await Room.of(makeEngine('false info'), 'alice', 'bob')
    const { engine } = room
    const groupInfo = await engine.groupInfo(room.at('alice'))
    const tree = engine.tree(room.at('alice'))
    const self = Room.peer('bob')
    for (let at = 0; at < groupInfo.length; at++) {
      const altered = flipped(groupInfo, at, at % 8)
      const answer = await engine.externalJoin({ groupInfo: altered, tree, self, nowMs: NOW })
      assert.not(answer.ok, `octet ${String(at)}`)
    }
  })

  test.run()
}

/** Altered and misplaced bytes. */
export function engineStrangers(title: string, makeEngine: (seed: string) => MlsEngine): void {
  const test = suite(title)

  test('a commit with any octet changed or missing is refused', async () => {
    const room = await Room.of(makeEngine('altered'), 'alice', 'bob', 'carol')
    const { engine } = room
    const dave = await room.keyPackage('dave')
    const add = { kind: 'add', keyPackage: dave.keyPackage } as const
    const { commit } = await room.propose('alice', add)
    const bob = room.at('bob')
    for (let at = 0; at < commit.length; at += 2) {
      assert.not((await engine.process(bob, flipped(commit, at, at % 8))).ok, `octet ${String(at)}`)
    }
    for (let length = 0; length < commit.length; length += 5) {
      assert.not((await engine.process(bob, commit.subarray(0, length))).ok)
    }
    assert.not((await engine.process(bob, Uint8Array.of(...commit, 0))).ok)
    must(await engine.process(bob, commit))
  })

  test('a KeyPackage, a Welcome and a tree with any octet changed are refused', async () => {
    const room = await Room.of(makeEngine('altered 2'), 'alice', 'bob')
    const { engine } = room
    const carol = await room.keyPackage('carol')
    for (let at = 0; at < carol.keyPackage.length; at++) {
      assert.not((await engine.readKeyPackage(flipped(carol.keyPackage, at, at % 8))).ok)
      assert.not((await engine.readKeyPackage(carol.keyPackage.subarray(0, at))).ok)
    }
    const pending = await room.commit('alice', { kind: 'add', keyPackage: carol.keyPackage })
    const welcome = pending.welcomes[0]?.welcome ?? NONE
    const tree = engine.tree(pending.child)
    const join = { welcome, secret: carol.secret, tree, self: Room.peer('carol') }
    for (let at = 0; at < welcome.length; at++) {
      const altered = { ...join, welcome: flipped(welcome, at, at % 8) }
      assert.not((await engine.join(altered)).ok, `welcome ${String(at)}`)
    }
    for (let at = 0; at < tree.length; at += 3) {
      const altered = { ...join, tree: flipped(tree, at, at % 8) }
      assert.not((await engine.join(altered)).ok, `tree ${String(at)}`)
    }
    must(await engine.join(join))
  })

  test('messages of the wrong kind are refused, not thrown', async () => {
    const room = await Room.of(makeEngine('kinds'), 'alice', 'bob')
    const { engine } = room
    const bob = room.at('bob')
    const { commit } = await room.propose('alice')
    const { message } = await engine.seal(room.at('alice'), utf8('x'), NONE)
    const { keyPackage } = await room.keyPackage('carol')
    const groupInfo = await engine.groupInfo(bob)
    for (const bytes of [message, keyPackage, groupInfo, NONE]) {
      assert.is(codeOf(await engine.process(bob, bytes)), 'GROUP_COMMIT_INVALID')
    }
    for (const bytes of [commit, keyPackage, groupInfo, NONE]) {
      assert.is(codeOf(await engine.open(bob, bytes)), 'GROUP_OPEN_FAILED')
    }
    assert.not(engine.readGroupInfo(commit).ok)
    assert.not((await engine.readKeyPackage(commit)).ok)
  })

  test.run()
}
