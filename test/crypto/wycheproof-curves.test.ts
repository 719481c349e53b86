// Wycheproof: X25519 and Ed25519 over both Primitives.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { equalBytes, formatHex } from '../../protocols/base/bytes.ts'
import { attempt, BOTH, hex, readCases, tally } from './support.ts'

const test = suite('crypto · wycheproof, curves')

const P = 2n ** 255n - 19n
const u = (key: string): bigint => BigInt(`0x${formatHex(hex(key).reverse())}`)

const x25519 = readCases('x25519', 518, ['public', 'private', 'shared'])
const ed25519 = readCases('ed25519', 151, ['publicKey', 'msg', 'sig'])

for (const [name, primitives] of BOTH) {
  // Direct §3: "`dh` MUST refuse u ≥ p, a set high bit and an all-zero result." Nothing else is refused:
  // twist points and edge cases, which Wycheproof calls acceptable, agree.
  if (x25519 !== undefined) {
    test(`${name}: X25519 agrees with 474 cases and refuses the 44 non-canonical or zero ones`, () => {
      const verdicts = x25519.map((one) => {
        const unfit = u(one.public) >= P || /^0+$/.test(one.shared)
        const found = attempt(() => primitives.dh(hex(one.private), hex(one.public)))
        if (found === 'refused') return unfit ? 'refused' : `refused case ${one.tcId}`
        return equalBytes(found, hex(one.shared)) && !unfit ? 'equal' : `case ${one.tcId} wrong`
      })
      assert.equal(tally(verdicts), { equal: 474, refused: 44 })
    })
  }

  if (ed25519 !== undefined) {
    test(`${name}: Ed25519 verifies the 88 valid cases and none of the 63 others`, () => {
      const verdicts = ed25519.map(({ publicKey, msg, sig, result }) => {
        const valid = primitives.verify(hex(publicKey), hex(msg), hex(sig))
        return `${result} ${valid ? 'verified' : 'refused'}`
      })
      assert.equal(tally(verdicts), { 'valid verified': 88, 'invalid refused': 63 })
    })

    test(`${name}: asynchronous verification gives the same verdicts`, async () => {
      const verdicts = await Promise.all(
        ed25519.map(async ({ publicKey, msg, sig, result }) => {
          const valid = await primitives.verifyAsync(hex(publicKey), hex(msg), hex(sig))
          return `${result} ${valid ? 'verified' : 'refused'}`
        }),
      )
      assert.equal(tally(verdicts), { 'valid verified': 88, 'invalid refused': 63 })
    })
  }
}

test.run()
