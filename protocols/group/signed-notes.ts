// The small signed objects beside records: EpochAck, Leave, Repair (spec.md §3.4). Floor 0, pure.
import { concat, makeReader, u64, u8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { publicKeyOf } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { SIGNATURE_BYTES, signLabelled, verifyLabelled } from '../base/signed.ts'
import { encodeRef, idBytes, readRef, toCommitId, toFrameId, toGroupId } from './ids.ts'
import { readVec, vecOf } from './tls.ts'
import { LABEL_ACK, LABEL_LEAVE, LABEL_REPAIR, REPAIRS_PER_FRAME_MAX } from './types.ts'
import type { EpochAck, Leave, Repair } from './types.ts'

const ACK_VERSION = 1
const FRAME_ID_BYTES = 32

/** Octets of an EpochAck. */
export const ACK_BYTES = 189
/** Octets of a Leave. */
export const LEAVE_BYTES = 132
/** Octets of the largest Repair. */
export const REPAIR_BYTES_MAX: number = 32 + 36 + 4 + REPAIRS_PER_FRAME_MAX * 32 + SIGNATURE_BYTES
/** Octets of an ack's `check`. */
export const CHECK_BYTES = 16

/** What an ack says of an epoch authenticator: equal on members that agree. */
export function checkOf(primitives: Primitives, authenticator: Bytes): Bytes {
  return primitives.sha256(authenticator).slice(0, CHECK_BYTES)
}

/** Encodes and signs an ack under its author's Ed25519 seed. */
export function signAck(primitives: Primitives, secret: Bytes, ack: EpochAck): Bytes {
  const content = concat(
    u8(ACK_VERSION),
    idBytes(ack.groupId),
    encodeRef(ack.author),
    u64(ack.seq),
    idBytes(ack.commitId),
    ack.check,
  )
  return concat(content, signLabelled(primitives, secret, LABEL_ACK, content))
}

/** Acks that were verified: the same octets are looked at when they are judged and when they are taken. */
const verified = new WeakMap<Bytes, Decoded<EpochAck>>()

/** Decodes and verifies an ack; the answer is remembered as long as the octets are held. */
export function verifyAck(primitives: Primitives, bytes: Bytes): Decoded<EpochAck> {
  const known = verified.get(bytes)
  if (known !== undefined) return known
  const ack = readAck(primitives, bytes)
  verified.set(bytes, ack)
  return ack
}

function readAck(primitives: Primitives, bytes: Bytes): Decoded<EpochAck> {
  if (bytes.length !== ACK_BYTES) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  if (reader.u8() !== ACK_VERSION) return refused('CODEC_UNKNOWN_VERSION')
  const groupId = toGroupId(reader.take(32))
  const author = readRef(reader)
  const seq = reader.u64()
  const commitId = toCommitId(reader.take(32))
  const check = reader.take(CHECK_BYTES)
  if (!reader.ok || author.gen === 0) return refused('CODEC_MALFORMED')
  if (!isSigned(primitives, author.peer, LABEL_ACK, bytes)) return refused('VERIFY_SIGNATURE')
  return decoded({ groupId, author, seq, commitId, check })
}

/** Encodes and signs a wish to leave. */
export function signLeave(primitives: Primitives, secret: Bytes, leave: Leave): Bytes {
  const content = concat(idBytes(leave.groupId), encodeRef(leave.author))
  return concat(content, signLabelled(primitives, secret, LABEL_LEAVE, content))
}

/** Decodes and verifies a Leave. */
export function verifyLeave(primitives: Primitives, bytes: Bytes): Decoded<Leave> {
  if (bytes.length !== LEAVE_BYTES) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  const groupId = toGroupId(reader.take(32))
  const author = readRef(reader)
  if (author.gen === 0) return refused('CODEC_MALFORMED')
  if (!isSigned(primitives, author.peer, LABEL_LEAVE, bytes)) return refused('VERIFY_SIGNATURE')
  return decoded({ groupId, author })
}

/** Encodes and signs a wish that messages be sealed again. */
export function signRepair(primitives: Primitives, secret: Bytes, repair: Repair): Bytes {
  const { groupId, author, frameIds } = repair
  const content = concat(idBytes(groupId), encodeRef(author), vecOf(frameIds.map(idBytes)))
  return concat(content, signLabelled(primitives, secret, LABEL_REPAIR, content))
}

/** Decodes and verifies a Repair. */
export function verifyRepair(primitives: Primitives, bytes: Bytes): Decoded<Repair> {
  const reader = makeReader(bytes)
  const groupId = toGroupId(reader.take(32))
  const author = readRef(reader)
  const ids = readVec(reader, REPAIRS_PER_FRAME_MAX * FRAME_ID_BYTES)
  reader.take(SIGNATURE_BYTES)
  if (ids === undefined || !reader.done) return refused('CODEC_LENGTH')
  if (author.gen === 0 || ids.length === 0 || ids.length % FRAME_ID_BYTES !== 0) {
    return refused('CODEC_MALFORMED')
  }
  if (!isSigned(primitives, author.peer, LABEL_REPAIR, bytes)) return refused('VERIFY_SIGNATURE')
  const frameIds = Array.from({ length: ids.length / FRAME_ID_BYTES }, (_, i) =>
    toFrameId(ids.slice(i * FRAME_ID_BYTES, (i + 1) * FRAME_ID_BYTES)),
  )
  return decoded({ groupId, author, frameIds })
}

function isSigned(primitives: Primitives, peer: PeerId, label: string, bytes: Bytes): boolean {
  const content = bytes.subarray(0, bytes.length - SIGNATURE_BYTES)
  const signature = bytes.subarray(bytes.length - SIGNATURE_BYTES)
  return verifyLabelled(primitives, publicKeyOf(peer), label, content, signature)
}
