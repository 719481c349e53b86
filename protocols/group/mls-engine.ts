// What the group protocol asks of MLS (RFC 9420). Types only; floor 0, pure. `mls/` implements it.
//
// Handles are immutable: no call changes the epoch it is given, and what a call answers shares no secret
// memory with it. Whatever a peer's bytes can cause comes back as a value with one of these codes:
//
// | code                | says                                                                        |
// |---------------------|-----------------------------------------------------------------------------|
// | GROUP_COMMIT_INVALID| commit, Welcome, GroupInfo, tree, or proposal: malformed or does not verify |
// | GROUP_EPOCH_STALE   | it belongs to another epoch or group than the handle (wrong parent)         |
// | GROUP_EPOCH_UNKNOWN | the handle is stripped: it follows commits and opens no messages            |
// | GROUP_NOT_FOR_ME    | no secret of ours opens it; also an own commit (see `resume`) or own message|
// | GROUP_OPEN_FAILED   | an application message: malformed or does not verify                        |
// | GROUP_CONSUMED      | its message key was used or has left the window                             |
// | GROUP_TOO_FAR_AHEAD | it skips more generations than the window allows                            |
// | GROUP_ALREADY_MEMBER, GROUP_NOT_MEMBER, GROUP_FULL | a proposal does not fit the roster           |
//
// Misuse (a disposed handle, a seal on a stripped one, damaged own rows) throws ConclaveError.
import type { Bytes } from '../base/bytes.ts'
import type { Decoded } from '../base/decode.ts'
import type { PeerId } from '../base/ids.ts'
import type { TimeMs } from '../base/time.ts'

declare const epoch: unique symbol

/** One epoch of one branch, as one member holds it. Opaque, and empty when printed. */
export interface MlsEpoch {
  readonly [epoch]: true
}

/** Why an engine refuses bytes of a peer. */
export type EngineCode =
  | 'GROUP_COMMIT_INVALID'
  | 'GROUP_EPOCH_STALE'
  | 'GROUP_EPOCH_UNKNOWN'
  | 'GROUP_NOT_FOR_ME'
  | 'GROUP_OPEN_FAILED'
  | 'GROUP_CONSUMED'
  | 'GROUP_TOO_FAR_AHEAD'
  | 'GROUP_ALREADY_MEMBER'
  | 'GROUP_NOT_MEMBER'
  | 'GROUP_FULL'

/** An answer, or the reason why there is none. */
export type Answer<T> = Promise<Decoded<T, EngineCode>>

/** Who acts: the engine never sees the identity key, and no snapshot holds it. */
export interface Identity {
  readonly peer: PeerId
  /** Ed25519 signature (64 bytes) under the key inside `peer`. */
  sign(message: Bytes): Bytes
}

/** A KeyPackage and what its owner keeps to be able to join. */
export interface OwnKeyPackage {
  /** MLSMessage (mls_key_package), to publish. */
  readonly keyPackage: Bytes
  /** KeyPackageRef: 32 bytes. */
  readonly ref: Bytes
  /** Self-contained private part for `join`, holding the public one too. Store it sealed; single use. */
  readonly secret: Bytes
}

/** What a verified KeyPackage says. */
export interface KeyPackageFacts {
  readonly peer: PeerId
  /** KeyPackageRef: 32 bytes. */
  readonly ref: Bytes
  /** Its leaf's lifetime, in milliseconds since the Unix epoch. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Carries the `last_resort` extension (type 10): it may be used more than once. */
  readonly lastResort: boolean
}

/** A change that a commit makes. A commit of none renews the committer's keys. */
export type Proposal =
  | { readonly kind: 'add'; readonly keyPackage: Bytes }
  | { readonly kind: 'remove'; readonly peer: PeerId }
  /** Replaces the content of GroupContext extension 0xF0C1. */
  | { readonly kind: 'policy'; readonly policy: Bytes }

/** A Welcome without tree, cut to one recipient. */
export interface WelcomeFor {
  readonly peer: PeerId
  readonly ref: Bytes
  /** MLSMessage (mls_welcome) with exactly one secret. */
  readonly welcome: Bytes
}

/**
 * An own commit not yet adopted. Creating one again gives another commit, so persist
 * `checkpoint(pending)` and `tree(pending.child)` before a byte of it is published.
 */
export interface Pending {
  readonly child: MlsEpoch
  /** MLSMessage (PublicMessage); its SHA-256 is the commitId. Always has an UpdatePath. */
  readonly commit: Bytes
  /** One per add, in the order of the proposals. */
  readonly welcomes: readonly WelcomeFor[]
}

/** What a commit did, to be compared with its record. */
export interface CommitContent {
  readonly committer: PeerId
  readonly committerLeaf: number
  /** `external`: a member's resync, which replaces its own leaf; that Remove is not listed. */
  readonly kind: 'member' | 'external'
  readonly adds: readonly { readonly peer: PeerId; readonly ref: Bytes }[]
  readonly removes: readonly { readonly peer: PeerId; readonly leafIndex: number }[]
  /** The new policy, if the commit sets one. */
  readonly policy?: Bytes
}

/**
 * A processed commit. `removed`: it removes this member, which therefore has no child epoch; signature and
 * membership tag are verified, the confirmation tag cannot be.
 */
export type Processed =
  | { readonly kind: 'advanced'; readonly child: MlsEpoch; readonly content: CommitContent }
  | { readonly kind: 'removed'; readonly content: CommitContent }

/** A sealed application message and the epoch to persist before it is sent. */
export interface Sealed {
  readonly next: MlsEpoch
  /** MLSMessage (PrivateMessage), padded to a multiple of 256 bytes. */
  readonly message: Bytes
  readonly generation: number
}

/** An opened application message and the epoch to persist before it is acknowledged. */
export interface Opened {
  readonly next: MlsEpoch
  readonly plaintext: Bytes
  readonly sender: PeerId
  readonly senderLeaf: number
  readonly generation: number
  readonly aad: Bytes
}

/** A member and its leaf. */
export interface RosterEntry {
  readonly peer: PeerId
  readonly leafIndex: number
}

/** What every member of an epoch agrees on. Fresh or shared arrays: do not change them. */
export interface PublicInfo {
  readonly groupId: Bytes
  /** RFC 9420 epoch number. Never route or store by it. */
  readonly epoch: number
  readonly ownLeaf: number
  /** By leaf index, ascending. */
  readonly roster: readonly RosterEntry[]
  /** Content of extension 0xF0C1. */
  readonly policy: Bytes
  readonly treeHash: Bytes
  /** epoch_authenticator: equal for all members of an epoch. Not for the wire as it is. */
  readonly authenticator: Bytes
  readonly confirmationTag: Bytes
  /** Encoded GroupContext. */
  readonly context: Bytes
  /** SHA-256(GroupContext ‖ confirmation_tag ‖ external_pub): the same whoever signs the GroupInfo. */
  readonly groupInfoHash: Bytes
}

/** What a GroupInfo claims; its signature is verified by `externalJoin`. */
export interface GroupInfoFacts {
  readonly groupId: Bytes
  readonly epoch: number
  readonly treeHash: Bytes
  readonly policy: Bytes
  readonly groupInfoHash: Bytes
}

/** MLS as the group protocol uses it: cipher suite 1, basic credentials that are peer IDs. */
export interface MlsEngine {
  /** Begins a group of one. `groupId`: 32 random bytes; `policy`: content of extension 0xF0C1. */
  create(p: {
    readonly groupId: Bytes
    readonly self: Identity
    readonly policy: Bytes
    readonly nowMs: TimeMs
  }): Promise<MlsEpoch>
  /** Makes a KeyPackage valid from an hour before `nowMs` until `KEY_PACKAGE_MS` after it. */
  keyPackage(
    self: Identity,
    p: { readonly nowMs: TimeMs; readonly lastResort?: boolean },
  ): Promise<OwnKeyPackage>
  /** Verifies a KeyPackage: encoding, suite, capabilities, credential, both signatures; not its lifetime. */
  readKeyPackage(keyPackage: Bytes): Answer<KeyPackageFacts>
  /**
   * Joins by a Welcome.
   *
   * @param p - `secret` of the KeyPackage that was added; `tree` as `tree()` encodes it, checked against
   *   the signed tree hash, every leaf against its signature and credential.
   */
  join(p: {
    readonly welcome: Bytes
    readonly secret: Bytes
    readonly tree: Bytes
    readonly self: Identity
  }): Answer<MlsEpoch>
  /**
   * Replaces this member's leaf from outside (resync); refused with `GROUP_NOT_MEMBER` unless
   * the roster has one of that peer. Answers a Pending without Welcome.
   */
  externalJoin(p: {
    readonly groupInfo: Bytes
    readonly tree: Bytes
    readonly self: Identity
    readonly nowMs: TimeMs
  }): Answer<Pending>
  /**
   * Commits changes, always with a fresh path. Only here lifetimes of added KeyPackages are checked, by
   * `nowMs`: who follows a commit later must decide alike, whatever its clock says.
   */
  commit(
    parent: MlsEpoch,
    p: { readonly proposals: readonly Proposal[]; readonly nowMs: TimeMs },
  ): Answer<Pending>
  /** Follows another member's commit. Works on stripped handles too. */
  process(parent: MlsEpoch, commit: Bytes): Answer<Processed>
  /** Seals an application message; `aad` travels readable. */
  seal(e: MlsEpoch, plaintext: Bytes, aad: Bytes): Promise<Sealed>
  /** Opens another member's application message of this epoch, in any order within the window. */
  open(e: MlsEpoch, message: Bytes): Answer<Opened>
  /** MLS-Exporter (RFC 9420 §8.5). */
  export(e: MlsEpoch, label: string, context: Bytes, length: number): Promise<Bytes>
  /** Public facts of an epoch; computed once per handle. */
  info(e: MlsEpoch): PublicInfo
  /** Signed GroupInfo (MLSMessage) with external_pub, without the tree. */
  groupInfo(e: MlsEpoch): Promise<Bytes>
  /** Reads what a GroupInfo claims, so that it can be compared with the chain before it is used. */
  readGroupInfo(groupInfo: Bytes): Decoded<GroupInfoFacts, EngineCode>
  /** The public ratchet tree: `optional<Node> ratchet_tree<V>`. Store it once per tree hash. */
  tree(e: MlsEpoch): Bytes
  /**
   * Encodes a handle without tree and without identity key.
   *
   * @param kind - `stripped` leaves out all message keys: what it restores follows commits and exports,
   *   and neither seals nor opens.
   */
  snapshot(e: MlsEpoch, kind: 'full' | 'stripped'): Bytes
  /** Restores a snapshot with the tree of its tree hash. Throws `STORE_CORRUPT` where they do not fit. */
  restore(snapshot: Bytes, tree: Bytes, self: Identity): Promise<MlsEpoch>
  /** Encodes a Pending without its child's tree. */
  checkpoint(pending: Pending): Bytes
  /** Restores a Pending with the tree of its child: the only way to adopt an own commit later. */
  resume(checkpoint: Bytes, tree: Bytes, self: Identity): Promise<Pending>
  /** Zeroizes the handle's secrets; other handles keep theirs. Twice is harmless. */
  dispose(e: MlsEpoch): void
}

/* Specification constants. */

/** GroupContext extension of the group's policy (private use). */
export const POLICY_EXTENSION = 0xf0c1
/** KeyPackage extension that allows repeated use. */
export const LAST_RESORT_EXTENSION = 0x000a
/** Lifetime of a KeyPackage after its making. */
export const KEY_PACKAGE_MS: number = 90 * 24 * 3_600_000
/** A KeyPackage is valid from this long before its making, for clocks that run behind. */
export const KEY_PACKAGE_SKEW_MS = 3_600_000
/** Application messages are padded to a multiple of this. */
export const PADDING_BYTES = 256
/** Skipped message keys kept per sender and epoch. */
export const GENERATIONS_KEPT_MAX = 1_024
/** Largest jump of a sender's generations. */
export const GENERATION_STEP_MAX = 10_000
/** A sender may jump farther than this once in an epoch. */
export const GENERATION_JUMP_MAX = 1_000
