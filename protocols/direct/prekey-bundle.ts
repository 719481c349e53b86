// Prekey bundles and one-time entries: fixed layouts that end in their signature (spec.md §3.4). Floor 0, pure.
import { concat, makeReader, u32, u64, u8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { invariant } from '../base/errors.ts'
import { PEER_ID_BYTES, peerIdFromBytes, peerIdToBytes, publicKeyOf } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { SIGNATURE_BYTES, signLabelled, verifyLabelled } from '../base/signed.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import { BUNDLE_LABEL, ONE_TIME_LABEL } from './labels.ts'
import { BUNDLE_LIFE_MS, SUITE, VERSION } from './types.ts'
import type { Bundle, OneTimeEntry } from './types.ts'

export const BUNDLE_BYTES = 1_780
export const PAIR_BYTES = 1_715
export const EC_BYTES = 147
const EC_KEY_BYTES = 32
const KEM_KEY_BYTES = 1_568
const KINDS = { pair: 1, ec: 2 } as const

/**
 * Signs a bundle: 1,780 bytes.
 *
 * @param secret - The Ed25519 seed of `bundle.peer`.
 */
export function signBundle(primitives: Primitives, secret: Bytes, bundle: Bundle): Bytes {
  const body = concat(
    u8(VERSION),
    u8(SUITE),
    u32(bundle.capabilities),
    peerIdToBytes(bundle.peer),
    bundle.identityKey,
    u64(bundle.identitySeq),
    u64(bundle.bundleSeq),
    u64(bundle.issuedAt),
    u64(bundle.expiresAt),
    u32(bundle.signedPrekeyId),
    bundle.signedPrekey,
    u32(bundle.lastResortKemId),
    bundle.lastResortKemKey,
  )
  invariant(body.length === BUNDLE_BYTES - SIGNATURE_BYTES, 'a bundle has its length')
  return concat(body, signLabelled(primitives, secret, BUNDLE_LABEL, body))
}

/**
 * Decodes a bundle; its signature is not verified here.
 *
 * @returns `ok: false` with `CODEC_LENGTH`, `CODEC_UNKNOWN_VERSION`, `CODEC_UNKNOWN_SUITE` or `CODEC_MALFORMED`.
 */
export function decodeBundle(bytes: Bytes): Decoded<Bundle> {
  if (bytes.length !== BUNDLE_BYTES) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  if (reader.u8() !== VERSION) return refused('CODEC_UNKNOWN_VERSION')
  if (reader.u8() !== SUITE) return refused('CODEC_UNKNOWN_SUITE')
  const capabilities = reader.u32()
  const peer = peerIdFromBytes(reader.take(PEER_ID_BYTES))
  const fields = {
    identityKey: reader.take(EC_KEY_BYTES),
    identitySeq: reader.u64(),
    bundleSeq: reader.u64(),
    issuedAt: toTimeMs(reader.u64()),
    expiresAt: toTimeMs(reader.u64()),
    signedPrekeyId: reader.u32(),
    signedPrekey: reader.take(EC_KEY_BYTES),
    lastResortKemId: reader.u32(),
    lastResortKemKey: reader.take(KEM_KEY_BYTES),
  }
  reader.take(SIGNATURE_BYTES)
  if (!reader.done || peer === undefined) return refused('CODEC_MALFORMED')
  const { signedPrekeyId, lastResortKemId, issuedAt, expiresAt } = fields
  // 0 means "no key" in a preamble; a longer life would outlive the private keys.
  if (signedPrekeyId === 0 || lastResortKemId === 0) return refused('CODEC_MALFORMED')
  if (expiresAt - issuedAt > BUNDLE_LIFE_MS) return refused('CODEC_MALFORMED')
  return decoded({ capabilities, peer, ...fields })
}

/**
 * Verifies a fetched bundle: that `peer` signed it, and that it is still valid.
 *
 * @returns `ok: false` with a `CODEC_…` code, `VERIFY_IDENTITY_MISMATCH`, `VERIFY_EXPIRED` or `VERIFY_SIGNATURE`.
 */
export function verifyBundle(
  primitives: Primitives,
  peer: PeerId,
  bytes: Bytes,
  nowMs: TimeMs,
): Decoded<Bundle> {
  const bundle = decodeBundle(bytes)
  if (!bundle.ok) return bundle
  if (bundle.value.peer !== peer) return refused('VERIFY_IDENTITY_MISMATCH')
  if (bundle.value.expiresAt <= nowMs) return refused('VERIFY_EXPIRED')
  return isSigned(primitives, peer, BUNDLE_LABEL, bytes) ? bundle : refused('VERIFY_SIGNATURE')
}

/** Signs a one-time entry: 1,715 bytes with a KEM key, 147 without. */
export function signEntry(primitives: Primitives, secret: Bytes, entry: OneTimeEntry): Bytes {
  const body = concat(
    u8(KINDS[entry.kind]),
    u32(entry.id),
    entry.ecKey,
    entry.kemKey ?? new Uint8Array(0),
    peerIdToBytes(entry.custodian),
    u64(entry.expiresAt),
  )
  const length = entry.kind === 'pair' ? PAIR_BYTES : EC_BYTES
  invariant(body.length === length - SIGNATURE_BYTES, 'an entry has its length')
  return concat(body, signLabelled(primitives, secret, ONE_TIME_LABEL, body))
}

/**
 * Decodes a one-time entry; its signature is not verified here.
 *
 * @returns `ok: false` with `CODEC_LENGTH`, `CODEC_UNKNOWN_TYPE` or `CODEC_MALFORMED`.
 */
export function decodeEntry(bytes: Bytes): Decoded<OneTimeEntry> {
  const reader = makeReader(bytes)
  const type = reader.u8()
  if (!reader.ok) return refused('CODEC_LENGTH')
  if (type !== KINDS.pair && type !== KINDS.ec) return refused('CODEC_UNKNOWN_TYPE')
  const isPair = type === KINDS.pair
  if (bytes.length !== (isPair ? PAIR_BYTES : EC_BYTES)) return refused('CODEC_LENGTH')
  const id = reader.u32()
  const ecKey = reader.take(EC_KEY_BYTES)
  const kemKey = isPair ? { kemKey: reader.take(KEM_KEY_BYTES) } : {}
  const custodian = peerIdFromBytes(reader.take(PEER_ID_BYTES))
  const expiresAt = toTimeMs(reader.u64())
  reader.take(SIGNATURE_BYTES)
  if (!reader.done || custodian === undefined || id === 0) return refused('CODEC_MALFORMED')
  return decoded({ kind: isPair ? 'pair' : 'ec', id, ecKey, ...kemKey, custodian, expiresAt })
}

/**
 * Verifies a fetched one-time entry: that `peer` signed it for who handed it out, and that it is still valid.
 *
 * @returns `ok: false` with a `CODEC_…` code, `VERIFY_IDENTITY_MISMATCH`, `VERIFY_EXPIRED` or `VERIFY_SIGNATURE`.
 */
export function verifyEntry(
  primitives: Primitives,
  peer: PeerId,
  bytes: Bytes,
  from: PeerId,
  nowMs: TimeMs,
): Decoded<OneTimeEntry> {
  const entry = decodeEntry(bytes)
  if (!entry.ok) return entry
  if (entry.value.custodian !== from) return refused('VERIFY_IDENTITY_MISMATCH')
  if (entry.value.expiresAt <= nowMs) return refused('VERIFY_EXPIRED')
  return isSigned(primitives, peer, ONE_TIME_LABEL, bytes) ? entry : refused('VERIFY_SIGNATURE')
}

function isSigned(primitives: Primitives, peer: PeerId, label: string, bytes: Bytes): boolean {
  const body = bytes.subarray(0, -SIGNATURE_BYTES)
  const signature = bytes.subarray(-SIGNATURE_BYTES)
  return verifyLabelled(primitives, publicKeyOf(peer), label, body, signature)
}
