// The machine of a group, cell by cell (spec §4.3): real records and real epochs, results of jobs handed in by the test.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { HOUR_MS, toTimeMs } from '../../protocols/base/time.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import { firstPolicy, foundGroup, makeGenesis } from '../../protocols/group/founding.ts'
import { idBytes, toFrameId, toGroupId, toGroupMessageId } from '../../protocols/group/ids.ts'
import { describeEpoch, makeJobRunner } from '../../protocols/group/jobs.ts'
import type { Job, JobResult } from '../../protocols/group/jobs.ts'
import { makeGroupMachine } from '../../protocols/group/machine.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import { encodePolicy } from '../../protocols/group/policy.ts'
import { signAck, signLeave } from '../../protocols/group/signed-notes.ts'
import { isFinal } from '../../protocols/group/selection.ts'
import type { GroupEffect, GroupState, Moment, Phase } from '../../protocols/group/state.ts'
import { PENDING_FRAMES_MAX, REGRESSION_SKIP } from '../../protocols/group/types.ts'
import type { FrameContent } from '../../protocols/group/types.ts'
import { native } from '../../src/crypto/native.ts'
import type { GroupHeard } from '../../src/node/running-group.ts'
import { seededBytes, seededPeer } from '../support/seeded.ts'

const test = suite('group · machine')

const alice = seededPeer('alice')
const mallory = seededPeer('mallory')
const GROUP = toGroupId(new Uint8Array(32).fill(7))
const NOW = toTimeMs(1_800_000_000_000)
const kit = { primitives: native, peer: alice.peer, secret: alice.secret }
const machine = makeGroupMachine(kit)
const engine = makeMlsEngine({ primitives: native, random: seededBytes('group machine') })
const NOTHING = new Uint8Array(0)

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
    Object.freeze(value)
    for (const part of Object.values(value)) freeze(part)
  }
  return value
}

const at = (ms = 0): Moment => ({ nowMs: toTimeMs(NOW + ms), entropy: new Uint8Array(32).fill(9) })

/** One step, taken twice over frozen inputs: the same both times, and nothing was changed. */
function step(
  state: GroupState,
  heard: GroupHeard,
  ms = 0,
): readonly [GroupState, readonly GroupEffect[]] {
  const event = freeze({ ...heard, ...at(ms) })
  freeze(state)
  const first = machine.step(state, event)
  assert.equal(machine.step(state, event), first)
  return first
}

async function founded(): Promise<{ state: GroupState; run: (job: Job) => Promise<JobResult> }> {
  const policy = firstPolicy(alice.peer, 'ops')
  const self = { peer: alice.peer, sign: (message: Uint8Array) => alice.sign(message) }
  const handle = await engine.create({
    ...{ groupId: idBytes(GROUP), self, policy: encodePolicy(policy), nowMs: NOW },
  })
  const { groupInfoHash } = engine.info(handle)
  const genesis = makeGenesis(kit, { groupId: GROUP, policy, groupInfoHash, nowMs: NOW })
  const epoch = await describeEpoch(engine, handle, genesis.commitId)
  const begun = foundGroup(kit, genesis.bytes, epoch, NOW)
  assert.ok(begun.ok)
  const [state] = begun.value
  const rows = {
    snapshot: () => Promise.resolve({ snapshot: epoch.snapshot, tree: epoch.tree }),
    kept: () => Promise.resolve(undefined),
    checkpoint: () => Promise.resolve(undefined),
    tree: () => Promise.resolve(epoch.tree),
  }
  const runner = makeJobRunner({ engine, primitives: native, self, rows })
  return { state, run: (job) => runner.run(job) }
}

const kinds = (effects: readonly GroupEffect[]): string[] => effects.map(({ kind }) => kind)
const say = (text: string): GroupHeard => ({
  kind: 'messageAsked',
  msgId: toGroupMessageId(new Uint8Array(16).fill(text.length)),
  contentType: '',
  body: utf8(text),
})
const inPhase = (state: GroupState, phase: Phase): GroupState => ({ ...state, phase })

function codeOf(work: () => unknown): string {
  try {
    work()
    return 'none'
  } catch (error) {
    return error instanceof ConclaveError ? error.code : String(error)
  }
}

test('a message is durable and in the own history before it is sealed', async () => {
  const { state, run } = await founded()
  const [asked, effects] = step(state, say('hello'))
  assert.equal(kinds(effects), ['saveLetter', 'deliver', 'startJob'])
  assert.is(asked.n, 1)
  const { job } = asked.volatile
  assert.ok(job?.kind === 'seal')
  const [sealed, more] = step(asked, { kind: 'jobDone', job, result: await run(job) })
  // The ratchet and the frame are saved before the frame is published.
  const order = kinds(more)
  assert.equal(order.slice(0, 3), ['saveSnapshot', 'keepHandle', 'saveFrame'])
  assert.ok(order.indexOf('saveFrame') < order.indexOf('publish'))
  assert.ok(order.includes('saveLetter'))
  assert.is(sealed.volatile.job, undefined)
})

test('what a job answers to another state is ignored', async () => {
  const { state, run } = await founded()
  const [asked] = step(state, say('hello'))
  const { job } = asked.volatile
  assert.ok(job)
  const result = await run(job)
  const [after, effects] = step(state, { kind: 'jobDone', job, result })
  assert.equal(effects, [])
  assert.is(after.outbox, state.outbox)
  // A lost one is started anew.
  const [again, retry] = step(asked, { kind: 'jobDone', job, result: { kind: 'lost' } })
  assert.equal(kinds(retry), ['startJob'])
  assert.equal(again.volatile.job, job)
})

test('who is no member says and changes nothing', async () => {
  const { state } = await founded()
  for (const phase of ['leaving', 'left', 'removed'] as const) {
    const out = inPhase(state, phase)
    assert.is(
      codeOf(() => step(out, say('x'))),
      'GROUP_NOT_MEMBER',
    )
    const rekey: GroupHeard = { kind: 'changesAsked', changes: [{ kind: 'rekey' }] }
    assert.is(
      codeOf(() => step(out, rekey)),
      'GROUP_NOT_MEMBER',
    )
    // Nobody is there who could execute its Leave.
    const then = phase === 'leaving' ? 'left' : phase
    assert.is(step(out, { kind: 'leaveAsked' })[0].phase, then)
  }
})

test('only admins change who is in; anybody renews its keys', async () => {
  const { state } = await founded()
  const node = nodeOf(state.chain, state.tip)
  const policy = { ...node.view.policy, admins: [{ peer: mallory.peer, gen: 1 }] }
  const nodes = new Map(state.chain.nodes).set(state.tip, {
    ...node,
    view: { ...node.view, policy },
  })
  const plain = { ...state, chain: { ...state.chain, nodes } }
  const member = { peer: mallory.peer, gen: 1 }
  for (const change of [
    { kind: 'remove', member },
    { kind: 'role', member, role: 'admin' },
    { kind: 'add', peer: mallory.peer, keyPackage: NOTHING, ref: NOTHING },
  ] as const) {
    const asked: GroupHeard = { kind: 'changesAsked', changes: [change] }
    assert.is(
      codeOf(() => step(plain, asked)),
      'GROUP_NOT_ADMIN',
    )
  }
  const [rekeying] = step(plain, { kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
  assert.is(rekeying.volatile.job?.kind, 'commit')
})

test('an own commit is saved whole before it is published, and adopted', async () => {
  const { state, run } = await founded()
  const [asking] = step(state, { kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
  const { job } = asking.volatile
  assert.ok(job?.kind === 'commit')
  const [after, effects] = step(asking, { kind: 'jobDone', job, result: await run(job) })
  const order = kinds(effects)
  for (const saved of ['saveTree', 'saveCheckpoint', 'saveRecord', 'saveFrame']) {
    assert.ok(order.indexOf(saved) < order.indexOf('publish'), `${saved} before publish`)
  }
  assert.is(nodeOf(after.chain, after.tip).view.epoch, 1)
  assert.ok(isFinal(after.chain, after.votes, after.tip), 'alone, a commit is final at once')
  // What was asked for is kept until it is beyond doubt.
  const [day] = step(after, { kind: 'timer' }, 25 * HOUR_MS)
  const [later] = step(day, { kind: 'timer' }, 50 * HOUR_MS)
  assert.is(after.intents.length + later.intents.length, 1)
  assert.ok(after.held.get(state.tip)?.endedAt !== undefined, 'the parent is held for a while')
})

test('the last of a group leaves at once, and no secret stays', async () => {
  const { state } = await founded()
  const [left, effects] = step(state, { kind: 'leaveAsked' })
  assert.is(left.phase, 'left')
  assert.is(left.held.size + left.outbox.length + left.waiting.size, 0)
  assert.ok(kinds(effects).includes('dropEpoch') && kinds(effects).includes('dropTree'))
  const [later, gone] = step(left, { kind: 'timer' }, 25 * HOUR_MS)
  assert.is(later.generations.size, 0)
  assert.ok(kinds(gone).includes('dropGeneration'))
})

test('a message for which there is no room is not kept, so that it comes again', async () => {
  const { state } = await founded()
  const branchId = [...state.held.values()][0]?.branchId
  assert.ok(branchId)
  const other = '1'.repeat(32) as typeof branchId
  const waiting = new Map(
    Array.from({ length: PENDING_FRAMES_MAX }, (_, i) => {
      const frameId = toFrameId(native.sha256(utf8(String(i))))
      return [frameId, { frameId, branchId: other, message: NOTHING, heardAt: NOW }]
    }),
  )
  const heard: GroupHeard = {
    kind: 'frameHeard',
    frameId: toFrameId(new Uint8Array(32)),
    hour: Math.floor(NOW / HOUR_MS),
    frame: NOTHING,
    content: { kind: 'app', branchId: other, message: Uint8Array.of(1) },
  }
  assert.equal(kinds(step({ ...state, waiting }, heard)[1]), [])
  assert.equal(kinds(step(state, heard)[1]), ['saveWaiting', 'saveFrame'])
  // What was said before this member came is not for it.
  assert.equal(kinds(step(state, { ...heard, hour: 1 })[1]), ['saveFrame'])
  // What never finds its epoch is forgotten after a day.
  const [, effects] = step({ ...state, waiting }, { kind: 'timer' }, 25 * HOUR_MS)
  assert.is(kinds(effects).filter((kind) => kind === 'dropWaiting').length, PENDING_FRAMES_MAX)
})

test('after a restored backup nothing is said before the keys are new', async () => {
  const { state } = await founded()
  const [restored] = step(state, { kind: 'loaded', regressed: true })
  assert.is(restored.n, REGRESSION_SKIP)
  assert.is(restored.volatile.job?.kind, 'commit')
  const [asked] = step(restored, say('x'))
  assert.is(asked.volatile.job?.kind, 'commit')
  assert.is(asked.outbox[0]?.n, REGRESSION_SKIP + 1)
})

test('frames are judged before they are forwarded', async () => {
  const { state } = await founded()
  const author = { peer: mallory.peer, gen: 1 }
  const own = { peer: alice.peer, gen: 1 }
  const other = toGroupId(new Uint8Array(32).fill(8))
  const ack = (secret: Uint8Array, by: typeof author, groupId = GROUP): FrameContent => {
    const content = { groupId, author: by, seq: 1, commitId: state.tip, check: new Uint8Array(16) }
    return { kind: 'acks', acks: [signAck(native, secret, content)] }
  }
  const leave = (secret: Uint8Array, by: typeof author): FrameContent => {
    return { kind: 'leave', leave: signLeave(native, secret, { groupId: GROUP, author: by }) }
  }
  const cases: readonly [string, FrameContent][] = [
    ['accept', ack(alice.secret, own)],
    ['ignore', ack(mallory.secret, author)], // signed, but nobody we know
    ['reject', ack(mallory.secret, own)],
    ['reject', ack(alice.secret, own, other)],
    ['accept', leave(alice.secret, own)],
    ['ignore', leave(mallory.secret, author)],
    ['reject', leave(mallory.secret, own)],
    ['reject', { kind: 'commit', entry: { record: Uint8Array.of(1), evidence: [] } }],
  ]
  for (const [verdict, content] of cases) assert.is(machine.judge(state, content), verdict)
})

test.run()
