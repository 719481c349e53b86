// Virtual time: what is due runs in its order, and nothing waits.
import { toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'

/** When a simulation begins. */
export const EPOCH_MS = 1_800_000_000_000

interface Due {
  readonly at: number
  readonly order: number
  readonly run: () => Promise<void> | void
}

/** A queue of what is due: a binary heap. */
export class Timeline {
  #now = EPOCH_MS
  #order = 0
  readonly #heap: Due[] = []

  get nowMs(): TimeMs {
    return toTimeMs(this.#now)
  }

  /** Since the simulation began. */
  get elapsedMs(): number {
    return this.#now - EPOCH_MS
  }

  after(delayMs: number, run: () => Promise<void> | void): void {
    const due = { at: this.#now + Math.max(0, Math.round(delayMs)), order: this.#order++, run }
    const heap = this.#heap
    heap.push(due)
    for (let i = heap.length - 1; i > 0;) {
      const parent = (i - 1) >> 1
      if (!isBefore(heap[i], heap[parent])) break
      this.#swap(i, parent)
      i = parent
    }
  }

  /** Runs for so much virtual time. */
  async run(forMs: number): Promise<void> {
    const end = this.#now + forMs
    for (;;) {
      const next = this.#heap[0]
      if (next === undefined || next.at > end) break
      this.#shift()
      this.#now = Math.max(this.#now, next.at)
      await next.run()
    }
    this.#now = end
  }

  #shift(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    heap[0] = last
    for (let i = 0; ;) {
      const [left, right] = [2 * i + 1, 2 * i + 2]
      let least = i
      if (isBefore(heap[left], heap[least])) least = left
      if (isBefore(heap[right], heap[least])) least = right
      if (least === i) return
      this.#swap(i, least)
      i = least
    }
  }

  #swap(i: number, j: number): void {
    const heap = this.#heap
    ;[heap[i], heap[j]] = [heap[j] as Due, heap[i] as Due]
  }
}

function isBefore(a: Due | undefined, b: Due | undefined): boolean {
  if (a === undefined || b === undefined) return false
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
