// Keys as OpenSSL wants them, imported once and cached. Floor 1 (spec: direct §3).
// Curve keys come in by Node's raw formats, measured 15-20 % faster than DER, where this Node has them
// (they came late in Node 24); ML-KEM seeds by DER, measured twice as fast.
//
// Node tells what it is given apart by exceptions that it throws and catches itself. Collecting their stack traces took
// a third of a private import and two thirds of a public one, so imports run without.
import { createPrivateKey, createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { concat, wipe } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { invariant } from '../../protocols/base/errors.ts'
import type { KemParameter } from '../../protocols/base/primitives.ts'
import { hex } from './checks.ts'
import { makeKeyCache, publicName, secretName } from './key-cache.ts'

/** Curves of RFC 8410. */
export type Curve = 'x25519' | 'ed25519'

/* Implementation constants. An ML-KEM key holds its expanded matrix, hence few of them. */
const PRIVATE_KEYS_MAX = 512
const PUBLIC_KEYS_MAX = 4_096
const KEM_KEYS_MAX = 64

const HAS_RAW = hasRaw()

/** Node's names of the algorithms. */
const TYPES = {
  x25519: 'x25519',
  ed25519: 'ed25519',
  768: 'ml-kem-768',
  1024: 'ml-kem-1024',
} as const

const privateKeys = makeKeyCache(PRIVATE_KEYS_MAX)
const publicKeys = makeKeyCache(PUBLIC_KEYS_MAX)
const kemKeys = makeKeyCache(KEM_KEYS_MAX)

// PKCS #8 version 0 with an OCTET STRING of 32 bytes (RFC 8410 §7); ML-KEM: context tag 0 holding the
// 64-byte seed alone.
const PKCS8_HEAD: Readonly<Record<Curve | KemParameter, Bytes>> = {
  x25519: hex('302e020100300506032b656e04220420'),
  ed25519: hex('302e020100300506032b657004220420'),
  768: hex('3054020100300b060960864801650304040204428040'),
  1024: hex('3054020100300b060960864801650304040304428040'),
}

// SubjectPublicKeyInfo: a BIT STRING without unused bits (RFC 8410 §4).
const SPKI_HEAD: Readonly<Record<Curve | KemParameter, Bytes>> = {
  x25519: hex('302a300506032b656e032100'),
  ed25519: hex('302a300506032b6570032100'),
  768: hex('308204b2300b0609608648016503040402038204a100'),
  1024: hex('30820632300b06096086480165030404030382062100'),
}

/** Imports a 32-byte curve secret, or finds it imported. */
export function privateKey(curve: Curve, secret: Bytes): KeyObject {
  return privateKeys.get(secretName(curve, secret), () => importPrivate(curve, secret))
}

/** Imports a 64-byte ML-KEM seed, or finds it imported. */
export function kemPrivateKey(parameter: KemParameter, seed: Bytes): KeyObject {
  return kemKeys.get(secretName(String(parameter), seed), () => importPrivateDer(parameter, seed))
}

/** Imports a 32-byte public key, or finds it imported; OpenSSL accepts any 32 bytes here. */
export function publicKey(curve: Curve, bytes: Bytes): KeyObject {
  return publicKeys.get(publicName(curve, bytes), () => importPublic(curve, bytes))
}

/** Imports an ML-KEM encapsulation key that passed `isKemKey`; used once, so not cached. */
export function kemPublicKey(parameter: KemParameter, bytes: Bytes): KeyObject {
  return importPublic(parameter, bytes)
}

/** The raw public half of a private key. */
export function publicHalf(key: KeyObject): Bytes {
  const half = createPublicKey(key)
  if (HAS_RAW) return Uint8Array.from(half.export({ format: 'raw-public' }))
  const jwk: Record<string, unknown> = { ...half.export({ format: 'jwk' }) }
  const text = jwk['x'] ?? jwk['pub']
  invariant(typeof text === 'string', 'a public key exports as JWK')
  return Uint8Array.from(Buffer.from(text, 'base64url')) // OpenSSL's own text needs no strict parser.
}

/** Imports a secret through PKCS #8; the copy is wiped. */
export function importPrivateDer(algorithm: Curve | KemParameter, secret: Bytes): KeyObject {
  const der = concat(PKCS8_HEAD[algorithm], secret)
  const key = asBuffer(der)
  try {
    return untraced(() => createPrivateKey({ key, format: 'der', type: 'pkcs8' }))
  } finally {
    wipe(der)
  }
}

/**
 * Imports a public key through SubjectPublicKeyInfo.
 *
 * @throws Error of Node for an ML-KEM key that fails the modulus check.
 */
export function importPublicDer(algorithm: Curve | KemParameter, bytes: Bytes): KeyObject {
  const key = asBuffer(concat(SPKI_HEAD[algorithm], bytes))
  return untraced(() => createPublicKey({ key, format: 'der', type: 'spki' }))
}

function importPrivate(curve: Curve, secret: Bytes): KeyObject {
  if (!HAS_RAW) return importPrivateDer(curve, secret)
  const key = asBuffer(secret)
  return untraced(() => createPrivateKey({ key, format: 'raw-private', asymmetricKeyType: curve }))
}

function importPublic(algorithm: Curve | KemParameter, bytes: Bytes): KeyObject {
  if (!HAS_RAW) return importPublicDer(algorithm, bytes)
  const key = asBuffer(bytes)
  const asymmetricKeyType = TYPES[algorithm]
  return untraced(() => createPublicKey({ key, format: 'raw-public', asymmetricKeyType }))
}

/** Runs without collecting the stack traces of exceptions. */
function untraced<Result>(work: () => Result): Result {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return work()
  } finally {
    Error.stackTraceLimit = limit
  }
}

function hasRaw(): boolean {
  const key = Buffer.alloc(32, 9)
  try {
    createPublicKey({ key, format: 'raw-public', asymmetricKeyType: 'x25519' })
    return true
  } catch {
    return false // An older Node 24, which knows PEM, DER and JWK only.
  }
}

function asBuffer(bytes: Bytes): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
