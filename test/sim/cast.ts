// The cast of a simulation: its members as they know each other, what they share, and who watches.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { Identity, MlsEngine } from '../../protocols/group/mls-engine.ts'
import type { Delivered, GroupEffect, GroupEvent, GroupState } from '../../protocols/group/state.ts'
import type { GroupKit } from '../../protocols/group/turn.ts'
import type {
  CommitId,
  EntryInfo,
  FrameContent,
  FrameId,
  GroupId,
  View,
} from '../../protocols/group/types.ts'
import type { GroupLog } from '../../src/node/group-log.ts'
import type { GroupHeard } from '../../src/node/running-group.ts'
import type { Chance } from './chance.ts'
import type { Ledger } from './ledger.ts'
import type { Network } from './network.ts'
import type { Tables } from './sim-store.ts'
import type { Timeline } from './timeline.ts'

/** Where a step is cut short: nothing of it is durable; all of it is, and nothing done; or some is done. */
export type CrashPoint = 'before' | 'after' | 'between'

/** A member as others see and use it; `SimMember` is one. */
export interface Member {
  readonly name: string
  readonly peer: PeerId
  readonly secret: Bytes
  readonly world: World
  readonly chance: Chance
  readonly engine: MlsEngine
  readonly identity: Identity
  readonly kit: GroupKit
  readonly sync: { soon(peer?: PeerId): void }
  readonly nowMs: TimeMs
  readonly tables: Tables
  readonly log: GroupLog
  readonly view: View
  readonly isUp: boolean
  readonly isMember: boolean
  /** Keeps every rule. */
  readonly isHonest: boolean
  /** Hears nothing any more: a copy that acts on what it had. */
  readonly isDeaf: boolean
  readonly state: GroupState | undefined
  /** How often it joined: a branch that lost adds it again. */
  readonly joins: number
  /** When it joined last. */
  readonly joinedAt: number
  /** How often it began again with an old backup. */
  readonly restores: number
  /** What its agent got, as its rows say. */
  readonly delivered: readonly Delivered[]
  /** The state of a member that has one. */
  demand(): GroupState
  /** A fresh KeyPackage, for somebody who invites. */
  keyPackage(): Promise<{ readonly keyPackage: Bytes; readonly ref: Bytes }>
  /** Takes an event through the machine: compute, persist, perform. One at a time. */
  hear(heard: GroupHeard): Promise<void>
  /** A frame as it comes from gossip or a sync: validated, then heard; true if it is worth being forwarded. */
  receive(frame: Bytes, by?: 'gossip' | 'sync'): Promise<boolean>
  /** Joins by a package that came as a direct message. */
  join(bytes: Bytes): Promise<void>
  frameOf(id: FrameId): Promise<Bytes | undefined>
  /** What a member that comes back from outside is given. */
  infoFor(peer: PeerId, commitId: CommitId): Promise<EntryInfo | undefined>
  /** Links may be there again: members that are met are synced with. */
  meetAll(): void
  /** A copy of all rows. */
  backup(): Tables
}

/** Which engine the members run. */
export type EngineKind = 'real' | 'fake'

/** One step of a member's machine, durable. */
export interface StepTaken {
  readonly member: Member
  readonly before: GroupState
  readonly event: GroupEvent
  readonly after: GroupState
  readonly effects: readonly GroupEffect[]
}

/** Who watches: invariants. */
export interface Watcher {
  stepped(step: StepTaken): Promise<void> | void
  /** A frame of this member is about to leave. */
  publishing(member: Member, frame: Bytes, content: FrameContent): Promise<void> | void
  /** It began again with its rows: what was durable when it ended was this. */
  restarted(member: Member, last: GroupState, delivered: readonly Delivered[]): void
  /** It begins again with rows of another time. */
  restored(member: Member): void
}

/** What went wrong, and by which invariant. */
export class Violation extends Error {
  readonly invariant: string

  constructor(invariant: string, text: string) {
    super(`${invariant}: ${text}`)
    this.invariant = invariant
  }
}

/** What the members of one simulation share. */
export interface World {
  readonly timeline: Timeline
  readonly network: Network
  readonly chance: Chance
  readonly ledger: Ledger
  readonly groupId: GroupId
  readonly primitives: Primitives
  /** By peer; copies of a member that act beside it are among `ghosts`. */
  readonly members: Map<PeerId, Member>
  readonly ghosts: Member[]
  readonly watchers: Watcher[]
  /** How often members sync without a reason. */
  syncEveryMs: number
  makeEngine(chance: Chance, primitives?: Primitives): MlsEngine
  note(text: string): void
}
