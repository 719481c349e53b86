// Bodies, bundles, entries and frames: what is accepted and what is refused.
import { concat, formatHex, u32, utf8 } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { peerIdToBytes } from '../../../protocols/base/ids.ts'
import { signLabelled } from '../../../protocols/base/signed.ts'
import { encodeBody } from '../../../protocols/direct/body.ts'
import { encodeDirectFrame, encodePrekeysFrame } from '../../../protocols/direct/frames.ts'
import { BUNDLE_LABEL, ONE_TIME_LABEL } from '../../../protocols/direct/labels.ts'
import type { Body, EnvelopeId, MessageId } from '../../../protocols/direct/types.ts'
import { portable } from '../../../src/crypto/portable.ts'
import { NOTHING_TO_SAY, NOW, padBody, say } from '../../../test/support/direct-cast.ts'
import { bob, flip, mallory, put, rejects } from './cast.ts'

const BUNDLE_BODY = 1_716
const ID = '00112233445566778899aabbccddeeff' as MessageId
const OTHER_ID = 'ffeeddccbbaa99887766554433221100' as MessageId

const everything: Body = {
  message: {
    id: ID,
    sequence: 2 ** 40,
    sentAt: NOW,
    contentType: 'application/json',
    content: utf8('{}'),
  },
  receipts: [
    { id: OTHER_ID, state: 'delivered' },
    { id: ID, state: 'handled' },
  ],
  controls: [
    { kind: 'reset' },
    {
      kind: 'queueKey',
      id: new Uint8Array(8).fill(1),
      seed: new Uint8Array(32).fill(2),
      expiresAt: NOW,
    },
    { kind: 'prekeyConsumed', envelopeId: 'ab'.repeat(32) as EnvelopeId },
    {
      kind: 'withdrawn',
      items: [
        { id: ID, sequence: 3 },
        { id: OTHER_ID, sequence: 4 },
      ],
    },
  ],
}

/** Bodies, encoded; refused ones with length and padding. */
export function bodies(): unknown {
  const accept = (comment: string, body: Body): unknown => ({
    comment,
    spec: '3.3',
    body: formatHex(encodeBody(body)),
  })
  const plain = encodeBody(say(1))
  const padded = padBody(plain, 308)
  const raw = (...octets: number[]): Bytes => padBody(Uint8Array.from(octets), 308)
  const receipt = encodeBody({ ...NOTHING_TO_SAY, receipts: [{ id: ID, state: 'handled' }] })
  const reset = encodeBody({ ...NOTHING_TO_SAY, controls: [{ kind: 'reset' }] })
  const many = (part: Bytes, count: number): Bytes => {
    const body = concat(...Array.from({ length: count }, () => part))
    return padBody(body, body.length + 4)
  }
  return {
    accept: [
      accept('nothing', NOTHING_TO_SAY),
      accept('a message', say(1)),
      accept('an empty message', say(2, new Uint8Array(0))),
      accept('every item', everything),
      accept('a handoff', {
        ...NOTHING_TO_SAY,
        handoff: { id: ID, sequence: 9, protocol: 'group', content: utf8('welcome') },
      }),
    ],
    reject: rejects('3.3', [
      ['shorter than its length field', 'CODEC_LENGTH', padded.subarray(0, 3)],
      ['length beyond the plaintext', 'CODEC_LENGTH', concat(u32(305), padded.subarray(4))],
      ['padding that is not zero', 'CODEC_PADDING', flip(padded, -1)],
      ['cut inside a field', 'CODEC_MALFORMED', padBody(plain.subarray(0, -1), 308)],
      ['two messages', 'CODEC_MALFORMED', many(plain, 2)],
      ['65 receipts', 'CODEC_MALFORMED', many(receipt, 65)],
      ['5 controls', 'CODEC_MALFORMED', many(reset, 5)],
      ['a group, which protobuf 3 has not', 'CODEC_MALFORMED', raw(0x7b, 0x7c)],
      ['a message without id', 'CODEC_MALFORMED', raw(0x0a, 0x02, 0x10, 0x01)],
      ['a receipt of an unknown state', 'CODEC_MALFORMED', padBody(put(receipt, -1, 3), 308)],
    ]),
  }
}

/** Bundles and one-time entries that Alice refuses from Bob. */
export function bundles(): unknown {
  const { bundle, pair, ec } = bob.published
  const signed = (label: string, body: Bytes): Bytes =>
    concat(body, signLabelled(portable, bob.secret, label, body))
  const altered = (at: number, ...octets: number[]): Bytes =>
    signed(BUNDLE_LABEL, put(bundle.subarray(0, BUNDLE_BODY), at, ...octets))
  const entry = (bytes: Bytes, at: number, ...octets: number[]): Bytes =>
    signed(ONE_TIME_LABEL, put(bytes.subarray(0, -64), at, ...octets))
  return {
    bundle: rejects('3.4', [
      ['one octet short', 'CODEC_LENGTH', bundle.subarray(0, -1)],
      ['one octet more', 'CODEC_LENGTH', concat(bundle, Uint8Array.of(0))],
      ['version 2', 'CODEC_UNKNOWN_VERSION', altered(0, 2)],
      ['suite 0', 'CODEC_UNKNOWN_SUITE', altered(1, 0)],
      ['suite 2', 'CODEC_UNKNOWN_SUITE', altered(1, 2)],
      ['a peer ID of another kind of key', 'CODEC_MALFORMED', altered(6, 0, 0x25)],
      ['signed prekey id 0', 'CODEC_MALFORMED', altered(108, 0, 0, 0, 0)],
      ['last-resort key id 0', 'CODEC_MALFORMED', altered(144, 0, 0, 0, 0)],
      ['a life beyond 14 days', 'CODEC_MALFORMED', flip(bundle, 107)],
      ['of another peer', 'VERIFY_IDENTITY_MISMATCH', mallory.published.bundle],
      ['expired', 'VERIFY_EXPIRED', altered(92, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)],
      ['another signed prekey under the same signature', 'VERIFY_SIGNATURE', flip(bundle, 112)],
      ['another signature', 'VERIFY_SIGNATURE', flip(bundle, -64)],
    ]),
    entry: rejects('3.4', [
      ['empty', 'CODEC_LENGTH', new Uint8Array(0)],
      ['kind 3', 'CODEC_UNKNOWN_TYPE', entry(ec, 0, 3)],
      ['kind `pair` without a KEM key', 'CODEC_LENGTH', entry(ec, 0, 1)],
      ['one octet more', 'CODEC_LENGTH', concat(pair, Uint8Array.of(0))],
      ['id 0', 'CODEC_MALFORMED', entry(ec, 1, 0, 0, 0, 0)],
      [
        'for another custodian',
        'VERIFY_IDENTITY_MISMATCH',
        entry(ec, 37, ...peerIdToBytes(mallory.peer)),
      ],
      ['expired', 'VERIFY_EXPIRED', entry(ec, 75, 0, 0, 0, 0, 0, 0, 0, 1)],
      [
        'of another agent',
        'VERIFY_SIGNATURE',
        put(mallory.published.ec, 37, ...peerIdToBytes(bob.peer)),
      ],
      ['another key under the same signature', 'VERIFY_SIGNATURE', flip(pair, 5)],
    ]),
  }
}

/** Frames of both protocols. */
export function frames(): unknown {
  const { bundle, ec } = bob.published
  const envelopeId = 'cd'.repeat(32) as EnvelopeId
  const send = encodeDirectFrame({ kind: 'send', requestId: 7, envelope: new Uint8Array(512) })
  const reply = encodePrekeysFrame({ kind: 'bundle', requestId: 7, bundle, entry: ec })
  const accept = (comment: string, bytes: Bytes): unknown => ({
    comment,
    spec: '3.5',
    frame: formatHex(bytes),
  })
  const result = { kind: 'result', requestId: 7, envelopeId } as const
  const fetched = { kind: 'fetch', requestId: 1, recipient: bob.peer } as const
  return {
    direct: {
      accept: [
        accept('send', send),
        accept('accepted', encodeDirectFrame({ ...result, status: 'accepted' })),
        accept('prekey consumed', encodeDirectFrame({ ...result, status: 'prekeyConsumed' })),
        accept('keep-alive', encodeDirectFrame({ kind: 'keepAlive' })),
      ],
      reject: rejects('3.5', [
        ['empty', 'CODEC_MALFORMED', new Uint8Array(0)],
        ['an envelope of no bucket', 'CODEC_LENGTH', Uint8Array.of(0x08, 7, 0x12, 3, 0x0a, 1, 0)],
        ['cut', 'CODEC_MALFORMED', send.subarray(0, -1)],
        ['an envelope id of one octet', 'CODEC_MALFORMED', Uint8Array.of(0x1a, 3, 0x0a, 1, 0)],
      ]),
    },
    prekeys: {
      accept: [
        accept(
          'fetch',
          encodePrekeysFrame({ ...fetched, wantOneTime: true, wantKeyPackage: false }),
        ),
        accept('bundle and entry', reply),
        accept(
          'publish',
          encodePrekeysFrame({
            kind: 'publish',
            requestId: 2,
            bundle,
            entries: [ec],
            keyPackages: [],
          }),
        ),
        accept('supply', encodePrekeysFrame({ kind: 'supply', requestId: 3 })),
        accept(
          'remaining',
          encodePrekeysFrame({
            kind: 'remaining',
            requestId: 3,
            pairs: 20,
            ecs: 100,
            keyPackages: 4,
          }),
        ),
        accept('busy', encodePrekeysFrame({ kind: 'failure', requestId: 4, status: 'busy' })),
      ],
      reject: rejects('3.5', [
        ['empty', 'CODEC_MALFORMED', new Uint8Array(0)],
        ['cut', 'CODEC_MALFORMED', reply.subarray(0, -1)],
        ['a recipient of one octet', 'CODEC_MALFORMED', Uint8Array.of(0x12, 3, 0x0a, 1, 0)],
        ['a failure that is none', 'CODEC_MALFORMED', Uint8Array.of(0x3a, 0)],
      ]),
    },
  }
}
