// Application messages: queued, sealed, opened, put in order, handed over (spec.md §4.4). Floor 0, pure.
import type { Bytes } from '../base/bytes.ts'
import { ConclaveError } from '../base/errors.ts'
import { isKnown, leadsTo, nodeOf } from './chain.ts'
import { sameRef } from './ids.ts'
import type { Job, JobResult, OpenedMessage } from './jobs.ts'
import { signPayload, verifyPayload } from './payload.ts'
import { isFinal } from './selection.ts'
import type {
  AuthorOrder,
  Delivered,
  GroupEvent,
  GroupState,
  HeldMessage,
  Letter,
  Waiting,
} from './state.ts'
import type { GroupTurn } from './turn.ts'
import {
  GAP_WAIT_MS,
  GROUP_OUTBOX_MAX,
  HELD_PER_AUTHOR_MAX,
  JOB_MESSAGES_MAX,
  OPEN_RANGES_MAX,
  PENDING_BYTES_MAX,
  PENDING_FRAMES_MAX,
  PENDING_MS,
} from './types.ts'
import type { BranchId, FrameId, MemberRef, Payload } from './types.ts'

/** Queues an own message and hands it to the own history. @throws ConclaveError `LIMIT_QUOTA`. */
export function queueMessage(
  turn: GroupTurn,
  event: Extract<GroupEvent, { kind: 'messageAsked' }>,
): void {
  const { state } = turn
  const waiting = state.outbox.filter(({ sealedIn }) => sealedIn === undefined).length
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

/** The own messages to be sealed next. */
export function sealJob({ state }: GroupTurn): Job | undefined {
  const letters = state.outbox.filter(({ sealedIn }) => sealedIn === undefined)
  if (letters.length === 0) return undefined
  const some = letters.slice(0, JOB_MESSAGES_MAX).map(({ n, payload }) => ({ n, payload }))
  return { kind: 'seal', epoch: state.tip, letters: some }
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
  const sealed = new Map(job.letters.map(({ n }, i) => [n, result.messages[i]]))
  const { generation } = nodeOf(state.chain, job.epoch).view
  turn.ask({ kind: 'saveSnapshot', commitId: job.epoch, snapshot: result.snapshot })
  turn.ask({ kind: 'keepHandle', commitId: job.epoch })
  const outbox = state.outbox.map((letter) => {
    const message = sealed.get(letter.n)
    if (message === undefined) return letter
    const done: Letter = { ...letter, sealedIn: job.epoch }
    turn.ask({ kind: 'saveLetter', letter: done })
    turn.publish(generation, { kind: 'app', branchId: epoch.branchId, message })
    return done
  })
  turn.change({ outbox })
}

/** Takes back letters of branches that lost, and forgets those whose epoch is final. */
export function reviewOutbox(turn: GroupTurn): void {
  const { chain, tip, votes, outbox } = turn.state
  const next: Letter[] = []
  for (const letter of outbox) {
    const { sealedIn, ...unsealed } = letter
    if (sealedIn === undefined) next.push(letter)
    else if (!leadsTo(chain, sealedIn, tip)) {
      next.push(unsealed)
      turn.ask({ kind: 'saveLetter', letter: unsealed })
    } else if (isFinal(chain, votes, sealedIn)) turn.ask({ kind: 'dropLetter', n: letter.n })
    else next.push(letter)
  }
  if (next.length !== outbox.length || next.some((one, i) => one !== outbox[i])) {
    turn.change({ outbox: next })
  }
}

/** Keeps a message until its epoch can open it; false if there is no room. */
export function keepWaiting(
  turn: GroupTurn,
  frameId: FrameId,
  branchId: BranchId,
  message: Bytes,
): boolean {
  const { waiting } = turn.state
  if (waiting.has(frameId)) return true
  let bytes = message.length
  for (const one of waiting.values()) bytes += one.message.length
  if (waiting.size >= PENDING_FRAMES_MAX || bytes > PENDING_BYTES_MAX) return false
  const one: Waiting = { frameId, branchId, message, heardAt: turn.nowMs }
  turn.change({ waiting: new Map(waiting).set(frameId, one) })
  turn.ask({ kind: 'saveWaiting', waiting: one })
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
  const { epoch } = nodeOf(turn.state.chain, job.epoch).record
  for (const message of result.messages) if (message.ok) takePayload(turn, message, epoch)
}

function takePayload(
  turn: GroupTurn,
  { plaintext, sender, generation }: Extract<OpenedMessage, { ok: true }>,
  epoch: number,
): void {
  const payload = verifyPayload(turn.primitives, plaintext)
  if (!payload.ok || payload.value.groupId !== turn.state.groupId) return
  const { author, n } = payload.value
  if (sameRef(author, turn.state.self) || !isKnown(turn.state.chain, author)) return
  const order = orderOf(turn, author, sender === author.peer ? n - generation : n)
  const message: HeldMessage = { payload: payload.value, epoch, receivedAt: turn.nowMs }
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

function insert(held: readonly HeldMessage[], message: HeldMessage): readonly HeldMessage[] {
  return [...held, message].sort((a, b) => a.payload.n - b.payload.n)
}

/** The key of an author's order. */
export function authorKey({ peer, gen }: MemberRef): string {
  return `${peer}/${gen}`
}

/**
 * Where an author stands. Of one that was here before us the first number is not known: its first message of an
 * epoch has generation 0, so one that comes tells how many of that epoch lie before it; whatever else does comes late.
 */
function orderOf(turn: GroupTurn, author: MemberRef, first: number): AuthorOrder {
  const { authors, chain } = turn.state
  const known = authors.get(authorKey(author))
  if (known !== undefined) return known
  const wasHere = nodeOf(chain, chain.base).view.roster.get(author.peer) === author.gen
  const next = wasHere ? Math.max(1, first) : 1
  return { author, next, open: next > 1 ? [[1, next]] : [], held: [] }
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
  turn.change({ authors: new Map(turn.state.authors).set(authorKey(order.author), order) })
  turn.ask({ kind: 'saveAuthor', order })
}

/** Hands over what is in order now; with `skip`, what is behind the first hole, too. */
function release(turn: GroupTurn, order: AuthorOrder, skip: boolean): void {
  let { next } = order
  const open = [...order.open]
  const held = [...order.held]
  for (;;) {
    const [first] = held
    if (first === undefined) break
    const { n } = first.payload
    const gap = n !== next
    if (gap && (!skip || next !== order.next)) break
    if (gap) open.push([next, n])
    held.shift()
    if (n !== order.next || skip) turn.ask({ kind: 'dropHeld', author: order.author, n })
    handOver(turn, { ...first, own: false, gap, late: false })
    next = n + 1
  }
  keepOrder(turn, { ...order, next, open: open.slice(-OPEN_RANGES_MAX), held })
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
    if (first !== undefined && turn.nowMs - first.receivedAt >= GAP_WAIT_MS) {
      release(turn, order, true)
    }
  }
  const { waiting } = turn.state
  const old = [...waiting.values()].filter(({ heardAt }) => turn.nowMs - heardAt >= PENDING_MS)
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
  for (const { held } of state.authors.values()) {
    const [first] = held
    if (first !== undefined) dueAt = Math.min(dueAt, first.receivedAt + GAP_WAIT_MS)
  }
  for (const { heardAt } of state.waiting.values()) dueAt = Math.min(dueAt, heardAt + PENDING_MS)
  return dueAt
}
