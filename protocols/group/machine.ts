// The state machine of one group at one member: what happens, and what follows from it (spec.md §4). Floor 0, pure.
import { ConclaveError } from '../base/errors.ts'
import type { Step } from '../base/step.ts'
import { ackTip, failCommit, isAtTip, routeToTip, takeFollowed, takeRemoved } from './adoption.ts'
import { planProbe, probeClosed, probeJob } from './closed.ts'
import { commitJob, mustCommitFirst, takeCommitted, takeRefusedCommit } from './commits.ts'
import { reachBack } from './history.ts'
import { askChanges, openIntents, rekeyDueAt, reviewIntents, reviewKeyAge } from './intents.ts'
import type { Job } from './jobs.ts'
import { leaveDueAt, reviewLeaves, takeLeave } from './leaves.ts'
import { endMembership, reviewOut, reviewReturn } from './membership.ts'
import {
  expireMessages,
  keepWaiting,
  messagesDueAt,
  openJob,
  queueMessage,
  sealJob,
  takeOpened,
  takeSealed,
} from './messages.ts'
import { isAdmin } from './policy.ts'
import { takeEntry, takeRecords } from './records.ts'
import { resyncJob, takeInfo, takeRefusedResync, takeResynced } from './resync.ts'
import { epochsDueAt, expireEpochs } from './retention.ts'
import { askRepair, expireSealed, repairDueAt, salvageDueAt, takeRepair } from './salvage.ts'
import { reviewSettled } from './settled.ts'
import { signLeave, verifyLeave } from './signed-notes.ts'
import type { GroupEffect, GroupEvent, GroupState } from './state.ts'
import { reviewStrays } from './strays.ts'
import { reviewTombstones, takeRemovalHeard } from './tombstones.ts'
import { GroupTurn } from './turn.ts'
import type { GroupKit } from './turn.ts'
import { CATCH_UP_MS, INTENTS_MAX, OUT_MS, REGRESSION_SKIP } from './types.ts'
import type { FrameContent } from './types.ts'
import { judge } from './validation.ts'
import type { Judgement } from './validation.ts'
import { reviewEarly, takeAck, takeProof } from './votes.ts'
import { reviewWelcomes, sendWelcomes } from './welcomes.ts'

/** The pure functions of one group. */
export interface GroupMachine {
  /** Advances a group by one event; throws a ConclaveError where the agent asks for what cannot be. */
  step(state: GroupState, event: GroupEvent): Step<GroupState, GroupEffect>
  /** Whether a frame's content is worth being forwarded (spec.md §4.6). */
  judge(state: GroupState, content: FrameContent): Judgement
  /** When a `timer` event is due. */
  wakeAt(state: GroupState): number
}

/** Makes the machine. */
export function makeGroupMachine(kit: GroupKit): GroupMachine {
  return {
    step(state, event) {
      const turn = new GroupTurn(kit, state, event)
      take(turn, event)
      reviewEarly(turn)
      passTime(turn)
      settle(turn)
      turn.note({ steppedAt: event.nowMs })
      return [turn.state, turn.effects]
    },
    judge: (state, content) => judge(kit.primitives, state, content),
    wakeAt: (state) => wakeAt(kit, state),
  }
}

function take(turn: GroupTurn, event: GroupEvent): void {
  switch (event.kind) {
    case 'loaded':
      turn.note({ catchUpUntil: turn.nowMs + CATCH_UP_MS, loadedAt: turn.nowMs })
      if (event.regressed && turn.isActive()) skipUsed(turn)
      planProbe(turn, 0)
      turn.ask({ kind: 'wantSync' })
      return
    case 'timer':
      expireSealed(turn)
      return
    case 'messageAsked':
      demandMember(turn)
      queueMessage(turn, event)
      return
    case 'changesAsked':
      takeAsked(turn, event)
      return
    case 'leaveAsked':
      takeLeaveAsked(turn)
      return
    case 'frameHeard':
      takeFrame(turn, event)
      return
    case 'recordsHeard':
      takeRecords(turn, event.entries)
      return
    case 'acksHeard':
      for (const ack of event.acks) takeAck(turn, ack)
      for (const proof of event.proofs) takeProof(turn, proof)
      return
    case 'infoHeard':
      takeInfo(turn, event)
      return
    case 'removalHeard':
      if (turn.isActive()) takeRemovalHeard(turn, event.peer, event.removal)
      return
    case 'bodyHeard': {
      const node = turn.state.chain.nodes.get(event.commitId)
      if (node !== undefined) takeEntry(turn, { ...node.entry, body: event.body })
      return
    }
    case 'syncBegan':
      turn.note({
        syncs: turn.state.volatile.syncs + 1,
        syncUntil: turn.nowMs + CATCH_UP_MS,
      })
      return
    case 'syncEnded':
      turn.note({
        syncs: Math.max(0, turn.state.volatile.syncs - 1),
        ...(event.reached && { catchUpUntil: 0, holdUntil: 0 }),
      })
      reachBack(turn)
      return
    case 'joinHandedOff':
      turn.note({
        handing: turn.state.volatile.handing.filter(
          (name) => name !== `${event.commitId}/${event.peer}`,
        ),
      })
      reviewWelcomes(
        turn,
        ({ commitId, peer }) => commitId === event.commitId && peer === event.peer,
      )
      return
    case 'jobDone':
      takeResult(turn, event)
  }
}

/**
 * After a restored backup: numbers and keys that may have been used are not used again. `ownJob` says nothing
 * before the fresh keys are committed.
 */
function skipUsed(turn: GroupTurn): void {
  turn.change({ n: turn.state.n + REGRESSION_SKIP })
  if (turn.state.phase === 'member') askChanges(turn, [{ kind: 'rekey' }])
}

/** Does what is due, whichever event comes first after that: nobody is woken for it again. */
function passTime(turn: GroupTurn): void {
  expireMessages(turn)
  reviewKeyAge(turn)
  const { catchUpUntil, holdUntil } = turn.state.volatile
  if (catchUpUntil > 0 && catchUpUntil <= turn.nowMs) turn.note({ catchUpUntil: 0 })
  if (holdUntil > 0 && holdUntil <= turn.nowMs) turn.note({ holdUntil: 0 })
}

function demandMember({ state }: GroupTurn): void {
  if (state.phase === 'member') return
  throw new ConclaveError('GROUP_NOT_MEMBER', 'this agent is not a member of the group any more', {
    hint: 'an admin of it can invite this agent again',
  })
}

function takeAsked(
  turn: GroupTurn,
  { changes }: Extract<GroupEvent, { kind: 'changesAsked' }>,
): void {
  demandMember(turn)
  const needsAdmin = changes.some(({ kind }) => kind !== 'rekey')
  if (needsAdmin && !isAdmin(turn.view.policy, turn.state.self)) {
    throw new ConclaveError('GROUP_NOT_ADMIN', 'only an admin of the group may do this', {
      hint: 'conclave group info shows who is an admin',
    })
  }
  const asked = openIntents(turn.state).length + changes.length
  if (asked > INTENTS_MAX) {
    throw new ConclaveError('LIMIT_QUOTA', `${asked} changes would wait, ${INTENTS_MAX} may`)
  }
  askChanges(turn, changes)
}

function takeLeaveAsked(turn: GroupTurn): void {
  const { state, view } = turn
  if (state.phase !== 'member') return
  if (view.roster.size === 1) {
    endMembership(turn, 'left')
    return
  }
  // Nobody would hear of it: this member is on its way back after a removal that was void.
  if (!state.generations.has(view.generation)) {
    endMembership(turn, 'left')
    return
  }
  const others = view.policy.admins.filter(({ peer }) => peer !== state.self.peer)
  if (others.length === 0) {
    throw new ConclaveError('GROUP_LAST_ADMIN', 'the last admin of others cannot leave', {
      hint: 'conclave group promote GROUP PEER makes another one',
    })
  }
  const { primitives, secret } = turn.kit
  const leave = signLeave(primitives, secret, { groupId: state.groupId, author: state.self })
  turn.change({ phase: 'leaving', intents: [], welcomes: [] })
  turn.publish(view.generation, { kind: 'leave', leave })
  turn.ask({ kind: 'changed' })
}

/**
 * Where all others leave as well there is nobody to wait for. And where other admins have left first, this one cannot:
 * it is a member again.
 */
function reviewLeaving(turn: GroupTurn): void {
  const { phase, self, leaves } = turn.state
  if (phase !== 'leaving') return
  const { roster, policy } = turn.view
  const isOver = [...roster.keys()].every(
    (peer) => peer === self.peer || leaves.get(peer)?.kind === 'leave',
  )
  if (isOver) endMembership(turn, 'left')
  else if (policy.admins.length === 1 && isAdmin(policy, self)) {
    turn.change({ phase: 'member' })
    turn.ask({ kind: 'changed' })
  }
}

function takeFrame(turn: GroupTurn, event: Extract<GroupEvent, { kind: 'frameHeard' }>): void {
  const { frameId, hour, frame, content } = event
  // Were the removal void, a sync would bring what was said meanwhile.
  if (content.kind === 'app' && turn.state.phase === 'removed') return
  // Where there is no room the frame is not kept at all, so that a later sync brings it again.
  if (
    content.kind === 'app' &&
    turn.isActive() &&
    !keepWaiting(turn, { frameId, hour }, content.branchId, content.message)
  ) {
    return
  }
  turn.ask({ kind: 'saveFrame', frameId, hour, frame })
  if (content.kind === 'commit') takeEntry(turn, content.entry)
  if (content.kind === 'acks') for (const ack of content.acks) takeAck(turn, ack)
  if (content.kind === 'proof') takeProof(turn, content.proof)
  if (content.kind === 'repair' && turn.isActive()) takeRepair(turn, content.repair)
  if (content.kind === 'leave' && turn.isActive()) {
    const leave = verifyLeave(turn.primitives, content.leave)
    if (leave.ok && leave.value.groupId === turn.state.groupId) {
      takeLeave(turn, content.leave, leave.value.author)
    }
  }
}

function takeResult(turn: GroupTurn, event: Extract<GroupEvent, { kind: 'jobDone' }>): void {
  const { job, result } = event
  if (turn.state.volatile.job !== job) return // of a state that was given up
  const { job: _, ...volatile } = turn.state.volatile
  turn.change({ volatile })
  if (!turn.isActive()) return
  if (result.kind === 'lost') return
  if (result.kind === 'refused') takeRefusal(turn, job, result.code)
  else if (job.kind === 'follow' && result.kind === 'removed') {
    takeRemoved(turn, job.commitId, result.content)
  } else if (job.kind === 'follow' || job.kind === 'resume') {
    if (result.kind === 'followed') takeFollowed(turn, job.commitId, result)
  } else if (job.kind === 'commit' && result.kind === 'committed') takeCommitted(turn, job, result)
  else if (job.kind === 'resync' && result.kind === 'committed') takeResynced(turn, job, result)
  else if (job.kind === 'seal' && result.kind === 'sealed') {
    // A removal that was heard of meanwhile comes first.
    if (!mustCommitFirst(turn)) takeSealed(turn, job, result)
  } else if (job.kind === 'open' && result.kind === 'opened') takeOpened(turn, job, result)
}

type Refused = Extract<Extract<GroupEvent, { kind: 'jobDone' }>['result'], { kind: 'refused' }>

function takeRefusal(turn: GroupTurn, job: Job, code: Refused['code']): void {
  switch (job.kind) {
    // What it was to be followed by went meanwhile: there may be another way.
    case 'follow':
      if (turn.state.held.has(job.parent)) failCommit(turn, job.commitId)
      return
    case 'resume':
      if (turn.state.checkpoints.has(job.commitId)) failCommit(turn, job.commitId)
      return
    case 'resync':
      takeRefusedResync(turn, job)
      return
    case 'commit':
      takeRefusedCommit(turn, job, code)
      return
    case 'open': {
      // Its secrets went meanwhile: what they would have opened is asked for again.
      if (!turn.state.held.has(job.epoch)) return
      const waiting = new Map(turn.state.waiting)
      for (const { frameId } of job.messages) {
        waiting.delete(frameId)
        turn.ask({ kind: 'dropWaiting', frameId })
      }
      turn.change({ waiting })
      return
    }
    case 'seal':
  }
}

/** Everything that follows from the state, whatever the event was. */
function settle(turn: GroupTurn): void {
  reviewReturn(turn)
  if (!turn.isActive()) {
    expireEpochs(turn)
    return
  }
  reviewSettled(turn)
  reviewLeaving(turn)
  if (turn.isActive()) reviewLeaves(turn)
  if (turn.isActive()) reviewTombstones(turn)
  if (turn.isActive()) reviewOut(turn)
  if (!turn.isActive()) return
  if (!isCatchingUp(turn)) probeClosed(turn)
  startJob(turn) // may move the tip to an epoch that is held
  reviewIntents(turn)
  if (isAtTip(turn)) {
    ackTip(turn)
    reviewWelcomes(turn)
    sendWelcomes(turn)
    if (!isCatchingUp(turn)) reviewStrays(turn)
    if (turn.state.phase === 'member' && !isCatchingUp(turn)) askRepair(turn)
  }
  expireEpochs(turn)
}

function startJob(turn: GroupTurn): void {
  if (turn.state.volatile.job !== undefined) return
  const job = openJob(turn) ?? nextJob(turn)
  if (job === undefined) return
  turn.note({ job })
  turn.ask({ kind: 'startJob', job })
}

/** On the way to the selected tip, by replay or from outside; what this member wants itself, once it is there. */
function nextJob(turn: GroupTurn): Job | undefined {
  const { tip } = turn.state
  const route = routeToTip(turn)
  // On a branch that was left and is selected again others may be to be removed.
  if (turn.state.tip !== tip) reviewTombstones(turn)
  if (route.kind === 'job') return route.job
  if (route.kind === 'outside') {
    if (isCatchingUp(turn)) return undefined
    return resyncJob(turn, route.to, route.waitMs) ?? probeJob(turn)
  }
  return probeJob(turn) ?? ownJob(turn)
}

/** What this member itself wants to say or to change, once it knows where the group stands. */
function ownJob(turn: GroupTurn): Job | undefined {
  const { state } = turn
  if (state.phase !== 'member' || isCatchingUp(turn)) return undefined
  if (!isAtTip(turn)) return undefined
  reviewIntents(turn)
  return mustCommitFirst(turn) ? commitJob(turn) : (sealJob(turn) ?? commitJob(turn))
}

function isCatchingUp({ state, nowMs, view }: GroupTurn): boolean {
  return view.roster.size > 1 && nowMs < state.volatile.catchUpUntil
}

function wakeAt(kit: GroupKit, state: GroupState): number {
  const { volatile, welcomes, leaves } = state
  const times = [
    messagesDueAt(state),
    salvageDueAt(state),
    repairDueAt(state),
    rekeyDueAt(state),
    epochsDueAt(kit, state),
    volatile.ackDue?.at ?? Number.POSITIVE_INFINITY,
    volatile.comingBack?.dueAt ?? Number.POSITIVE_INFINITY,
    volatile.probe?.dueAt ?? Number.POSITIVE_INFINITY,
    volatile.outSince === undefined ? Number.POSITIVE_INFINITY : volatile.outSince + OUT_MS,
    ...[...volatile.strays.values()].map(({ dueAt }) => dueAt),
    ...openIntents(state).map(({ dueAt = 0 }) => dueAt),
    ...welcomes.map(({ dueAt }) => dueAt),
    ...[...leaves.keys()].map((peer) => leaveDueAt(kit.primitives, state, peer)),
    volatile.catchUpUntil,
    volatile.holdUntil,
    ...(volatile.syncs > 0 ? [volatile.syncUntil] : []),
  ]
  // What was due at the last step waits for something else than the time.
  return Math.min(...times.filter((at) => at > volatile.steppedAt))
}
