// Two conversations over a link that loses, repeats, reorders and breaks, with crashes on both sides: only what was
// saved survives. In the end every message is in the inbox exactly once, in order or marked, and its state is true.
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseUtf8 } from '../../protocols/base/bytes.ts'
import { HOUR_MS, MINUTE_MS, toTimeMs } from '../../protocols/base/time.ts'
import type {
  ConversationEffect,
  EnvelopeRef,
  ResultStatus,
} from '../../protocols/direct/conversation.ts'
import { native } from '../../src/crypto/native.ts'
import { pairUp } from '../support/direct-party.ts'
import type { Party, Transmitted } from '../support/direct-party.ts'

const RUNS = Number(process.env['CONCLAVE_MODEL_RUNS'] ?? 60)
const SETTLE_ROUNDS_MAX = 400

type Side = 0 | 1
type Action =
  | {
      readonly kind: 'submit' | 'crash' | 'crashBeforeSaving' | 'forgetSessions'
      readonly side: Side
    }
  | {
      readonly kind: 'deliver' | 'drop' | 'repeat' | 'answer'
      readonly side: Side
      readonly at: number
    }
  | { readonly kind: 'fetch' | 'handle'; readonly side: Side }
  | { readonly kind: 'open' | 'close' }
  | { readonly kind: 'wait'; readonly ms: number }

const side = fc.constantFrom<Side>(0, 1)
const at = fc.nat({ max: 7 })
const bySide = (
  kind: 'submit' | 'crash' | 'crashBeforeSaving' | 'forgetSessions' | 'fetch' | 'handle',
): fc.Arbitrary<Action> => side.map((one) => ({ kind, side: one }))
const byPlace = (kind: 'deliver' | 'drop' | 'repeat' | 'answer'): fc.Arbitrary<Action> =>
  fc.record({ kind: fc.constant(kind), side, at })
const actions = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: bySide('submit') },
    { weight: 10, arbitrary: byPlace('deliver') },
    { weight: 6, arbitrary: byPlace('answer') },
    { weight: 3, arbitrary: bySide('fetch') },
    { weight: 3, arbitrary: fc.constant<Action>({ kind: 'open' }) },
    { weight: 2, arbitrary: byPlace('drop') },
    { weight: 2, arbitrary: byPlace('repeat') },
    { weight: 1, arbitrary: fc.constant<Action>({ kind: 'close' }) },
    { weight: 1, arbitrary: bySide('crash') },
    { weight: 1, arbitrary: bySide('crashBeforeSaving') },
    { weight: 1, arbitrary: bySide('handle') },
    {
      weight: 2,
      arbitrary: fc
        .constantFrom(5, 100, 2_000, 11 * MINUTE_MS)
        .map((ms): Action => ({ kind: 'wait', ms })),
    },
  ),
  { minLength: 20, maxLength: 120 },
)

interface Handed {
  readonly id: string
  readonly text: string
  readonly gap: boolean
  readonly late: boolean
}

/** The two sides, the link between them, and everything that was observed. */
class World {
  readonly parties: readonly [Party, Party] = pairUp(native, { aliceTrusts: 'contact' })
  readonly sent: [string[], string[]] = [[], []]
  readonly handed: [Handed[], Handed[]] = [[], []]
  readonly reports: [Map<string, string>, Map<string, string>] = [
    new Map<string, string>(),
    new Map<string, string>(),
  ]
  /** Envelopes on their way to a side, and answers on their way to it. */
  readonly envelopes: [Transmitted[], Transmitted[]] = [[], []]
  readonly answers: [
    { ref: EnvelopeRef; status: ResultStatus }[],
    { ref: EnvelopeRef; status: ResultStatus }[],
  ] = [[], []]
  readonly wantsBundle: [boolean, boolean] = [false, false]
  isOpen = false

  run(action: Action): void {
    switch (action.kind) {
      case 'submit':
        this.#submit(action.side)
        return
      case 'crash':
        this.#restart(action.side)
        return
      case 'crashBeforeSaving': {
        // The step was computed, its effects are lost, and so is the state.
        const party = this.parties[action.side]
        const { state } = party
        party.hear({ kind: 'connected' })
        party.state = state
        this.#restart(action.side)
        return
      }
      case 'forgetSessions':
        this.parties[action.side].forgetSessions()
        return
      case 'deliver':
        this.#deliver(action.side, action.at, false)
        return
      case 'repeat':
        this.#deliver(action.side, action.at, true)
        return
      case 'drop':
        this.envelopes[action.side].splice(action.at, 1)
        return
      case 'answer':
        this.#answer(action.side, action.at)
        return
      case 'fetch':
        this.#fetch(action.side)
        return
      case 'handle':
        this.#handle(action.side)
        return
      case 'open':
        this.#open()
        return
      case 'close':
        this.#close()
        return
      case 'wait':
        this.wait(action.ms)
    }
  }

  wait(ms: number): void {
    for (const party of this.parties) party.nowMs = toTimeMs(party.nowMs + ms)
    for (const one of [0, 1] as const)
      this.#note(one, this.parties[one].hear({ kind: 'timerExpired' }))
  }

  /** Lets everything through until nothing is left to do. */
  settle(): void {
    for (let round = 0; round < SETTLE_ROUNDS_MAX; round++) {
      this.#open()
      while (this.#isMoving()) {
        for (const one of [0, 1] as const) {
          this.#fetch(one)
          while (this.envelopes[one].length > 0) this.#deliver(one, 0, false)
          while (this.answers[one].length > 0) this.#answer(one, 0)
        }
      }
      if (this.parties.every(isQuiet)) return
      // What was lost gets no answer; a link on which none comes is given up.
      if (this.parties.some(isUnanswered)) this.#close()
      this.wait(round < 40 ? 100 : round < 200 ? MINUTE_MS : HOUR_MS / 2)
    }
    throw new Error(`not settled: ${this.parties.map(describe).join(' | ')}`)
  }

  #isMoving(): boolean {
    return (
      [...this.envelopes, ...this.answers].some(({ length }) => length > 0) ||
      this.wantsBundle.includes(true)
    )
  }

  #submit(one: Side): void {
    const text = `${one}:${this.sent[one].length + 1}`
    this.sent[one].push(text)
    this.#note(one, this.parties[one].submit(text))
  }

  #restart(one: Side): void {
    // What had left the process is still on its way; the stream is gone.
    this.#close()
    this.wantsBundle[one] = false
    this.parties[one].restart()
    this.#note(one, this.parties[one].hear({ kind: 'restarted' }))
  }

  #open(): void {
    if (this.isOpen) return
    this.isOpen = true
    for (const one of [0, 1] as const)
      this.#note(one, this.parties[one].hear({ kind: 'linkOpened' }))
  }

  #close(): void {
    if (!this.isOpen) return
    this.isOpen = false
    for (const one of [0, 1] as const) {
      this.answers[one].length = 0
      this.#note(one, this.parties[one].hear({ kind: 'linkClosed' }))
    }
  }

  #deliver(to: Side, place: number, again: boolean): void {
    const queue = this.envelopes[to]
    const sent = queue[place]
    if (sent === undefined) return
    if (!again) queue.splice(place, 1)
    const party = this.parties[to]
    const before = party.answers.length
    this.#note(to, party.receive(sent))
    const [status] = party.answers.slice(before)
    assert.is(party.answers.length, before + 1, 'every envelope gets one answer')
    if (this.isOpen && status !== undefined) this.answers[other(to)].push({ ref: sent.ref, status })
  }

  #answer(to: Side, place: number): void {
    const [answer] = this.answers[to].splice(place, 1)
    if (answer === undefined) return
    this.#note(to, this.parties[to].hear({ kind: 'resultsReceived', results: [answer] }))
  }

  #fetch(one: Side): void {
    if (!this.wantsBundle[one]) return
    this.wantsBundle[one] = false
    this.#note(one, this.parties[one].fetchFrom(this.parties[other(one)]))
  }

  #handle(one: Side): void {
    const ids = this.handed[one].map(({ id }) => id as never)
    if (ids.length > 0) this.#note(one, this.parties[one].hear({ kind: 'agentHandled', ids }))
  }

  #note(one: Side, effects: readonly ConversationEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'transmit') this.envelopes[other(one)].push(effect)
      else if (effect.kind === 'fetchBundle') this.wantsBundle[one] = true
      else if (effect.kind === 'saveMessage') {
        const { message, gap, late } = effect.handed
        const text = parseUtf8(message.content) ?? ''
        this.handed[one].push({ id: message.id, text, gap, late })
      } else if (effect.kind === 'report') this.#report(one, effect)
    }
  }

  /** "Each state is proved by a receipt, never assumed": what is reported is true at that moment. */
  #report(one: Side, { id, state }: Extract<ConversationEffect, { kind: 'report' }>): void {
    const receiver = this.parties[other(one)]
    const isThere =
      this.handed[other(one)].some((handed) => handed.id === id) ||
      receiver.state.held.some(({ message }) => message.id === id)
    if (state === 'delivered' || state === 'handled')
      assert.ok(isThere, `${state} but not received`)
    assert.is.not(this.reports[one].get(id), state, 'reported once')
    this.reports[one].set(id, state)
  }
}

const other = (one: Side): Side => (one === 0 ? 1 : 0)

function isQuiet({ state }: Party): boolean {
  const { outbox, notices, held, ledger } = state
  const waiting = outbox.length + notices.length + held.length
  return waiting + ledger.postbag.receipts.length + ledger.postbag.withdrawals.length === 0
}

function isUnanswered({ state }: Party): boolean {
  return [...state.outbox, ...state.notices].some(({ phase }) => phase === 'sent')
}

function describe({ state }: Party): string {
  const { outbox, notices, held, ledger, renewal, link, isFetching, retryAt } = state
  const letters = outbox.map(
    ({ letter, phase, lastError }) => `${letter.sequence} ${phase} ${lastError ?? ''}`,
  )
  return JSON.stringify({
    letters,
    notices: notices.map(({ phase }) => phase),
    held: held.length,
    postbag: ledger.postbag,
    renewal,
    link,
    isFetching,
    retryAt,
  })
}

/** "Exactly once and in order for each sender", or marked. */
function checkInbox(sent: readonly string[], handed: readonly Handed[]): void {
  const texts = handed.map(({ text }) => text)
  assert.equal([...texts].sort(), [...sent].sort(), 'every message exactly once')
  const inTime = handed.filter(({ late }) => !late).map(({ text }) => sent.indexOf(text))
  assert.equal(
    [...inTime].sort((a, b) => a - b),
    inTime,
    'in order, but for those marked late',
  )
  for (const { text } of handed.filter(({ late }) => late)) {
    const after = handed.find((one) => sent.indexOf(one.text) > sent.indexOf(text))
    assert.ok(after?.gap, `${text} is late, so what overtook it is marked`)
  }
}

const model = suite('direct machine · model')

const check = (story: readonly Action[]): void => {
  try {
    tell(story)
  } catch (error) {
    if (process.env['VERBOSE']) console.log(error)
    throw error
  }
}
const tell = (story: readonly Action[]): void => {
  const world = new World()
  for (const action of story) world.run(action)
  world.settle()
  for (const one of [0, 1] as const) {
    checkInbox(world.sent[one], world.handed[other(one)])
    for (const state of world.reports[one].values())
      assert.ok(state === 'delivered' || state === 'handled')
    assert.is(world.reports[one].size, world.sent[one].length)
  }
}

model(
  'over a bad link with crashes, every message arrives exactly once, in order, and its state is true',
  () => {
    fc.assert(fc.property(actions, check), { numRuns: RUNS })
  },
)

model('also if sessions are lost on the way: resets mend them', () => {
  const withLoss = fc
    .tuple(actions, side, actions)
    .map(([before, one, after]): Action[] => [
      ...before,
      { kind: 'forgetSessions', side: one },
      ...after,
    ])
  fc.assert(fc.property(withLoss, check), { numRuns: RUNS })
})

model.run()
