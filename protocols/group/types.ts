// Names, shapes and constants of the group protocol. Floor 0, pure (spec.md §3, §5).
import type { Brand } from '../base/brand.ts'
import type { Bytes } from '../base/bytes.ts'
import type { PeerId } from '../base/ids.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../base/time.ts'

/** Identifies a group: 32 random octets as 64 hex digits. */
export type GroupId = Brand<string, 'GroupId'>
/** SHA-256 of a commit's MLSMessage, or of the genesis record without id and signature; 64 hex digits. */
export type CommitId = Brand<string, 'CommitId'>
/** Names one epoch of one branch: 16 exported octets as 32 hex digits. Never an epoch number. */
export type BranchId = Brand<string, 'BranchId'>
/** SHA-256 of a frame; 64 hex digits. */
export type FrameId = Brand<string, 'FrameId'>
/** Identifies an application message of one author: 16 random octets as 32 hex digits. */
export type GroupMessageId = Brand<string, 'GroupMessageId'>
/** Recognises a transport generation: 8 derived octets as 16 hex digits. */
export type GenTag = Brand<string, 'GenTag'>

/** One membership of one peer: `gen` is 1 at first and grows with each re-Add. */
export interface MemberRef {
  readonly peer: PeerId
  readonly gen: number
}

/** Who decides: the admins in rank order, and a name. Part of the MLS GroupContext. */
export interface Policy {
  /** Counts up with each change, so that no policy hash recurs. */
  readonly changes: number
  readonly admins: readonly MemberRef[]
  /** The group's label: 1 to 64 characters, at most 256 octets. */
  readonly name: string
}

/** The public facts after a record: what its successors are judged by. */
export interface View {
  readonly roster: ReadonlyMap<PeerId, number>
  /** The highest gen removed on this chain, by peer. */
  readonly gone: ReadonlyMap<PeerId, number>
  readonly policy: Policy
  readonly epoch: number
  /** The commit that began the transport generation. */
  readonly generation: CommitId
}

/** `resync`: an external commit, by which a member comes back that no held epoch leads from. */
export type RecordKind = 'genesis' | 'commit' | 'resync'

/** A member that a commit adds. */
export interface RecordAdd {
  readonly member: MemberRef
  readonly keyPackageRef: Bytes
  /** Hash of the object that authorises it; absent where the author's own role does. */
  readonly evidence?: Bytes
  /** The removed gen that this Add overrides, or 0. */
  readonly overridden: number
}

/** A member that a commit removes. */
export interface RecordRemove {
  readonly member: MemberRef
  readonly evidence?: Bytes
}

/** What everybody may know of a commit (spec.md §3.3). Holds no secret. */
export interface CommitRecord {
  readonly kind: RecordKind
  readonly groupId: GroupId
  readonly parent: CommitId
  readonly commitId: CommitId
  readonly epoch: number
  readonly author: MemberRef
  readonly seq: number
  readonly adds: readonly RecordAdd[]
  readonly removes: readonly RecordRemove[]
  /** The policy after the commit, if it changes. */
  readonly policy?: Policy
  readonly rosterHash: Bytes
  readonly policyHash: Bytes
  readonly sealedHash: Bytes
  readonly bodyBytes: number
  readonly groupInfoHash: Bytes
}

/** A record as it travels and rests: its octets, the objects it cites, and the sealed commit if at hand. */
export interface RecordEntry {
  readonly record: Bytes
  readonly evidence: readonly Bytes[]
  readonly body?: Bytes
}

/** A member's word that it adopted an epoch. */
export interface EpochAck {
  readonly groupId: GroupId
  readonly author: MemberRef
  readonly seq: number
  readonly commitId: CommitId
  /** First 16 octets of SHA-256(epoch_authenticator). */
  readonly check: Bytes
}

/** A member's signed wish to be removed. */
export interface Leave {
  readonly groupId: GroupId
  readonly author: MemberRef
}

/** A member's wish that messages be sealed again, which it heard and cannot open any more. */
export interface Repair {
  readonly groupId: GroupId
  readonly author: MemberRef
  /** 1 to 64 frames. */
  readonly frameIds: readonly FrameId[]
}

/** An application message inside MLS, signed by its author besides. */
export interface Payload {
  readonly groupId: GroupId
  readonly msgId: GroupMessageId
  readonly author: MemberRef
  /** Counts the author's messages in this membership, from 1. */
  readonly n: number
  /** A display hint: greater than every one its author had seen. */
  readonly lamport: number
  readonly sentAtMs: number
  /** MIME type, at most 128 octets; empty means `text/plain`. */
  readonly contentType: string
  readonly body: Bytes
}

/** What a frame carries, once opened (spec.md §3.2). */
export type FrameContent =
  | { readonly kind: 'app'; readonly branchId: BranchId; readonly message: Bytes }
  | { readonly kind: 'commit'; readonly entry: RecordEntry }
  | { readonly kind: 'acks'; readonly acks: readonly Bytes[] }
  | { readonly kind: 'leave'; readonly leave: Bytes }
  | { readonly kind: 'proof'; readonly proof: Bytes }
  | { readonly kind: 'repair'; readonly repair: Bytes }

/** What an inviter hands to one member that it added (spec.md §3.6). */
export interface JoinPackage {
  readonly groupId: GroupId
  readonly welcome: Bytes
  readonly record: Bytes
  /** The group's first commit: what the records before this one must lead back to. */
  readonly genesis: CommitId
  readonly policy: Policy
  readonly roster: readonly MemberRef[]
  readonly gone: readonly MemberRef[]
  readonly generation: CommitId
  readonly tx: Bytes
  readonly treeHash: Bytes
  /** The ratchet tree, or empty where it is too large to travel along. */
  readonly tree: Bytes
  /** Addresses of the inviter, as text. */
  readonly addresses: readonly string[]
}

/** A transport secret: 32 bytes, and the commit that began its generation. */
export interface GenerationSecret {
  readonly start: CommitId
  readonly tx: Bytes
}

/** What a member of an epoch gives another that has to enter it from outside. */
export interface EntryInfo {
  /** Signed GroupInfo with external_pub: MLSMessage. */
  readonly groupInfo: Bytes
  readonly tree: Bytes
  /** Opens and seals the commits that follow the epoch: 32 bytes. */
  readonly bodyKey: Bytes
  /** Transport secrets of the epoch's generation, and of those before it that are still listened to: 1 to 16. */
  readonly generations: readonly GenerationSecret[]
}

/* Specification constants. */

export const GROUP_ID_BYTES = 32
export const COMMIT_ID_BYTES = 32
export const BRANCH_ID_BYTES = 16
export const GEN_TAG_BYTES = 8
export const MESSAGE_ID_BYTES = 16
export const TX_BYTES = 32
/** Largest application body. */
export const GROUP_BODY_BYTES_MAX = 60_000
/** Longest MIME type. */
export const GROUP_TYPE_BYTES_MAX = 128
export const GROUP_NAME_CHARS_MAX = 64
export const GROUP_NAME_BYTES_MAX = 256
export const MEMBERS_MAX = 1_024
/** Largest gossip frame. */
export const FRAME_BYTES_MAX = 262_144
/** Largest sealed commit inside a gossip frame; larger ones are fetched over group-sync. */
export const INLINE_BODY_BYTES_MAX = 65_536
/** Largest sealed commit at all. */
export const SEALED_BODY_BYTES_MAX = 1_048_576
/** Largest CommitRecord: one that adds 1,024 members. */
export const RECORD_BYTES_MAX = 163_840
/** Largest ratchet tree that travels inside a JoinPackage. */
export const INLINE_TREE_BYTES_MAX = 32_768
/** Largest ratchet tree at all. */
export const TREE_BYTES_MAX = 1_048_576
/** Largest JoinPackage: the content of one handoff item. */
export const JOIN_PACKAGE_BYTES_MAX = 60_000
/** Addresses of the inviter in a JoinPackage. */
export const JOIN_ADDRESSES_MAX = 8
export const JOIN_ADDRESS_BYTES_MAX = 256
export const ACKS_PER_FRAME_MAX = 64
/** Frames that one Repair names. */
export const REPAIRS_PER_FRAME_MAX = 64
/** Largest proof of a double vote. */
export const PROOF_BYTES_MAX = 8_192
/** Largest acceptable distance of a frame's hour into the past and the future. */
export const FRAME_PAST_HOURS_MAX = 24
export const FRAME_FUTURE_HOURS_MAX = 1
/** A commit whose epoch is a multiple of this begins a transport generation. */
export const GENERATION_EPOCHS = 64
/** Epochs whose secrets are kept besides the current one. */
export const PAST_EPOCHS_MAX = 8
/** For how long they are kept at most. */
export const PAST_EPOCHS_MS: number = 24 * HOUR_MS
/** How long they are kept once most members are beyond them: a sync comes at least this often. */
export const PAST_FINAL_MS: number = MINUTE_MS
/** Largest frame of group-sync. */
export const SYNC_FRAME_BYTES_MAX = 327_680
/** Log keys, records or acks in one frame of group-sync. */
export const SYNC_IDS_MAX = 1_024
/** Frames asked for at once. */
export const SYNC_GET_MAX = 256
/** Proofs in one frame. */
export const SYNC_PROOFS_MAX = 32
/** Largest GroupInfo. */
export const GROUP_INFO_BYTES_MAX = 65_536
/** Transport secrets that a member gives to one that comes back. */
export const INFO_GENERATIONS_MAX = 16
/** Commits that a request for records names. */
export const SYNC_KNOWN_MAX = 64
/** Octets of a sealed commit or a tree in one frame of group-sync. */
export const SYNC_CHUNK_BYTES_MAX = 65_536
/** Frames are kept for this long, or this many octets a group. */
export const LOG_MS: number = 30 * DAY_MS
export const LOG_BYTES_MAX = 268_435_456
export const RECORDS_MAX = 100_000
export const ORPHANS_PER_AUTHOR_MAX = 16
/** Frames that cannot be opened yet. */
export const PENDING_FRAMES_MAX = 4_096
export const PENDING_BYTES_MAX = 16_777_216
export const PENDING_MS: number = 24 * HOUR_MS
/** A hole in an author's numbers is awaited for this long. */
export const GAP_WAIT_MS: number = 24 * HOUR_MS
/** A node listens to a transport generation for this long after it ended. */
export const GENERATION_LINGER_MS: number = 24 * HOUR_MS

/** Label under which JoinPackages are handed off. */
export const JOIN_HANDOFF = 'conclave/group/join/1'
export const GROUP_SYNC_PROTOCOL = '/conclave/group-sync/1.0.0'
export const TOPIC_PREFIX = 'conclave/g/'

export const LABEL_RECORD = 'conclave group v1 record'
export const LABEL_ACK = 'conclave group v1 ack'
export const LABEL_LEAVE = 'conclave group v1 leave'
export const LABEL_REPAIR = 'conclave group v1 repair'
export const LABEL_PAYLOAD = 'conclave group v1 payload'
/** Exporter labels: branch id, key of child commits, transport secret, committer rank. */
export const EXPORT_BRANCH = 'branch'
export const EXPORT_BODY = 'conclave body'
export const EXPORT_TRANSPORT = 'conclave transport'
export const EXPORT_RANK = 'conclave rank'

/* Implementation constants: ours to tune. */

/** In a group of more than this many, acks are spread over time. */
export const ACKS_AT_ONCE_MAX = 8
/** By so much for each member, and by so much at most. */
export const ACK_SPREAD_MS = 200
export const ACK_SPREAD_MS_MAX: number = 20 * SECOND_MS
/** The same where branches compete. */
export const CONTESTED_ACK_MS = 40
export const CONTESTED_ACK_MS_MAX: number = 2 * SECOND_MS
/** Trees kept for members that are to come. */
export const OWED_TREES_MAX = 64
/** An ack of an epoch that most have acked already waits for this long, and is left out if another epoch comes. */
export const ACK_LATE_MS: number = 20 * SECOND_MS
/** Settle time D: what a commit is given to reach the others. */
export const SETTLE_MS = 1_500
/** Secrets of past epochs are kept this long, however few are: for what was on its way when the next one came. */
export const PAST_MS_MIN: number = 3 * SETTLE_MS
/** How long a committer waits for its first group-sync. */
export const CATCH_UP_MS: number = 5 * SECOND_MS
/** How long the next epoch waits at the end of a generation for the frames of it. */
export const GENERATION_HOLD_MS: number = 5 * SECOND_MS
/** Messages sealed or opened by one engine job. */
export const JOB_MESSAGES_MAX = 64
/** Own messages that wait to be sealed. */
export const GROUP_OUTBOX_MAX = 1_000
/** Own numbers skipped after a restored backup. */
export const REGRESSION_SKIP: number = 2 ** 20
/** Changes that wait for a commit. */
export const INTENTS_MAX = 2_048
/** An engine failure for the same change is final after this many attempts. */
export const COMMIT_ATTEMPTS_MAX = 8
/** What has been final for this long is beyond doubt. */
export const SETTLED_MS: number = DAY_MS
/** Messages kept to be sealed again, until their epoch is beyond doubt. */
export const KEPT_MAX = 4_096
export const KEPT_BYTES_MAX = 16_777_216
/** Another's message is sealed again after this long at least, and at most, unless somebody else was faster. */
export const SALVAGE_MS_MIN: number = SECOND_MS
export const SALVAGE_MS_MAX: number = 5 * SECOND_MS
/** When others are asked for messages that cannot be opened here, counted from the hearing. */
export const REPAIR_AFTER_MS: readonly number[] = [
  5 * SECOND_MS,
  30 * SECOND_MS,
  2 * MINUTE_MS,
  9 * MINUTE_MS,
  27 * MINUTE_MS,
  81 * MINUTE_MS,
  4 * HOUR_MS,
  12 * HOUR_MS,
]
/** A message is sealed again on request no sooner than this after the last time. */
export const REPAIR_PAUSE_MS: number = 2 * SECOND_MS
/** A hole from the time of an absence that nothing was held of is awaited for this long. */
export const MISSED_WAIT_MS: number = 30 * SECOND_MS
/** A member whose branch lost beyond its held epochs comes back from outside this long after it knew, at most. */
export const RESYNC_SPREAD_MS: number = 4 * SETTLE_MS
/** And asks again after this long. */
export const RESYNC_RETRY_MS: number = 5 * SECOND_MS
/** What a member knows of its own removal on other branches must last this long, two syncs, before it goes by it. */
export const OUT_MS: number = 90 * SECOND_MS
/** A member whose branch lost is invited by another admin after this long at least, twice that at most, doubled each time. */
export const STRAY_MS: number = MINUTE_MS
/** So many times: then about every day. */
export const STRAY_TIMES_MAX = 10
/** After a commit of its own lost, a member draws from this span before it tries again, doubled each time. */
export const LOST_SPREAD_MS: number = 2 * SETTLE_MS
/** A sealed commit that most members have is awaited for this long before its epoch is entered from outside. */
export const BODY_WAIT_MS: number = 10 * SECOND_MS
/** Own keys are renewed this long after joining at least, and at most for each member that there is. */
export const FIRST_REKEY_MS: number = 20 * SECOND_MS
export const FIRST_REKEY_SPREAD_MS: number = 3 * SETTLE_MS
/** Own keys are renewed after this long, if anything was said meanwhile. */
export const REKEY_MS: number = DAY_MS
/** Holes of one author that late messages may still fill. */
export const OPEN_RANGES_MAX = 64
/** Messages of one author held back behind a hole. */
export const HELD_PER_AUTHOR_MAX = 256
