// Wycheproof: ChaCha20-Poly1305, AES-GCM, HMAC and HKDF over both Primitives.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { concat, equalBytes } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { attempt, BOTH, hex, readCases, tally } from './support.ts'
import type { Case } from './support.ts'

const test = suite('crypto · wycheproof, symmetric')

type AeadCase = Case<'key' | 'iv' | 'aad' | 'msg' | 'ct' | 'tag'>
type Aead = Pick<Primitives, 'seal' | 'open'>

/** `equal`: seals and opens as the vector says; `refused`: opens to nothing; else what went wrong. */
function aeadVerdict(one: AeadCase, aead: Aead): string {
  const [key, iv, aad, msg] = [hex(one.key), hex(one.iv), hex(one.aad), hex(one.msg)]
  const sealed = concat(hex(one.ct), hex(one.tag))
  const found = attempt(() => aead.open(key, iv, aad, sealed))
  if (found === 'refused') return 'refused'
  if (one.result !== 'valid') return `opened invalid case ${one.tcId}`
  if (!equalBytes(found, msg)) return `opened case ${one.tcId} wrongly`
  return equalBytes(aead.seal(key, iv, aad, msg), sealed)
    ? 'equal'
    : `sealed case ${one.tcId} wrongly`
}

const AEAD_FIELDS = ['key', 'iv', 'aad', 'msg', 'ct', 'tag'] as const
const chacha = readCases('chacha20_poly1305', 325, AEAD_FIELDS)
const gcm = readCases('aes_gcm', 316, AEAD_FIELDS)

for (const [name, primitives] of BOTH) {
  if (chacha !== undefined) {
    test(`${name}: ChaCha20-Poly1305 opens the 256 valid cases and refuses the 69 others`, () => {
      const verdicts = chacha.map((one) => aeadVerdict(one, primitives))
      assert.equal(tally(verdicts), { equal: 256, refused: 69 })
    })
  }

  // Direct §3 and groups §4 use 128- and 256-bit keys with 96-bit nonces; all else is refused, valid or not.
  if (gcm !== undefined) {
    test(`${name}: AES-GCM opens what fits the profile and refuses all else`, () => {
      const fits = ({ key, iv }: AeadCase): boolean =>
        (key.length === 32 || key.length === 64) && iv.length === 24
      const aead: Aead = {
        seal: (...args) => primitives.sealAesGcm(...args),
        open: (...args) => primitives.openAesGcm(...args),
      }
      const verdict = (one: AeadCase): string => aeadVerdict(one, aead)
      assert.equal(tally(gcm.filter(fits).map(verdict)), { equal: 79, refused: 54 })
      assert.equal(tally(gcm.filter((one) => !fits(one)).map(verdict)), { refused: 183 })
    })
  }
}

const hmac = readCases('hmac_sha256', 174, ['key', 'msg', 'tag', 'tagSize'])
const hkdf = readCases('hkdf_sha256', 86, ['ikm', 'salt', 'info', 'okm', 'size'])

for (const [name, primitives] of BOTH) {
  if (hmac !== undefined) {
    test(`${name}: HMAC-SHA-256 agrees with the 66 valid tags and with none of the 108 others`, () => {
      const verdicts = hmac.map(({ key, msg, tag, tagSize, result }) => {
        const mac = primitives.hmacSha256(hex(key), hex(msg)).subarray(0, Number(tagSize) / 8)
        return `${result} ${equalBytes(mac, hex(tag)) ? 'equal' : 'different'}`
      })
      assert.equal(tally(verdicts), { 'valid equal': 66, 'invalid different': 108 })
    })
  }

  if (hkdf !== undefined) {
    test(`${name}: HKDF-SHA-256 agrees with 83 cases and refuses the 3 oversized`, () => {
      const verdicts = hkdf.map(({ ikm, salt, info, okm, size, result }) => {
        const found = attempt(() =>
          primitives.hkdfSha256(hex(salt), hex(ikm), hex(info), Number(size)),
        )
        if (found === 'refused') return `${result} refused`
        return `${result} ${equalBytes(found, hex(okm)) ? 'equal' : 'different'}`
      })
      assert.equal(tally(verdicts), { 'valid equal': 83, 'invalid refused': 3 })
    })

    test(`${name}: extract and expand apart give what HKDF gives at once`, () => {
      for (const { ikm, salt, info, okm, size, result } of hkdf) {
        if (result !== 'valid') continue
        const prk: Bytes = primitives.hmacSha256(hex(salt), hex(ikm))
        assert.equal(primitives.hkdfExpandSha256(prk, hex(info), Number(size)), hex(okm))
      }
    })
  }
}

test.run()
