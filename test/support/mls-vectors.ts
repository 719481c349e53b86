// The MLS working group's vectors: read, typed loosely, and counted.
import { ciphersuites } from 'ts-mls'
import type { CiphersuiteImpl, CiphersuiteName } from 'ts-mls'
import * as assert from 'uvu/assert'
import { parseHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { makeSuite } from '../../protocols/group/mls/keys/suite.ts'
import type { Suite } from '../../protocols/group/mls/keys/suite.ts'
import { native } from '../../src/crypto/native.ts'
import { SUITES_WITHOUT_PROVIDER } from './mls-ledger.ts'
import type { Tally } from './mls-ledger.ts'
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

/** Runs a case; `did` notes the operations that held. */
export type PackageCheck<T> = (
  entry: T,
  impl: CiphersuiteImpl,
  did: (...operations: readonly string[]) => void,
) => Promise<void>

/**
 * Runs each case with an implementation of its suite, suite 1 over our Primitives.
 *
 * Suites without an implementation are those that the ledger names; the tally settles the rest.
 */
export async function runOverPackage<T extends OfSuite>(
  tally: Tally,
  file: string,
  check: PackageCheck<T>,
): Promise<void> {
  for (const entry of mlsVectors<T>(file) ?? []) {
    const id = entry.cipher_suite
    const impl = id === 1 ? toCiphersuiteImpl(ourSuite) : await defaultImpl(nameOf(id))
    assert.is(impl === undefined, SUITES_WITHOUT_PROVIDER.includes(id), `suite ${id}`)
    if (impl === undefined) continue
    await check(entry, impl, (...operations) => tally.ran(file, id, ...operations))
  }
}
