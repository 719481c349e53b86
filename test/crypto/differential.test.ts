// Native and portable Primitives give the same bytes and the same refusals, on random inputs.
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { HKDF_BYTES_MAX, KEM_LENGTHS } from '../../src/crypto/checks.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { attempt, BOTH } from './support.ts'

const test = suite('crypto · native equals portable')

const bytes = (maxLength: number): fc.Arbitrary<Bytes> => fc.uint8Array({ maxLength })
const exactly = (length: number): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ minLength: length, maxLength: length })
const parameter = fc.constantFrom(768 as const, 1024 as const)

/** Asserts equal answers or equal refusals. */
function agree(call: (primitives: Primitives) => Bytes | boolean | undefined): void {
  assert.equal(
    attempt(() => call(native)),
    attempt(() => call(portable)),
  )
}

/** Asserts that `call` agrees on whatever `inputs` draws. */
function agreeOn<T extends [unknown, ...unknown[]]>(
  inputs: { [K in keyof T]: fc.Arbitrary<T[K]> },
  call: (primitives: Primitives, ...drawn: T) => Bytes | boolean | undefined,
  numRuns = 100,
): void {
  const property = fc.property(...inputs, (...drawn: T) => {
    agree((primitives) => call(primitives, ...drawn))
  })
  fc.assert(property, { numRuns })
}

test('SHA-256 over parts', () => {
  agreeOn([fc.array(bytes(200), { maxLength: 4 })], (p, parts) => p.sha256(...parts))
})

test('HMAC with keys and messages around every block and buffer boundary', () => {
  agreeOn([bytes(200), bytes(1_200)], (p, key, message) => p.hmacSha256(key, message))
  for (const keyBytes of [0, 1, 63, 64, 65, 128]) {
    for (const messageBytes of [0, 1, 447, 448, 511, 512, 513, 5_000]) {
      const [key, message] = [
        new Uint8Array(keyBytes).fill(7),
        new Uint8Array(messageBytes).fill(9),
      ]
      agree((p) => p.hmacSha256(key, message))
    }
  }
})

test('HKDF of every length, and its refusal beyond 255 blocks', () => {
  const length = fc.integer({ min: 0, max: 600 })
  agreeOn([bytes(80), bytes(80), bytes(80), length], (p, salt, ikm, info, l) =>
    p.hkdfSha256(salt, ikm, info, l),
  )
  agreeOn([bytes(80), bytes(80), length], (p, prk, info, l) => p.hkdfExpandSha256(prk, info, l))
  const none = new Uint8Array(0)
  for (const [, p] of BOTH) {
    assert.is(p.hkdfExpandSha256(none, none, HKDF_BYTES_MAX).length, HKDF_BYTES_MAX)
    for (const wrong of [HKDF_BYTES_MAX + 1, -1, 1.5, Number.NaN]) {
      assert.is(
        attempt(() => p.hkdfSha256(none, none, none, wrong)),
        'refused',
      )
    }
  }
})

test('AEADs seal alike, and open what the other sealed', () => {
  const inputs = fc.tuple(exactly(12), bytes(100), bytes(2_000))
  for (const keyBytes of [16, 32]) {
    const property = fc.property(exactly(keyBytes), inputs, (key, [nonce, ad, plaintext]) => {
      agree((p) => p.sealAesGcm(key, nonce, ad, plaintext))
      assert.equal(
        portable.openAesGcm(key, nonce, ad, native.sealAesGcm(key, nonce, ad, plaintext)),
        plaintext,
      )
      if (keyBytes === 16) return
      agree((p) => p.seal(key, nonce, ad, plaintext))
      assert.equal(native.open(key, nonce, ad, portable.seal(key, nonce, ad, plaintext)), plaintext)
    })
    fc.assert(property)
  }
})

test('a flipped bit anywhere, or a missing octet, opens to nothing', () => {
  const [key, nonce, ad] = [new Uint8Array(32), new Uint8Array(12), Uint8Array.of(1, 2)]
  for (const [, p] of BOTH) {
    const sealed = p.seal(key, nonce, ad, Uint8Array.of(1, 2, 3))
    const sealedGcm = p.sealAesGcm(key, nonce, ad, Uint8Array.of(1, 2, 3))
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      for (const [whole, open] of [
        [sealed, (bytes: Bytes) => p.open(key, nonce, ad, bytes)],
        [sealedGcm, (bytes: Bytes) => p.openAesGcm(key, nonce, ad, bytes)],
      ] as const) {
        const spoilt = Uint8Array.from(whole)
        spoilt[bit >> 3] = (spoilt[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        assert.is(open(spoilt), undefined)
        assert.is(open(whole.subarray(0, bit >> 3)), undefined)
      }
    }
    assert.is(p.open(key, nonce, Uint8Array.of(1, 3), sealed), undefined)
    assert.is(p.openAesGcm(key, nonce, Uint8Array.of(1, 3), sealedGcm), undefined)
  }
})

test('keys and nonces of a wrong length are asserted against, by both', () => {
  const empty = new Uint8Array(0)
  agreeOn([bytes(40), bytes(16)], (p, key, nonce) => p.seal(key, nonce, empty, empty))
  agreeOn([bytes(40), bytes(16)], (p, key, nonce) => p.openAesGcm(key, nonce, empty, empty))
  for (const [, p] of BOTH) {
    for (const length of [0, 31, 33, 64]) {
      const wrong = new Uint8Array(length)
      const nonce = new Uint8Array(12)
      const calls = [
        () => p.seal(wrong, nonce, empty, empty),
        () => p.open(wrong, nonce, empty, empty),
        () => p.dhPublic(wrong),
        () => p.dh(wrong, new Uint8Array(32).fill(9)),
        () => p.signPublic(wrong),
        () => p.sign(wrong, empty),
        () => p.kemPublic(768, new Uint8Array(length + 1)),
      ]
      for (const call of calls) assert.is(attempt(call), 'refused')
    }
    for (const length of [0, 15, 17, 24, 31]) {
      const key = new Uint8Array(length)
      assert.is(
        attempt(() => p.sealAesGcm(key, new Uint8Array(12), empty, empty)),
        'refused',
      )
    }
  }
})

test('X25519: public keys, shared secrets and what random octets are refused', () => {
  agreeOn([exactly(32)], (p, secret) => p.dhPublic(secret), 20)
  agreeOn([exactly(32), exactly(32)], (p, secret, theirs) => p.dh(secret, theirs), 20)
  agreeOn([exactly(32), bytes(40)], (p, secret, theirs) => p.dh(secret, theirs), 20)
  const both = fc.property(exactly(32), exactly(32), (a, b) => {
    assert.equal(native.dh(a, portable.dhPublic(b)), portable.dh(b, native.dhPublic(a)))
  })
  fc.assert(both, { numRuns: 20 })
})

test('Ed25519: keys, signatures, and verdicts on signatures with one octet changed', () => {
  const change = fc.tuple(fc.integer({ min: 0, max: 63 }), fc.integer({ min: 0, max: 255 }))
  const property = fc.property(exactly(32), bytes(200), change, (secret, message, [at, octet]) => {
    agree((p) => p.signPublic(secret))
    agree((p) => p.sign(secret, message))
    const key = native.signPublic(secret)
    const signature = portable.sign(secret, message)
    for (const [, p] of BOTH) assert.ok(p.verify(key, message, signature))
    signature[at] = octet
    agree((p) => p.verify(key, message, signature))
  })
  fc.assert(property, { numRuns: 25 })
  agreeOn([bytes(34), bytes(10), bytes(66)], (p, ...drawn) => p.verify(...drawn))
  agreeOn([exactly(32), bytes(10), exactly(64)], (p, ...drawn) => p.verify(...drawn))
})

test('ML-KEM: keys, decapsulation of junk, and verdicts on keys with one octet changed', () => {
  agreeOn([parameter, exactly(64)], (p, set, seed) => p.kemPublic(set, seed), 10)
  const junk = parameter.chain((set) =>
    fc.tuple(fc.constant(set), exactly(KEM_LENGTHS[set].ciphertextBytes), exactly(64)),
  )
  agreeOn([junk], (p, [set, ciphertext, seed]) => p.decapsulate(set, seed, ciphertext), 10)
  const at = fc.integer({ min: 0, max: 1_183 })
  const changed = fc.tuple(parameter, exactly(64), at, fc.integer({ min: 0, max: 255 }))
  const coins = new Uint8Array(32)
  agreeOn(
    [changed],
    (p, [set, seed, index, octet]) => {
      const key = native.kemPublic(set, seed)
      key[index] = octet
      const verdict = p.encapsulate(set, key, coins) !== undefined
      assert.is(p.isKemKey(set, key), verdict)
      return verdict
    },
    60,
  )
})

test.run()
