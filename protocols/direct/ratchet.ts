// The Double Ratchet's key schedule (spec.md §4.1.2): chains, Diffie-Hellman steps, skipped keys.
// Floor 0, pure. It seals nothing: callers find the chain of an envelope and use the keys. `Profile`
// lets a differential test run the same code against another deployed ratchet; the product has one profile.
//
// Generating a key pair and the second Diffie-Hellman of a step wait for the next send. Between the two
// a state has neither `secret` nor `sending`, so a stolen state holds one secret less.
//
// See: Signal, "The Double Ratchet Algorithm", header encryption variant.
import { equalBytes, utf8, wipe } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { Primitives } from '../base/primitives.ts'
import type { TimeMs } from '../base/time.ts'
import { ROOT_LABEL } from './labels.ts'
import { addSkipped, findSkipped, OLD_CHAINS_MAX, removeSkipped } from './skipped.ts'
import type { SkippedChain, SkippedChains, SkippedKey } from './skipped.ts'
import { CHAIN_MESSAGES_MAX, SKIP_PER_CHAIN_MAX } from './types.ts'

/** Our current sending chain. */
export interface SendingChain {
  /** Our public ratchet key. */
  readonly ratchetKey: Bytes
  readonly chainKey: Bytes
  /** HKs; empty in the plain header mode. */
  readonly headerKey: Bytes
  /** Ns: count of the next message. */
  readonly count: number
}

/** The peer's current sending chain. */
export interface ReceivingChain {
  readonly chainKey: Bytes
  /** HKr, or in the plain header mode the peer's ratchet key. */
  readonly finder: Bytes
  /** Nr: count of the next message in order. */
  readonly count: number
}

/** A ratchet between two messages. Plain data, all of it secret but the counts. */
export interface RatchetState {
  readonly rootKey: Bytes
  /** Secret of our ratchet key; absent between a received step and our next message. */
  readonly secret?: Bytes
  /** The peer's newest ratchet key; absent in a responder that has received nothing. */
  readonly theirs?: Bytes
  readonly sending?: SendingChain
  /** PN: length of our previous sending chain. */
  readonly previousCount: number
  /** How many sending chains were started. */
  readonly sendingChains: number
  readonly receiving?: ReceivingChain
  /** NHKs; empty in the plain header mode. */
  readonly nextSendingHeader: Bytes
  /** NHKr; empty in the plain header mode. */
  readonly nextReceivingHeader: Bytes
  readonly skipped: SkippedChains
  /** Index of the next skipped key. */
  readonly skippedNext: number
}

/** The classical half of a message header. */
export interface RatchetHeader {
  readonly ratchetKey: Bytes
  readonly previousCount: number
  readonly count: number
}

/** The chain that a header belongs to, as its caller found it. */
export type Place =
  { readonly kind: 'current' | 'next' } | { readonly kind: 'skipped'; readonly chain: SkippedChain }

/** What differs between ratchets of the same family. */
export interface Profile {
  /** Info of the root step. */
  readonly rootLabel: Bytes
  /** `sealed`: a root step also yields a header key. */
  readonly headers: 'sealed' | 'plain'
}

/** The only profile of the product. */
export const PROFILE: Profile = { rootLabel: utf8(ROOT_LABEL), headers: 'sealed' }

/** Keys of one message to send. */
export interface SendingKeys {
  readonly state: RatchetState
  readonly header: RatchetHeader
  readonly headerKey: Bytes
  /** Fresh: the caller wipes it. */
  readonly messageKey: Bytes
}

/** Keys of one received message. */
export interface ReceivingKeys {
  readonly state: RatchetState
  /** May be part of the state before this one: not to be wiped here. */
  readonly messageKey: Bytes
  /** As `PqKeySource` gave it, now or when the message was skipped. */
  readonly pqKey: Bytes
}

/**
 * Gives the post-quantum key of the peer's next message, at each call that of the one after. Both ratchets
 * give each message one key, in the same order, so a skipped message takes one from here, too.
 */
export type PqKeySource = () => Bytes

/** The key schedule over given primitives. */
export interface Ratchet {
  /**
   * Takes the next message key of the sending chain, starting a new chain if the peer's key is new.
   *
   * @param ratchetSecret - 32 fresh random bytes; used only if a chain starts.
   * @returns `ok: false` with `DIRECT_CHAIN_EXHAUSTED`, or `VERIFY_KEY_INVALID` for a weak peer key.
   */
  send(state: RatchetState, ratchetSecret: Bytes): Decoded<SendingKeys>
  /**
   * Takes the key of a received header. The header must be authentic; the result may be kept only
   * once the body is, too.
   *
   * @param nextPqKey - Called for each skipped message and then for this one; not at all for a late one.
   * @returns `ok: false` with `DIRECT_SKIP_LIMIT`, `DIRECT_KEY_CONSUMED`, `DIRECT_OPEN_FAILED` (a header
   *   that no honest peer makes) or `VERIFY_KEY_INVALID`.
   */
  receive(
    state: RatchetState,
    place: Place,
    header: RatchetHeader,
    nowMs: TimeMs,
    nextPqKey: PqKeySource,
  ): Decoded<ReceivingKeys>
}

const MESSAGE_STEP = Uint8Array.of(1)
const CHAIN_STEP = Uint8Array.of(2)
const NONE = new Uint8Array(0)

/** The first state of the initiator: the peer's signed prekey is its first ratchet key. */
export function startInitiator(
  rootKey: Bytes,
  headerKeys: { readonly sending: Bytes; readonly receiving: Bytes },
  theirs: Bytes,
): RatchetState {
  return { ...start(rootKey, headerKeys), theirs }
}

/** The first state of the responder: its signed prekey is its first ratchet key. */
export function startResponder(
  rootKey: Bytes,
  headerKeys: { readonly sending: Bytes; readonly receiving: Bytes },
  secret: Bytes,
): RatchetState {
  return { ...start(rootKey, headerKeys), secret }
}

function start(
  rootKey: Bytes,
  headerKeys: { readonly sending: Bytes; readonly receiving: Bytes },
): RatchetState {
  return {
    rootKey,
    previousCount: 0,
    sendingChains: 0,
    nextSendingHeader: headerKeys.sending,
    nextReceivingHeader: headerKeys.receiving,
    skipped: [],
    skippedNext: 0,
  }
}

/** Makes the key schedule for a profile. */
export function makeRatchet(primitives: Primitives, profile: Profile): Ratchet {
  const kit = { primitives, profile }
  return {
    send: (state, ratchetSecret) => send(kit, state, ratchetSecret),
    receive: (state, place, header, nowMs, nextPqKey) =>
      receive(kit, state, place, header, { nowMs, nextPqKey }),
  }
}

interface Kit {
  readonly primitives: Primitives
  readonly profile: Profile
}

/** What skipping needs: the time, and the keys that are skipped beside. */
interface Skipping {
  readonly nowMs: TimeMs
  readonly nextPqKey: PqKeySource
}

interface RootStep {
  readonly rootKey: Bytes
  readonly chainKey: Bytes
  readonly headerKey: Bytes
}

/** KDF_RK_HE over a Diffie-Hellman result; undefined for a weak or malformed public key. */
function rootStep(kit: Kit, rootKey: Bytes, secret: Bytes, theirs: Bytes): RootStep | undefined {
  const { primitives, profile } = kit
  const shared = primitives.dh(secret, theirs)
  if (shared === undefined) return undefined
  const isSealed = profile.headers === 'sealed'
  const keys = primitives.hkdfSha256(rootKey, shared, profile.rootLabel, isSealed ? 96 : 64)
  const step = {
    rootKey: keys.slice(0, 32),
    chainKey: keys.slice(32, 64),
    headerKey: isSealed ? keys.slice(64, 96) : NONE,
  }
  wipe(shared, keys)
  return step
}

function send(kit: Kit, state: RatchetState, ratchetSecret: Bytes): Decoded<SendingKeys> {
  const started =
    state.sending === undefined ? startChain(kit, state, ratchetSecret) : decoded(state)
  if (!started.ok) return started
  const { sending, previousCount } = started.value
  if (sending === undefined) return refused('DIRECT_SESSION_UNKNOWN')
  const { ratchetKey, chainKey, headerKey, count } = sending
  if (count >= CHAIN_MESSAGES_MAX) return refused('DIRECT_CHAIN_EXHAUSTED')
  const next = kit.primitives.hmacSha256(chainKey, CHAIN_STEP)
  return decoded({
    state: { ...started.value, sending: { ...sending, chainKey: next, count: count + 1 } },
    header: { ratchetKey, previousCount, count },
    headerKey,
    messageKey: kit.primitives.hmacSha256(chainKey, MESSAGE_STEP),
  })
}

/** The sending half of a Diffie-Hellman step. */
function startChain(kit: Kit, state: RatchetState, ratchetSecret: Bytes): Decoded<RatchetState> {
  if (state.theirs === undefined) return refused('DIRECT_SESSION_UNKNOWN')
  const step = rootStep(kit, state.rootKey, ratchetSecret, state.theirs)
  if (step === undefined) return refused('VERIFY_KEY_INVALID')
  const ratchetKey = kit.primitives.dhPublic(ratchetSecret)
  return decoded({
    ...state,
    rootKey: step.rootKey,
    secret: ratchetSecret.slice(),
    sending: { ratchetKey, chainKey: step.chainKey, headerKey: state.nextSendingHeader, count: 0 },
    sendingChains: state.sendingChains + 1,
    nextSendingHeader: step.headerKey,
  })
}

function receive(
  kit: Kit,
  state: RatchetState,
  place: Place,
  header: RatchetHeader,
  skipping: Skipping,
): Decoded<ReceivingKeys> {
  if (place.kind === 'skipped') return takeSkipped(state, place.chain, header.count)
  if (place.kind === 'next') {
    const turned = turn(kit, state, header, skipping)
    return turned.ok ? takeNext(kit, turned.value, header.count, skipping) : turned
  }
  const { receiving, theirs } = state
  if (receiving === undefined || theirs === undefined) return refused('DIRECT_OPEN_FAILED')
  if (!equalBytes(header.ratchetKey, theirs)) return refused('DIRECT_OPEN_FAILED')
  if (header.count >= receiving.count) return takeNext(kit, state, header.count, skipping)
  const chain = state.skipped.find((one) => equalBytes(one.finder, receiving.finder))
  return takeSkipped(state, chain, header.count)
}

/** The receiving half of a Diffie-Hellman step: ends the old chain, begins the peer's new one. */
function turn(
  kit: Kit,
  state: RatchetState,
  header: RatchetHeader,
  skipping: Skipping,
): Decoded<RatchetState> {
  const { secret, sending, ...rest } = state
  if (secret === undefined) return refused('DIRECT_OPEN_FAILED')
  let { skipped, skippedNext } = state
  if (state.receiving !== undefined) {
    const ended = skip(kit, state, state.receiving, header.previousCount, skipping)
    if (!ended.ok) return ended
    ;({ skipped, skippedNext } = ended.value)
  } else if (header.previousCount !== 0) {
    return refused('DIRECT_OPEN_FAILED')
  }
  const step = rootStep(kit, state.rootKey, secret, header.ratchetKey)
  if (step === undefined) return refused('VERIFY_KEY_INVALID')
  const isSealed = kit.profile.headers === 'sealed'
  const finder = isSealed ? state.nextReceivingHeader : header.ratchetKey
  return decoded({
    ...rest,
    rootKey: step.rootKey,
    theirs: header.ratchetKey,
    previousCount: sending?.count ?? 0,
    receiving: { chainKey: step.chainKey, finder, count: 0 },
    nextReceivingHeader: step.headerKey,
    skipped: skipped.slice(-OLD_CHAINS_MAX),
    skippedNext,
  })
}

function takeNext(
  kit: Kit,
  state: RatchetState,
  count: number,
  skipping: Skipping,
): Decoded<ReceivingKeys> {
  if (state.receiving === undefined || count >= CHAIN_MESSAGES_MAX) {
    return refused('DIRECT_OPEN_FAILED')
  }
  const ahead = skip(kit, state, state.receiving, count, skipping)
  if (!ahead.ok) return ahead
  const { chain, skipped, skippedNext } = ahead.value
  const messageKey = kit.primitives.hmacSha256(chain.chainKey, MESSAGE_STEP)
  const chainKey = kit.primitives.hmacSha256(chain.chainKey, CHAIN_STEP)
  const receiving = { chainKey, finder: chain.finder, count: count + 1 }
  const pqKey = skipping.nextPqKey()
  return decoded({ state: { ...state, receiving, skipped, skippedNext }, messageKey, pqKey })
}

function takeSkipped(
  state: RatchetState,
  chain: SkippedChain | undefined,
  count: number,
): Decoded<ReceivingKeys> {
  const key = chain === undefined ? undefined : findSkipped(chain, count)
  if (chain === undefined || key === undefined) return refused('DIRECT_KEY_CONSUMED')
  const skipped = removeSkipped(state.skipped, chain, key)
  const { messageKey, pqKey } = key
  return decoded({ state: { ...state, skipped }, messageKey, pqKey })
}

interface Skipped {
  readonly chain: ReceivingChain
  readonly skipped: SkippedChains
  readonly skippedNext: number
}

/** Stores the keys from `chain.count` up to `until`, without the latter. */
function skip(
  { primitives }: Kit,
  { skipped, skippedNext }: RatchetState,
  chain: ReceivingChain,
  until: number,
  { nowMs, nextPqKey }: Skipping,
): Decoded<Skipped> {
  if (until === chain.count) return decoded({ chain, skipped, skippedNext })
  if (until < chain.count) return refused('DIRECT_OPEN_FAILED')
  if (until - chain.count > SKIP_PER_CHAIN_MAX) return refused('DIRECT_SKIP_LIMIT')
  const keys: SkippedKey[] = []
  let { chainKey } = chain
  for (let count = chain.count; count < until; count++) {
    const messageKey = primitives.hmacSha256(chainKey, MESSAGE_STEP)
    const index = skippedNext + keys.length
    keys.push({ index, count, messageKey, pqKey: nextPqKey(), storedAt: nowMs })
    chainKey = primitives.hmacSha256(chainKey, CHAIN_STEP)
  }
  return decoded({
    chain: { ...chain, chainKey, count: until },
    skipped: addSkipped(skipped, chain.finder, keys),
    skippedNext: skippedNext + keys.length,
  })
}
