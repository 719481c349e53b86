// Wycheproof: ML-KEM-768 and ML-KEM-1024 over both Primitives: key generation, encapsulation, decapsulation.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { equalBytes } from '../../protocols/base/bytes.ts'
import type { KemParameter } from '../../protocols/base/primitives.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { KEM_LENGTHS } from '../../src/crypto/checks.ts'
import { attempt, BOTH, hex, readCases, tally } from './support.ts'

const test = suite('crypto · wycheproof, ML-KEM')

const COUNTS = [
  [768, { encaps: 265, refused: 132 }],
  [1024, { encaps: 269, refused: 136 }],
] as const
const verdict = (found: boolean, tcId: number): string => (found ? 'equal' : `case ${tcId} wrong`)

for (const [parameter, counts] of COUNTS) {
  const { keyBytes, ciphertextBytes } = KEM_LENGTHS[parameter]
  const keygen = readCases(`mlkem_${parameter}_keygen_seed`, 100, ['seed', 'ek'])
  const encaps = readCases(`mlkem_${parameter}_encaps`, counts.encaps, ['m', 'ek', 'c', 'K'])
  const decaps = readCases(`mlkem_${parameter}`, 193, ['seed', 'c', 'K'])

  for (const [name, primitives] of BOTH) {
    if (keygen !== undefined) {
      test(`${name}: 100 seeds of ML-KEM-${parameter} give the encapsulation keys`, () => {
        const verdicts = keygen.map(({ seed, ek, tcId }) =>
          verdict(equalBytes(primitives.kemPublic(parameter, hex(seed)), hex(ek)), tcId),
        )
        assert.equal(tally(verdicts), { equal: 100 })
      })
    }

    // Valid ones include implicit rejection; invalid ones have a wrong length of seed or ciphertext.
    if (decaps !== undefined) {
      test(`${name}: ML-KEM-${parameter} decapsulates 153 ciphertexts and refuses 40`, () => {
        const verdicts = decaps.map(({ seed, c, K, result, tcId }) => {
          const found = attempt(() => primitives.decapsulate(parameter, hex(seed), hex(c)))
          if (found === 'refused') return `${result} refused`
          return verdict(result === 'valid' && equalBytes(found, hex(K)), tcId)
        })
        assert.equal(tally(verdicts), { equal: 153, 'invalid refused': 40 })
      })
    }

    // FIPS 203 §7.2, the modulus check: "If test fails, the encapsulation key is invalid."
    if (encaps !== undefined) {
      test(`${name}: ML-KEM-${parameter} refuses ${counts.refused} malformed keys and no good one`, () => {
        const verdicts = encaps.map(({ m, ek, result }) => {
          const found = attempt(() => primitives.encapsulate(parameter, hex(ek), hex(m)))
          return `${result} ${found === 'refused' ? 'refused' : 'encapsulated'}`
        })
        const expected = { 'invalid refused': counts.refused, 'valid encapsulated': 133 }
        assert.equal(tally(verdicts), expected)
      })
    }
  }

  // Native encapsulation draws its own coins, so the vectors fix the portable one; natives' are opened below.
  if (encaps !== undefined) {
    test(`portable: 133 encapsulations of ML-KEM-${parameter} with given coins agree`, () => {
      const verdicts = encaps
        .filter(({ result }) => result === 'valid')
        .map(({ m, ek, c, K, tcId }) => {
          const found = portable.encapsulate(parameter, hex(ek), hex(m))
          const equal =
            found !== undefined &&
            equalBytes(found.ciphertext, hex(c)) &&
            equalBytes(found.secret, hex(K))
          return verdict(equal, tcId)
        })
      assert.equal(tally(verdicts), { equal: 133 })
    })
  }

  test(`ML-KEM-${parameter} agrees between native and portable in both directions`, () => {
    for (let i = 0; i < 8; i++) {
      const seed = new Uint8Array(64).fill(i)
      const coins = new Uint8Array(32).fill(i + 1)
      for (const [from, to] of [
        [native, portable],
        [portable, native],
        [native, native],
      ] as const) {
        const sent = from.encapsulate(parameter, to.kemPublic(parameter, seed), coins)
        assert.ok(sent)
        assert.is(sent.ciphertext.length, ciphertextBytes)
        assert.is(sent.secret.length, 32)
        assert.equal(to.decapsulate(parameter, seed, sent.ciphertext), sent.secret)
        const spoilt = Uint8Array.from(sent.ciphertext)
        spoilt[i] = (spoilt[i] ?? 0) ^ 1
        const rejected = to.decapsulate(parameter, seed, spoilt)
        assert.equal(rejected, from.decapsulate(parameter, seed, spoilt))
        assert.not.equal(rejected, sent.secret)
      }
    }
  })

  test(`native encapsulation to ML-KEM-${parameter} draws fresh coins each time`, () => {
    const key = native.kemPublic(parameter, new Uint8Array(64))
    assert.is(key.length, keyBytes)
    const coins = new Uint8Array(32)
    const first = native.encapsulate(parameter, key, coins)
    assert.not.equal(first, native.encapsulate(parameter, key, coins))
  })
}

// A key of the other parameter set must not be taken for one of this.
test('keys and ciphertexts of the other parameter set are refused', () => {
  const other = { 768: 1024, 1024: 768 } as const
  for (const [, primitives] of BOTH) {
    for (const parameter of [768, 1024] as const satisfies readonly KemParameter[]) {
      const { ciphertextBytes } = KEM_LENGTHS[other[parameter]]
      const key = primitives.kemPublic(other[parameter], new Uint8Array(64))
      assert.is(primitives.encapsulate(parameter, key, new Uint8Array(32)), undefined)
      const ciphertext = new Uint8Array(ciphertextBytes)
      assert.is(primitives.decapsulate(parameter, new Uint8Array(64), ciphertext), undefined)
    }
  }
})

test.run()
