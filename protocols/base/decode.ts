// The result of decoding bytes that a peer sent. Floor 0, pure: remote bytes never throw.
import type { ErrorCode } from './error-codes.ts'

/** A decoded value, or the code that says why the bytes are refused. */
export type Decoded<T, Code extends ErrorCode = ErrorCode> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly code: Code }

/** Wraps a decoded value. */
export function decoded<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value }
}

/** Refuses bytes with a stable code. */
export function refused<Code extends ErrorCode>(
  code: Code,
): { readonly ok: false; readonly code: Code } {
  return { ok: false, code }
}
