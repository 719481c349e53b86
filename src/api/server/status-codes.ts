// HTTP statuses by family of error. Floor 4.
import type { ErrorCode, Family } from '../../../protocols/base/error-codes.ts'
import type { ConclaveError } from '../../../protocols/base/errors.ts'

const BY_FAMILY: Readonly<Record<Family, number>> = {
  USAGE: 400,
  NETWORK: 503,
  VERIFY: 422,
  CODEC: 422,
  STATE: 409,
  LIMIT: 429,
  STORE: 500,
  BUG: 500,
}

const BY_CODE: Partial<Record<ErrorCode, number>> = {
  // There is no such thing.
  USAGE_NOT_FOUND: 404,
  USAGE_PEER_UNKNOWN: 404,
  USAGE_GROUP_UNKNOWN: 404,
  USAGE_INVITATION_UNKNOWN: 404,
  USAGE_MESSAGE_UNKNOWN: 404,
  USAGE_BODY_TOO_LARGE: 413,
  USAGE_TOKEN: 401,
  USAGE_ORIGIN: 403,
  // Time is up.
  STATE_TIMEOUT: 504,
  STATE_NOT_REACHED: 504,
  STATE_EVENT_GONE: 410,
  // Denied by policy.
  LIMIT_DENIED: 403,
  GROUP_NOT_ADMIN: 403,
}

/** The status that answers an error. */
export function statusOf(error: ConclaveError): number {
  return BY_CODE[error.code] ?? BY_FAMILY[error.family]
}
