// Fingerprints and safety numbers that people compare by eye or voice (spec.md §3.2). Floor 0, pure.
import { concat } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { peerIdToBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'

const GROUPS = 6
const GROUP_BYTES = 5
const GROUP_VALUES = 100_000
const SAFETY_NUMBER = /^\d{60}$/

/**
 * Formats a fingerprint: 6 groups of 5 digits, joined by spaces.
 *
 * Each group is 5 of the first 30 octets of SHA-256(PeerId ‖ identityKey), big-endian, mod 100,000.
 *
 * @param identityKey - The agent's X25519 identity key, 32 bytes.
 */
export function formatFingerprint(
  primitives: Primitives,
  peer: PeerId,
  identityKey: Bytes,
): string {
  const digest = primitives.sha256(concat(peerIdToBytes(peer), identityKey))
  const groups: string[] = []
  for (let group = 0; group < GROUPS; group++) {
    let value = 0 // Below 2^40, so exact.
    for (let i = 0; i < GROUP_BYTES; i++)
      value = value * 256 + (digest[group * GROUP_BYTES + i] ?? 0)
    groups.push(String(value % GROUP_VALUES).padStart(5, '0'))
  }
  return groups.join(' ')
}

/** Formats the safety number of two agents: both fingerprints, the smaller first; equal on both sides. */
export function formatSafetyNumber(fingerprint: string, other: string): string {
  return fingerprint < other ? `${fingerprint} ${other}` : `${other} ${fingerprint}`
}

/**
 * True if what somebody typed is that safety number: 60 digits; spaces, dashes and line breaks
 * between them do not matter.
 */
export function matchesSafetyNumber(safetyNumber: string, typed: string): boolean {
  const digits = typed.replace(/[\s-]/g, '')
  return SAFETY_NUMBER.test(digits) && digits === safetyNumber.replaceAll(' ', '')
}
