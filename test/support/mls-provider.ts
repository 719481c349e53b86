// Our suite in the shape ts-mls wants: so that its functions, and groups of its members, run over our Primitives.
import { defaultCryptoProvider, getCiphersuiteFromName, getCiphersuiteImpl } from 'ts-mls'
import type { CiphersuiteImpl, CiphersuiteName } from 'ts-mls'
import { equalBytes } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { KeyPair } from '../../protocols/group/mls/keys/hpke.ts'
import { SUITE_NAME } from '../../protocols/group/mls/keys/suite.ts'
import type { Suite } from '../../protocols/group/mls/keys/suite.ts'

type Hpke = CiphersuiteImpl['hpke']
type PublicKey = Awaited<ReturnType<Hpke['importPublicKey']>>
type PrivateKey = Awaited<ReturnType<Hpke['importPrivateKey']>>

const NONE = new Uint8Array(0)

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('HPKE refuses')
  return value
}

// ts-mls types keys as CryptoKeys and only hands them back: ours are octets.
const asPublic = (key: Bytes): PublicKey => key as unknown as PublicKey
const asPrivate = (key: Bytes): PrivateKey => key as unknown as PrivateKey
const octets = (key: PublicKey | PrivateKey): Bytes => key as unknown as Bytes

/** Our cipher suite 1 as ts-mls's. */
export function toCiphersuiteImpl(suite: Suite): CiphersuiteImpl {
  const { primitives, hpke, random } = suite
  const pairOf = (key: PrivateKey): KeyPair => {
    const secret = octets(key)
    return { secret, publicKey: primitives.dhPublic(secret) }
  }
  const exported = ({ secret, publicKey }: KeyPair) => ({
    privateKey: asPrivate(secret),
    publicKey: asPublic(publicKey),
  })
  return {
    name: SUITE_NAME,
    rng: { randomBytes: random },
    hash: {
      digest: async (data) => primitives.sha256(data),
      mac: async (key, data) => primitives.hmacSha256(key, data),
      verifyMac: async (key, mac, data) => equalBytes(primitives.hmacSha256(key, data), mac),
    },
    kdf: {
      size: 32,
      extract: async (salt, ikm) => primitives.hmacSha256(salt, ikm),
      expand: async (prk, info, length) => primitives.hkdfExpandSha256(prk, info, length),
    },
    signature: {
      sign: async (key, message) => primitives.sign(key, message),
      verify: async (key, message, signature) => primitives.verify(key, message, signature),
      keygen: async () => {
        const signKey = random(32)
        return { signKey, publicKey: primitives.signPublic(signKey) }
      },
    },
    hpke: {
      keyLength: 16,
      nonceLength: 12,
      seal: async (key, plaintext, info, ad = NONE) => {
        const { enc, ciphertext } = there(hpke.seal(octets(key), info, ad, plaintext))
        return { enc, ct: ciphertext }
      },
      open: async (key, enc, ciphertext, info, ad = NONE) =>
        there(hpke.open(pairOf(key), enc, info, ad, ciphertext)),
      importPrivateKey: async (key) => asPrivate(key),
      importPublicKey: async (key) => asPublic(key),
      exportPublicKey: async (key) => octets(key),
      exportPrivateKey: async (key) => octets(key),
      encryptAead: async (key, nonce, ad, plaintext) =>
        primitives.sealAesGcm(key, nonce, ad ?? NONE, plaintext),
      decryptAead: async (key, nonce, ad, ciphertext) =>
        there(primitives.openAesGcm(key, nonce, ad ?? NONE, ciphertext)),
      exportSecret: async (key, context, length) =>
        there(hpke.sendExport(octets(key), context, length)),
      importSecret: async (key, context, enc, length) =>
        there(hpke.receiveExport(pairOf(key), enc, context, length)),
      deriveKeyPair: async (ikm) => exported(hpke.deriveKeyPair(ikm)),
      generateKeyPair: async () => exported(hpke.generateKeyPair()),
    },
  }
}

/** The library's own implementation of a suite; undefined where an optional peer of it is not installed. */
export async function defaultImpl(name: CiphersuiteName): Promise<CiphersuiteImpl | undefined> {
  try {
    return await getCiphersuiteImpl(getCiphersuiteFromName(name), defaultCryptoProvider)
  } catch (error) {
    if (error instanceof Error && /is not installed/.test(error.message)) return undefined
    throw error
  }
}
