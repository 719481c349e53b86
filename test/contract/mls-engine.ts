// What every MLS engine does, whatever it is made of: one suite for all of them (spec §4).
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { equalBytes, utf8 } from '../../protocols/base/bytes.ts'
import { DAY_MS, toTimeMs } from '../../protocols/base/time.ts'
import { PADDING_BYTES } from '../../protocols/group/mls-engine.ts'
import type { MlsEngine } from '../../protocols/group/mls-engine.ts'
import { NOW, Room, advance, codeOf, flipped, must } from '../support/mls-room.ts'
import { rejects } from '../support/rejects.ts'
import { seededBytes } from '../support/seeded.ts'
import { engineKeeping, engineResync, engineStrangers } from './mls-engine-keeping.ts'

const NONE = new Uint8Array(0)

/**
 * Runs the suite.
 *
 * @param makeEngine - Makes an engine whose randomness follows from the seed.
 */
export function engineConformance(name: string, makeEngine: (seed: string) => MlsEngine): void {
  members(`${name} · members`, makeEngine)
  branches(`${name} · branches`, makeEngine)
  messages(`${name} · messages`, makeEngine)
  engineKeeping(`${name} · keeping`, makeEngine)
  engineResync(`${name} · resync`, makeEngine)
  engineStrangers(`${name} · strangers`, makeEngine)
}

function members(title: string, makeEngine: (seed: string) => MlsEngine): void {
  const test = suite(title)

  test('a founder is alone at epoch 0, under its policy', async () => {
    const room = await Room.of(makeEngine('found'), 'alice')
    const info = room.engine.info(room.at('alice'))
    assert.is(info.epoch, 0)
    assert.equal(info.roster, [{ peer: Room.peer('alice').peer, leafIndex: 0 }])
    assert.equal(info.policy, Uint8Array.of(1, 2, 3))
    assert.equal(info.groupId, new Uint8Array(32).fill(7))
  })

  test('one commit adds several, one Welcome each, and all agree', async () => {
    const room = await Room.of(makeEngine('adds'), 'alice', 'bob', 'carol', 'dave', 'erin')
    assert.is(room.members.size, 5)
    assert.equal(
      room.last?.welcomes.map(({ peer }) => peer),
      ['bob', 'carol', 'dave', 'erin'].map((name) => Room.peer(name).peer),
    )
    room.agree()
    await room.talk('erin', 'here')
  })

  test('a Welcome is for its KeyPackage alone, and for its tree', async () => {
    const room = await Room.of(makeEngine('welcome'), 'alice', 'bob')
    const { engine } = room
    const [carol, dave] = [await room.keyPackage('carol'), await room.keyPackage('dave')]
    const adds = [carol, dave].map(({ keyPackage }) => ({ kind: 'add' as const, keyPackage }))
    const before = engine.tree(room.at('alice'))
    const pending = await room.commit('alice', ...adds)
    const [toCarol = NONE] = pending.welcomes.map(({ welcome }) => welcome)
    const tree = engine.tree(pending.child)
    const join = { welcome: toCarol, secret: carol.secret, tree, self: Room.peer('carol') }
    assert.is(codeOf(await engine.join({ ...join, secret: dave.secret })), 'GROUP_NOT_FOR_ME')
    assert.is(codeOf(await engine.join({ ...join, tree: before })), 'GROUP_COMMIT_INVALID')
    assert.is(
      codeOf(await engine.join({ ...join, self: Room.peer('dave') })),
      'GROUP_COMMIT_INVALID',
    )
    must(await engine.join(join))
  })

  test('anybody commits; content tells who did what', async () => {
    const room = await Room.of(makeEngine('content'), 'alice', 'bob', 'carol')
    const { engine } = room
    const dave = await room.keyPackage('dave')
    const pending = await room.propose(
      'bob',
      { kind: 'remove', peer: Room.peer('carol').peer },
      { kind: 'add', keyPackage: dave.keyPackage },
      { kind: 'policy', policy: Uint8Array.of(4) },
    )
    const processed = must(await engine.process(room.at('alice'), pending.commit))
    assert.equal(processed.content, {
      kind: 'member',
      committer: Room.peer('bob').peer,
      committerLeaf: 1,
      adds: [{ peer: Room.peer('dave').peer, ref: dave.ref }],
      removes: [{ peer: Room.peer('carol').peer, leafIndex: 2 }],
      policy: Uint8Array.of(4),
    })
    assert.equal(engine.info(advance(processed)).policy, Uint8Array.of(4))
  })

  test('who is removed is told, and can neither follow nor read', async () => {
    const room = await Room.of(makeEngine('remove'), 'alice', 'bob', 'carol')
    const { engine } = room
    const carols = room.at('carol')
    const pending = await room.commit('alice', { kind: 'remove', peer: Room.peer('carol').peer })
    assert.is(must(await engine.process(carols, pending.commit)).kind, 'removed')
    room.agree()
    const next = await room.propose('bob')
    assert.is(codeOf(await engine.process(carols, next.commit)), 'GROUP_EPOCH_STALE')
    const sealed = await engine.seal(room.at('bob'), utf8('secret'), NONE)
    assert.is(codeOf(await engine.open(carols, sealed.message)), 'GROUP_EPOCH_STALE')
  })

  test('a member re-added has a new leaf and reads again', async () => {
    const room = await Room.of(makeEngine('again'), 'alice', 'bob', 'carol')
    await room.commit('alice', { kind: 'remove', peer: Room.peer('bob').peer })
    await room.add('carol', 'bob')
    room.agree()
    await room.talk('bob', 'back')
  })

  test('one commit removes and re-adds: a refresh', async () => {
    const room = await Room.of(makeEngine('refresh'), 'alice', 'bob', 'carol')
    const { engine } = room
    const own = await room.keyPackage('bob')
    const remove = { kind: 'remove', peer: Room.peer('bob').peer } as const
    const pending = await room.propose('alice', remove, { kind: 'add', keyPackage: own.keyPackage })
    await room.adopt('alice', pending)
    const [welcome] = pending.welcomes
    const tree = engine.tree(pending.child)
    const self = Room.peer('bob')
    const { secret } = own
    const joined = await engine.join({ welcome: welcome?.welcome ?? NONE, secret, tree, self })
    room.members.set('bob', must(joined))
    room.agree()
  })

  test('proposals that do not fit the roster are refused by name', async () => {
    const room = await Room.of(makeEngine('misfit'), 'alice', 'bob')
    const { engine } = room
    const bob = await room.keyPackage('bob')
    const carol = await room.keyPackage('carol')
    const twice = await room.keyPackage('carol')
    const commit = async (...proposals: Parameters<MlsEngine['commit']>[1]['proposals']) =>
      codeOf(await engine.commit(room.at('alice'), { proposals, nowMs: NOW }))
    const add = (keyPackage: Uint8Array) => ({ kind: 'add', keyPackage }) as const
    assert.is(await commit(add(bob.keyPackage)), 'GROUP_ALREADY_MEMBER')
    assert.is(await commit(add(carol.keyPackage), add(twice.keyPackage)), 'GROUP_ALREADY_MEMBER')
    assert.is(await commit({ kind: 'remove', peer: Room.peer('max').peer }), 'GROUP_NOT_MEMBER')
    const self = { kind: 'remove', peer: Room.peer('alice').peer } as const
    assert.is(await commit(self), 'GROUP_COMMIT_INVALID')
    assert.is(await commit(add(flipped(carol.keyPackage, 60))), 'GROUP_COMMIT_INVALID')
  })

  test('a KeyPackage says whose it is, and is added only within its lifetime', async () => {
    const engine = makeEngine('lifetime')
    const room = await Room.of(engine, 'alice')
    const own = await engine.keyPackage(Room.peer('bob'), { nowMs: NOW, lastResort: true })
    const facts = must(await engine.readKeyPackage(own.keyPackage))
    assert.is(facts.peer, Room.peer('bob').peer)
    assert.equal(facts.ref, own.ref)
    assert.is(facts.lastResort, true)
    assert.ok(facts.notBeforeMs < NOW && facts.notAfterMs > NOW)
    const proposals = [{ kind: 'add', keyPackage: own.keyPackage }] as const
    for (const nowMs of [facts.notAfterMs + 1_000, NOW - DAY_MS].map(toTimeMs)) {
      const late = await engine.commit(room.at('alice'), { proposals, nowMs })
      assert.is(codeOf(late), 'GROUP_COMMIT_INVALID')
    }
    must(await engine.commit(room.at('alice'), { proposals, nowMs: NOW }))
  })

  test('random histories of adds, removes, rekeys and resyncs keep everybody together', async () => {
    for (const seed of ['one', 'two', 'three']) await wander(makeEngine(seed), seed)
  })

  test.run()
}

/** Walks a room through 24 random commits of random members. */
async function wander(engine: MlsEngine, seed: string): Promise<void> {
  const draw = seededBytes(`walk ${seed}`)
  const pick = <T>(items: readonly T[]): T => {
    const [a = 0, b = 0] = draw(2)
    return items[(a * 256 + b) % items.length] as T
  }
  const names = Array.from({ length: 12 }, (_, i) => `member ${String(i)}`)
  const room = await Room.of(engine, 'member 0')
  for (let step = 0; step < 24; step++) {
    const here = [...room.members.keys()]
    const by = pick(here)
    const others = here.filter((name) => name !== by)
    const absent = names.filter((name) => !room.members.has(name))
    const act = pick(['rekey', 'add', 'add', 'remove', 'resync'])
    if (act === 'add' && absent.length > 1) await room.add(by, ...absent.slice(0, pick([1, 2])))
    else if (act === 'remove' && others.length > 2) {
      await room.commit(by, { kind: 'remove', peer: Room.peer(pick(others)).peer })
    } else if (act === 'resync' && others.length > 0) await room.resync(by, pick(others))
    else await room.commit(by)
    room.agree()
  }
  if (room.members.size > 1) await room.talk(pick([...room.members.keys()]), 'still here')
}

function branches(title: string, makeEngine: (seed: string) => MlsEngine): void {
  const test = suite(title)

  test('no call changes the epoch that it is given', async () => {
    const room = await Room.of(makeEngine('frozen'), 'alice', 'bob', 'carol')
    const { engine } = room
    const [alice, bob] = [room.at('alice'), room.at('bob')]
    const shots = () => [alice, bob].map((epoch) => engine.snapshot(epoch, 'full'))
    const before = shots()
    const pending = await room.propose('alice')
    must(await engine.process(bob, pending.commit))
    const sealed = await engine.seal(alice, utf8('hi'), NONE)
    must(await engine.open(bob, sealed.message))
    await engine.export(alice, 'label', NONE, 32)
    await engine.groupInfo(alice)
    assert.equal(shots(), before)
  })

  test('two commits on one parent make two branches, and each follower reads its own', async () => {
    const room = await Room.of(makeEngine('fork'), 'alice', 'bob', 'carol')
    const { engine } = room
    const [left, right] = [await room.propose('alice'), await room.propose('bob')]
    const carol = room.at('carol')
    const onLeft = advance(must(await engine.process(carol, left.commit)))
    const onRight = advance(must(await engine.process(carol, right.commit)))
    assert.is(engine.info(onLeft).epoch, engine.info(onRight).epoch)
    const [l, r] = [engine.info(onLeft), engine.info(onRight)]
    assert.not(equalBytes(l.authenticator, r.authenticator))
    const sealedLeft = await engine.seal(left.child, utf8('left'), NONE)
    const sealedRight = await engine.seal(right.child, utf8('right'), NONE)
    assert.equal(must(await engine.open(onLeft, sealedLeft.message)).plaintext, utf8('left'))
    assert.equal(must(await engine.open(onRight, sealedRight.message)).plaintext, utf8('right'))
    assert.is(codeOf(await engine.open(onLeft, sealedRight.message)), 'GROUP_OPEN_FAILED')
  })

  test('a commit fits its parent only', async () => {
    const room = await Room.of(makeEngine('parent'), 'alice', 'bob', 'carol')
    const { engine } = room
    const before = room.at('carol')
    const first = await room.commit('alice')
    const second = await room.propose('alice')
    assert.is(codeOf(await engine.process(before, second.commit)), 'GROUP_EPOCH_STALE')
    assert.is(codeOf(await engine.process(room.at('carol'), first.commit)), 'GROUP_EPOCH_STALE')
    const [left, right] = [await room.propose('alice'), await room.propose('bob')]
    const onRight = advance(must(await engine.process(room.at('carol'), right.commit)))
    const child = must(await engine.commit(left.child, { proposals: [], nowMs: NOW }))
    assert.is(codeOf(await engine.process(onRight, child.commit)), 'GROUP_COMMIT_INVALID')
  })

  test('an own commit is adopted through its checkpoint, whatever happened in between', async () => {
    const room = await Room.of(makeEngine('checkpoint'), 'alice', 'bob', 'carol')
    const { engine } = room
    const parent = room.at('alice')
    const mine = await room.propose('alice')
    const [checkpoint, tree] = [engine.checkpoint(mine), engine.tree(mine.child)]
    const theirs = await room.propose('bob')
    advance(must(await engine.process(parent, theirs.commit)))
    assert.is(codeOf(await engine.process(parent, mine.commit)), 'GROUP_NOT_FOR_ME')
    const resumed = await engine.resume(checkpoint, tree, Room.peer('alice'))
    assert.equal(resumed.commit, mine.commit)
    const carols = advance(must(await engine.process(room.at('carol'), resumed.commit)))
    assert.equal(engine.info(carols).authenticator, engine.info(resumed.child).authenticator)
    const sealed = await engine.seal(resumed.child, utf8('won'), NONE)
    assert.equal(must(await engine.open(carols, sealed.message)).plaintext, utf8('won'))
  })

  test('disposing of a handle leaves its parents, children and siblings alone', async () => {
    const room = await Room.of(makeEngine('dispose'), 'alice', 'bob')
    const { engine } = room
    const [alice, bob] = [room.at('alice'), room.at('bob')]
    const first = await engine.seal(alice, utf8('1'), NONE)
    const second = await engine.seal(first.next, utf8('2'), NONE)
    const read = must(await engine.open(bob, first.message))
    const sibling = must(await engine.open(bob, second.message))
    const pending = await room.propose('alice')
    const child = advance(must(await engine.process(read.next, pending.commit)))
    for (const epoch of [bob, read.next, bob]) engine.dispose(epoch)
    assert.is(codeOf(await engine.open(sibling.next, second.message)), 'GROUP_CONSUMED')
    assert.equal(must(await engine.open(sibling.next, first.message)).plaintext, utf8('1'))
    const sealed = await engine.seal(pending.child, utf8('3'), NONE)
    assert.equal(must(await engine.open(child, sealed.message)).plaintext, utf8('3'))
    await rejects(engine.open(bob, second.message), 'BUG_INVARIANT')
    assert.throws(() => engine.info(bob))
  })

  test.run()
}

function messages(title: string, makeEngine: (seed: string) => MlsEngine): void {
  const test = suite(title)

  test('messages open once each, in any order', async () => {
    const room = await Room.of(makeEngine('order'), 'alice', 'bob')
    const { engine } = room
    const sent: Uint8Array[] = []
    let alice = room.at('alice')
    for (let i = 0; i < 6; i++) {
      const sealed = await engine.seal(alice, Uint8Array.of(i), NONE)
      assert.is(sealed.generation, i)
      alice = sealed.next
      sent.push(sealed.message)
    }
    let bob = room.at('bob')
    for (const i of [3, 0, 5, 1, 2, 4]) {
      const opened = must(await engine.open(bob, sent[i] ?? NONE))
      assert.equal([opened.plaintext, opened.generation], [Uint8Array.of(i), i])
      bob = opened.next
    }
    for (const message of sent) {
      assert.is(codeOf(await engine.open(bob, message)), 'GROUP_CONSUMED')
    }
  })

  test('lengths are hidden in steps', async () => {
    const room = await Room.of(makeEngine('padding'), 'alice', 'bob')
    const lengthOf = async (bytes: number) =>
      (await room.engine.seal(room.at('alice'), new Uint8Array(bytes), NONE)).message.length
    assert.is(await lengthOf(0), await lengthOf(100))
    assert.is((await lengthOf(1_024)) - (await lengthOf(0)), 4 * PADDING_BYTES)
    const aad = await room.engine.seal(room.at('alice'), NONE, new Uint8Array(5))
    assert.is(aad.message.length - (await lengthOf(0)), 5)
  })

  test('own messages and those of other groups are told apart', async () => {
    const engine = makeEngine('own')
    const room = await Room.of(engine, 'alice', 'bob')
    const sealed = await engine.seal(room.at('alice'), utf8('me'), NONE)
    assert.is(codeOf(await engine.open(room.at('alice'), sealed.message)), 'GROUP_NOT_FOR_ME')
    const [groupId, policy] = [new Uint8Array(32).fill(8), NONE]
    const self = Room.peer('carol')
    const other = await engine.create({ groupId, self, policy, nowMs: NOW })
    assert.is(codeOf(await engine.open(other, sealed.message)), 'GROUP_EPOCH_STALE')
  })

  test('a message with any octet changed or missing opens nowhere', async () => {
    const room = await Room.of(makeEngine('flip'), 'alice', 'bob')
    const { engine } = room
    const { message } = await engine.seal(room.at('alice'), utf8('whole'), Uint8Array.of(1, 2))
    const bob = room.at('bob')
    for (let at = 0; at < message.length; at++) {
      const answers = [
        await engine.open(bob, flipped(message, at, at % 8)),
        await engine.open(bob, message.subarray(0, at)),
      ]
      for (const answer of answers) assert.not(answer.ok)
    }
    assert.not((await engine.open(bob, Uint8Array.of(...message, 0))).ok)
    must(await engine.open(bob, message))
  })

  test('exports agree within an epoch, and differ by label, context and epoch', async () => {
    const room = await Room.of(makeEngine('export'), 'alice', 'bob')
    const { engine } = room
    const of = (name: string, label: string, context: number, length: number) =>
      engine.export(room.at(name), label, Uint8Array.of(context), length)
    const secret = await of('alice', 'a', 1, 32)
    assert.equal(await of('bob', 'a', 1, 32), secret)
    assert.is((await of('bob', 'a', 1, 100)).length, 100)
    const others = [await of('bob', 'b', 1, 32), await of('bob', 'a', 2, 32)]
    await room.commit('alice')
    others.push(await of('bob', 'a', 1, 32))
    for (const other of others) assert.not(equalBytes(other, secret))
  })

  test.run()
}
