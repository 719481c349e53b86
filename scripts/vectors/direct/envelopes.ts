// Envelopes that Bob, who has opened nothing yet, refuses from Alice.
import { formatHex } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { SEAL_DRAW_BYTES } from '../../../protocols/direct/envelope-seal.ts'
import type { Sessions } from '../../../protocols/direct/session.ts'
import { portable } from '../../../src/crypto/portable.ts'
import { drawsOf, NOW, operationsOf, say, valueOf } from '../../../test/support/direct-cast.ts'
import { craftEnvelope } from '../../../test/support/direct-craft.ts'
import type { Craft } from '../../../test/support/direct-craft.ts'
import { alice, flip, mallory, put, rejects } from './cast.ts'
import type { Reject } from './cast.ts'
import { offerBody } from './epochs.ts'

const zeros = (length: number): number[] => Array.from({ length }, () => 0)

/** Faults in what travels in the clear. */
function inTheClear(good: Bytes): Reject[] {
  const baseKey = (...octets: number[]): Bytes =>
    put(good, 116, ...octets, ...zeros(32 - octets.length))
  const short = put(good.subarray(0, 1_024), 1, 1)
  return [
    ['a size that is no bucket', 'CODEC_LENGTH', good.subarray(0, -1)],
    ['an initial envelope without room for its parts', 'CODEC_LENGTH', short],
    ['version 2', 'CODEC_UNKNOWN_VERSION', put(good, 0, 2)],
    ['type 3, reserved for sealed senders', 'CODEC_UNKNOWN_TYPE', put(good, 1, 3)],
    ['a reserved octet of the route', 'CODEC_RESERVED', flip(good, 87)],
    ['a route of another peer', 'VERIFY_IDENTITY_MISMATCH', put(good, 2, ...mallory.own.peerBytes)],
    ['suite 0', 'CODEC_UNKNOWN_SUITE', put(good, 88, 0)],
    ['suite 2', 'CODEC_UNKNOWN_SUITE', put(good, 88, 2)],
    ['a reserved octet of the preamble', 'CODEC_RESERVED', put(good, 89, 1)],
    ['other capabilities', 'DIRECT_OPEN_FAILED', flip(good, 95)],
    ['a bundle never published', 'DIRECT_SESSION_UNKNOWN', flip(good, 103)],
    ['an unknown signed prekey', 'DIRECT_SESSION_UNKNOWN', put(good, 107, 9)],
    ['an unknown KEM prekey', 'DIRECT_SESSION_UNKNOWN', put(good, 111, 9)],
    ['a one-time prekey that is gone', 'PREKEYS_CONSUMED', put(good, 115, 9)],
    ['without the one-time prekey', 'DIRECT_SESSION_UNKNOWN', put(good, 115, 0)],
    ['a base key of zeros', 'VERIFY_KEY_INVALID', baseKey()],
    ['a base key of order 4', 'VERIFY_KEY_INVALID', baseKey(1)],
    ['a base key with the high bit set', 'VERIFY_KEY_INVALID', put(good, 147, 0xff)],
    ['another base key', 'DIRECT_OPEN_FAILED', flip(good, 116)],
    ['another KEM ciphertext', 'DIRECT_OPEN_FAILED', flip(good, 148)],
    ['another identity key in the certificate', 'VERIFY_SIGNATURE', flip(good, 1_716)],
    [
      'the certificate of another peer',
      'VERIFY_SIGNATURE',
      put(good, 1_716, ...mallory.own.certificate),
    ],
    ['a reserved octet of the certificate', 'CODEC_RESERVED', flip(good, 1_843)],
  ]
}

/** Faults in what is sealed: by an outsider, then by Alice herself. */
function sealed(good: Bytes, craft: (changes: Craft) => Bytes): Reject[] {
  const key = (epoch: number): Bytes => offerBody('encapsulationKey', epoch)
  const ciphertext = (epoch: number): Bytes => offerBody('ciphertext', epoch)
  // All ones: coefficients above the modulus.
  const badKey = put(key(1), -1_184, ...Array.from({ length: 1_152 }, () => 0xff))
  return [
    ['another header nonce', 'DIRECT_OPEN_FAILED', flip(good, 1_844)],
    ['another header', 'DIRECT_OPEN_FAILED', flip(good, 1_856)],
    ['another body nonce', 'DIRECT_OPEN_FAILED', flip(good, 1_928)],
    ['another body', 'DIRECT_OPEN_FAILED', flip(good, 1_940)],
    ['another tag', 'DIRECT_OPEN_FAILED', flip(good, -1)],
    ['a ratchet envelope without a session', 'DIRECT_SESSION_UNKNOWN', put(good, 1, 2)],
    ['a reserved octet of the header', 'CODEC_RESERVED', craft({ headerReserved: 1 })],
    ['1,001 messages ahead', 'DIRECT_SKIP_LIMIT', craft({ header: { count: 1_001 } })],
    ['a count beyond the chain', 'DIRECT_OPEN_FAILED', craft({ header: { count: 2 ** 20 } })],
    [
      'a previous chain before the first',
      'DIRECT_OPEN_FAILED',
      craft({ header: { previousCount: 1 } }),
    ],
    [
      'a ratchet key of zeros',
      'VERIFY_KEY_INVALID',
      craft({ header: { ratchetKey: new Uint8Array(32) } }),
    ],
    ['a post-quantum epoch not derived', 'DIRECT_EPOCH_UNKNOWN', craft({ header: { pqEpoch: 1 } })],
    ['ahead in one ratchet alone', 'DIRECT_OPEN_FAILED', craft({ header: { pqCount: 1 } })],
    ['ahead in the other alone', 'DIRECT_OPEN_FAILED', craft({ header: { count: 1 } })],
    ['a post-quantum count too far', 'DIRECT_OPEN_FAILED', craft({ header: { pqCount: 2 ** 20 } })],
    ['a proposal of epoch 0', 'DIRECT_EPOCH_UNKNOWN', craft({ body: key(0) })],
    ['a proposal that is not hers to make', 'DIRECT_EPOCH_UNKNOWN', craft({ body: key(2) })],
    ['a proposal two epochs ahead', 'DIRECT_EPOCH_UNKNOWN', craft({ body: key(3) })],
    ['a ciphertext for her own proposal', 'DIRECT_EPOCH_UNKNOWN', craft({ body: ciphertext(1) })],
    ['a ciphertext for no proposal', 'DIRECT_EPOCH_UNKNOWN', craft({ body: ciphertext(2) })],
    ['a key that is none', 'VERIFY_KEY_INVALID', craft({ body: badKey })],
    [
      'padding that is not zero',
      'CODEC_PADDING',
      craft({ plaintext: put(new Uint8Array(92), -1, 1) }),
    ],
    [
      'a body beyond its plaintext',
      'CODEC_LENGTH',
      craft({ plaintext: put(new Uint8Array(92), 3, 89) }),
    ],
  ]
}

/** Makes the cases from Alice's sessions after a handshake with the one-time pair. */
export function envelopes(sessions: Sessions): unknown {
  const draw = drawsOf(portable, 'vectors envelopes')
  const session = sessions.list[0]
  if (session === undefined) throw new Error('a handshake makes a session')
  const draws = draw(SEAL_DRAW_BYTES)
  const good = valueOf(
    operationsOf(portable).seal(alice.own, sessions, say(1), draws, NOW),
  ).envelope
  const craft = (changes: Craft): Bytes =>
    craftEnvelope(portable, session, alice.own.peerBytes, draw(SEAL_DRAW_BYTES), changes)
  return {
    comment: 'initial envelope that opens: Alice to Bob, with the one-time pair',
    spec: '3.1',
    accept: formatHex(good),
    reject: rejects('3.1, 4.1', [...inTheClear(good), ...sealed(good, craft)]),
  }
}
