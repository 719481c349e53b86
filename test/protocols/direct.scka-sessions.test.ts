// The post-quantum ratchet inside sessions: epochs of real envelopes, what rides in them, what a long chain costs.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { SEAL_DRAW_BYTES } from '../../protocols/direct/envelope-seal.ts'
import { encodeSession } from '../../protocols/direct/session-codec.ts'
import { loadSessions, sessionRows } from '../../protocols/direct/session-rows.ts'
import { noSessions } from '../../protocols/direct/session.ts'
import {
  CHAIN_MESSAGES_MAX,
  SCKA_EPOCH_MESSAGES,
  SCKA_EPOCH_MS,
} from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import {
  makePair,
  NOTHING_TO_SAY,
  NOW,
  operationsOf,
  say,
  seeded,
  valueOf,
} from '../support/direct-cast.ts'
import type { End } from '../support/direct-cast.ts'

const test = suite('direct · post-quantum sessions')

function epochOf(end: End): number {
  return end.sessions.list[0]!.scka.sending.epoch
}

for (const [name, [first, second]] of Object.entries({
  native: [native, native],
  'native to portable': [native, portable],
  'portable to native': [portable, native],
} satisfies Record<string, [Primitives, Primitives]>)) {
  test(`${name}: sessions go through five epochs, fifty envelopes each`, () => {
    const [a] = makePair(first, 'five epochs')
    const [, b] = makePair(second, 'five epochs')
    a.initiate('pair')
    let envelopes = 0
    while (epochOf(a) < 5) {
      assert.ok(++envelopes < 5 * SCKA_EPOCH_MESSAGES)
      const [from, to] = envelopes % 3 === 0 ? [b, a] : [a, b]
      assert.equal(valueOf(to.open(from.seal(say(envelopes)).envelope)).body, say(envelopes))
    }
    assert.ok(envelopes > 4 * SCKA_EPOCH_MESSAGES)
  })
}

/** Counts the calls of some primitives. */
function counting(calls: Record<string, number>): Primitives {
  const counted = { ...native }
  for (const name of ['kemPublic', 'encapsulate', 'decapsulate', 'hmacSha256'] as const) {
    calls[name] = 0
    Object.assign(counted, {
      [name]: (...inputs: never[]): unknown => {
        calls[name] = (calls[name] ?? 0) + 1
        return (native[name] as (...given: never[]) => unknown)(...inputs)
      },
    })
  }
  return counted
}

test('a long one-way chain costs the same at its end: one key pair, four HMACs a message, one size of row', () => {
  const calls: Record<string, number> = {}
  const [a] = makePair(counting(calls), 'one way')
  const [, b] = makePair(native, 'one way')
  a.initiate('pair')
  valueOf(b.open(a.seal(say(1)).envelope))
  valueOf(a.open(b.seal(say(1)).envelope))
  for (let i = 0; i < SCKA_EPOCH_MESSAGES; i++) valueOf(b.open(a.seal(say(i + 1)).envelope))
  valueOf(a.open(b.seal(say(2)).envelope)) // proposes epoch 2
  const rowBytes = (end: End): number => encodeSession(end.sessions.list[0]!).length
  valueOf(b.open(a.seal(say(9)).envelope)) // the ciphertext rides from here on
  const sizes = [rowBytes(a), rowBytes(b)]
  assert.ok(sizes.every((size) => size < 640 + 1_250))
  for (const name of Object.keys(calls)) calls[name] = 0
  for (let i = 0; i < 2_000; i++) {
    const { envelope } = a.seal(say(9))
    assert.is(envelope.length, 2_048)
    if (i % 100 === 0) valueOf(b.open(envelope))
  }
  // Two of each ratchet: what HKDF and AEAD do is their own.
  assert.equal(calls, { kemPublic: 0, encapsulate: 0, decapsulate: 0, hmacSha256: 8_000 })
  assert.equal([rowBytes(a), rowBytes(b)], sizes)
})

test('at the end of a post-quantum chain a new session is due', () => {
  const [a] = makePair(native, 'end')
  const operations = operationsOf(native)
  a.initiate()
  assert.not(operations.needsBundle(a.sessions, { nowMs: NOW }))
  const session = a.sessions.list[0]!
  const sending = { ...session.scka.sending, count: CHAIN_MESSAGES_MAX }
  const list = [{ ...session, scka: { ...session.scka, sending } }]
  assert.ok(operations.needsBundle({ ...a.sessions, list }, { nowMs: NOW }))
  const draws = new Uint8Array(SEAL_DRAW_BYTES)
  const sealed = operations.seal(a.agent.own, { ...a.sessions, list }, say(1), draws, NOW)
  assert.equal(sealed, { ok: false, code: 'DIRECT_CHAIN_EXHAUSTED' })
})

test('a bad body leaves the state deeply equal, whatever offer or epoch it brings', () => {
  const [a, b] = makePair(native, 'bad body')
  a.initiate('pair')
  const ends = [a, b] as const
  let nowMs = NOW
  for (let turn = 0; turn < 12; turn++) {
    const [from, to] = turn % 2 === 0 ? ends : [b, a]
    if (turn % 4 === 3) nowMs = toTimeMs(nowMs + SCKA_EPOCH_MS)
    const { envelope } = from.seal(say(turn + 1), nowMs)
    const before = to.sessions
    const copy = structuredClone(before)
    const bad = envelope.with(-1, (envelope.at(-1) ?? 0) ^ 1)
    assert.equal(to.open(bad, nowMs), { ok: false, code: 'DIRECT_OPEN_FAILED' })
    assert.is(to.sessions, before)
    assert.equal(before, copy)
    assert.equal(valueOf(to.open(envelope, nowMs)).body, say(turn + 1))
  }
  assert.ok(epochOf(a) >= 3 && epochOf(b) >= 3)
})

test('envelopes of two epochs before open late, once, also after a restart', () => {
  const [a, b] = makePair(native, 'late epochs')
  a.initiate('pair')
  const late: Bytes[] = []
  let nowMs = NOW
  for (let turn = 0; epochOf(a) < 3; turn++) {
    assert.ok(turn < 12)
    nowMs = toTimeMs(nowMs + SCKA_EPOCH_MS)
    late.push(a.seal(say(turn + 1), nowMs).envelope)
    valueOf(b.open(a.seal(NOTHING_TO_SAY, nowMs).envelope, nowMs))
    valueOf(a.open(b.seal(NOTHING_TO_SAY, nowMs).envelope, nowMs))
  }
  assert.ok(
    new Set(b.sessions.list[0]!.ratchet.skipped.map(({ finder }) => finder.join())).size > 2,
  )
  const rows = sessionRows(noSessions(a.agent.peer), b.sessions)
  const saved = rows.flatMap((row) => (row.kind === 'put' ? [row] : []))
  b.sessions = valueOf(loadSessions(a.agent.peer, saved))
  for (const [i, envelope] of late.entries()) {
    assert.equal(valueOf(b.open(envelope, nowMs)).body, say(i + 1))
    assert.not(b.open(envelope, nowMs).ok)
  }
})

test('an offer is left out of an envelope that it would not fit, and rides in the next', () => {
  const [a, b] = makePair(seeded, 'no room')
  a.initiate()
  const { id } = say(1).message!
  const receipts = Array.from({ length: 64 }, () => ({ id, state: 'delivered' }) as const)
  const items = Array.from({ length: 48 }, (_, i) => ({ id, sequence: 2 ** 40 + i }))
  const full = {
    ...say(1, new Uint8Array(60_000)),
    receipts,
    controls: [{ kind: 'withdrawn', items }],
  } as const
  const { envelope } = a.seal(full)
  assert.is(envelope.length, 65_536)
  assert.equal(valueOf(b.open(envelope)).body, full)
  assert.is(b.sessions.list[0]!.scka.step.kind, 'idle')
  valueOf(b.open(a.seal(NOTHING_TO_SAY).envelope))
  const { step } = b.sessions.list[0]!.scka
  assert.ok(step.kind === 'answering')
  assert.is(step.key.buffer.byteLength, 1_184, 'the state keeps no plaintext')
})

test.run()
