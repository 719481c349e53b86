// The portable Primitives: audited pure TypeScript, for browsers and as the oracle of tests. Floor 1.
import { gcm } from '@noble/ciphers/aes.js'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { expand, hkdf } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { ml_kem1024, ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { concat, equalBytes, isZero, wipe } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Encapsulation, KemParameter, Primitives } from '../../protocols/base/primitives.ts'
import { assertAead, assertAesGcm, assertHkdfLength, assertLength } from './checks.ts'
import { KEM_LENGTHS, TAG_BYTES } from './checks.ts'
import { isStrictSignature } from './strict-ed25519.ts'
import { isKemKey } from './strict-ml-kem.ts'
import { isCanonicalU } from './strict-x25519.ts'

const KEMS = { 768: ml_kem768, 1024: ml_kem1024 } as const

/** Primitives in TypeScript alone; constant time only as far as a JavaScript engine allows. */
export const portable: Primitives = {
  sha256: (...parts) => sha256(concat(...parts)),
  hmacSha256: (key, message) => hmac(sha256, key, message),
  hkdfSha256(salt, ikm, info, length) {
    assertHkdfLength(length)
    return hkdf(sha256, ikm, salt, info, length)
  },
  hkdfExpandSha256(prk, info, length) {
    assertHkdfLength(length)
    return expand(sha256, prk, info, length)
  },
  seal(key, nonce, ad, plaintext) {
    assertAead(key, nonce)
    return chacha20poly1305(key, nonce, ad).encrypt(plaintext)
  },
  open(key, nonce, ad, sealed) {
    assertAead(key, nonce)
    return opened(sealed, () => chacha20poly1305(key, nonce, ad).decrypt(sealed))
  },
  sealAesGcm(key, nonce, ad, plaintext) {
    assertAesGcm(key, nonce)
    return gcm(key, nonce, ad).encrypt(plaintext)
  },
  openAesGcm(key, nonce, ad, sealed) {
    assertAesGcm(key, nonce)
    return opened(sealed, () => gcm(key, nonce, ad).decrypt(sealed))
  },
  dhPublic(secret) {
    assertLength(secret, 32, 'X25519 secret')
    return x25519.getPublicKey(secret)
  },
  dh,
  kemPublic(parameter, seed) {
    assertLength(seed, 64, 'ML-KEM seed')
    const { publicKey, secretKey } = KEMS[parameter].keygen(seed)
    wipe(secretKey)
    return publicKey
  },
  isKemKey,
  encapsulate,
  decapsulate(parameter, seed, ciphertext) {
    assertLength(seed, 64, 'ML-KEM seed')
    if (ciphertext.length !== KEM_LENGTHS[parameter].ciphertextBytes) return undefined
    const { secretKey } = KEMS[parameter].keygen(seed)
    const secret = KEMS[parameter].decapsulate(ciphertext, secretKey)
    wipe(secretKey)
    return Uint8Array.from(secret)
  },
  signPublic(secret) {
    assertLength(secret, 32, 'Ed25519 seed')
    return ed25519.getPublicKey(secret)
  },
  sign(secret, message) {
    assertLength(secret, 32, 'Ed25519 seed')
    return ed25519.sign(message, secret)
  },
  verify,
  verifyAsync: (publicKey, message, signature) =>
    Promise.resolve(verify(publicKey, message, signature)),
}

function opened(sealed: Bytes, decrypt: () => Bytes): Bytes | undefined {
  if (sealed.length < TAG_BYTES) return undefined
  try {
    return decrypt()
  } catch {
    return undefined // The library throws for a wrong tag and for nothing else: lengths were checked.
  }
}

function dh(secret: Bytes, theirs: Bytes): Bytes | undefined {
  assertLength(secret, 32, 'X25519 secret')
  if (!isCanonicalU(theirs)) return undefined
  try {
    const shared = x25519.getSharedSecret(secret, theirs)
    return isZero(shared) ? undefined : shared
  } catch {
    return undefined // A low-order point: the library refuses the all-zero result by throwing.
  }
}

function encapsulate(parameter: KemParameter, key: Bytes, coins: Bytes): Encapsulation | undefined {
  assertLength(coins, 32, 'ML-KEM coins')
  if (!isKemKey(parameter, key)) return undefined
  const { cipherText, sharedSecret } = KEMS[parameter].encapsulate(key, coins)
  return { ciphertext: cipherText, secret: Uint8Array.from(sharedSecret) }
}

// The library's own `verify` clears the cofactor; OpenSSL's does not. A signer that adds a point of
// small order would then convince one and not the other, so the stricter equation is computed here:
// S·B - k·A must encode to exactly R (RFC 8032 §5.1.7, without the factor 8).
function verify(publicKey: Bytes, message: Bytes, signature: Bytes): boolean {
  if (!isStrictSignature(publicKey, signature)) return false
  const { Point } = ed25519
  try {
    const a = Point.fromBytes(publicKey)
    const r = signature.subarray(0, 32)
    const s = littleEndian(signature.subarray(32))
    const k = Point.Fn.create(littleEndian(sha512(concat(r, publicKey, message))))
    const sum = Point.BASE.multiplyUnsafe(s).add(a.negate().multiplyUnsafe(k))
    return equalBytes(sum.toBytes(), r)
  } catch {
    return false // The key is not a point of the curve.
  }
}

function littleEndian(bytes: Bytes): bigint {
  let value = 0n
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0)
  return value
}
