// Messages that are sealed again: of branches that lost, and for members that can no longer open what they heard
// (spec.md §4.4). Floor 0, pure.
import type { Bytes } from '../base/bytes.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import { leadsTo, pathTo, wasMemberAt } from './chain.ts'
import { refKey } from './ids.ts'
import { isSettled } from './settled.ts'
import { signRepair, verifyRepair } from './signed-notes.ts'
import type { Asked, GroupState, Kept, Letter, Sealing, Waiting } from './state.ts'
import type { GroupTurn } from './turn.ts'
import {
  KEPT_BYTES_MAX,
  KEPT_MAX,
  REPAIR_AFTER_MS,
  REPAIR_PAUSE_MS,
  REPAIRS_PER_FRAME_MAX,
  SALVAGE_MS_MAX,
  SALVAGE_MS_MIN,
} from './types.ts'
import type { CommitId, FrameId, MemberRef } from './types.ts'

/** Names a kept message in maps and rows. */
export function keptKey(author: MemberRef, n: number): string {
  return `${refKey(author)}/${n}`
}

/** Keeps an accepted message, so that it can be sealed again; of one that is heard again, where it was sealed last. */
export function keepMessage(
  turn: GroupTurn,
  { author, n }: { readonly author: MemberRef; readonly n: number },
  payload: Bytes,
  sealed: Sealing,
): void {
  const key = keptKey(author, n)
  const known = turn.state.kept.get(key)
  if (known !== undefined && !leadsTo(turn.state.chain, sealed.in, turn.state.tip)) return
  const one: Kept = { author, n, bytes: payload.length, sealed }
  const kept = new Map(turn.state.kept)
  kept.delete(key) // so that the map is ordered by when they were sealed
  kept.set(key, one)
  turn.ask({ kind: 'saveKept', kept: one, ...(known === undefined && { payload }) })
  let bytes = 0
  for (const each of kept.values()) bytes += each.bytes
  for (const [oldest, each] of kept) {
    if (kept.size <= KEPT_MAX && bytes <= KEPT_BYTES_MAX) break
    kept.delete(oldest)
    bytes -= each.bytes
    turn.ask({ kind: 'dropKept', author: each.author, n: each.n })
  }
  turn.change({ kept })
}

/** True if a message is kept: it was accepted. */
export function isKept({ kept }: GroupState, author: MemberRef, n: number): boolean {
  return kept.has(keptKey(author, n))
}

/** Others' messages that are to be sealed again now. */
export function salvageDue({ state, nowMs }: GroupTurn): { author: MemberRef; n: number }[] {
  const due = [...state.kept.values()].filter(({ dueAt }) => dueAt !== undefined && dueAt <= nowMs)
  return due.map(({ author, n }) => ({ author, n }))
}

/** Notes that this member sealed another's message again; without `sealed` its payload was not there any more. */
export function noteSealedAgain(
  turn: GroupTurn,
  author: MemberRef,
  n: number,
  sealed: Sealing | undefined,
): void {
  const key = keptKey(author, n)
  const known = turn.state.kept.get(key)
  if (known === undefined) return
  const kept = new Map(turn.state.kept)
  kept.delete(key)
  if (sealed === undefined) turn.ask({ kind: 'dropKept', author, n })
  else {
    const one: Kept = { author, n, bytes: known.bytes, sealed }
    kept.set(key, one)
    turn.ask({ kind: 'saveKept', kept: one })
  }
  turn.change({ kept })
}

/** After the tip moved: what was sealed on a branch that is not ours is sealed again. */
export function reviewSealed(turn: GroupTurn): void {
  const isOurs = onPathTo(turn.state)
  const outbox = turn.state.outbox.map((letter): Letter => {
    if (letter.sealed === undefined || isOurs(letter.sealed.in)) return letter
    return unsealed(turn, letter)
  })
  if (outbox.some((one, i) => one !== turn.state.outbox[i])) turn.change({ outbox })
  const kept = new Map(turn.state.kept)
  let changed = false
  for (const [key, one] of kept) {
    const isLost = !isOurs(one.sealed.in)
    if (isLost === (one.dueAt !== undefined)) continue
    const { dueAt: _, ...rest } = one
    const next: Kept = isLost ? { ...rest, dueAt: salvageAt(turn) } : rest
    kept.set(key, next)
    turn.ask({ kind: 'saveKept', kept: next })
    changed = true
  }
  if (changed) turn.change({ kept })
}

function unsealed(turn: GroupTurn, letter: Letter): Letter {
  const { sealed: _, ...again } = letter
  turn.ask({ kind: 'saveLetter', letter: again })
  return again
}

/** Whether epochs are on the way to the tip. */
function onPathTo({ chain, tip, outbox, kept }: GroupState): (id: CommitId) => boolean {
  const path = outbox.length + kept.size === 0 ? new Set<CommitId>() : pathTo(chain, tip)
  return (id) => path.has(id)
}

/** Members that hold the same message do not all seal it: the first one does. */
function salvageAt(turn: GroupTurn): TimeMs {
  const [a = 0, b = 0] = turn.draw(2)
  const share = (a * 256 + b) / 65_536
  const delay = SALVAGE_MS_MIN + share * (SALVAGE_MS_MAX - SALVAGE_MS_MIN)
  return toTimeMs(Math.round(turn.nowMs + delay))
}

/** Forgets messages whose epoch is beyond doubt, and the oldest where there are too many. */
export function expireSealed(turn: GroupTurn): void {
  const isOver = ({ in: id }: Sealing): boolean => isSettled(turn.state, id)
  const done = turn.state.outbox.filter(({ sealed }) => sealed !== undefined)
  const over = new Set(
    done.filter(({ sealed }, i) => {
      return sealed !== undefined && (i < done.length - KEPT_MAX || isOver(sealed))
    }),
  )
  if (over.size > 0) {
    for (const { n } of over) turn.ask({ kind: 'dropLetter', n })
    turn.change({ outbox: turn.state.outbox.filter((one) => !over.has(one)) })
  }
  const old = [...turn.state.kept].filter(([, { sealed }]) => isOver(sealed))
  if (old.length === 0) return
  const kept = new Map(turn.state.kept)
  for (const [key, { author, n }] of old) {
    kept.delete(key)
    turn.ask({ kind: 'dropKept', author, n })
  }
  turn.change({ kept })
}

/** What waits for an epoch that is not held here. */
function unopened({ waiting, held }: GroupState): Waiting[] {
  if (waiting.size === 0) return []
  const branches = new Set([...held.values()].map(({ branchId }) => branchId))
  return [...waiting.values()].filter(({ branchId }) => !branches.has(branchId))
}

function askAt({ frameId, heardAt }: Waiting, asked: ReadonlyMap<FrameId, Asked>): number {
  const pauseMs = REPAIR_AFTER_MS[asked.get(frameId)?.times ?? 0]
  return pauseMs === undefined ? Number.POSITIVE_INFINITY : heardAt + pauseMs
}

/** Asks for messages that could not be opened for a while: their epoch was over here when they came. */
export function askRepair(turn: GroupTurn): void {
  const { volatile, groupId, self } = turn.state
  const due = unopened(turn.state).filter((one) => askAt(one, volatile.asked) <= turn.nowMs)
  if (due.length === 0) return
  const frameIds = due.slice(0, REPAIRS_PER_FRAME_MAX).map(({ frameId }) => frameId)
  noteAsked(turn, frameIds)
  const { primitives, secret } = turn.kit
  const repair = signRepair(primitives, secret, { groupId, author: self, frameIds })
  turn.publish(turn.view.generation, { kind: 'repair', repair })
}

/** When `askRepair` has something to do next. */
export function repairDueAt(state: GroupState): number {
  const { asked } = state.volatile
  return Math.min(...unopened(state).map((one) => askAt(one, asked)))
}

/** When a message is to be sealed again. */
export function salvageDueAt({ kept }: GroupState): number {
  let next = Number.POSITIVE_INFINITY
  for (const { dueAt } of kept.values()) if (dueAt !== undefined && dueAt < next) next = dueAt
  return next
}

function noteAsked(turn: GroupTurn, frameIds: readonly FrameId[]): void {
  const { waiting, volatile } = turn.state
  const asked = new Map([...volatile.asked].filter(([frameId]) => waiting.has(frameId)))
  for (const frameId of frameIds) {
    if (!waiting.has(frameId)) continue
    asked.set(frameId, { times: (asked.get(frameId)?.times ?? 0) + 1, at: turn.nowMs })
  }
  turn.note({ asked })
}

/**
 * Takes another's wish: what it lacks is sealed again, if it was a member when the message was
 * sealed, and that was not just now.
 */
export function takeRepair(turn: GroupTurn, bytes: Bytes): void {
  const repair = verifyRepair(turn.primitives, bytes)
  if (!repair.ok || repair.value.groupId !== turn.state.groupId) return
  const { author, frameIds } = repair.value
  if (turn.view.roster.get(author.peer) !== author.gen) return
  const { chain, tip } = turn.state
  const wanted = new Set(frameIds)
  const isWanted = (sealed: Sealing | undefined): boolean =>
    sealed !== undefined &&
    wanted.has(sealed.frameId) &&
    sealed.in !== tip &&
    turn.nowMs - sealed.at >= REPAIR_PAUSE_MS &&
    wasMemberAt(chain, author, sealed.in)
  const outbox = turn.state.outbox.map((letter) =>
    isWanted(letter.sealed) ? unsealed(turn, letter) : letter,
  )
  const kept = new Map(turn.state.kept)
  for (const [key, one] of kept) {
    if (one.dueAt !== undefined || !isWanted(one.sealed)) continue
    const next = { ...one, dueAt: salvageAt(turn) }
    kept.set(key, next)
    turn.ask({ kind: 'saveKept', kept: next })
  }
  turn.change({ outbox, kept })
}
