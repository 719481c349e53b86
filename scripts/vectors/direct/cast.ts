// What the parts of the direct vectors share: the cast, and octets put out of place.
import { formatHex } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import type { ErrorCode } from '../../../protocols/base/error-codes.ts'
import { portable } from '../../../src/crypto/portable.ts'
import { makeAgent } from '../../../test/support/direct-cast.ts'
import type { Agent } from '../../../test/support/direct-cast.ts'

/** One refusal. */
export type Reject = readonly [comment: string, code: ErrorCode, input: Bytes]

export const alice: Agent = makeAgent(portable, 'Alice')
export const bob: Agent = makeAgent(portable, 'Bob')
export const mallory: Agent = makeAgent(portable, 'Mallory')

/** Replaces octets from `at` on; a negative `at` counts from the end. */
export function put(bytes: Bytes, at: number, ...octets: number[]): Bytes {
  const out = Uint8Array.from(bytes)
  out.set(octets, at < 0 ? out.length + at : at)
  return out
}

/** Inverts the lowest bit of one octet. */
export function flip(bytes: Bytes, at: number): Bytes {
  const index = at < 0 ? bytes.length + at : at
  return put(bytes, index, (bytes[index] ?? 0) ^ 1)
}

/** Refusals as they stand in the file. */
export function rejects(spec: string, cases: readonly Reject[]): unknown {
  return cases.map(([comment, code, input]) => ({ comment, spec, input: formatHex(input), code }))
}
