// The ratchet: skipped keys and their bounds, what a failure leaves behind, and the cost of a long gap.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { SECOND_MS, toTimeMs } from '../../protocols/base/time.ts'
import { makeRatchet, startInitiator, startResponder } from '../../protocols/direct/ratchet.ts'
import type { Place, RatchetHeader, RatchetState } from '../../protocols/direct/ratchet.ts'
import { sessionRows } from '../../protocols/direct/session-rows.ts'
import { pruneSessions } from '../../protocols/direct/session.ts'
import type { Sessions } from '../../protocols/direct/session.ts'
import { addSkipped, countSkipped, findSkipped } from '../../protocols/direct/skipped.ts'
import type { SkippedChains, SkippedKey } from '../../protocols/direct/skipped.ts'
import {
  HEADER_TRIALS_MAX,
  MAILBOX_TTL_MS,
  SCKA_EPOCH_MESSAGES,
  SEEN_MS,
  SKIP_PER_CHAIN_MAX,
  SKIP_PER_SESSION_MAX,
} from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { drawsOf, makePair, NOW, say, valueOf } from '../support/direct-cast.ts'
import type { End } from '../support/direct-cast.ts'

const test = suite('direct · ratchet')

/** In the plain mode there is no post-quantum ratchet. */
const NONE = new Uint8Array(0)
const noPqKey = (): Bytes => NONE

/** Two ends that have heard of each other: no preambles, a new chain on each side at its next message. */
function acquainted(seed: string, primitives: Primitives = native): readonly [End, End] {
  const [a, b] = makePair(primitives, seed)
  a.initiate('pair')
  valueOf(b.open(a.seal(say(1)).envelope))
  valueOf(a.open(b.seal(say(1)).envelope))
  valueOf(b.open(a.seal(say(2)).envelope))
  return [a, b]
}

function sealMany(end: End, count: number): Bytes[] {
  return Array.from({ length: count }, (_, i) => end.seal(say(i + 1)).envelope)
}

function codeOf(result: Decoded<unknown>): string {
  return result.ok ? 'accepted' : result.code
}

const skippedOf = (sessions: Sessions): SkippedChains => sessions.list[0]!.ratchet.skipped

for (const [name, primitives] of Object.entries({ native, portable })) {
  // Direct §13 row 1: state changed before the tag verified.
  test(`${name}: a bad tag leaves the state deeply equal, and the good envelope opens after it`, () => {
    const [a, b] = acquainted('bad tag', primitives)
    const [skipped, good] = sealMany(a, 2) as [Bytes, Bytes]
    const before = b.sessions
    const copy = structuredClone(before)
    for (const at of [88, 100, 172, 184, good.length - 1]) {
      const bad = Uint8Array.from(good)
      bad[at] = (bad[at] ?? 0) ^ 1
      assert.not(b.open(bad).ok)
      assert.is(b.sessions, before)
    }
    assert.equal(before, copy)
    assert.ok(b.open(good).ok)
    assert.ok(b.open(skipped).ok)
  })
}

test('every envelope of a gap opens once, in any order, also after the peer has a new chain', () => {
  const [a, b] = acquainted('gap')
  const old = sealMany(a, 20)
  valueOf(b.open(old.pop()!))
  valueOf(a.open(b.seal(say(9)).envelope))
  valueOf(b.open(a.seal(say(10)).envelope))
  assert.is(countSkipped(skippedOf(b.sessions)), 19)
  for (const envelope of old.reverse()) {
    assert.ok(b.open(envelope).ok)
    assert.not(b.open(envelope).ok)
  }
  assert.equal(skippedOf(b.sessions), [])
})

test('a repeat in the current chain is told from the unknown', () => {
  const [a, b] = acquainted('repeat')
  const [first, second] = sealMany(a, 2) as [Bytes, Bytes]
  valueOf(b.open(first))
  assert.is(codeOf(b.open(first)), 'DIRECT_KEY_CONSUMED')
  valueOf(b.open(second))
  assert.is(codeOf(b.open(first)), 'DIRECT_KEY_CONSUMED')
})

// Spec §4.1.2: "at most SKIP_PER_CHAIN_MAX".
test('a gap of 1,000 opens, one of 1,001 does not', () => {
  const [a, b] = acquainted('far')
  const envelopes = sealMany(a, SKIP_PER_CHAIN_MAX + 2)
  assert.is(codeOf(b.open(envelopes[SKIP_PER_CHAIN_MAX + 1]!)), 'DIRECT_SKIP_LIMIT')
  assert.ok(b.open(envelopes[SKIP_PER_CHAIN_MAX]!).ok)
  assert.is(countSkipped(skippedOf(b.sessions)), SKIP_PER_CHAIN_MAX)
  assert.ok(b.open(envelopes[SKIP_PER_CHAIN_MAX + 1]!).ok)
  assert.ok(b.open(envelopes[0]!).ok)
})

test('skipped keys stay within both bounds, and the oldest go first', () => {
  const key = (index: number, count: number): SkippedKey => {
    return { index, count, messageKey: utf8(`${index}`), pqKey: NONE, storedAt: NOW }
  }
  let chains: SkippedChains = []
  let index = 0
  for (const finder of ['a', 'b', 'c'].map(utf8)) {
    const keys = Array.from({ length: 800 }, (_, count) => key(index++, count))
    chains = addSkipped(chains, finder, keys)
  }
  assert.is(countSkipped(chains), SKIP_PER_SESSION_MAX)
  assert.is(chains[0]!.keys[0]!.index, 400)
  chains = addSkipped(
    chains,
    utf8('c'),
    Array.from({ length: 500 }, (_, i) => key(index++, 900 + i)),
  )
  const newest = chains.at(-1)!
  assert.is(newest.keys.length, SKIP_PER_CHAIN_MAX)
  assert.is(findSkipped(newest, 1_399)?.index, index - 1)
  assert.is(findSkipped(newest, 850), undefined)
  for (const finder of ['d', 'e', 'f'].map(utf8)) {
    chains = addSkipped(chains, finder, [key(index++, 0)])
  }
  assert.ok(chains.length < HEADER_TRIALS_MAX)
})

// Direct §13 row 12: an expiry shorter than the mail's own life loses mail.
test('an envelope one second before the mail expires, out of order, opens', () => {
  const [a, b] = acquainted('late')
  const [late, next] = sealMany(a, 2) as [Bytes, Bytes]
  valueOf(b.open(next))
  const nowMs = toTimeMs(NOW + MAILBOX_TTL_MS - SECOND_MS)
  b.sessions = pruneSessions(b.sessions, nowMs)
  assert.ok(b.open(late, nowMs).ok)
})

test('skipped keys are forgotten after their life, and not before', () => {
  const [a, b] = acquainted('forgotten')
  const [late, next] = sealMany(a, 2) as [Bytes, Bytes]
  valueOf(b.open(next))
  const before = b.sessions
  assert.is(pruneSessions(before, toTimeMs(NOW + SEEN_MS - 1)), before)
  b.sessions = pruneSessions(before, toTimeMs(NOW + SEEN_MS))
  assert.equal(skippedOf(b.sessions), [])
  assert.is(codeOf(b.open(late)), 'DIRECT_KEY_CONSUMED')
  const rows = sessionRows(before, b.sessions)
  assert.equal(
    rows.map(({ kind }) => kind),
    ['put', 'del'],
  )
})

/** Wraps Primitives so that every AEAD opening leaves a note. */
function instrumented(notes: { key: string; body: boolean }[]): Primitives {
  return {
    ...native,
    open(key, nonce, ad, sealed) {
      notes.push({ key: key.join(), body: sealed.length !== 72 })
      return native.open(key, nonce, ad, sealed)
    },
  }
}

// Direct §13 row 14: trial decryption with a cipher that does not commit to its key.
test('a body is opened under one key, and a session tries six header keys at most', () => {
  const notes: { key: string; body: boolean }[] = []
  const [a, b] = acquainted('trials', instrumented(notes))
  const lost: Bytes[] = []
  for (let turn = 0; turn < 8; turn++) {
    lost.push(...sealMany(a, 1))
    valueOf(b.open(a.seal(say(turn + 1)).envelope))
    valueOf(a.open(b.seal(say(turn + 1)).envelope))
  }
  notes.length = 0
  for (const envelope of [...lost, a.seal(say(99)).envelope]) {
    b.open(envelope)
    assert.ok(notes.filter(({ body }) => body).length <= 1)
    const headerKeys = notes.filter(({ body }) => !body).map(({ key }) => key)
    assert.is(new Set(headerKeys).size, headerKeys.length)
    assert.ok(headerKeys.length <= HEADER_TRIALS_MAX)
    notes.length = 0
  }
})

/** Opens envelopes in order; answers microseconds for each in the best of some rounds. */
function costOf(b: End, envelopes: readonly Bytes[]): number {
  const rounds: number[] = []
  const perRound = 50
  for (let i = 0; i < envelopes.length; i += perRound) {
    const startedAt = performance.now()
    for (const envelope of envelopes.slice(i, i + perRound)) valueOf(b.open(envelope))
    rounds.push(((performance.now() - startedAt) * 1_000) / perRound)
  }
  return Math.min(...rounds)
}

// Direct §13 row 11: skipped keys in one blob made each message four times as expensive.
test('with 1,999 keys skipped, a later message costs and writes what it did without', () => {
  const [a, b] = acquainted('blob')
  costOf(b, sealMany(a, SCKA_EPOCH_MESSAGES))
  // From here on an offer rides in every envelope that is measured.
  valueOf(a.open(b.seal(say(2)).envelope))
  const idle = costOf(b, sealMany(a, 800))
  const gap = sealMany(a, 1_000)
  valueOf(b.open(gap.at(-1)!))
  valueOf(a.open(b.seal(say(3)).envelope))
  const second = sealMany(a, 1_001)
  valueOf(b.open(second.at(-1)!))
  assert.is(countSkipped(skippedOf(b.sessions)), 1_999)
  const before = b.sessions
  valueOf(b.open(a.seal(say(4)).envelope))
  const rows = sessionRows(before, b.sessions)
  assert.equal(
    rows.map(({ key }) => key.split('/')[0]),
    ['session'],
  )
  assert.ok(rows[0]!.kind === 'put' && rows[0]!.value.length < 640 + 1_250)
  const loaded = costOf(b, sealMany(a, 800))
  assert.ok(loaded < 2 * idle, `${loaded} µs with skipped keys, ${idle} µs without`)
})

test('keys of the three newest old chains survive a long gap in each', () => {
  const [a, b] = acquainted('chains')
  const lost: Bytes[] = []
  for (let turn = 0; turn < 3; turn++) {
    lost.push(...sealMany(a, 5))
    valueOf(b.open(a.seal(say(turn + 1)).envelope))
    valueOf(a.open(b.seal(say(turn + 1)).envelope))
  }
  valueOf(b.open(a.seal(say(9)).envelope))
  for (const envelope of lost) assert.ok(b.open(envelope).ok)
  assert.equal(skippedOf(b.sessions), [])
})

test('a header that no honest peer makes is refused, whichever chain it names', () => {
  const ratchet = makeRatchet(native, { rootLabel: utf8('test'), headers: 'plain' })
  const draw = drawsOf(native, 'plain')
  const [root, secret] = [draw(32), draw(32)]
  const none = { sending: new Uint8Array(0), receiving: new Uint8Array(0) }
  const publicKey = native.dhPublic(secret)
  const bob = startResponder(root, none, secret)
  const alice = valueOf(ratchet.send(startInitiator(root, none, publicKey), draw(32)))
  const receive = (state: RatchetState, kind: 'current' | 'next', header: RatchetHeader): string =>
    codeOf(ratchet.receive(state, { kind }, header, NOW, noPqKey))
  assert.is(receive(bob, 'current', alice.header), 'DIRECT_OPEN_FAILED')
  assert.is(receive(bob, 'next', { ...alice.header, previousCount: 1 }), 'DIRECT_OPEN_FAILED')
  assert.is(receive(bob, 'next', { ...alice.header, count: 2 ** 20 }), 'DIRECT_OPEN_FAILED')
  const opened = valueOf(ratchet.receive(bob, { kind: 'next' }, alice.header, NOW, noPqKey)).state
  const other = { ...alice.header, ratchetKey: native.dhPublic(draw(32)) }
  assert.is(receive(opened, 'current', other), 'DIRECT_OPEN_FAILED')
  // Bob has not answered: Alice cannot have another ratchet key yet.
  assert.is(receive(opened, 'next', other), 'DIRECT_OPEN_FAILED')
  const answered = valueOf(ratchet.send(opened, draw(32))).state
  assert.is(receive(answered, 'next', { ...other, previousCount: 0 }), 'DIRECT_OPEN_FAILED')
  assert.is(receive(answered, 'next', { ...other, previousCount: 1_002 }), 'DIRECT_SKIP_LIMIT')
})

test('a chain ends at its limit', () => {
  const [a] = acquainted('end')
  const { envelope } = a.seal(say(1))
  assert.is(envelope.length, 512)
  const session = a.sessions.list[0]!
  const sending = { ...session.ratchet.sending!, count: 2 ** 20 }
  const state = { ...session.ratchet, sending }
  const ratchet = makeRatchet(native, { rootLabel: utf8('test'), headers: 'sealed' })
  assert.is(codeOf(ratchet.send(state, new Uint8Array(32))), 'DIRECT_CHAIN_EXHAUSTED')
})

// The key schedule takes labels and header mode from its profile, so that it can be held against another ratchet.
test('the plain header mode finds chains by ratchet key and yields the same message keys', () => {
  const ratchet = makeRatchet(native, { rootLabel: utf8('test'), headers: 'plain' })
  const draw = drawsOf(native, 'plain mode')
  const [root, secret] = [draw(32), draw(32)]
  const none = { sending: new Uint8Array(0), receiving: new Uint8Array(0) }
  const publicKey = native.dhPublic(secret)
  let sender = startInitiator(root, none, publicKey)
  let receiver = startResponder(root, none, secret)
  for (let turn = 0; turn < 6; turn++) {
    const sent = Array.from({ length: 4 }, () => {
      const keys = valueOf(ratchet.send(sender, draw(32)))
      sender = keys.state
      return keys
    })
    for (const { header, messageKey } of sent.reverse()) {
      const isCurrent = receiver.theirs?.join() === header.ratchetKey.join()
      const place: Place = { kind: isCurrent ? 'current' : 'next' }
      const got = valueOf(ratchet.receive(receiver, place, header, NOW, noPqKey))
      assert.equal(got.messageKey, messageKey)
      receiver = got.state
    }
    assert.equal(receiver.skipped, [])
    ;[sender, receiver] = [receiver, sender]
  }
})

test.run()
