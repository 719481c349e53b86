// What a stream's failures are called. Floor 1.
import { ConclaveError } from '../../protocols/base/errors.ts'

/** `NETWORK_RESET`, unless the cause has a code already. */
export function resetError(cause?: unknown): ConclaveError {
  if (cause instanceof ConclaveError) return cause
  return new ConclaveError('NETWORK_RESET', 'the stream has ended', { cause })
}
