// KeyPackages (RFC 9420 §10): made, verified, and kept with their private part. Floor 0, pure.
import { decodeKeyPackage, encodeKeyPackage, encodeKeyPackageTBS } from 'ts-mls/keyPackage.js'
import type { KeyPackage } from 'ts-mls/keyPackage.js'
import { encodeLeafNodeTBS } from 'ts-mls/leafNode.js'
import type { LeafNodeKeyPackage } from 'ts-mls/leafNode.js'
import { encodeMlsMessage } from 'ts-mls/message.js'
import { concat, equalBytes, makeReader, u8, wipe } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import { ConclaveError } from '../../../base/errors.ts'
import { publicKeyOf } from '../../../base/ids.ts'
import type { PeerId } from '../../../base/ids.ts'
import type { TimeMs } from '../../../base/time.ts'
import { KEY_PACKAGE_MS, KEY_PACKAGE_SKEW_MS, LAST_RESORT_EXTENSION } from '../../mls-engine.ts'
import type { Identity, KeyPackageFacts, OwnKeyPackage } from '../../mls-engine.ts'
import { readVec, vec } from '../../tls.ts'
import { decodeMessage, decodeStrictly } from './codec.ts'
import { toCredential } from '../credential.ts'
import type { KeyPair } from '../keys/hpke.ts'
import { HPKE_SECRET_BYTES } from '../keys/hpke.ts'
import { SUITE_NAME } from '../keys/suite.ts'
import type { Suite } from '../keys/suite.ts'
import { ownCapabilities } from '../profile.ts'
import { ensure, orCorrupt } from '../refusal.ts'
import { verifyLeaf } from '../tree/validate.ts'

/** Largest KeyPackage. */
const KEY_PACKAGE_BYTES_MAX = 4_096
const VERSION = 1
const NONE = new Uint8Array(0)

/** A KeyPackage of ours with its private keys. */
export interface PrivateKeyPackage {
  readonly keyPackage: KeyPackage
  readonly ref: Bytes
  readonly init: KeyPair
  readonly leaf: KeyPair
}

/** Makes and signs a KeyPackage. */
export function makeKeyPackage(
  suite: Suite,
  self: Identity,
  nowMs: TimeMs,
  lastResort: boolean,
): PrivateKeyPackage {
  const init = suite.hpke.generateKeyPair()
  const leaf = suite.hpke.generateKeyPair()
  const unsignedLeaf = {
    leafNodeSource: 'key_package',
    hpkePublicKey: leaf.publicKey,
    signaturePublicKey: publicKeyOf(self.peer),
    credential: toCredential(self.peer),
    capabilities: ownCapabilities(),
    lifetime: {
      notBefore: toSeconds(nowMs - KEY_PACKAGE_SKEW_MS),
      notAfter: toSeconds(nowMs + KEY_PACKAGE_MS),
    },
    extensions: [],
  } as const satisfies Omit<LeafNodeKeyPackage, 'signature' | 'extensions'> & { extensions: [] }
  const leafTbs = encodeLeafNodeTBS({ ...unsignedLeaf, extensions: [] })
  const leafNode: LeafNodeKeyPackage = {
    ...unsignedLeaf,
    extensions: [],
    signature: suite.signWithLabel(self, 'LeafNodeTBS', leafTbs),
  }
  const extensions = lastResort
    ? [{ extensionType: LAST_RESORT_EXTENSION, extensionData: NONE }]
    : []
  const common = { version: 'mls10', cipherSuite: SUITE_NAME } as const
  const tbs = { ...common, initKey: init.publicKey, leafNode, extensions }
  const signature = suite.signWithLabel(self, 'KeyPackageTBS', encodeKeyPackageTBS(tbs))
  const keyPackage = { ...tbs, signature }
  return { keyPackage, ref: refOf(suite, keyPackage), init, leaf }
}

function toSeconds(ms: number): bigint {
  return BigInt(Math.floor(Math.max(0, ms) / 1_000))
}

/** The KeyPackageRef (RFC 9420 §5.2). */
export function refOf(suite: Suite, keyPackage: KeyPackage): Bytes {
  return suite.refHash('KeyPackage Reference', encodeKeyPackage(keyPackage))
}

/** Encodes a KeyPackage as MLSMessage. */
export function encodeKeyPackageMessage(keyPackage: KeyPackage): Bytes {
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_key_package', keyPackage })
}

/** A verified KeyPackage. */
export interface VerifiedKeyPackage {
  readonly keyPackage: KeyPackage
  readonly ref: Bytes
  readonly peer: PeerId
}

/** Decodes and verifies a KeyPackage in an MLSMessage. */
export function readKeyPackage(suite: Suite, bytes: Bytes): VerifiedKeyPackage {
  ensure(bytes.length <= KEY_PACKAGE_BYTES_MAX, 'the KeyPackage is too large')
  const { keyPackage } = decodeMessage('mls_key_package', bytes)
  return { keyPackage, ref: refOf(suite, keyPackage), peer: verifyKeyPackage(suite, keyPackage) }
}

/** Verifies a KeyPackage but for its lifetime (RFC 9420 §10.1), and answers its peer. */
export function verifyKeyPackage(suite: Suite, keyPackage: KeyPackage): PeerId {
  const { cipherSuite, leafNode, initKey, extensions, signature } = keyPackage
  ensure(cipherSuite === SUITE_NAME, 'another cipher suite')
  const known = extensions.every(({ extensionType }) => extensionType === LAST_RESORT_EXTENSION)
  ensure(known && extensions.length <= 1, 'KeyPackage extensions outside the profile')
  const peer = verifyLeaf(suite, leafNode, NONE, 0)
  const tbs = encodeKeyPackageTBS(keyPackage)
  const signed = suite.verifyWithLabel(leafNode.signaturePublicKey, 'KeyPackageTBS', tbs, signature)
  ensure(signed, 'the KeyPackage signature is false')
  ensure(!equalBytes(initKey, leafNode.hpkePublicKey), 'init and leaf key are the same')
  ensure(suite.hpke.isUsable(initKey), 'the init key is unusable')
  return peer
}

/** The facts of a verified KeyPackage. */
export function toFacts({ keyPackage, peer, ref }: VerifiedKeyPackage): KeyPackageFacts {
  const { leafNode, extensions } = keyPackage
  return {
    peer,
    ref,
    notBeforeMs: toMs(leafNode.lifetime.notBefore),
    notAfterMs: toMs(leafNode.lifetime.notAfter),
    lastResort: extensions.length === 1,
  }
}

function toMs(seconds: bigint): number {
  const last = BigInt(Math.floor(Number.MAX_SAFE_INTEGER / 1_000))
  return Number(seconds < last ? seconds : last) * 1_000
}

/** Encodes a KeyPackage with its private keys. */
export function encodeOwn(own: PrivateKeyPackage): OwnKeyPackage {
  const { keyPackage, ref, init, leaf } = own
  const secret = concat(u8(VERSION), init.secret, leaf.secret, vec(encodeKeyPackage(keyPackage)))
  return { keyPackage: encodeKeyPackageMessage(keyPackage), ref, secret }
}

/**
 * Decodes what `encodeOwn` made.
 *
 * @throws ConclaveError `STORE_CORRUPT`.
 */
export function decodeOwn(suite: Suite, secret: Bytes): PrivateKeyPackage {
  const reader = makeReader(secret)
  const version = reader.u8()
  const initSecret = reader.take(HPKE_SECRET_BYTES)
  const leafSecret = reader.take(HPKE_SECRET_BYTES)
  const encoded = readVec(reader, KEY_PACKAGE_BYTES_MAX)
  if (version !== VERSION || !reader.done || encoded === undefined) {
    throw new ConclaveError('STORE_CORRUPT', 'a KeyPackage of ours does not decode')
  }
  const keyPackage = orCorrupt(() => decodeStrictly(decodeKeyPackage, encodeKeyPackage, encoded))
  return {
    keyPackage,
    ref: refOf(suite, keyPackage),
    init: { secret: initSecret, publicKey: keyPackage.initKey },
    leaf: { secret: leafSecret, publicKey: keyPackage.leafNode.hpkePublicKey },
  }
}

/** Zeroizes the private keys. */
export function wipeOwn({ init, leaf }: PrivateKeyPackage): void {
  wipe(init.secret, leaf.secret)
}
