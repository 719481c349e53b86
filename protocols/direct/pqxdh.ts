// The handshake: a PQXDH profile over X25519 and ML-KEM-1024 (spec.md §4.1.1). Floor 0, pure.
// The whole transcript T goes into the key derivation and later into every associated data. Misbinding,
// re-encapsulation, confused key ids, downgrade and malleable keys all change T, so each ends in a failed tag.
import { concat, u32, u64, u8, utf8, wipe } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import type { Primitives } from '../base/primitives.ts'
import { HANDSHAKE_LABEL, PQXDH_LABEL, SESSION_LABEL } from './labels.ts'
import { SUITE, VERSION } from './types.ts'

/** Everything both sides must agree on; A initiates, B published the prekeys. */
export interface Transcript {
  readonly capabilitiesA: number
  readonly capabilitiesB: number
  /** 38 bytes each. */
  readonly peerA: Bytes
  readonly peerB: Bytes
  readonly identityKeyA: Bytes
  readonly identityKeyB: Bytes
  readonly certificateA: Bytes
  /** SHA-256 of B's bundle. */
  readonly bundleHash: Bytes
  /** SHA-256 of the one-time entry; absent without one. */
  readonly entryHash?: Bytes
  readonly bundleSeq: number
  readonly signedPrekeyId: number
  readonly kemPrekeyId: number
  /** 0 without a one-time prekey. */
  readonly oneTimePrekeyId: number
  readonly baseKey: Bytes
  readonly kemCiphertext: Bytes
}

/** The initiator's secrets and B's public keys. */
export interface InitiatorKeys {
  readonly identitySecret: Bytes
  readonly baseSecret: Bytes
  readonly identityKeyB: Bytes
  readonly signedPrekey: Bytes
  readonly oneTimeKey?: Bytes
  readonly kemSecret: Bytes
}

/** The responder's secrets and A's public keys. */
export interface ResponderKeys {
  readonly identitySecret: Bytes
  readonly signedPrekeySecret: Bytes
  readonly oneTimeSecret?: Bytes
  readonly kemSecret: Bytes
  readonly identityKeyA: Bytes
  readonly baseKey: Bytes
}

/** What a session starts with; 32 bytes each. */
export interface SessionKeys {
  readonly rootKey: Bytes
  /** First header key of A's messages. */
  readonly headerA: Bytes
  /** First header key of B's messages. */
  readonly headerB: Bytes
  /** Start of the post-quantum ratchet. */
  readonly pqRoot: Bytes
}

const ZEROS = new Uint8Array(32)
const ONES = new Uint8Array(32).fill(0xff)
const PQXDH_INFO = utf8(PQXDH_LABEL)
const SESSION_INFO = utf8(SESSION_LABEL)
const TRANSCRIPT_PREFIX = concat(utf8(HANDSHAKE_LABEL), u8(VERSION), u8(SUITE))

/** Hashes the transcript: T, 32 bytes. Every field has a fixed length, so no two transcripts meet. */
export function hashTranscript(primitives: Primitives, transcript: Transcript): Bytes {
  return primitives.sha256(
    TRANSCRIPT_PREFIX,
    u32(transcript.capabilitiesA),
    u32(transcript.capabilitiesB),
    transcript.peerA,
    transcript.peerB,
    transcript.identityKeyA,
    transcript.identityKeyB,
    primitives.sha256(transcript.certificateA),
    transcript.bundleHash,
    transcript.entryHash ?? ZEROS,
    u64(transcript.bundleSeq),
    u32(transcript.signedPrekeyId),
    u32(transcript.kemPrekeyId),
    u32(transcript.oneTimePrekeyId),
    transcript.baseKey,
    transcript.kemCiphertext,
  )
}

/** Agrees on SK as A; undefined for a weak or malformed public key of B. */
export function agreeAsInitiator(
  primitives: Primitives,
  keys: InitiatorKeys,
  transcriptHash: Bytes,
): Bytes | undefined {
  const { identitySecret, baseSecret, signedPrekey, oneTimeKey } = keys
  const shares = [
    primitives.dh(identitySecret, signedPrekey),
    primitives.dh(baseSecret, keys.identityKeyB),
    primitives.dh(baseSecret, signedPrekey),
    ...(oneTimeKey === undefined ? [] : [primitives.dh(baseSecret, oneTimeKey)]),
  ]
  return combine(primitives, shares, keys.kemSecret, transcriptHash)
}

/** Agrees on SK as B; undefined for a weak or malformed public key of A. */
export function agreeAsResponder(
  primitives: Primitives,
  keys: ResponderKeys,
  transcriptHash: Bytes,
): Bytes | undefined {
  const { signedPrekeySecret, oneTimeSecret, baseKey } = keys
  const shares = [
    primitives.dh(signedPrekeySecret, keys.identityKeyA),
    primitives.dh(keys.identitySecret, baseKey),
    primitives.dh(signedPrekeySecret, baseKey),
    ...(oneTimeSecret === undefined ? [] : [primitives.dh(oneTimeSecret, baseKey)]),
  ]
  return combine(primitives, shares, keys.kemSecret, transcriptHash)
}

function combine(
  primitives: Primitives,
  shares: readonly (Bytes | undefined)[],
  kemSecret: Bytes,
  transcriptHash: Bytes,
): Bytes | undefined {
  const known = shares.filter((share) => share !== undefined)
  if (known.length !== shares.length) {
    wipe(...known)
    return undefined
  }
  const ikm = concat(ONES, ...known, kemSecret)
  const secret = primitives.hkdfSha256(ZEROS, ikm, concat(PQXDH_INFO, transcriptHash), 32)
  wipe(ikm, ...known)
  return secret
}

/** Splits SK into the session's first keys, and wipes it. */
export function deriveSessionKeys(primitives: Primitives, secret: Bytes): SessionKeys {
  const keys = primitives.hkdfSha256(ZEROS, secret, SESSION_INFO, 128)
  wipe(secret)
  const split = {
    rootKey: keys.slice(0, 32),
    headerA: keys.slice(32, 64),
    headerB: keys.slice(64, 96),
    pqRoot: keys.slice(96, 128),
  }
  wipe(keys)
  return split
}
