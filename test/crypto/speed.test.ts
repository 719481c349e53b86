// Direct §13, 19: "Slow key path on Node 24": the native path is at least twice as fast as raw key bytes.
import { createCipheriv, createHmac } from 'node:crypto'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'

const test = suite('crypto · speed of the native path')

const ROUNDS = 15
const CALLS = 300
const RATIO_MIN = 2

const key = randomBytes(32)
const nonce = randomBytes(12)
const ad = randomBytes(100)
const message = randomBytes(256)

function timeOf(call: () => unknown): number {
  const startedAt = performance.now()
  for (let i = 0; i < CALLS; i++) call()
  return performance.now() - startedAt
}

/**
 * How many times faster `ours` is than `raw`: the median over rounds that measure both, one right
 * after the other, so that a busy machine slows both.
 */
function ratio(ours: () => unknown, raw: () => unknown): number {
  const round = (): number => timeOf(raw) / timeOf(ours)
  for (let i = 0; i < 3; i++) round() // Warm-up: code is compiled while it runs.
  const ratios = Array.from({ length: ROUNDS }, round)
  return ratios.sort((a, b) => a - b)[ROUNDS >> 1] ?? 0
}

/** Tries again before it fails: a pause of the machine is no regression, a slow path stays slow. */
function assertFaster(name: string, ours: () => unknown, raw: () => unknown): void {
  let best = 0
  for (let attempt = 0; attempt < 4 && best < RATIO_MIN; attempt++) {
    best = Math.max(best, ratio(ours, raw))
  }
  assert.ok(best >= RATIO_MIN, `${name} is ${best.toFixed(1)} times as fast, at least ${RATIO_MIN}`)
}

function sealRaw(algorithm: 'chacha20-poly1305' | 'aes-256-gcm'): Buffer {
  const options = { authTagLength: 16 }
  const cipher = createCipheriv(algorithm as 'aes-256-gcm', key, nonce, options)
  cipher.setAAD(ad)
  return Buffer.concat([cipher.update(message), cipher.final(), cipher.getAuthTag()])
}

test('HMAC is at least twice as fast as createHmac over raw bytes', () => {
  const short = Uint8Array.of(1)
  const raw = (): Buffer => createHmac('sha256', key).update(short).digest()
  assertFaster('HMAC', () => native.hmacSha256(key, short), raw)
})

test('ChaCha20-Poly1305 is at least twice as fast as createCipheriv over raw bytes', () => {
  const raw = (): Buffer => sealRaw('chacha20-poly1305')
  assert.equal(Uint8Array.from(raw()), native.seal(key, nonce, ad, message))
  assertFaster('ChaCha20-Poly1305', () => native.seal(key, nonce, ad, message), raw)
})

test('AES-256-GCM is at least twice as fast as createCipheriv over raw bytes', () => {
  const raw = (): Buffer => sealRaw('aes-256-gcm')
  assert.equal(Uint8Array.from(raw()), native.sealAesGcm(key, nonce, ad, message))
  assertFaster('AES-256-GCM', () => native.sealAesGcm(key, nonce, ad, message), raw)
})

test('a cached X25519 key is at least twice as fast as importing it for each call', () => {
  const theirs = native.dhPublic(randomBytes(32))
  const secrets = Array.from({ length: CALLS }, () => randomBytes(32))
  let next = 0
  const fresh = (): unknown => {
    const secret = secrets[next++ % CALLS] ?? key
    secret.set(randomBytes(8)) // Never the same secret twice.
    return native.dh(secret, theirs)
  }
  assertFaster('X25519', () => native.dh(key, theirs), fresh)
})

test.run()
