// One step of a group under way: the state so far, the effects so far. Floor 0.
// A turn is changed in place while a step runs and never leaves it; states in it are not changed but replaced.
import { concat, u32, utf8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { invariant } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { HOUR_MS } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import { nodeOf } from './chain.ts'
import { frameIdOf, sealFrame } from './frame.ts'
import type { GroupEffect, GroupEvent, GroupState, HeldEpoch, Volatile } from './state.ts'
import type { CommitId, FrameContent, FrameId, RecordEntry, View } from './types.ts'

const NONCE_BYTES = 12

/** What the machine of a group is made with. */
export interface GroupKit {
  readonly primitives: Primitives
  readonly peer: PeerId
  /** Ed25519 seed of `peer`. */
  readonly secret: Bytes
  /** How long secrets of past epochs are held, where that is shorter than PAST_EPOCHS_MAX and PAST_EPOCHS_MS. */
  readonly retention?: Retention
}

/** A bound on secrets of past epochs. */
export interface Retention {
  readonly epochs: number
  readonly ms: number
}

/** One step under way. */
export class GroupTurn {
  state: GroupState
  readonly before: GroupState
  readonly effects: GroupEffect[] = []
  readonly kit: GroupKit
  readonly nowMs: TimeMs
  readonly #entropy: Bytes
  #drawn = 0
  #history: Map<CommitId, RecordEntry> | undefined

  constructor(kit: GroupKit, state: GroupState, { nowMs, entropy }: GroupEvent) {
    this.kit = kit
    this.state = state
    this.before = state
    this.nowMs = nowMs
    this.#entropy = entropy
  }

  get primitives(): Primitives {
    return this.kit.primitives
  }

  /** The view of the adopted epoch. */
  get view(): View {
    return nodeOf(this.state.chain, this.state.tip).view
  }

  /** Replaces fields of the state. */
  change(fields: Partial<GroupState>): void {
    this.state = { ...this.state, ...fields }
  }

  /** Replaces fields of what a restart may forget. */
  note(fields: Partial<Volatile>): void {
    this.state = { ...this.state, volatile: { ...this.state.volatile, ...fields } }
  }

  /** Keeps a record that hangs on nothing known yet. */
  addHistory(id: CommitId, entry: RecordEntry): void {
    let history = this.#history
    if (history === undefined || this.state.volatile.history !== history) {
      history = new Map(this.state.volatile.history)
      this.#history = history
      this.note({ history })
    }
    history.set(id, entry)
  }

  /** True while there is an epoch to follow from. */
  isActive(): boolean {
    return this.state.phase === 'member' || this.state.phase === 'leaving'
  }

  /** What the next epoch would outdate is opened first; a sync that makes no progress holds nothing up. */
  isFetching(): boolean {
    const { syncs, syncUntil, holdUntil } = this.state.volatile
    return (syncs > 0 && this.nowMs < syncUntil) || this.nowMs < holdUntil
  }

  ask(...effects: readonly GroupEffect[]): void {
    this.effects.push(...effects)
  }

  /** The adopted epoch's few facts; only a member has one. */
  get tipEpoch(): HeldEpoch {
    const held = this.state.held.get(this.state.tip)
    invariant(held !== undefined, 'a member holds its epoch')
    return held
  }

  /** Fresh random octets: the event's entropy, stretched under a counter. */
  draw(length: number): Bytes {
    const info = concat(utf8('draw'), u32(this.#drawn++))
    return this.primitives.hkdfExpandSha256(this.#entropy, info, length)
  }

  /** The next of the own sequence numbers of records and acks. */
  nextSeq(): number {
    const seq = Math.max(this.state.seq + 1, this.nowMs)
    this.change({ seq })
    return seq
  }

  /** Seals content in a generation, keeps the frame and publishes it. */
  publish(start: CommitId, content: FrameContent): FrameId {
    const listening = this.state.generations.get(start)
    invariant(listening !== undefined, 'a member listens to what it publishes in')
    const hour = Math.floor(this.nowMs / HOUR_MS)
    const nonce = this.draw(NONCE_BYTES)
    const frame = sealFrame(this.primitives, listening.generation, { hour, nonce, content })
    const frameId: FrameId = frameIdOf(this.primitives, frame)
    this.ask({ kind: 'saveFrame', frameId, hour, frame })
    this.ask({ kind: 'publish', generation: start, frame })
    return frameId
  }
}
