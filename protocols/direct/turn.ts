// One step of a conversation under way: the state so far, the effects so far, the draws left. Floor 0.
// A turn is changed in place while a step runs and never leaves it; states in it are not changed but replaced.
import type { TimeMs } from '../base/time.ts'
import type { Bytes } from '../base/bytes.ts'
import { SEAL_DRAW_BYTES } from './envelope-seal.ts'
import type { Conversation, ConversationEffect, Ledger, Moment } from './conversation.ts'
import { RETRY_JITTER, RETRY_MS_MAX, RETRY_MS_MIN } from './conversation.ts'
import type { SessionOperations } from './sessions.ts'
import type { OwnKeys } from './types.ts'

/** What the machine is made with. */
export interface ConversationKit {
  readonly own: OwnKeys
  readonly sessions: SessionOperations
  /** How long a hole in the peer's sequence is awaited. */
  readonly orderWaitMs: number
}

/** One step under way. */
export class Turn {
  state: Conversation
  readonly before: Conversation
  readonly effects: ConversationEffect[] = []
  readonly kit: ConversationKit
  readonly nowMs: TimeMs
  readonly #moment: Moment
  #drawn = 0

  constructor(kit: ConversationKit, state: Conversation, moment: Moment) {
    this.kit = kit
    this.state = state
    this.before = state
    this.nowMs = moment.nowMs
    this.#moment = moment
  }

  /** Replaces fields of the state. */
  change(fields: Partial<Conversation>): void {
    this.state = { ...this.state, ...fields }
  }

  /** Replaces fields of the ledger. */
  book(fields: Partial<Ledger>): void {
    this.state = { ...this.state, ledger: { ...this.state.ledger, ...fields } }
  }

  /** Removes optional fields of the state. */
  clear(...names: readonly ('renewal' | 'retryAt' | 'postbagDueAt' | 'reachBy')[]): void {
    if (names.every((name) => this.state[name] === undefined)) return
    const kept = Object.entries(this.state).filter(([name]) => !names.some((one) => one === name))
    this.state = Object.fromEntries(kept) as unknown as Conversation
  }

  ask(effect: ConversationEffect): void {
    this.effects.push(effect)
  }

  /** Random octets for one envelope; undefined if the event brought no more. */
  draw(): Bytes | undefined {
    const end = this.#drawn + SEAL_DRAW_BYTES
    if (end > this.#moment.draws.length) return undefined
    const draw = this.#moment.draws.subarray(this.#drawn, end)
    this.#drawn = end
    return draw
  }

  /** Notes a failed attempt: the next one comes after a longer pause. An earlier one stays. */
  backOff(): void {
    const { failures, retryAt } = this.state
    if (retryAt !== undefined) return
    const pauseMs = Math.min(RETRY_MS_MIN * 2 ** Math.min(failures, 20), RETRY_MS_MAX)
    const spread = 1 + RETRY_JITTER * (2 * this.#moment.jitter - 1)
    this.change({ failures: failures + 1, retryAt: this.nowMs + Math.round(pauseMs * spread) })
  }
}
