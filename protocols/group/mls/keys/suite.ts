// Cipher suite 1 of MLS (RFC 9420 §5, §8): labelled derivation, signature and encryption. Floor 0, pure.
import { concat, u32, utf8 } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import type { Primitives } from '../../../base/primitives.ts'
import { vec } from '../../tls.ts'
import type { Identity } from '../../mls-engine.ts'
import { makeHpke } from './hpke.ts'
import type { Hpke, HpkeCiphertext, KeyPair } from './hpke.ts'

/** ts-mls's name of cipher suite 1: X25519, AES-128-GCM, SHA-256, Ed25519. */
export const SUITE_NAME = 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519'
/** KDF.Nh, AEAD.Nk, AEAD.Nn of the suite. */
export const HASH_BYTES = 32
export const AEAD_KEY_BYTES = 16
export const AEAD_NONCE_BYTES = 12

/** The suite's functions over bytes. */
export interface Suite {
  readonly primitives: Primitives
  readonly hpke: Hpke
  /** Fresh random bytes. */
  random(count: number): Bytes
  /** ExpandWithLabel (RFC 9420 §8). */
  expandWithLabel(secret: Bytes, label: string, context: Bytes, length: number): Bytes
  /** DeriveSecret: 32 bytes without context. */
  deriveSecret(secret: Bytes, label: string): Bytes
  /** DeriveTreeSecret (RFC 9420 §9.1). */
  deriveTreeSecret(secret: Bytes, label: string, generation: number, length: number): Bytes
  /** RefHash (RFC 9420 §5.2). */
  refHash(label: string, value: Bytes): Bytes
  signWithLabel(signer: Pick<Identity, 'sign'>, label: string, content: Bytes): Bytes
  verifyWithLabel(publicKey: Bytes, label: string, content: Bytes, signature: Bytes): boolean
  /** The same off the main thread where that is possible. */
  verifyWithLabelAsync(
    publicKey: Bytes,
    label: string,
    content: Bytes,
    signature: Bytes,
  ): Promise<boolean>
  encryptWithLabel(
    theirs: Bytes,
    label: string,
    context: Bytes,
    plaintext: Bytes,
  ): HpkeCiphertext | undefined
  decryptWithLabel(
    own: KeyPair,
    label: string,
    context: Bytes,
    sealed: HpkeCiphertext,
  ): Bytes | undefined
}

const NONE = new Uint8Array(0)

/** `"MLS 1.0 " ‖ label` and content, each as a vector: the input of all labelled operations. */
function labelled(label: string, content: Bytes): Bytes {
  return concat(vec(utf8(`MLS 1.0 ${label}`)), vec(content))
}

/** Makes the suite from primitives and a source of randomness. */
export function makeSuite(primitives: Primitives, random: (count: number) => Bytes): Suite {
  const hpke = makeHpke(primitives, random)
  const expandWithLabel = (secret: Bytes, label: string, context: Bytes, length: number): Bytes => {
    const size = Uint8Array.of(length >> 8, length & 0xff)
    return primitives.hkdfExpandSha256(secret, concat(size, labelled(label, context)), length)
  }
  return {
    primitives,
    hpke,
    random,
    expandWithLabel,
    deriveSecret: (secret, label) => expandWithLabel(secret, label, NONE, HASH_BYTES),
    deriveTreeSecret: (secret, label, generation, length) =>
      expandWithLabel(secret, label, u32(generation), length),
    refHash: (label, value) => primitives.sha256(labelled(label, value)),
    signWithLabel: (signer, label, content) => signer.sign(labelled(label, content)),
    verifyWithLabel: (publicKey, label, content, signature) =>
      primitives.verify(publicKey, labelled(label, content), signature),
    verifyWithLabelAsync: (publicKey, label, content, signature) =>
      primitives.verifyAsync(publicKey, labelled(label, content), signature),
    encryptWithLabel: (theirs, label, context, plaintext) =>
      hpke.seal(theirs, labelled(label, context), NONE, plaintext),
    decryptWithLabel: (own, label, context, sealed) =>
      hpke.open(own, sealed.enc, labelled(label, context), NONE, sealed.ciphertext),
  }
}
