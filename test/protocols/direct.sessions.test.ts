// Sessions: handshakes, identities, simultaneous initiation, replays, resets, and when a new session is due.
import { ed25519 } from '@noble/curves/ed25519.js'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { concat } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { DAY_MS, SECOND_MS, toTimeMs } from '../../protocols/base/time.ts'
import { SEAL_DRAW_BYTES } from '../../protocols/direct/envelope-seal.ts'
import { decodeBundle, signBundle } from '../../protocols/direct/prekey-bundle.ts'
import { noSessions, pruneSessions, receiveOnly } from '../../protocols/direct/session.ts'
import type { Session } from '../../protocols/direct/session.ts'
import type { SealedAt } from '../../protocols/direct/sessions.ts'
import {
  BUNDLE_LIFE_MS,
  MAILBOX_TTL_MS,
  SESSIONS_PER_PEER_MAX,
  SKIP_PER_CHAIN_MAX,
  SUPERSEDED_MS,
} from '../../protocols/direct/types.ts'
import type { Body, Fetched } from '../../protocols/direct/types.ts'
import { signIdentityCertificate } from '../../protocols/identity/identity-certificate.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import {
  drawsOf,
  fetchFrom,
  makeAgent,
  makePair,
  NOTHING_TO_SAY,
  NOW,
  operationsOf,
  say,
  valueOf,
} from '../support/direct-cast.ts'
import type { Agent, End } from '../support/direct-cast.ts'

const test = suite('direct · sessions')
const operations = operationsOf(native)
const DRAWS = new Uint8Array(SEAL_DRAW_BYTES)
const BASE_KEY_AT = 116
const CERTIFICATE_AT = 1_716

const codeOf = (result: Decoded<unknown>): string => (result.ok ? 'accepted' : result.code)
const active = (end: End): Session => end.sessions.list[0]!

function put(bytes: Bytes, at: number, octets: Bytes): Bytes {
  const out = Uint8Array.from(bytes)
  out.set(octets, at)
  return out
}

/** Both ends hear from each other, in turns. */
function talk(a: End, b: End, turns: number): void {
  for (let turn = 1; turn <= turns; turn++) {
    assert.equal(valueOf(b.open(a.seal(say(turn)).envelope)).body, say(turn))
    assert.equal(valueOf(a.open(b.seal(say(turn)).envelope)).body, say(turn))
  }
}

/** The initiator's sessions after a handshake that may be refused. */
function initiate(own: Agent, to: Agent, fetched: Fetched, nowMs = NOW): Decoded<unknown> {
  const draws = valueOf(operations.drawInitiation(fetched, drawsOf(native, 'initiate')))
  return operations.initiate(own.own, noSessions(to.peer), fetched, draws, nowMs)
}

for (const [name, [first, second]] of Object.entries({
  native: [native, native],
  portable: [portable, portable],
  'native to portable': [native, portable],
  'portable to native': [portable, native],
} satisfies Record<string, [Primitives, Primitives]>)) {
  test(`${name}: a conversation starts with each kind of prekey`, () => {
    for (const entry of ['pair', 'ec', undefined] as const) {
      const [a] = makePair(first, 'start')
      const [, b] = makePair(second, 'start')
      assert.ok(operations.needsBundle(a.sessions, { nowMs: NOW }))
      a.initiate(entry)
      assert.not(operations.needsBundle(a.sessions, { nowMs: NOW }))
      const { envelope, degraded } = a.seal(say(1))
      assert.is(envelope.length, 4_096)
      // Direct §13 row 17: without a one-time prekey the message is flagged.
      assert.is(degraded, entry === undefined)
      const opened = valueOf(b.open(envelope))
      assert.is(opened.session.degraded, entry === undefined)
      assert.is(opened.consumed?.oneTimeId, { pair: 3, ec: 4, none: undefined }[entry ?? 'none'])
      talk(b, a, 3)
      assert.not(active(a).degraded || active(b).degraded)
      assert.is(a.seal(say(9)).envelope.length, 512)
    }
  })

  // Direct §13 row 15. Torsion disappears in the key agreement: only the transcript sees it.
  test(`${name}: zero, non-canonical and torsioned base keys are refused`, () => {
    const [a] = makePair(first, 'weak')
    const [, b] = makePair(second, 'weak')
    a.initiate('pair')
    const good = a.seal(say(1)).envelope
    const baseKey = good.slice(BASE_KEY_AT, BASE_KEY_AT + 32)
    const p = new Uint8Array(32).fill(0xff)
    p[0] = 0xed
    p[31] = 0x7f
    const open = (key: Bytes): string => codeOf(b.open(put(good, BASE_KEY_AT, key)))
    for (const weak of [new Uint8Array(32), p, new Uint8Array(32).fill(0xff)]) {
      assert.is(open(weak), 'VERIFY_KEY_INVALID')
    }
    const torsioned = withTorsion(baseKey)
    const secret = new Uint8Array(32).fill(7)
    assert.not.equal(torsioned, baseKey)
    assert.equal(second.dh(secret, torsioned), second.dh(secret, baseKey))
    assert.is(open(torsioned), 'DIRECT_OPEN_FAILED')
    assert.is(open(baseKey), 'accepted')
  })
}

/** Adds a point of order 8 to a Montgomery u-coordinate, by way of the Edwards form. */
function withTorsion(u: Bytes): Bytes {
  const { Fp } = ed25519.Point
  const number = Fp.fromBytes(u)
  const y = Fp.mul(Fp.sub(number, Fp.ONE), Fp.inv(Fp.add(number, Fp.ONE)))
  const point = ed25519.Point.fromBytes(Fp.toBytes(y))
  const order8 = Uint8Array.from(
    Buffer.from('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', 'hex'),
  )
  const moved = point.add(ed25519.Point.fromBytes(order8)).toAffine()
  return Fp.toBytes(Fp.mul(Fp.add(Fp.ONE, moved.y), Fp.inv(Fp.sub(Fp.ONE, moved.y))))
}

// Direct §13 row 2: a one-time key deleted on a failed decryption loses the good envelope behind it.
test('a bad initial envelope consumes nothing: the good one on the same prekey opens', () => {
  const [a, b] = makePair(native, 'bad first')
  a.initiate('pair')
  const { envelope } = a.seal(say(1))
  const bad = Uint8Array.from(envelope)
  bad[2_047] = (bad[2_047] ?? 0) ^ 1
  assert.is(codeOf(b.open(bad)), 'DIRECT_OPEN_FAILED')
  assert.equal(b.sessions, noSessions(a.agent.peer))
  assert.is(valueOf(b.open(envelope)).consumed?.oneTimeId, 3)
})

test('a second sender on a consumed one-time prekey is told so', () => {
  const [a, b] = makePair(native, 'double issue')
  a.initiate('pair')
  valueOf(b.open(a.seal(say(1)).envelope))
  a.initiate('pair')
  assert.is(codeOf(b.open(a.seal(say(2)).envelope)), 'PREKEYS_CONSUMED')
})

test('nothing is encapsulated to what does not parse or is no ML-KEM key', () => {
  const bob = makeAgent(native, 'Bob')
  const draw = drawsOf(native, 'malformed')
  const { bundle, pair } = bob.published
  const from = bob.peer
  const short = { bundle: bundle.subarray(1), from }
  assert.is(codeOf(operations.drawInitiation(short, draw)), 'CODEC_LENGTH')
  const badEntry = { bundle, entry: pair.subarray(1), from }
  assert.not(operations.drawInitiation(badEntry, draw).ok)
  const noKey = { bundle: put(bundle, 148, new Uint8Array(1_568).fill(0xff)), from }
  assert.is(codeOf(operations.drawInitiation(noKey, draw)), 'VERIFY_KEY_INVALID')
  const weak = valueOf(decodeBundle(bundle))
  const weakKey = { ...weak, signedPrekey: new Uint8Array(32) }
  const signed = { bundle: signBundle(native, bob.secret, weakKey), from }
  assert.is(codeOf(initiate(makeAgent(native, 'Alice'), bob, signed)), 'VERIFY_KEY_INVALID')
})

// Direct §13 row 16: the same keys under another name must not make a session.
test('identity keys under another peer ID fail, on either side', () => {
  const [a, b] = makePair(native, 'misbinding')
  const mallory = makeAgent(native, 'Mallory')
  a.initiate('pair')
  const { envelope } = a.seal(say(1))
  const certificate = signIdentityCertificate(native, mallory.secret, {
    peer: mallory.peer,
    identityKey: a.agent.own.identityKey,
    identitySeq: 1,
    issuedAt: NOW,
  })
  const stolen = put(put(envelope, 2, mallory.own.peerBytes), CERTIFICATE_AT, certificate)
  const { own, prekeys } = b.agent
  const opened = operations.open(own, noSessions(mallory.peer), prekeys, stolen, NOW)
  assert.is(codeOf(opened), 'DIRECT_OPEN_FAILED')

  // Mallory publishes Bob's keys as its own and passes on to Bob what Alice seals for Mallory.
  const bundle = valueOf(decodeBundle(b.agent.published.bundle))
  const relabelled = signBundle(native, mallory.secret, { ...bundle, peer: mallory.peer })
  const fetched = { bundle: relabelled, from: mallory.peer }
  const draws = valueOf(operations.drawInitiation(fetched, drawsOf(native, 'relabelled')))
  const start = noSessions(mallory.peer)
  const made = valueOf(operations.initiate(a.agent.own, start, fetched, draws, NOW)).sessions
  const sealed = valueOf(operations.seal(a.agent.own, made, say(1), DRAWS, NOW))
  assert.is(codeOf(b.open(sealed.envelope)), 'DIRECT_OPEN_FAILED')
})

test('a bundle is used only while it is valid, and never an older one than seen', () => {
  const [alice, bob] = [makeAgent(native, 'Alice'), makeAgent(native, 'Bob')]
  const expired = toTimeMs(NOW + BUNDLE_LIFE_MS)
  assert.is(codeOf(initiate(alice, bob, fetchFrom(bob), expired)), 'VERIFY_EXPIRED')
  assert.ok(initiate(alice, bob, fetchFrom(bob), toTimeMs(expired - 1)).ok)
  const entryExpired = toTimeMs(NOW + 7 * DAY_MS)
  assert.is(codeOf(initiate(alice, bob, fetchFrom(bob, 'ec'), entryExpired)), 'VERIFY_EXPIRED')
  const fromRita = { ...fetchFrom(bob, 'ec'), from: alice.peer }
  assert.is(codeOf(initiate(alice, bob, fromRita)), 'VERIFY_IDENTITY_MISMATCH')

  const newer = makeAgent(native, 'Bob', { bundleSeq: 2 })
  const [a] = makePair(native, 'seq', [alice, newer])
  a.initiate()
  const draws = valueOf(operations.drawInitiation(fetchFrom(bob), drawsOf(native, 'old')))
  const old = operations.initiate(alice.own, a.sessions, fetchFrom(bob), draws, NOW)
  assert.is(codeOf(old), 'DIRECT_BUNDLE_OLD')
})

// Spec §4.1.5: "A changed identity key counts only under a higher identitySeq."
test('another identity key is refused without a higher sequence, and reported with one', () => {
  const bob = makeAgent(native, 'Bob')
  for (const [identitySeq, code] of [
    [0, 'VERIFY_IDENTITY_MISMATCH'],
    [1, 'VERIFY_IDENTITY_MISMATCH'],
    [2, 'accepted'],
  ] as const) {
    const [a, b] = makePair(native, 'pin')
    a.initiate()
    valueOf(b.open(a.seal(say(1)).envelope))
    const other = makeAgent(native, 'Alice', { identitySeq, generation: ' again' })
    const [again] = makePair(native, 'pin again', [other, bob])
    again.initiate()
    const opened = b.open(again.seal(say(2)).envelope)
    assert.is(codeOf(opened), code)
    if (opened.ok) assert.ok(opened.value.identityChanged)
    assert.is(b.sessions.pinned?.identitySeq, code === 'accepted' ? 2 : 1)

    const changed = makeAgent(native, 'Bob', { identitySeq, generation: ' again', bundleSeq: 3 })
    const fetched = fetchFrom(changed)
    const draws = valueOf(operations.drawInitiation(fetched, drawsOf(native, 'changed')))
    const made = operations.initiate(a.agent.own, a.sessions, fetched, draws, NOW)
    assert.is(codeOf(made), code)
    if (made.ok) assert.ok(made.value.identityChanged)
  }
})

test('an older certificate of the same identity key does no harm and lowers nothing', () => {
  const bob = makeAgent(native, 'Bob')
  const newer = makeAgent(native, 'Alice', { identitySeq: 5 })
  const [a, b] = makePair(native, 'same key', [newer, bob])
  a.initiate()
  valueOf(b.open(a.seal(say(1)).envelope))
  const [older] = makePair(native, 'same key, older', [makeAgent(native, 'Alice'), bob])
  older.initiate()
  assert.not(valueOf(b.open(older.seal(say(2)).envelope)).identityChanged)
  assert.is(b.sessions.pinned?.identitySeq, 5)
})

// Direct §13 row 20.
test('a replayed initial envelope without one-time prekey makes no second session', () => {
  const [a, b] = makePair(native, 'replay')
  a.initiate()
  const first = a.seal(say(1)).envelope
  const second = a.seal(say(2)).envelope
  valueOf(b.open(first))
  assert.is(codeOf(b.open(first)), 'DIRECT_KEY_CONSUMED')
  const opened = valueOf(b.open(second))
  assert.is(opened.consumed, undefined)
  assert.is(b.sessions.list.length, 1)
  b.sessions = { ...b.sessions, list: [] }
  assert.is(codeOf(b.open(first)), 'DIRECT_KEY_CONSUMED')
  assert.is(codeOf(b.open(a.seal(say(3)).envelope)), 'DIRECT_KEY_CONSUMED')
})

test('the preamble is repeated until the first reply, and its envelopes open in any order', () => {
  const [a, b] = makePair(native, 'repeat')
  a.initiate('pair')
  const [one, two, three] = [1, 2, 3].map((i) => a.seal(say(i)).envelope) as [Bytes, Bytes, Bytes]
  assert.is(valueOf(b.open(three)).consumed?.oneTimeId, 3)
  assert.is(valueOf(b.open(one)).consumed, undefined)
  valueOf(a.open(b.seal(say(1)).envelope))
  assert.is(a.seal(say(4)).envelope[1], 2)
  valueOf(b.open(two))
  assert.is(b.sessions.list.length, 1)
})

/** Two initiations that crossed, each already with one sealed envelope. */
function crossed(seed: string): { a: End; b: End; fromA: Bytes; fromB: Bytes } {
  const [a, b] = makePair(native, seed)
  a.initiate('pair')
  b.initiate('pair')
  return { a, b, fromA: a.seal(say(1)).envelope, fromB: b.seal(say(1)).envelope }
}

// Direct §13 row 10: initial messages crossed, lost and repeated.
test('crossed initiations settle on the session with the lower transcript', () => {
  for (const seed of ['x', 'y', 'z', 'u', 'v']) {
    const { a, b, fromA, fromB } = crossed(seed)
    const lower = [active(a).id, active(b).id].sort()[0]
    assert.ok(b.open(fromA).ok)
    assert.ok(a.open(fromB).ok)
    assert.not(b.open(fromA).ok)
    assert.is(active(a).id, lower)
    assert.is(active(b).id, lower)
    talk(a, b, 2)
    talk(b, a, 2)
    assert.is(active(a).id, lower)
    assert.is(active(b).id, lower)
    assert.equal(
      a.sessions.list.map(({ state }) => state),
      ['established', 'superseded'],
    )
  }
})

test('crossed initiations settle when either one is lost', () => {
  for (const seed of ['x', 'y', 'z', 'u', 'v']) {
    const { a, b, fromA } = crossed(seed)
    valueOf(b.open(fromA)) // Bob's first envelope is lost
    talk(b, a, 2)
    talk(a, b, 2)
    assert.is(active(a).id, active(b).id)
  }
})

test('crossed initiations settle when all first envelopes arrive late and twice', () => {
  const { a, b, fromA, fromB } = crossed('late')
  valueOf(b.open(a.seal(say(2)).envelope))
  valueOf(a.open(b.seal(say(2)).envelope))
  valueOf(b.open(fromA))
  valueOf(a.open(fromB))
  assert.not(b.open(fromA).ok)
  assert.not(a.open(fromB).ok)
  talk(a, b, 3)
  assert.is(active(a).id, active(b).id)
})

test('an unconfirmed session that is newer than what arrives stays active', () => {
  for (const seed of ['p', 'q', 'r', 's']) {
    const [a, b] = makePair(native, seed)
    a.initiate('pair')
    valueOf(b.open(a.seal(say(1)).envelope))
    talk(b, a, 1)
    const late = b.seal(say(2)).envelope
    a.initiate() // because the peer could meet its skip limit
    const renewed = active(a).id
    valueOf(a.open(late))
    assert.is(active(a).id, renewed)
    valueOf(b.open(a.seal(say(3)).envelope))
    assert.is(active(b).id, renewed)
    talk(b, a, 1)
    assert.is(active(a).state, 'established')
  }
})

const RESET: Body = { ...NOTHING_TO_SAY, controls: [{ kind: 'reset' }] }

// Spec §4.1.5: "A reset moves the peer to the session that carries it."
test('a reset wins over an unconfirmed session of ours, which still opens replies', () => {
  for (const seed of ['x', 'y', 'z', 'u', 'v']) {
    const [a, b] = makePair(native, seed)
    a.initiate()
    const lost = a.seal(say(1)).envelope
    b.initiate()
    const reset = b.seal(RESET).envelope
    const opened = valueOf(a.open(reset))
    assert.equal(opened.body, RESET)
    assert.is(active(a).id, active(b).id)
    assert.is(a.sessions.list[1]?.state, 'superseded')
    valueOf(b.open(a.seal(say(1)).envelope))
    assert.ok(b.open(lost).ok)
    assert.ok(a.open(b.seal(say(2)).envelope).ok)
  }
})

test('a superseded session opens for two weeks and then is closed', () => {
  const [a, b] = makePair(native, 'superseded')
  a.initiate('pair')
  valueOf(b.open(a.seal(say(1)).envelope))
  const late = a.seal(say(2)).envelope
  b.initiate()
  const before = toTimeMs(NOW + SUPERSEDED_MS - 1)
  const kept = pruneSessions(b.sessions, before)
  assert.is(kept.list.length, 2)
  const closed = pruneSessions(b.sessions, toTimeMs(NOW + SUPERSEDED_MS))
  assert.equal(closed.list, [])
  b.sessions = kept
  assert.ok(b.open(late, before).ok)
  b.sessions = closed
  assert.not(b.open(late, before).ok)
})

// Direct §13 row 12.
test('an initial envelope one second before the mail expires opens', () => {
  const [a, b] = makePair(native, 'mail')
  a.initiate('pair')
  const { envelope } = a.seal(say(1))
  assert.ok(b.open(envelope, toTimeMs(NOW + MAILBOX_TTL_MS - SECOND_MS)).ok)
})

test('a peer has five sessions at most; the least recently used is closed', () => {
  const [a, b] = makePair(native, 'many')
  const ids: string[] = []
  for (let i = 0; i < SESSIONS_PER_PEER_MAX + 2; i++) {
    a.initiate()
    valueOf(b.open(a.seal(say(1)).envelope))
    ids.unshift(active(b).id)
    assert.ok(b.sessions.list.length <= SESSIONS_PER_PEER_MAX)
  }
  assert.equal(
    b.sessions.list.map(({ id }) => id),
    ids.slice(0, SESSIONS_PER_PEER_MAX),
  )
  assert.equal(
    b.sessions.list.map(({ state }) => state),
    ['established', 'superseded', 'superseded', 'superseded', 'superseded'],
  )
})

// Spec §4.1.2: "a legitimate peer never meets the skip limit".
test('a new session is due before an outstanding message could be skipped too far', () => {
  const [a, b] = makePair(native, 'outstanding')
  a.initiate('pair')
  valueOf(b.open(a.seal(say(1)).envelope))
  talk(b, a, 1)
  const sealed = Array.from({ length: SKIP_PER_CHAIN_MAX }, (_, i) => a.seal(say(i + 1)))
  const outstanding: SealedAt[] = sealed.map(({ at }) => at)
  const needs = (list: SealedAt[]): boolean =>
    operations.needsBundle(a.sessions, { nowMs: NOW, outstanding: list })
  assert.ok(needs(outstanding))
  assert.not(needs(outstanding.slice(1)))
  assert.not(needs(outstanding.map((at) => ({ ...at, chain: at.chain - 1 }))))
  assert.not(needs([]))
  assert.ok(b.open(sealed.at(-1)!.envelope).ok)
  assert.ok(b.open(sealed[0]!.envelope).ok)
})

test('sending needs a bundle without a session, past its expiry, at the end of a chain, after a restore', () => {
  const [a] = makePair(native, 'needs')
  const needs = (nowMs = NOW): boolean => operations.needsBundle(a.sessions, { nowMs })
  const seal = (): string => codeOf(operations.seal(a.agent.own, a.sessions, say(1), DRAWS, NOW))
  assert.ok(needs())
  assert.is(seal(), 'DIRECT_SESSION_UNKNOWN')
  a.initiate()
  assert.not(needs())
  assert.not(needs(toTimeMs(NOW + BUNDLE_LIFE_MS - 1)))
  assert.ok(needs(toTimeMs(NOW + BUNDLE_LIFE_MS)))
  a.seal(say(1))
  const [session] = a.sessions.list
  const started = a.sessions
  const sending = { ...session!.ratchet.sending!, count: 2 ** 20 }
  const full = { ...active(a), ratchet: { ...active(a).ratchet, sending } }
  a.sessions = { ...started, list: [full] }
  assert.ok(needs())
  assert.is(seal(), 'DIRECT_CHAIN_EXHAUSTED')
  a.sessions = receiveOnly(started, NOW)
  assert.ok(needs())
  assert.is(seal(), 'DIRECT_SESSION_UNKNOWN')
})

// Direct §13 row 13: a restored backup would use chain keys again.
test('a restored session opens what comes, never sends again, and does not come back to the front', () => {
  const [a, b] = makePair(native, 'restored')
  a.initiate('pair')
  valueOf(b.open(a.seal(say(1)).envelope))
  talk(b, a, 2)
  a.sessions = receiveOnly(a.sessions, NOW)
  valueOf(a.open(b.seal(say(3)).envelope))
  assert.is(active(a).state, 'restored')
  assert.ok(operations.needsBundle(a.sessions, { nowMs: NOW }))
  a.initiate()
  valueOf(a.open(b.seal(say(4)).envelope))
  assert.equal(
    a.sessions.list.map(({ state }) => state),
    ['initiating', 'restored'],
  )
  valueOf(b.open(a.seal(say(5)).envelope))
  talk(b, a, 2)
  assert.equal(
    a.sessions.list.map(({ state }) => state),
    ['established', 'restored'],
  )
})

test('the largest content fits an initial envelope; one octet more than allowed is refused', () => {
  const [a, b] = makePair(native, 'large')
  a.initiate()
  const { envelope } = a.seal(say(1, new Uint8Array(60_000)))
  assert.is(envelope.length, 65_536)
  assert.is(valueOf(b.open(envelope)).body.message?.content.length, 60_000)
  const long = say(1, new Uint8Array(60_001))
  const sealed = operations.seal(a.agent.own, a.sessions, long, DRAWS, NOW)
  assert.is(codeOf(sealed), 'USAGE_MESSAGE_TOO_LARGE')
  const id = say(1).message!.id
  const items = Array.from({ length: 64 }, (_, i) => ({ id, sequence: 2 ** 40 + i }))
  const withdrawn = { kind: 'withdrawn', items } as const
  const full = { ...say(1, new Uint8Array(60_000)), controls: [withdrawn, withdrawn, withdrawn] }
  const crowded = operations.seal(a.agent.own, a.sessions, full, DRAWS, NOW)
  assert.is(codeOf(crowded), 'USAGE_MESSAGE_TOO_LARGE')
})

test('equal bodies never look equal, and no envelope shows its length', () => {
  const [a, b] = makePair(native, 'hidden')
  a.initiate()
  valueOf(b.open(a.seal(say(1)).envelope))
  talk(b, a, 1)
  const sealed = Array.from(
    { length: 20 },
    (_, i) => a.seal(say(1, new Uint8Array(i * 10))).envelope,
  )
  assert.equal([...new Set(sealed.map(({ length }) => length))], [512])
  const tails = sealed.map((envelope) => concat(envelope.subarray(88)).join())
  assert.is(new Set(tails).size, sealed.length)
})

test.run()
