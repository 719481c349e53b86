// What the tests of both Primitives share.
import * as assert from 'uvu/assert'
import { parseHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { readVectors } from '../support/vectors.ts'

/** Both implementations, by name. */
export const BOTH: readonly (readonly [string, Primitives])[] = [
  ['native', native],
  ['portable', portable],
]

/** Parses hexadecimal that the test itself or a vector file holds. */
export function hex(text: string): Bytes {
  const bytes = parseHex(text)
  if (bytes === undefined) throw new TypeError(`not hexadecimal: ${text}`)
  return bytes
}

/** What a call answers; `refused` for undefined and for the assertion on a length of our own. */
export function attempt<T>(call: () => T | undefined): T | 'refused' {
  try {
    return call() ?? 'refused'
  } catch (error) {
    if (error instanceof ConclaveError && error.code === 'BUG_INVARIANT') return 'refused'
    throw error
  }
}

/** One case of Wycheproof: its verdict, and the fields asked for, as text. */
export type Case<Field extends string> = Readonly<Record<Field, string>> & {
  readonly tcId: number
  readonly result: 'valid' | 'acceptable' | 'invalid'
}

interface Wycheproof {
  readonly testGroups: readonly {
    readonly publicKey?: { readonly pk: string }
    readonly tests: readonly Case<never>[]
  }[]
}

/**
 * Reads all cases of a Wycheproof file, pinning their number; undefined if the file is absent.
 *
 * @param fields - Of a case or of its group, which must be there; `publicKey` is the group's raw one.
 */
export function readCases<Field extends string>(
  file: string,
  count: number,
  fields: readonly Field[],
): Case<Field>[] | undefined {
  const vectors = readVectors(`wycheproof · ${file}`, `wycheproof/${file}.json`) as
    Wycheproof | undefined
  if (vectors === undefined) return undefined
  const cases = vectors.testGroups.flatMap((group) =>
    group.tests.map((test) => pick({ ...group, publicKey: group.publicKey?.pk, ...test }, fields)),
  )
  assert.is(cases.length, count, `${file} holds ${count} cases`)
  return cases
}

function pick<Field extends string>(
  all: Case<never> & Readonly<Record<string, unknown>>,
  fields: readonly Field[],
): Case<Field> {
  const { tcId, result } = all
  const picked = fields.map((field) => {
    const value = all[field]
    assert.ok(typeof value === 'string' || typeof value === 'number', `case ${tcId} has ${field}`)
    return [field, String(value)] as const
  })
  return { tcId, result, ...(Object.fromEntries(picked) as Record<Field, string>) }
}

/** Counts verdicts, such as `{ equal: 83, refused: 3 }`. */
export function tally(verdicts: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const verdict of verdicts) counts[verdict] = (counts[verdict] ?? 0) + 1
  return counts
}
