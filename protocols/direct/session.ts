// A peer's sessions as data, and the rules that pick the active one (spec.md §4). Floor 0, pure.
import { compareBytes, equalBytes, formatHex } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { peerIdToBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import type { RatchetState } from './ratchet.ts'
import type { SckaState } from './scka.ts'
import { expireSkipped } from './skipped.ts'
import { SESSIONS_PER_PEER_MAX, SUPERSEDED_MS } from './types.ts'
import type { OwnKeys, PrekeyTuple, SessionId, SUITE } from './types.ts'

/** One session. Plain data: secrets are in `ratchet` and `scka`. */
export interface Session {
  /** The transcript in hexadecimal: the session's name. */
  readonly id: SessionId
  readonly suite: typeof SUITE
  readonly role: 'initiator' | 'responder'
  /**
   * `initiating`: nothing received on it yet. `superseded`: opens, and then sends again. `restored`: opens,
   * but never sends again.
   */
  readonly state: 'initiating' | 'established' | 'superseded' | 'restored'
  /** T, 32 bytes: names the session and is part of every associated data. */
  readonly transcript: Bytes
  /** Counts up over the sessions with this peer: which of two is newer here. */
  readonly ordinal: number
  /** When it closes: bundle expiry while initiating, SUPERSEDED_MS once superseded. */
  readonly closesAt?: TimeMs
  /** True if no one-time prekey took part: weaker forward secrecy until the first reply. */
  readonly degraded: boolean
  /** 1,756 bytes, repeated in every envelope until the first reply. */
  readonly preamble?: Bytes
  /** Of a responder: finds the session of a repeated initial envelope. */
  readonly tuple?: PrekeyTuple
  readonly ratchet: RatchetState
  readonly scka: SckaState
}

/** What is remembered of a peer's identity, so that no older one is accepted again. */
export interface PinnedIdentity {
  readonly identityKey: Bytes
  readonly identitySeq: number
  /** 0 if no bundle was seen. */
  readonly bundleSeq: number
}

/** All sessions with one peer. Immutable: every operation answers a new value. */
export interface Sessions {
  readonly peer: PeerId
  readonly peerBytes: Bytes
  /** At most SESSIONS_PER_PEER_MAX; the first is active, the rest newest use first. */
  readonly list: readonly Session[]
  readonly pinned?: PinnedIdentity
  /** Ordinal of the next session. */
  readonly nextOrdinal: number
}

/** No sessions with a peer yet. */
export function noSessions(peer: PeerId): Sessions {
  return { peer, peerBytes: peerIdToBytes(peer), list: [], nextOrdinal: 1 }
}

/** Gathers this agent's keys and the parts derived from them once. */
export function makeOwnKeys(
  primitives: Primitives,
  keys: Pick<OwnKeys, 'peer' | 'identitySecret' | 'certificate'>,
): OwnKeys {
  return {
    peer: keys.peer,
    peerBytes: peerIdToBytes(keys.peer),
    identitySecret: keys.identitySecret,
    identityKey: primitives.dhPublic(keys.identitySecret),
    certificate: keys.certificate,
  }
}

/** Reads a session's name from its transcript T. */
export function sessionIdFromTranscript(transcript: Bytes): SessionId {
  return formatHex(transcript) as SessionId
}

/** A session that has opened an envelope: established unless restored, and without the preamble to repeat. */
export function confirmSession(session: Session, degraded: boolean): Session {
  const { id, suite, role, transcript, ordinal, tuple, ratchet, scka } = session
  if (session.state === 'restored') return { ...session, degraded }
  const isAsIs = session.preamble === undefined && session.closesAt === undefined
  if (isAsIs && session.state === 'established' && session.degraded === degraded) return session
  const made = tuple === undefined ? {} : { tuple }
  return {
    id,
    suite,
    role,
    state: 'established',
    transcript,
    ordinal,
    degraded,
    ...made,
    ratchet,
    scka,
  }
}

/** Puts a new session of ours in front; what sent before only opens from now on. */
export function placeInitiated(sessions: Sessions, session: Session, nowMs: TimeMs): Sessions {
  const others = sessions.list.map((one) => supersede(one, nowMs))
  return withList({ ...sessions, nextOrdinal: session.ordinal + 1 }, [session, ...others])
}

/** What an opened envelope says about the peer's view of its session. */
export interface OpenedFacts {
  /** It repeats the preamble: the peer has received nothing on this session. */
  readonly isInitial: boolean
  /** It carries a reset: the peer cannot open what we initiated. */
  readonly isReset: boolean
  readonly nowMs: TimeMs
}

/** Puts a session that has just opened an envelope in front, unless an unconfirmed one of ours comes first. */
export function placeOpened(sessions: Sessions, session: Session, facts: OpenedFacts): Sessions {
  if (session.state === 'restored') {
    const list = sessions.list.map((one) => (one.id === session.id ? session : one))
    return { ...sessions, list }
  }
  const others = sessions.list.filter((one) => one.id !== session.id)
  const rival = others.find((one) => goesFirst(one, session, facts))
  const known = { ...sessions, nextOrdinal: Math.max(sessions.nextOrdinal, session.ordinal + 1) }
  if (rival !== undefined) {
    return withList(known, [rival, session, ...others.filter((one) => one !== rival)])
  }
  // One of ours that lost is no rival of later sessions, but opens replies that are under way.
  return withList(known, [session, ...others.map((one) => supersede(one, facts.nowMs))])
}

/**
 * Whether an unconfirmed session of ours stays active although another one opened an envelope. If the peer's is
 * unconfirmed, too, both sides compare the same two transcripts, and the lower one wins on both. If the peer
 * has confirmed the other one, we left it on purpose, should ours be newer.
 */
function goesFirst(ours: Session, opened: Session, { isInitial, isReset }: OpenedFacts): boolean {
  if (ours.state !== 'initiating' || isReset) return false
  if (isInitial) return compareBytes(ours.transcript, opened.transcript) < 0
  return ours.ordinal > opened.ordinal
}

function supersede(session: Session, nowMs: TimeMs): Session {
  if (session.state === 'superseded' || session.state === 'restored') return session
  return { ...session, state: 'superseded', closesAt: toTimeMs(nowMs + SUPERSEDED_MS) }
}

function withList(sessions: Sessions, list: readonly Session[]): Sessions {
  return { ...sessions, list: list.slice(0, SESSIONS_PER_PEER_MAX) }
}

/** Closes sessions and forgets skipped keys whose time is over; the same object if there are none. */
export function pruneSessions(sessions: Sessions, nowMs: TimeMs): Sessions {
  const list = sessions.list
    .filter(({ closesAt }) => closesAt === undefined || closesAt > nowMs)
    .map((session) => {
      const skipped = expireSkipped(session.ratchet.skipped, nowMs)
      if (skipped === session.ratchet.skipped) return session
      return { ...session, ratchet: { ...session.ratchet, skipped } }
    })
  const isSame =
    list.length === sessions.list.length && list.every((one, i) => one === sessions.list[i])
  return isSame ? sessions : { ...sessions, list }
}

/**
 * Forbids sending on every session, for good: after a restored backup a chain key may have been used already,
 * and what a peer sends on an old session says nothing about that.
 */
export function receiveOnly(sessions: Sessions, nowMs: TimeMs): Sessions {
  const closesAt = toTimeMs(nowMs + SUPERSEDED_MS)
  const list = sessions.list.map((session) => ({
    ...session,
    state: 'restored' as const,
    closesAt,
  }))
  return { ...sessions, list }
}

/** The session to send on, if there is one. */
export function activeSession(sessions: Sessions): Session | undefined {
  const first = sessions.list[0]
  return first?.state === 'initiating' || first?.state === 'established' ? first : undefined
}

/**
 * Compares an identity with the pinned one.
 *
 * @returns The pin to keep, and whether the key is another one than before; `VERIFY_IDENTITY_MISMATCH`
 *   for another key without a higher sequence.
 */
export function pinIdentity(
  pinned: PinnedIdentity | undefined,
  identity: {
    readonly identityKey: Bytes
    readonly identitySeq: number
    readonly bundleSeq?: number
  },
): Decoded<{ readonly pinned: PinnedIdentity; readonly changed: boolean }> {
  const { identityKey, identitySeq } = identity
  const bundleSeq = Math.max(pinned?.bundleSeq ?? 0, identity.bundleSeq ?? 0)
  const changed = pinned !== undefined && !equalBytes(pinned.identityKey, identityKey)
  if (changed && identitySeq <= pinned.identitySeq) return refused('VERIFY_IDENTITY_MISMATCH')
  const newest = Math.max(pinned?.identitySeq ?? 0, identitySeq)
  return decoded({ pinned: { identityKey, identitySeq: newest, bundleSeq }, changed })
}
