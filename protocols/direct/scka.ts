// The seam of the post-quantum ratchet (spec.md §4.1.4). Floor 0, pure. A suite fixes its SCKA; suite 0
// has none. Its output is the salt over every classical message key, so a suite that adds one changes
// nothing else. Draws are taken by `send` alone: an encapsulation answers at the next message.
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { SckaOffer } from './types.ts'

/** Which post-quantum key a message uses; travels in the header. */
export interface SckaHeader {
  readonly pqEpoch: number
  readonly pqCount: number
  readonly pqPreviousCount: number
}

/** A sparse continuous key agreement whose messages ride in bodies. */
export interface Scka<State> {
  /** The next key to send under, and the offer to carry. */
  send(
    state: State,
    draws: Bytes,
  ): {
    readonly state: State
    readonly header: SckaHeader
    readonly key: Bytes
    readonly offer?: SckaOffer
  }
  /** The key of a received header; the result counts only once the body verifies. */
  find(state: State, header: SckaHeader): Decoded<{ readonly state: State; readonly key: Bytes }>
  /** Takes the offer of a verified body, or its absence. */
  receive(state: State, offer: SckaOffer | undefined): Decoded<State>
}

/** The state of suite 0: nothing. */
export interface NoSckaState {
  readonly kind: 'none'
}

const ZERO_KEY = new Uint8Array(32)
const ZERO_HEADER: SckaHeader = { pqEpoch: 0, pqCount: 0, pqPreviousCount: 0 }

/** The state of every suite 0 session. */
export const NO_SCKA_STATE: NoSckaState = { kind: 'none' }

/** Suite 0: the key is 0×32, all counts are 0, and there are no offers. */
export const noScka: Scka<NoSckaState> = {
  send: (state) => ({ state, header: ZERO_HEADER, key: ZERO_KEY }),
  find: (state, { pqEpoch, pqCount, pqPreviousCount }) =>
    pqEpoch === 0 && pqCount === 0 && pqPreviousCount === 0
      ? decoded({ state, key: ZERO_KEY })
      : refused('DIRECT_EPOCH_UNKNOWN'),
  receive: (state, offer) =>
    offer === undefined ? decoded(state) : refused('DIRECT_EPOCH_UNKNOWN'),
}
