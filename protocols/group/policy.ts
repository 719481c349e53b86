// The group's policy: who is an admin, in rank order, and its name (spec.md §3.1). Floor 0, pure.
import { concat, makeReader, parseUtf8, u32, u8, utf8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { PeerId } from '../base/ids.ts'
import { encodeRef, readRef, sameRef } from './ids.ts'
import { readVec, vec, vecOf } from './tls.ts'
import { GROUP_NAME_BYTES_MAX, GROUP_NAME_CHARS_MAX, MEMBERS_MAX } from './types.ts'
import type { MemberRef, Policy } from './types.ts'

const VERSION = 1
const REF_BYTES = 36

/** True for 1 to 64 characters, none of them a control character, in at most 256 octets. */
export function isGroupName(name: string): boolean {
  const characters = Array.from(name).length
  if (characters === 0 || characters > GROUP_NAME_CHARS_MAX) return false
  return !/\p{Cc}/u.test(name) && utf8(name).length <= GROUP_NAME_BYTES_MAX
}

/** Encodes a policy: the content of GroupContext extension 0xF0C1. */
export function encodePolicy({ changes, admins, name }: Policy): Bytes {
  return concat(u8(VERSION), u32(changes), vecOf(admins.map(encodeRef)), vec(utf8(name)))
}

/** Decodes a policy, strictly: at least one admin, none twice, a fitting name. */
export function decodePolicy(bytes: Bytes): Decoded<Policy> {
  const reader = makeReader(bytes)
  if (reader.u8() !== VERSION) return refused('CODEC_UNKNOWN_VERSION')
  const changes = reader.u32()
  const refs = readVec(reader, MEMBERS_MAX * REF_BYTES)
  const text = readVec(reader, GROUP_NAME_BYTES_MAX)
  if (refs === undefined || text === undefined || !reader.done) return refused('CODEC_LENGTH')
  const admins = decodeRefs(refs)
  const name = parseUtf8(text)
  if (admins === undefined || admins.length === 0) return refused('CODEC_MALFORMED')
  if (name === undefined || !isGroupName(name)) return refused('CODEC_MALFORMED')
  return decoded({ changes, admins, name })
}

/** Reads a whole list of member references; undefined if malformed, with a gen of 0, or naming a peer twice. */
export function decodeRefs(bytes: Bytes): MemberRef[] | undefined {
  const reader = makeReader(bytes)
  const refs: MemberRef[] = []
  const peers = new Set<PeerId>()
  while (reader.left > 0) {
    const ref = readRef(reader)
    if (!reader.ok || ref.gen === 0 || peers.has(ref.peer)) return undefined
    peers.add(ref.peer)
    refs.push(ref)
  }
  return refs
}

/** True if the policy names this very membership. */
export function isAdmin(policy: Policy, ref: MemberRef): boolean {
  return policy.admins.some((admin) => sameRef(admin, ref))
}

/** The place of a member among the admins, from 0; all others share the one below them. */
export function rankOf({ admins }: Policy, ref: MemberRef): number {
  const rank = admins.findIndex((admin) => sameRef(admin, ref))
  return rank < 0 ? admins.length : rank
}

/** True if an admin ranks above a member. */
export function outranks(policy: Policy, admin: MemberRef, other: MemberRef): boolean {
  return rankOf(policy, admin) < rankOf(policy, other)
}

/** The policy after giving or taking the role of admin; new admins rank last. */
export function withRole(policy: Policy, ref: MemberRef, role: 'admin' | 'member'): Policy {
  const others = policy.admins.filter((admin) => admin.peer !== ref.peer)
  const admins = role === 'admin' ? [...others, ref] : others
  return { ...policy, changes: policy.changes + 1, admins }
}
