// The catalogue of stable error codes: family and retry of each. Floor 0, pure. Codes are API.

/** Who or what is at fault; decides the exit code and the HTTP status. */
export type Family = 'BUG' | 'USAGE' | 'NETWORK' | 'VERIFY' | 'CODEC' | 'STATE' | 'LIMIT' | 'STORE'

/** Whether doing the same again can help, and when. */
export type Retry = 'never' | 'later' | 'afterResync'

/** Every code: its family and its retry advice. */
export const ERROR_CODES = {
  BUG_INVARIANT: ['BUG', 'never'],

  USAGE_ARGUMENT: ['USAGE', 'never'],
  USAGE_AMBIGUOUS: ['USAGE', 'never'],
  USAGE_UNKNOWN_COMMAND: ['USAGE', 'never'],
  USAGE_UNKNOWN_FLAG: ['USAGE', 'never'],
  USAGE_PEER_ID_INVALID: ['USAGE', 'never'],
  USAGE_PEER_UNKNOWN: ['USAGE', 'never'],
  USAGE_GROUP_UNKNOWN: ['USAGE', 'never'],
  USAGE_INVITATION_UNKNOWN: ['USAGE', 'never'],
  USAGE_MESSAGE_UNKNOWN: ['USAGE', 'never'],
  USAGE_MESSAGE_TOO_LARGE: ['USAGE', 'never'],
  USAGE_HOME_MISSING: ['USAGE', 'never'],
  USAGE_NOT_FOUND: ['USAGE', 'never'],
  USAGE_BODY_TOO_LARGE: ['USAGE', 'never'],
  USAGE_TOKEN: ['USAGE', 'never'],
  USAGE_ORIGIN: ['USAGE', 'never'],
  CONFIG_KEY: ['USAGE', 'never'],
  CONFIG_VALUE: ['USAGE', 'never'],
  CONFIG_TRANSPORT: ['USAGE', 'never'],

  NETWORK_UNREACHABLE: ['NETWORK', 'later'],
  NETWORK_TIMEOUT: ['NETWORK', 'later'],
  NETWORK_RESET: ['NETWORK', 'later'],
  NETWORK_LISTEN: ['NETWORK', 'later'],
  NETWORK_NODE_NOT_RUNNING: ['NETWORK', 'later'],
  NETWORK_NO_CUSTODIAN: ['NETWORK', 'later'],
  TRANSPORT_UNAVAILABLE: ['NETWORK', 'never'],

  VERIFY_SIGNATURE: ['VERIFY', 'never'],
  VERIFY_IDENTITY_MISMATCH: ['VERIFY', 'never'],
  VERIFY_KEY_INVALID: ['VERIFY', 'never'],
  VERIFY_EXPIRED: ['VERIFY', 'never'],
  VERIFY_SAFETY_NUMBER: ['VERIFY', 'never'],

  CODEC_LENGTH: ['CODEC', 'never'],
  CODEC_PADDING: ['CODEC', 'never'],
  CODEC_RESERVED: ['CODEC', 'never'],
  CODEC_MALFORMED: ['CODEC', 'never'],
  CODEC_UNKNOWN_VERSION: ['CODEC', 'never'],
  CODEC_UNKNOWN_SUITE: ['CODEC', 'never'],
  CODEC_UNKNOWN_TYPE: ['CODEC', 'never'],

  STATE_TIMEOUT: ['STATE', 'later'],
  STATE_NOT_REACHED: ['STATE', 'later'],
  STATE_CLOSED: ['STATE', 'later'],
  STATE_EVENT_GONE: ['STATE', 'never'],

  DIRECT_OPEN_FAILED: ['VERIFY', 'never'],
  DIRECT_SESSION_UNKNOWN: ['STATE', 'afterResync'],
  DIRECT_KEY_CONSUMED: ['STATE', 'afterResync'],
  DIRECT_EPOCH_UNKNOWN: ['STATE', 'afterResync'],
  DIRECT_SKIP_LIMIT: ['LIMIT', 'afterResync'],
  DIRECT_OUTBOX_FULL: ['LIMIT', 'later'],
  DIRECT_CHAIN_EXHAUSTED: ['LIMIT', 'later'],
  DIRECT_REFUSED: ['VERIFY', 'later'],
  DIRECT_BUNDLE_OLD: ['VERIFY', 'never'],
  PREKEYS_CONSUMED: ['STATE', 'later'],
  MAILBOX_FULL: ['LIMIT', 'later'],
  MAILBOX_LEASE_EXPIRED: ['STATE', 'later'],
  MAILBOX_REFUSED: ['VERIFY', 'later'],
  LIMIT_RATE: ['LIMIT', 'later'],
  LIMIT_QUOTA: ['LIMIT', 'later'],
  LIMIT_DENIED: ['LIMIT', 'never'],

  GROUP_NAME_TAKEN: ['STATE', 'never'],
  GROUP_EPOCH_STALE: ['STATE', 'afterResync'],
  GROUP_EPOCH_UNKNOWN: ['STATE', 'afterResync'],
  GROUP_COMMIT_INVALID: ['VERIFY', 'never'],
  GROUP_OPEN_FAILED: ['VERIFY', 'never'],
  GROUP_CONSUMED: ['STATE', 'never'],
  GROUP_TOO_FAR_AHEAD: ['LIMIT', 'afterResync'],
  GROUP_NOT_FOR_ME: ['STATE', 'never'],
  GROUP_NOT_ADMIN: ['LIMIT', 'never'],
  GROUP_LAST_ADMIN: ['STATE', 'never'],
  GROUP_NOT_MEMBER: ['STATE', 'never'],
  GROUP_ALREADY_MEMBER: ['STATE', 'never'],
  GROUP_FULL: ['LIMIT', 'never'],

  STORE_KEY_WRONG: ['STORE', 'never'],
  STORE_CORRUPT: ['STORE', 'never'],
  STORE_FULL: ['STORE', 'later'],
  STORE_UNWRITABLE: ['STORE', 'never'],
  STORE_LOCKED: ['STORE', 'later'],
} as const

/** A stable error code. */
export type ErrorCode = keyof typeof ERROR_CODES
