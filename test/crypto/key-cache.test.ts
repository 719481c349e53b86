// Imported keys: bounded, forgotten when unused, and the same by every format.
import { createPublicKey, createSecretKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatHex } from '../../protocols/base/bytes.ts'
import { makeKeyCache, publicName, secretName } from '../../src/crypto/key-cache.ts'
import { importPrivateDer, importPublicDer, privateKey } from '../../src/crypto/native-keys.ts'
import { publicHalf, publicKey } from '../../src/crypto/native-keys.ts'

const test = suite('crypto · key cache')

const key = (octet: number): KeyObject => createSecretKey(new Uint8Array(16).fill(octet))

test('a key is imported once while it is held', () => {
  const cache = makeKeyCache(8)
  let imports = 0
  const load = (): KeyObject => {
    imports++
    return key(1)
  }
  assert.is(cache.get('a', load), cache.get('a', load))
  assert.is(imports, 1)
})

test('a cache never holds more than its bound, whatever comes', () => {
  for (const keysMax of [2, 8, 64]) {
    const cache = makeKeyCache(keysMax)
    for (let i = 0; i < 500; i++) {
      cache.get(String(i % 131), () => key(i & 0xff))
      assert.ok(cache.size <= keysMax, `${cache.size} keys, at most ${keysMax}`)
    }
  }
})

test('a key in use outlives any number of others', () => {
  const cache = makeKeyCache(8)
  const mine = key(1)
  cache.get('mine', () => mine)
  for (let i = 0; i < 100; i++) {
    cache.get(String(i), () => key(2))
    const held = cache.get('mine', () => key(3))
    assert.is(held, mine)
  }
})

// A ratchet key that its protocol deleted must not live on in a node that has nothing else to do.
test('keys that nobody uses are forgotten, without keeping the process alive', async () => {
  const cache = makeKeyCache(8, 5)
  cache.get('a', () => key(1))
  cache.get('b', () => key(2))
  for (let waits = 0; cache.size > 0 && waits < 200; waits++) await setTimeout(5)
  assert.is(cache.size, 0)
  cache.get('a', () => key(1))
  assert.is(cache.size, 1)
})

test('a name of a secret tells nothing of it and depends on the kind', () => {
  const secret = new Uint8Array(32).fill(0x41)
  const name = secretName('x25519', secret)
  assert.is(name, secretName('x25519', secret))
  assert.is.not(name, secretName('ed25519', secret))
  assert.not(name.includes('AAAA'))
  assert.is.not(publicName('x25519', secret), publicName('ed25519', secret))
})

test('DER and raw import give equal keys', () => {
  for (const curve of ['x25519', 'ed25519'] as const) {
    const secret = new Uint8Array(32).fill(7)
    const imported = privateKey(curve, secret)
    assert.ok(imported.equals(importPrivateDer(curve, secret)))
    const raw = publicHalf(imported)
    assert.ok(publicKey(curve, raw).equals(importPublicDer(curve, raw)))
    assert.ok(createPublicKey(imported).equals(publicKey(curve, raw)))
    assert.is(formatHex(raw), formatHex(publicHalf(importPrivateDer(curve, secret))))
  }
})

test.run()
