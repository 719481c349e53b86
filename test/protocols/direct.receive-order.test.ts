// The receiver's order and its bounds (direct spec.md §4.2.3), and the postbag's (§4.2.4).
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { toTimeMs } from '../../protocols/base/time.ts'
import {
  addReceipt,
  addToPostbag,
  EMPTY_POSTBAG,
  expirePostbag,
  postbagSize,
  RECEIPTS_WAITING_MAX,
  takeFromPostbag,
  WITHDRAWALS_WAITING_MAX,
  withdrawnControls,
} from '../../protocols/direct/receipts.ts'
import {
  arrive,
  FIRST_ORDER,
  giveUpDue,
  HELD_BYTES_MAX,
  HELD_MAX,
  isFresh,
  MISSING_MAX,
  settle,
  SETTLED_MAX,
} from '../../protocols/direct/receive-order.ts'
import type { Arrival, Held } from '../../protocols/direct/receive-order.ts'
import { MAILBOX_TTL_MS, SEEN_MS } from '../../protocols/direct/types.ts'
import type { MessageId, Receipt } from '../../protocols/direct/types.ts'
import { NOW } from '../support/direct-cast.ts'

const WAIT_MS = 1_000
const idOf = (n: number): MessageId => n.toString(16).padStart(32, '0') as MessageId
const held = (sequence: number, receivedAt: number = NOW, bytes = 1): Held => ({
  message: { id: idOf(sequence), sequence, sentAt: NOW, content: new Uint8Array(bytes) },
  receivedAt: toTimeMs(receivedAt),
  via: 'direct',
})
const START: Arrival = { order: FIRST_ORDER, held: [], handed: [] }
const sequences = ({ handed }: Arrival): number[] => handed.map(({ message }) => message.sequence)

const order = suite('direct · receive order')

order(
  'any permutation of a sequence is handed over in order, unmarked, and nothing is left',
  () => {
    const permutation = fc.shuffledSubarray([1, 2, 3, 4, 5, 6, 7, 8], { minLength: 8 })
    const story = fc.tuple(permutation, fc.subarray([1, 2, 3, 4, 5, 6, 7, 8]))
    fc.assert(
      fc.property(story, ([arriving, settled]) => {
        let state = START
        const handed: number[] = []
        for (const sequence of arriving) {
          const isSettled = settled.includes(sequence)
          assert.ok(isFresh(state.order, state.held, sequence))
          state = isSettled
            ? settle(state.order, state.held, [sequence])
            : arrive(state.order, state.held, held(sequence))
          assert.ok(state.handed.every(({ gap, late }) => !gap && !late))
          handed.push(...sequences(state))
          assert.not.ok(isFresh(state.order, state.held, sequence))
        }
        assert.equal(
          handed,
          [1, 2, 3, 4, 5, 6, 7, 8].filter((one) => !settled.includes(one)),
        )
        assert.equal([state.held, state.order], [[], { next: 9, settled: [], missing: [] }])
      }),
    )
  },
)

order('after a gap messages are marked until the hole is filled, or withdrawn', () => {
  const waiting = arrive(FIRST_ORDER, [], held(3))
  const early = giveUpDue(waiting.order, waiting.held, WAIT_MS, toTimeMs(NOW + WAIT_MS - 1))
  assert.equal(sequences(early), [])
  const given = giveUpDue(waiting.order, waiting.held, WAIT_MS, toTimeMs(NOW + WAIT_MS))
  assert.equal(
    given.handed.map(({ gap, late }) => [gap, late]),
    [[true, false]],
  )
  const fourth = arrive(given.order, given.held, held(4))
  assert.equal(
    fourth.handed.map(({ gap }) => gap),
    [true],
  )
  const late = arrive(fourth.order, fourth.held, held(2))
  assert.equal(
    late.handed.map((one) => [one.late, one.gap]),
    [[true, true]],
  )
  const withdrawn = settle(late.order, late.held, [1])
  assert.equal(withdrawn.order.missing, [])
  assert.equal(
    arrive(withdrawn.order, [], held(5)).handed.map(({ gap }) => gap),
    [false],
  )
})

order('each hole is given up by its own time', () => {
  let state = arrive(FIRST_ORDER, [], held(2, NOW))
  state = arrive(state.order, state.held, held(4, NOW + 500))
  const first = giveUpDue(state.order, state.held, WAIT_MS, toTimeMs(NOW + WAIT_MS))
  assert.equal(sequences(first), [2])
  const second = giveUpDue(first.order, first.held, WAIT_MS, toTimeMs(NOW + WAIT_MS + 500))
  assert.equal(sequences(second), [4])
})

order(
  'a sequence that came before is not fresh, but hands over what a look at the ids lets through',
  () => {
    const state = arrive(FIRST_ORDER, [], held(1))
    assert.not.ok(isFresh(state.order, state.held, 1))
    const again = arrive(state.order, state.held, held(1))
    assert.equal(
      again.handed.map(({ late }) => late),
      [true],
    )
    assert.is(again.order.next, 2)
  },
)

order('whatever a sender sends, what is kept of it stays within its bounds', () => {
  let state = START
  for (let i = 0; i < HELD_MAX + 50; i++) state = arrive(state.order, state.held, held(2 * i + 2))
  assert.ok(state.held.length <= HELD_MAX)
  state = START
  let most = 0
  for (let i = 0; i < 100; i++) {
    state = arrive(state.order, state.held, held(2 * i + 2, NOW, 60_000))
    most = Math.max(
      most,
      state.held.reduce((sum, { message }) => sum + message.content.length, 0),
    )
  }
  assert.ok(most <= HELD_BYTES_MAX)
  state = settle(
    FIRST_ORDER,
    [],
    Array.from({ length: SETTLED_MAX + 9 }, (_, i) => 2 * i + 2),
  )
  assert.is(state.order.settled.length, SETTLED_MAX)
  state = START
  for (let i = 1; i < MISSING_MAX + 10; i++) {
    state = arrive(state.order, state.held, held(10 * i))
    state = giveUpDue(state.order, state.held, 0, NOW)
  }
  assert.is(state.order.missing.length, MISSING_MAX)
  const far = giveUpDue(FIRST_ORDER, [held(Number.MAX_SAFE_INTEGER - 1)], 0, NOW)
  assert.equal(sequences(far), [Number.MAX_SAFE_INTEGER - 1])
  const later = giveUpDue(far.order, far.held, 0, toTimeMs(NOW + SEEN_MS))
  assert.equal(later.order.missing, [])
})

order.run()

const post = suite('direct · postbag')
const delivered = (n: number): Receipt => ({ id: idOf(n), state: 'delivered' })

post('handled replaces delivered, and nothing replaces handled', () => {
  let bag = addReceipt(EMPTY_POSTBAG, delivered(1), NOW)
  bag = addReceipt(bag, { id: idOf(1), state: 'handled' }, NOW)
  bag = addReceipt(bag, delivered(1), NOW)
  assert.equal(bag.receipts, [{ id: idOf(1), state: 'handled' }])
})

post('what is taken fits a body, and nothing is lost or taken twice', () => {
  let bag = EMPTY_POSTBAG
  for (let n = 0; n < 150; n++) bag = addReceipt(bag, delivered(n), NOW)
  const withdrawals = Array.from({ length: 300 }, (_, n) => ({ id: idOf(n), sequence: n + 1 }))
  bag = addToPostbag(bag, { receipts: [], withdrawals }, NOW)
  const seen: string[] = []
  let rounds = 0
  for (; postbagSize(bag) > 0; rounds++) {
    const [taken, rest] = takeFromPostbag(bag)
    assert.ok(taken.receipts.length <= 64)
    const controls = withdrawnControls(taken.withdrawals)
    assert.ok(
      controls.length <= 3 &&
        controls.every((one) => one.kind === 'withdrawn' && one.items.length <= 64),
    )
    seen.push(
      ...taken.receipts.map(({ id }) => `r${id}`),
      ...taken.withdrawals.map(({ id }) => `w${id}`),
    )
    bag = rest
  }
  assert.is(new Set(seen).size, 450)
  assert.is(seen.length, 450)
  assert.is(bag.since, undefined)
  assert.is(rounds, 3)
})

post('it is bounded: the oldest delivered receipt goes first, and all of it in the end', () => {
  let bag = addReceipt(EMPTY_POSTBAG, { id: idOf(0), state: 'handled' }, NOW)
  for (let n = 1; n <= RECEIPTS_WAITING_MAX; n++) bag = addReceipt(bag, delivered(n), NOW)
  assert.is(bag.receipts.length, RECEIPTS_WAITING_MAX)
  assert.equal([bag.receipts[0]?.state, bag.receipts[1]?.id], ['handled', idOf(2)])
  const many = Array.from({ length: WITHDRAWALS_WAITING_MAX + 5 }, (_, n) => ({
    id: idOf(n),
    sequence: n + 1,
  }))
  bag = addToPostbag(bag, { receipts: [], withdrawals: many }, NOW)
  assert.is(bag.withdrawals.length, WITHDRAWALS_WAITING_MAX)
  assert.is(expirePostbag(bag, toTimeMs(NOW + MAILBOX_TTL_MS - 1)), bag)
  assert.is(expirePostbag(bag, toTimeMs(NOW + MAILBOX_TTL_MS)), EMPTY_POSTBAG)
})

post.run()
