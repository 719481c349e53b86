// The MLS working group's vectors: read, typed loosely, and counted.
import { ciphersuites } from 'ts-mls'
import type { CiphersuiteImpl, CiphersuiteName } from 'ts-mls'
import * as assert from 'uvu/assert'
import { parseHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { makeSuite } from '../../protocols/group/mls/keys/suite.ts'
import type { Suite } from '../../protocols/group/mls/keys/suite.ts'
import { native } from '../../src/crypto/native.ts'
import { defaultImpl, toCiphersuiteImpl } from './mls-provider.ts'
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

/** A case that names its cipher suite. */
export interface OfSuite {
  readonly cipher_suite: number
}

const NAMES = new Map<number, CiphersuiteName>()
for (const [name, id] of Object.entries(ciphersuites)) NAMES.set(id, name as CiphersuiteName)

/** The value, which vectors promise. */
export function given<T>(value: T | undefined | null): T {
  if (value === undefined || value === null) throw new Error('the vector has no such value')
  return value
}

/** ts-mls's name of a cipher suite. */
export function nameOf(id: number): CiphersuiteName {
  return given(NAMES.get(id))
}

/**
 * Runs each case with an implementation of its suite, and pins how many ran.
 *
 * @param expected - Cases over our Primitives, over the library's provider, and without any: those need
 *   optional peers of ts-mls that are not installed.
 */
// The caller says what the file holds.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
export async function runOverPackage<T extends OfSuite>(
  file: string,
  expected: readonly [ours: number, library: number, absent: number],
  check: (entry: T, impl: CiphersuiteImpl) => Promise<void>,
): Promise<void> {
  const cases = mlsVectors<T>(file)
  if (cases === undefined) return
  let [ours, library, missing] = [0, 0, 0]
  const absent = new Set<number>()
  for (const entry of cases) {
    const id = entry.cipher_suite
    const impl = id === 1 ? toCiphersuiteImpl(ourSuite) : await defaultImpl(nameOf(id))
    if (impl === undefined) {
      missing++
      absent.add(id)
      continue
    }
    await check(entry, impl)
    if (id === 1) ours++
    else library++
  }
  assert.equal([ours, library, missing], expected)
  assert.equal([...absent], missing === 0 ? [] : [3, 4, 6])
}
