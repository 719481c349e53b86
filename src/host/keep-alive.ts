// Peers that must stay connected are dialled again for ever. Floor 1.

import type { PeerId } from '../../protocols/base/ids.ts'

/** Wait before the second dial; doubles from there. */
export const REDIAL_FIRST_MS = 1_000

/** Longest wait between two dials. */
export const REDIAL_MAX_MS: number = 5 * 60 * 1_000

/** Waits vary by this part either way, so that peers of a restarted node do not all come at once. */
const JITTER = 0.2

/** What keeping alive needs from the host. */
export interface KeepAliveHost {
  connect(peer: PeerId, signal: AbortSignal): Promise<unknown>
  isConnected(peer: PeerId): boolean
}

interface Kept {
  failureCount: number
  timer: NodeJS.Timeout | undefined
  dial: AbortController | undefined
}

/** Keeps connections to chosen peers, with back-off until they answer. */
export class KeepAlive {
  readonly #host: KeepAliveHost
  readonly #kept = new Map<PeerId, Kept>()

  constructor(host: KeepAliveHost) {
    this.#host = host
  }

  /** Starts keeping a peer; the first dial is at once. */
  keep(peer: PeerId): void {
    if (this.#kept.has(peer)) return
    this.#kept.set(peer, { failureCount: 0, timer: undefined, dial: undefined })
    this.#schedule(peer, 0)
  }

  /** Stops keeping a peer; an open connection stays. */
  release(peer: PeerId): void {
    const kept = this.#kept.get(peer)
    this.#kept.delete(peer)
    clearTimeout(kept?.timer)
    kept?.dial?.abort()
  }

  /** True if the peer is kept. */
  has(peer: PeerId): boolean {
    return this.#kept.has(peer)
  }

  /** The peer is connected: nothing to do, and the next loss begins with a short wait. */
  connected(peer: PeerId): void {
    const kept = this.#kept.get(peer)
    if (kept === undefined) return
    clearTimeout(kept.timer)
    kept.timer = undefined
    kept.failureCount = 0
  }

  /** The last connection to the peer has gone. */
  disconnected(peer: PeerId): void {
    if (this.#kept.has(peer)) this.#schedule(peer, jittered(REDIAL_FIRST_MS))
  }

  /** A sign of life from elsewhere, or a change of network: dials at once and forgets earlier failures. */
  sighted(peer: PeerId): void {
    const kept = this.#kept.get(peer)
    if (kept === undefined || kept.dial !== undefined || this.#host.isConnected(peer)) return
    kept.failureCount = 0
    this.#schedule(peer, 0)
  }

  /** Ends all dials and timers. */
  close(): void {
    for (const peer of [...this.#kept.keys()]) this.release(peer)
  }

  #schedule(peer: PeerId, delayMs: number): void {
    const kept = this.#kept.get(peer)
    if (kept === undefined) return
    clearTimeout(kept.timer)
    kept.timer = setTimeout(() => {
      kept.timer = undefined
      void this.#dial(peer, kept)
    }, delayMs)
  }

  async #dial(peer: PeerId, kept: Kept): Promise<void> {
    if (kept.dial !== undefined || this.#host.isConnected(peer)) return
    kept.dial = new AbortController()
    try {
      await this.#host.connect(peer, kept.dial.signal)
    } catch {
      kept.failureCount += 1
    } finally {
      kept.dial = undefined
    }
    // Released meanwhile, or kept anew: that entry has its own timer.
    if (this.#kept.get(peer) !== kept || this.#host.isConnected(peer)) return
    this.#schedule(peer, redialDelay(kept.failureCount))
  }
}

/** Wait after so many failures in a row, with jitter. */
export function redialDelay(failureCount: number): number {
  const doublings = Math.min(Math.max(failureCount - 1, 0), 20)
  return jittered(Math.min(REDIAL_FIRST_MS * 2 ** doublings, REDIAL_MAX_MS))
}

function jittered(ms: number): number {
  return Math.round(ms * (1 - JITTER + 2 * JITTER * Math.random()))
}
