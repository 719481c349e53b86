// CommitRecord: what everybody may know of a commit, signed by its author (spec.md §3.3). Floor 0, pure.
import { concat, isZero, makeReader, u32, u64, u8 } from '../base/bytes.ts'
import type { Bytes, Reader } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { publicKeyOf } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { SIGNATURE_BYTES, signLabelled, verifyLabelled } from '../base/signed.ts'
import { encodeRef, idBytes, readRef, toCommitId, toGroupId } from './ids.ts'
import { decodePolicy, encodePolicy } from './policy.ts'
import { readVec, vec, vecOf } from './tls.ts'
import {
  GROUP_NAME_BYTES_MAX,
  LABEL_RECORD,
  MEMBERS_MAX,
  RECORD_BYTES_MAX,
  SEALED_BODY_BYTES_MAX,
} from './types.ts'
import type {
  CommitId,
  CommitRecord,
  Policy,
  RecordAdd,
  RecordKind,
  RecordRemove,
} from './types.ts'

const VERSION = 1
const HASH_BYTES = 32
const KINDS: readonly RecordKind[] = ['genesis', 'commit', 'resync']
const POLICY_BYTES_MAX = MEMBERS_MAX * 36 + GROUP_NAME_BYTES_MAX + 16
const NOTHING = new Uint8Array(0)

/** What parent a genesis record names: 32 zeros. */
export const NO_PARENT: CommitId = toCommitId(new Uint8Array(HASH_BYTES))

function encodeContent(record: CommitRecord, commitId: Bytes): Bytes {
  return concat(
    u8(VERSION),
    u8(KINDS.indexOf(record.kind)),
    idBytes(record.groupId),
    idBytes(record.parent),
    commitId,
    u64(record.epoch),
    encodeRef(record.author),
    u64(record.seq),
    vecOf(record.adds.map(encodeAdd)),
    vecOf(record.removes.map(encodeRemove)),
    vec(record.policy === undefined ? NOTHING : encodePolicy(record.policy)),
    record.rosterHash,
    record.policyHash,
    record.sealedHash,
    u32(record.bodyBytes),
    record.groupInfoHash,
  )
}

function encodeAdd({ member, keyPackageRef, evidence, overridden }: RecordAdd): Bytes {
  return concat(encodeRef(member), keyPackageRef, vec(evidence ?? NOTHING), u32(overridden))
}

function encodeRemove({ member, evidence }: RecordRemove): Bytes {
  return concat(encodeRef(member), vec(evidence ?? NOTHING))
}

/** The id of a genesis record: SHA-256 of its content without id and signature. */
export function genesisId(
  primitives: Primitives,
  record: Omit<CommitRecord, 'commitId'>,
): CommitId {
  const unnamed = { ...record, commitId: NO_PARENT }
  return toCommitId(primitives.sha256(encodeContent(unnamed, NOTHING)))
}

/** Encodes and signs a record under its author's 32-byte Ed25519 seed. */
export function signRecord(primitives: Primitives, secret: Bytes, record: CommitRecord): Bytes {
  const content = encodeContent(record, idBytes(record.commitId))
  return concat(content, signLabelled(primitives, secret, LABEL_RECORD, content))
}

/** Decodes a record, strictly. Its signature is left to `verifyRecord`. */
export function decodeRecord(bytes: Bytes): Decoded<CommitRecord> {
  if (bytes.length > RECORD_BYTES_MAX) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  if (reader.u8() !== VERSION) return refused('CODEC_UNKNOWN_VERSION')
  const kind = KINDS[reader.u8()]
  if (kind === undefined) return refused('CODEC_UNKNOWN_TYPE')
  const groupId = toGroupId(reader.take(HASH_BYTES))
  const parent = reader.take(HASH_BYTES)
  const commitId = toCommitId(reader.take(HASH_BYTES))
  const epoch = reader.u64()
  const author = readRef(reader)
  const seq = reader.u64()
  const adds = readList(reader, readAdd)
  const removes = readList(reader, readRemove)
  const policy = readPolicy(reader)
  const [rosterHash, policyHash, sealedHash] = [
    reader.take(HASH_BYTES),
    reader.take(HASH_BYTES),
    reader.take(HASH_BYTES),
  ]
  const bodyBytes = reader.u32()
  const groupInfoHash = reader.take(HASH_BYTES)
  reader.take(SIGNATURE_BYTES)
  if (!reader.done) return refused('CODEC_LENGTH')
  if (adds === undefined || removes === undefined || policy === undefined || author.gen === 0) {
    return refused('CODEC_MALFORMED')
  }
  if (bodyBytes > SEALED_BODY_BYTES_MAX) return refused('CODEC_LENGTH')
  const first = kind === 'genesis'
  if (first !== (epoch === 0) || first !== isZero(parent) || first !== (bodyBytes === 0)) {
    return refused('CODEC_MALFORMED')
  }
  return decoded({
    kind,
    groupId,
    parent: toCommitId(parent),
    commitId,
    epoch,
    author,
    seq,
    adds,
    removes,
    ...(policy !== 'unchanged' && { policy }),
    rosterHash,
    policyHash,
    sealedHash,
    bodyBytes,
    groupInfoHash,
  })
}

/** Records that were verified: the same octets are looked at when they are judged and when they are taken. */
const verified = new WeakMap<Bytes, Decoded<CommitRecord>>()

/**
 * Decodes a record and verifies its signature and, for a genesis, its id; the answer is remembered as long as the
 * octets are held.
 */
export function verifyRecord(primitives: Primitives, bytes: Bytes): Decoded<CommitRecord> {
  const known = verified.get(bytes)
  if (known !== undefined) return known
  const record = readRecord(primitives, bytes)
  verified.set(bytes, record)
  return record
}

function readRecord(primitives: Primitives, bytes: Bytes): Decoded<CommitRecord> {
  const record = decodeRecord(bytes)
  if (!record.ok) return record
  const { author, kind, commitId } = record.value
  const content = bytes.subarray(0, bytes.length - SIGNATURE_BYTES)
  const signature = bytes.subarray(bytes.length - SIGNATURE_BYTES)
  const key = publicKeyOf(author.peer)
  if (!verifyLabelled(primitives, key, LABEL_RECORD, content, signature)) {
    return refused('VERIFY_SIGNATURE')
  }
  if (kind === 'genesis' && genesisId(primitives, record.value) !== commitId) {
    return refused('GROUP_COMMIT_INVALID')
  }
  return record
}

function readList<T>(reader: Reader, read: (list: Reader) => T | undefined): T[] | undefined {
  const bytes = readVec(reader, RECORD_BYTES_MAX)
  if (bytes === undefined) return undefined
  const list = makeReader(bytes)
  const items: T[] = []
  while (list.left > 0) {
    const item = read(list)
    if (item === undefined || !list.ok || items.length === MEMBERS_MAX) return undefined
    items.push(item)
  }
  return items
}

function readAdd(list: Reader): RecordAdd | undefined {
  const member = readRef(list)
  const keyPackageRef = list.take(HASH_BYTES)
  const evidence = readHash(list)
  const overridden = list.u32()
  if (evidence === undefined || member.gen === 0) return undefined
  return { member, keyPackageRef, ...(evidence !== 'none' && { evidence }), overridden }
}

function readRemove(list: Reader): RecordRemove | undefined {
  const member = readRef(list)
  const evidence = readHash(list)
  if (evidence === undefined || member.gen === 0) return undefined
  return { member, ...(evidence !== 'none' && { evidence }) }
}

function readHash(list: Reader): Bytes | 'none' | undefined {
  const bytes = readVec(list, HASH_BYTES)
  if (bytes?.length === 0) return 'none'
  return bytes?.length === HASH_BYTES ? bytes : undefined
}

function readPolicy(reader: Reader): Policy | 'unchanged' | undefined {
  const bytes = readVec(reader, POLICY_BYTES_MAX)
  if (bytes?.length === 0) return 'unchanged'
  const policy = bytes === undefined ? undefined : decodePolicy(bytes)
  return policy?.ok === true ? policy.value : undefined
}
