// Skipped message keys: an immutable, bounded structure whose order is its eviction order (spec.md §4.1).
// Floor 0, pure. A chain's entries ascend by count and by index, and older chains come first, so that
// the oldest key is the first of the first chain, and a change copies one array of references at most.
import { equalBytes } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import type { TimeMs } from '../base/time.ts'
import { HEADER_TRIALS_MAX, SEEN_MS, SKIP_PER_CHAIN_MAX, SKIP_PER_SESSION_MAX } from './types.ts'

/** The keys of one envelope that has not come yet. */
export interface SkippedKey {
  /** Counts up over all chains of the session: names the row, and is the age. */
  readonly index: number
  /** Place in its chain. */
  readonly count: number
  /** 32 bytes, secret. */
  readonly messageKey: Bytes
  /** The same message's key of the post-quantum ratchet, 32 bytes, secret; empty in a profile without one. */
  readonly pqKey: Bytes
  readonly storedAt: TimeMs
}

/** The skipped keys of one receiving chain; never empty. */
export interface SkippedChain {
  /** What finds the chain of an envelope: its header key, or its ratchet key in the plain header mode. */
  readonly finder: Bytes
  readonly keys: readonly SkippedKey[]
}

/** All skipped keys of a session, oldest chain first. */
export type SkippedChains = readonly SkippedChain[]

/** Older chains with skipped keys: the current and the next header key are tried too. */
export const OLD_CHAINS_MAX: number = HEADER_TRIALS_MAX - 2

/** Counts the keys of all chains. */
export function countSkipped(chains: SkippedChains): number {
  let count = 0
  for (const chain of chains) count += chain.keys.length
  return count
}

/** Appends keys of the newest chain; evicts by index, oldest first, down to the three bounds. */
export function addSkipped(
  chains: SkippedChains,
  finder: Bytes,
  keys: readonly SkippedKey[],
): SkippedChains {
  if (keys.length === 0) return chains
  const last = chains.at(-1)
  const sameChain = last !== undefined && equalBytes(last.finder, finder)
  const older = sameChain ? chains.slice(0, -1) : chains
  const joined = sameChain ? last.keys.concat(keys) : keys
  const newest = { finder, keys: joined.slice(-SKIP_PER_CHAIN_MAX) }
  return evict([...older.slice(-OLD_CHAINS_MAX), newest])
}

function evict(chains: SkippedChain[]): SkippedChains {
  let excess = countSkipped(chains) - SKIP_PER_SESSION_MAX
  while (excess > 0) {
    const first = chains.shift()
    if (first === undefined) break
    if (first.keys.length > excess) chains.unshift({ ...first, keys: first.keys.slice(excess) })
    excess -= first.keys.length
  }
  return chains
}

/** Finds the key at `count` of a chain by bisection. */
export function findSkipped(chain: SkippedChain, count: number): SkippedKey | undefined {
  const at = position(chain.keys, count)
  const found = chain.keys[at]
  return found?.count === count ? found : undefined
}

/** Removes one key, and its chain with the last one. */
export function removeSkipped(
  chains: SkippedChains,
  from: SkippedChain,
  key: SkippedKey,
): SkippedChains {
  if (from.keys.length === 1) return chains.filter((chain) => chain !== from)
  const at = position(from.keys, key.count)
  const keys = from.keys.slice(0, at).concat(from.keys.slice(at + 1))
  return chains.map((chain) => (chain === from ? { ...from, keys } : chain))
}

/** Removes keys past their life; answers the same object if there is none. */
export function expireSkipped(chains: SkippedChains, nowMs: TimeMs): SkippedChains {
  const isOld = (key: SkippedKey): boolean => key.storedAt + SEEN_MS <= nowMs
  if (!chains.some((chain) => chain.keys.some(isOld))) return chains
  return chains
    .map((chain) => ({ ...chain, keys: chain.keys.filter((key) => !isOld(key)) }))
    .filter((chain) => chain.keys.length > 0)
}

function position(keys: readonly SkippedKey[], count: number): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle]?.count ?? 0) < count) low = middle + 1
    else high = middle
  }
  return low
}
