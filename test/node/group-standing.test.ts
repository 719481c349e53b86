// What `why` finds of a peer in a group: every place it can be in, over states that are made up, and one that is real.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerId } from '../../protocols/base/ids.ts'
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../protocols/base/time.ts'
import type { Vote } from '../../protocols/group/selection.ts'
import { signLeave } from '../../protocols/group/signed-notes.ts'
import type { Change, GroupState, HeldEpoch, PendingLeave } from '../../protocols/group/state.ts'
import { native } from '../../src/crypto/native.ts'
import { standingIn } from '../../src/node/group-standing.ts'
import type { Standing } from '../../src/node/group-standing.ts'
import { SimMember } from '../sim/group-node.ts'
import { makeWorld } from '../sim/world.ts'
import { MADE_AT, madeGroup, madeId } from '../support/made-group.ts'
import type { MadeCommit } from '../support/made-group.ts'
import { seededPeer } from '../support/seeded.ts'

const test = suite('node · group standing')

const { peer: alice } = seededPeer('alice')
const bob = seededPeer('bob')
const BOB = { peer: bob.peer, gen: 1 }
const added: MadeCommit = { id: 'added', adds: [BOB] }
const INFO = /^conclave group info (07){32} --json$/

function standing(state: GroupState, peer: PeerId = bob.peer, afterMs = 0): Standing {
  const found = standingIn(state, peer, { primitives: native, nowMs: MADE_AT + afterMs })
  assert.ok(found)
  return found
}

/** Alice is at `c`, which comes after `added` and `b`; Bob voted for what is named. */
function voted(id: string, rest: Partial<Vote> = {}, more: readonly MadeCommit[] = []): GroupState {
  const commits = [added, { id: 'b' }, { id: 'c' }, ...more]
  return madeGroup({ self: alice, commits, tip: 'c', votes: [[bob.peer, id, rest]] })
}

test('who is in the same epoch is all right', () => {
  const { ok, code, fact, next, data } = standing(voted('c'), bob.peer, 3 * MINUTE_MS)
  assert.ok(ok)
  assert.is(code, 'GROUP_CURRENT')
  assert.is(fact, 'in ops, here at epoch 3: it is in the same epoch, last said so 3 min ago')
  assert.is(next, undefined)
  assert.is(data['lastHeardAt'], new Date(MADE_AT).toISOString())
})

test('who lags is so many epochs behind', () => {
  const { ok, code, fact } = standing(voted('added'), bob.peer, 5 * HOUR_MS)
  assert.not.ok(ok)
  assert.is(code, 'GROUP_BEHIND')
  assert.is(fact, 'in ops, here at epoch 3: it is 2 epochs behind, last said so 5 h ago')
})

test('in a larger group an old word says little while the newest epoch is young', () => {
  const crowd = Array.from({ length: 40 }, (_, i) => ({ peer: seededPeer(`m${i}`).peer, gen: 1 }))
  const held = (endedAt: number): GroupState['held'] =>
    new Map([[madeId('b'), { endedAt } as HeldEpoch]])
  const commits = [{ id: 'added', adds: [BOB, ...crowd] }, { id: 'b' }, { id: 'c' }]
  const at = (endedAt: number): Standing =>
    standing(
      madeGroup({
        self: alice,
        commits,
        tip: 'c',
        votes: [[bob.peer, 'added']],
        change: { held: held(endedAt) },
      }),
      bob.peer,
      HOUR_MS,
    )
  assert.equal([at(MADE_AT).ok, at(MADE_AT + HOUR_MS - SECOND_MS).ok], [false, true])
  assert.match(at(MADE_AT + HOUR_MS).fact, /its last word is 2 epochs old/)
})

test('who is ahead, or where nobody here has been, says that this node lags', () => {
  const ahead = standing(voted('d', {}, [{ id: 'd' }]))
  assert.is(ahead.code, 'GROUP_AHEAD')
  assert.match(ahead.fact, /it is 1 epoch ahead: this node lags, last said so just now$/)
  const vote = { gen: 1, seq: MADE_AT + 1, commitId: madeId('nowhere'), ack: new Uint8Array(0) }
  const early = new Map([[bob.peer, vote]])
  const state = voted('c')
  const unknown = standing({ ...state, volatile: { ...state.volatile, early } })
  assert.is(unknown.code, 'GROUP_UNKNOWN_EPOCH')
  assert.match(unknown.next ?? '', INFO)
})

test('who is on another branch names it, and how long ago it forked', () => {
  const fork = standing(voted('x', {}, [{ id: 'x', parent: 'added' }]))
  assert.is(fork.code, 'GROUP_FORKED')
  const branch = madeId('x').slice(0, 8)
  assert.match(fork.fact, new RegExp(`on another branch, ${branch}, forked 2 epochs ago`))
  assert.equal([fork.data['branch'], fork.data['forkedAgo']], [branch, 2])
})

test('who never acknowledged anything since it was added has not joined yet', () => {
  for (const votes of [[], [[bob.peer, 'c', { gen: 0 }]]] as const) {
    const state = madeGroup({ self: alice, commits: [added, { id: 'c' }], tip: 'c', votes })
    const invited = standing(state)
    assert.is(invited.code, 'GROUP_INVITED')
    assert.match(invited.fact, /invited at epoch 1, not joined yet$/)
    assert.match(invited.next ?? '', INFO)
  }
})

test('who was here before this agent is silent, not invited', () => {
  const since = madeId('b')
  const state = madeGroup({
    self: alice,
    commits: [added, { id: 'b' }],
    tip: 'b',
    change: { since },
  })
  const { ok, code } = standing(state)
  assert.equal([ok, code], [true, 'GROUP_SILENT'])
})

test('who voted twice has no weight, and an admin may remove it', () => {
  const twice = standing(voted('c', { isDouble: true }))
  assert.is(twice.code, 'GROUP_VOTED_TWICE')
  assert.match(twice.next ?? '', /^conclave group remove [0-9a-f]{64} 12D3Koo\w+ --json$/)
  const plain = { ...voted('c', { isDouble: true }), self: { peer: alice, gen: 2 } }
  assert.is(standing(plain).next, undefined)
})

test('who is to go, or has gone, is told apart', () => {
  const pending = (kind: PendingLeave['kind']): GroupState => ({
    ...voted('c'),
    leaves: new Map([[bob.peer, { bytes: new Uint8Array(0), heardAt: MADE_AT, gen: 1, kind }]]),
  })
  assert.is(standing(pending('leave')).code, 'GROUP_LEAVING')
  assert.is(standing(pending('tombstone')).code, 'GROUP_REMOVED')
  const without = (rest: Partial<MadeCommit>): GroupState =>
    madeGroup({
      self: alice,
      commits: [added, { id: 'out', removes: [BOB], ...rest }, { id: 'c' }],
      tip: 'c',
    })
  assert.is(standing(without({})).code, 'GROUP_REMOVED')
  assert.match(standing(without({})).fact, /it was removed at epoch 2$/)
  const { groupId } = voted('c')
  const leave = signLeave(native, bob.secret, { groupId, author: BOB })
  assert.match(standing(without({ evidence: leave })).fact, /it left at epoch 2$/)
})

test('who never was in a group is not spoken of', () => {
  const { peer } = seededPeer('nobody')
  assert.is(standingIn(voted('c'), peer, { primitives: native, nowMs: MADE_AT }), undefined)
})

test('a member that is off while others go on is shown to lag by that much, and is current when it is back', async () => {
  const world = makeWorld({ seed: 'standing' })
  const { timeline } = world
  const [one, two] = ['alice', 'bob'].map((name) => new SimMember(world, name))
  assert.ok(one && two)
  await one.found()
  const { keyPackage, ref } = await two.keyPackage()
  const rekey: Change = { kind: 'rekey' }
  await one.hear({
    kind: 'changesAsked',
    changes: [{ kind: 'add', peer: two.peer, keyPackage, ref }],
  })
  const place = (): Standing | undefined =>
    one.state && standingIn(one.state, two.peer, { primitives: native, nowMs: timeline.nowMs })
  await timeline.run(SECOND_MS / 10)
  assert.is(place()?.code, 'GROUP_INVITED')
  await timeline.run(5 * MINUTE_MS)
  assert.is(place()?.code, 'GROUP_CURRENT')
  await two.crash()
  for (let i = 0; i < 3; i++) {
    await one.hear({ kind: 'changesAsked', changes: [rekey] })
    await timeline.run(5 * SECOND_MS)
  }
  assert.equal([place()?.code, place()?.data['behind']], ['GROUP_BEHIND', 3])
  await two.restart()
  await timeline.run(2 * MINUTE_MS)
  assert.is(place()?.code, 'GROUP_CURRENT')
})

test.run()
