// Codecs of mailboxes: round trips, every truncation, every bit flipped, limits; and the ladder of a deposit.
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { EnvelopeId } from '../../protocols/direct/types.ts'
import { decodeAuthorisation, queueKeyIdFromBytes } from '../../protocols/mailbox/authorisation.ts'
import { judgeDeposit, judgeWish, NO_USAGE } from '../../protocols/mailbox/custody.ts'
import type { BoxFigures, Depositor } from '../../protocols/mailbox/custody.ts'
import { decodeMailboxFrame, encodeMailboxFrame } from '../../protocols/mailbox/frames.ts'
import type { MailboxFrame } from '../../protocols/mailbox/frames.ts'
import { leaseIdFromBytes, parseLease, signLease } from '../../protocols/mailbox/lease.ts'
import { parseReceipt, signReceipt } from '../../protocols/mailbox/storage-receipt.ts'
import * as limits from '../../protocols/mailbox/types.ts'
import type { Lease, LimitName, QueueKey } from '../../protocols/mailbox/types.ts'
import { native } from '../../src/crypto/native.ts'

const test = suite('mailbox · codec and custody')

const bytes = (length: number): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ minLength: length, maxLength: length })
const secretOf = (n: number): Bytes => new Uint8Array(32).fill(n)
const peerOf = (n: number) => peerIdFromPublicKey(native.signPublic(secretOf(n)))
const [alice, rita] = [peerOf(1), peerOf(2)]
const leaseId = leaseIdFromBytes(new Uint8Array(16).fill(3))!
const keyId = queueKeyIdFromBytes(new Uint8Array(8).fill(4))!
const envelopeId = '5'.repeat(64) as EnvelopeId
const NOW = toTimeMs(1_800_000_000_000)
const lease: Lease = {
  recipient: alice,
  custodian: rita,
  leaseId,
  quotaBytes: 100_000,
  quotaEnvelopes: 40,
  ttlMs: 1_000,
  issuedAt: NOW,
  expiresAt: toTimeMs(NOW + 1_000),
}

const anySize = fc.maxSafeInteger().map(Math.abs)
const anyTime = fc.nat({ max: Number.MAX_SAFE_INTEGER }).map(toTimeMs)
const anyId = bytes(32).map((id) => formatHex(id) as EnvelopeId)
const u32 = fc.nat(0xffff_ffff)
const anyFrame: fc.Arbitrary<MailboxFrame> = fc
  .oneof(
    fc
      .record({
        quotaBytes: anySize,
        quotaEnvelopes: u32,
        ttlMs: anySize,
        strangerBytes: anySize,
        strangerEnvelopes: u32,
      })
      .map((wish) => ({ kind: 'requestLease', wish }) as const),
    bytes(193).map((one) => ({ kind: 'granted', lease: one }) as const),
    fc
      .record({
        id: fc.constant(keyId),
        publicKey: bytes(32),
        quotaBytes: anySize,
        quotaEnvelopes: u32,
        expiresAt: anyTime,
      })
      .map((key) => ({ kind: 'authorise', key }) as const),
    fc.constant({ kind: 'revoke', keyId } as const),
    fc.constant({ kind: 'done' } as const),
    fc
      .record({ ttlMs: anySize, envelope: bytes(512), right: fc.option(bytes(80)) })
      .map(({ ttlMs, envelope, right }) => {
        const given = right === null ? {} : { authorisation: right }
        return {
          kind: 'deposit',
          deposit: { recipient: alice, leaseId, ttlMs, ...given, envelope },
        } as const
      }),
    bytes(210).map((receipt) => ({ kind: 'receipt', receipt }) as const),
    fc
      .record({
        after: anySize,
        envelopesMax: fc.integer({ min: 1, max: 256 }),
        bytesMax: fc.nat(1_048_576),
        watch: fc.boolean(),
      })
      .map((collect) => ({ kind: 'collect', collect }) as const),
    fc
      .record({
        sequence: anySize,
        envelopeId: anyId,
        depositedAt: anyTime,
        expiresAt: anyTime,
        envelope: bytes(512),
      })
      .map((stored) => ({ kind: 'stored', stored }) as const),
    fc
      .record({ next: anySize, more: fc.boolean(), usedBytes: anySize, quotaBytes: anySize })
      .map((end) => ({ kind: 'end', end }) as const),
    fc
      .array(anyId, { minLength: 1, maxLength: 256 })
      .map((envelopeIds) => ({ kind: 'acknowledge', envelopeIds }) as const),
    fc
      .array(fc.boolean(), { maxLength: 256 })
      .map((removed) => ({ kind: 'removed', removed }) as const),
    fc
      .record({
        found: anySize,
        allowed: anySize,
        limit: fc.constantFrom(...limits.LIMIT_NAMES.slice(1)),
      })
      .map((bound) => ({ kind: 'failure', status: 'quota', bound }) as const),
    fc.constant({ kind: 'failure', status: 'leaseExpired' } as const),
  )
  .chain((frame) => u32.map((requestId) => ({ ...frame, requestId })))

test('every frame comes back; none cut short or changed throws', () => {
  fc.assert(
    fc.property(anyFrame, fc.nat(), fc.nat(7), (frame, at, bit) => {
      const encoded = encodeMailboxFrame(frame)
      const back = decodeMailboxFrame(encoded)
      assert.equal(structuredClone(back), structuredClone({ ok: true, value: frame }))
      for (let length = 0; length < Math.min(encoded.length, 300); length++) {
        decodeMailboxFrame(encoded.subarray(0, length))
      }
      if (encoded.length === 0) return
      const flipped = Uint8Array.from(encoded)
      const place = at % flipped.length
      flipped[place] = (flipped[place] ?? 0) ^ (1 << bit)
      assert.type(decodeMailboxFrame(flipped).ok, 'boolean')
    }),
    { numRuns: 200 },
  )
})

test('octets that are no frame are refused, and long ones before they are read', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
      assert.type(decodeMailboxFrame(octets).ok, 'boolean')
    }),
  )
  assert.equal(decodeMailboxFrame(new Uint8Array(limits.DEPOSIT_FRAME_BYTES_MAX + 1)), {
    ok: false,
    code: 'CODEC_LENGTH',
  })
  const deposit = { recipient: alice, leaseId, ttlMs: 1, envelope: new Uint8Array(513) }
  assert.not.ok(
    decodeMailboxFrame(encodeMailboxFrame({ kind: 'deposit', requestId: 1, deposit })).ok,
    'no bucket',
  )
  const many = Array.from({ length: 257 }, () => envelopeId)
  assert.not.ok(
    decodeMailboxFrame(encodeMailboxFrame({ kind: 'acknowledge', requestId: 1, envelopeIds: many }))
      .ok,
  )
})

test('a lease and a receipt with any bit flipped, or cut anywhere, are refused', () => {
  const signed = signLease(native, secretOf(2), lease)
  const facts = { custodian: rita, recipient: alice, leaseId, envelopeId, size: 512 }
  const receipt = signReceipt(native, secretOf(2), {
    ...facts,
    storedAt: NOW,
    expiresAt: toTimeMs(NOW + 9),
  })
  const parsers = [
    [signed, (one: Bytes) => parseLease(native, one, { recipient: alice, nowMs: NOW })],
    [receipt, (one: Bytes) => parseReceipt(native, one, facts)],
  ] as const
  for (const [good, parse] of parsers) {
    assert.ok(parse(good).ok)
    for (let bit = 0; bit < good.length * 8; bit++) {
      const flipped = Uint8Array.from(good)
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      assert.not.ok(parse(flipped).ok, `bit ${bit}`)
    }
    for (let length = 0; length < good.length; length++)
      assert.not.ok(parse(good.subarray(0, length)).ok)
  }
  for (let length = 0; length < 80; length++)
    assert.not.ok(decodeAuthorisation(new Uint8Array(length)).ok)
})

const stranger: Depositor = { kind: 'stranger', peer: peerOf(7) }
const contact: Depositor = { kind: 'contact', keyId }
const key: QueueKey = {
  id: keyId,
  publicKey: secretOf(9),
  quotaBytes: 2_000,
  quotaEnvelopes: 3,
  expiresAt: toTimeMs(NOW + 10),
}
const empty: BoxFigures = {
  lease,
  strangerQuota: { bytes: 2_048, envelopes: 4 },
  used: NO_USAGE,
  usedByStrangers: NO_USAGE,
  strangers: 0,
  usedByDepositor: NO_USAGE,
}

test('the ladder of a deposit names the bound that refuses', () => {
  const limitOf = (
    figures: Partial<BoxFigures>,
    who: Depositor,
    size = 512,
  ): LimitName | 'kept' | undefined => {
    const verdict = judgeDeposit({ ...empty, ...figures }, who, size, key, NOW)
    return verdict.ok ? 'kept' : verdict.bound?.limit
  }
  assert.is(limitOf({}, stranger), 'kept')
  assert.is(limitOf({}, contact), 'kept')
  const own = (used: number, envelopes: number) => ({ usedByDepositor: { bytes: used, envelopes } })
  assert.is(limitOf(own(0, 4), stranger), 'stranger envelopes')
  assert.is(limitOf(own(1_600, 1), stranger), 'stranger bytes')
  assert.is(limitOf(own(0, 3), contact), 'contact envelopes')
  assert.is(limitOf(own(1_600, 1), contact), 'contact bytes')
  assert.is(
    limitOf({ usedByStrangers: { bytes: 0, envelopes: 10 } }, stranger),
    'strangers share of envelopes',
  )
  assert.is(
    limitOf({ usedByStrangers: { bytes: 24_900, envelopes: 1 } }, stranger),
    'strangers share of bytes',
  )
  assert.is(
    limitOf({ usedByStrangers: { bytes: 24_900, envelopes: 10 } }, contact),
    'kept',
    'strangers take nothing from contacts',
  )
  assert.is(limitOf({ used: { bytes: 0, envelopes: 40 } }, contact), 'box envelopes')
  assert.is(limitOf({ used: { bytes: 99_900, envelopes: 1 } }, contact), 'box bytes')
  assert.is(limitOf({ strangers: limits.STRANGERS_PER_BOX_MAX }, stranger), 'strangers')
  const late = { ...empty, lease: { ...lease, expiresAt: NOW } }
  assert.equal(judgeDeposit(late, contact, 512, key, NOW), { ok: false, status: 'leaseExpired' })
  assert.equal(judgeDeposit(empty, contact, 512, undefined, NOW), { ok: false, status: 'refused' })
  assert.equal(judgeDeposit(empty, contact, 512, { ...key, expiresAt: NOW }, NOW), {
    ok: false,
    status: 'refused',
  })
})

test('a custodian promises no more than it has', () => {
  const wish = {
    quotaBytes: 2 ** 40,
    quotaEnvelopes: 2 ** 31,
    ttlMs: 2 ** 40,
    strangerBytes: 0,
    strangerEnvelopes: 0,
  }
  const granted = judgeWish(wish, { leases: 0, bytes: 0 }, NOW)
  assert.ok(granted.ok)
  assert.is(granted.terms.quotaBytes, limits.DEFAULT_QUOTA_BYTES)
  assert.is(granted.terms.ttlMs, limits.TTL_MS_MAX)
  assert.equal(granted.terms.strangerQuota, {
    bytes: limits.STRANGER_BYTES,
    envelopes: limits.STRANGER_ENVELOPES,
  })
  const full = judgeWish(wish, { leases: 1, bytes: limits.CUSTODY_BYTES_MAX - 1 }, NOW)
  assert.is(full.ok ? undefined : full.bound?.limit, 'custody bytes')
  const many = judgeWish(wish, { leases: limits.LEASES_MAX, bytes: 0 }, NOW)
  assert.is(many.ok ? undefined : many.bound?.limit, 'leases')
})

test.run()
