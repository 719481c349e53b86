// The known traps of ts-mls 1.6.4, T1 to T10 (spec §8), and how the engine stays out of each.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { equalBytes, isZero, makeReader, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import * as secretTrees from '../../protocols/group/mls/keys/secret-tree.ts'
import { decodeMessage, decodeTree } from '../../protocols/group/mls/messages/codec.ts'
import { decodeSnapshot } from '../../protocols/group/mls/snapshot.ts'
import { keyAt, parentAt } from '../../protocols/group/mls/tree/tree.ts'
import type { Tree } from '../../protocols/group/mls/tree/tree.ts'
import { directPathOf, nodeOfLeaf } from '../../protocols/group/mls/tree/tree-math.ts'
import type { MlsEngine, MlsEpoch, Proposal } from '../../protocols/group/mls-engine.ts'
import { readVec } from '../../protocols/group/tls.ts'
import { native } from '../../src/crypto/native.ts'
import { NOW, Room, advance, codeOf, must } from '../support/mls-room.ts'
import { ourSuite } from '../support/mls-vectors.ts'
import { rejects } from '../support/rejects.ts'
import { seededBytes } from '../support/seeded.ts'

const test = suite('group · engine traps')
const NONE = new Uint8Array(0)

function engineOf(seed: string, primitives: Primitives = native): MlsEngine {
  return makeMlsEngine({ primitives, random: seededBytes(seed) })
}

/** How often primitives were asked. */
interface Counts {
  digests: number
  expansions: number
}

function counting(): { primitives: Primitives; counts: Counts } {
  const counts = { digests: 0, expansions: 0 }
  const primitives: Primitives = {
    ...native,
    sha256(...parts) {
      counts.digests++
      return native.sha256(...parts)
    },
    hkdfExpandSha256(prk, info, length) {
      counts.expansions++
      return native.hkdfExpandSha256(prk, info, length)
    },
  }
  return { primitives, counts }
}

/** What a piece of work asked of the primitives. */
async function spent<T>(counts: Counts, work: Promise<T>): Promise<[T, Counts]> {
  const before = { ...counts }
  const value = await work
  const { digests, expansions } = counts
  return [value, { digests: digests - before.digests, expansions: expansions - before.expansions }]
}

/** A group of 1,024: its founder, and its last member's epoch. */
async function large(engine: MlsEngine): Promise<{ alice: MlsEpoch; last: MlsEpoch }> {
  const names = Array.from({ length: 1_023 }, (_, i) => `member ${String(i)}`)
  const room = await Room.of(engine, 'alice')
  const own = await Promise.all(names.map((name) => room.keyPackage(name)))
  const proposals = own.map(({ keyPackage }): Proposal => ({ kind: 'add', keyPackage }))
  const { child, welcomes } = await room.propose('alice', ...proposals)
  const welcome = welcomes[1_022]?.welcome ?? NONE
  const secret = own[1_022]?.secret ?? NONE
  const self = Room.peer('member 1022')
  const tree = engine.tree(child)
  return { alice: child, last: must(await engine.join({ welcome, secret, tree, self })) }
}

test('T1, T2: a commit of one in 1,024 costs log N digests and derivations, not 6 N', async () => {
  const { primitives, counts } = counting()
  const engine = engineOf('large', primitives)
  const { alice, last } = await large(engine)
  const commit = engine.commit(alice, { proposals: [], nowMs: NOW })
  const [made, own] = await spent(counts, commit)
  const pending = must(made)
  const [followed, theirs] = await spent(counts, engine.process(last, pending.commit))
  // Each of the 10 path levels costs one tree and one parent hash; sealing to a still cold tree is extra.
  assert.ok(own.digests < 60 && theirs.digests < 60, JSON.stringify([own, theirs]))
  assert.ok(theirs.expansions < 120, JSON.stringify(theirs))
  const child = advance(must(followed))
  assert.equal(engine.info(child).authenticator, engine.info(pending.child).authenticator)
  const warm = engine.commit(pending.child, { proposals: [], nowMs: NOW })
  const [again, second] = await spent(counts, warm)
  must(again)
  assert.ok(second.digests < 60, JSON.stringify(second))
})

test('T2: restoring builds no secret tree; a message derives only the way to its sender', async () => {
  const { primitives, counts } = counting()
  const engine = engineOf('restores', primitives)
  const names = Array.from({ length: 32 }, (_, i) => `member ${String(i)}`)
  const room = await Room.of(engine, ...names)
  const epoch = room.at('member 9')
  const tree = engine.tree(epoch)
  const self = Room.peer('member 9')
  for (const kind of ['full', 'stripped'] as const) {
    const snapshot = engine.snapshot(epoch, kind)
    const [, restored] = await spent(counts, engine.restore(snapshot, tree, self))
    assert.is(restored.expansions, 0)
  }
  const sealed = await engine.seal(room.at('member 3'), utf8('x'), NONE)
  const [opened, cost] = await spent(counts, engine.open(epoch, sealed.message))
  must(opened)
  assert.ok(cost.expansions <= 20, JSON.stringify(cost))
})

test('T3: external_pub is a vector inside its extension (RFC 9420 §12.4.3.2)', async () => {
  const room = await Room.of(engineOf('t3'), 'alice', 'bob')
  const { engine } = room
  const { groupInfo } = decodeMessage('mls_group_info', await engine.groupInfo(room.at('bob')))
  const [extension, ...others] = groupInfo.extensions
  assert.equal([extension?.extensionType, others.length], ['external_pub', 0])
  const data = extension?.extensionData ?? NONE
  assert.equal([data.length, data[0]], [33, 32])
  const reader = makeReader(data)
  const key = readVec(reader, 32)
  assert.ok(reader.done && key !== undefined && ourSuite.hpke.isUsable(key))
})

test('T4: skipping 199 messages keeps the first readable', async () => {
  const room = await Room.of(engineOf('t4'), 'alice', 'bob')
  const { engine } = room
  const sent: Bytes[] = []
  let alice = room.at('alice')
  for (let i = 0; i < 200; i++) {
    const sealed = await engine.seal(alice, Uint8Array.of(i), NONE)
    engine.dispose(alice)
    alice = sealed.next
    sent.push(sealed.message)
  }
  const last = must(await engine.open(room.at('bob'), sent[199] ?? NONE))
  assert.is(last.generation, 199)
  const first = must(await engine.open(last.next, sent[0] ?? NONE))
  assert.equal(first.plaintext, Uint8Array.of(0))
})

test('T4: one long jump per sender and epoch, and none above 10,000 generations', () => {
  const tree = secretTrees.plantSecretTree(4, new Uint8Array(32).fill(1))
  const take = (from: secretTrees.SecretTree, leaf: number, generation: number) =>
    secretTrees.takeKey(ourSuite, from, leaf, generation)
  const refusedAs = (code: string, run: () => unknown) =>
    assert.throws(run, (error: { code?: unknown }) => error.code === code)
  const far = take(tree, 1, 9_999).tree
  refusedAs('GROUP_TOO_FAR_AHEAD', () => take(tree, 1, 10_001))
  refusedAs('GROUP_TOO_FAR_AHEAD', () => take(far, 1, 11_001))
  take(far, 1, 11_000)
  take(far, 2, 9_999)
  assert.is(take(far, 1, 8_975).generation, 8_975)
  refusedAs('GROUP_CONSUMED', () => take(far, 1, 8_974))
  refusedAs('GROUP_CONSUMED', () => take(far, 1, 9_999))
  const kept = [...far.ratchets.values()].map(({ skipped }) => skipped.size)
  assert.equal(kept, [1_024])
})

test('T4: senders who skip cannot fill the memory of who listens', () => {
  let tree = secretTrees.plantSecretTree(64, new Uint8Array(32).fill(2))
  for (let leaf = 0; leaf < 64; leaf++) {
    ;({ tree } = secretTrees.takeKey(ourSuite, tree, leaf, 1_000))
  }
  let kept = 0
  for (const { skipped } of tree.ratchets.values()) kept += skipped.size
  const bound = secretTrees.SKIPPED_KEYS_MAX + 64 * secretTrees.SKIPPED_SHARE_MIN
  assert.ok(kept <= bound, String(kept))
  const [last] = [...tree.ratchets.values()].slice(-1)
  assert.is(last?.skipped.size, secretTrees.SKIPPED_SHARE_MIN)
})

test('T5: messages of an epoch are opened by its handle, however many follow', async () => {
  const room = await Room.of(engineOf('t5'), 'alice', 'bob')
  const { engine } = room
  const before = room.at('bob')
  const sealed = await engine.seal(room.at('alice'), utf8('late'), NONE)
  for (let i = 0; i < 6; i++) await room.commit('alice')
  assert.is(codeOf(await engine.open(room.at('bob'), sealed.message)), 'GROUP_EPOCH_STALE')
  assert.equal(must(await engine.open(before, sealed.message)).plaintext, utf8('late'))
})

test('T6, T8: a commit made again is another one; its checkpoint is the same after a crash', async () => {
  const room = await Room.of(engineOf('t8'), 'alice', 'bob')
  const { engine } = room
  const [first, second] = [await room.propose('alice'), await room.propose('alice')]
  assert.not(equalBytes(first.commit, second.commit))
  const [saved, tree] = [engine.checkpoint(first), engine.tree(first.child)]
  const rebooted = engineOf('another life')
  const resumed = await rebooted.resume(saved, tree, Room.peer('alice'))
  assert.equal(resumed.commit, first.commit)
  assert.equal(rebooted.checkpoint(resumed), saved)
  const bobs = advance(must(await engine.process(room.at('bob'), resumed.commit)))
  const sealed = await rebooted.seal(resumed.child, utf8('after'), NONE)
  assert.equal(must(await engine.open(bobs, sealed.message)).plaintext, utf8('after'))
})

test('T7: disposing zeroizes what nobody else holds, and only that', () => {
  const root = secretTrees.plantSecretTree(4, new Uint8Array(32).fill(3))
  const first = secretTrees.takeKey(ourSuite, root, 1, 5).tree
  const second = secretTrees.takeKey(ourSuite, first, 1, 6).tree
  const copies = (tree: secretTrees.SecretTree) => [
    ...[...tree.nodes.values()].map(({ secret }) => secret),
    ...[...tree.ratchets.values()].flatMap(({ secret, skipped }) => [secret, ...skipped.values()]),
  ]
  const ownOfFirst = first.ratchets.get(1)?.secret ?? NONE
  secretTrees.disposeSecretTree(first)
  assert.ok(isZero(ownOfFirst))
  for (const secret of [...copies(root), ...copies(second)]) assert.not(isZero(secret))
  secretTrees.takeKey(ourSuite, root, 1, 5)
  const all = [...copies(root), ...copies(second)]
  secretTrees.disposeSecretTree(second)
  assert.ok(isZero(second.ratchets.get(1)?.secret ?? Uint8Array.of(1)))
  assert.ok(all.length > 0)
})

test('T7: a refused message leaves every secret in place', async () => {
  const room = await Room.of(engineOf('t7'), 'alice', 'bob')
  const { engine } = room
  const sealed = await engine.seal(room.at('alice'), utf8('x'), NONE)
  const altered = sealed.message.slice()
  altered[altered.length - 1] = (altered[altered.length - 1] ?? 0) ^ 1
  for (let i = 0; i < 3; i++) {
    assert.is(codeOf(await engine.open(room.at('bob'), altered)), 'GROUP_OPEN_FAILED')
  }
  must(await engine.open(room.at('bob'), sealed.message))
})

test('T9: a resync without a leaf of that peer is refused, in making and in following', async () => {
  const room = await Room.of(engineOf('t9'), 'alice', 'bob', 'carol')
  const { engine } = room
  const groupInfo = await engine.groupInfo(room.at('alice'))
  const tree = engine.tree(room.at('alice'))
  const gone = room.at('carol')
  await room.commit('alice', { kind: 'remove', peer: Room.peer('carol').peer })
  const after = {
    groupInfo: await engine.groupInfo(room.at('alice')),
    tree: engine.tree(room.at('alice')),
    self: Room.peer('carol'),
    nowMs: NOW,
  }
  assert.is(codeOf(await engine.externalJoin(after)), 'GROUP_NOT_MEMBER')
  const stale = must(await engine.externalJoin({ ...after, groupInfo, tree }))
  const answer = await engine.process(room.at('bob'), stale.commit)
  assert.is(codeOf(answer), 'GROUP_EPOCH_STALE')
  assert.is(must(await engine.process(gone, stale.commit)).kind, 'removed')
})

/** A leaf that its ancestors list as unmerged beside different others: ts-mls refuses to join such trees. */
function hasUnequalLists(tree: Tree): boolean {
  for (let node = 1; node < tree.nodes.length; node += 2) {
    const lists = parentAt(tree, node)?.unmergedLeaves ?? []
    for (const leaf of lists) {
      for (const above of directPathOf(nodeOfLeaf(leaf), tree.nodes.length)) {
        const others = parentAt(tree, above)?.unmergedLeaves ?? []
        if (others.length > 0 && String(others) !== String(lists)) return true
      }
    }
  }
  return false
}

test('T10: newcomers join after 100 joins by random committers, unmerged leaves and all', async () => {
  const engine = engineOf('t10')
  const room = await Room.of(engine, 'member 0')
  const draw = seededBytes('t10 committers')
  let unequal = 0
  for (let i = 1; i <= 100; i++) {
    const here = [...room.members.keys()]
    const [pick = 0] = draw(1)
    const by = here[pick % here.length] ?? 'member 0'
    await room.add(by, `member ${String(i)}`)
    if (i % 2 === 0) await room.commit(`member ${String(i)}`)
    if (hasUnequalLists(decodeTree(engine.tree(room.at(by))))) unequal++
    // Everybody has to follow; a few are enough here, so the others are let go.
    for (const name of here.slice(0, -6)) {
      if (name === by) continue
      engine.dispose(room.at(name))
      room.members.delete(name)
    }
  }
  room.agree()
  assert.is(engine.info(room.at('member 100')).roster.length, 101)
  assert.ok(unequal > 0, 'the trap was met')
})

test('a removal has a path, and so has every other commit: a lone Add, a lone policy', async () => {
  const room = await Room.of(engineOf('paths'), 'alice', 'bob', 'carol')
  const dave = await room.keyPackage('dave')
  const kinds: Proposal[][] = [
    [],
    [{ kind: 'add', keyPackage: dave.keyPackage }],
    [{ kind: 'remove', peer: Room.peer('carol').peer }],
    [{ kind: 'policy', policy: NONE }],
  ]
  for (const proposals of kinds) {
    const { commit } = await room.propose('alice', ...proposals)
    const { content } = decodeMessage('mls_public_message', commit).publicMessage
    assert.ok(content.contentType === 'commit' && content.commit.path !== undefined)
  }
})

test('no private key outlives its node', async () => {
  const engine = engineOf('stale keys')
  const room = await Room.of(engine, 'a', 'b', 'c', 'd', 'e', 'f')
  const draw = seededBytes('stale keys walk')
  for (let step = 0; step < 24; step++) {
    const here = [...room.members.keys()]
    const [a = 0, b = 0, act = 0] = draw(3)
    const [by = 'a', victim = 'b'] = [here[a % here.length], here[b % here.length]]
    if (act % 3 === 0 && here.length > 3 && by !== victim) {
      await room.commit(by, { kind: 'remove', peer: Room.peer(victim).peer })
      await room.add(by, victim)
    } else await room.commit(by)
    for (const [name, epoch] of room.members) {
      const tree = engine.tree(epoch)
      const state = decodeSnapshot(ourSuite, engine.snapshot(epoch, 'full'), tree, Room.peer(name))
      for (const [node, key] of state.keys) {
        assert.equal(keyAt(state.tree, node), native.dhPublic(key))
      }
    }
  }
})

test('a closed handle says so', async () => {
  const room = await Room.of(engineOf('closed'), 'alice')
  const { engine } = room
  engine.dispose(room.at('alice'))
  await rejects(engine.groupInfo(room.at('alice')), 'BUG_INVARIANT')
})

test.run()
