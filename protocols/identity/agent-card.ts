// Agent cards: what an agent says about itself, signed (spec.md §3.6). Floor 0, pure.
import { concat, makeReader, parseUtf8, u64, u8, utf8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { ConclaveError } from '../base/errors.ts'
import { PEER_ID_BYTES, peerIdFromBytes, peerIdToBytes } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { toTimeMs } from '../base/time.ts'
import { formatDid } from './did.ts'
import { ADDRESSES, encodeTexts, readTexts } from './reach.ts'
import type { TextListRules } from './reach.ts'
import { bodyOf, signRecord, verifyRecord } from './signed.ts'
import { AGENT_CARD_BYTES_MAX, AGENT_CARD_LABEL, CAPABILITIES_MAX } from './types.ts'
import { CARD_ITEM_BYTES_MAX, IDENTITY_VERSION, NAME_BYTES_MAX, PROTOCOLS_MAX } from './types.ts'
import type { AgentCard, IdentityCode } from './types.ts'

// No control characters, line separators or bidirectional overrides: a name must not be able to
// redraw the terminal or the line that shows it.
const PLAIN_TEXT = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$/u

const PROTOCOLS: TextListRules = {
  name: 'protocols',
  countMax: PROTOCOLS_MAX,
  bytesMax: CARD_ITEM_BYTES_MAX,
  form: /^\/[!-~]+$/,
}
const CAPABILITIES: TextListRules = {
  name: 'capabilities',
  countMax: CAPABILITIES_MAX,
  bytesMax: CARD_ITEM_BYTES_MAX,
  form: new RegExp(PLAIN_TEXT.source.replace(']*$', ']+$'), 'u'),
}

/**
 * Signs an agent card; `did` follows from the peer ID and is not transmitted.
 *
 * @param secret - The agent's 32-byte Ed25519 seed, of the key in `card.peer`.
 * @throws ConclaveError `USAGE_ARGUMENT` if a field breaks its limit, with both numbers.
 */
export function signAgentCard(
  primitives: Primitives,
  secret: Bytes,
  card: Omit<AgentCard, 'did'>,
): Bytes {
  const name = utf8(card.name)
  if (name.length > NAME_BYTES_MAX || !PLAIN_TEXT.test(card.name)) {
    throw new ConclaveError(
      'USAGE_ARGUMENT',
      `a name of ${name.length} bytes, at most ${NAME_BYTES_MAX} without control characters`,
      { hint: 'choose a shorter, plain name' },
    )
  }
  const body = concat(
    u8(IDENTITY_VERSION),
    peerIdToBytes(card.peer),
    u64(card.issuedAt),
    u8(name.length),
    name,
    encodeTexts(card.addresses, ADDRESSES),
    encodeTexts(card.protocols, PROTOCOLS),
    encodeTexts(card.capabilities, CAPABILITIES),
  )
  const bytes = signRecord(primitives, secret, AGENT_CARD_LABEL, body)
  if (bytes.length <= AGENT_CARD_BYTES_MAX) return bytes
  throw new ConclaveError(
    'USAGE_ARGUMENT',
    `an agent card of ${bytes.length} bytes, at most ${AGENT_CARD_BYTES_MAX}`,
    { hint: 'name fewer addresses or capabilities' },
  )
}

/** Parses and verifies an agent card of at most AGENT_CARD_BYTES_MAX bytes. */
export function parseAgentCard(
  primitives: Primitives,
  bytes: Bytes,
): Decoded<AgentCard, IdentityCode> {
  if (bytes.length > AGENT_CARD_BYTES_MAX) return refused('CODEC_LENGTH')
  const reader = makeReader(bodyOf(bytes))
  if (reader.u8() !== IDENTITY_VERSION) {
    return refused(reader.ok ? 'CODEC_UNKNOWN_VERSION' : 'CODEC_LENGTH')
  }
  const peer = peerIdFromBytes(reader.take(PEER_ID_BYTES))
  const issuedAtMs = reader.u64()
  const name = parseUtf8(reader.take(reader.u8()))
  const addresses = readTexts(reader, ADDRESSES)
  const protocols = readTexts(reader, PROTOCOLS)
  const capabilities = readTexts(reader, CAPABILITIES)
  if (!reader.done || peer === undefined || !isName(name)) return refused('CODEC_MALFORMED')
  if (addresses === undefined || protocols === undefined || capabilities === undefined) {
    return refused('CODEC_MALFORMED')
  }
  if (!verifyRecord(primitives, peer, AGENT_CARD_LABEL, bytes)) return refused('VERIFY_SIGNATURE')
  const issuedAt = toTimeMs(issuedAtMs)
  return decoded({
    peer,
    did: formatDid(peer),
    issuedAt,
    name,
    addresses,
    protocols,
    capabilities,
  })
}

function isName(text: string | undefined): text is string {
  return text !== undefined && PLAIN_TEXT.test(text) && utf8(text).length <= NAME_BYTES_MAX
}
