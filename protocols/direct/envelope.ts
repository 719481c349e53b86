// The envelope's fixed layout (spec.md §3.1): sizes, offsets, preamble and header. Floor 0, pure.
import {
  concat,
  equalBytes,
  formatHex,
  isZero,
  makeReader,
  putU32,
  u32,
  u64,
  u8,
} from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { PEER_ID_BYTES, peerIdFromBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import type { RatchetHeader } from './ratchet.ts'
import type { SckaHeader } from './scka.ts'
import { ENVELOPE_BUCKETS, SUITE, VERSION } from './types.ts'
import type { EnvelopeId, PrekeyTuple } from './types.ts'

export const ENVELOPE_ID_BYTES = 32
export const CERTIFICATE_BYTES = 128
export const KEM_CIPHERTEXT_BYTES = 1_568
export const PREAMBLE_BYTES = 1_756
export const NONCE_BYTES = 12
export const TAG_BYTES = 16
export const HEADER_BYTES = 56
const HEADER_SEALED_BYTES: number = HEADER_BYTES + TAG_BYTES
const ROUTE_BYTES = 86
/** Version, type and route: where a `ratchet` envelope's header nonce begins. */
const START_BYTES: number = 2 + ROUTE_BYTES
/** Header nonce to body nonce. */
const MIDDLE_BYTES: number = NONCE_BYTES + HEADER_SEALED_BYTES + NONCE_BYTES

/** The `type` octet. 3 and 4 are reserved for sealed senders. */
export const ENVELOPE_TYPES = { initial: 1, ratchet: 2 } as const

/** What the initiator repeats until the first reply: how to reach the same handshake. */
export interface Preamble extends PrekeyTuple {
  readonly capabilities: number
  readonly bundleSeq: number
  /** 0: no one-time prekey took part. */
  readonly oneTimePrekeyId: number
  /** ML-KEM-1024, 1,568 bytes. */
  readonly kemCiphertext: Bytes
  /** The sender's identity certificate, 128 bytes. */
  readonly certificate: Bytes
}

/** A message header: its place in the ratchet's chain, and in the post-quantum ratchet's. */
export interface Header extends RatchetHeader, SckaHeader {}

/** An envelope cut into its parts; they are views, not copies. */
export interface EnvelopeParts {
  /** 38 bytes: who the route says it is from. */
  readonly sender: Bytes
  /** 1,756 bytes, exactly in an initial envelope. */
  readonly preamble?: Bytes
  /** Octets before the header nonce: associated data of the header. */
  readonly prefixBytes: number
  readonly headerNonce: Bytes
  readonly header: Bytes
  /** Everything before the body's ciphertext: associated data of the body. */
  readonly beforeBody: Bytes
  readonly bodyNonce: Bytes
  readonly body: Bytes
}

/** Octets of plaintext that the smallest fitting envelope holds; undefined if none fits. */
export function bodyRoom(length: number, isInitial: boolean): number | undefined {
  const overhead = overheadBytes(isInitial)
  const bucket = ENVELOPE_BUCKETS.find((size) => size - overhead >= length)
  return bucket === undefined ? undefined : bucket - overhead
}

/** Envelope octets that are not the body's plaintext; 200 or 1,956. */
export function overheadBytes(isInitial: boolean): number {
  return START_BYTES + (isInitial ? PREAMBLE_BYTES : 0) + MIDDLE_BYTES + TAG_BYTES
}

/** Writes version, type, route and preamble; answers how many octets: 88 or 1,844. */
export function writePrefix(out: Bytes, sender: Bytes, preamble: Bytes | undefined): number {
  out[0] = VERSION
  out[1] = preamble === undefined ? ENVELOPE_TYPES.ratchet : ENVELOPE_TYPES.initial
  out.set(sender, 2)
  if (preamble !== undefined) out.set(preamble, START_BYTES)
  return START_BYTES + (preamble?.length ?? 0)
}

/**
 * Cuts an envelope into its parts, checking everything that is in the clear but the preamble.
 *
 * @returns `ok: false` with `CODEC_LENGTH`, `CODEC_UNKNOWN_VERSION`, `CODEC_UNKNOWN_TYPE` or `CODEC_RESERVED`.
 */
export function cutEnvelope(envelope: Bytes): Decoded<EnvelopeParts> {
  if (!ENVELOPE_BUCKETS.includes(envelope.length)) return refused('CODEC_LENGTH')
  if (envelope[0] !== VERSION) return refused('CODEC_UNKNOWN_VERSION')
  const type = envelope[1]
  if (type !== ENVELOPE_TYPES.initial && type !== ENVELOPE_TYPES.ratchet) {
    return refused('CODEC_UNKNOWN_TYPE')
  }
  const isInitial = type === ENVELOPE_TYPES.initial
  if (envelope.length < overheadBytes(isInitial)) return refused('CODEC_LENGTH')
  if (!isZero(envelope.subarray(2 + PEER_ID_BYTES, START_BYTES))) return refused('CODEC_RESERVED')
  const at = START_BYTES + (isInitial ? PREAMBLE_BYTES : 0)
  const bodyAt = at + MIDDLE_BYTES
  return decoded({
    sender: envelope.subarray(2, 2 + PEER_ID_BYTES),
    ...(isInitial && { preamble: envelope.subarray(START_BYTES, at) }),
    prefixBytes: at,
    headerNonce: envelope.subarray(at, at + NONCE_BYTES),
    header: envelope.subarray(at + NONCE_BYTES, at + NONCE_BYTES + HEADER_SEALED_BYTES),
    beforeBody: envelope.subarray(0, bodyAt),
    bodyNonce: envelope.subarray(bodyAt - NONCE_BYTES, bodyAt),
    body: envelope.subarray(bodyAt),
  })
}

/** Encodes a preamble: 1,756 bytes. */
export function encodePreamble(preamble: Preamble): Bytes {
  return concat(
    u8(SUITE),
    new Uint8Array(3),
    u32(preamble.capabilities),
    u64(preamble.bundleSeq),
    u32(preamble.signedPrekeyId),
    u32(preamble.kemPrekeyId),
    u32(preamble.oneTimePrekeyId),
    preamble.baseKey,
    preamble.kemCiphertext,
    preamble.certificate,
  )
}

/** Decodes a preamble; the keys and the certificate are not verified here. */
export function decodePreamble(bytes: Bytes): Decoded<Preamble> {
  if (bytes.length !== PREAMBLE_BYTES) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  if (reader.u8() !== SUITE) return refused('CODEC_UNKNOWN_SUITE')
  if (!isZero(reader.take(3))) return refused('CODEC_RESERVED')
  const preamble = {
    capabilities: reader.u32(),
    bundleSeq: reader.u64(),
    signedPrekeyId: reader.u32(),
    kemPrekeyId: reader.u32(),
    oneTimePrekeyId: reader.u32(),
    baseKey: reader.take(32),
    kemCiphertext: reader.take(KEM_CIPHERTEXT_BYTES),
    certificate: reader.take(CERTIFICATE_BYTES),
  }
  return reader.done ? decoded(preamble) : refused('CODEC_MALFORMED')
}

/** Encodes a header's plaintext from its two halves: 56 bytes. */
export function encodeHeader(header: RatchetHeader, pqHeader: SckaHeader): Bytes {
  const { previousCount, count } = header
  const { pqEpoch, pqCount, pqPreviousCount } = pqHeader
  const out = new Uint8Array(HEADER_BYTES)
  out.set(header.ratchetKey)
  let at = header.ratchetKey.length
  for (const value of [previousCount, count, pqEpoch, pqCount, pqPreviousCount]) {
    at = putU32(out, at, value)
  }
  return out
}

/** Decodes a header's plaintext. */
export function decodeHeader(bytes: Bytes): Decoded<Header> {
  if (bytes.length !== HEADER_BYTES) return refused('CODEC_LENGTH')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(52) !== 0) return refused('CODEC_RESERVED')
  return decoded({
    ratchetKey: bytes.slice(0, 32),
    previousCount: view.getUint32(32),
    count: view.getUint32(36),
    pqEpoch: view.getUint32(40),
    pqCount: view.getUint32(44),
    pqPreviousCount: view.getUint32(48),
  })
}

/** The envelope's name: SHA-256 of all its bytes. */
export function envelopeIdOf(primitives: Primitives, envelope: Bytes): EnvelopeId {
  return formatHex(primitives.sha256(envelope)) as EnvelopeId
}

/** Reads an envelope id from its 32 bytes. */
export function envelopeIdFromBytes(bytes: Bytes): EnvelopeId | undefined {
  return bytes.length === ENVELOPE_ID_BYTES ? (formatHex(bytes) as EnvelopeId) : undefined
}

/** True if the route of these bytes names this peer; cheaper than `senderOf`. */
export function isFrom(envelope: Bytes, peerBytes: Bytes): boolean {
  return equalBytes(envelope.subarray(2, 2 + PEER_ID_BYTES), peerBytes)
}

/** Who the route says an envelope is from; nothing is authenticated yet. */
export function senderOf(envelope: Bytes): Decoded<PeerId> {
  const parts = cutEnvelope(envelope)
  if (!parts.ok) return parts
  const peer = peerIdFromBytes(parts.value.sender)
  return peer === undefined ? refused('CODEC_MALFORMED') : decoded(peer)
}
