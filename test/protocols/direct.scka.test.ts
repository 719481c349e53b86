// The post-quantum ratchet: every cell of its table, what is due when, its chains, its saved form.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { makeReader } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { encodeScka, readScka } from '../../protocols/direct/scka-codec.ts'
import { SCKA_DRAW_BYTES } from '../../protocols/direct/scka.ts'
import type { SckaHeader, SckaState } from '../../protocols/direct/scka.ts'
import {
  CHAIN_MESSAGES_MAX,
  SCKA_EPOCH_MESSAGES,
  SCKA_EPOCH_MS,
} from '../../protocols/direct/types.ts'
import type { SckaOffer } from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { NOW, valueOf } from '../support/direct-cast.ts'
import { scka, SckaSide } from '../support/scka-pair.ts'

const test = suite('direct · post-quantum ratchet')
const LATER = toTimeMs(NOW + SCKA_EPOCH_MS)
const draws = new Uint8Array(SCKA_DRAW_BYTES).fill(5)

/** Names of a talk's states: side, step, epoch it sends in; `unused`: nothing of that epoch was opened. */
type Name = `${'A' | 'B'} ${SckaState['step']['kind']} ${number}${'' | ' unused'}`

/** Every state that two honest sides go through in three epochs. */
function statesOfATalk(): Map<Name, SckaState> {
  const states = new Map<Name, SckaState>()
  const sides = { A: new SckaSide('initiator', 'talk'), B: new SckaSide('responder', 'talk') }
  const note = (side: 'A' | 'B'): void => {
    const { state } = sides[side]
    const { sending, receiving, step } = state
    const isUnused = receiving.epoch < sending.epoch
    states.set(`${side} ${step.kind} ${sending.epoch}${isUnused ? ' unused' : ''}`, state)
  }
  note('A')
  note('B')
  for (let i = 0; i < 12; i++) {
    const [from, to] = i % 2 === 0 ? (['A', 'B'] as const) : (['B', 'A'] as const)
    // An hour passes once both have used the epoch.
    if (i === 5 || i === 10) sides.A.nowMs = sides.B.nowMs = toTimeMs(sides.A.nowMs + SCKA_EPOCH_MS)
    const message = sides[from].send()
    note(from)
    valueOf(sides[to].open(message))
    note(to)
  }
  return states
}

const STATES = statesOfATalk()

function stateOf(name: string): SckaState {
  const state = STATES.get(name as Name)
  assert.ok(state, `${name} is part of the talk`)
  return state
}

function offerOf(text: string): SckaOffer {
  const epoch = Number(text.slice(2))
  return text.startsWith('ek')
    ? { kind: 'encapsulationKey', epoch, bytes: native.kemPublic(768, new Uint8Array(64).fill(9)) }
    : { kind: 'ciphertext', epoch, bytes: new Uint8Array(1_088).fill(epoch) }
}

/** What became of a state: `same`, a code, or step and epoch. */
function outcome(before: SckaState, result: Decoded<SckaState>): string {
  if (!result.ok) return result.code
  if (result.value === before) return 'same'
  return `${result.value.step.kind} ${result.value.sending.epoch}`
}

const OFFERS = [0, 1, 2, 3, 4, 5].flatMap((epoch) => [`ek${epoch}`, `ct${epoch}`])

/** What each state does with offers; all others are refused. */
const TAKEN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'A idle 0': {},
  'A proposed 0': { ct1: 'idle 1' },
  'A idle 1 unused': { ct1: 'same' },
  'A idle 1': { ct1: 'same', ek2: 'answering 1' },
  'A answering 1': { ct1: 'same', ek2: 'same' },
  'A encapsulated 1': { ct1: 'same', ek2: 'same' },
  'A idle 2': { ct1: 'same', ek2: 'same' },
  'A proposed 2': { ct1: 'same', ek2: 'same', ct3: 'idle 3' },
  'A idle 3 unused': { ct1: 'same', ek2: 'same', ct3: 'same' },
  'B idle 0': { ek1: 'answering 0' },
  'B answering 0': { ek1: 'same' },
  'B encapsulated 0': { ek1: 'same' },
  'B idle 1': { ek1: 'same' },
  'B proposed 1': { ek1: 'same', ct2: 'idle 2' },
  'B idle 2 unused': { ek1: 'same', ct2: 'same' },
  'B idle 2': { ek1: 'same', ct2: 'same', ek3: 'answering 2' },
  'B answering 2': { ek1: 'same', ct2: 'same', ek3: 'same' },
  'B encapsulated 2': { ek1: 'same', ct2: 'same', ek3: 'same' },
}

test('the talk goes through every state of the table, on both sides', () => {
  assert.equal([...STATES.keys()].sort(), Object.keys(TAKEN).sort())
})

for (const [name, taken] of Object.entries(TAKEN)) {
  test(`${name}: offers of every kind and epoch`, () => {
    const before = stateOf(name)
    const copy = structuredClone(before)
    for (const text of OFFERS) {
      const got = outcome(before, scka.receive(before, offerOf(text), NOW))
      assert.is(got, taken[text] ?? 'DIRECT_EPOCH_UNKNOWN', text)
      assert.equal(before, copy, text)
    }
  })
}

/** What each state does when it seals: now, an hour later, or after fifty envelopes. */
const SENDING: readonly (readonly [name: string, now: string, due: string, offer: string])[] = [
  // Its first epoch is due at once.
  ['A idle 0', 'proposed 0', 'proposed 0', 'encapsulationKey 1'],
  ['A proposed 0', 'proposed 0', 'proposed 0', 'encapsulationKey 1'],
  ['A idle 1 unused', 'idle 1', 'idle 1', 'none'],
  ['A idle 1', 'idle 1', 'idle 1', 'none'],
  ['A answering 1', 'encapsulated 1', 'encapsulated 1', 'ciphertext 2'],
  ['A encapsulated 1', 'encapsulated 1', 'encapsulated 1', 'ciphertext 2'],
  ['A idle 2', 'idle 2', 'proposed 2', 'encapsulationKey 3'],
  ['A proposed 2', 'proposed 2', 'proposed 2', 'encapsulationKey 3'],
  ['A idle 3 unused', 'idle 3', 'idle 3', 'none'],
  ['B idle 0', 'idle 0', 'idle 0', 'none'],
  ['B answering 0', 'encapsulated 0', 'encapsulated 0', 'ciphertext 1'],
  ['B encapsulated 0', 'encapsulated 0', 'encapsulated 0', 'ciphertext 1'],
  ['B idle 1', 'idle 1', 'proposed 1', 'encapsulationKey 2'],
  ['B proposed 1', 'proposed 1', 'proposed 1', 'encapsulationKey 2'],
  ['B idle 2 unused', 'idle 2', 'idle 2', 'none'],
  ['B idle 2', 'idle 2', 'idle 2', 'none'],
  ['B answering 2', 'encapsulated 2', 'encapsulated 2', 'ciphertext 3'],
  ['B encapsulated 2', 'encapsulated 2', 'encapsulated 2', 'ciphertext 3'],
]

test('the table of sealing has every state', () => {
  assert.equal(SENDING.map(([name]) => name).sort(), Object.keys(TAKEN).sort())
})

for (const [name, now, due, expected] of SENDING) {
  test(`${name}: sealing before and after the next epoch is due`, () => {
    const state = stateOf(name)
    const { since, sending } = state
    const full = { ...state, sending: { ...sending, count: SCKA_EPOCH_MESSAGES } }
    const late = toTimeMs(since + SCKA_EPOCH_MS)
    for (const [before, nowMs, then] of [
      [state, since === 0 ? NOW : toTimeMs(late - 1), now],
      [state, since === 0 ? NOW : late, due],
      [full, since, due],
    ] as const) {
      const sent = valueOf(scka.send(before, draws, nowMs))
      assert.is(`${sent.state.step.kind} ${sent.state.sending.epoch}`, then)
      assert.equal(sent.header, {
        pqEpoch: sending.epoch,
        pqCount: before.sending.count,
        pqPreviousCount: state.previousCount,
      })
      const { offer } = sent
      const rides = offer === undefined ? 'none' : `${offer.kind} ${offer.epoch}`
      assert.is(rides, then.startsWith('idle') ? 'none' : expected)
    }
  })
}

/** The epochs whose messages each state opens; `→ n`: it sends in n from then on. */
const OPENING: Readonly<Record<string, readonly string[]>> = {
  'A idle 0': ['0'],
  'A proposed 0': ['0'],
  'A idle 1 unused': ['0', '1'],
  'A idle 1': ['0', '1'],
  'A answering 1': ['0', '1'],
  'A encapsulated 1': ['0', '1', '2 → 2'],
  'A idle 2': ['0', '1', '2'],
  'A proposed 2': ['0', '1', '2'],
  'A idle 3 unused': ['0', '1', '2', '3'],
  'B idle 0': ['0'],
  'B answering 0': ['0'],
  'B encapsulated 0': ['0', '1 → 1'],
  'B idle 1': ['0', '1'],
  'B proposed 1': ['0', '1'],
  'B idle 2 unused': ['0', '1', '2'],
  'B idle 2': ['0', '1', '2'],
  'B answering 2': ['0', '1', '2'],
  'B encapsulated 2': ['0', '1', '2', '3 → 3'],
}

for (const [name, expected] of Object.entries(OPENING)) {
  test(`${name}: messages of every epoch`, () => {
    const state = stateOf(name)
    const { receiving, sending } = state
    const got = [0, 1, 2, 3, 4].flatMap((pqEpoch) => {
      const pqCount = pqEpoch === receiving.epoch ? receiving.count : 0
      const header = { pqEpoch, pqCount, pqPreviousCount: receiving.count }
      const found = scka.find(state, header)
      if (!found.ok) {
        assert.is(found.code, 'DIRECT_EPOCH_UNKNOWN')
        return []
      }
      if (pqEpoch >= receiving.epoch) found.value.next()
      const after = valueOf(found.value.end(LATER))
      if (pqEpoch < receiving.epoch) assert.is(after, state)
      else assert.is(after.receiving.epoch, pqEpoch)
      const moved = after.sending.epoch !== sending.epoch
      if (moved) assert.equal([after.since, after.step.kind], [LATER, 'idle'])
      if (moved) assert.is(after.previousCount, sending.count)
      return [`${pqEpoch}${moved ? ` → ${after.sending.epoch}` : ''}`]
    })
    assert.equal(got, expected)
  })
}

test('a header that no honest peer makes is refused', () => {
  const walk = (name: string, header: Partial<SckaHeader>, steps: number): string => {
    const whole = { pqEpoch: 0, pqCount: 0, pqPreviousCount: 0, ...header }
    const found = scka.find(stateOf(name), whole)
    if (!found.ok) return found.code
    for (let i = 0; i < steps; i++) found.value.next()
    const end = found.value.end(NOW)
    return end.ok ? 'accepted' : end.code
  }
  const refusal = 'DIRECT_OPEN_FAILED'
  assert.is(walk('B idle 0', { pqCount: 2 }, 3), 'accepted')
  assert.is(walk('B idle 0', { pqCount: 2 }, 2), refusal)
  assert.is(walk('B idle 0', { pqCount: 2 }, 4), refusal)
  assert.is(walk('B idle 0', { pqCount: 2 }, 0), refusal)
  assert.is(walk('B idle 0', { pqCount: CHAIN_MESSAGES_MAX }, 1), refusal)
  assert.is(walk('B answering 0', { pqCount: 0 }, 0), 'accepted') // late
  assert.is(walk('B answering 0', { pqCount: 0 }, 1), refusal)
  // One message of epoch 0 was opened, one more is outstanding.
  assert.is(walk('B encapsulated 0', { pqEpoch: 1, pqPreviousCount: 2 }, 2), 'accepted')
  assert.is(walk('B encapsulated 0', { pqEpoch: 1, pqPreviousCount: 2 }, 1), refusal)
  assert.is(walk('B encapsulated 0', { pqEpoch: 1, pqPreviousCount: 0 }, 1), refusal)
  assert.is(walk('B encapsulated 0', { pqEpoch: 1, pqPreviousCount: 0, pqCount: 1 }, 1), refusal)
})

test('an encapsulation key that is none is refused as it comes, by both Primitives', () => {
  const bytes = new Uint8Array(1_184).fill(0xff)
  const offer = { kind: 'encapsulationKey', epoch: 1, bytes } as const
  const state = stateOf('B idle 0')
  assert.equal(scka.receive(state, offer, NOW), { ok: false, code: 'VERIFY_KEY_INVALID' })
  for (const primitives of [native, portable]) assert.not(primitives.isKemKey(768, bytes))
})

test('a chain ends at its limit, on both sides', () => {
  const state = stateOf('B idle 1')
  const sending = { ...state.sending, count: CHAIN_MESSAGES_MAX - 1 }
  const last = valueOf(scka.send({ ...state, sending }, draws, NOW)).state
  const none = scka.send(last, draws, NOW)
  assert.equal(none, { ok: false, code: 'DIRECT_CHAIN_EXHAUSTED' })
  const receiving = { ...state.receiving, count: CHAIN_MESSAGES_MAX - 1 }
  const header = (pqCount: number): SckaHeader => ({ pqEpoch: 1, pqCount, pqPreviousCount: 2 })
  const found = valueOf(scka.find({ ...state, receiving }, header(CHAIN_MESSAGES_MAX - 1)))
  found.next()
  const ended = valueOf(found.end(NOW))
  const beyond = scka.find(ended, header(CHAIN_MESSAGES_MAX))
  assert.equal(beyond, { ok: false, code: 'DIRECT_OPEN_FAILED' })
})

test('every state survives its saved form; truncations and unknown versions are errors', () => {
  for (const [name, state] of STATES) {
    const saved = encodeScka(state)
    assert.ok(saved.length <= 159 + 32 + 1_248, name)
    const read = (bytes: Bytes): Decoded<SckaState> => {
      const reader = makeReader(bytes)
      const got = readScka(reader, state.role)
      return got.ok && !reader.done ? { ok: false, code: 'CODEC_MALFORMED' } : got
    }
    assert.equal(valueOf(read(saved)), state, name)
    for (let length = 0; length < saved.length; length += 1) {
      assert.not(read(saved.subarray(0, length)).ok, `${name}, ${length} octets`)
    }
    for (const [at, octet, code] of [
      [0, 2, 'CODEC_UNKNOWN_VERSION'],
      [1, 4, 'CODEC_MALFORMED'],
      [2, 2, 'CODEC_MALFORMED'],
    ] as const) {
      assert.equal(read(saved.with(at, octet)), { ok: false, code })
    }
  }
})

test.run()
