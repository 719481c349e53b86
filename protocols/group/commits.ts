// Changing the group: what is asked for becomes a commit, and is asked for again where it lost (spec.md §4.5).
// Floor 0, pure.
import { compareBytes, concat, equalBytes } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { invariant } from '../base/errors.ts'
import { peerIdToBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { toTimeMs } from '../base/time.ts'
import { adopt } from './adoption.ts'
import { admit, leadsTo, nodeOf } from './chain.ts'
import { signRecord } from './commit-record.ts'
import { sameRef } from './ids.ts'
import type { Job, JobResult } from './jobs.ts'
import { sealBody } from './keys.ts'
import type { EngineCode, Proposal } from './mls-engine.ts'
import { encodePolicy, isAdmin, withRole } from './policy.ts'
import { selectTip } from './selection.ts'
import { isSettled } from './settled.ts'
import type { Change, DueWelcome, GroupState, Intent } from './state.ts'
import type { GroupTurn } from './turn.ts'
import { countRecord } from './votes.ts'
import {
  COMMIT_ATTEMPTS_MAX,
  INLINE_BODY_BYTES_MAX,
  INTENTS_MAX,
  JOIN_PACKAGE_BYTES_MAX,
  LOST_SPREAD_MS,
  PAST_EPOCHS_MS,
  REKEY_MS,
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
import { isMember, isRemovalBy, nextRef, policyHash, policyWithout, rosterHash } from './view.ts'

const NONCE_BYTES = 12
/** Octets of a JoinPackage besides its record's additions and its roster: Welcome, policy, addresses, those who are gone. */
const JOIN_PACKAGE_REST_BYTES = 8_192
const MEMBER_BYTES = 36
const ADD_BYTES = 73
/** After many losses the span to draw from grows no more. */
const LOST_TIMES_MAX = 16

/** Adds changes to what is asked for. */
export function askChanges(turn: GroupTurn, changes: readonly Change[], isRoutine = false): void {
  let { intentId } = turn.state
  const asked = changes.map((change): Intent => {
    intentId += 1
    const intent = { id: intentId, change, askedAt: turn.nowMs, attempts: 0 }
    return isRoutine ? { ...intent, isRoutine } : intent
  })
  const last = turn.state.intents.filter(
    ({ change }) => !changes.some((next) => supersedes(next, change)),
  )
  const intents = [...last, ...asked]
  const isOpen = ({ committedIn }: Intent): boolean => committedIn === undefined
  // Where nothing becomes final for long, the oldest that were committed are taken for done.
  const excess = intents.length - INTENTS_MAX
  const done = new Set(intents.filter((one) => !isOpen(one)).slice(0, Math.max(0, excess)))
  turn.change({ intentId, intents: intents.filter((one) => !done.has(one)) })
}

/** True if what was asked for before is not to be made again, should it lose: another change was asked for since. */
function supersedes(next: Change, last: Change): boolean {
  if (last.kind === 'rekey' || next.kind === 'rekey') return next.kind === last.kind
  const peerOf = (one: Exclude<Change, { kind: 'rekey' }>): PeerId =>
    one.kind === 'add' ? one.peer : one.member.peer
  if (peerOf(next) !== peerOf(last)) return false
  return next.kind === 'remove' ? last.kind !== 'remove' : next.kind === last.kind
}

/** True if the group already is as the change wants it. */
function isDone(change: Change, view: View): boolean {
  switch (change.kind) {
    case 'add':
      return view.roster.has(change.peer)
    case 'remove':
      return !isMember(view, change.member)
    case 'role':
      return (
        !isMember(view, change.member) ||
        isAdmin(view.policy, change.member) === (change.role === 'admin')
      )
    case 'rekey':
      return false
  }
}

/** Takes back what was committed on a branch that lost; forgets what is settled. */
export function reviewIntents(turn: GroupTurn): void {
  const { chain, tip, intents } = turn.state
  if (intents.length === 0) return
  const next: Intent[] = []
  for (const intent of intents) {
    const { committedIn } = intent
    if (committedIn === undefined) {
      if (!isDone(intent.change, turn.view)) next.push(intent)
    } else if (!leadsTo(chain, committedIn, tip)) next.push(afterLoss(turn, intent))
    else if (!isSettled(turn.state, committedIn) && isWorthAgain(turn, intent)) next.push(intent)
  }
  if (next.length !== intents.length || next.some((one, i) => one !== intents[i])) {
    turn.change({ intents: next })
  }
}

/** Members whose commits met do not all try again at once; a removal does not wait. */
function afterLoss(turn: GroupTurn, intent: Intent): Intent {
  const { committedIn: _, dueAt: __, ...open } = intent
  if (open.change.kind === 'remove') return open
  const losses = (open.losses ?? 0) + 1
  const [a = 0, b = 0] = turn.draw(2)
  const span = LOST_SPREAD_MS * Math.min(2 ** (losses - 1), LOST_TIMES_MAX)
  const dueAt = toTimeMs(Math.round(turn.nowMs + ((a * 256 + b) / 65_536) * span))
  return { ...open, losses, dueAt }
}

/** Fresh keys that lost after a day would be none; who is in and who is out is made again whenever it lost. */
function isWorthAgain(turn: GroupTurn, { change, askedAt }: Intent): boolean {
  return change.kind !== 'rekey' || turn.nowMs - askedAt < PAST_EPOCHS_MS
}

/** Changes that wait to be committed. */
export function openIntents({ intents }: GroupState): Intent[] {
  return intents.filter(({ committedIn }) => committedIn === undefined)
}

/** Asks for fresh keys where the own ones are old and something was said under them. */
export function reviewKeyAge(turn: GroupTurn): void {
  const { rekeyedLamport, lamport, intents, phase } = turn.state
  if (phase !== 'member' || turn.nowMs < rekeyDueAt(turn.state)) return
  if (lamport === rekeyedLamport || intents.some(({ change }) => change.kind === 'rekey')) return
  askChanges(turn, [{ kind: 'rekey' }], true)
}

/** When own keys are old. */
export function rekeyDueAt({ rekeyedAt }: GroupState): number {
  return rekeyedAt + REKEY_MS
}

/** When this member would execute another's Leave: a settle time later than the one ranked before it. */
export function leaveDueAt(primitives: Primitives, state: GroupState, leaver: PeerId): number {
  const pending = state.leaves.get(leaver)
  const epoch = state.held.get(state.tip)
  if (pending === undefined || epoch === undefined) return Number.POSITIVE_INFINITY
  const { roster } = nodeOf(state.chain, state.tip).view
  const rankOf = (peer: PeerId): Bytes =>
    primitives.hmacSha256(epoch.rankKey, concat(peerIdToBytes(leaver), peerIdToBytes(peer)))
  const own = rankOf(state.self.peer)
  let rank = 0
  for (const peer of roster.keys()) {
    if (peer !== leaver && compareBytes(rankOf(peer), own) < 0) rank += 1
  }
  const settleMs = pending.kind === 'tombstone' ? SETTLE_MS / 4 : SETTLE_MS
  return pending.heardAt + rank * settleMs
}

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

/** Hands Welcomes to those who were added, once their commit had time to lose. */
export function sendWelcomes(turn: GroupTurn): void {
  const { state } = turn
  for (const { commitId, peer, welcome, dueAt } of state.welcomes) {
    const name = `${commitId}/${peer}`
    if (dueAt > turn.nowMs || turn.state.volatile.handing.includes(name)) continue
    if (!leadsTo(state.chain, commitId, state.tip)) continue
    const epoch = state.held.get(commitId)
    const node = nodeOf(state.chain, commitId)
    const listening = state.generations.get(node.view.generation)
    if (epoch === undefined || listening === undefined) continue
    turn.note({ handing: [...turn.state.volatile.handing, name] })
    turn.ask({
      kind: 'handJoin',
      peer,
      commitId,
      joinPackage: {
        groupId: state.groupId,
        welcome,
        record: node.entry.record,
        genesis: state.genesis,
        policy: node.view.policy,
        roster: refsOf(node.view.roster),
        gone: refsOf(node.view.gone),
        generation: node.view.generation,
        tx: listening.generation.tx,
        treeHash: epoch.treeHash,
      },
    })
  }
}

function refsOf(peers: ReadonlyMap<PeerId, number>): MemberRef[] {
  return [...peers].map(([peer, gen]) => ({ peer, gen }))
}

/** Forgets a Welcome that was handed off, or whose commit lost, or whose epoch is gone. */
export function reviewWelcomes(turn: GroupTurn, done?: (one: DueWelcome) => boolean): void {
  const { state } = turn
  const left = state.welcomes.filter(
    (one) =>
      done?.(one) !== true &&
      leadsTo(state.chain, one.commitId, state.tip) &&
      state.held.has(one.commitId),
  )
  if (left.length !== state.welcomes.length) turn.change({ welcomes: left })
}

/** Keeps another member's Leave until somebody executes it. */
export function takeLeave(turn: GroupTurn, bytes: Bytes, author: MemberRef): void {
  const known = turn.state.leaves.get(author.peer)
  if (!isMember(turn.view, author)) return
  if (known !== undefined && equalBytes(known.bytes, bytes)) return
  const pending = { bytes, heardAt: turn.nowMs, gen: author.gen, kind: 'leave' as const }
  turn.change({ leaves: new Map(turn.state.leaves).set(author.peer, pending) })
}

/** Forgets the Leaves of those who are gone, or are the last admin of others. */
export function reviewLeaves(turn: GroupTurn): void {
  const { leaves } = turn.state
  const { roster, policy } = turn.view
  const isLast = (peer: PeerId): boolean =>
    roster.size > 1 && policy.admins.every((admin) => admin.peer === peer)
  const left = [...leaves].filter(
    ([peer, { gen, kind }]) => roster.get(peer) === gen && !(kind === 'leave' && isLast(peer)),
  )
  if (left.length !== leaves.size) turn.change({ leaves: new Map(left) })
}
