// Time as data. Floor 0, pure: no clock is read here; `nowMs` always arrives as an argument.
import type { Brand } from './brand.ts'

/** Milliseconds since the Unix epoch, an integer from 0 to 2^53 - 1. */
export type TimeMs = Brand<number, 'TimeMs'>

export const SECOND_MS = 1_000
export const MINUTE_MS: number = 60 * SECOND_MS
export const HOUR_MS: number = 60 * MINUTE_MS
export const DAY_MS: number = 24 * HOUR_MS

/**
 * Brands a number as a time.
 *
 * @throws RangeError if `ms` is not an integer between 0 and 2^53 - 1.
 */
export function toTimeMs(ms: number): TimeMs {
  if (!Number.isSafeInteger(ms) || ms < 0) throw new RangeError(`not a time: ${String(ms)}`)
  return ms as TimeMs
}

/** Formats a time as RFC 3339 UTC with milliseconds, e.g. `2026-11-01T12:00:00.000Z`. */
export function formatTime(ms: TimeMs): string {
  return new Date(ms).toISOString()
}
