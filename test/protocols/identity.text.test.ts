// What people read and compare: DIDs, fingerprints, safety numbers; and which addresses are given to others.
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatHex } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey, peerIdToBytes } from '../../protocols/base/ids.ts'
import { signatureInput } from '../../protocols/base/signed.ts'
import { formatDid, parseDid } from '../../protocols/identity/did.ts'
import { formatFingerprint, formatSafetyNumber } from '../../protocols/identity/fingerprint.ts'
import { matchesSafetyNumber } from '../../protocols/identity/fingerprint.ts'
import { dialAddresses, encodeReach, toReach } from '../../protocols/identity/reach.ts'
import { ADDRESSES_MAX, REACH_BYTES_MAX, RELAYS_MAX } from '../../protocols/identity/types.ts'
import { native } from '../../src/crypto/native.ts'

const test = suite('identity · text and addresses')

const keys = fc.uint8Array({ minLength: 32, maxLength: 32 })
const peer = peerIdFromPublicKey(new Uint8Array(32).fill(1))
const other = peerIdFromPublicKey(new Uint8Array(32).fill(2))

test('every Ed25519 key has one DID, which begins z6Mk and comes back', () => {
  const property = fc.property(keys, (key) => {
    const owner = peerIdFromPublicKey(key)
    const did = formatDid(owner)
    assert.match(did, /^did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}$/)
    assert.is(parseDid(did), owner)
  })
  fc.assert(property)
})

test('any other text is no DID', () => {
  const did = formatDid(peer)
  const property = fc.property(fc.string({ minLength: 56, maxLength: 56 }), (text) => {
    assert.is(parseDid(text), undefined)
    assert.is(parseDid(`did:key:z6Mk${text.slice(0, 44)}!`), undefined)
  })
  fc.assert(property)
  for (let at = 0; at < 12; at++) {
    assert.is(parseDid(`${did.slice(0, at)}_${did.slice(at + 1)}`), undefined)
  }
})

// CLI §1: "the first 30 bytes of SHA-256(PeerId bytes ‖ X25519 identity key), each 5 of them big-endian
// mod 100,000, zero-padded".
test('a fingerprint is six groups of five digits and depends on both keys', () => {
  const property = fc.property(keys, keys, (key, identityKey) => {
    const fingerprint = formatFingerprint(native, peerIdFromPublicKey(key), identityKey)
    assert.match(fingerprint, /^\d{5}( \d{5}){5}$/)
    assert.is.not(fingerprint, formatFingerprint(native, peer, identityKey))
  })
  fc.assert(property)
})

test('five octets are taken as one big-endian number, zero-padded', () => {
  let padded = 0
  for (let octet = 0; octet < 200; octet++) {
    const identityKey = new Uint8Array(32).fill(octet)
    const digest = native.sha256(peerIdToBytes(peer), identityKey)
    const groups = [0, 5, 10, 15, 20, 25].map((at) => {
      const value = BigInt(`0x${formatHex(digest.subarray(at, at + 5))}`) % 100_000n
      if (value < 10_000n) padded++
      return value.toString().padStart(5, '0')
    })
    assert.is(formatFingerprint(native, peer, identityKey), groups.join(' '))
  }
  assert.ok(padded > 50, 'groups with leading zeros were seen')
})

test('a typed safety number matches however it is spaced, and in no other way', () => {
  const one = formatFingerprint(native, peer, new Uint8Array(32))
  const two = formatFingerprint(native, other, new Uint8Array(32))
  const number = formatSafetyNumber(one, two)
  assert.is(number, formatSafetyNumber(two, one))
  assert.is(number.length, 71)
  const digits = number.replaceAll(' ', '')
  for (const typed of [
    number,
    digits,
    number.replaceAll(' ', '-'),
    ` ${number.replace(' ', '\n')} `,
  ]) {
    assert.ok(matchesSafetyNumber(number, typed))
  }
  const swapped = number.slice(36) + ' ' + number.slice(0, 35)
  for (const typed of [
    '',
    digits.slice(1),
    `${digits}0`,
    one,
    swapped,
    digits.replace(/\d/, 'x'),
  ]) {
    assert.not(matchesSafetyNumber(number, typed))
  }
  for (let at = 0; at < digits.length; at++) {
    const digit = (Number(digits[at]) + 1) % 10
    assert.not(matchesSafetyNumber(number, `${digits.slice(0, at)}${digit}${digits.slice(at + 1)}`))
  }
})

test('addresses through a relay become relays, and come back as addresses', () => {
  const relay = `/ip4/192.0.2.9/tcp/4001/p2p/${other}`
  const addresses = [`/ip4/192.0.2.1/tcp/1/p2p/${peer}`, `${relay}/p2p-circuit/p2p/${peer}`]
  const reach = toReach(peer, addresses)
  assert.equal(reach, { addresses: [addresses[0]], relays: [relay] })
  assert.equal(dialAddresses(peer, reach), addresses)
})

test('what does not fit is left out, and the rest encodes', () => {
  const address = fc.oneof(
    fc.string({ maxLength: 600 }),
    fc.string({ maxLength: 300 }).map((text) => `/${text}`),
    fc.integer({ min: 1, max: 600 }).map((length) => `/${'a'.repeat(length)}`),
    fc.integer({ min: 1, max: 90 }).map((port) => `/ip4/192.0.2.9/tcp/${port}`),
    fc.integer({ min: 1, max: 90 }).map((port) => `/tcp/${port}/p2p-circuit/p2p/${peer}`),
    fc.constant(`/tcp/1/p2p-circuit/p2p/${other}`),
  )
  const property = fc.property(fc.array(address, { maxLength: 60 }), (addresses) => {
    const reach = toReach(peer, addresses)
    assert.ok(encodeReach(reach).length <= REACH_BYTES_MAX)
    assert.ok(reach.addresses.length <= ADDRESSES_MAX && reach.relays.length <= RELAYS_MAX)
    for (const dialled of dialAddresses(peer, reach)) assert.ok(addresses.includes(dialled))
  })
  fc.assert(property, { numRuns: 300 })
})

// The length in front keeps the end of a label and the beginning of the bytes apart.
test('two labels never sign the same input', () => {
  const label = fc.string({ minLength: 1, maxLength: 20 })
  const bytes = fc.uint8Array({ maxLength: 20 })
  const property = fc.property(label, bytes, label, bytes, (a, aBytes, b, bBytes) => {
    if (a !== b) assert.not.equal(signatureInput(a, aBytes), signatureInput(b, bBytes))
  })
  fc.assert(property, { numRuns: 500 })
})

test.run()
