// Sessions of one peer: initiate, seal, open (spec.md §4.1). Floor 0, pure: draws and time are arguments.
import { equalBytes } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { invariant } from '../base/errors.ts'
import type { Primitives } from '../base/primitives.ts'
import type { TimeMs } from '../base/time.ts'
import { cutEnvelope, decodePreamble, envelopeIdOf } from './envelope.ts'
import type { EnvelopeParts } from './envelope.ts'
import { makeEnvelopeSeal, SEAL_DRAW_BYTES } from './envelope-seal.ts'
import type { EnvelopeSeal, OpenedEnvelope } from './envelope-seal.ts'
import { makeHandshakes } from './handshake.ts'
import type { Accepted, Handshakes, VerifyCertificate } from './handshake.ts'
import { activeSession, confirmSession, placeInitiated, placeOpened } from './session.ts'
import type { OpenedFacts, Session, Sessions } from './session.ts'
import { CHAIN_MESSAGES_MAX, MESSAGE_BYTES_MAX, SKIP_PER_CHAIN_MAX } from './types.ts'
import type {
  Body,
  EnvelopeId,
  Fetched,
  InitiateDraws,
  OwnKeys,
  PrekeyLookup,
  PrekeyTuple,
  SessionId,
} from './types.ts'

/** Where a sealed message stands: what `needsBundle` compares with the skip limit. */
export interface SealedAt {
  readonly session: SessionId
  /** Which of the session's sending chains, from 1. */
  readonly chain: number
  readonly count: number
}

/** A new session of ours. */
export interface Initiated {
  readonly sessions: Sessions
  /** No one-time prekey took part: weaker forward secrecy until the first reply. */
  readonly degraded: boolean
  /** The peer's identity key is another one than before: tell the agent. */
  readonly identityChanged: boolean
}

/** A sealed envelope; save `sessions` before the first byte leaves. */
export interface Sealed {
  readonly sessions: Sessions
  readonly envelope: Bytes
  readonly envelopeId: EnvelopeId
  readonly at: SealedAt
  /** As of `Initiated`. */
  readonly degraded: boolean
}

/** An opened envelope; save `sessions` and what `consumed` names in one batch. */
export interface Opened {
  readonly sessions: Sessions
  readonly body: Body
  /** The session that opened it, which holds no key of this envelope any more. */
  readonly session: Session
  /** Exactly when the envelope made a new session. */
  readonly consumed?: Consumed
  readonly identityChanged: boolean
}

/** What a new session used up. */
export interface Consumed {
  /** Record it, so that a repeat makes no second session. */
  readonly tuple: PrekeyTuple
  /** Delete this one-time private key in the same batch. */
  readonly oneTimeId?: number
}

/** Facts for `needsBundle`. */
export interface BundleQuestion {
  readonly nowMs: TimeMs
  /**
   * Where outstanding envelopes were sealed: messages not delivered, and receipt-only envelopes neither
   * accepted nor stored. Those of other sessions and chains do no harm.
   */
  readonly outstanding?: Iterable<SealedAt>
}

/** What can be done with sessions; everything answers new values and changes no argument. */
export interface SessionOperations {
  /**
   * True if sending needs a new session: there is none to send on, a chain is at its end, or the oldest
   * outstanding envelope lies so far back that the peer could meet its skip limit.
   */
  needsBundle(sessions: Sessions, question: BundleQuestion): boolean
  /** Draws what `initiate` needs: run it outside the machine and put the result into the event. */
  drawInitiation(fetched: Fetched, random: (length: number) => Bytes): Decoded<InitiateDraws>
  /**
   * Verifies a fetched bundle and opens a new, active session on it.
   *
   * @returns `ok: false` with a `CODEC_…` or `VERIFY_…` code, or `DIRECT_BUNDLE_OLD`.
   */
  initiate(
    own: OwnKeys,
    sessions: Sessions,
    fetched: Fetched,
    draws: InitiateDraws,
    nowMs: TimeMs,
  ): Decoded<Initiated>
  /**
   * Seals a body on the active session; an offer of the post-quantum ratchet is added where one is under way.
   *
   * @param draws - SEAL_DRAW_BYTES random bytes, never used before.
   * @returns `ok: false` with `DIRECT_SESSION_UNKNOWN` or `DIRECT_CHAIN_EXHAUSTED` if a bundle is needed,
   *   `USAGE_MESSAGE_TOO_LARGE` if the body does not fit an envelope.
   * @throws ConclaveError `BUG_INVARIANT` for a body beyond its limits.
   */
  seal(own: OwnKeys, sessions: Sessions, body: Body, draws: Bytes, nowMs: TimeMs): Decoded<Sealed>
  /**
   * Opens an envelope whose route names this peer. Nothing of the next state escapes before both header
   * and body verify.
   *
   * @returns `ok: false` with a `CODEC_…` or `VERIFY_…` code, `DIRECT_SESSION_UNKNOWN` (no session or
   *   prekey of ours fits: a reset may help), `PREKEYS_CONSUMED` (its one-time prekey is gone),
   *   `DIRECT_KEY_CONSUMED`, `DIRECT_OPEN_FAILED`, `DIRECT_SKIP_LIMIT` or `DIRECT_EPOCH_UNKNOWN`.
   */
  open(
    own: OwnKeys,
    sessions: Sessions,
    prekeys: PrekeyLookup,
    envelope: Bytes,
    nowMs: TimeMs,
  ): Decoded<Opened>
}

/** Makes the operations over given primitives. */
export function makeSessions(
  primitives: Primitives,
  verifyCertificate: VerifyCertificate,
): SessionOperations {
  const sealing = makeEnvelopeSeal(primitives)
  const handshakes = makeHandshakes(primitives, verifyCertificate)
  return {
    needsBundle,
    drawInitiation: (fetched, random) => handshakes.drawInitiation(fetched, random),
    initiate(own, sessions, fetched, draws, nowMs) {
      const made = handshakes.initiate(own, sessions, fetched, draws, nowMs)
      if (!made.ok) return made
      const { session, pinned, identityChanged } = made.value
      const next = placeInitiated({ ...sessions, pinned }, session, nowMs)
      return decoded({ sessions: next, degraded: session.degraded, identityChanged })
    },
    seal(own, sessions, body, draws, nowMs) {
      invariant(draws.length === SEAL_DRAW_BYTES, 'sealing draws have their length')
      const active = activeSession(sessions)
      if (active === undefined) return refused('DIRECT_SESSION_UNKNOWN')
      if (contentBytes(body) > MESSAGE_BYTES_MAX) return refused('USAGE_MESSAGE_TOO_LARGE')
      const sealed = sealing.seal(active, own.peerBytes, body, { draws, nowMs })
      if (!sealed.ok) return sealed
      const { session, envelope, count } = sealed.value
      return decoded({
        sessions: { ...sessions, list: sessions.list.with(0, session) },
        envelope,
        envelopeId: envelopeIdOf(primitives, envelope),
        at: { session: session.id, chain: session.ratchet.sendingChains, count },
        degraded: session.degraded,
      })
    },
    open(own, sessions, prekeys, envelope, nowMs) {
      const parts = cutEnvelope(envelope)
      if (!parts.ok) return parts
      if (!equalBytes(parts.value.sender, sessions.peerBytes)) {
        return refused('VERIFY_IDENTITY_MISMATCH')
      }
      if (parts.value.preamble === undefined) {
        return openRatchet(sealing, sessions, parts.value, nowMs)
      }
      const context = { own, sessions, prekeys, nowMs }
      return openInitial(sealing, handshakes, context, parts.value, parts.value.preamble)
    },
  }
}

function needsBundle(sessions: Sessions, question: BundleQuestion): boolean {
  const active = activeSession(sessions)
  if (active === undefined) return true
  if (active.closesAt !== undefined && active.closesAt <= question.nowMs) return true
  if (active.scka.sending.count >= CHAIN_MESSAGES_MAX) return true
  const { sending, sendingChains } = active.ratchet
  if (sending === undefined) return false
  if (sending.count >= CHAIN_MESSAGES_MAX) return true
  for (const { session, chain, count } of question.outstanding ?? []) {
    if (session !== active.id || chain !== sendingChains) continue
    if (sending.count - count >= SKIP_PER_CHAIN_MAX) return true
  }
  return false
}

function contentBytes(body: Body): number {
  return (body.message ?? body.handoff)?.content.length ?? 0
}

interface OpenContext {
  readonly own: OwnKeys
  readonly sessions: Sessions
  readonly prekeys: PrekeyLookup
  readonly nowMs: TimeMs
}

function openRatchet(
  sealing: EnvelopeSeal,
  sessions: Sessions,
  parts: EnvelopeParts,
  nowMs: TimeMs,
): Decoded<Opened> {
  for (const session of sessions.list) {
    const opened = sealing.open(session, parts, nowMs)
    if (opened !== undefined)
      return opened.ok
        ? settle(sessions, session, opened.value, factsOf(opened.value, false, nowMs))
        : opened
  }
  return refused('DIRECT_SESSION_UNKNOWN')
}

/** An initial envelope belongs to the session that its preamble made, or makes one. */
function openInitial(
  sealing: EnvelopeSeal,
  handshakes: Handshakes,
  context: OpenContext,
  parts: EnvelopeParts,
  preambleBytes: Bytes,
): Decoded<Opened> {
  const { own, sessions, prekeys, nowMs } = context
  const preamble = decodePreamble(preambleBytes)
  if (!preamble.ok) return preamble
  const known = sessions.list.find(({ tuple }) => isSameTuple(tuple, preamble.value))
  if (known !== undefined) {
    const opened = sealing.open(known, parts, nowMs)
    if (opened === undefined) return refused('DIRECT_OPEN_FAILED')
    return opened.ok
      ? settle(sessions, known, opened.value, factsOf(opened.value, true, nowMs))
      : opened
  }
  const accepted = handshakes.accept(own, sessions, prekeys, preamble.value)
  if (!accepted.ok) return accepted
  const opened = sealing.open(accepted.value.session, parts, nowMs)
  if (opened === undefined) return refused('DIRECT_OPEN_FAILED')
  return opened.ok
    ? settleNew(sessions, accepted.value, opened.value, factsOf(opened.value, true, nowMs))
    : opened
}

function isSameTuple(a: PrekeyTuple | undefined, b: PrekeyTuple): boolean {
  if (a?.signedPrekeyId !== b.signedPrekeyId || a.kemPrekeyId !== b.kemPrekeyId) return false
  return equalBytes(a.baseKey, b.baseKey)
}

function settle(
  sessions: Sessions,
  before: Session,
  opened: OpenedEnvelope,
  facts: OpenedFacts,
): Decoded<Opened> {
  // A step of the peer's after the first one has healed what a missing one-time prekey left open.
  const stepped = opened.session.ratchet.theirs !== before.ratchet.theirs
  const session = confirmSession(opened.session, before.degraded && !stepped)
  const next = placeOpened(sessions, session, facts)
  return decoded({ sessions: next, body: opened.body, session, identityChanged: false })
}

function settleNew(
  sessions: Sessions,
  accepted: Accepted,
  opened: OpenedEnvelope,
  facts: OpenedFacts,
): Decoded<Opened> {
  const { pinned, identityChanged, consumed } = accepted
  const { session, body } = opened
  const next = placeOpened({ ...sessions, pinned }, session, facts)
  return decoded({ sessions: next, body, session, consumed, identityChanged })
}

function factsOf({ body }: OpenedEnvelope, isInitial: boolean, nowMs: TimeMs): OpenedFacts {
  return { isInitial, isReset: body.controls.some(({ kind }) => kind === 'reset'), nowMs }
}
