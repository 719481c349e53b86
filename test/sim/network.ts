// Virtual time, seeded chance, and a network that delays, loses, repeats and parts. Nothing here waits.
import { native } from '../../src/crypto/native.ts'
import { u32, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'

/** When a simulation begins. */
export const EPOCH_MS = 1_800_000_000_000

/** Seeded chance. */
export class Chance {
  readonly #seed: string
  #drawn = 0

  constructor(seed: string) {
    this.#seed = seed
  }

  bytes(length: number): Bytes {
    const salt = u32(this.#drawn++)
    return native.hkdfSha256(salt, utf8(this.#seed), utf8('sim'), length)
  }

  /** A number from 0 up to, not including, 1. */
  share(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.bytes(4)
    return (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) / 2 ** 32
  }

  /** A whole number from 0 up to, not including, `below`. */
  upTo(below: number): number {
    return Math.floor(this.share() * below)
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[this.upTo(items.length)]
  }
}

interface Due {
  readonly at: number
  readonly order: number
  readonly run: () => Promise<void>
}

/** Runs what is due, in order of virtual time. */
export class Timeline {
  #now = EPOCH_MS
  #order = 0
  readonly #due: Due[] = []

  get nowMs(): TimeMs {
    return toTimeMs(this.#now)
  }

  after(delayMs: number, run: () => Promise<void>): void {
    const due = { at: this.#now + Math.max(0, Math.round(delayMs)), order: this.#order++, run }
    let low = 0
    let high = this.#due.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#due[middle]
      const isBefore =
        other !== undefined &&
        (other.at < due.at || (other.at === due.at && other.order < due.order))
      if (isBefore) low = middle + 1
      else high = middle
    }
    this.#due.splice(low, 0, due)
  }

  /** Runs for so much virtual time. */
  async run(forMs: number): Promise<void> {
    const end = this.#now + forMs
    for (;;) {
      const [next] = this.#due
      if (next === undefined || next.at > end) break
      this.#due.shift()
      this.#now = Math.max(this.#now, next.at)
      await next.run()
    }
    this.#now = end
  }
}

/** What may go wrong on the way. */
export interface Faults {
  /** Share of gossip that is lost. */
  readonly loss: number
  /** Share that comes twice. */
  readonly repeats: number
  readonly delayMs: readonly [number, number]
}

/** Who can reach whom, and how well. */
export class Network {
  readonly #timeline: Timeline
  readonly #chance: Chance
  readonly #sides = new Map<string, number>()
  faults: Faults

  constructor(timeline: Timeline, chance: Chance, faults: Faults) {
    this.#timeline = timeline
    this.#chance = chance
    this.faults = faults
  }

  /** Parts the named ones from the rest. */
  part(names: readonly string[]): void {
    this.#sides.clear()
    for (const name of names) this.#sides.set(name, 1)
  }

  heal(): void {
    this.#sides.clear()
  }

  reaches(from: string, to: string): boolean {
    return (this.#sides.get(from) ?? 0) === (this.#sides.get(to) ?? 0)
  }

  /** Carries something, or not; at the time of arrival the two must still reach each other. */
  carry(from: string, to: string, deliver: () => Promise<void>): void {
    const { loss, repeats, delayMs } = this.faults
    const copies = this.#chance.share() < repeats ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (this.#chance.share() < loss) continue
      const [least, most] = delayMs
      const delay = least + this.#chance.share() * (most - least)
      this.#timeline.after(delay, async () => {
        if (this.reaches(from, to)) await deliver()
      })
    }
  }
}
