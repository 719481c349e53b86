// Application messages: queued, sealed, opened, put in order, handed over (spec.md §4.4). Floor 0, pure.
import type { Bytes } from '../base/bytes.ts'
import { ConclaveError } from '../base/errors.ts'
import { HOUR_MS, MINUTE_MS } from '../base/time.ts'
import { isKnown, leadsTo, nodeOf } from './chain.ts'
import { refKey } from './ids.ts'
import type { Job, JobResult, OpenedMessage } from './jobs.ts'
import { signPayload, verifyPayload } from './payload.ts'
import { selectTip } from './selection.ts'
import { isKept, keepMessage, noteSealedAgain, salvageDue } from './salvage.ts'
import type {
  AuthorOrder,
  Delivered,
  GroupEvent,
  GroupState,
  HeldMessage,
  Letter,
  Sealing,
  Waiting,
} from './state.ts'
import type { GroupTurn } from './turn.ts'
import {
  GAP_WAIT_MS,
  GROUP_OUTBOX_MAX,
  HELD_PER_AUTHOR_MAX,
  JOB_MESSAGES_MAX,
  MISSED_WAIT_MS,
  OPEN_RANGES_MAX,
  PENDING_BYTES_MAX,
  PENDING_FRAMES_MAX,
  PENDING_MS,
} from './types.ts'
import type { BranchId, CommitId, FrameId, MemberRef, Payload } from './types.ts'

/** How far two clocks may be apart, each of which may be ten minutes off. */
const CLOCK_SKEW_MS: number = 20 * MINUTE_MS

/** Queues an own message and hands it to the own history. @throws ConclaveError `LIMIT_QUOTA`. */
export function queueMessage(
  turn: GroupTurn,
  event: Extract<GroupEvent, { kind: 'messageAsked' }>,
): void {
  const { state } = turn
  const waiting = state.outbox.filter(({ sealed }) => sealed === undefined).length
  if (waiting >= GROUP_OUTBOX_MAX) {
    throw new ConclaveError(
      'LIMIT_QUOTA',
      `${waiting} messages wait to be sealed, ${GROUP_OUTBOX_MAX} may`,
      { hint: 'conclave group info shows what the group waits for' },
    )
  }
  const payload: Payload = {
    groupId: state.groupId,
    msgId: event.msgId,
    author: state.self,
    n: state.n + 1,
    lamport: state.lamport + 1,
    sentAtMs: turn.nowMs,
    contentType: event.contentType,
    body: Uint8Array.from(event.body),
  }
  const bytes = signPayload(turn.primitives, turn.kit.secret, payload)
  const letter: Letter = { n: payload.n, msgId: payload.msgId, payload: bytes }
  turn.change({ n: payload.n, lamport: payload.lamport, outbox: [...state.outbox, letter] })
  turn.ask({ kind: 'saveLetter', letter })
  handOver(turn, {
    payload,
    epoch: turn.view.epoch,
    receivedAt: turn.nowMs,
    own: true,
    gap: false,
    late: false,
  })
}

/** The messages to be sealed next: own ones first, then others' whose branch lost. */
export function sealJob(turn: GroupTurn): Job | undefined {
  const { state } = turn
  const letters = state.outbox
    .filter(({ sealed }) => sealed === undefined)
    .slice(0, JOB_MESSAGES_MAX)
    .map(({ n, payload }) => ({ n, payload }))
  const kept = letters.length > 0 ? [] : salvageDue(turn).slice(0, JOB_MESSAGES_MAX)
  if (letters.length + kept.length === 0) return undefined
  return { kind: 'seal', epoch: state.tip, letters, kept }
}

/** Publishes what was sealed, unless the group has moved on since: then it is sealed anew. */
export function takeSealed(
  turn: GroupTurn,
  job: Extract<Job, { kind: 'seal' }>,
  result: Extract<JobResult, { kind: 'sealed' }>,
): void {
  const { state } = turn
  const epoch = state.held.get(job.epoch)
  if (state.tip !== job.epoch || epoch === undefined) return
  if (selectTip(state.chain, state.votes) !== state.tip) return
  const { generation } = nodeOf(state.chain, job.epoch).view
  turn.ask({ kind: 'saveSnapshot', commitId: job.epoch, snapshot: result.snapshot })
  turn.ask({ kind: 'keepHandle', commitId: job.epoch })
  const publish = (message: Bytes): Sealing => {
    const content = { kind: 'app', branchId: epoch.branchId, message } as const
    return { in: job.epoch, frameId: turn.publish(generation, content), at: turn.nowMs }
  }
  const sealed = new Map(job.letters.map(({ n }, i) => [n, result.letters[i]]))
  const outbox = state.outbox.map((letter) => {
    const message = sealed.get(letter.n)
    if (message === undefined) return letter
    const done: Letter = { ...letter, sealed: publish(message) }
    turn.ask({ kind: 'saveLetter', letter: done })
    return done
  })
  turn.change({ outbox })
  for (const [i, ref] of job.kept.entries()) {
    const message = result.kept[i]
    noteSealedAgain(turn, ref.author, ref.n, message && publish(message))
  }
}

/** Keeps a message until its epoch can open it; false if there is no room. */
export function keepWaiting(
  turn: GroupTurn,
  { frameId, hour }: { readonly frameId: FrameId; readonly hour: number },
  branchId: BranchId,
  message: Bytes,
): boolean {
  // What was said before this member was added is not for it.
  if ((hour + 1) * HOUR_MS + CLOCK_SKEW_MS < addedAt(turn.state)) return true
  const { waiting } = turn.state
  if (waiting.has(frameId)) return true
  let bytes = message.length
  for (const one of waiting.values()) bytes += one.message.length
  const isFull = waiting.size >= PENDING_FRAMES_MAX || bytes > PENDING_BYTES_MAX
  if (isFull && !makeRoom(turn, branchId)) return false
  const one: Waiting = { frameId, branchId, message, heardAt: turn.nowMs }
  turn.change({ waiting: new Map(turn.state.waiting).set(frameId, one) })
  turn.ask({ kind: 'saveWaiting', waiting: one })
  return true
}

/** When this member was added, by its adder's clock: it may have been away then, and have joined much later. */
function addedAt({ chain, joinedBy, joinedAt }: GroupState): number {
  return Math.min(nodeOf(chain, joinedBy).record.seq, joinedAt)
}

/** What can be opened at once takes the place of the oldest that cannot. */
function makeRoom(turn: GroupTurn, branchId: BranchId): boolean {
  const held = new Set([...turn.state.held.values()].map((epoch) => epoch.branchId))
  const oldest = [...turn.state.waiting.values()].find((one) => !held.has(one.branchId))
  if (!held.has(branchId) || oldest === undefined) return false
  const waiting = new Map(turn.state.waiting)
  waiting.delete(oldest.frameId)
  turn.change({ waiting })
  turn.ask({ kind: 'dropWaiting', frameId: oldest.frameId })
  return true
}

/** The messages to be opened next: those of the oldest epoch that has any. */
export function openJob({ state }: GroupTurn): Job | undefined {
  if (state.waiting.size === 0) return undefined
  const byBranch = new Map<BranchId, Waiting[]>()
  for (const one of state.waiting.values()) {
    const list = byBranch.get(one.branchId)
    if (list === undefined) byBranch.set(one.branchId, [one])
    else if (list.length < JOB_MESSAGES_MAX) list.push(one)
  }
  for (const [commitId, { branchId }] of state.held) {
    const messages = byBranch.get(branchId)
    if (messages !== undefined) return { kind: 'open', epoch: commitId, messages }
  }
  return undefined
}

/** Hands over what was opened; what does not open never will. */
export function takeOpened(
  turn: GroupTurn,
  job: Extract<Job, { kind: 'open' }>,
  result: Extract<JobResult, { kind: 'opened' }>,
): void {
  if (!turn.state.held.has(job.epoch)) return
  turn.ask({ kind: 'saveSnapshot', commitId: job.epoch, snapshot: result.snapshot })
  turn.ask({ kind: 'keepHandle', commitId: job.epoch })
  const waiting = new Map(turn.state.waiting)
  for (const { frameId } of job.messages) {
    waiting.delete(frameId)
    turn.ask({ kind: 'dropWaiting', frameId })
  }
  turn.change({ waiting })
  for (const message of result.messages) if (message.ok) takePayload(turn, message, job.epoch)
}

function takePayload(
  turn: GroupTurn,
  { frameId, plaintext, sender, generation }: Extract<OpenedMessage, { ok: true }>,
  commitId: CommitId,
): void {
  const payload = verifyPayload(turn.primitives, plaintext)
  if (!payload.ok || payload.value.groupId !== turn.state.groupId) return
  const { author, n } = payload.value
  const sealed: Sealing = { in: commitId, frameId, at: turn.nowMs }
  if (author.peer === turn.state.self.peer) {
    // What was said in an earlier membership was handed over when it was said.
    if (author.gen === turn.state.self.gen) noteEcho(turn, n, sealed)
    return
  }
  if (!isKnown(turn.state.chain, author)) return
  const order = orderOf(turn, author, sender === author.peer ? n - generation : n)
  const { epoch } = nodeOf(turn.state.chain, commitId).record
  const message: HeldMessage = { payload: payload.value, epoch, receivedAt: turn.nowMs }
  const isNew = n >= order.next || order.open.some(([from, to]) => from <= n && n < to)
  if (isNew || isKept(turn.state, author, n)) keepMessage(turn, { author, n }, plaintext, sealed)
  if (n < order.next) {
    takeLate(turn, order, message)
    return
  }
  if (order.held.some((one) => one.payload.n === n)) return
  if (n > order.next) turn.ask({ kind: 'saveHeld', held: message })
  // Where too many wait, the hole is given up rather than a message; one that wide is no disorder, but an author
  // that skipped numbers after a restored backup.
  const hole = n - order.next
  const skip = hole > HELD_PER_AUTHOR_MAX || (hole > 0 && order.held.length >= HELD_PER_AUTHOR_MAX)
  release(turn, { ...order, held: insert(order.held, message) }, skip)
}

/** Somebody has sealed an own message again: that is done. */
function noteEcho(turn: GroupTurn, n: number, sealed: Sealing): void {
  const { chain, tip, outbox } = turn.state
  if (!leadsTo(chain, sealed.in, tip)) return
  const letter = outbox.find((one) => one.n === n)
  if (letter === undefined) return
  const done: Letter = { ...letter, sealed }
  turn.change({ outbox: outbox.map((one) => (one === letter ? done : one)) })
  turn.ask({ kind: 'saveLetter', letter: done })
}

function insert(held: readonly HeldMessage[], message: HeldMessage): readonly HeldMessage[] {
  return [...held, message].sort((a, b) => a.payload.n - b.payload.n)
}

/**
 * Where an author stands. Of one that was here before us the first number is not known: its first message of an
 * epoch has generation 0, so one that comes tells how many of that epoch lie before it; whatever else does comes late.
 */
function orderOf(turn: GroupTurn, author: MemberRef, first: number): AuthorOrder {
  const { authors, chain, since, joinedAt } = turn.state
  const known = authors.get(refKey(author))
  if (known !== undefined && known.isEarlier !== true) return known
  const wasHere = nodeOf(chain, since).view.roster.get(author.peer) === author.gen
  const heard = known?.next ?? 1
  const next = wasHere ? Math.max(heard, first) : heard
  const open = [...(known?.open ?? []), ...(next > heard ? [[heard, next] as const] : [])]
  const order: AuthorOrder = { author, next, open: open.slice(-OPEN_RANGES_MAX), held: [] }
  return wasHere ? { ...order, missed: joinedAt } : order
}

/** Hands over what fills a hole that was passed, once. */
function takeLate(turn: GroupTurn, order: AuthorOrder, message: HeldMessage): void {
  const { n } = message.payload
  if (!order.open.some(([from, to]) => from <= n && n < to)) return
  const open = order.open.flatMap(([from, to]): [number, number][] => {
    if (n < from || n >= to) return [[from, to]]
    const parts: [number, number][] = [
      [from, n],
      [n + 1, to],
    ]
    return parts.filter(([begin, end]) => begin < end)
  })
  keepOrder(turn, { ...order, open: open.slice(-OPEN_RANGES_MAX) })
  handOver(turn, { ...message, own: false, gap: false, late: true })
}

function keepOrder(turn: GroupTurn, order: AuthorOrder): void {
  turn.change({ authors: new Map(turn.state.authors).set(refKey(order.author), order) })
  turn.ask({ kind: 'saveAuthor', order })
}

/** Hands over what is in order now; with `skip`, what is behind the first hole, too. */
function release(turn: GroupTurn, order: AuthorOrder, skip: boolean): void {
  let { next } = order
  const open = [...order.open]
  const held = [...order.held]
  let newest = 0
  for (;;) {
    const [first] = held
    if (first === undefined) break
    const { n, sentAtMs } = first.payload
    const gap = n !== next
    if (gap && (!skip || next !== order.next)) break
    if (gap) open.push([next, n])
    held.shift()
    if (n !== order.next || skip) turn.ask({ kind: 'dropHeld', author: order.author, n })
    handOver(turn, { ...first, own: false, gap, late: false })
    next = n + 1
    newest = sentAtMs
  }
  const { missed, ...rest } = order
  const isSince = missed === undefined || newest > missed + CLOCK_SKEW_MS
  const kept = isSince ? rest : order
  keepOrder(turn, { ...kept, next, open: open.slice(-OPEN_RANGES_MAX), held })
}

/** Notes of every author that it may have spoken out of sight: this member came in anew. */
export function noteAbsence(turn: GroupTurn): void {
  for (const order of turn.state.authors.values()) keepOrder(turn, { ...order, missed: turn.nowMs })
}

function gapWaitOf({ missed }: AuthorOrder): number {
  return missed !== undefined ? MISSED_WAIT_MS : GAP_WAIT_MS
}

function handOver(turn: GroupTurn, message: Delivered): void {
  const lamport = Math.max(turn.state.lamport, message.payload.lamport)
  turn.change({ lamport })
  turn.ask({ kind: 'deliver', message })
}

/** Gives up holes that were awaited long enough, and messages whose epoch never came. */
export function expireMessages(turn: GroupTurn): void {
  for (const order of turn.state.authors.values()) {
    const [first] = order.held
    if (first !== undefined && turn.nowMs - first.receivedAt >= gapWaitOf(order)) {
      release(turn, order, true)
    }
  }
  const { waiting, volatile } = turn.state
  // While the node was off nothing could come that they wait for.
  const sinceOf = ({ heardAt }: Waiting): number => Math.max(heardAt, volatile.loadedAt)
  const old = [...waiting.values()].filter((one) => turn.nowMs - sinceOf(one) >= PENDING_MS)
  if (old.length === 0) return
  const left = new Map(waiting)
  for (const { frameId } of old) {
    left.delete(frameId)
    turn.ask({ kind: 'dropWaiting', frameId })
  }
  turn.change({ waiting: left })
}

/** When `expireMessages` has something to do next. */
export function messagesDueAt(state: GroupState): number {
  let dueAt = Number.POSITIVE_INFINITY
  for (const order of state.authors.values()) {
    const [first] = order.held
    if (first !== undefined) dueAt = Math.min(dueAt, first.receivedAt + gapWaitOf(order))
  }
  const { waiting, volatile } = state
  for (const { heardAt } of waiting.values()) {
    dueAt = Math.min(dueAt, Math.max(heardAt, volatile.loadedAt) + PENDING_MS)
  }
  return dueAt
}
