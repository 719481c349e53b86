// The frozen vectors of identity, accept and reject, over both Primitives.
import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatHex, parseHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import { parsePeerId, peerIdFromPublicKey, peerIdToBytes } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { signatureInput, signLabelled } from '../../protocols/base/signed.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { parseAgentCard } from '../../protocols/identity/agent-card.ts'
import { contactRecordKey, parseContactRecord } from '../../protocols/identity/contact-record.ts'
import { formatDid, parseDid } from '../../protocols/identity/did.ts'
import { formatFingerprint, formatSafetyNumber } from '../../protocols/identity/fingerprint.ts'
import { verifyIdentityCertificate } from '../../protocols/identity/identity-certificate.ts'
import { parseTicket } from '../../protocols/identity/ticket.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { makeVectors } from '../../scripts/vectors/identity.ts'

const test = suite('identity · vectors')

interface Case {
  readonly comment: string
  readonly spec: string
  readonly input: string
  readonly peerId?: string
  readonly code?: string
  readonly value?: Readonly<Record<string, unknown>>
}
interface Cases {
  readonly accept: readonly Case[]
  readonly reject: readonly Case[]
}
interface Vectors {
  readonly nowMs: number
  readonly keys: readonly Readonly<Record<string, string>>[]
  readonly dids: { readonly reject: readonly Case[] }
  readonly safetyNumbers: readonly {
    readonly of: [string, string]
    readonly safetyNumber: string
  }[]
  readonly signatureInputs: readonly Readonly<Record<string, string>>[]
  readonly identityCertificates: Cases
  readonly agentCards: Cases
  readonly tickets: Cases
  readonly contactRecords: Cases
}

const file = new URL('../../protocols/identity/vectors.json', import.meta.url)
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vectors
const nowMs = toTimeMs(vectors.nowMs)
const alice = vectors.keys[0]!
const BOTH = [
  ['native', native],
  ['portable', portable],
] as const

const hex = (text: string | undefined): Bytes => parseHex(text ?? '?')!
const peerOf = (one: Case): PeerId => parsePeerId(one.peerId ?? '')!

/** A decoded value as the vectors write it: bytes as hexadecimal. */
const plain = (value: object): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, field: unknown) =>
      field instanceof Uint8Array ? formatHex(field) : field,
    ),
  )

function assertCases(cases: Cases, decode: (one: Case) => Decoded<object>): void {
  for (const one of cases.accept) {
    const found = decode(one)
    assert.ok(found.ok, `${one.comment}: taken`)
    assert.equal(plain(found.value), plain({ peer: one.peerId, ...one.value }), one.comment)
  }
  for (const one of cases.reject) {
    assert.equal(decode(one), { ok: false, code: one.code }, one.comment)
  }
}

for (const [name, primitives] of BOTH) {
  test(`${name}: keys give the peer IDs, DIDs and fingerprints`, () => {
    for (const key of vectors.keys) {
      const publicKey = primitives.signPublic(hex(key['secret']))
      const identityKey = primitives.dhPublic(hex(key['identitySecret']))
      const peer = peerIdFromPublicKey(publicKey)
      assert.equal(
        {
          comment: key['comment'],
          secret: key['secret'],
          publicKey: formatHex(publicKey),
          peerId: peer,
          peerIdBytes: formatHex(peerIdToBytes(peer)),
          did: formatDid(peer),
          identitySecret: key['identitySecret'],
          identityKey: formatHex(identityKey),
          fingerprint: formatFingerprint(primitives, peer, identityKey),
          contactRecordKey: formatHex(contactRecordKey(peer)),
        },
        key,
      )
      assert.is(parseDid(key['did'] ?? ''), peer)
    }
  })

  test(`${name}: signatures cover the label and its length`, () => {
    for (const { label, bytes, input, signature } of vectors.signatureInputs) {
      assert.is(formatHex(signatureInput(label!, hex(bytes))), input)
      const signed = signLabelled(primitives, hex(alice['secret']), label!, hex(bytes))
      assert.is(formatHex(signed), signature)
    }
  })

  test(`${name}: identity certificates`, () => {
    assertCases(vectors.identityCertificates, (one) =>
      verifyIdentityCertificate(primitives, peerOf(one), hex(one.input)),
    )
  })

  test(`${name}: agent cards`, () => {
    assertCases(vectors.agentCards, (one) => parseAgentCard(primitives, hex(one.input)))
  })

  test(`${name}: tickets`, () => {
    assertCases(vectors.tickets, (one) => parseTicket(primitives, one.input, nowMs))
  })

  test(`${name}: contact records`, () => {
    assertCases(vectors.contactRecords, (one) =>
      parseContactRecord(primitives, hex(one.input), { peer: peerOf(one), nowMs }),
    )
  })
}

test('DIDs of other forms are refused', () => {
  assert.is.not(vectors.dids.reject.length, 0)
  for (const { input, comment } of vectors.dids.reject) {
    assert.is(parseDid(input), undefined, comment)
  }
})

test('a safety number is the same on both sides', () => {
  for (const {
    of: [one, other],
    safetyNumber,
  } of vectors.safetyNumbers) {
    assert.is(formatSafetyNumber(one, other), safetyNumber)
    assert.is(formatSafetyNumber(other, one), safetyNumber)
  }
})

test('the file is what the generator makes, and the generator makes it twice', () => {
  assert.equal(plain(makeVectors() as object), vectors)
  assert.equal(makeVectors(), makeVectors())
})

test.run()
