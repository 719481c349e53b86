// Conversations that have something to do and are not in memory: who, and when to take them up. Floor 3.
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Conversation } from '../../protocols/direct/conversation.ts'
import { postbagSize } from '../../protocols/direct/receipts.ts'

/** Peers in the order in which they were parked; a few dozen octets each. */
export class Parked {
  readonly #dueAt = new Map<PeerId, number>()

  has(peer: PeerId): boolean {
    return this.#dueAt.has(peer)
  }

  add(peer: PeerId, dueAt: number): void {
    this.#dueAt.set(peer, dueAt)
  }

  delete(peer: PeerId): void {
    this.#dueAt.delete(peer)
  }

  /** At most `count` peers whose time has come; they are parked no more. */
  take(count: number, nowMs: number): PeerId[] {
    const taken: PeerId[] = []
    for (const [peer, dueAt] of this.#dueAt) {
      if (taken.length >= count) break
      if (dueAt <= nowMs) taken.push(peer)
    }
    for (const peer of taken) this.#dueAt.delete(peer)
    return taken
  }
}

/** True if nothing is lost by unloading it: what it has to do can wait. */
export function isAtRest({ link, isFetching, requests }: Conversation): boolean {
  return link === 'closed' && !isFetching && requests.length === 0
}

/** True if it wants to be taken up again. */
export function hasWork(state: Conversation): boolean {
  const { outbox, notices, held, ledger } = state
  return outbox.length + notices.length + held.length + postbagSize(ledger.postbag) > 0
}
