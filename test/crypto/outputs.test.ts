// What Primitives promise about arrays: outputs are fresh, inputs are neither changed nor kept.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { native } from '../../src/crypto/native.ts'
import { BOTH } from './support.ts'

const test = suite('crypto · outputs and inputs')

const fill = (length: number, octet: number): Bytes => new Uint8Array(length).fill(octet)

/** Every function of Primitives with inputs that it accepts; each answers byte arrays. */
const calls: Record<string, (p: Primitives, inputs: Bytes[]) => Bytes[]> = {
  sha256: (p, [a, b]) => [p.sha256(a!), p.sha256(a!, b!)],
  hmacSha256: (p, [a, b]) => [p.hmacSha256(a!, b!)],
  hkdfSha256: (p, [a, b]) => [p.hkdfSha256(a!, b!, a!, 80)],
  hkdfExpandSha256: (p, [a, b]) => [p.hkdfExpandSha256(a!, b!, 80)],
  seal: (p, [a, b, n]) => [p.seal(a!, n!, b!, b!), p.seal(a!, n!, b!, fill(0, 0))],
  open: (p, [a, b, n]) => [p.open(a!, n!, b!, native.seal(a!, n!, b!, b!))!],
  sealAesGcm: (p, [a, b, n]) => [p.sealAesGcm(a!, n!, b!, b!)],
  openAesGcm: (p, [a, b, n]) => [p.openAesGcm(a!, n!, b!, native.sealAesGcm(a!, n!, b!, b!))!],
  dhPublic: (p, [a]) => [p.dhPublic(a!)],
  dh: (p, [a, b]) => [p.dh(a!, native.dhPublic(b!))!],
  kemPublic: (p, [, , , seed]) => [p.kemPublic(768, seed!), p.kemPublic(1024, seed!)],
  encapsulate: (p, [a, , , seed]) => {
    const sent = p.encapsulate(768, native.kemPublic(768, seed!), a!)!
    return [sent.ciphertext, sent.secret]
  },
  decapsulate: (p, [, , , seed]) => [p.decapsulate(768, seed!, fill(1_088, 1))!],
  signPublic: (p, [a]) => [p.signPublic(a!)],
  sign: (p, [a, b]) => [p.sign(a!, b!)],
}

const inputs = (): Bytes[] => [fill(32, 1), fill(32, 2), fill(12, 3), fill(64, 4)]

for (const [name, p] of BOTH) {
  for (const [label, call] of Object.entries(calls)) {
    test(`${name}.${label}: outputs own their memory and are no Buffers`, () => {
      for (const out of call(p, inputs())) {
        assert.is(Object.getPrototypeOf(out), Uint8Array.prototype)
        assert.is(out.buffer.byteLength, out.length, 'nothing else shares the memory')
      }
    })

    test(`${name}.${label}: inputs stay as they were; the same call gives the same bytes`, () => {
      const given = inputs()
      const first = call(p, given)
      assert.equal(given, inputs())
      if (name === 'native' && label === 'encapsulate') return // It draws its own coins.
      for (const out of first) out.fill(0)
      const second = call(p, given)
      assert.not.equal(second, first, 'wiping one output does not reach the next')
      assert.equal(call(p, given), second)
    })
  }
}

// The cache of imported keys must go by value, not by array.
test('native: a secret array filled anew is another key', () => {
  const secret = fill(32, 1)
  const first = native.dhPublic(secret)
  secret.fill(2)
  assert.not.equal(native.dhPublic(secret), first)
  secret.fill(1)
  assert.equal(native.dhPublic(secret), first)
})

test('native: verification off the main thread copies what it was given', async () => {
  const secret = fill(32, 1)
  const message = fill(100, 5)
  const signature = native.sign(secret, message)
  const verdict = native.verifyAsync(native.signPublic(secret), message, signature)
  message.fill(0)
  signature.fill(0)
  assert.ok(await verdict)
})

test.run()
