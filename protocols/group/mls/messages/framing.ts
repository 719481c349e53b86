// Commits on the wire: PublicMessage, its signature, tags and transcript (RFC 9420 §6.1, §6.2, §8.2).
// Floor 0, pure. Octets are assembled by hand, so that a large commit is encoded once.
import { encodeFramedContent } from 'ts-mls/framedContent.js'
import type { FramedContent, FramedContentAuthData } from 'ts-mls/framedContent.js'
import type { Commit } from 'ts-mls/commit.js'
import { concat, equalBytes } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import type { Primitives } from '../../../base/primitives.ts'
import { vec } from '../../tls.ts'
import { ensure } from '../refusal.ts'

/** uint16 version and wire format of an MLSMessage that holds a PublicMessage or PrivateMessage. */
export const PUBLIC_MESSAGE: Bytes = Uint8Array.of(0, 1, 0, 1)
export const PRIVATE_MESSAGE: Bytes = Uint8Array.of(0, 1, 0, 2)
const WIREFORMAT_PUBLIC = PUBLIC_MESSAGE.slice(2)

/** The content of a commit, encoded. */
export function encodeCommitContent(
  groupId: Bytes,
  epoch: bigint,
  leafIndex: number | undefined,
  commit: Commit,
): Bytes {
  const sender =
    leafIndex === undefined
      ? ({ senderType: 'new_member_commit' } as const)
      : ({ senderType: 'member', leafIndex } as const)
  const authenticatedData = new Uint8Array(0)
  return encodeFramedContent({
    groupId,
    epoch,
    sender,
    authenticatedData,
    contentType: 'commit',
    commit,
  })
}

/** FramedContentTBS of a message by a member or by who becomes one. */
export function toSign(wire: Bytes, content: Bytes, context: Bytes): Bytes {
  return concat(wire, content, context)
}

/** The confirmed transcript hash after a commit. */
export function confirmTranscript(
  primitives: Primitives,
  interim: Bytes,
  content: Bytes,
  signature: Bytes,
): Bytes {
  return primitives.sha256(interim, WIREFORMAT_PUBLIC, content, vec(signature))
}

/** The interim transcript hash of an epoch. */
export function interimTranscript(
  primitives: Primitives,
  confirmed: Bytes,
  confirmationTag: Bytes,
): Bytes {
  return primitives.sha256(confirmed, vec(confirmationTag))
}

/** The membership tag of a member's commit. */
export function tagMembership(
  primitives: Primitives,
  membershipKey: Bytes,
  signed: Bytes,
  signature: Bytes,
  confirmationTag: Bytes,
): Bytes {
  const input = concat(signed, vec(signature), vec(confirmationTag))
  return primitives.hmacSha256(membershipKey, input)
}

/** Assembles the MLSMessage of a commit; without membership tag if it comes from outside. */
export function assembleCommit(
  content: Bytes,
  signature: Bytes,
  confirmationTag: Bytes,
  membershipTag: Bytes | undefined,
): Bytes {
  const tag = membershipTag === undefined ? new Uint8Array(0) : vec(membershipTag)
  return concat(PUBLIC_MESSAGE, content, vec(signature), vec(confirmationTag), tag)
}

/** A commit taken apart. */
export interface FramedCommit {
  readonly content: FramedContent
  readonly commit: Commit
  /** The content as it was encoded. */
  readonly bytes: Bytes
  readonly signature: Bytes
  readonly confirmationTag: Bytes
}

/** Takes a decoded PublicMessage apart; refuses all but commits. */
export function toFramedCommit(content: FramedContent, auth: FramedContentAuthData): FramedCommit {
  ensure(content.contentType === 'commit' && auth.contentType === 'commit', 'not a commit')
  ensure(equalBytes(content.authenticatedData, new Uint8Array(0)), 'unexpected data')
  const bytes = encodeFramedContent(content)
  const { signature, confirmationTag } = auth
  return { content, commit: content.commit, bytes, signature, confirmationTag }
}
