// JoinPackage: what an inviter hands to one member that it added (spec.md §3.6). Floor 0, pure.
import { concat, makeReader, parseUtf8, u8, utf8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { encodeRef, idBytes, toCommitId, toGroupId } from './ids.ts'
import { decodePolicy, decodeRefs, encodePolicy } from './policy.ts'
import { readVec, vec, vecOf } from './tls.ts'
import {
  COMMIT_ID_BYTES,
  GROUP_ID_BYTES,
  INLINE_TREE_BYTES_MAX,
  JOIN_ADDRESSES_MAX,
  JOIN_ADDRESS_BYTES_MAX,
  JOIN_PACKAGE_BYTES_MAX,
  TX_BYTES,
} from './types.ts'
import type { JoinPackage } from './types.ts'

const VERSION = 1
const HASH_BYTES = 32

/**
 * Encodes a JoinPackage.
 *
 * @throws RangeError if it exceeds JOIN_PACKAGE_BYTES_MAX.
 */
export function encodeJoinPackage(p: JoinPackage): Bytes {
  const bytes = concat(
    u8(VERSION),
    idBytes(p.groupId),
    vec(p.welcome),
    vec(p.record),
    idBytes(p.genesis),
    vec(encodePolicy(p.policy)),
    vecOf(p.roster.map(encodeRef)),
    vecOf(p.gone.map(encodeRef)),
    idBytes(p.generation),
    p.tx,
    p.treeHash,
    vec(p.tree),
    vecOf(p.addresses.map((address) => vec(utf8(address)))),
  )
  if (bytes.length > JOIN_PACKAGE_BYTES_MAX) {
    throw new RangeError(`a JoinPackage of ${bytes.length} octets`)
  }
  return bytes
}

/** Decodes a JoinPackage, strictly. Record, Welcome and tree inside are left to who joins by them. */
export function decodeJoinPackage(bytes: Bytes): Decoded<JoinPackage> {
  if (bytes.length > JOIN_PACKAGE_BYTES_MAX) return refused('CODEC_LENGTH')
  const reader = makeReader(bytes)
  if (reader.u8() !== VERSION) return refused('CODEC_UNKNOWN_VERSION')
  const take = (): Bytes | undefined => readVec(reader, JOIN_PACKAGE_BYTES_MAX)
  const groupId = toGroupId(reader.take(GROUP_ID_BYTES))
  const [welcome, record] = [take(), take()]
  const genesis = toCommitId(reader.take(COMMIT_ID_BYTES))
  const [policyBytes, rosterBytes, goneBytes] = [take(), take(), take()]
  const generation = toCommitId(reader.take(COMMIT_ID_BYTES))
  const tx = reader.take(TX_BYTES)
  const treeHash = reader.take(HASH_BYTES)
  const tree = readVec(reader, INLINE_TREE_BYTES_MAX)
  const list = take()
  if (!reader.done || welcome === undefined || record === undefined || tree === undefined) {
    return refused('CODEC_LENGTH')
  }
  const policy = policyBytes && decodePolicy(policyBytes)
  const roster = rosterBytes && decodeRefs(rosterBytes)
  const gone = goneBytes && decodeRefs(goneBytes)
  const addresses = list && decodeAddresses(list)
  if (policy?.ok !== true || !roster || !gone || !addresses) return refused('CODEC_MALFORMED')
  if (roster.length === 0) return refused('CODEC_MALFORMED')
  return decoded({
    groupId,
    welcome,
    record,
    genesis,
    policy: policy.value,
    roster,
    gone,
    generation,
    tx,
    treeHash,
    tree,
    addresses,
  })
}

function decodeAddresses(list: Bytes): string[] | undefined {
  const reader = makeReader(list)
  const addresses: string[] = []
  while (reader.left > 0) {
    const bytes = readVec(reader, JOIN_ADDRESS_BYTES_MAX)
    const text = bytes === undefined ? undefined : parseUtf8(bytes)
    if (text === undefined || text.length === 0 || /\p{Cc}/u.test(text)) return undefined
    if (addresses.length === JOIN_ADDRESSES_MAX) return undefined
    addresses.push(text)
  }
  return addresses
}
