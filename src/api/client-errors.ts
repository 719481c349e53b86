// Errors as both ends of the local API, and the command line, write them. Floor 4.
import { ERROR_CODES } from '../../protocols/base/error-codes.ts'
import type { ErrorCode, Family, Retry } from '../../protocols/base/error-codes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'

/** An error as one JSON object. Facts such as `id` and `state` stand beside the code. */
export interface ErrorObject {
  readonly ok: false
  readonly error: Readonly<Record<string, unknown>> & {
    readonly code: ErrorCode
    readonly message: string
    readonly hint: string
    readonly retry: Retry
  }
}

// For errors that were thrown without a hint of their own.
const FAMILY_HINTS: Readonly<Record<Family, string>> = {
  BUG: 'please report this, with the log around it',
  USAGE: 'conclave help lists every command with its arguments',
  NETWORK: 'conclave why PEER shows what stands between',
  VERIFY: 'do not trust what was refused; ask the other side over another way',
  CODEC: 'the other side may run another version; compare conclave --version',
  STATE: 'conclave status and conclave outbox show where things stand',
  LIMIT: 'wait and try again, or ask for less',
  STORE: 'check the disk and the permissions of the home',
}

/** What an exit code of the command line means, by family. */
const EXIT_CODES: Readonly<Record<Family, number>> = {
  BUG: 1,
  USAGE: 2,
  NETWORK: 3,
  VERIFY: 4,
  CODEC: 4,
  STATE: 5,
  LIMIT: 6,
  STORE: 7,
}

/** Turns whatever was thrown into an error with a code; what has none is a bug. */
export function toConclaveError(thrown: unknown): ConclaveError {
  if (thrown instanceof ConclaveError) return thrown
  const said = thrown instanceof Error ? thrown.message : String(thrown)
  return new ConclaveError('BUG_INVARIANT', `unexpected: ${said}`, { cause: thrown })
}

/** The hint of an error, or its family's. */
export function hintOf(error: ConclaveError): string {
  return error.hint ?? FAMILY_HINTS[error.family]
}

/** Formats an error as the object that the API answers and `--json` prints. */
export function formatError(error: ConclaveError): ErrorObject {
  const { code, message, retry } = error
  return { ok: false, error: { ...error.data, code, message, hint: hintOf(error), retry } }
}

/** The exit code of an error. */
export function exitCodeOf(error: ConclaveError): number {
  return EXIT_CODES[error.family]
}

/** Reads an error object back; undefined if `value` is none. */
export function parseError(value: unknown): ConclaveError | undefined {
  if (!isRecord(value) || !isRecord(value['error'])) return undefined
  const { code, message, hint, retry: _, ...data } = value['error']
  if (typeof code !== 'string' || typeof message !== 'string' || !isErrorCode(code)) {
    return undefined
  }
  return new ConclaveError(code, message, {
    ...(typeof hint === 'string' && { hint }),
    ...(Object.keys(data).length > 0 && { data }),
  })
}

/** True for an object that is no list. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code)
}
