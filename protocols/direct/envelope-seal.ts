// Seals and opens envelopes on one session: header encryption, message key, body (spec.md §4.1.3). Floor 0, pure.
// T stands in front of everything in both associated data, so an envelope fits one handshake alone.
import { equalBytes, utf8, wipe } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { Primitives } from '../base/primitives.ts'
import type { TimeMs } from '../base/time.ts'
import { encodePlaintext } from './body.ts'
import { decodeBody } from './body-reader.ts'
import {
  bodyRoom,
  decodeHeader,
  encodeHeader,
  NONCE_BYTES,
  overheadBytes,
  writePrefix,
} from './envelope.ts'
import type { EnvelopeParts, Header } from './envelope.ts'
import { MESSAGE_LABEL } from './labels.ts'
import { makeRatchet, PROFILE } from './ratchet.ts'
import type { Place, Ratchet, RatchetState } from './ratchet.ts'
import { makeScka, SCKA_DRAW_BYTES } from './scka.ts'
import type { Scka } from './scka.ts'
import type { Session } from './session.ts'
import type { Body } from './types.ts'

/** Where the parts of a draw begin: header nonce, body nonce, secret of a new ratchet key, post-quantum ratchet. */
const RATCHET_DRAW_AT: number = 2 * NONCE_BYTES
const SCKA_DRAW_AT: number = RATCHET_DRAW_AT + 32

/** Octets that sealing draws. */
export const SEAL_DRAW_BYTES: number = SCKA_DRAW_AT + SCKA_DRAW_BYTES

/** Randomness and time of one sealing. */
export interface SealMoment {
  /** SEAL_DRAW_BYTES random bytes, never used before. */
  readonly draws: Bytes
  readonly nowMs: TimeMs
}

/** A session after sealing, and what it sealed. */
export interface SealedEnvelope {
  readonly session: Session
  readonly envelope: Bytes
  /** Place in the sending chain. */
  readonly count: number
}

/** A session after opening, and what it opened. */
export interface OpenedEnvelope {
  readonly session: Session
  /** Without the offer, which the session has taken. */
  readonly body: Body
}

/** Sealing and opening over given primitives. */
export interface EnvelopeSeal {
  /** Seals a body from the sender with these 38 bytes of peer ID, and adds an offer if one is under way. */
  seal(session: Session, sender: Bytes, body: Body, moment: SealMoment): Decoded<SealedEnvelope>
  /**
   * Opens an envelope, if a header key of this session fits.
   *
   * @returns undefined if none fits: the envelope belongs to another session.
   */
  open(session: Session, parts: EnvelopeParts, nowMs: TimeMs): Decoded<OpenedEnvelope> | undefined
}

const MESSAGE_INFO = utf8(MESSAGE_LABEL)
const T_BYTES = 32

/** Makes sealing and opening. */
export function makeEnvelopeSeal(primitives: Primitives): EnvelopeSeal {
  const kit = {
    primitives,
    ratchet: makeRatchet(primitives, PROFILE),
    scka: makeScka(primitives),
  }
  return {
    seal: (session, sender, body, moment) => seal(kit, session, sender, body, moment),
    open(session, parts, nowMs) {
      const ad = new Uint8Array(T_BYTES + parts.beforeBody.length)
      ad.set(session.transcript)
      ad.set(parts.beforeBody, T_BYTES)
      const headerAd = ad.subarray(0, T_BYTES + parts.prefixBytes)
      for (const { key, place } of headerKeys(session.ratchet)) {
        const plain = primitives.open(key, parts.headerNonce, headerAd, parts.header)
        if (plain === undefined) continue
        const header = decodeHeader(plain)
        return header.ok
          ? openBody(kit, session, parts, ad, { place, header: header.value, nowMs })
          : header
      }
      return undefined
    },
  }
}

interface Kit {
  readonly primitives: Primitives
  readonly ratchet: Ratchet
  readonly scka: Scka
}

function seal(
  { primitives, ratchet, scka }: Kit,
  session: Session,
  sender: Bytes,
  body: Body,
  { draws, nowMs }: SealMoment,
): Decoded<SealedEnvelope> {
  const pq = scka.send(session.scka, draws.subarray(SCKA_DRAW_AT), nowMs)
  if (!pq.ok) return pq
  const { offer } = pq.value
  const isInitial = session.preamble !== undefined
  const roomOf = (length: number): number | undefined => bodyRoom(length, isInitial)
  // An offer never keeps a body from its place: the next envelope carries it, too.
  const withOffer =
    offer === undefined ? undefined : encodePlaintext({ ...body, scka: offer }, roomOf)
  const plaintext = withOffer ?? encodePlaintext(body, roomOf)
  if (plaintext === undefined) return refused('USAGE_MESSAGE_TOO_LARGE')
  const keys = ratchet.send(session.ratchet, draws.subarray(RATCHET_DRAW_AT, SCKA_DRAW_AT))
  if (!keys.ok) return keys
  const { state, header, headerKey, messageKey } = keys.value
  const plainHeader = encodeHeader(header, pq.value.header)
  const key = bodyKey(primitives, pq.value.key, messageKey)
  const sealed = { headerKey, key, draws, header: plainHeader, body: plaintext }
  const envelope = layOut(primitives, session, sender, sealed)
  wipe(key, messageKey, pq.value.key, plaintext)
  const next = { ...session, ratchet: state, scka: pq.value.state }
  return decoded({ session: next, envelope, count: header.count })
}

function bodyKey(primitives: Primitives, pqKey: Bytes, messageKey: Bytes): Bytes {
  return primitives.hkdfSha256(pqKey, messageKey, MESSAGE_INFO, 32)
}

/** Writes T ‖ envelope into one array, as both associated data are its beginnings; answers the envelope. */
function layOut(
  primitives: Primitives,
  session: Session,
  sender: Bytes,
  sealed: {
    readonly headerKey: Bytes
    readonly key: Bytes
    readonly draws: Bytes
    readonly header: Bytes
    readonly body: Bytes
  },
): Bytes {
  const { transcript, preamble } = session
  const headerNonce = sealed.draws.subarray(0, NONCE_BYTES)
  const bodyNonce = sealed.draws.subarray(NONCE_BYTES, 2 * NONCE_BYTES)
  const overhead = overheadBytes(preamble !== undefined)
  const framed = new Uint8Array(T_BYTES + overhead + sealed.body.length)
  framed.set(transcript)
  let at = T_BYTES + writePrefix(framed.subarray(T_BYTES), sender, preamble)
  const ad = framed.subarray(0, at)
  const header = primitives.seal(sealed.headerKey, headerNonce, ad, sealed.header)
  for (const part of [headerNonce, header, bodyNonce]) {
    framed.set(part, at)
    at += part.length
  }
  framed.set(primitives.seal(sealed.key, bodyNonce, framed.subarray(0, at), sealed.body), at)
  return framed.subarray(T_BYTES)
}

/** Runs once the header is known to be authentic; nothing is kept unless the body is, too. */
function openBody(
  { primitives, ratchet, scka }: Kit,
  session: Session,
  parts: EnvelopeParts,
  ad: Bytes,
  found: { readonly place: Place; readonly header: Header; readonly nowMs: TimeMs },
): Decoded<OpenedEnvelope> {
  const { place, header, nowMs } = found
  const cursor = scka.find(session.scka, header)
  if (!cursor.ok) return cursor
  const keys = ratchet.receive(session.ratchet, place, header, nowMs, cursor.value.next)
  if (!keys.ok) return keys
  const walked = cursor.value.end(nowMs)
  if (!walked.ok) return walked
  const key = bodyKey(primitives, keys.value.pqKey, keys.value.messageKey)
  const plaintext = primitives.open(key, parts.bodyNonce, ad, parts.body)
  wipe(key)
  if (plaintext === undefined) return refused('DIRECT_OPEN_FAILED')
  const body = decodeBody(plaintext)
  if (!body.ok) return body
  const opened = { ...session, ratchet: keys.value.state, scka: walked.value }
  if (body.value.scka === undefined) return decoded({ session: opened, body: body.value })
  const { scka: offer, ...items } = body.value
  const taken = scka.receive(walked.value, offer, nowMs)
  if (!taken.ok) return taken
  return decoded({ session: { ...opened, scka: taken.value }, body: items })
}

/** The header keys to try, most likely first; at most HEADER_TRIALS_MAX. */
function headerKeys(ratchet: RatchetState): { readonly key: Bytes; readonly place: Place }[] {
  const { receiving, secret, skipped, nextReceivingHeader } = ratchet
  const keys: { key: Bytes; place: Place }[] = []
  if (receiving !== undefined) keys.push({ key: receiving.finder, place: { kind: 'current' } })
  // Without a secret the peer has not seen our next ratchet key, so no step can come yet.
  if (secret !== undefined) keys.push({ key: nextReceivingHeader, place: { kind: 'next' } })
  for (const chain of skipped) {
    if (receiving !== undefined && equalBytes(chain.finder, receiving.finder)) continue
    keys.push({ key: chain.finder, place: { kind: 'skipped', chain } })
  }
  return keys
}
