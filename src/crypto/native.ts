// The native Primitives: OpenSSL through node:crypto. Floor 1 (spec: direct §3).
import * as crypto from 'node:crypto'
import { isZero } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Encapsulation, KemParameter, Primitives } from '../../protocols/base/primitives.ts'
import { assertAead, assertAesGcm, assertLength, KEM_LENGTHS } from './checks.ts'
import { openWith, sealWith } from './native-aead.ts'
import { hkdfExpandSha256, hkdfSha256, hmacSha256, sha256 } from './native-hash.ts'
import { kemPrivateKey, kemPublicKey, privateKey, publicHalf, publicKey } from './native-keys.ts'
import { isStrictSignature } from './strict-ed25519.ts'
import { isKemKey } from './strict-ml-kem.ts'
import { isCanonicalU } from './strict-x25519.ts'

/** Primitives over OpenSSL. `encapsulate` draws its own coins. */
export const native: Primitives = {
  sha256,
  hmacSha256,
  hkdfSha256,
  hkdfExpandSha256,
  seal(key, nonce, ad, plaintext) {
    assertAead(key, nonce)
    return sealWith('chacha20-poly1305', key, nonce, ad, plaintext)
  },
  open(key, nonce, ad, sealed) {
    assertAead(key, nonce)
    return openWith('chacha20-poly1305', key, nonce, ad, sealed)
  },
  sealAesGcm(key, nonce, ad, plaintext) {
    assertAesGcm(key, nonce)
    return sealWith(aesName(key), key, nonce, ad, plaintext)
  },
  openAesGcm(key, nonce, ad, sealed) {
    assertAesGcm(key, nonce)
    return openWith(aesName(key), key, nonce, ad, sealed)
  },
  dhPublic(secret) {
    assertLength(secret, 32, 'X25519 secret')
    return publicHalf(privateKey('x25519', secret))
  },
  dh,
  kemPublic(parameter, seed) {
    assertLength(seed, 64, 'ML-KEM seed')
    return publicHalf(kemPrivateKey(parameter, seed))
  },
  isKemKey,
  encapsulate,
  decapsulate(parameter, seed, ciphertext) {
    assertLength(seed, 64, 'ML-KEM seed')
    if (ciphertext.length !== KEM_LENGTHS[parameter].ciphertextBytes) return undefined
    return plain(crypto.decapsulate(kemPrivateKey(parameter, seed), ciphertext))
  },
  signPublic(secret) {
    assertLength(secret, 32, 'Ed25519 seed')
    return publicHalf(privateKey('ed25519', secret))
  },
  sign(secret, message) {
    assertLength(secret, 32, 'Ed25519 seed')
    return plain(crypto.sign(null, message, privateKey('ed25519', secret)))
  },
  verify(theirs, message, signature) {
    if (!isStrictSignature(theirs, signature)) return false
    return crypto.verify(null, message, publicKey('ed25519', theirs), signature)
  },
  verifyAsync,
}

function aesName(key: Bytes): 'aes-128-gcm' | 'aes-256-gcm' {
  return key.length === 16 ? 'aes-128-gcm' : 'aes-256-gcm'
}

function dh(secret: Bytes, theirs: Bytes): Bytes | undefined {
  assertLength(secret, 32, 'X25519 secret')
  if (!isCanonicalU(theirs)) return undefined
  const keys = { privateKey: privateKey('x25519', secret), publicKey: publicKey('x25519', theirs) }
  try {
    const shared = plain(crypto.diffieHellman(keys))
    return isZero(shared) ? undefined : shared
  } catch {
    return undefined // A low-order point: OpenSSL refuses to derive the all-zero result.
  }
}

// Node draws the coins itself; tests that need fixed ones use the portable implementation.
function encapsulate(parameter: KemParameter, key: Bytes, coins: Bytes): Encapsulation | undefined {
  assertLength(coins, 32, 'ML-KEM coins')
  if (!isKemKey(parameter, key)) return undefined
  const { ciphertext, sharedKey } = crypto.encapsulate(kemPublicKey(parameter, key))
  return { ciphertext: plain(ciphertext), secret: plain(sharedKey) }
}

/** Verifies on the thread pool; the arguments are copied before this returns. */
function verifyAsync(theirs: Bytes, message: Bytes, signature: Bytes): Promise<boolean> {
  if (!isStrictSignature(theirs, signature)) return Promise.resolve(false)
  return new Promise((resolve, reject) => {
    crypto.verify(null, message, publicKey('ed25519', theirs), signature, (error, valid) => {
      if (error === null) resolve(valid)
      else reject(error)
    })
  })
}

// The same memory without Buffer's methods. Small Buffers of node:crypto are not cut from Node's pool.
function plain(buffer: Buffer): Bytes {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)
}
