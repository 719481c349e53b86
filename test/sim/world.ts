// What the members of one simulation share, and how it is made from its options.
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { toGroupId } from '../../protocols/group/ids.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import type { MlsEngine } from '../../protocols/group/mls-engine.ts'
import type { Delivered, GroupEffect, GroupEvent, GroupState } from '../../protocols/group/state.ts'
import type { FrameContent, GroupId } from '../../protocols/group/types.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { native } from '../../src/crypto/native.ts'
import { makeFakeEngine } from '../support/fake-mls-engine.ts'
import { Chance } from './chance.ts'
import type { SimMember } from './group-node.ts'
import { Ledger } from './ledger.ts'
import { Network } from './network.ts'
import { Timeline } from './timeline.ts'

/** Which engine the members run. */
export type EngineKind = 'real' | 'fake'

/** One step of a member's machine, durable. */
export interface StepTaken {
  readonly member: SimMember
  readonly before: GroupState
  readonly event: GroupEvent
  readonly after: GroupState
  readonly effects: readonly GroupEffect[]
}

/** Who watches: invariants. */
export interface Watcher {
  stepped(step: StepTaken): Promise<void> | void
  /** A frame of this member is about to leave. */
  publishing(member: SimMember, frame: Bytes, content: FrameContent): Promise<void> | void
  /** It began again with its rows: what was durable when it ended was this. */
  restarted(member: SimMember, last: GroupState, delivered: readonly Delivered[]): void
  /** It begins again with rows of another time. */
  restored(member: SimMember): void
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
  readonly members: Map<PeerId, SimMember>
  readonly ghosts: SimMember[]
  readonly watchers: Watcher[]
  /** How often members sync without a reason. */
  syncEveryMs: number
  makeEngine(chance: Chance): MlsEngine
  note(text: string): void
}

/** How a world is made. */
export interface WorldOptions {
  readonly seed: string
  readonly engine?: EngineKind
  /** What happens is told here. */
  readonly trace?: (text: string) => void
}

/** Makes a world in fair weather without members. */
export function makeWorld({ seed, engine = 'real', trace }: WorldOptions): World {
  const chance = new Chance(seed)
  const timeline = new Timeline()
  const network = new Network(timeline, chance.fork('network'))
  const primitives = remembering(native)
  const members = new Map<PeerId, SimMember>()
  network.onHeal = () => {
    for (const member of members.values()) member.meetAll()
  }
  return {
    timeline,
    network,
    chance,
    ledger: new Ledger(),
    groupId: toGroupId(chance.fork('group').bytes(32)),
    primitives,
    members,
    ghosts: [],
    watchers: [],
    syncEveryMs: 30_000,
    makeEngine: (own) => {
      const random = (length: number): Bytes => own.bytes(length)
      return engine === 'real'
        ? makeMlsEngine({ primitives, random })
        : makeFakeEngine({ primitives, random })
    },
    note: (text) => trace?.(`${(timeline.elapsedMs / 1_000).toFixed(3).padStart(10)} ${text}`),
  }
}

/** Signatures are verified once in a world: all its members come to the same answer. */
function remembering(primitives: Primitives): Primitives {
  const known = new Map<string, boolean>()
  const text = (bytes: Bytes): string =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  return {
    ...primitives,
    verify: (theirs, message, signature) => {
      const key = `${text(signature)}${text(theirs)}${text(message)}`
      let valid = known.get(key)
      if (valid === undefined) {
        valid = primitives.verify(theirs, message, signature)
        known.set(key, valid)
      }
      return valid
    },
  }
}
