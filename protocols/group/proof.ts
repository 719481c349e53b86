// Proofs that a member voted twice: two votes of one seq for different commits, both signed (spec.md §4.2). Floor 0, pure.
import { concat, makeReader, u8 } from '../base/bytes.ts'
import type { Bytes, Reader } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { Primitives } from '../base/primitives.ts'
import { verifyRecord } from './commit-record.ts'
import { sameRef } from './ids.ts'
import { verifyAck } from './signed-notes.ts'
import { readVec, vec } from './tls.ts'
import { PROOF_BYTES_MAX } from './types.ts'
import type { CommitId, GroupId, MemberRef } from './types.ts'

/** A signed vote: an EpochAck, or a record, which is its author's vote for itself. */
export interface SignedVote {
  readonly kind: 'ack' | 'record'
  readonly bytes: Bytes
}

/** Who voted twice. */
export interface DoubleVote {
  readonly groupId: GroupId
  readonly author: MemberRef
  readonly seq: number
}

interface VoteFacts extends DoubleVote {
  readonly commitId: CommitId
}

const KINDS = { ack: 1, record: 2 } as const

/** Encodes a proof; undefined if it would be too large. */
export function encodeProof(votes: readonly [SignedVote, SignedVote]): Bytes | undefined {
  const bytes = concat(...votes.flatMap((one) => [u8(KINDS[one.kind]), vec(one.bytes)]))
  return bytes.length <= PROOF_BYTES_MAX ? bytes : undefined
}

/** Decodes and verifies a proof: both signatures hold, and the two contradict each other. */
export function verifyProof(primitives: Primitives, bytes: Bytes): Decoded<DoubleVote> {
  if (bytes.length > PROOF_BYTES_MAX) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  const one = readVote(primitives, reader)
  const other = readVote(primitives, reader)
  if (!reader.done) return refused('CODEC_LENGTH')
  if (!one.ok) return one
  if (!other.ok) return other
  const { groupId, author, seq, commitId } = one.value
  const isDouble =
    other.value.groupId === groupId &&
    sameRef(other.value.author, author) &&
    other.value.seq === seq &&
    other.value.commitId !== commitId
  return isDouble ? decoded({ groupId, author, seq }) : refused('GROUP_COMMIT_INVALID')
}

function readVote(primitives: Primitives, reader: Reader): Decoded<VoteFacts> {
  const kind = reader.u8()
  const bytes = readVec(reader, PROOF_BYTES_MAX)
  if (bytes === undefined) return refused('CODEC_LENGTH')
  if (kind === KINDS.ack) return verifyAck(primitives, bytes)
  if (kind === KINDS.record) return verifyRecord(primitives, bytes)
  return refused('CODEC_UNKNOWN_TYPE')
}
