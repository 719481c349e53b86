// Following the selected branch: epoch after epoch, with acks, and the end of old secrets (spec.md §4.3). Floor 0, pure.
import { compareBytes, concat, equalBytes } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import type { PeerId } from '../base/ids.ts'
import { leadsTo, markFailed, nodeOf, pathFrom } from './chain.ts'
import type { ChainNode, Failed } from './chain.ts'
import { toCommitId } from './ids.ts'
import type { Job, JobResult, NewEpoch } from './jobs.ts'
import { makeGeneration, openBody } from './keys.ts'
import { endMembership } from './membership.ts'
import type { CommitContent } from './mls-engine.ts'
import { encodePolicy } from './policy.ts'
import { reviewSealed } from './salvage.ts'
import { isFinal, selectTip, standingOf } from './selection.ts'
import { checkOf, signAck } from './signed-notes.ts'
import type { GroupState, HeldEpoch, Listening } from './state.ts'
import type { GroupTurn } from './turn.ts'
import {
  ACK_LATE_MS,
  ACK_SPREAD_MS,
  ACK_SPREAD_MS_MAX,
  ACKS_AT_ONCE_MAX,
  BODY_WAIT_MS,
  CONTESTED_ACK_MS,
  CONTESTED_ACK_MS_MAX,
  GENERATION_HOLD_MS,
} from './types.ts'
import type { CommitId, RecordAdd } from './types.ts'
import { takeVote } from './votes.ts'

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
export function failCommit(turn: GroupTurn, commitId: CommitId, failed: Failed = true): void {
  const chain = markFailed(turn.state.chain, commitId, failed)
  turn.change({ chain })
  const { entry } = nodeOf(chain, commitId)
  turn.ask({ kind: 'saveRecord', commitId, entry, failed })
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
