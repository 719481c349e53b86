// How the engine's inner functions give up on a peer's bytes. Floor 0, pure.
import type { Decoded } from '../../base/decode.ts'
import { refused } from '../../base/decode.ts'
import { ConclaveError } from '../../base/errors.ts'
import type { EngineCode } from '../mls-engine.ts'

/**
 * Says why bytes of a peer are refused. Thrown only inside this folder: validation is deep, and every
 * public function goes through `answering`, which turns it into a value.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code: EngineCode

  constructor(code: EngineCode, reason: string) {
    super(reason)
    this.code = code
  }
}

/** Refuses, unless the condition holds. */
export function ensure(
  condition: boolean,
  reason: string,
  code: EngineCode = 'GROUP_COMMIT_INVALID',
): asserts condition {
  if (!condition) throw new Refusal(code, reason)
}

/** Refuses what is undefined. */
export function required<T>(
  value: T | undefined,
  reason: string,
  code: EngineCode = 'GROUP_COMMIT_INVALID',
): T {
  if (value === undefined) throw new Refusal(code, reason)
  return value
}

/** Runs a function and answers its value, or the code of the Refusal it threw; faults pass through. */
export function answeringNow<T>(run: () => T): Decoded<T, EngineCode> {
  try {
    return { ok: true, value: run() }
  } catch (error) {
    if (error instanceof Refusal) return refused(error.code)
    throw error
  }
}

/** The same for what takes time. */
export async function answering<T>(run: () => T | Promise<T>): Promise<Decoded<T, EngineCode>> {
  try {
    return { ok: true, value: await run() }
  } catch (error) {
    if (error instanceof Refusal) return refused(error.code)
    throw error
  }
}

/**
 * Runs what decodes an own row, which no peer can spoil.
 *
 * @throws ConclaveError `STORE_CORRUPT` instead of a Refusal.
 */
export function orCorrupt<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (error instanceof Refusal) throw new ConclaveError('STORE_CORRUPT', error.message)
    throw error
  }
}
