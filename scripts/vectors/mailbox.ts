// Makes protocols/mailbox/vectors.json: accept and reject cases from fixed seeds, by the portable Primitives.
// Codes of refusals are stated here, not taken from the code under test.
import { concat, formatHex, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { signLabelled } from '../../protocols/base/signed.ts'
import { DAY_MS, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { EnvelopeId } from '../../protocols/direct/types.ts'
import { signAuthorisation } from '../../protocols/mailbox/authorisation.ts'
import { encodeMailboxFrame } from '../../protocols/mailbox/frames.ts'
import type { MailboxFrame } from '../../protocols/mailbox/frames.ts'
import { signLease } from '../../protocols/mailbox/lease.ts'
import { signReceipt } from '../../protocols/mailbox/storage-receipt.ts'
import { LEASE_LABEL, RECEIPT_LABEL } from '../../protocols/mailbox/types.ts'
import type {
  Lease,
  LeaseId,
  MailboxCode,
  QueueKeyId,
  StorageReceipt,
} from '../../protocols/mailbox/types.ts'
import { portable } from '../../src/crypto/portable.ts'

const NOW: TimeMs = toTimeMs(1_798_761_600_000)

const seed = (name: string): Bytes => portable.sha256(utf8(`mailbox vectors ${name}`))
const peerOf = (secret: Bytes): PeerId => peerIdFromPublicKey(portable.signPublic(secret))
const [aliceSecret, ritaSecret, queueSecret] = [seed('Alice'), seed('Rita'), seed('queue key')]
const [alice, rita, bob] = [peerOf(aliceSecret), peerOf(ritaSecret), peerOf(seed('Bob'))]
const leaseId = formatHex(seed('lease').slice(0, 16)) as LeaseId
const envelopeId = formatHex(seed('envelope')) as EnvelopeId

const lease: Lease = {
  recipient: alice,
  custodian: rita,
  leaseId,
  quotaBytes: 16_777_216,
  quotaEnvelopes: 4_096,
  ttlMs: 7 * DAY_MS,
  issuedAt: NOW,
  expiresAt: toTimeMs(NOW + 14 * DAY_MS),
}
const receipt: StorageReceipt = {
  custodian: rita,
  recipient: alice,
  leaseId,
  envelopeId,
  size: 512,
  storedAt: NOW,
  expiresAt: toTimeMs(NOW + 7 * DAY_MS),
}

/** Replaces octets, and signs anew if a label is given, so that nothing but them is at fault. */
function altered(bytes: Bytes, at: number, octet: number, label?: string): Bytes {
  const out = Uint8Array.from(bytes)
  out[at] = octet
  if (label === undefined) return out
  const body = out.subarray(0, out.length - 64)
  return concat(body, signLabelled(portable, ritaSecret, label, body))
}

type Reject = readonly [comment: string, code: MailboxCode, bytes: Bytes]

const cases = (spec: string, all: readonly Reject[]): unknown =>
  all.map(([comment, code, bytes]) => ({ comment, spec, input: formatHex(bytes), code }))

function leases(): unknown {
  const good = signLease(portable, ritaSecret, lease)
  return {
    accept: [{ comment: 'a lease', spec: '3.1', input: formatHex(good), value: lease }],
    reject: cases('3.1', [
      ['one octet short', 'CODEC_LENGTH', good.subarray(1)],
      ['version 2', 'CODEC_UNKNOWN_VERSION', altered(good, 0, 2, LEASE_LABEL)],
      ['a peer ID that is none', 'CODEC_MALFORMED', altered(good, 1, 9, LEASE_LABEL)],
      ['a time beyond 2^53', 'CODEC_MALFORMED', altered(good, 121, 255, LEASE_LABEL)],
      [
        'for another recipient',
        'VERIFY_IDENTITY_MISMATCH',
        signLease(portable, ritaSecret, { ...lease, recipient: bob }),
      ],
      ['signed by another', 'VERIFY_SIGNATURE', signLease(portable, aliceSecret, lease)],
      ['a quota changed', 'VERIFY_SIGNATURE', altered(good, 98, 1)],
      ['a receipt’s label', 'VERIFY_SIGNATURE', altered(good, 0, 1, RECEIPT_LABEL)],
      ['over', 'VERIFY_EXPIRED', signLease(portable, ritaSecret, { ...lease, expiresAt: NOW })],
    ]),
  }
}

function receipts(): unknown {
  const sign = (fields: Partial<StorageReceipt>): Bytes =>
    signReceipt(portable, ritaSecret, { ...receipt, ...fields })
  const good = sign({})
  const other = formatHex(seed('another envelope')) as EnvelopeId
  return {
    accept: [{ comment: 'a receipt', spec: '3.2', input: formatHex(good), value: receipt }],
    reject: cases('3.2', [
      ['one octet too long', 'CODEC_LENGTH', concat(good, Uint8Array.of(0))],
      ['version 0', 'CODEC_UNKNOWN_VERSION', altered(good, 0, 0, RECEIPT_LABEL)],
      ['kind 2', 'CODEC_UNKNOWN_TYPE', altered(good, 1, 2, RECEIPT_LABEL)],
      ['about another envelope', 'VERIFY_IDENTITY_MISMATCH', sign({ envelopeId: other })],
      ['about another size', 'VERIFY_IDENTITY_MISMATCH', sign({ size: 1_024 })],
      ['for another recipient', 'VERIFY_IDENTITY_MISMATCH', sign({ recipient: bob })],
      [
        'of another lease',
        'VERIFY_IDENTITY_MISMATCH',
        sign({ leaseId: formatHex(seed('other').slice(0, 16)) as LeaseId }),
      ],
      ['signed by another', 'VERIFY_SIGNATURE', signReceipt(portable, aliceSecret, receipt)],
      ['a later expiry', 'VERIFY_SIGNATURE', altered(good, 145, 255)],
    ]),
  }
}

function frames(): unknown {
  const all: readonly MailboxFrame[] = [
    {
      kind: 'requestLease',
      requestId: 1,
      wish: {
        quotaBytes: 16_777_216,
        quotaEnvelopes: 4_096,
        ttlMs: 604_800_000,
        strangerBytes: 0,
        strangerEnvelopes: 0,
      },
    },
    { kind: 'done', requestId: 2 },
    {
      kind: 'deposit',
      requestId: 3,
      deposit: {
        recipient: alice,
        leaseId,
        ttlMs: 604_800_000,
        envelope: new Uint8Array(512).fill(7),
      },
    },
    {
      kind: 'collect',
      requestId: 4,
      collect: { after: 0, envelopesMax: 256, bytesMax: 1_048_576, watch: true },
    },
    {
      kind: 'end',
      requestId: 4,
      end: { next: 9, more: false, usedBytes: 512, quotaBytes: 16_777_216 },
    },
    { kind: 'acknowledge', requestId: 5, envelopeIds: [envelopeId] },
    { kind: 'removed', requestId: 5, removed: [true] },
    {
      kind: 'failure',
      requestId: 6,
      status: 'quota',
      bound: { limit: 'stranger envelopes', found: 4, allowed: 4 },
    },
  ]
  return all.map((frame) => ({
    comment: frame.kind,
    spec: '3.4',
    output: formatHex(encodeMailboxFrame(frame)),
  }))
}

/** Everything in the file. */
export function makeVectors(): unknown {
  const keyId = formatHex(seed('queue key id').slice(0, 8)) as QueueKeyId
  const expiresAt = toTimeMs(NOW + 600_000)
  const facts = { custodian: rita, recipient: alice, envelopeId }
  return {
    nowMs: NOW,
    recipient: alice,
    custodian: rita,
    queueKey: { id: keyId, publicKey: formatHex(portable.signPublic(queueSecret)) },
    envelopeId,
    leases: leases(),
    receipts: receipts(),
    authorisations: [
      {
        comment: 'for one envelope at one custodian',
        spec: '3.3',
        input: formatHex(
          signAuthorisation(portable, { id: keyId, seed: queueSecret }, facts, expiresAt),
        ),
      },
    ],
    frames: frames(),
  }
}
