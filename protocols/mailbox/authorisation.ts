// A contact's right to deposit one envelope, under the queue key its recipient gave it (spec.md §3.3). Floor 0, pure.
import { concat, formatHex, makeReader, parseHex, u64 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { invariant } from '../base/errors.ts'
import { peerIdToBytes } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { SIGNATURE_BYTES, signLabelled, verifyLabelled } from '../base/signed.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import type { EnvelopeId } from '../direct/types.ts'
import { envelopeIdToOctets } from './envelope-ids.ts'
import { AUTHORISATION_BYTES, DEPOSIT_LABEL, QUEUE_KEY_ID_BYTES } from './types.ts'
import type { Authorisation, MailboxCode, QueueKeyId } from './types.ts'

/** What an authorisation is for. */
export interface DepositFacts {
  readonly custodian: PeerId
  readonly recipient: PeerId
  readonly envelopeId: EnvelopeId
}

/** A queue key as its holder has it. */
export interface QueueKeySecret {
  readonly id: QueueKeyId
  /** Ed25519 seed, 32 bytes. */
  readonly seed: Bytes
}

/** Names a queue key by its 8 octets. */
export function queueKeyIdFromBytes(bytes: Bytes): QueueKeyId | undefined {
  return bytes.length === QUEUE_KEY_ID_BYTES ? (formatHex(bytes) as QueueKeyId) : undefined
}

/** The 8 octets of a queue key's name. */
export function queueKeyIdToBytes(id: QueueKeyId): Bytes {
  const bytes = parseHex(id)
  invariant(bytes?.length === QUEUE_KEY_ID_BYTES, 'a queue key id is 8 octets in hexadecimal')
  return bytes
}

/** Signs the right to deposit one envelope with one custodian, until `expiresAt`: 80 bytes. */
export function signAuthorisation(
  primitives: Primitives,
  { id, seed }: QueueKeySecret,
  facts: DepositFacts,
  expiresAt: TimeMs,
): Bytes {
  const signature = signLabelled(primitives, seed, DEPOSIT_LABEL, depositInput(facts, expiresAt))
  return concat(queueKeyIdToBytes(id), u64(expiresAt), signature)
}

/** Reads an authorisation; nothing is verified. */
export function decodeAuthorisation(bytes: Bytes): Decoded<Authorisation, MailboxCode> {
  if (bytes.length !== AUTHORISATION_BYTES) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  const keyId = queueKeyIdFromBytes(reader.take(QUEUE_KEY_ID_BYTES))
  const expiresAt = toTimeMs(reader.u64())
  const signature = reader.take(SIGNATURE_BYTES)
  if (keyId === undefined || !reader.done) return refused('CODEC_MALFORMED')
  return decoded({ keyId, expiresAt, signature })
}

/** True if the holder of the queue key signed for exactly this deposit and it is not too late. */
export function isAuthorised(
  primitives: Primitives,
  publicKey: Bytes,
  { expiresAt, signature }: Authorisation,
  facts: DepositFacts,
  nowMs: TimeMs,
): boolean {
  if (expiresAt <= nowMs) return false
  const input = depositInput(facts, expiresAt)
  return verifyLabelled(primitives, publicKey, DEPOSIT_LABEL, input, signature)
}

function depositInput(facts: DepositFacts, expiresAt: TimeMs): Bytes {
  const envelopeId = envelopeIdToOctets(facts.envelopeId)
  const { custodian, recipient } = facts
  return concat(peerIdToBytes(custodian), peerIdToBytes(recipient), envelopeId, u64(expiresAt))
}
