// What follows from a record for everybody: roster, policy, generation (spec.md §3.3, §4.1). Floor 0, pure.
// A view is a function of the records alone, so all who hold the same records agree on it.
import { compareBytes, concat, equalBytes } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { verifyRecord } from './commit-record.ts'
import { encodeRef, sameRef } from './ids.ts'
import { encodePolicy, isAdmin } from './policy.ts'
import { verifyLeave } from './signed-notes.ts'
import { GENERATION_EPOCHS, MEMBERS_MAX } from './types.ts'
import type { CommitRecord, GroupId, MemberRef, Policy, RecordEntry, View } from './types.ts'

/** Why a record does not follow from its parent. */
export type ViewCode =
  | 'GROUP_NOT_MEMBER'
  | 'GROUP_NOT_ADMIN'
  | 'GROUP_LAST_ADMIN'
  | 'GROUP_ALREADY_MEMBER'
  | 'GROUP_FULL'
  | 'GROUP_EPOCH_STALE'
  | 'GROUP_COMMIT_INVALID'

/** SHA-256 over the member references, ordered by their octets: 32 bytes. */
export function rosterHash(primitives: Primitives, roster: ReadonlyMap<PeerId, number>): Bytes {
  const refs = [...roster].map(([peer, gen]) => encodeRef({ peer, gen }))
  return primitives.sha256(concat(...refs.sort(compareBytes)))
}

/** SHA-256 over the encoded policy: 32 bytes. */
export function policyHash(primitives: Primitives, policy: Policy): Bytes {
  return primitives.sha256(encodePolicy(policy))
}

/** True if this very membership is on the roster. */
export function isMember(view: View, { peer, gen }: MemberRef): boolean {
  return view.roster.get(peer) === gen
}

/** The reference that a peer gets when it is added: one more than any that was removed. */
export function nextRef(view: View, peer: PeerId): MemberRef {
  return { peer, gen: (view.gone.get(peer) ?? 0) + 1 }
}

/** The policy without admins that are removed; undefined if nothing changes. */
export function policyWithout(policy: Policy, removed: readonly MemberRef[]): Policy | undefined {
  const admins = policy.admins.filter((admin) => !removed.some((ref) => sameRef(ref, admin)))
  if (admins.length === policy.admins.length) return undefined
  return { ...policy, changes: policy.changes + 1, admins }
}

/** The view of a genesis record: its author alone, as admin. */
export function genesisView(
  primitives: Primitives,
  record: CommitRecord,
): Decoded<View, 'GROUP_COMMIT_INVALID'> {
  const { author, policy } = record
  if (record.kind !== 'genesis' || policy === undefined) return refused('GROUP_COMMIT_INVALID')
  const [admin] = policy.admins
  if (author.gen !== 1 || policy.admins.length !== 1 || admin === undefined) {
    return refused('GROUP_COMMIT_INVALID')
  }
  if (!sameRef(admin, author) || record.adds.length > 0 || record.removes.length > 0) {
    return refused('GROUP_COMMIT_INVALID')
  }
  const view: View = {
    roster: new Map([[author.peer, author.gen]]),
    gone: new Map(),
    policy,
    epoch: 0,
    generation: record.commitId,
  }
  return matches(primitives, view, record) ? decoded(view) : refused('GROUP_COMMIT_INVALID')
}

/** The view after a record, if the record is valid on its parent's (spec.md §4.1). Its signature is verified before. */
export function viewAfter(
  primitives: Primitives,
  parent: View,
  record: CommitRecord,
  evidence: RecordEntry['evidence'],
): Decoded<View, ViewCode> {
  if (record.kind === 'genesis') return refused('GROUP_COMMIT_INVALID')
  if (record.epoch !== parent.epoch + 1) return refused('GROUP_EPOCH_STALE')
  if (!isMember(parent, record.author)) return refused('GROUP_NOT_MEMBER')
  // Who comes back from outside changes nothing but its own keys.
  if (record.kind === 'resync' && changesOf(record) > 0) return refused('GROUP_COMMIT_INVALID')
  const authority = isAdmin(parent.policy, record.author)
  const cited = evidence.map((bytes) => ({ bytes, hash: primitives.sha256(bytes) }))
  const roster = new Map(parent.roster)
  const gone = new Map(parent.gone)

  for (const { member, evidence: hash } of record.removes) {
    if (roster.get(member.peer) !== member.gen) return refused('GROUP_NOT_MEMBER')
    if (member.peer === record.author.peer) return refused('GROUP_COMMIT_INVALID')
    const leave = cited.find((one) => hash !== undefined && equalBytes(one.hash, hash))?.bytes
    if (hash !== undefined && leave === undefined) return refused('GROUP_COMMIT_INVALID')
    if (leave !== undefined && !isLeaveOf(primitives, leave, record, member)) {
      const { groupId } = record
      if (!isRemovalBy(primitives, leave, { groupId, policy: parent.policy, member })) {
        return refused('GROUP_COMMIT_INVALID')
      }
    }
    if (hash === undefined && !authority) return refused('GROUP_NOT_ADMIN')
    roster.delete(member.peer)
    gone.set(member.peer, member.gen)
  }
  for (const { member, overridden } of record.adds) {
    if (!authority) return refused('GROUP_NOT_ADMIN')
    if (roster.has(member.peer)) return refused('GROUP_ALREADY_MEMBER')
    if (overridden !== (parent.gone.get(member.peer) ?? 0)) return refused('GROUP_COMMIT_INVALID')
    if (member.gen !== overridden + 1) return refused('GROUP_COMMIT_INVALID')
    roster.set(member.peer, member.gen)
  }
  if (roster.size > MEMBERS_MAX) return refused('GROUP_FULL')
  const policy = policyAfter(parent, record, roster, authority)
  if (!policy.ok) return policy
  const begins = record.removes.length > 0 || record.epoch % GENERATION_EPOCHS === 0
  // Shared where nothing changes: a group has many more commits than changes of its roster.
  const isSame = record.adds.length + record.removes.length === 0
  const view: View = {
    roster: isSame ? parent.roster : roster,
    gone: isSame ? parent.gone : gone,
    policy: policy.value,
    epoch: record.epoch,
    generation: begins ? record.commitId : parent.generation,
  }
  return matches(primitives, view, record) ? decoded(view) : refused('GROUP_COMMIT_INVALID')
}

function changesOf({ adds, removes, policy }: CommitRecord): number {
  return adds.length + removes.length + (policy === undefined ? 0 : 1)
}

function isLeaveOf(
  primitives: Primitives,
  bytes: Bytes,
  record: CommitRecord,
  member: MemberRef,
): boolean {
  const leave = verifyLeave(primitives, bytes)
  if (!leave.ok) return false
  return leave.value.groupId === record.groupId && sameRef(leave.value.author, member)
}

/** What a removal on another branch is measured by. */
export interface RemovalCheck {
  readonly groupId: GroupId
  /** The policy in which its author must be an admin. */
  readonly policy: Policy
  readonly member: MemberRef
}

/** True for a signed record in which an admin removed this very member, on whatever branch. */
export function isRemovalBy(
  primitives: Primitives,
  bytes: Bytes,
  { groupId, policy, member }: RemovalCheck,
): boolean {
  const record = verifyRecord(primitives, bytes)
  if (!record.ok || record.value.groupId !== groupId) return false
  if (!isAdmin(policy, record.value.author)) return false
  return record.value.removes.some((one) => sameRef(one.member, member))
}

/** Only admins change the policy, but whoever removes an admin that leaves drops it from the list. */
function policyAfter(
  parent: View,
  record: CommitRecord,
  roster: ReadonlyMap<PeerId, number>,
  authority: boolean,
): Decoded<Policy, ViewCode> {
  const removed = record.removes.map(({ member }) => member)
  const needed = policyWithout(parent.policy, removed)
  const { policy } = record
  if (policy === undefined) {
    return needed === undefined ? decoded(parent.policy) : refused('GROUP_COMMIT_INVALID')
  }
  if (policy.admins.length === 0) return refused('GROUP_LAST_ADMIN')
  if (policy.changes !== parent.policy.changes + 1) return refused('GROUP_EPOCH_STALE')
  if (!policy.admins.every(({ peer, gen }) => roster.get(peer) === gen)) {
    return refused('GROUP_NOT_MEMBER')
  }
  if (authority) return decoded(policy)
  const allowed = needed !== undefined && equalBytes(encodePolicy(needed), encodePolicy(policy))
  return allowed ? decoded(policy) : refused('GROUP_NOT_ADMIN')
}

function matches(primitives: Primitives, view: View, record: CommitRecord): boolean {
  return (
    equalBytes(rosterHash(primitives, view.roster), record.rosterHash) &&
    equalBytes(policyHash(primitives, view.policy), record.policyHash)
  )
}
