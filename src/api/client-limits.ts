// Bounds that both ends of the local API know. Floor 4.

/* Of the contract. */

/** Largest request body, in bytes; more is refused before it is read whole. */
export const REQUEST_BYTES_MAX = 1_048_576
/** Largest body of one message, in bytes. */
export const MESSAGE_BYTES_MAX = 60_000
/** Silence on an event stream is broken by a comment line after this long. */
export const HEARTBEAT_MS = 15_000
/** How long a state is waited for where nothing else is said. */
export const WAIT_SECONDS = 60

/* Implementation constants: ours to tune. */

/** Longest wait that can be asked for: one day. */
export const WAIT_SECONDS_MAX = 86_400
/** Longest PEER or GROUP argument, in characters; a ticket is the longest form. */
export const ARGUMENT_MAX = 8_192
/** Longest `Idempotency-Key`, in characters. */
export const IDEMPOTENCY_KEY_MAX = 256
/** Longest petname or group name, in characters. */
export const NAME_MAX = 128
/** Message ids, peers and the like named in one request. */
export const ITEMS_MAX = 1_000
/** Largest `limit` of a list. */
export const LIST_LIMIT_MAX = 100_000
/** Largest response a client takes, in bytes. */
export const RESPONSE_BYTES_MAX = 268_435_456
