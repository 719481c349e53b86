// What pure code may ask of cryptography: synchronous functions over plain bytes. Floor 0.
// `src/crypto/native.ts` and `src/crypto/portable.ts` implement it, with equal outputs and refusals.
import type { Bytes } from './bytes.ts'

/** Parameter set of ML-KEM (FIPS 203). */
export type KemParameter = 768 | 1024

/** A KEM ciphertext (1,088 or 1,568 bytes) and its 32-byte shared secret. */
export interface Encapsulation {
  readonly ciphertext: Bytes
  readonly secret: Bytes
}

/** Cryptographic primitives. Outputs are fresh arrays; inputs are never changed or kept. */
export interface Primitives {
  /** SHA-256 over the joined parts: 32 bytes. */
  sha256(...parts: readonly Bytes[]): Bytes
  /** HMAC-SHA-256 (RFC 2104): 32 bytes; the key may have any length. */
  hmacSha256(key: Bytes, message: Bytes): Bytes
  /** HKDF-SHA-256, extract then expand (RFC 5869): `length` ≤ 8,160 bytes. */
  hkdfSha256(salt: Bytes, ikm: Bytes, info: Bytes, length: number): Bytes
  /** HKDF-Expand alone (RFC 5869 §2.3). Extract alone is `hmacSha256(salt, ikm)`. */
  hkdfExpandSha256(prk: Bytes, info: Bytes, length: number): Bytes
  /** ChaCha20-Poly1305 (RFC 8439): 32-byte key, 12-byte nonce; answers ciphertext ‖ 16-byte tag. */
  seal(key: Bytes, nonce: Bytes, ad: Bytes, plaintext: Bytes): Bytes
  /** Opens what `seal` made; undefined if anything does not match. */
  open(key: Bytes, nonce: Bytes, ad: Bytes, sealed: Bytes): Bytes | undefined
  /** AES-128-GCM or AES-256-GCM by key length, 12-byte nonce; ciphertext ‖ 16-byte tag. */
  sealAesGcm(key: Bytes, nonce: Bytes, ad: Bytes, plaintext: Bytes): Bytes
  /** Opens what `sealAesGcm` made; undefined if anything does not match. */
  openAesGcm(key: Bytes, nonce: Bytes, ad: Bytes, sealed: Bytes): Bytes | undefined
  /** X25519 public key of a 32-byte secret (RFC 7748). */
  dhPublic(secret: Bytes): Bytes
  /** X25519; undefined for a u-coordinate ≥ p, a set high bit, or an all-zero result. */
  dh(secret: Bytes, theirs: Bytes): Bytes | undefined
  /** ML-KEM encapsulation key (1,184 or 1,568 bytes) of a 64-byte seed d ‖ z. */
  kemPublic(parameter: KemParameter, seed: Bytes): Bytes
  /** True if `encapsulate` takes this key: its length fits, and it passes the FIPS 203 modulus check. */
  isKemKey(parameter: KemParameter, key: Bytes): boolean
  /**
   * ML-KEM encapsulation; undefined if the key has the wrong length or fails the FIPS 203 modulus check.
   *
   * @param coins - 32 random bytes. The native implementation draws its own and ignores them.
   */
  encapsulate(parameter: KemParameter, key: Bytes, coins: Bytes): Encapsulation | undefined
  /** ML-KEM decapsulation: 32 bytes, implicit rejection; undefined only for a wrong ciphertext length. */
  decapsulate(parameter: KemParameter, seed: Bytes, ciphertext: Bytes): Bytes | undefined
  /** Ed25519 public key of a 32-byte seed (RFC 8032). */
  signPublic(secret: Bytes): Bytes
  /** Ed25519 signature (64 bytes) under a 32-byte seed. */
  sign(secret: Bytes, message: Bytes): Bytes
  /** Strict Ed25519 verification: canonical encodings, no small-order keys or points. */
  verify(publicKey: Bytes, message: Bytes, signature: Bytes): boolean
  /** The same off the main thread where the implementation can. */
  verifyAsync(publicKey: Bytes, message: Bytes, signature: Bytes): Promise<boolean>
}
