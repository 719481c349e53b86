// The receiver's order of one sender's messages (spec.md §4.2.3). Floor 0, pure.
//
// Sequences below `next` were handed over, passed, or given up. A message beyond `next` is held until the hole
// before it is filled, settled, or awaited for too long.
import type { TimeMs } from '../base/time.ts'
import { SEEN_MS } from './types.ts'
import type { Message } from './types.ts'

/* Implementation constants: ours to tune. */
/** Messages held behind a hole; one more gives the oldest hole up. An honest sender's outbox is no longer. */
export const HELD_MAX = 1_000
/** Octets of content held behind a hole; more gives the oldest hole up. */
export const HELD_BYTES_MAX = 4_194_304
/** Sequences beyond `next` known to bring no message; more are forgotten, and awaited. */
export const SETTLED_MAX = 1_000
/** Given-up holes remembered, so that a message that fills one is `late`; the oldest is forgotten. */
export const MISSING_MAX = 64

/** A decrypted message that may not be handed over yet. */
export interface Held {
  readonly message: Message
  readonly receivedAt: TimeMs
  readonly via: Via
}

/** How an envelope came: on a stream of its sender's, or from a custodian. */
export type Via = 'direct' | 'mailbox'

/** A given-up hole: sequences from `from` up to, but not including, `to`. */
export interface Missing {
  readonly from: number
  readonly to: number
  readonly givenUpAt: TimeMs
}

/** What was seen of a sender's sequence. */
export interface ReceiveOrder {
  /** The sequence to hand over next. */
  readonly next: number
  /** Ascending sequences, all above `next`, that will bring no message: withdrawn, or handoffs. */
  readonly settled: readonly number[]
  /** Given-up holes, oldest first. */
  readonly missing: readonly Missing[]
}

/** A message on its way to the inbox. */
export interface Handed extends Held {
  /** A message before it is missing. */
  readonly gap: boolean
  /** It comes after its turn was given up. */
  readonly late: boolean
}

/** Order and held messages after a change, and what is handed over because of it, in order. */
export interface Arrival {
  readonly order: ReceiveOrder
  /** Ascending by sequence. */
  readonly held: readonly Held[]
  readonly handed: readonly Handed[]
}

/** The order before the first message. */
export const FIRST_ORDER: ReceiveOrder = { next: 1, settled: [], missing: [] }

/** True if nothing with this sequence can have come before; false asks for a look at the known ids. */
export function isFresh(order: ReceiveOrder, held: readonly Held[], sequence: number): boolean {
  if (sequence < order.next) return order.missing.some((hole) => isInside(hole, sequence))
  if (order.settled.includes(sequence)) return false
  return !held.some(({ message }) => message.sequence === sequence)
}

/** Takes a message that was not received before: hands it over, or holds it. */
export function arrive(order: ReceiveOrder, held: readonly Held[], one: Held): Arrival {
  const { sequence } = one.message
  const isTaken = sequence < order.next || held.some(({ message }) => message.sequence === sequence)
  if (isTaken) {
    const next = { ...order, missing: without(order.missing, sequence) }
    const gap = next.missing.some((hole) => hole.from < sequence)
    return { order: next, held, handed: [{ ...one, gap, late: true }] }
  }
  if (sequence === order.next) {
    const handed = { ...one, gap: order.missing.length > 0, late: false }
    const rest = drain({ ...order, next: sequence + 1 }, held)
    return { ...rest, handed: [handed, ...rest.handed] }
  }
  return bound(order, insert(held, one), one.receivedAt)
}

/** Notes that a sequence brings no message: its message was withdrawn, or it was a handoff. */
export function settle(
  order: ReceiveOrder,
  held: readonly Held[],
  sequences: readonly number[],
): Arrival {
  let { next, missing } = order
  const settled = new Set(order.settled)
  for (const sequence of sequences) {
    if (sequence < next) missing = without(missing, sequence)
    else if (sequence === next) next += 1
    else if (settled.size < SETTLED_MAX) settled.add(sequence)
  }
  const sorted = [...settled].filter((sequence) => sequence >= next).sort((a, b) => a - b)
  return drain({ next, settled: sorted, missing }, held)
}

/** Gives up every hole awaited since `waitMs` or longer. */
export function giveUpDue(
  order: ReceiveOrder,
  held: readonly Held[],
  waitMs: number,
  nowMs: TimeMs,
): Arrival {
  let state: Arrival = { order: forgetMissing(order, nowMs), held, handed: [] }
  while (state.held.length > 0 && waitingSince(state.held) + waitMs <= nowMs) {
    state = follow(state, giveUp(state.order, state.held, nowMs))
  }
  return state
}

/** When the hole before the held messages began to be awaited. */
export function waitingSince(held: readonly Held[]): number {
  let since = Infinity
  for (const { receivedAt } of held) since = Math.min(since, receivedAt)
  return since
}

function isInside(hole: Missing, sequence: number): boolean {
  return hole.from <= sequence && sequence < hole.to
}

/** Cuts one sequence out of the holes. */
function without(missing: readonly Missing[], sequence: number): readonly Missing[] {
  const hole = missing.find((one) => isInside(one, sequence))
  if (hole === undefined) return missing
  return missing.flatMap((one) => {
    if (one !== hole) return [one]
    const parts = [
      { ...hole, to: sequence },
      { ...hole, from: sequence + 1 },
    ]
    return parts.filter(({ from, to }) => from < to)
  })
}

function insert(held: readonly Held[], one: Held): readonly Held[] {
  const { sequence } = one.message
  const after = held.findIndex(({ message }) => message.sequence > sequence)
  return after < 0 ? [...held, one] : held.toSpliced(after, 0, one)
}

/** Hands over what is next, as far as there is no hole. */
function drain(order: ReceiveOrder, held: readonly Held[]): Arrival {
  let { next } = order
  let taken = 0
  let passed = 0
  const handed: Handed[] = []
  const gap = order.missing.length > 0
  for (;;) {
    const one = held[taken]
    if (one?.message.sequence === next) {
      handed.push({ ...one, gap, late: false })
      taken += 1
    } else if (order.settled[passed] === next) passed += 1
    else break
    next += 1
  }
  if (next === order.next) return { order, held, handed }
  const settled = passed === 0 ? order.settled : order.settled.slice(passed)
  return {
    order: { ...order, next, settled },
    held: taken === 0 ? held : held.slice(taken),
    handed,
  }
}

/** Gives the hole at `next` up: what is held behind it goes over, marked. */
function giveUp(order: ReceiveOrder, held: readonly Held[], nowMs: TimeMs): Arrival {
  const [first] = held
  if (first === undefined) return { order, held, handed: [] }
  const to = first.message.sequence
  const between = order.settled.filter((sequence) => sequence < to)
  let missing = [...order.missing, { from: order.next, to, givenUpAt: nowMs }]
  for (const sequence of between) missing = [...without(missing, sequence)]
  const settled = order.settled.slice(between.length)
  return drain({ next: to, settled, missing: missing.slice(-MISSING_MAX) }, held)
}

/** Gives holes up until no more is held than the bounds allow. */
function bound(order: ReceiveOrder, held: readonly Held[], nowMs: TimeMs): Arrival {
  let state: Arrival = { order, held, handed: [] }
  const isOver = (): boolean =>
    state.held.length > HELD_MAX ||
    state.held.reduce((sum, { message }) => sum + message.content.length, 0) > HELD_BYTES_MAX
  while (state.held.length > 0 && isOver()) {
    state = follow(state, giveUp(state.order, state.held, nowMs))
  }
  return state
}

function follow(before: Arrival, after: Arrival): Arrival {
  return { ...after, handed: [...before.handed, ...after.handed] }
}

function forgetMissing(order: ReceiveOrder, nowMs: TimeMs): ReceiveOrder {
  if (!order.missing.some(({ givenUpAt }) => givenUpAt + SEEN_MS <= nowMs)) return order
  const missing = order.missing.filter(({ givenUpAt }) => givenUpAt + SEEN_MS > nowMs)
  return { ...order, missing }
}
