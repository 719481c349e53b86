// The certificate that binds an X25519 identity key to a peer ID (spec.md §3.3). Floor 0, pure.
import { concat, isZero, makeReader, u64 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { ConclaveError } from '../base/errors.ts'
import { peerIdToBytes, publicKeyOf } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { SIGNATURE_BYTES, signLabelled, verifyLabelled } from '../base/signed.ts'
import { toTimeMs } from '../base/time.ts'
import { IDENTITY_CERTIFICATE_BYTES, IDENTITY_CERTIFICATE_LABEL } from './types.ts'
import { IDENTITY_KEY_BYTES } from './types.ts'
import type { IdentityCertificate, IdentityCode } from './types.ts'

const RESERVED_BYTES = 16

/**
 * Signs a certificate: identityKey 32 ‖ identitySeq 8 ‖ issuedAt 8 ‖ signature 64 ‖ 0×16.
 *
 * @param secret - The agent's 32-byte Ed25519 seed, of the key in `certificate.peer`.
 * @throws ConclaveError `USAGE_ARGUMENT` if the identity key has another length.
 */
export function signIdentityCertificate(
  primitives: Primitives,
  secret: Bytes,
  certificate: IdentityCertificate,
): Bytes {
  const { identityKey } = certificate
  if (identityKey.length !== IDENTITY_KEY_BYTES) {
    throw new ConclaveError(
      'USAGE_ARGUMENT',
      `identity key of ${identityKey.length} bytes, not ${IDENTITY_KEY_BYTES}`,
      { hint: 'pass the 32-byte X25519 public key' },
    )
  }
  const signature = signLabelled(
    primitives,
    secret,
    IDENTITY_CERTIFICATE_LABEL,
    signedBytes(certificate),
  )
  const { identitySeq, issuedAt } = certificate
  const zeros = new Uint8Array(RESERVED_BYTES)
  return concat(identityKey, u64(identitySeq), u64(issuedAt), signature, zeros)
}

/**
 * Verifies the 128 bytes of a certificate for `peer`, whose ID the signature covers too.
 *
 * Whether the key is usable is left to `dh`, which refuses what is not; whether `identitySeq` is newer
 * than what is known, to `direct`.
 */
export function verifyIdentityCertificate(
  primitives: Primitives,
  peer: PeerId,
  bytes: Bytes,
): Decoded<IdentityCertificate, IdentityCode> {
  if (bytes.length !== IDENTITY_CERTIFICATE_BYTES) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  const identityKey = reader.take(IDENTITY_KEY_BYTES)
  const identitySeq = reader.u64()
  const issuedAtMs = reader.u64()
  const signature = reader.take(SIGNATURE_BYTES)
  const reserved = reader.take(RESERVED_BYTES)
  if (!reader.done) return refused('CODEC_MALFORMED')
  if (!isZero(reserved)) return refused('CODEC_RESERVED')
  const certificate = { peer, identityKey, identitySeq, issuedAt: toTimeMs(issuedAtMs) }
  const valid = verifyLabelled(
    primitives,
    publicKeyOf(peer),
    IDENTITY_CERTIFICATE_LABEL,
    signedBytes(certificate),
    signature,
  )
  return valid ? decoded(certificate) : refused('VERIFY_SIGNATURE')
}

function signedBytes({ peer, identityKey, identitySeq, issuedAt }: IdentityCertificate): Bytes {
  return concat(peerIdToBytes(peer), identityKey, u64(identitySeq), u64(issuedAt))
}
