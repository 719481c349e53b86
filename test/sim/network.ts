// A network that delays, loses, repeats, reorders and parts: in halves, within halves, and in one direction alone.
import type { Chance } from './chance.ts'
import type { Timeline } from './timeline.ts'

/** What may go wrong on the way. */
export interface Weather {
  /** Share of gossip that is lost, and of syncs that break off. */
  readonly loss: number
  /** Share that comes twice. */
  readonly repeats: number
  readonly delayMs: readonly [number, number]
}

/** Nothing goes wrong. */
export const FAIR: Weather = { loss: 0, repeats: 0, delayMs: [5, 100] }

/** A cut between the named ones and the rest; others may be made within either part. */
export interface Cut {
  readonly names: ReadonlySet<string>
  /** Only what comes from the named ones is lost. */
  readonly oneWay: boolean
}

/** Who can reach whom, and how well. */
export class Network {
  readonly #timeline: Timeline
  readonly #chance: Chance
  readonly #cuts = new Set<Cut>()
  weather: Weather
  /** Called when links may be there again. */
  onHeal: () => void = () => undefined

  constructor(timeline: Timeline, chance: Chance, weather: Weather = FAIR) {
    this.#timeline = timeline
    this.#chance = chance
    this.weather = weather
  }

  /** Parts the named ones from the rest, until the answered function is called. */
  part(names: readonly string[], oneWay = false): () => void {
    const cut = { names: new Set(names), oneWay }
    this.#cuts.add(cut)
    return () => {
      if (this.#cuts.delete(cut)) this.onHeal()
    }
  }

  heal(): void {
    const wasCut = this.#cuts.size > 0
    this.#cuts.clear()
    if (wasCut) this.onHeal()
  }

  /** True if something sent there arrives. */
  reaches(from: string, to: string): boolean {
    for (const { names, oneWay } of this.#cuts) {
      if (names.has(from) && !names.has(to)) return false
      if (!oneWay && names.has(to) && !names.has(from)) return false
    }
    return true
  }

  /** True if a stream between the two works. */
  connects(a: string, b: string): boolean {
    return this.reaches(a, b) && this.reaches(b, a)
  }

  /** One delay. */
  delay(): number {
    return this.#chance.between(...this.weather.delayMs)
  }

  /** True if a stream breaks off now. */
  breaks(): boolean {
    return this.#chance.share() < this.weather.loss
  }

  /** Carries something, or not; at the time of arrival the two must still reach each other. */
  carry(from: string, to: string, deliver: () => Promise<void>): void {
    const { loss, repeats } = this.weather
    const copies = this.#chance.share() < repeats ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (this.#chance.share() < loss) continue
      this.#timeline.after(this.delay(), async () => {
        if (this.reaches(from, to)) await deliver()
      })
    }
  }
}
