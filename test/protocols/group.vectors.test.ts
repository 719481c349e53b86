// The frozen vectors of groups, accept and reject, over both Primitives.
import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatHex, parseHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { verifyRecord } from '../../protocols/group/commit-record.ts'
import { decodeEntry, encodeEntry, frameIdOf, openFrame } from '../../protocols/group/frame.ts'
import { decodeJoinPackage, encodeJoinPackage } from '../../protocols/group/join-package.ts'
import { frameKey, makeGeneration, openBody } from '../../protocols/group/keys.ts'
import { verifyPayload } from '../../protocols/group/payload.ts'
import { decodePolicy, encodePolicy } from '../../protocols/group/policy.ts'
import { standingOf } from '../../protocols/group/selection.ts'
import type { Vote } from '../../protocols/group/selection.ts'
import { verifyProof } from '../../protocols/group/proof.ts'
import { admit, chainFromGenesis } from '../../protocols/group/chain.ts'
import type { Chain } from '../../protocols/group/chain.ts'
import { verifyAck, verifyLeave, verifyRepair } from '../../protocols/group/signed-notes.ts'
import { decodeSyncFrame, encodeSyncFrame } from '../../protocols/group/sync-frames.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { CommitId, CommitRecord, RecordEntry } from '../../protocols/group/types.ts'
import { makeVectors } from '../../scripts/vectors/group.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'

const test = suite('group · vectors')

interface Case {
  readonly comment: string
  readonly input: string
  readonly code?: string
  readonly frameId?: string
}
interface Cases {
  readonly accept: readonly Case[]
  readonly reject: readonly Case[]
}
interface Selection {
  readonly comment: string
  readonly records: readonly string[]
  readonly votes: readonly (Vote & { readonly peer: PeerId })[]
  readonly tip: string
  readonly voided: readonly string[]
}
interface Vectors {
  readonly generation: Readonly<Record<'tx' | 'genTag' | 'topic' | 'frameKey', string>> & {
    readonly hour: number
  }
  readonly body: Readonly<Record<'bodyKey' | 'commitId' | 'commit' | 'sealed', string>>
  readonly entry: string
  readonly records: Cases
  readonly acks: Cases
  readonly leaves: Cases
  readonly repairs: Cases
  readonly proofs: Cases
  readonly payloads: Cases
  readonly policies: Cases
  readonly frames: Cases
  readonly joinPackages: Cases
  readonly syncFrames: Cases
  readonly selections: readonly Selection[]
}

const file = new URL('../../protocols/group/vectors.json', import.meta.url)
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vectors
const BOTH = [
  ['native', native],
  ['portable', portable],
] as const

const hex = (text: string): Bytes => parseHex(text) ?? new Uint8Array(0)

function assertCases(cases: Cases, decode: (bytes: Bytes) => Decoded<unknown>): void {
  assert.ok(cases.accept.length > 0 && cases.reject.length > 0)
  for (const { comment, input } of cases.accept) {
    assert.ok(decode(hex(input)).ok, `${comment}: taken`)
  }
  for (const { comment, input, code } of cases.reject) {
    assert.equal(decode(hex(input)), { ok: false, code }, comment)
  }
}

const generationOf = (primitives: Primitives) =>
  makeGeneration(primitives, '0'.repeat(64) as CommitId, hex(vectors.generation.tx))

for (const [name, primitives] of BOTH) {
  test(`${name}: a generation's names and keys follow from its secret`, () => {
    const { genTag, topic } = generationOf(primitives)
    assert.is(genTag, vectors.generation.genTag)
    assert.is(topic, vectors.generation.topic)
    const key = frameKey(primitives, hex(vectors.generation.tx), vectors.generation.hour)
    assert.is(formatHex(key), vectors.generation.frameKey)
  })

  test(`${name}: a sealed commit opens under its parent's key alone`, () => {
    const { bodyKey, commitId, commit, sealed } = vectors.body
    const open = (key: Bytes): Bytes | undefined =>
      openBody(primitives, key, commitId as CommitId, hex(sealed))
    assert.is(formatHex(open(hex(bodyKey)) ?? new Uint8Array(0)), commit)
    assert.is(open(new Uint8Array(32)), undefined)
  })

  test(`${name}: signed objects are taken and refused by name`, () => {
    assertCases(vectors.records, (bytes) => verifyRecord(primitives, bytes))
    assertCases(vectors.acks, (bytes) => verifyAck(primitives, bytes))
    assertCases(vectors.leaves, (bytes) => verifyLeave(primitives, bytes))
    assertCases(vectors.repairs, (bytes) => verifyRepair(primitives, bytes))
    assertCases(vectors.proofs, (bytes) => verifyProof(primitives, bytes))
    assertCases(vectors.payloads, (bytes) => verifyPayload(primitives, bytes))
  })

  test(`${name}: frames of each kind open, and false ones are refused by name`, () => {
    const generation = generationOf(primitives)
    assertCases(vectors.frames, (bytes) => openFrame(primitives, generation, bytes))
    for (const { input, frameId, comment } of vectors.frames.accept) {
      assert.is(frameIdOf(primitives, hex(input)), frameId, comment)
      const content = openFrame(primitives, generation, hex(input))
      assert.ok(content.ok && content.value.kind === comment)
    }
  })
}

test('structures without keys are taken and refused by name, and encode to what they were', () => {
  assertCases(vectors.policies, decodePolicy)
  assertCases(vectors.joinPackages, decodeJoinPackage)
  assertCases(vectors.syncFrames, decodeSyncFrame)
  const again = <T>(cases: Cases, decode: (b: Bytes) => Decoded<T>, encode: (v: T) => Bytes) => {
    for (const { input, comment } of cases.accept) {
      const value = decode(hex(input))
      assert.is(value.ok && formatHex(encode(value.value)), input, comment)
    }
  }
  again(vectors.policies, decodePolicy, encodePolicy)
  again(vectors.joinPackages, decodeJoinPackage, encodeJoinPackage)
  again(vectors.syncFrames, decodeSyncFrame, encodeSyncFrame)
  const entry = decodeEntry(hex(vectors.entry))
  assert.is(entry.ok && formatHex(encodeEntry(entry.value)), vectors.entry)
})

/** Admits records until nothing more fits, in whatever order they are given. */
function grown(records: readonly CommitRecord[], entries: readonly RecordEntry[]): Chain {
  const first = entries.find((_, i) => records[i]?.kind === 'genesis')
  assert.ok(first)
  const begun = chainFromGenesis(native, first)
  assert.ok(begun.ok)
  let chain = begun.value
  for (let size = 0; size < chain.nodes.size;) {
    ;({ size } = chain.nodes)
    for (const [i, record] of records.entries()) {
      const entry = entries[i]
      const after = entry && admit(native, chain, record, entry, record.groupId)
      if (after?.ok === true) chain = after.value
    }
  }
  return chain
}

for (const { comment, records, votes, tip, voided } of vectors.selections) {
  test(`selection: ${comment}`, () => {
    const entries = records
      .map((one) => decodeEntry(hex(one)))
      .flatMap((e) => (e.ok ? e.value : []))
    const decodedRecords = entries.flatMap(({ record }) => {
      const one = verifyRecord(native, record)
      return one.ok ? one.value : []
    })
    assert.is(decodedRecords.length, records.length)
    const counted = new Map(votes.map(({ peer, ...vote }) => [peer, vote]))
    for (const isReversed of [false, true]) {
      const order = <T>(list: readonly T[]): readonly T[] =>
        isReversed ? [...list].reverse() : list
      const chain = grown(order(decodedRecords), order(entries))
      const standing = standingOf(chain, counted)
      assert.is(standing.tip, tip)
      assert.equal([...standing.voided].sort(), [...voided].sort())
    }
  })
}

test('the file is what its generator makes', () => {
  assert.equal(JSON.parse(JSON.stringify(makeVectors())), vectors)
})

test.run()
