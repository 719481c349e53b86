// The post-quantum ratchet: sparse, alternating epochs of whole-message ML-KEM-768 (spec.md §4.1.4). Floor 0, pure.
// It gives each message a key, the salt over the classical one. Its offers ride in bodies, which are padded and
// authenticated. Draws are taken by `send` alone: an encapsulation answers at the next envelope.
//
// See: Signal, "The Double Ratchet Algorithm", Triple Ratchet and sparse continuous key agreement.
import { concat, u32, utf8, wipe } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { invariant } from '../base/errors.ts'
import type { Primitives } from '../base/primitives.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import { PQ_EPOCH_LABEL, PQ_START_LABEL } from './labels.ts'
import { CHAIN_MESSAGES_MAX, SCKA_EPOCH_MESSAGES, SCKA_EPOCH_MS } from './types.ts'
import type { SckaOffer } from './types.ts'

/** Octets that `send` draws: an ML-KEM seed d ‖ z, or 32 octets of coins. */
export const SCKA_DRAW_BYTES = 64
const COINS_BYTES = 32

/** Where a message stands in its sender's chains; travels in the header. */
export interface SckaHeader {
  readonly pqEpoch: number
  readonly pqCount: number
  /** Length of the sender's chain of the epoch before. */
  readonly pqPreviousCount: number
}

/** The keys of one direction in one epoch. */
export interface SckaChain {
  readonly epoch: number
  /** 32 bytes, secret. */
  readonly key: Bytes
  /** Count of the next message. */
  readonly count: number
}

/** How far the agreement on the epoch after the one we send in got. */
export type SckaStep =
  | { readonly kind: 'idle' }
  /** Ours to propose: the key pair's seed (64 bytes, secret), and its public half, which rides in bodies. */
  | { readonly kind: 'proposed'; readonly seed: Bytes; readonly key: Bytes }
  /** Theirs: their key, to which the next envelope encapsulates. */
  | { readonly kind: 'answering'; readonly key: Bytes }
  /** Theirs: the ciphertext, which rides in bodies, and our chain of the new epoch (secret). */
  | { readonly kind: 'encapsulated'; readonly ciphertext: Bytes; readonly chain: Bytes }

/** The post-quantum ratchet between two messages. Plain data, all of it secret but the numbers. */
export interface SckaState {
  /** The session's initiator proposes odd epochs, the responder even ones. */
  readonly role: 'initiator' | 'responder'
  /** Root of the newest epoch that is derived here. */
  readonly rootKey: Bytes
  readonly sending: SckaChain
  /** Length of our sending chain of the epoch before `sending.epoch`. */
  readonly previousCount: number
  /** In the epoch of `sending`, or in the one before until its first message is opened. */
  readonly receiving: SckaChain
  /** The peer's chain of the epoch after `receiving.epoch`, if that is derived. */
  readonly nextReceiving?: Bytes
  /** When we began to send in this epoch; 0 in epoch 0. */
  readonly since: TimeMs
  readonly step: SckaStep
}

/** What one message to send takes from the post-quantum ratchet. */
export interface SckaSending {
  readonly state: SckaState
  readonly header: SckaHeader
  /** Fresh: the caller wipes it. */
  readonly key: Bytes
  /** Rides in the body. */
  readonly offer?: SckaOffer
}

/** The keys from the next expected message of the peer to that of a header, one by one. */
export interface SckaCursor {
  /** The next key; each call gives another. A late message needs none: its key was skipped. */
  readonly next: () => Bytes
  /**
   * The state after the keys that were taken.
   *
   * @returns `ok: false` with `DIRECT_OPEN_FAILED` if the last one was not that of the header.
   */
  readonly end: (nowMs: TimeMs) => Decoded<SckaState>
}

/** A sparse continuous key agreement over given primitives. */
export interface Scka {
  /** Epoch 0, from the root of the handshake (32 bytes). */
  start(role: SckaState['role'], pqRoot: Bytes): SckaState
  /**
   * Takes the key of the next message to send, and proposes or answers an epoch where that is due.
   *
   * @param draws - SCKA_DRAW_BYTES fresh random bytes.
   * @returns `ok: false` with `DIRECT_CHAIN_EXHAUSTED`.
   */
  send(state: SckaState, draws: Bytes, nowMs: TimeMs): Decoded<SckaSending>
  /**
   * Finds the keys that lead to a received header, which must be authentic.
   *
   * @returns `ok: false` with `DIRECT_EPOCH_UNKNOWN`, or `DIRECT_OPEN_FAILED` for a header that no honest
   *   peer makes.
   */
  find(state: SckaState, header: SckaHeader): Decoded<SckaCursor>
  /**
   * Takes the offer of a verified body; the state is that of its cursor's end.
   *
   * @returns `ok: false` with `DIRECT_EPOCH_UNKNOWN` or `VERIFY_KEY_INVALID`.
   */
  receive(state: SckaState, offer: SckaOffer, nowMs: TimeMs): Decoded<SckaState>
}

const KEY_STEP = Uint8Array.of(3)
const CHAIN_STEP = Uint8Array.of(4)
const ZEROS = new Uint8Array(32)
const START_INFO = utf8(PQ_START_LABEL)
const EPOCH_INFO = utf8(PQ_EPOCH_LABEL)
const IDLE: SckaStep = { kind: 'idle' }

/** Makes the post-quantum ratchet of suite 1. */
export function makeScka(primitives: Primitives): Scka {
  return {
    start(role, pqRoot) {
      const keys = split(role, primitives.hkdfSha256(ZEROS, pqRoot, START_INFO, 96))
      return {
        role,
        rootKey: keys.rootKey,
        sending: { epoch: 0, key: keys.sending, count: 0 },
        previousCount: 0,
        receiving: { epoch: 0, key: keys.receiving, count: 0 },
        since: toTimeMs(0),
        step: IDLE,
      }
    },
    send: (state, draws, nowMs) => send(primitives, state, draws, nowMs),
    find: (state, header) => find(primitives, state, header),
    receive: (state, offer, nowMs) => receive(primitives, state, offer, nowMs),
  }
}

interface EpochKeys {
  readonly rootKey: Bytes
  readonly sending: Bytes
  readonly receiving: Bytes
}

function split(role: SckaState['role'], keys: Bytes): EpochKeys {
  const [a, b] = [keys.slice(32, 64), keys.slice(64, 96)]
  const rootKey = keys.slice(0, 32)
  wipe(keys)
  return role === 'initiator'
    ? { rootKey, sending: a, receiving: b }
    : { rootKey, sending: b, receiving: a }
}

/** Derives an epoch from a KEM secret, and wipes that. */
function deriveEpoch(primitives: Primitives, state: SckaState, secret: Bytes): EpochKeys {
  const info = concat(EPOCH_INFO, u32(state.sending.epoch + 1))
  const keys = split(state.role, primitives.hkdfSha256(state.rootKey, secret, info, 96))
  wipe(secret)
  return keys
}

/** True if epochs of this number are proposed by the side with this role. */
function isProposedBy(role: SckaState['role'], epoch: number): boolean {
  return (epoch % 2 === 1) === (role === 'initiator')
}

function isDue({ role, sending, receiving, since }: SckaState, nowMs: TimeMs): boolean {
  if (!isProposedBy(role, sending.epoch + 1)) return false
  // At our turn both chains are in one epoch. In epoch 0 `since` is 0: epoch 1 is due at once.
  return sending.count + receiving.count >= SCKA_EPOCH_MESSAGES || nowMs - since >= SCKA_EPOCH_MS
}

function send(
  primitives: Primitives,
  before: SckaState,
  draws: Bytes,
  nowMs: TimeMs,
): Decoded<SckaSending> {
  if (before.sending.count >= CHAIN_MESSAGES_MAX) return refused('DIRECT_CHAIN_EXHAUSTED')
  const state = moveOn(primitives, before, draws, nowMs)
  const { epoch, key, count } = state.sending
  const chain = primitives.hmacSha256(key, CHAIN_STEP)
  const offer = offerOf(state)
  return decoded({
    state: { ...state, sending: { epoch, key: chain, count: count + 1 } },
    header: { pqEpoch: epoch, pqCount: count, pqPreviousCount: state.previousCount },
    key: primitives.hmacSha256(key, KEY_STEP),
    ...(offer !== undefined && { offer }),
  })
}

/** Proposes the next epoch if that is due, or answers the peer's proposal. */
function moveOn(primitives: Primitives, state: SckaState, draws: Bytes, nowMs: TimeMs): SckaState {
  if (state.step.kind === 'answering') {
    const coins = draws.subarray(0, COINS_BYTES)
    const made = primitives.encapsulate(768, state.step.key, coins)
    invariant(made !== undefined, 'a key was checked as it came')
    const keys = deriveEpoch(primitives, state, made.secret)
    const { ciphertext } = made
    return {
      ...state,
      rootKey: keys.rootKey,
      nextReceiving: keys.receiving,
      step: { kind: 'encapsulated', ciphertext, chain: keys.sending },
    }
  }
  if (state.step.kind !== 'idle' || !isDue(state, nowMs)) return state
  const seed = draws.slice(0, SCKA_DRAW_BYTES)
  return { ...state, step: { kind: 'proposed', seed, key: primitives.kemPublic(768, seed) } }
}

function offerOf({ step, sending }: SckaState): SckaOffer | undefined {
  const epoch = sending.epoch + 1
  if (step.kind === 'proposed') return { kind: 'encapsulationKey', epoch, bytes: step.key }
  if (step.kind === 'encapsulated') return { kind: 'ciphertext', epoch, bytes: step.ciphertext }
  return undefined
}

function find(primitives: Primitives, state: SckaState, header: SckaHeader): Decoded<SckaCursor> {
  const { receiving, nextReceiving } = state
  const { pqEpoch, pqCount, pqPreviousCount } = header
  const isNext = pqEpoch === receiving.epoch + 1 && nextReceiving !== undefined
  if (pqEpoch > receiving.epoch && !isNext) return refused('DIRECT_EPOCH_UNKNOWN')
  if (pqCount >= CHAIN_MESSAGES_MAX) return refused('DIRECT_OPEN_FAILED')
  if (!isNext) {
    const isLate = pqEpoch < receiving.epoch || pqCount < receiving.count
    const steps = isLate ? 0 : pqCount - receiving.count + 1
    return decoded(makeCursor(primitives, state, steps, Infinity))
  }
  const outstanding = pqPreviousCount - receiving.count
  if (outstanding < 0) return refused('DIRECT_OPEN_FAILED')
  return decoded(makeCursor(primitives, state, outstanding + pqCount + 1, outstanding))
}

/**
 * Walks the peer's chain.
 *
 * @param steps - How many keys lead to the header's.
 * @param rest - How many of them are of the current chain, before the next one begins.
 */
function makeCursor(
  primitives: Primitives,
  state: SckaState,
  steps: number,
  rest: number,
): SckaCursor {
  let { epoch, key, count } = state.receiving
  let taken = 0
  return {
    next() {
      if (taken === rest && state.nextReceiving !== undefined) {
        ;[epoch, key, count] = [epoch + 1, state.nextReceiving, 0]
      }
      taken += 1
      count += 1
      const pqKey = primitives.hmacSha256(key, KEY_STEP)
      key = primitives.hmacSha256(key, CHAIN_STEP)
      return pqKey
    },
    end(nowMs) {
      if (taken !== steps) return refused('DIRECT_OPEN_FAILED')
      if (taken === 0) return decoded(state)
      const receiving = { epoch, key, count }
      if (epoch === state.receiving.epoch) return decoded({ ...state, receiving })
      return decoded(enter(state, receiving, nowMs))
    },
  }
}

/** Opens the first message of a new epoch: its encapsulator sends in it from now on, too. */
function enter(state: SckaState, receiving: SckaChain, nowMs: TimeMs): SckaState {
  const { nextReceiving: _, ...rest } = state
  if (state.step.kind !== 'encapsulated') return { ...rest, receiving }
  const sending = { epoch: receiving.epoch, key: state.step.chain, count: 0 }
  const previousCount = state.sending.count
  return { ...rest, receiving, sending, previousCount, since: nowMs, step: IDLE }
}

function receive(
  primitives: Primitives,
  state: SckaState,
  { kind, epoch, bytes }: SckaOffer,
  nowMs: TimeMs,
): Decoded<SckaState> {
  const { role, sending, receiving, step } = state
  const isOurs = isProposedBy(role, epoch)
  if (epoch === 0 || isOurs !== (kind === 'ciphertext')) return refused('DIRECT_EPOCH_UNKNOWN')
  if (epoch <= sending.epoch) return decoded(state)
  if (epoch > sending.epoch + 1) return refused('DIRECT_EPOCH_UNKNOWN')
  if (isOurs) {
    if (step.kind !== 'proposed') return refused('DIRECT_EPOCH_UNKNOWN')
    return complete(primitives, state, step.seed, bytes, nowMs)
  }
  if (step.kind !== 'idle') return decoded(state)
  // Whoever proposes has sent in this epoch, and the proposal came in it.
  if (receiving.epoch !== sending.epoch) return refused('DIRECT_EPOCH_UNKNOWN')
  if (!primitives.isKemKey(768, bytes)) return refused('VERIFY_KEY_INVALID')
  // The body that holds it is a view of the plaintext.
  return decoded({ ...state, step: { kind: 'answering', key: bytes.slice() } })
}

/** The answer to our proposal: from now on we send in the new epoch. */
function complete(
  primitives: Primitives,
  state: SckaState,
  seed: Bytes,
  ciphertext: Bytes,
  nowMs: TimeMs,
): Decoded<SckaState> {
  const secret = primitives.decapsulate(768, seed, ciphertext)
  if (secret === undefined) return refused('DIRECT_EPOCH_UNKNOWN')
  const keys = deriveEpoch(primitives, state, secret)
  const { epoch, count } = state.sending
  return decoded({
    ...state,
    rootKey: keys.rootKey,
    sending: { epoch: epoch + 1, key: keys.sending, count: 0 },
    previousCount: count,
    nextReceiving: keys.receiving,
    since: nowMs,
    step: IDLE,
  })
}
