// Encodings that implementations elsewhere disagree about: one verdict here, a refusal (direct §13, 15).
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ED25519_TORSION_SUBGROUP, ed25519 } from '@noble/curves/ed25519.js'
import { sha512 } from '@noble/hashes/sha2.js'
import { concat } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { isCanonicalScalar, isStrictPoint } from '../../src/crypto/strict-ed25519.ts'
import { isKemKey } from '../../src/crypto/strict-ml-kem.ts'
import { isCanonicalU } from '../../src/crypto/strict-x25519.ts'
import { native } from '../../src/crypto/native.ts'
import { BOTH, hex } from './support.ts'

const test = suite('crypto · strict encodings')

const { Point } = ed25519
const P = 2n ** 255n - 19n
const L = 2n ** 252n + 27742317777372353535851937790883648493n
const message = Uint8Array.of(1, 2, 3)
const torsion = ED25519_TORSION_SUBGROUP.map((text) => Point.fromBytes(hex(text)))

function littleEndian(value: bigint): Bytes {
  return hex(value.toString(16).padStart(64, '0')).reverse()
}

function toNumber(bytes: Bytes): bigint {
  return bytes.reduceRight((value, octet) => (value << 8n) | BigInt(octet), 0n)
}

/** Signs with secret scalar `a` under the public key `a·B + shift`, with `R = r·B + rShift`. */
function forge(shift: typeof Point.BASE, rShift: typeof Point.BASE): readonly [Bytes, Bytes] {
  const [a, r] = [12_345n, 67_890n]
  const key = Point.BASE.multiply(a).add(shift).toBytes()
  const encodedR = Point.BASE.multiply(r).add(rShift).toBytes()
  const k = toNumber(sha512(concat(encodedR, key, message))) % L
  return [key, concat(encodedR, littleEndian((r + k * a) % L))]
}

// Direct §3: "`dh` MUST refuse u ≥ p, a set high bit and an all-zero result."
test('X25519 refuses u ≥ p, a set high bit, and points of low order', () => {
  const low = [
    0n,
    1n,
    P - 1n,
    toNumber(hex('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800')),
    toNumber(hex('5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157')),
  ]
  const secret = new Uint8Array(32).fill(5)
  for (const [, p] of BOTH) {
    for (const u of low) assert.is(p.dh(secret, littleEndian(u)), undefined)
    for (let over = 0n; over < 19n; over++) {
      assert.is(p.dh(secret, littleEndian(P + over)), undefined)
    }
    assert.is(p.dh(secret, littleEndian(9n + 2n ** 255n)), undefined)
    assert.ok(p.dh(secret, littleEndian(9n)))
    assert.ok(p.dh(secret, littleEndian(P - 2n)))
  }
})

test('the bounds of field, group order and modulus are exact', () => {
  assert.ok(isCanonicalU(littleEndian(P - 1n)))
  assert.not(isCanonicalU(littleEndian(P)))
  assert.not(isCanonicalU(littleEndian(2n ** 255n - 1n)))
  assert.not(isCanonicalU(new Uint8Array(31)))
  assert.ok(isCanonicalScalar(littleEndian(0n)))
  assert.ok(isCanonicalScalar(littleEndian(L - 1n)))
  assert.not(isCanonicalScalar(littleEndian(L)))
  assert.not(isCanonicalScalar(littleEndian(L + 1n)))
  const key = new Uint8Array(1_184)
  key.set([0x00, 0x0d, 0xd0], 1_149) // 3328 and 3328
  assert.ok(isKemKey(768, key))
  key.set([0x01, 0x0d, 0x00], 1_149) // 3329
  assert.not(isKemKey(768, key))
  key.set([0x00, 0x10, 0xd0], 1_149) // 0 and 3329
  assert.not(isKemKey(768, key))
})

test('all eight points of small order are refused, under both signs, as key and as R', () => {
  const base = Point.BASE.toBytes()
  for (const point of torsion) {
    const encoded = point.toBytes()
    assert.not(isStrictPoint(encoded))
    const flipped = Uint8Array.from(encoded)
    flipped[31] = (flipped[31] ?? 0) ^ 0x80
    assert.not(isStrictPoint(flipped))
    for (const [, p] of BOTH) {
      const zero = new Uint8Array(32)
      assert.not(p.verify(encoded, message, concat(encoded, zero)))
      assert.not(p.verify(base, message, concat(encoded, zero)))
    }
  }
  assert.ok(isStrictPoint(base))
})

// The key of small order alone makes S = 0 with R = identity hold for every message somewhere else.
test('a signature that would hold for every message holds for none', () => {
  const identity = Point.ZERO.toBytes()
  for (const [, p] of BOTH) {
    for (let i = 0; i < 16; i++) {
      assert.not(p.verify(identity, Uint8Array.of(i), concat(identity, new Uint8Array(32))))
    }
  }
})

// A key or R with a component of small order satisfies the equation with cofactor and not without it:
// some agents would take such a signature and others not. Both Primitives compute it without.
test('mixed-order keys and R get one verdict from both implementations', () => {
  const [key, signature] = forge(Point.ZERO, Point.ZERO)
  for (const [, p] of BOTH) assert.ok(p.verify(key, message, signature))
  let lenient = 0
  for (const shift of torsion) {
    for (const rShift of torsion) {
      const [mixedKey, mixed] = forge(shift, rShift)
      if (ed25519.verify(mixed, message, mixedKey, { zip215: true })) lenient++
      const verdicts = BOTH.map(([, p]) => p.verify(mixedKey, message, mixed))
      assert.is(verdicts[0], verdicts[1])
      if (shift.is0() && !rShift.is0()) assert.not(verdicts[0])
    }
  }
  assert.is(lenient, 64, 'every one of them holds with cofactor')
})

test('S + L, and an R or key with y ≥ p, are refused', () => {
  const secret = new Uint8Array(32).fill(3)
  const key = native.signPublic(secret)
  const signature = native.sign(secret, message)
  const malleated = concat(
    signature.subarray(0, 32),
    littleEndian(toNumber(signature.subarray(32)) + L),
  )
  for (const [, p] of BOTH) {
    assert.ok(p.verify(key, message, signature))
    assert.not(p.verify(key, message, malleated))
    for (let over = 0n; over < 19n; over++) {
      const encoded = littleEndian(P + over)
      assert.not(p.verify(encoded, message, signature))
      assert.not(p.verify(key, message, concat(encoded, signature.subarray(32))))
    }
  }
})

test('lengths that a peer gets wrong are refusals, not throws', () => {
  const secret = new Uint8Array(32).fill(3)
  for (const [, p] of BOTH) {
    for (const length of [0, 31, 33, 63, 65]) {
      const wrong = new Uint8Array(length)
      assert.is(p.dh(secret, wrong), undefined)
      assert.not(p.verify(wrong, message, new Uint8Array(64)))
      assert.not(p.verify(native.signPublic(secret), message, wrong))
      assert.is(p.encapsulate(768, wrong, secret), undefined)
      assert.is(p.decapsulate(1024, new Uint8Array(64), wrong), undefined)
    }
  }
})

test.run()
