// Selection and views: which records are valid, and which branch everybody adopts (spec §4.1, §4.2).
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import {
  admit,
  chainFromGenesis,
  leadsTo,
  markFailed,
  nodeOf,
} from '../../protocols/group/chain.ts'
import type { Chain } from '../../protocols/group/chain.ts'
import { signRecord } from '../../protocols/group/commit-record.ts'
import { makeGenesis } from '../../protocols/group/founding.ts'
import { toCommitId, toGroupId } from '../../protocols/group/ids.ts'
import { outranks, withRole } from '../../protocols/group/policy.ts'
import { isFinal, isNewer, selectTip } from '../../protocols/group/selection.ts'
import type { Vote } from '../../protocols/group/selection.ts'
import { makeGroupMachine } from '../../protocols/group/machine.ts'
import { signAck, signLeave } from '../../protocols/group/signed-notes.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import type {
  CommitId,
  CommitRecord,
  MemberRef,
  Policy,
  View,
} from '../../protocols/group/types.ts'
import { policyHash, rosterHash } from '../../protocols/group/view.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { native } from '../../src/crypto/native.ts'
import type { GroupHeard } from '../../src/node/running-group.ts'
import { madeGroup } from '../support/made-group.ts'
import { seededPeer } from '../support/seeded.ts'
import type { SeededPeer } from '../support/seeded.ts'

const test = suite('group · selection')

const GROUP = toGroupId(new Uint8Array(32).fill(7))
const [alice, bob, carol, dave] = ['alice', 'bob', 'carol', 'dave'].map(seededPeer) as [
  SeededPeer,
  SeededPeer,
  SeededPeer,
  SeededPeer,
]
const BODY = Uint8Array.of(1, 2, 3)
let made = 0

interface Wish {
  readonly by?: SeededPeer
  readonly adds?: readonly MemberRef[]
  readonly removes?: readonly { readonly member: MemberRef; readonly evidence?: Bytes }[]
  readonly policy?: Policy
  readonly change?: (record: CommitRecord) => CommitRecord
  readonly evidence?: readonly Bytes[]
  readonly id?: CommitId
  readonly overridden?: number
}

const ref = ({ peer }: SeededPeer, gen = 1): MemberRef => ({ peer, gen })

function freshId(): CommitId {
  return toCommitId(native.sha256(new TextEncoder().encode(`commit ${made++}`)))
}

/** A record on `parent` as `wish` says, signed by its author; its hashes are right unless changed. */
function recordOn(chain: Chain, parent: CommitId, wish: Wish = {}): CommitRecord {
  const { view } = nodeOf(chain, parent)
  const { by = alice, adds = [], removes = [], policy } = wish
  const roster = new Map(view.roster)
  for (const { member } of removes) roster.delete(member.peer)
  for (const { peer, gen } of adds) roster.set(peer, gen)
  const record: CommitRecord = {
    kind: 'commit',
    groupId: GROUP,
    parent,
    commitId: wish.id ?? freshId(),
    epoch: view.epoch + 1,
    author: { peer: by.peer, gen: view.roster.get(by.peer) ?? 1 },
    seq: made,
    adds: adds.map((member) => ({
      member,
      keyPackageRef: new Uint8Array(32).fill(1),
      overridden: wish.overridden ?? 0,
    })),
    removes,
    ...(policy !== undefined && { policy }),
    rosterHash: rosterHash(native, roster),
    policyHash: policyHash(native, policy ?? view.policy),
    sealedHash: native.sha256(BODY),
    bodyBytes: BODY.length,
    groupInfoHash: new Uint8Array(32),
  }
  return wish.change?.(record) ?? record
}

function entryOf(record: CommitRecord, secret: Bytes, evidence: readonly Bytes[] = []) {
  return { record: signRecord(native, secret, record), evidence, body: BODY }
}

function genesis(): Chain {
  const policy = { changes: 0, admins: [ref(alice)], name: 'ops' }
  const kit = { primitives: native, peer: alice.peer, secret: alice.secret }
  const groupInfoHash = new Uint8Array(32)
  const { bytes } = makeGenesis(kit, {
    ...{ groupId: GROUP, policy, groupInfoHash, nowMs: toTimeMs(1) },
  })
  const chain = chainFromGenesis(native, { record: bytes, evidence: [] })
  assert.ok(chain.ok)
  return chain.value
}

function grow(chain: Chain, parent: CommitId, wish: Wish = {}): [Chain, CommitId] {
  const record = recordOn(chain, parent, wish)
  const entry = entryOf(record, (wish.by ?? alice).secret, wish.evidence)
  const grown = admit(native, chain, record, entry, GROUP)
  assert.ok(grown.ok, grown.ok ? '' : grown.code)
  return [grown.value, record.commitId]
}

function refusal(chain: Chain, parent: CommitId, wish: Wish): string {
  const record = recordOn(chain, parent, wish)
  const entry = entryOf(record, (wish.by ?? alice).secret, wish.evidence)
  const grown = admit(native, chain, record, entry, GROUP)
  return grown.ok ? 'taken' : grown.code
}

/** Alice as admin, with Bob and Carol. */
function trio(): [Chain, CommitId] {
  const first = genesis()
  return grow(first, first.base, { adds: [ref(bob), ref(carol)] })
}

const viewOf = (chain: Chain, id: CommitId): View => nodeOf(chain, id).view
const vote = (commitId: CommitId, seq = 1): Vote => ({ gen: 1, seq, commitId })

// Spec §4.1: "its author is on the parent's roster …, its epoch is the parent's plus one, each change is allowed"
test('only what follows from the parent is valid', () => {
  const [chain, tip] = trio()
  const { policy } = viewOf(chain, tip)
  const cases: readonly [string, Wish][] = [
    ['GROUP_NOT_MEMBER', { by: dave }],
    ['GROUP_NOT_ADMIN', { by: bob, adds: [ref(dave)] }],
    ['GROUP_NOT_ADMIN', { by: bob, removes: [{ member: ref(carol) }] }],
    ['GROUP_NOT_ADMIN', { by: bob, policy: withRole(policy, ref(bob), 'admin') }],
    ['GROUP_ALREADY_MEMBER', { adds: [ref(bob)] }],
    ['GROUP_NOT_MEMBER', { removes: [{ member: ref(dave) }] }],
    ['GROUP_NOT_MEMBER', { removes: [{ member: ref(bob, 2) }] }],
    ['GROUP_COMMIT_INVALID', { removes: [{ member: ref(alice) }] }],
    ['GROUP_COMMIT_INVALID', { adds: [ref(dave, 2)] }],
    ['GROUP_COMMIT_INVALID', { adds: [ref(dave)], overridden: 1 }],
    ['GROUP_EPOCH_STALE', { change: (record) => ({ ...record, epoch: record.epoch + 1 }) }],
    ['GROUP_EPOCH_STALE', { policy: { ...policy, changes: policy.changes + 2 } }],
    ['GROUP_LAST_ADMIN', { policy: { ...policy, changes: 1, admins: [] } }],
    ['GROUP_NOT_MEMBER', { policy: withRole(policy, ref(dave), 'admin') }],
    [
      'GROUP_COMMIT_INVALID',
      { change: (record) => ({ ...record, rosterHash: new Uint8Array(32) }) },
    ],
    [
      'GROUP_COMMIT_INVALID',
      { change: (record) => ({ ...record, policyHash: new Uint8Array(32) }) },
    ],
    ['GROUP_EPOCH_UNKNOWN', { change: (record) => ({ ...record, parent: freshId() }) }],
  ]
  for (const [code, wish] of cases) assert.is(refusal(chain, tip, wish), code)
  assert.is(refusal(chain, tip, { adds: [ref(dave)] }), 'taken')
})

test('anybody executes a Leave, with its evidence alone', () => {
  const [chain, tip] = trio()
  const leave = signLeave(native, carol.secret, { groupId: GROUP, author: ref(carol) })
  const evidence = native.sha256(leave)
  const removes = [{ member: ref(carol), evidence }]
  assert.is(refusal(chain, tip, { by: bob, removes }), 'GROUP_COMMIT_INVALID')
  const forged = signLeave(native, bob.secret, { groupId: GROUP, author: ref(carol) })
  const false_ = [{ member: ref(carol), evidence: native.sha256(forged) }]
  const wish = { by: bob, removes: false_, evidence: [forged] }
  assert.is(refusal(chain, tip, wish), 'GROUP_COMMIT_INVALID')
  assert.is(refusal(chain, tip, { by: bob, removes, evidence: [leave] }), 'taken')
})

test('anybody removes here whom an admin removed on another branch, citing that record', () => {
  const [chain, tip] = trio()
  const elsewhere = (by: SeededPeer, member: MemberRef, groupId = GROUP): Bytes => {
    const record = recordOn(chain, tip, { by, removes: [{ member: ref(carol) }] })
    const claimed = { ...record, groupId, removes: [{ member }] }
    return signRecord(native, by.secret, claimed)
  }
  const citing = (bytes: Bytes) => ({
    by: bob,
    removes: [{ member: ref(carol), evidence: native.sha256(bytes) }],
    evidence: [bytes],
  })
  assert.is(refusal(chain, tip, citing(elsewhere(alice, ref(carol)))), 'taken')
  assert.is(
    refusal(chain, tip, citing(elsewhere(bob, ref(carol)))),
    'GROUP_COMMIT_INVALID',
    'no admin',
  )
  const older = elsewhere(alice, ref(carol, 2))
  assert.is(refusal(chain, tip, citing(older)), 'GROUP_COMMIT_INVALID', 'another membership')
  assert.is(
    refusal(chain, tip, citing(elsewhere(alice, ref(dave)))),
    'GROUP_COMMIT_INVALID',
    'another member',
  )
  const otherGroup = toGroupId(new Uint8Array(32).fill(8))
  const foreign = elsewhere(alice, ref(carol), otherGroup)
  assert.is(refusal(chain, tip, citing(foreign)), 'GROUP_COMMIT_INVALID', 'another group')
  const forged = elsewhere(alice, ref(carol)).slice()
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
  assert.is(refusal(chain, tip, citing(forged)), 'GROUP_COMMIT_INVALID', 'not signed by the admin')
})

test('admins rank in their order, all others below them', () => {
  const policy = { changes: 3, admins: [ref(alice), ref(bob)], name: 'ops' }
  assert.ok(outranks(policy, ref(alice), ref(bob)))
  assert.ok(outranks(policy, ref(bob), ref(carol)))
  assert.not.ok(outranks(policy, ref(bob), ref(alice)))
  assert.not.ok(outranks(policy, ref(bob), ref(bob)))
  assert.not.ok(outranks(policy, ref(carol), ref(dave)))
  assert.not.ok(outranks(policy, ref(alice, 2), ref(bob)), 'another membership')
})

test('who is added again gets a higher gen; the old one signs nothing any more', () => {
  const [three, tip] = trio()
  const [two, without] = grow(three, tip, { removes: [{ member: ref(carol) }] })
  assert.is(viewOf(two, without).gone.get(carol.peer), 1)
  assert.is(refusal(two, without, { adds: [ref(carol, 1)] }), 'GROUP_COMMIT_INVALID')
  const [again, back] = grow(two, without, { adds: [ref(carol, 2)], overridden: 1 })
  const old = { by: carol, change: (r: CommitRecord) => ({ ...r, author: ref(carol, 1) }) }
  assert.is(refusal(again, back, old), 'GROUP_NOT_MEMBER')
  assert.is(refusal(again, back, { by: carol }), 'taken')
})

test('removals, and every 64th epoch, begin a transport generation', () => {
  const [three, tip] = trio()
  assert.is(viewOf(three, tip).generation, three.base)
  const [two, removed] = grow(three, tip, { removes: [{ member: ref(carol) }] })
  assert.is(viewOf(two, removed).generation, removed)
  let [chain, at] = [two, removed]
  while (viewOf(chain, at).epoch < 64) [chain, at] = grow(chain, at)
  assert.is(viewOf(chain, at).generation, at)
})

test('at a fork the votes of the fork point decide, then the smaller id', () => {
  const [start, tip] = trio()
  const small = toCommitId(new Uint8Array(32).fill(1))
  const large = toCommitId(new Uint8Array(32).fill(2))
  const [one] = grow(start, tip, { by: bob, id: large })
  const [both] = grow(one, tip, { by: carol, id: small })
  assert.is(selectTip(both, new Map()), small)
  const votes = new Map<PeerId, Vote>([[bob.peer, vote(large)]])
  assert.is(selectTip(both, votes), large)
  assert.is(selectTip(both, new Map([...votes, [carol.peer, vote(small)]])), small)
  // Who was not there when it forked has no say.
  assert.is(selectTip(both, new Map([[dave.peer, vote(large)]])), small)
  // A membership that is over has none, either.
  assert.is(selectTip(both, new Map([[bob.peer, { ...vote(large), gen: 2 }]])), small)
  assert.is(selectTip(markFailed(both, small), new Map()), large)
})

test('a commit is final once more than half of those before it voted for it', () => {
  const [start, tip] = trio()
  const [chain, next] = grow(start, tip, { by: bob })
  const [further, last] = grow(chain, next, { by: bob })
  const one = new Map<PeerId, Vote>([
    [alice.peer, vote(tip)],
    [bob.peer, vote(last)],
  ])
  assert.not(isFinal(further, one, next))
  assert.ok(isFinal(further, new Map([...one, [carol.peer, vote(next)]]), next))
  assert.not(isFinal(further, new Map([...one, [carol.peer, vote(next)]]), last))
})

test('of two votes the higher seq counts, of the higher gen first', () => {
  const [chain, tip] = trio()
  const votes = new Map<PeerId, Vote>([[bob.peer, { gen: 1, seq: 5, commitId: tip }]])
  assert.ok(isNewer(votes, carol.peer, vote(tip)))
  assert.ok(isNewer(votes, bob.peer, { gen: 1, seq: 6, commitId: chain.base }))
  assert.not(isNewer(votes, bob.peer, { gen: 1, seq: 5, commitId: chain.base }))
  assert.ok(isNewer(votes, bob.peer, { gen: 2, seq: 1, commitId: chain.base }))
})

/** Dave, who is out and does nothing but listen, hears of this chain, and then what the others say. */
function listener(chain: Chain): (heard: GroupHeard) => GroupState {
  const kit = { primitives: native, peer: dave.peer, secret: dave.secret }
  const machine = makeGroupMachine(kit)
  const change = { groupId: GROUP, phase: 'left', chain, tip: chain.base } as const
  let state = madeGroup({ self: dave.peer, commits: [], tip: 'genesis', change })
  return (heard) => {
    const moment = { nowMs: toTimeMs(1), entropy: new Uint8Array(32) }
    ;[state] = machine.step(state, { ...heard, ...moment })
    return state
  }
}

function acked(by: SeededPeer, commitId: CommitId, seq: number): GroupHeard {
  const ack = { groupId: GROUP, author: ref(by), seq, commitId, check: new Uint8Array(16) }
  return { kind: 'acksHeard', acks: [signAck(native, by.secret, ack)], proofs: [] }
}

// Spec §4.2: "one for another waits until that is known, and is handed on no sooner"
test('a vote for what is not known yet waits, and the one before it counts meanwhile', () => {
  const [start, tip] = trio()
  const small = toCommitId(new Uint8Array(32).fill(1))
  const large = toCommitId(new Uint8Array(32).fill(2))
  const [one] = grow(start, tip, { by: bob, id: large })
  const [both] = grow(one, tip, { by: carol, id: small })
  const next = recordOn(both, large, { by: bob })
  const hear = listener(both)
  const selected = ({ chain, votes }: GroupState): CommitId => selectTip(chain, votes)
  hear(acked(carol, small, 1))
  hear(acked(bob, large, 1))
  const { acks } = hear(acked(alice, large, 1))
  const ahead = hear(acked(alice, next.commitId, 9))
  assert.is(selected(ahead), large)
  assert.is(ahead.acks.get(alice.peer), acks.get(alice.peer))
  assert.is(selected(hear(acked(alice, small, 8))), small, 'older than what waits, but known')
  const caughtUp = hear({ kind: 'recordsHeard', entries: [entryOf(next, bob.secret)] })
  assert.is(selected(caughtUp), next.commitId)
  assert.is(caughtUp.votes.get(alice.peer)?.seq, 9)
  assert.is.not(caughtUp.acks.get(alice.peer), acks.get(alice.peer))
  assert.is(caughtUp.volatile.early.size, 0)
})

test('who votes twice is found out, whether or not what it voted for is known', () => {
  const [chain, tip] = trio()
  const nowhere = freshId()
  for (const order of [
    [tip, nowhere],
    [nowhere, tip],
    [nowhere, freshId()],
  ]) {
    const hear = listener(chain)
    const [state] = order.map((id) => hear(acked(alice, id, 5))).reverse()
    assert.ok(state)
    assert.is(state.votes.get(alice.peer)?.isDouble, true)
    assert.is(state.proofs.size, 1)
  }
})

// Spec §4.2: "Arrival and clocks are no inputs."
test('the order of arrival changes nothing', () => {
  const [start, first] = trio()
  const authors = [alice, bob, carol]
  const shape = fc.array(fc.record({ parent: fc.nat(), by: fc.nat(2) }), {
    minLength: 1,
    maxLength: 9,
  })
  const ballots = fc.array(fc.record({ by: fc.nat(2), at: fc.nat() }), { maxLength: 6 })
  fc.assert(
    fc.property(shape, ballots, fc.infiniteStream(fc.nat()), (nodes, cast, luck) => {
      const ids = [first]
      const records: { record: CommitRecord; secret: Bytes }[] = []
      let chain = start
      for (const { parent, by } of nodes) {
        const author = authors[by] ?? alice
        const at = ids[parent % ids.length] ?? first
        const record = recordOn(chain, at, { by: author })
        records.push({ record, secret: author.secret })
        const grown = admit(native, chain, record, entryOf(record, author.secret), GROUP)
        assert.ok(grown.ok)
        chain = grown.value
        ids.push(record.commitId)
      }
      const votes = new Map<PeerId, Vote>()
      for (const { by, at } of cast) {
        votes.set((authors[by] ?? alice).peer, vote(ids[at % ids.length] ?? first))
      }
      const expected = selectTip(chain, votes)
      assert.ok(leadsTo(chain, first, expected))
      // Again in another order: what comes before its parent waits.
      const waiting = records.map((one) => ({ one, rank: luck.next().value as number }))
      waiting.sort((a, b) => a.rank - b.rank)
      let other = start
      for (let round = 0; round <= records.length; round++) {
        for (const { one } of waiting) {
          const { record, secret } = one
          const grown = admit(native, other, record, entryOf(record, secret), GROUP)
          if (grown.ok) other = grown.value
        }
      }
      assert.is(other.nodes.size, chain.nodes.size)
      assert.is(selectTip(other, votes), expected)
    }),
    { numRuns: 60 },
  )
})

test.run()
