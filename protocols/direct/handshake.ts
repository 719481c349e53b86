// New sessions: from a fetched bundle as initiator, from a preamble as responder (spec.md §4.1.1). Floor 0, pure.
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import type { TimeMs } from '../base/time.ts'
import type { IdentityCertificate } from '../identity/types.ts'
import { encodePreamble } from './envelope.ts'
import type { Preamble } from './envelope.ts'
import { decodeBundle, decodeEntry, verifyBundle, verifyEntry } from './prekey-bundle.ts'
import { agreeAsInitiator, agreeAsResponder, deriveSessionKeys, hashTranscript } from './pqxdh.ts'
import { startInitiator, startResponder } from './ratchet.ts'
import { makeScka } from './scka.ts'
import { pinIdentity, sessionIdFromTranscript } from './session.ts'
import type { PinnedIdentity, Session, Sessions } from './session.ts'
import { CAPABILITIES, SUITE } from './types.ts'
import type {
  Bundle,
  Fetched,
  InitiateDraws,
  OneTimeEntry,
  OwnKeys,
  PrekeyLookup,
  PrekeyTuple,
} from './types.ts'

/** Checks an identity certificate (128 bytes) for a peer: signature, layout, reserved zeros. */
export type VerifyCertificate = (peer: PeerId, certificate: Bytes) => Decoded<IdentityCertificate>

/** A session that is not in the list yet. */
export interface NewSession {
  readonly session: Session
  readonly pinned: PinnedIdentity
  readonly identityChanged: boolean
}

/** A session made from a peer's preamble; it counts only once the envelope opens. */
export interface Accepted extends NewSession {
  readonly consumed: { readonly tuple: PrekeyTuple; readonly oneTimeId?: number }
}

/** Both sides of the handshake over given primitives. */
export interface Handshakes {
  /** Chooses the KEM key of what was fetched and encapsulates to it; verifies nothing. */
  drawInitiation(fetched: Fetched, random: (length: number) => Bytes): Decoded<InitiateDraws>
  /** The initiator's side: verifies bundle and entry. */
  initiate(
    own: OwnKeys,
    sessions: Sessions,
    fetched: Fetched,
    draws: InitiateDraws,
    nowMs: TimeMs,
  ): Decoded<NewSession>
  /** The responder's side: verifies the certificate, and finds the prekeys. */
  accept(
    own: OwnKeys,
    sessions: Sessions,
    prekeys: PrekeyLookup,
    preamble: Preamble,
  ): Decoded<Accepted>
}

interface Found {
  readonly bundle: { readonly hash: Bytes; readonly capabilities: number }
  readonly signedSecret: Bytes
  readonly kemSeed: Bytes
  readonly oneTime?: { readonly ecSecret: Bytes; readonly hash: Bytes }
}

/** Makes both sides of the handshake. */
export function makeHandshakes(
  primitives: Primitives,
  verifyCertificate: VerifyCertificate,
): Handshakes {
  return {
    drawInitiation: (fetched, random) => drawInitiation(primitives, fetched, random),
    initiate: (own, sessions, fetched, draws, nowMs) =>
      initiate(primitives, { own, sessions, fetched, draws }, nowMs),
    accept(own, sessions, prekeys, preamble) {
      const found = findPrekeys(prekeys, preamble)
      if (!found.ok) return found
      const certificate = verifyCertificate(sessions.peer, preamble.certificate)
      if (!certificate.ok) return certificate
      const pin = pinIdentity(sessions.pinned, certificate.value)
      if (!pin.ok) return pin
      const session = respond(
        primitives,
        { own, sessions, preamble, found: found.value },
        certificate.value,
      )
      if (!session.ok) return session
      const { signedPrekeyId, kemPrekeyId, baseKey, oneTimePrekeyId } = preamble
      return decoded({
        session: session.value,
        pinned: pin.value.pinned,
        identityChanged: pin.value.changed,
        consumed: {
          tuple: { signedPrekeyId, kemPrekeyId, baseKey },
          ...(oneTimePrekeyId !== 0 && { oneTimeId: oneTimePrekeyId }),
        },
      })
    },
  }
}

interface Initiation {
  readonly own: OwnKeys
  readonly sessions: Sessions
  readonly fetched: Fetched
  readonly draws: InitiateDraws
}

function initiate(
  primitives: Primitives,
  { own, sessions, fetched, draws }: Initiation,
  nowMs: TimeMs,
): Decoded<NewSession> {
  const verified = verifyFetched(primitives, sessions, fetched, nowMs)
  if (!verified.ok) return verified
  const { bundle, entry } = verified.value
  const pin = pinIdentity(sessions.pinned, bundle)
  if (!pin.ok) return pin
  const preamble = makePreamble(primitives, own, bundle, entry, draws)
  const transcript = hashTranscript(primitives, {
    ...preamble,
    capabilitiesA: CAPABILITIES,
    capabilitiesB: bundle.capabilities,
    peerA: own.peerBytes,
    peerB: sessions.peerBytes,
    identityKeyA: own.identityKey,
    identityKeyB: bundle.identityKey,
    certificateA: own.certificate,
    bundleHash: primitives.sha256(fetched.bundle),
    ...(fetched.entry !== undefined && { entryHash: primitives.sha256(fetched.entry) }),
  })
  const secret = agreeAsInitiator(
    primitives,
    {
      identitySecret: own.identitySecret,
      baseSecret: draws.baseSecret,
      identityKeyB: bundle.identityKey,
      signedPrekey: bundle.signedPrekey,
      ...(entry !== undefined && { oneTimeKey: entry.ecKey }),
      kemSecret: draws.encapsulation.secret,
    },
    transcript,
  )
  if (secret === undefined) return refused('VERIFY_KEY_INVALID')
  const { rootKey, headerA, headerB, pqRoot } = deriveSessionKeys(primitives, secret)
  const session: Session = {
    ...newSession(transcript, sessions, entry === undefined),
    role: 'initiator',
    state: 'initiating',
    closesAt: bundle.expiresAt,
    preamble: encodePreamble(preamble),
    ratchet: startInitiator(rootKey, { sending: headerA, receiving: headerB }, bundle.signedPrekey),
    scka: makeScka(primitives).start('initiator', pqRoot),
  }
  return decoded({ session, pinned: pin.value.pinned, identityChanged: pin.value.changed })
}

function drawInitiation(
  primitives: Primitives,
  fetched: Fetched,
  random: (length: number) => Bytes,
): Decoded<InitiateDraws> {
  const bundle = decodeBundle(fetched.bundle)
  if (!bundle.ok) return bundle
  const entry = fetched.entry === undefined ? undefined : decodeEntry(fetched.entry)
  if (entry?.ok === false) return entry
  const key = entry?.value.kemKey ?? bundle.value.lastResortKemKey
  const encapsulation = primitives.encapsulate(1024, key, random(32))
  if (encapsulation === undefined) return refused('VERIFY_KEY_INVALID')
  return decoded({ baseSecret: random(32), encapsulation })
}

function verifyFetched(
  primitives: Primitives,
  { peer, pinned }: Sessions,
  fetched: Fetched,
  nowMs: TimeMs,
): Decoded<{ readonly bundle: Bundle; readonly entry: OneTimeEntry | undefined }> {
  const bundle = verifyBundle(primitives, peer, fetched.bundle, nowMs)
  if (!bundle.ok) return bundle
  // An older bundle would revive keys that the peer has replaced, perhaps because they leaked.
  if (bundle.value.bundleSeq < (pinned?.bundleSeq ?? 0)) return refused('DIRECT_BUNDLE_OLD')
  if (fetched.entry === undefined) return decoded({ bundle: bundle.value, entry: undefined })
  const entry = verifyEntry(primitives, peer, fetched.entry, fetched.from, nowMs)
  return entry.ok ? decoded({ bundle: bundle.value, entry: entry.value }) : entry
}

function makePreamble(
  primitives: Primitives,
  own: OwnKeys,
  bundle: Bundle,
  entry: OneTimeEntry | undefined,
  draws: InitiateDraws,
): Preamble {
  return {
    capabilities: CAPABILITIES,
    bundleSeq: bundle.bundleSeq,
    signedPrekeyId: bundle.signedPrekeyId,
    kemPrekeyId: entry?.kind === 'pair' ? entry.id : bundle.lastResortKemId,
    oneTimePrekeyId: entry?.id ?? 0,
    baseKey: primitives.dhPublic(draws.baseSecret),
    kemCiphertext: draws.encapsulation.ciphertext,
    certificate: own.certificate,
  }
}

/** Finds our side of a preamble; nothing is deleted before the envelope opens. */
function findPrekeys(prekeys: PrekeyLookup, preamble: Preamble): Decoded<Found> {
  // The session that this preamble made is gone; a second one would open the same messages again.
  if (prekeys.isUsed(preamble)) return refused('DIRECT_KEY_CONSUMED')
  const bundle = prekeys.bundle(preamble.bundleSeq)
  const signedSecret = prekeys.signed(preamble.signedPrekeyId)
  if (bundle === undefined || signedSecret === undefined) return refused('DIRECT_SESSION_UNKNOWN')
  const { oneTimePrekeyId, kemPrekeyId } = preamble
  const oneTime = oneTimePrekeyId === 0 ? undefined : prekeys.oneTime(oneTimePrekeyId)
  if (oneTime === undefined && oneTimePrekeyId !== 0) return refused('PREKEYS_CONSUMED')
  const isPair = oneTime !== undefined && kemPrekeyId === oneTimePrekeyId
  const kemSeed = isPair ? oneTime.kemSeed : prekeys.lastResort(kemPrekeyId)
  if (kemSeed === undefined) return refused('DIRECT_SESSION_UNKNOWN')
  return decoded({ bundle, signedSecret, kemSeed, ...(oneTime !== undefined && { oneTime }) })
}

interface Acceptance {
  readonly own: OwnKeys
  readonly sessions: Sessions
  readonly preamble: Preamble
  readonly found: Found
}

function respond(
  primitives: Primitives,
  { own, sessions, preamble, found }: Acceptance,
  { identityKey }: IdentityCertificate,
): Decoded<Session> {
  const { bundle, signedSecret, kemSeed, oneTime } = found
  const transcript = hashTranscript(primitives, {
    ...preamble,
    capabilitiesA: preamble.capabilities,
    capabilitiesB: bundle.capabilities,
    peerA: sessions.peerBytes,
    peerB: own.peerBytes,
    identityKeyA: identityKey,
    identityKeyB: own.identityKey,
    certificateA: preamble.certificate,
    bundleHash: bundle.hash,
    ...(oneTime !== undefined && { entryHash: oneTime.hash }),
  })
  const kemSecret = primitives.decapsulate(1024, kemSeed, preamble.kemCiphertext)
  if (kemSecret === undefined) return refused('VERIFY_KEY_INVALID')
  const secret = agreeAsResponder(
    primitives,
    {
      identitySecret: own.identitySecret,
      signedPrekeySecret: signedSecret,
      ...(oneTime !== undefined && { oneTimeSecret: oneTime.ecSecret }),
      kemSecret,
      identityKeyA: identityKey,
      baseKey: preamble.baseKey,
    },
    transcript,
  )
  if (secret === undefined) return refused('VERIFY_KEY_INVALID')
  const { rootKey, headerA, headerB, pqRoot } = deriveSessionKeys(primitives, secret)
  const { signedPrekeyId, kemPrekeyId, baseKey } = preamble
  return decoded({
    ...newSession(transcript, sessions, oneTime === undefined),
    role: 'responder',
    state: 'established',
    tuple: { signedPrekeyId, kemPrekeyId, baseKey },
    ratchet: startResponder(
      rootKey,
      { sending: headerB, receiving: headerA },
      signedSecret.slice(),
    ),
    scka: makeScka(primitives).start('responder', pqRoot),
  })
}

function newSession(
  transcript: Bytes,
  sessions: Sessions,
  degraded: boolean,
): Pick<Session, 'id' | 'suite' | 'transcript' | 'ordinal' | 'degraded'> {
  return {
    id: sessionIdFromTranscript(transcript),
    suite: SUITE,
    transcript,
    ordinal: sessions.nextOrdinal,
    degraded,
  }
}
