// Labels of key derivations and signatures (spec.md §5). Floor 0, pure. No label is another's prefix.
// The identity certificate's label is in identity/types.ts.

/** Prefix of the handshake transcript T. */
export const HANDSHAKE_LABEL = 'conclave direct v1 handshake'
/** Info of the handshake's key derivation, followed by T. Names the algorithms, as PQXDH asks. */
export const PQXDH_LABEL = 'conclave_X25519_SHA-256_ML-KEM-1024'
/** SK to root key, header keys and post-quantum root. */
export const SESSION_LABEL = 'conclave direct v1 session'
/** Root step: next root key, chain key, next header key. */
export const ROOT_LABEL = 'conclave direct v1 root'
/** Message key under the post-quantum key as salt. */
export const MESSAGE_LABEL = 'conclave direct v1 message'
/** Root of the post-quantum ratchet to its epoch 0. */
export const PQ_START_LABEL = 'conclave direct v1 pq start'
/** KEM secret to a later epoch, followed by its number. */
export const PQ_EPOCH_LABEL = 'conclave direct v1 pq epoch'
/** Signature over a prekey bundle. */
export const BUNDLE_LABEL = 'conclave direct v1 bundle'
/** Signature over a one-time entry. */
export const ONE_TIME_LABEL = 'conclave direct v1 one-time prekey'
