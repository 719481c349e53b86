// Codecs of groups: round trips, every truncation, every bit flipped, limits.
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { concat, equalBytes, makeReader, u8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import { signRecord, verifyRecord } from '../../protocols/group/commit-record.ts'
import { decodeEntry, encodeEntry, openFrame, sealFrame } from '../../protocols/group/frame.ts'
import {
  toBranchId,
  toCommitId,
  toFrameId,
  toGroupId,
  toGroupMessageId,
} from '../../protocols/group/ids.ts'
import { decodeJoinPackage, encodeJoinPackage } from '../../protocols/group/join-package.ts'
import { makeGeneration } from '../../protocols/group/keys.ts'
import { signPayload, verifyPayload } from '../../protocols/group/payload.ts'
import { decodePolicy, encodePolicy, isGroupName } from '../../protocols/group/policy.ts'
import { signAck, signLeave, verifyAck, verifyLeave } from '../../protocols/group/signed-notes.ts'
import { decodeSyncFrame, encodeSyncFrame, printOf } from '../../protocols/group/sync-frames.ts'
import type { SyncFrame } from '../../protocols/group/sync-frames.ts'
import { readVec, vec } from '../../protocols/group/tls.ts'
import * as types from '../../protocols/group/types.ts'
import type {
  CommitRecord,
  JoinPackage,
  Payload,
  Policy,
  RecordEntry,
} from '../../protocols/group/types.ts'
import { native } from '../../src/crypto/native.ts'
import { seededPeer } from '../support/seeded.ts'

const test = suite('group · codecs')

const alice = seededPeer('alice')
const bob = seededPeer('bob')
const octets = (length: number): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ minLength: length, maxLength: length })
const id32 = octets(32)
const gen = fc.integer({ min: 1, max: 0xffffffff })
const ref = fc.record({ peer: fc.constantFrom(alice.peer, bob.peer), gen })
const number = fc.nat()
const GROUP = toGroupId(new Uint8Array(32).fill(7))
const GENERATION = makeGeneration(
  native,
  toCommitId(new Uint8Array(32)),
  new Uint8Array(32).fill(1),
)

const policy: fc.Arbitrary<Policy> = fc.record({
  changes: fc.nat(),
  admins: fc.uniqueArray(ref, { minLength: 1, maxLength: 2, selector: ({ peer }) => peer }),
  name: fc.string({ minLength: 1, maxLength: 16 }).filter(isGroupName),
})

const record: fc.Arbitrary<CommitRecord> = fc
  .record({
    parent: id32.filter((bytes) => bytes.some((octet) => octet > 0)),
    commitId: id32,
    epoch: fc.integer({ min: 1, max: 2 ** 40 }),
    gen,
    seq: number,
    adds: fc.array(fc.record({ member: ref, keyPackageRef: id32, overridden: fc.nat() }), {
      maxLength: 3,
    }),
    removes: fc.array(
      fc.oneof(fc.record({ member: ref }), fc.record({ member: ref, evidence: id32 })),
      { maxLength: 3 },
    ),
    policy: fc.option(policy, { nil: undefined }),
    hash: id32,
    bodyBytes: fc.integer({ min: 1, max: types.SEALED_BODY_BYTES_MAX }),
  })
  .map((p) => ({
    kind: 'commit',
    groupId: GROUP,
    parent: toCommitId(p.parent),
    commitId: toCommitId(p.commitId),
    epoch: p.epoch,
    author: { peer: alice.peer, gen: p.gen },
    seq: p.seq,
    adds: p.adds,
    removes: p.removes,
    ...(p.policy !== undefined && { policy: p.policy }),
    rosterHash: p.hash,
    policyHash: p.hash,
    sealedHash: p.hash,
    bodyBytes: p.bodyBytes,
    groupInfoHash: p.hash,
  }))

const payload: fc.Arbitrary<Payload> = fc
  .record({
    msgId: octets(16),
    n: fc.integer({ min: 1, max: 2 ** 40 }),
    lamport: number,
    sentAtMs: number,
    body: fc.uint8Array({ maxLength: 300 }),
  })
  .map(({ msgId, ...rest }) => ({
    ...rest,
    groupId: GROUP,
    msgId: toGroupMessageId(msgId),
    author: { peer: alice.peer, gen: 1 },
    contentType: 'text/plain',
  }))

const joinPackage: fc.Arbitrary<JoinPackage> = fc
  .record({
    welcome: fc.uint8Array({ minLength: 1, maxLength: 80 }),
    policy,
    tree: fc.uint8Array({ maxLength: 200 }),
    hash: id32,
    addresses: fc.array(fc.constantFrom('/ip4/192.0.2.1/tcp/1', '/dns4/a.example'), {
      maxLength: 8,
    }),
  })
  .map(({ hash, ...rest }) => ({
    ...rest,
    groupId: GROUP,
    record: hash,
    genesis: toCommitId(hash),
    roster: [{ peer: alice.peer, gen: 1 }],
    gone: [{ peer: bob.peer, gen: 3 }],
    generation: toCommitId(hash),
    tx: hash,
    treeHash: hash,
  }))

const key = fc.record({ hour: fc.nat(), id: id32 }).map(({ hour, id }) => {
  return { hour, id: toFrameId(id) }
})
const chunk = fc.record({ offset: fc.constant(0), total: fc.constant(64), chunk: octets(64) })
const syncFrame: fc.Arbitrary<SyncFrame> = fc.oneof(
  fc.record({
    kind: fc.constant('hello' as const),
    groupId: fc.constant(GROUP),
    tip: id32.map((id) => toCommitId(id)),
    records: fc.nat(),
    recordsPrint: octets(16),
    logCount: fc.nat(),
    logPrint: octets(16),
  }),
  fc.record({
    kind: fc.constant('range' as const),
    from: key,
    to: key,
    count: fc.nat(),
    print: octets(16),
  }),
  fc.record({
    kind: fc.constant('ids' as const),
    from: key,
    to: key,
    keys: fc.array(key, { maxLength: 5 }),
  }),
  chunk.map((one) => ({ kind: 'tree' as const, treeHash: new Uint8Array(32), ...one })),
  fc.record({
    kind: fc.constant('acks' as const),
    acks: fc.array(octets(189), { maxLength: 3 }),
    proofs: fc.array(octets(300), { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant('getInfo' as const),
    commitId: id32.map((id) => toCommitId(id)),
  }),
  fc.record({
    kind: fc.constant('info' as const),
    commitId: id32.map((id) => toCommitId(id)),
    groupInfo: fc.uint8Array({ minLength: 1, maxLength: 200 }),
    treeHash: id32,
    bodyKey: id32,
    generations: fc.array(
      id32.map((id) => ({ start: toCommitId(id), tx: id })),
      { minLength: 1, maxLength: 16 },
    ),
  }),
  fc.constant({ kind: 'done' as const }),
  fc.record({
    kind: fc.constant('failure' as const),
    code: fc.constantFrom('denied' as const, 'gone' as const),
    retryAfterMs: fc.nat(),
  }),
)

/** Whatever is cut off, or flipped, is refused: every octet is signed, sealed or structure. */
function assertTight(bytes: Bytes, decode: (bytes: Bytes) => Decoded<unknown>): void {
  assert.ok(decode(bytes).ok)
  for (let length = 0; length < bytes.length; length++) {
    assert.not(decode(bytes.subarray(0, length)).ok, `cut to ${length}`)
  }
  assert.not(decode(concat(bytes, u8(0))).ok, 'an octet more')
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = Uint8Array.from(bytes)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << bit)
      assert.not(decode(flipped).ok, `bit ${bit} of octet ${at}`)
    }
  }
}

/** What is not signed may decode to something else, but never to the same, and never throws. */
function assertStrict<T>(
  bytes: Bytes,
  decode: (bytes: Bytes) => Decoded<T>,
  encode: (value: T) => Bytes,
): void {
  for (let at = 0; at < bytes.length; at++) {
    const cut = decode(bytes.subarray(0, at))
    if (cut.ok) assert.ok(equalBytes(encode(cut.value), bytes.subarray(0, at)), `cut to ${at}`)
    for (let bit = 0; bit < 8; bit++) {
      const flipped = Uint8Array.from(bytes)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << bit)
      const value = decode(flipped)
      if (value.ok) assert.not(equalBytes(encode(value.value), bytes), `bit ${bit} of octet ${at}`)
    }
  }
}

const same = <T>(found: Decoded<T>, expected: T): void => {
  assert.ok(found.ok)
  assert.equal(found.value, structuredClone(expected)) // generated objects have no prototype
}

test('records come back as they were, and hold nothing unsigned', () => {
  fc.assert(
    fc.property(record, (one) => {
      same(verifyRecord(native, signRecord(native, alice.secret, one)), one)
    }),
    { numRuns: 40 },
  )
  const [one] = fc.sample(record, { numRuns: 1, seed: 7 })
  assert.ok(one)
  assertTight(signRecord(native, alice.secret, { ...one, adds: [], removes: [] }), (bytes) =>
    verifyRecord(native, bytes),
  )
})

test('acks, Leaves and payloads come back as they were, and hold nothing unsigned', () => {
  const author = { peer: bob.peer, gen: 2 }
  const ack = {
    groupId: GROUP,
    author,
    seq: 9,
    commitId: toCommitId(new Uint8Array(32).fill(3)),
    check: new Uint8Array(16).fill(4),
  }
  const signed = signAck(native, bob.secret, ack)
  same(verifyAck(native, signed), ack)
  assertTight(signed, (bytes) => verifyAck(native, bytes))
  const leave = signLeave(native, bob.secret, { groupId: GROUP, author })
  same(verifyLeave(native, leave), { groupId: GROUP, author })
  assertTight(leave, (bytes) => verifyLeave(native, bytes))
  fc.assert(
    fc.property(payload, (one) => {
      same(verifyPayload(native, signPayload(native, alice.secret, one)), one)
    }),
    { numRuns: 40 },
  )
  const [text] = fc.sample(payload, { numRuns: 1, seed: 7 })
  assert.ok(text)
  const small = { ...text, body: Uint8Array.of(1, 2) }
  assertTight(signPayload(native, alice.secret, small), (bytes) => verifyPayload(native, bytes))
})

test('frames open to what was sealed, and nothing in them can be altered', () => {
  const branchId = toBranchId(new Uint8Array(16).fill(2))
  const content = { kind: 'app', branchId, message: Uint8Array.of(1, 2, 3) } as const
  const frame = sealFrame(native, GENERATION, { hour: 5, nonce: new Uint8Array(12), content })
  same(openFrame(native, GENERATION, frame), content)
  assertTight(frame, (bytes) => openFrame(native, GENERATION, bytes))
})

test('policies, packages, entries and sync frames come back as they were, strictly', () => {
  const entry = fc
    .record({
      record: fc.uint8Array({ maxLength: 50 }),
      evidence: fc.array(octets(132)),
      body: id32,
    })
    .map((one) => ({ ...one, evidence: one.evidence.slice(0, 3) }))
  const check = <T>(
    values: fc.Arbitrary<T>,
    encode: (value: T) => Bytes,
    decode: (bytes: Bytes) => Decoded<T>,
  ): void => {
    fc.assert(
      fc.property(values, (one) => same(decode(encode(one)), one)),
      { numRuns: 60 },
    )
    for (const one of fc.sample(values, { numRuns: 3, seed: 11 })) {
      assertStrict(encode(one), decode, encode)
    }
  }
  check(policy, encodePolicy, decodePolicy)
  check(joinPackage, encodeJoinPackage, decodeJoinPackage)
  check<RecordEntry>(entry, encodeEntry, decodeEntry)
  fc.assert(
    fc.property(syncFrame, (one) => same(decodeSyncFrame(encodeSyncFrame(one)), one)),
    { numRuns: 100 },
  )
})

test('arbitrary octets never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      verifyRecord(native, bytes)
      verifyAck(native, bytes)
      verifyPayload(native, bytes)
      openFrame(native, GENERATION, bytes)
      decodeEntry(bytes)
      decodePolicy(bytes)
      decodeJoinPackage(bytes)
      decodeSyncFrame(bytes)
    }),
    { numRuns: 2_000 },
  )
})

// RFC 9420 §2.1.2: "the vector length MUST be encoded in the minimum number of bits required"
test('vector lengths are of the shortest form', () => {
  for (const length of [0, 63, 64, 16_383, 16_384]) {
    const bytes = new Uint8Array(length).fill(1)
    assert.equal(readVec(makeReader(vec(bytes)), length), bytes)
    if (length > 0) assert.is(readVec(makeReader(vec(bytes)), length - 1), undefined)
  }
  for (const long of [
    [0x40, 1, 9],
    [0x80, 0, 0, 1, 9],
    [0xc0, 9],
  ]) {
    assert.is(readVec(makeReader(Uint8Array.from(long)), 10), undefined)
  }
})

test('what is too large is refused before it is read', () => {
  const large = new Uint8Array(types.FRAME_BYTES_MAX + 1)
  assert.equal(openFrame(native, GENERATION, large), { ok: false, code: 'CODEC_LENGTH' })
  const sync = new Uint8Array(types.SYNC_FRAME_BYTES_MAX + 1)
  assert.equal(decodeSyncFrame(sync), { ok: false, code: 'CODEC_LENGTH' })
  const join = new Uint8Array(types.JOIN_PACKAGE_BYTES_MAX + 1)
  assert.equal(decodeJoinPackage(join), { ok: false, code: 'CODEC_LENGTH' })
  const found = verifyRecord(native, new Uint8Array(types.RECORD_BYTES_MAX + 1))
  assert.equal(found, { ok: false, code: 'CODEC_LENGTH' })
})

test('fingerprints do not depend on the order, and tell sets apart', () => {
  const ids = fc.uniqueArray(id32, { minLength: 1, maxLength: 20, selector: String })
  fc.assert(
    fc.property(ids, (list) => {
      const names = list.map((one) => toFrameId(one))
      const { print, count } = printOf(native, names)
      assert.equal(printOf(native, names.toReversed()), { print, count })
      assert.not.equal(printOf(native, names.slice(1)).print, print)
    }),
  )
})

test.run()
