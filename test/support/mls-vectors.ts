// The MLS working group's vectors: read, typed loosely, and counted.
import * as assert from 'uvu/assert'
import { parseHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { makeSuite } from '../../protocols/group/mls/keys/suite.ts'
import type { Suite } from '../../protocols/group/mls/keys/suite.ts'
import { native } from '../../src/crypto/native.ts'
import { seededBytes } from './seeded.ts'
import { readVectors } from './vectors.ts'

/** A suite over the native Primitives, its randomness seeded. */
export const ourSuite: Suite = makeSuite(native, seededBytes('mls vectors'))

/** Reads hexadecimal of a vector. */
export function hex(text: string): Bytes {
  const bytes = parseHex(text)
  assert.ok(bytes !== undefined, 'vectors are hexadecimal')
  return bytes
}

/** Reads a file of the working group; undefined, and printed as skipped, if it is absent. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller says what its file holds
export function mlsVectors<T>(name: string): readonly T[] | undefined {
  return readVectors(`group · mls vectors · ${name}`, `mls/${name}.json`) as
    readonly T[] | undefined
}

/** Those of cipher suite 1. */
export function ofSuiteOne<T extends { readonly cipher_suite: number }>(
  cases: readonly T[],
): readonly T[] {
  return cases.filter((entry) => entry.cipher_suite === 1)
}
