// Codecs of identity: round trips, every truncation, every bit flipped, limits.
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { base32 } from 'multiformats/bases/base32'
import { concat, u8, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { parseAgentCard, signAgentCard } from '../../protocols/identity/agent-card.ts'
import { compareContactRecords, contactRecordKey } from '../../protocols/identity/contact-record.ts'
import {
  parseContactRecord,
  parseContactRecordKey,
} from '../../protocols/identity/contact-record.ts'
import { signContactRecord } from '../../protocols/identity/contact-record.ts'
import { formatDid } from '../../protocols/identity/did.ts'
import { signIdentityCertificate } from '../../protocols/identity/identity-certificate.ts'
import { verifyIdentityCertificate } from '../../protocols/identity/identity-certificate.ts'
import { formatTicket, parseTicket, TICKET_PREFIX } from '../../protocols/identity/ticket.ts'
import * as types from '../../protocols/identity/types.ts'
import type { ContactRecord, Ticket } from '../../protocols/identity/types.ts'
import { native } from '../../src/crypto/native.ts'

const test = suite('identity · codecs')

const secret = new Uint8Array(32).fill(7)
const peer = peerIdFromPublicKey(native.signPublic(secret))
const nowMs = toTimeMs(1_800_000_000_000)
const expiresAt = toTimeMs(nowMs + 86_400_000)
const check = { peer, nowMs }

const certificate = {
  peer,
  identityKey: new Uint8Array(32).fill(9),
  identitySeq: 4,
  issuedAt: nowMs,
}
const card = {
  peer,
  issuedAt: nowMs,
  name: 'Zoë 🦊',
  addresses: ['/ip4/192.0.2.1/tcp/1'],
  protocols: ['/conclave/direct/1.0.0'],
  capabilities: ['build'],
}
const ticket: Ticket = { peer, expiresAt, addresses: ['/ip4/192.0.2.1/tcp/1'], relays: [] }
const record: ContactRecord = {
  peer,
  sequence: 5,
  expiresAt,
  leases: [new Uint8Array(types.LEASE_BYTES).fill(3)],
  addresses: ['/ip4/192.0.2.1/tcp/1'],
  relays: ['/ip4/192.0.2.2/tcp/2/p2p/12D3'],
}

/** Each structure: its bytes, and how they are parsed. */
const structures: Record<string, readonly [Bytes, (bytes: Bytes) => Decoded<object>]> = {
  'identity certificate': [
    signIdentityCertificate(native, secret, certificate),
    (bytes) => verifyIdentityCertificate(native, peer, bytes),
  ],
  'agent card': [signAgentCard(native, secret, card), (bytes) => parseAgentCard(native, bytes)],
  ticket: [
    base32.baseDecode(formatTicket(native, secret, ticket).slice(TICKET_PREFIX.length)),
    (bytes) => parseTicket(native, TICKET_PREFIX + base32.baseEncode(bytes), nowMs),
  ],
  'contact record': [
    signContactRecord(native, secret, record),
    (bytes) => parseContactRecord(native, bytes, check),
  ],
}
const values: Record<string, object> = {
  'identity certificate': certificate,
  'agent card': { ...card, did: formatDid(peer) },
  ticket,
  'contact record': record,
}

for (const [name, [bytes, parse]] of Object.entries(structures)) {
  test(`${name}: a round trip gives back every field`, () => {
    assert.equal(parse(bytes), { ok: true, value: values[name] })
  })

  test(`${name}: every truncation and every octet more is refused`, () => {
    for (let length = 0; length < bytes.length; length++) {
      assert.not(parse(bytes.subarray(0, length)).ok, `${length} octets`)
    }
    for (const more of [u8(0), u8(1), new Uint8Array(64)]) {
      assert.not(parse(concat(bytes, more)).ok)
    }
  })

  test(`${name}: every flipped bit is refused`, () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const spoilt = Uint8Array.from(bytes)
      spoilt[bit >> 3] = (spoilt[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      assert.not(parse(spoilt).ok, `bit ${bit}`)
    }
  })

  test(`${name}: junk of any length is refused with a code, never a throw`, () => {
    const junk = fc.uint8Array({ maxLength: 300 })
    const prefixed = junk.map((tail) => concat(bytes.subarray(0, 39), tail))
    const property = fc.property(fc.oneof(junk, prefixed), (input) => !parse(input).ok)
    fc.assert(property, { numRuns: 500 })
    assert.not(parse(new Uint8Array(100_000)).ok)
  })

  test(`${name}: parsing keeps no hold of the input and does not change it`, () => {
    const input = Uint8Array.from(bytes)
    const found = parse(input)
    assert.equal(input, bytes)
    input.fill(0)
    assert.equal(found, parse(bytes))
  })
}

test('a ticket is pasted whole: every character counts, but for space around it', () => {
  const text = formatTicket(native, secret, ticket)
  assert.ok(parseTicket(native, `  ${text}\r\n`, nowMs).ok)
  for (let at = 0; at < text.length; at++) {
    const changed = text.slice(0, at) + (text[at] === 'a' ? 'b' : 'a') + text.slice(at + 1)
    assert.not(parseTicket(native, changed, nowMs).ok, `character ${at}`)
    assert.not(parseTicket(native, text.slice(0, at), nowMs).ok, `${at} characters`)
  }
  assert.equal(parseTicket(native, ' '.repeat(10_000), nowMs), { ok: false, code: 'CODEC_LENGTH' })
})

test('a ticket holds until the millisecond it expires', () => {
  const text = formatTicket(native, secret, ticket)
  assert.ok(parseTicket(native, text, toTimeMs(expiresAt - 1)).ok)
  assert.equal(parseTicket(native, text, expiresAt), { ok: false, code: 'VERIFY_EXPIRED' })
})

test('the largest structures fit their bounds exactly as stated', () => {
  const address = (length: number): string => `/${'a'.repeat(length - 1)}`
  const full = { addresses: [510, 510, 510].map(address), relays: [508].map(address) }
  const bytes = 2 + 3 * 512 + 510
  assert.is(bytes, types.REACH_BYTES_MAX)
  const text = formatTicket(native, secret, { ...ticket, ...full })
  assert.is(base32.baseDecode(text.slice(TICKET_PREFIX.length)).length, types.TICKET_BYTES_MAX)
  assert.ok(parseTicket(native, text, nowMs).ok)
  const leases = Array.from({ length: types.LEASES_MAX }, () => new Uint8Array(types.LEASE_BYTES))
  const largest = signContactRecord(native, secret, { ...record, ...full, leases })
  assert.ok(largest.length <= types.CONTACT_RECORD_BYTES_MAX)
  assert.ok(parseContactRecord(native, largest, check).ok)
})

test('a caller that breaks a limit is told both numbers', () => {
  const many = (count: number): string[] => Array.from({ length: count }, () => '/a')
  const long = [`/${'a'.repeat(512)}`]
  const wide = Array.from({ length: 9 }, () => `/${'a'.repeat(240)}`)
  const calls: readonly (readonly [() => unknown, RegExp])[] = [
    [() => formatTicket(native, secret, { ...ticket, addresses: many(17) }), /17 .*16/],
    [() => formatTicket(native, secret, { ...ticket, relays: many(9) }), /9 .*8/],
    [() => formatTicket(native, secret, { ...ticket, addresses: long }), /513 .*512/],
    [() => formatTicket(native, secret, { ...ticket, addresses: wide }), /2189 .*2048/],
    [() => formatTicket(native, secret, { ...ticket, addresses: ['/a b'] }), /malformed/],
    [() => signAgentCard(native, secret, { ...card, name: 'a'.repeat(65) }), /65 .*64/],
    [() => signAgentCard(native, secret, { ...card, name: 'a\nb' }), /control/],
    [() => signAgentCard(native, secret, { ...card, capabilities: [''] }), /malformed/],
    [() => signAgentCard(native, secret, { ...card, protocols: many(33) }), /33 .*32/],
    [
      () =>
        signAgentCard(native, secret, {
          ...card,
          addresses: wide,
          capabilities: Array.from({ length: 32 }, () => 'c'.repeat(64)),
        }),
      /4\d\d\d .*4096/,
    ],
    [() => signContactRecord(native, secret, { ...record, leases: [u8(1)] }), /1 bytes, .*193/],
    [
      () => signIdentityCertificate(native, secret, { ...certificate, identityKey: u8(1) }),
      /1 bytes, not 32/,
    ],
  ]
  for (const [call, message] of calls) {
    let thrown: unknown
    try {
      call()
    } catch (error) {
      thrown = error
    }
    assert.instance(thrown, ConclaveError)
    assert.is((thrown as ConclaveError).code, 'USAGE_ARGUMENT')
    assert.match((thrown as ConclaveError).message, message)
  }
})

// Reach §6: "the selector takes the highest sequence"; equal ones must be chosen alike everywhere.
test('of two contact records all nodes keep the same one', () => {
  const make = (sequence: number, lifeMs: number): { record: ContactRecord; bytes: Bytes } => {
    const value = { ...record, sequence, expiresAt: toTimeMs(nowMs + lifeMs) }
    return { record: value, bytes: signContactRecord(native, secret, value) }
  }
  const [old, recent, later] = [make(1, 900), make(2, 100), make(2, 200)]
  assert.ok(compareContactRecords(recent, old) > 0)
  assert.ok(compareContactRecords(old, recent) < 0)
  assert.ok(compareContactRecords(later, recent) > 0)
  assert.is(compareContactRecords(later, later), 0)
  const other = { ...later, bytes: concat(later.bytes, u8(0)) }
  assert.ok(compareContactRecords(other, later) > 0)
})

test('the key of a contact record names its peer and nothing else', () => {
  assert.is(parseContactRecordKey(contactRecordKey(peer)), peer)
  for (const text of ['', '/conclave-contact/', `/conclave-contact/${peer}x`, `/x/${peer}`, peer]) {
    assert.is(parseContactRecordKey(utf8(text)), undefined)
  }
  assert.is(parseContactRecordKey(Uint8Array.of(0xff)), undefined)
})

test.run()
