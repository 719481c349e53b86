// What `group info` says is under way: every fact, and nothing where all is settled.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { toFrameId, toGroupMessageId } from '../../protocols/group/ids.ts'
import { FRESH } from '../../protocols/group/founding.ts'
import type { GroupState, Intent, Kept } from '../../protocols/group/state.ts'
import type { BranchId } from '../../protocols/group/types.ts'
import { pendingOf } from '../../src/node/group-pending.ts'
import { MADE_AT, madeGroup, madeId } from '../support/made-group.ts'
import type { MadeCommit } from '../support/made-group.ts'
import { seededPeer } from '../support/seeded.ts'

const test = suite('node · group pending')

const NOTHING = new Uint8Array(0)
const FRAME = toFrameId(new Uint8Array(32))
const [alice, bob, carol] = ['alice', 'bob', 'carol'].map((name) => seededPeer(name).peer) as [
  ReturnType<typeof seededPeer>['peer'],
  ReturnType<typeof seededPeer>['peer'],
  ReturnType<typeof seededPeer>['peer'],
]
const both: MadeCommit = {
  id: 'both',
  adds: [
    { peer: bob, gen: 1 },
    { peer: carol, gen: 1 },
  ],
}

/** Alice, Bob and Carol in a line of commits, seen by Alice. */
function line(change: Partial<GroupState> = {}): GroupState {
  return madeGroup({ self: alice, commits: [both], tip: 'both', change })
}

/** Two branches after `both`: Alice is on `a`, the others are on `b2`. */
function forked(own: readonly MadeCommit[], theirs: readonly MadeCommit[]): GroupState {
  const newest = theirs.at(-1)?.id ?? 'both'
  return madeGroup({
    self: alice,
    commits: [both, ...own, ...theirs],
    tip: own.at(-1)?.id ?? 'both',
    votes: [
      [bob, newest],
      [carol, newest],
    ],
  })
}

test('nothing is pending where all is settled', () => {
  assert.equal(pendingOf(line()), [])
})

test('who is out has nothing else to wait for', () => {
  const rest = { waiting: new Map([[FRAME, waiting()]]) }
  const fact = 'this agent is not a member any more'
  assert.equal(pendingOf(line({ phase: 'removed', ...rest })), [`removed: ${fact}`])
  assert.equal(pendingOf(line({ phase: 'left', ...rest })), [`left: ${fact}`])
  assert.equal(pendingOf(line({ phase: 'leaving' })), ['leaving: to be executed by another member'])
})

test('who follows says how far behind it is', () => {
  const state = forked([], [{ id: 'b1' }, { id: 'b2' }])
  assert.equal(pendingOf(state), ['catching up: 2 commits behind'])
})

test('who is on a branch that lost says what it gives up', () => {
  const state = forked([{ id: 'a' }], [{ id: 'b1', parent: 'both' }, { id: 'b2' }])
  const far = 'branch lost: 1 commit given up, 2 behind on the selected branch'
  assert.equal(pendingOf(state), [far])
  const comingBack = { to: madeId('b2'), dueAt: MADE_AT, attempts: 0, unanswered: 0 }
  const resync = 'resync: waiting for a member of the selected branch'
  const at = (more: object): string[] =>
    pendingOf({ ...state, volatile: { ...FRESH, comingBack: { ...comingBack, ...more } } })
  assert.equal(at({}), [far, resync])
  assert.equal(at({ attempts: 3 }), [far, `${resync}, asked 3 times`])
  const info = { groupInfo: NOTHING, tree: NOTHING, bodyKey: NOTHING, generations: [] }
  assert.equal(at({ info }), [far, 'resync: coming back by a commit from outside'])
})

test('who is not on the selected branch waits to be added again, or learns that it is removed', () => {
  const far = 'branch lost: 1 commit given up, 2 behind on the selected branch'
  const out = { removes: [{ peer: alice, gen: 1 }] }
  const removed = forked([{ id: 'a' }], [{ id: 'b1', parent: 'both', ...out }, { id: 'b2' }])
  assert.equal(pendingOf(removed), [
    far,
    'removed on the selected branch: to be confirmed by other members',
  ])
  // Bob came in by Alice's branch alone.
  const state = madeGroup({
    self: alice,
    commits: [
      { id: 'both', adds: [{ peer: carol, gen: 1 }] },
      { id: 'a', adds: [{ peer: bob, gen: 1 }] },
      { id: 'b1', parent: 'both' },
      { id: 'b2' },
    ],
    tip: 'a',
    votes: [
      [carol, 'b2'],
      [alice, 'b2'],
    ],
    change: { self: { peer: bob, gen: 1 } },
  })
  assert.equal(pendingOf(state), [far, 'not on the selected branch: waiting to be added again'])
})

test('records before the joining are awaited', () => {
  const [fact] = pendingOf(line({ genesis: madeId('older') }))
  assert.is(fact, 'records before epoch 0: to be fetched from members')
})

test('changes are to be committed, then not yet final, then done', () => {
  const intent = (id: number, rest: Partial<Intent> = {}): Intent => ({
    id,
    change: { kind: 'remove', member: { peer: carol, gen: 1 } },
    askedAt: MADE_AT,
    attempts: 0,
    ...rest,
  })
  const state = madeGroup({
    self: alice,
    commits: [both, { id: 'next' }],
    tip: 'next',
    votes: [
      [alice, 'next'],
      [bob, 'both'],
      [carol, 'both'],
    ],
    change: {
      intents: [
        intent(1),
        intent(2, { change: { kind: 'rekey' }, committedIn: madeId('next') }),
        intent(3, { committedIn: madeId('both') }),
      ],
    },
  })
  assert.equal(pendingOf(state), [
    `remove ${carol}: to be committed`,
    'rekey: committed, not yet final',
  ])
  const many = Array.from({ length: 40 }, (_, id) => intent(id))
  assert.equal(pendingOf(line({ intents: many })), [
    '40 changes: to be committed, or not yet final',
  ])
})

test('removals of other branches and Leaves are to be executed, Welcomes to be handed over', () => {
  const pending = { bytes: NOTHING, heardAt: MADE_AT, gen: 1 }
  const state = line({
    leaves: new Map([
      [bob, { ...pending, kind: 'tombstone' as const }],
      [carol, { ...pending, kind: 'leave' as const }],
    ]),
    welcomes: [{ commitId: madeId('both'), peer: bob, welcome: NOTHING, dueAt: MADE_AT }],
  })
  assert.equal(pendingOf(state), [
    `remove ${bob}: removed on another branch, to be executed`,
    `leave ${carol}: asked for, to be executed`,
    `welcome ${bob}: to be handed over`,
  ])
})

test('messages are to be sealed, sealed again, or opened', () => {
  const sealed = { in: madeId('both'), frameId: FRAME, at: MADE_AT }
  const kept: Kept = { author: { peer: bob, gen: 1 }, n: 1, bytes: 1, sealed }
  const letter = { n: 1, msgId: toGroupMessageId(new Uint8Array(16)), payload: NOTHING }
  const state = line({
    outbox: [letter, { ...letter, n: 2 }, { ...letter, n: 3, sealed }],
    kept: new Map([
      ['1', kept],
      ['2', { ...kept, dueAt: MADE_AT }],
    ]),
    waiting: new Map([[FRAME, waiting()]]),
  })
  assert.equal(pendingOf(state), [
    '2 messages to be sealed',
    '1 message of a lost branch to be sealed again',
    '1 message not opened yet',
  ])
})

function waiting() {
  const branchId = '00' as BranchId
  return { frameId: FRAME, branchId, message: NOTHING, heardAt: MADE_AT }
}

test.run()
