// What one member knows of one group, what happens to it, and what it asks for (spec.md §4). Types only; floor 0.
import type { Bytes } from '../base/bytes.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import type { PeerId } from '../base/ids.ts'
import type { TimeMs } from '../base/time.ts'
import type { Chain, Failed } from './chain.ts'
import type { Job, JobResult } from './jobs.ts'
import type { Generation } from './keys.ts'
import type { Vote, Votes } from './selection.ts'
import type {
  BranchId,
  CommitId,
  EntryInfo,
  FrameContent,
  FrameId,
  GroupId,
  GroupMessageId,
  JoinPackage,
  MemberRef,
  Payload,
  RecordEntry,
} from './types.ts'

/** `leaving`: a signed Leave is out and nobody has executed it yet. */
export type Phase = 'member' | 'leaving' | 'left' | 'removed'

/** An epoch whose secrets are at hand. The secrets themselves are rows; these few are used all the time. */
export interface HeldEpoch {
  readonly branchId: BranchId
  /** Opens and seals the commits that follow this epoch: 32 bytes. */
  readonly bodyKey: Bytes
  /** Orders the members that may execute a Leave: 32 bytes. */
  readonly rankKey: Bytes
  readonly authenticator: Bytes
  readonly treeHash: Bytes
  /** When it ceased to be the tip. */
  readonly endedAt?: TimeMs
}

/** An own commit that was made: adopting it later needs its checkpoint, which is a row. */
export interface Checkpoint {
  readonly treeHash: Bytes
  readonly madeAt: TimeMs
}

/** A transport generation that this node listens to. */
export interface Listening {
  readonly generation: Generation
  readonly endedAt?: TimeMs
}

/** An own message until its epoch is final: what was sealed on a branch that lost is sealed again. */
export interface Letter {
  readonly n: number
  readonly msgId: GroupMessageId
  /** The signed Payload. */
  readonly payload: Bytes
  /** The epoch it was last sealed in, the frame that carried it, and when. */
  readonly sealed?: Sealing
}

/** Where a message was last sealed. */
export interface Sealing {
  readonly in: CommitId
  readonly frameId: FrameId
  readonly at: TimeMs
}

/** Another member's message that was accepted: if its branch loses, whoever has it seals it again. The Payload is a row. */
export interface Kept {
  readonly author: MemberRef
  readonly n: number
  readonly bytes: number
  readonly sealed: Sealing
  /** When it is to be sealed again, unless somebody else did. */
  readonly dueAt?: TimeMs
}

/** A change that this agent asked for. */
export type Change =
  | { readonly kind: 'add'; readonly peer: PeerId; readonly keyPackage: Bytes; readonly ref: Bytes }
  | { readonly kind: 'remove'; readonly member: MemberRef }
  | { readonly kind: 'role'; readonly member: MemberRef; readonly role: 'admin' | 'member' }
  | { readonly kind: 'rekey' }

/** A change until it is final: it is committed again where it lost. */
export interface Intent {
  readonly id: number
  readonly change: Change
  readonly askedAt: TimeMs
  readonly attempts: number
  /** The own commit that made it. */
  readonly committedIn?: CommitId
  /** How often a commit of it lost. */
  readonly losses?: number
  /** Not committed before this time. */
  readonly dueAt?: TimeMs
  /** Nobody waits for it, and nothing that is said waits for it either. */
  readonly isRoutine?: true
}

/** A Welcome that waits until its commit had time to lose. */
export interface DueWelcome {
  readonly commitId: CommitId
  readonly peer: PeerId
  readonly welcome: Bytes
  readonly dueAt: TimeMs
}

/** A tree that is kept for members that were added and have not said yet that they are in. */
export interface OwedTree {
  readonly commitId: CommitId
  readonly treeHash: Bytes
}

/** A member that is to be removed, until somebody does it: by its own Leave, or because another branch removed it. */
export interface PendingLeave {
  /** Its Leave, or the record that removed it. */
  readonly bytes: Bytes
  readonly heardAt: TimeMs
  readonly gen: number
  readonly kind: 'leave' | 'tombstone'
}

/** A member whose branch lost, until it is added again: how often it was to be invited, and when it is next. */
export interface Stray {
  readonly gen: number
  readonly times: number
  readonly dueAt: number
}

/** A message that waits for its epoch. */
export interface Waiting {
  readonly frameId: FrameId
  readonly branchId: BranchId
  readonly message: Bytes
  readonly heardAt: TimeMs
}

/** How often, and when last, others were asked for a message that cannot be opened here. */
export interface Asked {
  readonly times: number
  readonly at: TimeMs
}

/** The way back from outside that is under way: a GroupInfo of this epoch is asked for at `dueAt`. */
export interface ComingBack {
  readonly to: CommitId
  readonly dueAt: TimeMs
  readonly attempts: number
  /** So often was asked in vain. */
  readonly unanswered: number
  /** What was given to enter it by. */
  readonly info?: EntryInfo
}

/** What is closed is asked for again at `dueAt`. */
export interface Probe {
  readonly dueAt: TimeMs
  readonly attempts: number
  /** What was asked for last, and what was given to enter it by. */
  readonly to?: CommitId
  readonly info?: EntryInfo
}

/** A message behind a hole in its author's numbers. */
export interface HeldMessage {
  readonly payload: Payload
  readonly epoch: number
  readonly receivedAt: TimeMs
}

/** Where an author's messages stand: `next` is the number to be delivered next. */
export interface AuthorOrder {
  readonly author: MemberRef
  readonly next: number
  /** Numbers below `next` that were not handed over and may still come: `[from, to)`, ascending. */
  readonly open: readonly (readonly [number, number])[]
  /** By number, ascending. */
  readonly held: readonly HeldMessage[]
  /**
   * This member came in, or back, at this time: what the author said before is not awaited for long. Absent once the
   * author has said something well after it.
   */
  readonly missed?: TimeMs
  /** What is known of it is from an earlier membership of ours: its next message tells where it stands. */
  readonly isEarlier?: true
}

/** A vote that waits for its commit, with the signed octets that it came in. */
export interface EarlyVote extends Vote {
  readonly ack: Bytes
}

/** A record whose parent is not known yet. */
export interface Orphan {
  readonly author: PeerId
  readonly parent: CommitId
  readonly entry: RecordEntry
}

/** The state of one group at one member. Everything but `volatile` is durable. */
export interface GroupState {
  readonly groupId: GroupId
  readonly self: MemberRef
  readonly phase: Phase
  readonly chain: Chain
  /** The adopted epoch. */
  readonly tip: CommitId
  readonly votes: Votes
  /** The group's first commit. */
  readonly genesis: CommitId
  /** The commit by which this member came in: genesis, the one that added it, or its last resync. */
  readonly since: CommitId
  /** The genesis, or the commit that added it, and when. */
  readonly joinedBy: CommitId
  readonly joinedAt: TimeMs
  /** Proofs of double votes, by author. */
  readonly proofs: ReadonlyMap<PeerId, Bytes>
  /** Latest signed acks by author, to be handed on. */
  readonly acks: ReadonlyMap<PeerId, Bytes>
  readonly held: ReadonlyMap<CommitId, HeldEpoch>
  readonly checkpoints: ReadonlyMap<CommitId, Checkpoint>
  readonly generations: ReadonlyMap<CommitId, Listening>
  /** The last of the own sequence of records and acks. */
  readonly seq: number
  /** The last own message number. */
  readonly n: number
  readonly lamport: number
  readonly outbox: readonly Letter[]
  /** By `peer/gen/number`. */
  readonly kept: ReadonlyMap<string, Kept>
  readonly intents: readonly Intent[]
  readonly intentId: number
  readonly leaves: ReadonlyMap<PeerId, PendingLeave>
  readonly welcomes: readonly DueWelcome[]
  /** Ratchet trees of epochs that are over, which members that this one added have yet to fetch. */
  readonly owed: readonly OwedTree[]
  readonly waiting: ReadonlyMap<FrameId, Waiting>
  /** By `peer/gen`. */
  readonly authors: ReadonlyMap<string, AuthorOrder>
  /** When this member's own leaf got fresh keys. */
  readonly rekeyedAt: TimeMs
  /** The lamport time at which it did: what was said since is worth fresh keys. */
  readonly rekeyedLamport: number
  readonly volatile: Volatile
}

/** What a restart may forget. */
export interface Volatile {
  /** When the last step was: what was due then was looked at. */
  readonly steppedAt: number
  /** When the node took the group up; 0 if it began here. */
  readonly loadedAt: number
  /** The engine job under way; there is one at most. */
  readonly job?: Job
  readonly orphans: readonly Orphan[]
  /** The newest vote of each member for a commit that is not known yet. */
  readonly early: ReadonlyMap<PeerId, EarlyVote>
  /** Syncs under way, and until when the next epoch waits for them. */
  readonly syncs: number
  readonly syncUntil: number
  /** Nothing is committed or sealed before a first sync, or this time. */
  readonly catchUpUntil: number
  /** The next epoch waits until then for the frames of a generation that has just begun. */
  readonly holdUntil: number
  /** Welcomes being handed off, as `commit/peer`. */
  readonly handing: readonly string[]
  /** Records before the base, until they reach back to genesis. */
  readonly history: ReadonlyMap<CommitId, RecordEntry>
  readonly comingBack?: ComingBack
  readonly probe?: Probe
  /** When the adopted epoch is acked. */
  readonly ackDue?: { readonly tip: CommitId; readonly at: number; readonly isLate: boolean }
  /** What became final when, and what has been for SETTLED_MS. */
  readonly settling?: { readonly final: CommitId; readonly at: TimeMs }
  readonly settled?: CommitId
  readonly asked: ReadonlyMap<FrameId, Asked>
  /** Members that say so, by serving no more than the record that removed this one. */
  readonly deniedBy: ReadonlyMap<PeerId, CommitId>
  /** Since when this member is out as far as it knows, by what may still be outvoted. */
  readonly outSince?: TimeMs
  /** Noted by admins. */
  readonly strays: ReadonlyMap<PeerId, Stray>
}

/** What every event brings: the time, and 32 random octets that nothing else is made of. */
export interface Moment {
  readonly nowMs: TimeMs
  readonly entropy: Bytes
}

/** What happens. */
export type GroupEvent = Moment &
  (
    | { readonly kind: 'timer' | 'leaveAsked' | 'syncBegan' }
    /** `regressed`: the rows are older than what this member had done. */
    | { readonly kind: 'loaded'; readonly regressed: boolean }
    | { readonly kind: 'syncEnded'; readonly reached: boolean }
    | {
        readonly kind: 'messageAsked'
        readonly msgId: GroupMessageId
        readonly contentType: string
        readonly body: Bytes
      }
    | { readonly kind: 'changesAsked'; readonly changes: readonly Change[] }
    | {
        readonly kind: 'frameHeard'
        readonly frameId: FrameId
        readonly hour: number
        readonly frame: Bytes
        readonly content: FrameContent
      }
    | { readonly kind: 'recordsHeard'; readonly entries: readonly RecordEntry[] }
    | {
        readonly kind: 'acksHeard'
        readonly acks: readonly Bytes[]
        readonly proofs: readonly Bytes[]
      }
    /** What is needed to enter an epoch from outside. */
    | { readonly kind: 'infoHeard'; readonly commitId: CommitId; readonly info: EntryInfo }
    /** A member, as its connection proves, answers a sync with no more than this removal of ours. */
    | { readonly kind: 'removalHeard'; readonly peer: PeerId; readonly removal: CommitId }
    | { readonly kind: 'bodyHeard'; readonly commitId: CommitId; readonly body: Bytes }
    | { readonly kind: 'jobDone'; readonly job: Job; readonly result: JobResult }
    | { readonly kind: 'joinHandedOff'; readonly commitId: CommitId; readonly peer: PeerId }
  )

/** A message as it is handed over to the agent. */
export interface Delivered {
  readonly payload: Payload
  readonly epoch: number
  readonly receivedAt: TimeMs
  readonly own: boolean
  /** Messages before it are missing. */
  readonly gap: boolean
  /** It comes after messages that its author sent later. */
  readonly late: boolean
}

/** Rows to be written or deleted with the step. */
export type SaveEffect =
  | {
      readonly kind: 'saveRecord'
      readonly commitId: CommitId
      readonly entry: RecordEntry
      readonly failed: Failed
    }
  | { readonly kind: 'saveEpoch'; readonly commitId: CommitId; readonly epoch: HeldEpoch }
  | { readonly kind: 'saveSnapshot'; readonly commitId: CommitId; readonly snapshot: Bytes }
  | { readonly kind: 'dropEpoch'; readonly commitId: CommitId }
  | { readonly kind: 'saveTree'; readonly treeHash: Bytes; readonly tree: Bytes }
  | { readonly kind: 'dropTree'; readonly treeHash: Bytes }
  | {
      readonly kind: 'saveCheckpoint'
      readonly commitId: CommitId
      readonly checkpoint: Checkpoint
      readonly bytes: Bytes
    }
  | { readonly kind: 'dropCheckpoint'; readonly commitId: CommitId }
  | { readonly kind: 'saveGeneration'; readonly listening: Listening }
  | { readonly kind: 'dropGeneration'; readonly start: CommitId }
  | { readonly kind: 'saveAck'; readonly peer: PeerId; readonly ack: Bytes }
  | { readonly kind: 'saveProof'; readonly peer: PeerId; readonly proof: Bytes }
  /** `payload` is given once, when the message is new. */
  | { readonly kind: 'saveKept'; readonly kept: Kept; readonly payload?: Bytes }
  | { readonly kind: 'dropKept'; readonly author: MemberRef; readonly n: number }
  | { readonly kind: 'saveLetter'; readonly letter: Letter }
  | { readonly kind: 'dropLetter'; readonly n: number }
  | { readonly kind: 'saveWaiting'; readonly waiting: Waiting }
  | { readonly kind: 'dropWaiting'; readonly frameId: FrameId }
  /** Its `next` alone; held messages are rows of their own. */
  | { readonly kind: 'saveAuthor'; readonly order: AuthorOrder }
  | { readonly kind: 'saveHeld'; readonly held: HeldMessage }
  | { readonly kind: 'dropHeld'; readonly author: MemberRef; readonly n: number }
  | {
      readonly kind: 'saveFrame'
      readonly frameId: FrameId
      readonly hour: number
      readonly frame: Bytes
    }
  | { readonly kind: 'deliver'; readonly message: Delivered }

/** What is asked for once the step is durable. Each is safe to be done twice. */
export type GroupEffect =
  | SaveEffect
  | { readonly kind: 'startJob'; readonly job: Job }
  /** The handle that the last job made of this epoch is the one to use from now on. */
  | { readonly kind: 'keepHandle'; readonly commitId: CommitId }
  | { readonly kind: 'publish'; readonly generation: CommitId; readonly frame: Bytes }
  /** To be handed off with the tree of `treeHash`; answered by `joinHandedOff`. */
  | {
      readonly kind: 'handJoin'
      readonly peer: PeerId
      readonly commitId: CommitId
      readonly joinPackage: Omit<JoinPackage, 'tree' | 'addresses'>
    }
  | { readonly kind: 'wantSync' }
  /** An EntryInfo of this epoch is asked of a member of it; answered by `infoHeard`, or not at all. */
  | { readonly kind: 'wantInfo'; readonly commitId: CommitId }
  /** A fresh KeyPackage of the peer is to be fetched and an `add` asked for, by `changesAsked`; it may fail. */
  | { readonly kind: 'inviteAgain'; readonly peer: PeerId }
  /** Roster, epoch or phase are others than before. */
  | { readonly kind: 'changed' }
  | { readonly kind: 'intentFailed'; readonly id: number; readonly code: ErrorCode }
