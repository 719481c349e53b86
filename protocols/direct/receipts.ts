// Receipts and withdrawals that wait for an envelope to ride in (spec.md §4.2.4). Floor 0, pure.
import type { TimeMs } from '../base/time.ts'
import {
  CONTROLS_PER_BODY_MAX,
  MAILBOX_TTL_MS,
  RECEIPTS_PER_BODY_MAX,
  WITHDRAWN_PER_CONTROL_MAX,
} from './types.ts'
import type { Control, Receipt, Withdrawal } from './types.ts'

/* Implementation constants: ours to tune. */
/** Receipts that wait for one peer; beyond it the oldest `delivered` one goes: a resend brings it back. */
export const RECEIPTS_WAITING_MAX = 4_096
/** Withdrawals that wait for one peer; without one the peer waits out its own patience. */
export const WITHDRAWALS_WAITING_MAX = 1_000
/** Withdrawals in one envelope; leaves room for a reset and a queue key. */
const WITHDRAWN_PER_BODY_MAX = (CONTROLS_PER_BODY_MAX - 2) * WITHDRAWN_PER_CONTROL_MAX

/** What waits to be told to the peer. */
export interface Postbag {
  readonly receipts: readonly Receipt[]
  readonly withdrawals: readonly Withdrawal[]
  /** When the oldest began to wait; absent if nothing does. */
  readonly since?: TimeMs
}

/** Nothing waits. */
export const EMPTY_POSTBAG: Postbag = { receipts: [], withdrawals: [] }

/** How much waits. */
export function postbagSize(bag: Postbag): number {
  return bag.receipts.length + bag.withdrawals.length
}

/** Adds a receipt; `handled` replaces `delivered` of the same message, and repeats change nothing. */
export function addReceipt(bag: Postbag, receipt: Receipt, nowMs: TimeMs): Postbag {
  const known = bag.receipts.findIndex(({ id }) => id === receipt.id)
  const since = bag.since ?? nowMs
  if (known < 0) return { ...bag, since, receipts: boundReceipts([...bag.receipts, receipt]) }
  if (bag.receipts[known]?.state === 'handled' || receipt.state === 'delivered') return bag
  return { ...bag, since, receipts: bag.receipts.with(known, receipt) }
}

/** Adds what an abandoned envelope carried, or new withdrawals. */
export function addToPostbag(
  bag: Postbag,
  more: Pick<Postbag, 'receipts' | 'withdrawals'>,
  nowMs: TimeMs,
): Postbag {
  let next = bag
  for (const receipt of more.receipts) next = addReceipt(next, receipt, nowMs)
  if (more.withdrawals.length === 0) return next
  const withdrawals = [...next.withdrawals, ...more.withdrawals].slice(-WITHDRAWALS_WAITING_MAX)
  return { ...next, withdrawals, since: next.since ?? nowMs }
}

/** Takes what one envelope may carry. */
export function takeFromPostbag(bag: Postbag): readonly [taken: Postbag, rest: Postbag] {
  if (bag.since === undefined) return [EMPTY_POSTBAG, bag]
  const receipts = bag.receipts.slice(0, RECEIPTS_PER_BODY_MAX)
  const withdrawals = bag.withdrawals.slice(0, WITHDRAWN_PER_BODY_MAX)
  const left = {
    receipts: bag.receipts.slice(receipts.length),
    withdrawals: bag.withdrawals.slice(withdrawals.length),
  }
  const isEmpty = left.receipts.length + left.withdrawals.length === 0
  return [{ receipts, withdrawals }, isEmpty ? EMPTY_POSTBAG : { ...left, since: bag.since }]
}

/** Drops what waited longer than any message lives: the peer has forgotten what it is about. */
export function expirePostbag(bag: Postbag, nowMs: TimeMs): Postbag {
  return bag.since !== undefined && bag.since + MAILBOX_TTL_MS <= nowMs ? EMPTY_POSTBAG : bag
}

/** The control items that carry withdrawals. */
export function withdrawnControls(withdrawals: readonly Withdrawal[]): Control[] {
  const controls: Control[] = []
  for (let at = 0; at < withdrawals.length; at += WITHDRAWN_PER_CONTROL_MAX) {
    const items = withdrawals.slice(at, at + WITHDRAWN_PER_CONTROL_MAX)
    controls.push({ kind: 'withdrawn', items })
  }
  return controls
}

function boundReceipts(receipts: readonly Receipt[]): readonly Receipt[] {
  if (receipts.length <= RECEIPTS_WAITING_MAX) return receipts
  const oldest = receipts.findIndex(({ state }) => state === 'delivered')
  return receipts.toSpliced(Math.max(oldest, 0), 1)
}
