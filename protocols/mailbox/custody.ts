// What a custodian may take (spec.md §4.1): the deposit ladder over the figures of one box. Floor 0, pure.
import type { PeerId } from '../base/ids.ts'
import type { TimeMs } from '../base/time.ts'
import type { Status } from '../direct/types.ts'
import {
  CUSTODY_BYTES_MAX,
  DEFAULT_QUOTA_BYTES,
  DEFAULT_QUOTA_ENVELOPES,
  LEASE_LIFE_MS,
  LEASES_MAX,
  STRANGER_BYTES,
  STRANGER_ENVELOPES,
  STRANGERS_PER_BOX_MAX,
  STRANGERS_SHARE,
  TTL_MS_MAX,
} from './types.ts'
import type { Bound, Lease, LeaseWish, LimitName, QueueKey, QueueKeyId } from './types.ts'

/** How much of something there is. */
export interface Usage {
  readonly bytes: number
  readonly envelopes: number
}

/** Who deposits: a contact by its queue key, or a stranger by its peer ID. */
export type Depositor =
  | { readonly kind: 'contact'; readonly keyId: QueueKeyId }
  | { readonly kind: 'stranger'; readonly peer: PeerId }

/** Nothing is used. */
export const NO_USAGE: Usage = { bytes: 0, envelopes: 0 }

/** The figures of a box that decide about a deposit. */
export interface BoxFigures {
  readonly lease: Lease
  readonly strangerQuota: Usage
  readonly used: Usage
  /** Used by all strangers together. */
  readonly usedByStrangers: Usage
  /** Strangers with something in the box. */
  readonly strangers: number
  /** Used by this depositor; of a stranger, since the lease began, whether collected or not. */
  readonly usedByDepositor: Usage
}

/** Why a request is refused, and by which bound. */
export interface Refusal {
  readonly ok: false
  readonly status: Exclude<Status, 'accepted'>
  readonly bound?: Bound
}

/** Allowed, or why not. */
export type Verdict = { readonly ok: true } | Refusal

const ALLOWED: Verdict = { ok: true }

/** Refuses with a bound. */
export function overBound(limit: LimitName, found: number, allowed: number): Refusal {
  return { ok: false, status: 'quota', bound: { limit, found, allowed } }
}

/**
 * Decides whether an envelope of `size` bytes may be kept; the depositor's right was verified before.
 *
 * Bounds are looked at from the narrowest to the widest, so that the refusal names the one that its depositor
 * can do something about.
 */
export function judgeDeposit(
  box: BoxFigures,
  depositor: Depositor,
  size: number,
  key: QueueKey | undefined,
  nowMs: TimeMs,
): Verdict {
  const { lease, used, usedByDepositor } = box
  if (lease.expiresAt <= nowMs) return { ok: false, status: 'leaseExpired' }
  if (depositor.kind === 'contact') {
    if (key === undefined || key.expiresAt <= nowMs) return { ok: false, status: 'refused' }
    const own = over(usedByDepositor, size, key.quotaBytes, key.quotaEnvelopes, 'contact')
    if (own !== undefined) return own
  } else {
    const strangers = judgeStranger(box, size)
    if (strangers !== undefined) return strangers
  }
  return over(used, size, lease.quotaBytes, lease.quotaEnvelopes, 'box') ?? ALLOWED
}

function judgeStranger(box: BoxFigures, size: number): Refusal | undefined {
  const { lease, strangerQuota, usedByDepositor, usedByStrangers, strangers } = box
  const { bytes, envelopes } = strangerQuota
  const own = over(usedByDepositor, size, bytes, envelopes, 'stranger')
  if (own !== undefined) return own
  if (usedByDepositor.envelopes === 0 && strangers >= STRANGERS_PER_BOX_MAX) {
    return overBound('strangers', strangers, STRANGERS_PER_BOX_MAX)
  }
  const share = (of: number): number => Math.floor((of * STRANGERS_SHARE) / 100)
  return over(
    usedByStrangers,
    size,
    share(lease.quotaBytes),
    share(lease.quotaEnvelopes),
    'strangers share of',
  )
}

type Whose = 'box' | 'contact' | 'stranger' | 'strangers share of'

function over(
  used: Usage,
  size: number,
  bytesMax: number,
  envelopesMax: number,
  whose: Whose,
): Refusal | undefined {
  if (used.envelopes + 1 > envelopesMax) {
    return overBound(`${whose} envelopes`, used.envelopes, envelopesMax)
  }
  if (used.bytes + size > bytesMax) return overBound(`${whose} bytes`, used.bytes, bytesMax)
  return undefined
}

/** What all boxes of a custodian have been promised. */
export interface Promised {
  readonly leases: number
  readonly bytes: number
}

/** What a lease will say, beside names and signature. */
export interface Terms {
  readonly quotaBytes: number
  readonly quotaEnvelopes: number
  readonly ttlMs: number
  readonly strangerQuota: Usage
  readonly expiresAt: TimeMs
}

/**
 * Decides what a recipient gets of what it wishes; a renewal counts as one lease. `others` is what all other
 * recipients have been promised, so that a promise can be kept.
 */
export function judgeWish(
  wish: LeaseWish,
  others: Promised,
  nowMs: TimeMs,
): { readonly ok: true; readonly terms: Terms } | Refusal {
  if (others.leases + 1 > LEASES_MAX) return overBound('leases', others.leases, LEASES_MAX)
  const left = CUSTODY_BYTES_MAX - others.bytes
  const quotaBytes = Math.min(wish.quotaBytes, DEFAULT_QUOTA_BYTES)
  if (quotaBytes > left) return overBound('custody bytes', others.bytes, CUSTODY_BYTES_MAX)
  const quotaEnvelopes = Math.min(wish.quotaEnvelopes, DEFAULT_QUOTA_ENVELOPES)
  const terms = {
    quotaBytes,
    quotaEnvelopes,
    ttlMs: Math.min(wish.ttlMs, TTL_MS_MAX),
    strangerQuota: {
      bytes: Math.min(wish.strangerBytes || STRANGER_BYTES, quotaBytes),
      envelopes: Math.min(wish.strangerEnvelopes || STRANGER_ENVELOPES, quotaEnvelopes),
    },
    expiresAt: (nowMs + LEASE_LIFE_MS) as TimeMs,
  }
  return { ok: true, terms }
}
