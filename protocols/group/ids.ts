// Identifiers as text and bytes. Floor 0, pure. The only makers of the brands in types.ts.
import { concat, formatHex, parseHex, u32 } from '../base/bytes.ts'
import type { Bytes, Reader } from '../base/bytes.ts'
import { invariant } from '../base/errors.ts'
import { peerIdFromPublicKey, publicKeyOf } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import type { BranchId, CommitId, FrameId, GenTag, GroupId, GroupMessageId } from './types.ts'
import type { MemberRef } from './types.ts'

/** The group id of 32 octets. */
export function toGroupId(bytes: Bytes): GroupId {
  return formatHex(bytes) as GroupId
}

/** Parses a group id: exactly 64 hex digits of either case. */
export function parseGroupId(text: string): GroupId | undefined {
  return /^[0-9a-f]{64}$/i.test(text) ? (text.toLowerCase() as GroupId) : undefined
}

/** The commit id of 32 octets. */
export function toCommitId(bytes: Bytes): CommitId {
  return formatHex(bytes) as CommitId
}

/** The branch id of 16 octets. */
export function toBranchId(bytes: Bytes): BranchId {
  return formatHex(bytes) as BranchId
}

/** The frame id of 32 octets. */
export function toFrameId(bytes: Bytes): FrameId {
  return formatHex(bytes) as FrameId
}

/** The message id of 16 octets. */
export function toGroupMessageId(bytes: Bytes): GroupMessageId {
  return formatHex(bytes) as GroupMessageId
}

/** The generation tag of 8 octets. */
export function toGenTag(bytes: Bytes): GenTag {
  return formatHex(bytes) as GenTag
}

/** The octets of any of these identifiers. */
export function idBytes(
  id: GroupId | CommitId | BranchId | FrameId | GroupMessageId | GenTag,
): Bytes {
  const bytes = parseHex(id)
  invariant(bytes !== undefined, 'an identifier is hexadecimal')
  return bytes
}

/** Encodes a member reference: Ed25519 key 32, gen 4. */
export function encodeRef({ peer, gen }: MemberRef): Bytes {
  return concat(publicKeyOf(peer), u32(gen))
}

/** Reads a member reference; a gen of 0 is nobody's and left to the caller to refuse. */
export function readRef(reader: Reader): MemberRef {
  const key = reader.take(32)
  return { peer: peerIdFromPublicKey(key), gen: reader.u32() }
}

/** True if both name the same membership. */
export function sameRef(a: MemberRef, b: MemberRef): boolean {
  return a.peer === b.peer && a.gen === b.gen
}

/** Names a membership in maps and rows: `peer/gen`. */
export function refKey({ peer, gen }: MemberRef): string {
  return `${peer}/${gen}`
}

/** The membership that `refKey` named. */
export function refOfKey(key: string): MemberRef {
  const at = key.lastIndexOf('/')
  return { peer: key.slice(0, at) as PeerId, gen: Number(key.slice(at + 1)) }
}
