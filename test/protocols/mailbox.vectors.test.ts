// The frozen vectors of mailboxes, accept and reject, over both Primitives.
import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { EnvelopeId } from '../../protocols/direct/types.ts'
import { decodeAuthorisation, isAuthorised } from '../../protocols/mailbox/authorisation.ts'
import { decodeMailboxFrame, encodeMailboxFrame } from '../../protocols/mailbox/frames.ts'
import { parseLease } from '../../protocols/mailbox/lease.ts'
import { parseReceipt } from '../../protocols/mailbox/storage-receipt.ts'
import type { Lease, StorageReceipt } from '../../protocols/mailbox/types.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { makeVectors } from '../../scripts/vectors/mailbox.ts'

const test = suite('mailbox · vectors')

interface Case {
  readonly comment: string
  readonly input: string
  readonly code?: string
  readonly value?: unknown
}
interface Cases {
  readonly accept: readonly Case[]
  readonly reject: readonly Case[]
}
interface Vectors {
  readonly nowMs: number
  readonly recipient: PeerId
  readonly custodian: PeerId
  readonly queueKey: { readonly id: string; readonly publicKey: string }
  readonly envelopeId: EnvelopeId
  readonly leases: Cases
  readonly receipts: Cases
  readonly authorisations: readonly Case[]
  readonly frames: readonly { readonly comment: string; readonly output: string }[]
}

const file = new URL('../../protocols/mailbox/vectors.json', import.meta.url)
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vectors
const { recipient, custodian, envelopeId } = vectors
const nowMs = toTimeMs(vectors.nowMs)
const hex = (text: string): Bytes => parseHex(text)!
const wanted = vectors.receipts.accept[0]!.value as StorageReceipt

for (const [name, primitives] of [
  ['native', native],
  ['portable', portable],
] as const) {
  test(`leases, ${name}`, () => {
    const parse = (input: string) => parseLease(primitives, hex(input), { recipient, nowMs })
    for (const { comment, input, value } of vectors.leases.accept) {
      assert.equal(parse(input), { ok: true, value: value as Lease }, comment)
    }
    for (const { comment, input, code } of vectors.leases.reject) {
      assert.equal(parse(input), { ok: false, code }, comment)
    }
  })

  test(`receipts, ${name}`, () => {
    const { leaseId, size } = wanted
    const check = { custodian, recipient, leaseId, envelopeId, size }
    const parse = (input: string) => parseReceipt(primitives, hex(input), check)
    for (const { comment, input, value } of vectors.receipts.accept) {
      assert.equal(parse(input), { ok: true, value: value as StorageReceipt }, comment)
    }
    for (const { comment, input, code } of vectors.receipts.reject) {
      assert.equal(parse(input), { ok: false, code }, comment)
    }
  })

  test(`authorisations hold for one envelope at one custodian, and not for long, ${name}`, () => {
    const publicKey = hex(vectors.queueKey.publicKey)
    const facts = { custodian, recipient, envelopeId }
    for (const { comment, input } of vectors.authorisations) {
      const right = decodeAuthorisation(hex(input))
      assert.ok(right.ok, comment)
      assert.is(right.value.keyId, vectors.queueKey.id)
      const holds = (of: typeof facts, at = nowMs) =>
        isAuthorised(primitives, publicKey, right.value, of, at)
      assert.ok(holds(facts))
      assert.not.ok(holds({ ...facts, custodian: recipient }))
      assert.not.ok(holds({ ...facts, recipient: custodian }))
      assert.not.ok(holds({ ...facts, envelopeId: 'f'.repeat(64) as EnvelopeId }))
      assert.not.ok(holds(facts, right.value.expiresAt))
      const later = { ...right.value, expiresAt: toTimeMs(right.value.expiresAt + 1) }
      assert.not.ok(isAuthorised(primitives, publicKey, later, facts, nowMs))
    }
  })
}

test('frames keep their octets', () => {
  for (const { comment, output } of vectors.frames) {
    const frame = decodeMailboxFrame(hex(output))
    assert.ok(frame.ok, comment)
    assert.equal(encodeMailboxFrame(frame.value), hex(output), comment)
  }
})

test('the file is what its script makes', () => {
  assert.equal(structuredClone(makeVectors()), structuredClone(vectors))
})

test.run()
