// The one error class. Floor 0, pure. Remote bytes never throw; callers' and machines' faults do.
import { ERROR_CODES } from './error-codes.ts'
import type { ErrorCode, Family, Retry } from './error-codes.ts'

/** What an error may carry beside its code and message. */
export interface ErrorOptions {
  /** One sentence that says what to do next. */
  readonly hint?: string
  readonly cause?: unknown
  /** The facts a caller may act on, such as `id` and `state` of a message. */
  readonly data?: Readonly<Record<string, unknown>>
}

/** An error with a stable code; `code`, `family` and `retry` are API, the message is not. */
export class ConclaveError extends Error {
  override readonly name = 'ConclaveError'
  readonly code: ErrorCode
  readonly family: Family
  readonly retry: Retry
  readonly hint?: string
  readonly data?: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    ;[this.family, this.retry] = ERROR_CODES[code]
    if (options.hint !== undefined) this.hint = options.hint
    if (options.data !== undefined) this.data = options.data
  }
}

/**
 * Asserts what cannot be otherwise; a failure ends the session, not the process.
 *
 * @throws ConclaveError `BUG_INVARIANT`.
 */
export function invariant(condition: unknown, claim: string): asserts condition {
  if (condition !== true) throw new ConclaveError('BUG_INVARIANT', `invariant broken: ${claim}`)
}
