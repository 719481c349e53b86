// `assert.throws` for promises, and for the stable codes of errors.
import * as assert from 'uvu/assert'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { ErrorCode } from '../../protocols/base/error-codes.ts'

/** Demands that `work` rejects with a ConclaveError of this code, and answers the error. */
export async function rejects(work: Promise<unknown>, code: ErrorCode): Promise<ConclaveError> {
  const error: unknown = await work.then(
    () => new Error('it resolved'),
    (reason: unknown) => reason,
  )
  if (!(error instanceof ConclaveError))
    throw error instanceof Error ? error : new Error(String(error))
  assert.is(error.code, code)
  return error
}
