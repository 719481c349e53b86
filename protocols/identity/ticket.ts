// Tickets: where an agent is, as one word to paste (spec.md §3.7). Floor 0, pure.
import { base32 } from 'multiformats/bases/base32'
import { concat, makeReader, u64, u8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { PEER_ID_BYTES, peerIdFromBytes, peerIdToBytes } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import { encodeReach, readReach } from './reach.ts'
import { bodyOf, signRecord, verifyRecord } from './signed.ts'
import { IDENTITY_VERSION, TICKET_BYTES_MAX, TICKET_LABEL } from './types.ts'
import type { IdentityCode, Ticket } from './types.ts'

/** How every ticket begins; the digit is the version of the text form. */
export const TICKET_PREFIX = 'conclave1'

const TEXT_LENGTH_MAX: number = TICKET_PREFIX.length + Math.ceil((TICKET_BYTES_MAX * 8) / 5)

/**
 * Signs a ticket and formats it: `conclave1` and lowercase base32 without padding.
 *
 * @param secret - The agent's 32-byte Ed25519 seed, of the key in `ticket.peer`.
 * @throws ConclaveError `USAGE_ARGUMENT` if the addresses do not fit.
 */
export function formatTicket(primitives: Primitives, secret: Bytes, ticket: Ticket): string {
  const body = concat(
    u8(IDENTITY_VERSION),
    peerIdToBytes(ticket.peer),
    u64(ticket.expiresAt),
    encodeReach(ticket),
  )
  return TICKET_PREFIX + base32.baseEncode(signRecord(primitives, secret, TICKET_LABEL, body))
}

/**
 * Parses and verifies a ticket; nothing of it is used before its signature holds.
 *
 * @param text - Pasted text; surrounding white space is ignored, everything else is exact.
 */
export function parseTicket(
  primitives: Primitives,
  text: string,
  nowMs: TimeMs,
): Decoded<Ticket, IdentityCode> {
  if (text.length > 2 * TEXT_LENGTH_MAX) return refused('CODEC_LENGTH')
  const word = text.trim()
  if (word.length > TEXT_LENGTH_MAX) return refused('CODEC_LENGTH')
  const bytes = parseWord(word)
  if (bytes === undefined) return refused('CODEC_MALFORMED')
  const reader = makeReader(bodyOf(bytes))
  if (reader.u8() !== IDENTITY_VERSION) {
    return refused(reader.ok ? 'CODEC_UNKNOWN_VERSION' : 'CODEC_LENGTH')
  }
  const peer = peerIdFromBytes(reader.take(PEER_ID_BYTES))
  const expiresAtMs = reader.u64()
  const reach = readReach(reader)
  if (peer === undefined || reach === undefined || !reader.done) return refused('CODEC_MALFORMED')
  if (!verifyRecord(primitives, peer, TICKET_LABEL, bytes)) return refused('VERIFY_SIGNATURE')
  if (expiresAtMs <= nowMs) return refused('VERIFY_EXPIRED')
  return decoded({ peer, expiresAt: toTimeMs(expiresAtMs), ...reach })
}

function parseWord(word: string): Bytes | undefined {
  if (!word.startsWith(TICKET_PREFIX)) return undefined
  const text = word.slice(TICKET_PREFIX.length)
  try {
    const bytes = base32.baseDecode(text)
    return base32.baseEncode(bytes) === text ? bytes : undefined
  } catch {
    return undefined // Not base32.
  }
}
