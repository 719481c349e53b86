// Random bytes and keys from passphrases.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatHex, utf8 } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { deriveScryptKey, SCRYPT_MEMORY_BYTES_MAX } from '../../src/crypto/scrypt.ts'
import type { ScryptCost } from '../../src/crypto/scrypt.ts'

const test = suite('crypto · random bytes and scrypt')

test('draws have the asked length, own their memory and never repeat', () => {
  const seen = new Set<string>()
  for (let i = 0; i < 2_000; i++) {
    const bytes = randomBytes(12 + (i % 100))
    assert.is(bytes.length, 12 + (i % 100))
    assert.is(Object.getPrototypeOf(bytes), Uint8Array.prototype)
    assert.is(bytes.buffer.byteLength, bytes.length)
    seen.add(formatHex(bytes.subarray(0, 12)))
  }
  assert.is(seen.size, 2_000)
  assert.is(randomBytes(0).length, 0)
  assert.is(randomBytes(100_000).length, 100_000)
})

test('every bit of a draw takes both values', () => {
  const [ones, zeros] = [new Uint8Array(32), new Uint8Array(32)]
  for (let i = 0; i < 200; i++) {
    randomBytes(32).forEach((octet, at) => {
      ones[at] = (ones[at] ?? 0) | octet
      zeros[at] = (zeros[at] ?? 0) | ~octet
    })
  }
  assert.equal([ones, zeros], [new Uint8Array(32).fill(255), new Uint8Array(32).fill(255)])
})

// RFC 7914 §12.
test('scrypt agrees with the published vectors', async () => {
  const vectors = [
    ['', '', { N: 16, r: 1, p: 1 }, '77d6576238657b203b19ca42c18a0497'],
    ['password', 'NaCl', { N: 1_024, r: 8, p: 16 }, 'fdbabe1c9d3472007856e7190d01e9fe'],
    [
      'pleaseletmein',
      'SodiumChloride',
      { N: 16_384, r: 8, p: 1 },
      '7023bdcb3afd7348461c06cd81fd38eb',
    ],
  ] as const
  for (const [passphrase, salt, cost, head] of vectors) {
    const key = await deriveScryptKey(utf8(passphrase), utf8(salt), cost, 64)
    assert.is(key.length, 64)
    assert.is(Object.getPrototypeOf(key), Uint8Array.prototype)
    assert.is(formatHex(key.subarray(0, 16)), head)
  }
})

test('a cost that would exhaust the machine is refused before any work', async () => {
  const costs: ScryptCost[] = [
    { N: 2 ** 24, r: 8, p: 1 },
    { N: 2 ** 17, r: 8, p: 17 },
    { N: 3, r: 8, p: 1 },
    { N: 1, r: 8, p: 1 },
    { N: 2 ** 40, r: 1, p: 1 },
    { N: 1_024, r: 0, p: 1 },
    { N: Number.NaN, r: 8, p: 1 },
    { N: 1_024.5, r: 8, p: 1 },
  ]
  for (const cost of costs) {
    let refused: unknown
    try {
      await deriveScryptKey(utf8('x'), new Uint8Array(16), cost)
    } catch (error) {
      refused = error
    }
    assert.instance(refused, ConclaveError)
    assert.is((refused as ConclaveError).code, 'STORE_CORRUPT')
  }
  assert.ok(SCRYPT_MEMORY_BYTES_MAX >= 128 * 8 * 2 ** 17)
})

test.run()
