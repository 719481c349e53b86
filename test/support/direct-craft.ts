// Envelopes that no honest sender makes, under the right keys: for rejects of what only the peer can seal.
import { concat, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import {
  bodyRoom,
  encodeHeader,
  overheadBytes,
  writePrefix,
} from '../../protocols/direct/envelope.ts'
import type { Header } from '../../protocols/direct/envelope.ts'
import { MESSAGE_LABEL } from '../../protocols/direct/labels.ts'
import { makeRatchet, PROFILE } from '../../protocols/direct/ratchet.ts'
import { makeScka } from '../../protocols/direct/scka.ts'
import type { Session } from '../../protocols/direct/session.ts'
import { NOW, padBody, valueOf } from './direct-cast.ts'

/** What to change in the next envelope of a session. */
export interface Craft {
  readonly header?: Partial<Header>
  /** The last octet of the header's plaintext, reserved. */
  readonly headerReserved?: number
  /** Protobuf of the body. */
  readonly body?: Bytes
  /** The whole plaintext instead, with length and padding. */
  readonly plaintext?: Bytes
}

/** Seals the next envelope of a session as `craft` says; the session does not advance. */
export function craftEnvelope(
  primitives: Primitives,
  session: Session,
  sender: Bytes,
  draws: Bytes,
  craft: Craft,
): Bytes {
  const ratchet = makeRatchet(primitives, PROFILE)
  const keys = valueOf(ratchet.send(session.ratchet, draws.subarray(24, 56)))
  const pq = valueOf(makeScka(primitives).send(session.scka, draws.subarray(56), NOW))
  const isInitial = session.preamble !== undefined
  const protobuf = craft.body ?? new Uint8Array(0)
  const room = bodyRoom(craft.plaintext?.length ?? 4 + protobuf.length, isInitial) ?? 0
  const plaintext = craft.plaintext ?? padBody(protobuf, room)
  const header = encodeHeader(
    { ...keys.header, ...craft.header },
    { ...pq.header, ...craft.header },
  )
  header[header.length - 1] = craft.headerReserved ?? 0
  const prefix = new Uint8Array(overheadBytes(isInitial))
  const start = prefix.subarray(0, writePrefix(prefix, sender, session.preamble))
  const [headerNonce, bodyNonce] = [draws.subarray(0, 12), draws.subarray(12, 24)]
  const headerAd = concat(session.transcript, start)
  const sealedHeader = primitives.seal(keys.headerKey, headerNonce, headerAd, header)
  const beforeBody = concat(start, headerNonce, sealedHeader, bodyNonce)
  const key = primitives.hkdfSha256(pq.key, keys.messageKey, utf8(MESSAGE_LABEL), 32)
  const ad = concat(session.transcript, beforeBody)
  return concat(beforeBody, primitives.seal(key, bodyNonce, ad, plaintext))
}
