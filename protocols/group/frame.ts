// Frames: what travels over gossip and rests in the log, sealed under a generation's key of the hour (spec.md §3.2).
// Floor 0, pure.
import { concat, makeReader, u32, u8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { Primitives } from '../base/primitives.ts'
import { idBytes, toBranchId, toFrameId, toGenTag } from './ids.ts'
import { frameKey } from './keys.ts'
import type { Generation } from './keys.ts'
import { ACK_BYTES, LEAVE_BYTES, REPAIR_BYTES_MAX } from './signed-notes.ts'
import { readVec, vec, vecOf } from './tls.ts'
import {
  ACKS_PER_FRAME_MAX,
  BRANCH_ID_BYTES,
  FRAME_BYTES_MAX,
  GEN_TAG_BYTES,
  MEMBERS_MAX,
  PROOF_BYTES_MAX,
  RECORD_BYTES_MAX,
  SEALED_BODY_BYTES_MAX,
} from './types.ts'
import type { FrameContent, FrameId, GenTag, RecordEntry } from './types.ts'

const VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + GEN_TAG_BYTES + 4
/** Octets of a frame beside its content. */
export const FRAME_OVERHEAD_BYTES: number = HEAD_BYTES + NONCE_BYTES + TAG_BYTES
/** All evidence of one commit: Leaves, and records of other branches, which fit as long as they are of the usual size. */
const EVIDENCE_BYTES_MAX: number = MEMBERS_MAX * (LEAVE_BYTES + 4)
const KINDS = { app: 1, commit: 2, acks: 3, proof: 6, leave: 7, repair: 8 } as const

/** What a frame says before it is opened. */
export interface FrameHead {
  readonly genTag: GenTag
  /** The sender's Unix hour. */
  readonly hour: number
}

/** Names a frame: SHA-256 of its octets. */
export function frameIdOf(primitives: Primitives, frame: Bytes): FrameId {
  return toFrameId(primitives.sha256(frame))
}

/**
 * Seals content.
 *
 * @param p - `hour` since the Unix epoch; `nonce`: 12 random bytes.
 * @throws RangeError if the frame would exceed FRAME_BYTES_MAX.
 */
export function sealFrame(
  primitives: Primitives,
  { tx, genTag }: Generation,
  p: { readonly hour: number; readonly nonce: Bytes; readonly content: FrameContent },
): Bytes {
  const head = concat(u8(VERSION), idBytes(genTag), u32(p.hour))
  const key = frameKey(primitives, tx, p.hour)
  const sealed = primitives.seal(key, p.nonce, head, encodeContent(p.content))
  const frame = concat(head, p.nonce, sealed)
  if (frame.length > FRAME_BYTES_MAX) throw new RangeError(`a frame of ${frame.length} octets`)
  return frame
}

/** Reads what needs no key: version, bounds, generation and hour. */
export function readFrameHead(bytes: Bytes): Decoded<FrameHead> {
  if (bytes.length > FRAME_BYTES_MAX || bytes.length <= FRAME_OVERHEAD_BYTES) {
    return refused('CODEC_LENGTH')
  }
  const reader = makeReader(bytes)
  if (reader.u8() !== VERSION) return refused('CODEC_UNKNOWN_VERSION')
  return decoded({ genTag: toGenTag(reader.take(GEN_TAG_BYTES)), hour: reader.u32() })
}

/** Opens a frame of this generation and decodes its content, strictly. */
export function openFrame(
  primitives: Primitives,
  { tx, genTag }: Generation,
  bytes: Bytes,
): Decoded<FrameContent> {
  const head = readFrameHead(bytes)
  if (!head.ok) return head
  if (head.value.genTag !== genTag) return refused('GROUP_OPEN_FAILED')
  const key = frameKey(primitives, tx, head.value.hour)
  const nonce = bytes.subarray(HEAD_BYTES, HEAD_BYTES + NONCE_BYTES)
  const sealed = bytes.subarray(HEAD_BYTES + NONCE_BYTES)
  const content = primitives.open(key, nonce, bytes.subarray(0, HEAD_BYTES), sealed)
  return content === undefined ? refused('GROUP_OPEN_FAILED') : decodeContent(content)
}

function encodeContent(content: FrameContent): Bytes {
  const kind = u8(KINDS[content.kind])
  switch (content.kind) {
    case 'app':
      return concat(kind, idBytes(content.branchId), vec(content.message))
    case 'commit':
      return concat(kind, encodeEntry(content.entry))
    case 'acks':
      return concat(kind, vecOf(content.acks))
    case 'leave':
      return concat(kind, content.leave)
    case 'proof':
      return concat(kind, content.proof)
    case 'repair':
      return concat(kind, content.repair)
  }
}

/** Decodes what a frame carries. */
function decodeContent(bytes: Bytes): Decoded<FrameContent> {
  const reader = makeReader(bytes)
  const kind = reader.u8()
  switch (kind) {
    case KINDS.app: {
      const branchId = toBranchId(reader.take(BRANCH_ID_BYTES))
      const message = readVec(reader, FRAME_BYTES_MAX)
      if (message === undefined || message.length === 0 || !reader.done) {
        return refused('CODEC_LENGTH')
      }
      return decoded({ kind: 'app', branchId, message })
    }
    case KINDS.commit: {
      const entry = decodeEntry(reader.rest())
      return entry.ok ? decoded({ kind: 'commit', entry: entry.value }) : entry
    }
    case KINDS.acks: {
      const list = readVec(reader, ACKS_PER_FRAME_MAX * ACK_BYTES)
      if (list === undefined || !reader.done) return refused('CODEC_LENGTH')
      if (list.length === 0 || list.length % ACK_BYTES !== 0) return refused('CODEC_MALFORMED')
      const acks = Array.from({ length: list.length / ACK_BYTES }, (_, i) =>
        list.slice(i * ACK_BYTES, (i + 1) * ACK_BYTES),
      )
      return decoded({ kind: 'acks', acks })
    }
    case KINDS.leave: {
      const leave = reader.rest()
      return leave.length === LEAVE_BYTES
        ? decoded({ kind: 'leave', leave })
        : refused('CODEC_LENGTH')
    }
    case KINDS.proof: {
      const proof = reader.rest()
      const fits = proof.length > 0 && proof.length <= PROOF_BYTES_MAX
      return fits ? decoded({ kind: 'proof', proof }) : refused('CODEC_LENGTH')
    }
    case KINDS.repair: {
      const repair = reader.rest()
      const fits = repair.length > LEAVE_BYTES && repair.length <= REPAIR_BYTES_MAX
      return fits ? decoded({ kind: 'repair', repair }) : refused('CODEC_LENGTH')
    }
    default:
      return refused('CODEC_UNKNOWN_TYPE')
  }
}

/** Encodes a record with its evidence and, if at hand, its sealed commit. */
export function encodeEntry({ record, evidence, body }: RecordEntry): Bytes {
  return concat(vec(record), vecOf(evidence.map((one) => vec(one))), vec(body ?? new Uint8Array(0)))
}

/** Decodes what `encodeEntry` made. The record inside is left to `verifyRecord`. */
export function decodeEntry(bytes: Bytes): Decoded<RecordEntry> {
  const reader = makeReader(bytes)
  const record = readVec(reader, RECORD_BYTES_MAX)
  const list = readVec(reader, EVIDENCE_BYTES_MAX)
  const body = readVec(reader, SEALED_BODY_BYTES_MAX)
  if (record === undefined || list === undefined || body === undefined || !reader.done) {
    return refused('CODEC_LENGTH')
  }
  const evidence: Bytes[] = []
  const items = makeReader(list)
  while (items.left > 0) {
    const item = readVec(items, EVIDENCE_BYTES_MAX)
    if (item === undefined || item.length === 0 || evidence.length === MEMBERS_MAX) {
      return refused('CODEC_MALFORMED')
    }
    evidence.push(item)
  }
  return decoded({ record, evidence, ...(body.length > 0 && { body }) })
}
