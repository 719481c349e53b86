// Following the selected branch: epoch after epoch, with acks, and the end of old secrets (spec.md §4.3). Floor 0, pure.
import { compareBytes, concat, equalBytes } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import type { PeerId } from '../base/ids.ts'
import { leadsTo, markFailed, nodeOf, pathFrom } from './chain.ts'
import type { ChainNode } from './chain.ts'
import { toCommitId } from './ids.ts'
import type { Job, JobResult, NewEpoch } from './jobs.ts'
import { makeGeneration, openBody } from './keys.ts'
import { reviewSealed } from './salvage.ts'
import type { CommitContent } from './mls-engine.ts'
import { encodePolicy } from './policy.ts'
import { isFinal, selectTip, standingOf } from './selection.ts'
import { checkOf, signAck } from './signed-notes.ts'
import type { GroupState, HeldEpoch, Listening, OwedTree } from './state.ts'
import type { GroupKit, GroupTurn } from './turn.ts'
import { takeVote } from './votes.ts'
import {
  ACK_LATE_MS,
  ACK_SPREAD_MS,
  ACK_SPREAD_MS_MAX,
  ACKS_AT_ONCE_MAX,
  CONTESTED_ACK_MS,
  CONTESTED_ACK_MS_MAX,
  OWED_TREES_MAX,
  BODY_WAIT_MS,
  GENERATION_HOLD_MS,
  GENERATION_LINGER_MS,
  PAST_EPOCHS_MAX,
  PAST_EPOCHS_MS,
  PAST_FINAL_MS,
  PAST_MS_MIN,
} from './types.ts'
import type { CommitId, RecordAdd } from './types.ts'

/** What leads towards the selected tip. */
export type Route =
  | { readonly kind: 'job'; readonly job: Job }
  /** There is none: the tip is selected, or is awaited. */
  | { readonly kind: 'none' }
  /** No epoch that is held leads there, or what does is not to be had: it can only be entered from outside. */
  | { readonly kind: 'outside'; readonly to: CommitId; readonly waitMs: number }

const NONE: Route = { kind: 'none' }

/** True if the selected epoch is the one that this member has adopted. */
export function isAtTip({ state: { chain, votes, tip, held } }: GroupTurn): boolean {
  return selectTip(chain, votes) === tip && held.has(tip)
}

/** The next step to the selected tip, if that is another one than ours and nothing holds it back. */
export function routeToTip(turn: GroupTurn): Route {
  const { chain, votes, held, checkpoints } = turn.state
  const selected = selectTip(chain, votes)
  if (isAtTip(turn) || turn.isFetching()) return NONE
  const path = pathFrom(chain, selected, (id) => held.has(id))
  if (path === undefined) return { kind: 'outside', to: selected, waitMs: 0 }
  const [next] = path.steps
  if (next === undefined) {
    // A branch that was left and is selected again: its secrets are still here.
    moveTo(turn, selected)
    return NONE
  }
  const own = checkpoints.get(next)
  if (own !== undefined) {
    return { kind: 'job', job: { kind: 'resume', commitId: next, treeHash: own.treeHash } }
  }
  const { failed, entry, record } = nodeOf(chain, next)
  // Most of the others have followed what failed here, or has not come yet: else it would not be selected.
  // And an own commit whose epoch is not here any more, after a restored backup, cannot be followed by its author.
  const isOwn = record.author.peer === turn.state.self.peer
  if (failed || isOwn) return { kind: 'outside', to: selected, waitMs: 0 }
  if (entry.body === undefined) return { kind: 'outside', to: selected, waitMs: BODY_WAIT_MS }
  return followFrom(turn, path.from, next, entry.body)
}

function followFrom(turn: GroupTurn, parent: CommitId, commitId: CommitId, sealed: Bytes): Route {
  const epoch = turn.state.held.get(parent)
  const commit = epoch && openBody(turn.primitives, epoch.bodyKey, commitId, sealed)
  if (commit !== undefined && toCommitId(turn.primitives.sha256(commit)) === commitId) {
    return { kind: 'job', job: { kind: 'follow', parent, commitId, commit } }
  }
  failCommit(turn, commitId)
  return routeToTip(turn)
}

/** Notes that a commit cannot be followed, whatever its record says. */
export function failCommit(turn: GroupTurn, commitId: CommitId): void {
  const chain = markFailed(turn.state.chain, commitId)
  turn.change({ chain })
  const { entry } = nodeOf(chain, commitId)
  turn.ask({ kind: 'saveRecord', commitId, entry, failed: true })
}

/** Adopts what a follow or a resume made, after comparing it with its record. */
export function takeFollowed(
  turn: GroupTurn,
  commitId: CommitId,
  result: Extract<JobResult, { kind: 'followed' }>,
): void {
  const node = nodeOf(turn.state.chain, commitId)
  const { content } = result
  if (!isAsRecorded(node, result.epoch) || (content && !isAsDone(node, content))) {
    failCommit(turn, commitId)
    return
  }
  adopt(turn, commitId, result.epoch)
}

/** Ends the membership, if the record says so, too. */
export function takeRemoved(turn: GroupTurn, commitId: CommitId, content: CommitContent): void {
  const node = nodeOf(turn.state.chain, commitId)
  if (node.view.roster.has(turn.state.self.peer) || !isAsDone(node, content)) {
    failCommit(turn, commitId)
    return
  }
  endMembership(turn, turn.state.phase === 'leaving' ? 'left' : 'removed')
}

/**
 * Forgets every secret of the group; what was received stays readable. Whoever was removed keeps what it said and what it
 * could not open yet: the removal may turn out to be void.
 */
export function endMembership(turn: GroupTurn, phase: 'left' | 'removed'): void {
  for (const commitId of turn.state.held.keys()) turn.ask({ kind: 'dropEpoch', commitId })
  for (const commitId of turn.state.checkpoints.keys()) {
    turn.ask({ kind: 'dropCheckpoint', commitId })
  }
  for (const treeHash of treesOf(turn)) turn.ask({ kind: 'dropTree', treeHash })
  if (phase === 'left') forgetMessages(turn)
  for (const { id } of turn.state.intents) {
    turn.ask({ kind: 'intentFailed', id, code: 'GROUP_NOT_MEMBER' })
  }
  const generations = endAll(turn)
  turn.change({
    phase,
    generations,
    held: new Map(),
    checkpoints: new Map(),
    intents: [],
    welcomes: [],
    owed: [],
    leaves: new Map(),
  })
  turn.ask({ kind: 'changed' })
}

function forgetMessages(turn: GroupTurn): void {
  const { outbox, kept, waiting } = turn.state
  for (const { n } of outbox) turn.ask({ kind: 'dropLetter', n })
  for (const { author, n } of kept.values()) turn.ask({ kind: 'dropKept', author, n })
  for (const frameId of waiting.keys()) turn.ask({ kind: 'dropWaiting', frameId })
  turn.change({ outbox: [], kept: new Map(), waiting: new Map() })
}

function endAll(turn: GroupTurn): Map<CommitId, Listening> {
  const generations = new Map(turn.state.generations)
  for (const [start, { generation, endedAt = turn.nowMs }] of generations) {
    const listening = { generation, endedAt }
    generations.set(start, listening)
    turn.ask({ kind: 'saveGeneration', listening })
  }
  return generations
}

function dropTrees(turn: GroupTurn, before: readonly Bytes[]): void {
  const left = treesOf(turn)
  for (const treeHash of before) {
    if (!left.some((one) => equalBytes(one, treeHash))) turn.ask({ kind: 'dropTree', treeHash })
  }
}

/** The tree of an epoch that is over, if a member that this one added by it may still have to fetch it. */
function owedOf({ state }: GroupTurn, commitId: CommitId): OwedTree | undefined {
  const epoch = state.held.get(commitId)
  const isOwn = nodeOf(state.chain, commitId).record.author.peer === state.self.peer
  return isOwn && epoch !== undefined && awaitsMembers(state, commitId)
    ? { commitId, treeHash: epoch.treeHash }
    : undefined
}

/** True while somebody whom a commit added is a member and has not voted yet. */
function awaitsMembers({ chain, tip, votes }: GroupState, commitId: CommitId): boolean {
  const { roster } = nodeOf(chain, tip).view
  return nodeOf(chain, commitId).record.adds.some(
    ({ member: { peer, gen } }) => roster.get(peer) === gen && votes.get(peer)?.gen !== gen,
  )
}

function reviewOwed(turn: GroupTurn): void {
  const { owed } = turn.state
  const left = owed.filter(({ commitId }) => awaitsMembers(turn.state, commitId))
  if (left.length === owed.length) return
  const trees = treesOf(turn)
  turn.change({ owed: left.slice(-OWED_TREES_MAX) })
  dropTrees(turn, trees)
}

function treesOf({ state }: GroupTurn): Bytes[] {
  const trees = new Map<string, Bytes>()
  const { held, checkpoints, owed } = state
  for (const { treeHash } of [...held.values(), ...checkpoints.values(), ...owed]) {
    trees.set(treeHash.join(), treeHash)
  }
  return [...trees.values()]
}

function isAsRecorded({ record, view }: ChainNode, epoch: NewEpoch): boolean {
  return (
    epoch.epoch === record.epoch &&
    equalBytes(epoch.groupInfoHash, record.groupInfoHash) &&
    equalBytes(epoch.policy, encodePolicy(view.policy)) &&
    epoch.roster.length === view.roster.size &&
    epoch.roster.every((peer) => view.roster.has(peer))
  )
}

function isAsDone({ record }: ChainNode, content: CommitContent): boolean {
  const names = (peers: readonly PeerId[]): string => [...peers].sort().join()
  const refs = (adds: readonly Bytes[]): Bytes => concat(...[...adds].sort(compareBytes))
  return (
    content.kind === (record.kind === 'resync' ? 'external' : 'member') &&
    content.committer === record.author.peer &&
    names(content.adds.map(({ peer }) => peer)) ===
      names(record.adds.map(({ member }) => member.peer)) &&
    equalBytes(
      refs(content.adds.map(({ ref }) => ref)),
      refs(record.adds.map(({ keyPackageRef }: RecordAdd) => keyPackageRef)),
    ) &&
    names(content.removes.map(({ peer }) => peer)) ===
      names(record.removes.map(({ member }) => member.peer))
  )
}

/** Holds a new epoch's secrets and makes it the tip. */
export function adopt(turn: GroupTurn, commitId: CommitId, epoch: NewEpoch): void {
  const { branchId, bodyKey, rankKey, authenticator, treeHash, tree, snapshot, tx } = epoch
  const held: HeldEpoch = { branchId, bodyKey, rankKey, authenticator, treeHash }
  turn.change({ held: new Map(turn.state.held).set(commitId, held) })
  turn.ask(
    { kind: 'saveTree', treeHash, tree },
    { kind: 'saveEpoch', commitId, epoch: held },
    { kind: 'saveSnapshot', commitId, snapshot },
    { kind: 'keepHandle', commitId },
  )
  const { generation } = nodeOf(turn.state.chain, commitId).view
  if (generation === commitId && !turn.state.generations.has(commitId)) {
    listenTo(turn, commitId, tx)
    // Somebody who catches up has not heard the frames of this generation yet.
    if (selectTip(turn.state.chain, turn.state.votes) !== commitId) {
      turn.note({ holdUntil: turn.nowMs + GENERATION_HOLD_MS })
    }
    turn.ask({ kind: 'wantSync' })
  }
  moveTo(turn, commitId)
}

/** Listens to a transport generation from now on. */
export function listenTo(turn: GroupTurn, start: CommitId, tx: Bytes): void {
  const listening: Listening = { generation: makeGeneration(turn.primitives, start, tx) }
  turn.change({ generations: new Map(turn.state.generations).set(start, listening) })
  turn.ask({ kind: 'saveGeneration', listening })
}

function moveTo(turn: GroupTurn, commitId: CommitId): void {
  const before = turn.state.tip
  if (before === commitId) return
  const held = new Map(turn.state.held)
  const old = held.get(before)
  const next = held.get(commitId)
  if (old !== undefined) {
    const ended = { ...old, endedAt: turn.nowMs }
    held.set(before, ended)
    turn.ask({ kind: 'saveEpoch', commitId: before, epoch: ended })
  }
  if (next?.endedAt !== undefined) {
    const { endedAt: _, ...again } = next
    held.set(commitId, again)
    turn.ask({ kind: 'saveEpoch', commitId, epoch: again })
  }
  const { record } = nodeOf(turn.state.chain, commitId)
  const isOwn = record.author.peer === turn.state.self.peer
  const { lamport } = turn.state
  const rekeyed = { rekeyedAt: turn.nowMs, rekeyedLamport: lamport }
  turn.change({ held, tip: commitId, ...(isOwn && rekeyed) })
  reviewSealed(turn)
  turn.ask({ kind: 'changed' })
}

/** True if there is a fork that is not decided for good. */
function isContested({ chain, votes }: GroupState): boolean {
  const { final } = standingOf(chain, votes)
  if (chain.forks.length === 0) return false
  return final === undefined || chain.forks.some((id) => leadsTo(chain, final, id))
}

/**
 * In larger groups acks are spread over time, so that most see that most have acked and can wait: the next epoch often
 * comes before. Who has just come in says so at once.
 */
function isAckDue(turn: GroupTurn): boolean {
  const { chain, votes, tip, since, volatile } = turn.state
  const members = turn.view.roster.size
  if (members <= ACKS_AT_ONCE_MAX || tip === since) return true
  const { ackDue } = volatile
  const [a = 0, b = 0] = turn.draw(2)
  const share = (a * 256 + b) / 65_536
  if (ackDue?.tip !== tip) {
    // Where branches compete votes are wanted soon; else they are only wanted.
    const spread = isContested(turn.state)
      ? Math.min(members * CONTESTED_ACK_MS, CONTESTED_ACK_MS_MAX)
      : Math.min(members * ACK_SPREAD_MS, ACK_SPREAD_MS_MAX)
    turn.note({ ackDue: { tip, at: Math.round(turn.nowMs + share * spread), isLate: false } })
    return false
  }
  if (turn.nowMs < ackDue.at) return false
  if (ackDue.isLate || !isFinal(chain, votes, tip)) return true
  const at = Math.round(turn.nowMs + (1 + share) * ACK_LATE_MS)
  turn.note({ ackDue: { tip, at, isLate: true } })
  return false
}

/** Tells the others which epoch this member has adopted, once nothing newer is selected. */
export function ackTip(turn: GroupTurn): void {
  const { chain, votes, tip, self, groupId } = turn.state
  if (turn.state.phase !== 'member' || votes.get(self.peer)?.commitId === tip) return
  if (chain.base === tip && nodeOf(chain, tip).record.kind === 'genesis') return
  if (!isAckDue(turn)) return
  const seq = turn.nextSeq()
  const check = checkOf(turn.primitives, turn.tipEpoch.authenticator)
  const { primitives, secret } = turn.kit
  const ack = signAck(primitives, secret, { groupId, author: self, seq, commitId: tip, check })
  takeVote(turn, self.peer, { gen: self.gen, seq, commitId: tip }, ack)
  const { view, record } = nodeOf(chain, tip)
  turn.publish(view.generation, { kind: 'acks', acks: [ack] })
  // Who is about to begin the generation listens to the one before.
  const before = chain.nodes.get(record.parent)?.view.generation
  if (before !== undefined && before !== view.generation) {
    turn.publish(before, { kind: 'acks', acks: [ack] })
  }
}

/** Drops the secrets of epochs past their number or their time, and generations that nobody uses any more. */
export function expireEpochs(turn: GroupTurn): void {
  reviewOwed(turn)
  const { held, checkpoints, generations } = turn.state
  const isOver = ({ dueAt }: Past): boolean => turn.nowMs >= dueAt
  const over = pastEpochs(turn.kit, turn.state).filter(isOver)
  const spent = pastCheckpoints(turn.kit, turn.state).filter(isOver)
  if (over.length > 0 || spent.length > 0) {
    const trees = treesOf(turn)
    const keptEpochs = new Map(held)
    const keptCheckpoints = new Map(checkpoints)
    const owed = over.flatMap(({ commitId }) => owedOf(turn, commitId) ?? [])
    if (owed.length > 0) turn.change({ owed: [...turn.state.owed, ...owed] })
    for (const { commitId } of over) {
      keptEpochs.delete(commitId)
      turn.ask({ kind: 'dropEpoch', commitId })
    }
    for (const { commitId } of spent) {
      keptCheckpoints.delete(commitId)
      turn.ask({ kind: 'dropCheckpoint', commitId })
    }
    turn.change({ held: keptEpochs, checkpoints: keptCheckpoints })
    dropTrees(turn, trees)
  }
  expireGenerations(turn, generations)
}

/** Secrets that are not those of the tip, and when they are over. */
interface Past {
  readonly commitId: CommitId
  readonly dueAt: number
}

function pastEpochs(kit: GroupKit, state: GroupState): Past[] {
  const past = [...state.held].filter(([id]) => id !== state.tip)
  return endsOf(
    kit,
    state,
    past.map(([id, { endedAt = 0 }]) => [id, endedAt]),
  )
}

/** A checkpoint has the keys of all that is said in its epoch: once the epoch is entered, its snapshot takes its place. */
function pastCheckpoints(kit: GroupKit, state: GroupState): Past[] {
  const made = [...state.checkpoints].map(([id, { madeAt }]): [CommitId, number] => [id, madeAt])
  const entered = made.filter(([id]) => state.held.has(id))
  const others = made.filter(([id]) => !state.held.has(id))
  return [
    ...entered.map(([commitId, dueAt]) => ({ commitId, dueAt })),
    ...endsOf(kit, state, others),
  ]
}

/** When each of them is over that is past since a time: by number, by time, or once most members are beyond it. */
function endsOf(
  { retention }: GroupKit,
  state: GroupState,
  past: readonly (readonly [CommitId, number])[],
): Past[] {
  const { epochs = PAST_EPOCHS_MAX, ms = PAST_EPOCHS_MS } = retention ?? {}
  const keptMs = Math.min(ms, PAST_EPOCHS_MS)
  const newestFirst = [...past].sort(([, a], [, b]) => b - a)
  return newestFirst.map(([commitId, since], i) => {
    if (i >= PAST_EPOCHS_MAX) return { commitId, dueAt: since }
    const isKept = i < epochs
    const wishedMs = isSettled(state, commitId) ? Math.min(keptMs, PAST_FINAL_MS) : keptMs
    return { commitId, dueAt: since + Math.max(isKept ? wishedMs : 0, PAST_MS_MIN) }
  })
}

/** True for epochs that no branch will be followed from any more: most members are beyond them, or on another branch. */
function isSettled({ chain, votes, tip }: GroupState, id: CommitId): boolean {
  const { final } = standingOf(chain, votes)
  // Who is not there yet needs what it holds to get there.
  return final !== undefined && leadsTo(chain, final, tip) && !leadsTo(chain, final, id)
}

/** When `expireEpochs` has something to do next. */
export function epochsDueAt(kit: GroupKit, state: GroupState): number {
  const past = [...pastEpochs(kit, state), ...pastCheckpoints(kit, state)]
  const over = [...state.generations.values()].map(({ endedAt }) =>
    endedAt === undefined ? Number.POSITIVE_INFINITY : endedAt + GENERATION_LINGER_MS,
  )
  return Math.min(...past.map(({ dueAt }) => dueAt), ...over)
}

function expireGenerations(turn: GroupTurn, generations: ReadonlyMap<CommitId, Listening>): void {
  const current =
    turn.state.phase === 'member' || turn.state.phase === 'leaving'
      ? turn.view.generation
      : undefined
  const next = new Map(generations)
  for (const [start, listening] of generations) {
    const { generation, endedAt } = listening
    if (start === current) {
      if (endedAt === undefined) continue
      next.set(start, { generation })
      turn.ask({ kind: 'saveGeneration', listening: { generation } })
    } else if (endedAt === undefined) {
      const ended = { generation, endedAt: turn.nowMs }
      next.set(start, ended)
      turn.ask({ kind: 'saveGeneration', listening: ended })
    } else if (turn.nowMs - endedAt >= GENERATION_LINGER_MS) {
      next.delete(start)
      turn.ask({ kind: 'dropGeneration', start })
    }
  }
  if (next.size !== generations.size || [...next].some(([k, v]) => generations.get(k) !== v)) {
    turn.change({ generations: next })
  }
}
