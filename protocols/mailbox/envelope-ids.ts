// Envelope ids as `direct` writes them. Floor 0, pure.
import { formatHex, parseHex } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { invariant } from '../base/errors.ts'
import type { EnvelopeId } from '../direct/types.ts'

const ENVELOPE_ID_BYTES = 32

/** Names an envelope by the 32 octets of its SHA-256; undefined for any other length. */
export function envelopeIdFromOctets(bytes: Bytes): EnvelopeId | undefined {
  return bytes.length === ENVELOPE_ID_BYTES ? (formatHex(bytes) as EnvelopeId) : undefined
}

/** The 32 octets of an envelope's name. */
export function envelopeIdToOctets(id: EnvelopeId): Bytes {
  const octets = parseHex(id)
  invariant(octets?.length === ENVELOPE_ID_BYTES, 'an envelope id is 32 octets in hexadecimal')
  return octets
}
