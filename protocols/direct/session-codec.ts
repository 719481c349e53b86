// Saved form of one session and of one skipped key: a version octet, then a fixed order (spec.md §4.1.6).
// Floor 0, pure. An unknown version is an error, never a guess: state read wrongly reuses keys.
import { concat, makeReader, u32, u64, u8 } from '../base/bytes.ts'
import type { Bytes, Reader } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { toTimeMs } from '../base/time.ts'
import { PREAMBLE_BYTES } from './envelope.ts'
import type { RatchetState } from './ratchet.ts'
import { encodeScka, readScka } from './scka-codec.ts'
import { sessionIdFromTranscript } from './session.ts'
import type { Session } from './session.ts'
import type { SkippedKey } from './skipped.ts'
import { SUITE } from './types.ts'
import type { PrekeyTuple } from './types.ts'

/** Version of every saved structure here. */
export const STATE_VERSION = 2

const ROLES = ['initiator', 'responder'] as const
const STATES = ['initiating', 'established', 'superseded', 'restored'] as const
const KEY_BYTES = 32

/** Which optional parts a saved session has. */
const FLAGS = {
  degraded: 1,
  closesAt: 2,
  preamble: 4,
  tuple: 8,
  secret: 16,
  theirs: 32,
  sending: 64,
  receiving: 128,
} as const

/** Encodes a session without its skipped keys, which are rows of their own. */
export function encodeSession(session: Session): Bytes {
  const { closesAt, preamble, tuple, ratchet } = session
  const { secret, theirs, sending, receiving } = ratchet
  const flags =
    (session.degraded ? FLAGS.degraded : 0) |
    (closesAt === undefined ? 0 : FLAGS.closesAt) |
    (preamble === undefined ? 0 : FLAGS.preamble) |
    (tuple === undefined ? 0 : FLAGS.tuple) |
    (secret === undefined ? 0 : FLAGS.secret) |
    (theirs === undefined ? 0 : FLAGS.theirs) |
    (sending === undefined ? 0 : FLAGS.sending) |
    (receiving === undefined ? 0 : FLAGS.receiving)
  return concat(
    Uint8Array.of(STATE_VERSION, session.suite, ROLES.indexOf(session.role)),
    Uint8Array.of(STATES.indexOf(session.state), flags),
    u32(session.ordinal),
    session.transcript,
    ...(closesAt === undefined ? [] : [u64(closesAt)]),
    ...(preamble === undefined ? [] : [preamble]),
    ...(tuple === undefined ? [] : [u32(tuple.signedPrekeyId), u32(tuple.kemPrekeyId)]),
    ...(tuple === undefined ? [] : [tuple.baseKey]),
    ratchet.rootKey,
    ...(secret === undefined ? [] : [secret]),
    ...(theirs === undefined ? [] : [theirs]),
    ...(sending === undefined ? [] : [sending.ratchetKey, sending.chainKey]),
    ...(sending === undefined ? [] : [sending.headerKey, u32(sending.count)]),
    u32(ratchet.previousCount),
    u32(ratchet.sendingChains),
    ...(receiving === undefined ? [] : [receiving.chainKey, receiving.finder]),
    ...(receiving === undefined ? [] : [u32(receiving.count)]),
    ratchet.nextSendingHeader,
    ratchet.nextReceivingHeader,
    u64(ratchet.skippedNext),
    encodeScka(session.scka),
  )
}

/**
 * Decodes a saved session; its skipped keys are added by the caller.
 *
 * @returns `ok: false` with `CODEC_UNKNOWN_VERSION`, `CODEC_UNKNOWN_SUITE` or `CODEC_MALFORMED`.
 */
export function decodeSession(bytes: Bytes): Decoded<Session> {
  const reader = makeReader(bytes)
  if (reader.u8() !== STATE_VERSION) return refused('CODEC_UNKNOWN_VERSION')
  if (reader.u8() !== SUITE) return refused('CODEC_UNKNOWN_SUITE')
  const role = ROLES[reader.u8()]
  const state = STATES[reader.u8()]
  const flags = reader.u8()
  const has = (flag: keyof typeof FLAGS): boolean => (flags & FLAGS[flag]) !== 0
  const ordinal = reader.u32()
  const transcript = reader.take(KEY_BYTES)
  const closesAt = has('closesAt') ? { closesAt: toTimeMs(reader.u64()) } : {}
  const preamble = has('preamble') ? { preamble: reader.take(PREAMBLE_BYTES) } : {}
  const tuple = has('tuple') ? { tuple: readTuple(reader) } : {}
  const ratchet = readRatchet(reader, has)
  if (role === undefined || state === undefined) return refused('CODEC_MALFORMED')
  const scka = readScka(reader, role)
  if (!scka.ok) return scka
  if (!reader.done) return refused('CODEC_MALFORMED')
  return decoded({
    id: sessionIdFromTranscript(transcript),
    suite: SUITE,
    role,
    state,
    transcript,
    ordinal,
    ...closesAt,
    degraded: has('degraded'),
    ...preamble,
    ...tuple,
    ratchet,
    scka: scka.value,
  })
}

function readTuple(reader: Reader): PrekeyTuple {
  return {
    signedPrekeyId: reader.u32(),
    kemPrekeyId: reader.u32(),
    baseKey: reader.take(KEY_BYTES),
  }
}

// Fields are read in the order in which `encodeSession` writes them: a literal evaluates top to bottom.
function readRatchet(reader: Reader, has: (flag: keyof typeof FLAGS) => boolean): RatchetState {
  const key = (): Bytes => reader.take(KEY_BYTES)
  return {
    rootKey: key(),
    ...(has('secret') && { secret: key() }),
    ...(has('theirs') && { theirs: key() }),
    ...(has('sending') && {
      sending: { ratchetKey: key(), chainKey: key(), headerKey: key(), count: reader.u32() },
    }),
    previousCount: reader.u32(),
    sendingChains: reader.u32(),
    ...(has('receiving') && {
      receiving: { chainKey: key(), finder: key(), count: reader.u32() },
    }),
    nextSendingHeader: key(),
    nextReceivingHeader: key(),
    skipped: [],
    skippedNext: reader.u64(),
  }
}

/** Encodes one skipped key with what finds its chain. */
export function encodeSkipped(finder: Bytes, key: SkippedKey): Bytes {
  const { index, count, storedAt, messageKey, pqKey } = key
  const head = concat(u8(STATE_VERSION), u64(index), u32(count), u64(storedAt))
  return concat(head, finder, messageKey, pqKey)
}

/**
 * Decodes one skipped key.
 *
 * @returns `ok: false` with `CODEC_UNKNOWN_VERSION` or `CODEC_MALFORMED`.
 */
export function decodeSkipped(
  bytes: Bytes,
): Decoded<{ readonly finder: Bytes; readonly key: SkippedKey }> {
  const reader = makeReader(bytes)
  if (reader.u8() !== STATE_VERSION) return refused('CODEC_UNKNOWN_VERSION')
  const index = reader.u64()
  const count = reader.u32()
  const storedAt = toTimeMs(reader.u64())
  const finder = reader.take(KEY_BYTES)
  const messageKey = reader.take(KEY_BYTES)
  const pqKey = reader.take(KEY_BYTES)
  if (!reader.done) return refused('CODEC_MALFORMED')
  return decoded({ finder, key: { index, count, messageKey, pqKey, storedAt } })
}
