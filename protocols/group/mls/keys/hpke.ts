// HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM. Floor 0, pure.
import { concat, utf8, wipe } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import type { Primitives } from '../../../base/primitives.ts'

/** An X25519 key pair. */
export interface KeyPair {
  readonly secret: Bytes
  readonly publicKey: Bytes
}

/** An encapsulation and what it protects. */
export interface HpkeCiphertext {
  readonly enc: Bytes
  readonly ciphertext: Bytes
}

/** Single-shot HPKE. What depends on a peer's key or bytes answers undefined where those are no good. */
export interface Hpke {
  seal(theirs: Bytes, info: Bytes, ad: Bytes, plaintext: Bytes): HpkeCiphertext | undefined
  /** `own` spares deriving the public half of `secret`. */
  open(own: KeyPair, enc: Bytes, info: Bytes, ad: Bytes, ciphertext: Bytes): Bytes | undefined
  /** Encapsulates and exports a secret (RFC 9180 §5.3), both with empty info. */
  sendExport(
    theirs: Bytes,
    context: Bytes,
    length: number,
  ): { readonly enc: Bytes; readonly secret: Bytes } | undefined
  receiveExport(own: KeyPair, enc: Bytes, context: Bytes, length: number): Bytes | undefined
  /** DeriveKeyPair (RFC 9180 §7.1.3). */
  deriveKeyPair(ikm: Bytes): KeyPair
  generateKeyPair(): KeyPair
  /** True if something can be sealed to this key: 32 bytes, canonical, of large order. */
  isUsable(theirs: Bytes): boolean
}

export const HPKE_SECRET_BYTES = 32
export const HPKE_PUBLIC_BYTES = 32

const NONE = new Uint8Array(0)
const VERSION = utf8('HPKE-v1')
// "KEM" ‖ kem id; "HPKE" ‖ kem id ‖ kdf id ‖ aead id (RFC 9180 §4.1, §5.1).
const KEM_SUITE = concat(utf8('KEM'), Uint8Array.of(0x00, 0x20))
const HPKE_SUITE = concat(utf8('HPKE'), Uint8Array.of(0x00, 0x20, 0x00, 0x01, 0x00, 0x01))
const KEY_BYTES = 16
const NONCE_BYTES = 12
const HASH_BYTES = 32
const MODE_BASE = Uint8Array.of(0)

interface Keys {
  readonly key: Bytes
  readonly nonce: Bytes
  readonly exporter: Bytes
}

interface LabeledKdf {
  extract(suite: Bytes, salt: Bytes, label: string, ikm: Bytes): Bytes
  expand(suite: Bytes, prk: Bytes, label: string, info: Bytes, length: number): Bytes
}

/** LabeledExtract and LabeledExpand (RFC 9180 §4). */
function makeLabeledKdf(primitives: Primitives): LabeledKdf {
  return {
    extract: (suite, salt, label, ikm) =>
      primitives.hmacSha256(salt, concat(VERSION, suite, utf8(label), ikm)),
    expand: (suite, prk, label, info, length) => {
      const size = Uint8Array.of(length >> 8, length & 0xff)
      const input = concat(size, VERSION, suite, utf8(label), info)
      return primitives.hkdfExpandSha256(prk, input, length)
    },
  }
}

interface Kem {
  generate(): KeyPair
  derive(ikm: Bytes): KeyPair
  encapsulate(theirs: Bytes): { readonly enc: Bytes; readonly shared: Bytes } | undefined
  decapsulate(own: KeyPair, enc: Bytes): Bytes | undefined
}

/** DHKEM(X25519, HKDF-SHA256) (RFC 9180 §4.1). */
function makeKem(primitives: Primitives, kdf: LabeledKdf, random: (count: number) => Bytes): Kem {
  const share = (dh: Bytes, enc: Bytes, theirs: Bytes): Bytes => {
    const prk = kdf.extract(KEM_SUITE, NONE, 'eae_prk', dh)
    const shared = kdf.expand(KEM_SUITE, prk, 'shared_secret', concat(enc, theirs), HASH_BYTES)
    wipe(dh, prk)
    return shared
  }
  const generate = (): KeyPair => {
    const secret = random(HPKE_SECRET_BYTES)
    return { secret, publicKey: primitives.dhPublic(secret) }
  }
  return {
    generate,
    derive(ikm) {
      const prk = kdf.extract(KEM_SUITE, NONE, 'dkp_prk', ikm)
      const secret = kdf.expand(KEM_SUITE, prk, 'sk', NONE, HPKE_SECRET_BYTES)
      wipe(prk)
      return { secret, publicKey: primitives.dhPublic(secret) }
    },
    encapsulate(theirs) {
      if (theirs.length !== HPKE_PUBLIC_BYTES) return undefined
      const { secret, publicKey: enc } = generate()
      const dh = primitives.dh(secret, theirs)
      wipe(secret)
      return dh === undefined ? undefined : { enc, shared: share(dh, enc, theirs) }
    },
    decapsulate(own, enc) {
      if (enc.length !== HPKE_PUBLIC_BYTES) return undefined
      const dh = primitives.dh(own.secret, enc)
      return dh === undefined ? undefined : share(dh, enc, own.publicKey)
    },
  }
}

/** The key schedule in base mode (RFC 9180 §5.1); takes a shared secret, which it wipes. */
function makeSchedule(kdf: LabeledKdf): (shared: Bytes, info: Bytes) => Keys {
  const pskIdHash = kdf.extract(HPKE_SUITE, NONE, 'psk_id_hash', NONE)
  return (shared, info) => {
    const infoHash = kdf.extract(HPKE_SUITE, NONE, 'info_hash', info)
    const context = concat(MODE_BASE, pskIdHash, infoHash)
    const prk = kdf.extract(HPKE_SUITE, shared, 'secret', NONE)
    const key = kdf.expand(HPKE_SUITE, prk, 'key', context, KEY_BYTES)
    const nonce = kdf.expand(HPKE_SUITE, prk, 'base_nonce', context, NONCE_BYTES)
    const exporter = kdf.expand(HPKE_SUITE, prk, 'exp', context, HASH_BYTES)
    wipe(shared, prk)
    return { key, nonce, exporter }
  }
}

/** Makes HPKE from primitives; `random` draws ephemeral keys, so a seeded one makes it deterministic. */
export function makeHpke(primitives: Primitives, random: (count: number) => Bytes): Hpke {
  const kdf = makeLabeledKdf(primitives)
  const kem = makeKem(primitives, kdf, random)
  const schedule = makeSchedule(kdf)
  const probe = primitives.sha256(utf8('a secret that protects nothing'))
  const exported = (keys: Keys, context: Bytes, length: number): Bytes => {
    const secret = kdf.expand(HPKE_SUITE, keys.exporter, 'sec', context, length)
    wipeKeys(keys)
    return secret
  }
  return {
    seal(theirs, info, ad, plaintext) {
      const sent = kem.encapsulate(theirs)
      if (sent === undefined) return undefined
      const keys = schedule(sent.shared, info)
      const ciphertext = primitives.sealAesGcm(keys.key, keys.nonce, ad, plaintext)
      wipeKeys(keys)
      return { enc: sent.enc, ciphertext }
    },
    open(own, enc, info, ad, ciphertext) {
      const shared = kem.decapsulate(own, enc)
      if (shared === undefined) return undefined
      const keys = schedule(shared, info)
      const plaintext = primitives.openAesGcm(keys.key, keys.nonce, ad, ciphertext)
      wipeKeys(keys)
      return plaintext
    },
    sendExport(theirs, context, length) {
      const sent = kem.encapsulate(theirs)
      if (sent === undefined) return undefined
      return { enc: sent.enc, secret: exported(schedule(sent.shared, NONE), context, length) }
    },
    receiveExport(own, enc, context, length) {
      const shared = kem.decapsulate(own, enc)
      return shared === undefined ? undefined : exported(schedule(shared, NONE), context, length)
    },
    deriveKeyPair: (ikm) => kem.derive(ikm),
    generateKeyPair: () => kem.generate(),
    isUsable: (theirs) =>
      theirs.length === HPKE_PUBLIC_BYTES && primitives.dh(probe, theirs) !== undefined,
  }
}

function wipeKeys({ key, nonce, exporter }: Keys): void {
  wipe(key, nonce, exporter)
}
