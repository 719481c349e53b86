// Changing the group: what is asked for becomes a commit, and is asked for again where it lost (spec.md §4.5).
// Floor 0, pure.
import type { Bytes } from '../base/bytes.ts'
import { invariant } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { adopt } from './adoption.ts'
import { admit, nodeOf } from './chain.ts'
import { signRecord } from './commit-record.ts'
import { sameRef } from './ids.ts'
import { isDone, openIntents } from './intents.ts'
import type { Job, JobResult } from './jobs.ts'
import { sealBody } from './keys.ts'
import { leaveDueAt } from './leaves.ts'
import type { EngineCode, Proposal } from './mls-engine.ts'
import { encodePolicy, isAdmin, withRole } from './policy.ts'
import { selectTip } from './selection.ts'
import type { Change, DueWelcome, Intent } from './state.ts'
import type { GroupTurn } from './turn.ts'
import {
  COMMIT_ATTEMPTS_MAX,
  INLINE_BODY_BYTES_MAX,
  JOIN_PACKAGE_BYTES_MAX,
  SETTLE_MS,
} from './types.ts'
import type {
  CommitId,
  CommitRecord,
  MemberRef,
  Policy,
  RecordAdd,
  RecordRemove,
  View,
} from './types.ts'
import { isRemovalBy, nextRef, policyHash, policyWithout, rosterHash } from './view.ts'
import { countRecord } from './votes.ts'

const NONCE_BYTES = 12
/** Octets of a JoinPackage besides its record's additions and its roster: Welcome, policy, addresses, those who are gone. */
const JOIN_PACKAGE_REST_BYTES = 8_192
const MEMBER_BYTES = 36
const ADD_BYTES = 73

interface Plan {
  readonly proposals: readonly Proposal[]
  readonly adds: readonly RecordAdd[]
  readonly removes: readonly RecordRemove[]
  readonly evidence: readonly Bytes[]
  readonly policy?: Policy
}

/** The commit to be made next, if something is asked for. */
export function commitJob(turn: GroupTurn): Job | undefined {
  const { state } = turn
  const open = state.intents.filter(
    ({ change, committedIn, dueAt = 0 }) =>
      committedIn === undefined && dueAt <= turn.nowMs && mayMake(turn, change),
  )
  // After a refusal one by one, so that what is wrong with one does not hold up the others.
  const isRefused = open.some(({ attempts }) => attempts > 0)
  const batch = isRefused ? open.slice(0, 1) : withinPackage(turn, open)
  const leaves = [...state.leaves.keys()].filter(
    (peer) => leaveDueAt(turn.primitives, state, peer) <= turn.nowMs && mayExecute(turn, peer),
  )
  if (batch.length === 0 && leaves.length === 0) return undefined
  const { proposals } = planOf(turn, batch, leaves)
  const intents = batch.map(({ id }) => id)
  return { kind: 'commit', parent: state.tip, proposals, intents, leaves, nowMs: turn.nowMs }
}

/** Nothing is said to somebody whose removal is not made, or has lost; nor under keys that are to be replaced. */
export function mustCommitFirst(turn: GroupTurn): boolean {
  const { state } = turn
  // Somebody whom another branch removed would hear it.
  if ([...state.leaves.values()].some(({ kind }) => kind === 'tombstone')) return true
  return openIntents(state).some(
    ({ change, isRoutine }) =>
      (change.kind === 'remove' && mayMake(turn, change)) ||
      (change.kind === 'rekey' && isRoutine !== true),
  )
}

/** An admin whose role was lost with a branch waits with what only admins do. */
function mayMake({ view, state }: GroupTurn, change: Change): boolean {
  return change.kind === 'rekey' || isAdmin(view.policy, state.self)
}

/** As many additions as leave room in a JoinPackage, which names all of them and the roster after them. */
function withinPackage({ view }: GroupTurn, open: readonly Intent[]): Intent[] {
  const room = JOIN_PACKAGE_BYTES_MAX - JOIN_PACKAGE_REST_BYTES - MEMBER_BYTES * view.roster.size
  let adds = Math.max(1, Math.floor(room / (MEMBER_BYTES + ADD_BYTES)))
  return open.filter(({ change }) => change.kind !== 'add' || adds-- > 0)
}

function mayExecute({ state, view, primitives }: GroupTurn, leaver: PeerId): boolean {
  const { roster, policy } = view
  if (!roster.has(leaver) || !policy.admins.some(({ peer }) => peer !== leaver)) return false
  const pending = state.leaves.get(leaver)
  if (pending?.kind !== 'tombstone' || isAdmin(policy, state.self))
    return leaver !== state.self.peer
  const { groupId } = state
  const member = { peer: leaver, gen: pending.gen }
  return (
    leaver !== state.self.peer &&
    isRemovalBy(primitives, pending.bytes, { groupId, policy, member })
  )
}

function planOf(turn: GroupTurn, intents: readonly Intent[], leaves: readonly PeerId[]): Plan {
  const { view, state } = turn
  const adds: RecordAdd[] = []
  const removes: RecordRemove[] = []
  const evidence: Bytes[] = []
  const proposals: Proposal[] = []
  const removed: MemberRef[] = []
  for (const peer of leaves) {
    const gen = view.roster.get(peer)
    const pending = state.leaves.get(peer)
    if (gen === undefined || pending === undefined) continue
    const { bytes, kind } = pending
    removed.push({ peer, gen })
    proposals.push({ kind: 'remove', peer })
    // An admin needs no evidence for what another branch did.
    if (kind === 'tombstone' && isAdmin(view.policy, state.self)) {
      removes.push({ member: { peer, gen } })
      continue
    }
    if (!evidence.includes(bytes)) evidence.push(bytes)
    removes.push({ member: { peer, gen }, evidence: turn.primitives.sha256(bytes) })
  }
  for (const { change } of intents) {
    if (isDone(change, view)) continue
    if (change.kind === 'remove' && !removed.some((ref) => sameRef(ref, change.member))) {
      removed.push(change.member)
      removes.push({ member: change.member })
      proposals.push({ kind: 'remove', peer: change.member.peer })
    }
    if (change.kind === 'add' && !adds.some(({ member }) => member.peer === change.peer)) {
      const overridden = view.gone.get(change.peer) ?? 0
      adds.push({ member: nextRef(view, change.peer), keyPackageRef: change.ref, overridden })
      proposals.push({ kind: 'add', keyPackage: change.keyPackage })
    }
  }
  const policy = policyOf(view, intents, removed)
  if (policy !== undefined) proposals.push({ kind: 'policy', policy: encodePolicy(policy) })
  return { proposals, adds, removes, evidence, ...(policy !== undefined && { policy }) }
}

function policyOf(
  view: View,
  intents: readonly Intent[],
  removed: readonly MemberRef[],
): Policy | undefined {
  let policy = policyWithout(view.policy, removed) ?? view.policy
  for (const { change } of intents) {
    if (change.kind !== 'role' || isDone(change, view)) continue
    if (removed.some((ref) => sameRef(ref, change.member))) continue
    policy = withRole(policy, change.member, change.role)
  }
  return policy === view.policy ? undefined : { ...policy, changes: view.policy.changes + 1 }
}

/** Makes an own commit durable, publishes it and adopts it, unless the group has moved on since. */
export function takeCommitted(
  turn: GroupTurn,
  job: Extract<Job, { kind: 'commit' }>,
  result: Extract<JobResult, { kind: 'committed' }>,
): void {
  const { state } = turn
  if (state.tip !== job.parent || selectTip(state.chain, state.votes) !== job.parent) return
  const { commitId, epoch } = result
  const intents = state.intents.filter(({ id }) => job.intents.includes(id))
  const plan = planOf(turn, intents, job.leaves)
  // What was asked for again meanwhile is not in this commit as its record would say.
  const isPlanned =
    intents.length === job.intents.length && plan.proposals.length === job.proposals.length
  if (!isPlanned) return
  const { parent } = job
  recordCommit(turn, { kind: 'commit', parent, plan, bodyKey: turn.tipEpoch.bodyKey, result })
  const isAlone = turn.view.roster.size === 1
  const dueAt = turn.nowMs + (isAlone ? 0 : SETTLE_MS)
  const welcomes = result.welcomes.map(({ peer, welcome }): DueWelcome => {
    return { commitId, peer, welcome, dueAt: dueAt as DueWelcome['dueAt'] }
  })
  const done = new Set(job.intents)
  turn.change({
    welcomes: [...turn.state.welcomes, ...welcomes],
    intents: turn.state.intents.map((one) =>
      done.has(one.id) ? { ...one, committedIn: commitId } : one,
    ),
  })
  adopt(turn, commitId, epoch)
}

interface OwnCommit {
  readonly kind: 'commit' | 'resync'
  readonly parent: CommitId
  readonly plan?: Plan
  /** Seals what follows the parent: 32 bytes. */
  readonly bodyKey: Bytes
  readonly result: Extract<JobResult, { kind: 'committed' }>
}

/** Makes the record of an own commit, saves it with its checkpoint, and publishes it. */
export function recordCommit(turn: GroupTurn, own: OwnCommit): void {
  const { primitives, secret } = turn.kit
  const { state } = turn
  const { parent, plan, result } = own
  const { commitId, commit, epoch, checkpoint } = result
  const { view } = nodeOf(state.chain, parent)
  const { adds = [], removes = [], policy, evidence = [] } = plan ?? {}
  const roster = new Map(view.roster)
  for (const { member } of removes) roster.delete(member.peer)
  for (const { member } of adds) roster.set(member.peer, member.gen)
  const body = sealBody(primitives, own.bodyKey, commitId, turn.draw(NONCE_BYTES), commit)
  const record: CommitRecord = {
    kind: own.kind,
    groupId: state.groupId,
    parent,
    commitId,
    epoch: view.epoch + 1,
    author: state.self,
    seq: turn.nextSeq(),
    adds,
    removes,
    ...(policy !== undefined && { policy }),
    rosterHash: rosterHash(primitives, roster),
    policyHash: policyHash(primitives, policy ?? view.policy),
    sealedHash: primitives.sha256(body),
    bodyBytes: body.length,
    groupInfoHash: epoch.groupInfoHash,
  }
  const slim = { record: signRecord(primitives, secret, record), evidence }
  const entry = { ...slim, body }
  const grown = admit(primitives, state.chain, record, entry, state.groupId)
  invariant(grown.ok, 'an own commit follows from its parent')
  const { treeHash, tree } = epoch
  const made = { treeHash, madeAt: turn.nowMs }
  const checkpoints = new Map(state.checkpoints).set(commitId, made)
  turn.change({ chain: grown.value, checkpoints })
  turn.ask(
    { kind: 'saveTree', treeHash, tree },
    { kind: 'saveCheckpoint', commitId, checkpoint: made, bytes: checkpoint },
    { kind: 'saveRecord', commitId, entry, failed: false },
  )
  countRecord(turn, record)
  const isInline = body.length <= INLINE_BODY_BYTES_MAX
  turn.publish(view.generation, { kind: 'commit', entry: isInline ? entry : slim })
}

/** Counts a refused attempt; a change that is refused too often has failed. */
export function takeRefusedCommit(
  turn: GroupTurn,
  job: Extract<Job, { kind: 'commit' }>,
  code: EngineCode,
): void {
  const intents: Intent[] = []
  for (const intent of turn.state.intents) {
    if (!job.intents.includes(intent.id)) intents.push(intent)
    else if (intent.attempts + 1 < COMMIT_ATTEMPTS_MAX) {
      intents.push({ ...intent, attempts: intent.attempts + 1 })
    } else turn.ask({ kind: 'intentFailed', id: intent.id, code })
  }
  turn.change({ intents })
}
