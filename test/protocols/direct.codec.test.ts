// Codecs of direct messages: round trips, every truncation, flipped bits, and agreement with wire.proto.
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { concat, formatHex, parseHex, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import {
  encodeBody,
  encodePlaintext,
  parseMessageId,
  plaintextBytes,
} from '../../protocols/direct/body.ts'
import { decodeBody } from '../../protocols/direct/body-reader.ts'
import {
  bodyRoom,
  cutEnvelope,
  decodeHeader,
  decodePreamble,
  encodeHeader,
  encodePreamble,
  isFrom,
  overheadBytes,
  PREAMBLE_BYTES,
  senderOf,
} from '../../protocols/direct/envelope.ts'
import {
  decodeDirectFrame,
  decodePrekeysFrame,
  encodeDirectFrame,
  encodePrekeysFrame,
} from '../../protocols/direct/frames.ts'
import type { DirectFrame, PrekeysFrame } from '../../protocols/direct/frames.ts'
import {
  decodeBundle,
  decodeEntry,
  signBundle,
  signEntry,
  verifyBundle,
  verifyEntry,
} from '../../protocols/direct/prekey-bundle.ts'
import { decodeSession, decodeSkipped } from '../../protocols/direct/session-codec.ts'
import { encodeSession, encodeSkipped } from '../../protocols/direct/session-codec.ts'
import { loadSessions, sessionRows } from '../../protocols/direct/session-rows.ts'
import { noSessions } from '../../protocols/direct/session.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { STATUSES } from '../../protocols/direct/types.ts'
import type { Body, EnvelopeId, MessageId } from '../../protocols/direct/types.ts'
import { BodySchema, StatusSchema } from '../../protocols/direct/wire_pb.ts'
import { native } from '../../src/crypto/native.ts'
import {
  makeAgent,
  makePair,
  NOTHING_TO_SAY,
  NOW,
  padBody,
  say,
  valueOf,
} from '../support/direct-cast.ts'

const test = suite('direct · codec')
const alice = makeAgent(native, 'Alice')
const bob = makeAgent(native, 'Bob')

// Plain objects, as codecs make them: fast-check's own have no prototype.
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true })
const bytes = (min: number, max = min): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ minLength: min, maxLength: max })
const anyId = bytes(16).map((id) => formatHex(id) as MessageId)
const anySequence = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.maxSafeInteger().filter((n) => n > 0),
)
const anyTime = fc.nat({ max: Number.MAX_SAFE_INTEGER }).map(toTimeMs)
const printable = (min: number, max: number): fc.Arbitrary<string> =>
  fc.string({ unit: 'grapheme-ascii', minLength: min, maxLength: max })
const anyWithdrawal = record({ id: anyId, sequence: anySequence })
const anyControl = fc.oneof(
  fc.constant({ kind: 'reset' } as const),
  record({
    kind: fc.constant('queueKey' as const),
    id: bytes(8),
    seed: bytes(32),
    expiresAt: anyTime,
  }),
  record({
    kind: fc.constant('prekeyConsumed' as const),
    envelopeId: bytes(32).map((id) => formatHex(id) as EnvelopeId),
  }),
  record({
    kind: fc.constant('withdrawn' as const),
    items: fc.array(anyWithdrawal, { minLength: 1, maxLength: 64 }),
  }),
)
const anyMessage = record({
  id: anyId,
  sequence: anySequence,
  sentAt: anyTime,
  content: bytes(0, 400),
  type: fc.option(printable(1, 128)),
}).map(({ type, ...rest }) => ({ ...rest, ...(type !== null && { contentType: type }) }))
const anyHandoff = record({
  id: anyId,
  sequence: anySequence,
  protocol: printable(1, 32),
  content: bytes(0, 400),
})
const anyOffer = fc.oneof(
  record({
    kind: fc.constant('encapsulationKey' as const),
    epoch: fc.nat(0xffff_ffff),
    bytes: bytes(1_184),
  }),
  record({
    kind: fc.constant('ciphertext' as const),
    epoch: fc.nat(0xffff_ffff),
    bytes: bytes(1_088),
  }),
)
const anyBody: fc.Arbitrary<Body> = record({
  item: fc.oneof(
    fc.constant({}),
    anyMessage.map((message) => ({ message })),
    anyHandoff.map((handoff) => ({ handoff })),
  ),
  receipts: fc.array(
    record({ id: anyId, state: fc.constantFrom('delivered' as const, 'handled' as const) }),
    { maxLength: 64 },
  ),
  controls: fc.array(anyControl, { maxLength: 4 }),
  offer: fc.option(anyOffer),
}).map(({ item, receipts, controls, offer }) => {
  return { ...item, receipts, controls, ...(offer !== null && { scka: offer }) }
})

/** Cuts at every length: none may be taken for the whole. */
function refusesTruncations(whole: Bytes, decode: (bytes: Bytes) => Decoded<unknown>): void {
  for (let length = 0; length < whole.length; length++) {
    assert.not(decode(whole.subarray(0, length)).ok, `${length} octets`)
  }
}

/** Flips bits one at a time and hands each result over. */
function flips(whole: Bytes, use: (changed: Bytes, bit: number) => void, step = 1): void {
  for (let bit = 0; bit < whole.length * 8; bit += step) {
    const changed = Uint8Array.from(whole)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    use(changed, bit)
  }
}

test('any body within the limits survives, with and without padding', () => {
  fc.assert(
    fc.property(anyBody, fc.nat(100), (body, padding) => {
      const encoded = encodeBody(body)
      assert.equal(valueOf(decodeBody(padBody(encoded, encoded.length + 4 + padding))), body)
      assert.is(plaintextBytes(body), encoded.length + 4)
      const room = encoded.length + 4 + padding
      assert.equal(
        encodePlaintext(body, () => room),
        padBody(encoded, room),
      )
      assert.is(
        encodePlaintext(body, () => undefined),
        undefined,
      )
    }),
  )
})

test('bodies are exactly what wire.proto says', () => {
  fc.assert(
    fc.property(anyBody, (body) => {
      const encoded = encodeBody(body)
      const read = fromBinary(BodySchema, encoded)
      assert.equal(toBinary(BodySchema, read), encoded)
      assert.is(read.$unknown, undefined)
      assert.equal(read.message?.content, body.message?.content)
      assert.equal(read.handoff?.content, body.handoff?.content)
      assert.is(read.receipts.length, body.receipts.length)
      assert.is(read.controls.length, body.controls.length)
    }),
  )
})

// Spec §3.3: "A reader MUST skip fields that it does not know."
test('unknown fields and unknown controls of a later version are skipped', () => {
  const later = concat(encodeBody(say(1)), Uint8Array.of(0x78, 5, 0x7a, 2, 1, 2, 0x2a, 2, 0x3a, 0))
  assert.equal(valueOf(decodeBody(padBody(later, 308))), say(1))
})

test('a body of random octets never throws', () => {
  fc.assert(
    fc.property(bytes(0, 300), (octets) => {
      const result = decodeBody(padBody(octets, octets.length + 4))
      assert.type(result.ok, 'boolean')
      assert.type(decodeBody(octets).ok, 'boolean')
    }),
  )
})

test('every truncation of a padded body is refused', () => {
  // Past the protobuf only zeros are cut: those bodies are whole, in less padding.
  const encoded = encodeBody(say(1))
  refusesTruncations(padBody(encoded, encoded.length + 4), decodeBody)
})

test('a body beyond its limits is a bug of ours, and does not get sealed', () => {
  const long = { ...say(1).message!, content: new Uint8Array(60_001) }
  const receipts = Array.from({ length: 65 }, () => ({ id: long.id, state: 'handled' as const }))
  const controls = Array.from({ length: 5 }, () => ({ kind: 'reset' as const }))
  assert.throws(() => encodeBody({ ...NOTHING_TO_SAY, message: long }), /content/)
  assert.throws(() => encodeBody({ ...NOTHING_TO_SAY, receipts }), /receipts/)
  assert.throws(() => encodeBody({ ...NOTHING_TO_SAY, controls }), /controls/)
  const both = { ...say(1), handoff: { ...say(1).message!, protocol: 'group' } }
  assert.throws(() => encodeBody(both), /one of message and handoff/)
})

// Spec §3.1: "exactly 512, 1,024, 2,048, 4,096, 16,384 or 65,536 octets".
test('overheads and buckets are those of the specification', () => {
  assert.equal([overheadBytes(false) + 4, overheadBytes(true) + 4], [204, 1_960])
  assert.is(bodyRoom(4 + encodeBody(say(1, new Uint8Array(256))).length, false), 512 - 200)
  assert.is(bodyRoom(4 + 60_000, false), 65_536 - 200)
  assert.is(bodyRoom(65_337, false), undefined)
  assert.is(bodyRoom(65_336 - PREAMBLE_BYTES + 1, true), undefined)
})

test('a header survives; every truncation and reserved bit is refused', () => {
  const header = {
    ratchetKey: alice.own.identityKey,
    previousCount: 0xffff_ffff,
    count: 1,
    pqEpoch: 2,
    pqCount: 3,
    pqPreviousCount: 4,
  }
  const encoded = encodeHeader(header, header)
  assert.equal(valueOf(decodeHeader(encoded)), header)
  refusesTruncations(encoded, decodeHeader)
  flips(encoded, (changed, bit) => {
    const read = decodeHeader(changed)
    assert.is(read.ok, bit < 52 * 8)
    if (read.ok) assert.not.equal(read.value, header)
  })
})

test('a preamble survives; every truncation is refused, every bit matters', () => {
  const preamble = {
    capabilities: 5,
    bundleSeq: 6,
    signedPrekeyId: 7,
    kemPrekeyId: 8,
    oneTimePrekeyId: 9,
    baseKey: alice.own.identityKey,
    kemCiphertext: new Uint8Array(1_568).fill(3),
    certificate: alice.own.certificate,
  }
  const encoded = encodePreamble(preamble)
  assert.is(encoded.length, PREAMBLE_BYTES)
  assert.equal(valueOf(decodePreamble(encoded)), preamble)
  refusesTruncations(encoded, decodePreamble)
  flips(encoded.subarray(0, 60), (changed) => {
    const read = decodePreamble(concat(changed, encoded.subarray(60)))
    if (read.ok) assert.not.equal(read.value, preamble)
  })
})

test('an envelope is cut only at the sizes and types of the specification', () => {
  const [a] = makePair(native, 'cut')
  a.initiate()
  const { envelope } = a.seal(say(1))
  // The first 2,048 octets of a larger one are of a right size, too: their tag tells.
  refusesTruncations(envelope.subarray(0, 2_048), cutEnvelope)
  assert.is(valueOf(senderOf(envelope)), alice.peer)
  assert.ok(isFrom(envelope, alice.own.peerBytes))
  assert.not(isFrom(envelope, bob.own.peerBytes))
  flips(envelope.subarray(0, 88), (changed, bit) => {
    const whole = concat(changed, envelope.subarray(88))
    const inPeer = bit >= 2 * 8 && bit < 40 * 8
    assert.is(cutEnvelope(whole).ok, inPeer, `bit ${bit}`)
    if (inPeer) assert.not.equal(senderOf(whole), senderOf(envelope))
  })
})

test('a bundle survives; every truncation and every flipped bit is refused', () => {
  const { bundle } = bob.published
  const read = valueOf(decodeBundle(bundle))
  assert.is(bundle.length, 1_780)
  assert.equal(signBundle(native, bob.secret, read), bundle)
  refusesTruncations(bundle, decodeBundle)
  flips(bundle.subarray(0, 148), (changed) => {
    const whole = concat(changed, bundle.subarray(148))
    assert.not(verifyBundle(native, bob.peer, whole, NOW).ok)
  })
  flips(bundle, (changed) => assert.not(verifyBundle(native, bob.peer, changed, NOW).ok), 37)
})

test('entries survive; every truncation and every flipped bit is refused', () => {
  for (const [entry, length] of [
    [bob.published.pair, 1_715],
    [bob.published.ec, 147],
  ] as const) {
    assert.is(entry.length, length)
    assert.equal(signEntry(native, bob.secret, valueOf(decodeEntry(entry))), entry)
    refusesTruncations(entry, decodeEntry)
    const step = length > 1_000 ? 31 : 1
    const refuse = (changed: Bytes): void =>
      assert.not(verifyEntry(native, bob.peer, changed, bob.peer, NOW).ok)
    flips(entry, refuse, step)
  }
})

test('frames survive and their truncations are never another frame of the same kind', () => {
  const envelopeId = 'ab'.repeat(32) as EnvelopeId
  const direct: DirectFrame[] = [
    { kind: 'send', requestId: 0xffff_ffff, envelope: new Uint8Array(512).fill(1) },
    ...STATUSES.map((status) => ({ kind: 'result' as const, requestId: 1, envelopeId, status })),
    { kind: 'keepAlive' },
  ]
  for (const frame of direct) {
    const encoded = encodeDirectFrame(frame)
    assert.equal(valueOf(decodeDirectFrame(encoded)), frame)
    if (frame.kind === 'send') refusesTruncations(encoded, decodeDirectFrame)
  }
  const { bundle, pair, ec } = bob.published
  const prekeys: PrekeysFrame[] = [
    { kind: 'fetch', requestId: 1, recipient: bob.peer, wantOneTime: true, wantKeyPackage: true },
    { kind: 'bundle', requestId: 1, bundle },
    { kind: 'bundle', requestId: 1, bundle, entry: pair, keyPackage: utf8('opaque') },
    { kind: 'publish', requestId: 2, entries: [pair, ec], keyPackages: [utf8('opaque')] },
    { kind: 'supply', requestId: 3 },
    { kind: 'remaining', requestId: 3, pairs: 1, ecs: 2, keyPackages: 3 },
    { kind: 'failure', requestId: 4, status: 'busy' },
  ]
  for (const frame of prekeys) {
    const encoded = encodePrekeysFrame(frame)
    assert.equal(valueOf(decodePrekeysFrame(encoded)), frame)
  }
  assert.not(decodeDirectFrame(new Uint8Array(66_561)).ok)
  assert.not(decodePrekeysFrame(new Uint8Array(65_537)).ok)
})

test('statuses keep the numbers of wire.proto', () => {
  const names = StatusSchema.values.map(({ number, localName }) => [number, localName])
  const ours = STATUSES.map((status, number) => [
    number,
    status.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
  ])
  assert.equal(names, ours)
})

test('frames of random octets never throw', () => {
  fc.assert(
    fc.property(bytes(0, 200), (octets) => {
      assert.type(decodeDirectFrame(octets).ok, 'boolean')
      assert.type(decodePrekeysFrame(octets).ok, 'boolean')
    }),
  )
})

test('saved rows that are damaged are refused, whichever row it is', () => {
  const [a, b] = makePair(native, 'damage')
  a.initiate()
  a.seal(say(1))
  b.open(a.seal(say(2)).envelope)
  const rows = sessionRows(noSessions(alice.peer), b.sessions).flatMap((row) =>
    row.kind === 'put' ? [row] : [],
  )
  assert.equal(
    rows.map(({ key }) => key.split('/')[0]),
    ['roster', 'session', 'skipped'],
  )
  for (const damaged of rows) {
    const load = (value: Bytes): string => {
      const result = loadSessions(
        alice.peer,
        rows.map((row) => (row === damaged ? { ...row, value } : row)),
      )
      return result.ok ? 'accepted' : result.code
    }
    assert.is(load(damaged.value), 'accepted')
    assert.is(load(Uint8Array.of(3, ...damaged.value.subarray(1))), 'CODEC_UNKNOWN_VERSION')
    assert.is(load(damaged.value.subarray(0, -1)), 'CODEC_MALFORMED')
    assert.is(load(concat(damaged.value, Uint8Array.of(0))), 'CODEC_MALFORMED')
  }
})

test('a message id is 32 lowercase digits', () => {
  assert.is(parseMessageId('0f'.repeat(16)), '0f'.repeat(16))
  for (const text of ['', '0F'.repeat(16), '0f'.repeat(15), `${'0f'.repeat(16)} `]) {
    assert.is(parseMessageId(text), undefined)
  }
  assert.is(parseHex('0'), undefined)
})

// Direct §13 row 18: cryptographic state without a version is misread by the next release.
test('a saved session survives; truncations and an unknown version are errors', () => {
  const [a, b] = makePair(native, 'saved')
  a.initiate('pair')
  const first = a.seal(say(1)).envelope
  const second = a.seal(say(2)).envelope
  b.open(second)
  for (const { sessions } of [a, b]) {
    const session = sessions.list[0]!
    const saved = encodeSession(session)
    const ratchet = { ...session.ratchet, skipped: [] }
    assert.equal(valueOf(decodeSession(saved)), { ...session, ratchet })
    refusesTruncations(saved, decodeSession)
    assert.not(decodeSession(concat(saved, Uint8Array.of(0))).ok)
    const unknown = Uint8Array.from(saved)
    unknown[0] = 3
    assert.equal(decodeSession(unknown), { ok: false, code: 'CODEC_UNKNOWN_VERSION' })
  }
  const chain = b.sessions.list[0]!.ratchet.skipped[0]!
  const row = encodeSkipped(chain.finder, chain.keys[0]!)
  assert.equal(valueOf(decodeSkipped(row)), { finder: chain.finder, key: chain.keys[0] })
  refusesTruncations(row, decodeSkipped)
  row[0] = 3
  assert.equal(decodeSkipped(row), { ok: false, code: 'CODEC_UNKNOWN_VERSION' })
  assert.ok(b.open(first).ok)
})

test('rows lead back to the same sessions; rows that do not belong together are refused', () => {
  const [a, b] = makePair(native, 'rows')
  a.initiate()
  const early = a.seal(say(1)).envelope
  b.open(a.seal(say(2)).envelope)
  const rows = new Map<string, Bytes>()
  for (const row of sessionRows(noSessions(alice.peer), b.sessions)) {
    if (row.kind === 'put') rows.set(row.key, row.value)
  }
  const load = (): Decoded<unknown> =>
    loadSessions(
      alice.peer,
      [...rows].map(([key, value]) => ({ key, value })),
    )
  assert.equal(valueOf(load()), b.sessions)
  const before = b.sessions
  b.open(early)
  const changes = sessionRows(before, b.sessions).map(({ kind, key }) => [kind, key.split('/')[0]])
  assert.equal(changes, [
    ['put', 'session'],
    ['del', 'skipped'],
  ])
  assert.equal(sessionRows(b.sessions, b.sessions), [])
  const closed = sessionRows(before, { ...before, list: [] })
  assert.equal(
    closed.map(({ kind }) => kind),
    ['put', 'del', 'del'],
  )
  rows.delete([...rows.keys()].find((key) => key.startsWith('session/'))!)
  assert.not(load().ok)
  assert.equal(loadSessions(alice.peer, []), { ok: true, value: noSessions(alice.peer) })
})

test.run()
