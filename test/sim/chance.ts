// Seeded chance: one seed makes every draw of a simulation. Streams are forked by name, so that taking one step out of a
// run leaves the draws of the others as they were.
import { native } from '../../src/crypto/native.ts'
import { utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'

/** A stream of draws (sfc32). */
export class Chance {
  readonly #seed: string
  #a: number
  #b: number
  #c: number
  #d = 1

  constructor(seed: string) {
    this.#seed = seed
    const view = new DataView(native.sha256(utf8(`chance ${seed}`)).buffer)
    this.#a = view.getInt32(0)
    this.#b = view.getInt32(4)
    this.#c = view.getInt32(8)
    for (let i = 0; i < 12; i++) this.#draw()
  }

  /** A stream of its own. */
  fork(name: string): Chance {
    return new Chance(`${this.#seed}/${name}`)
  }

  bytes(length: number): Bytes {
    const out = new Uint8Array(length)
    for (let i = 0; i < length; i += 4) {
      const word = this.#draw()
      for (let j = i; j < Math.min(length, i + 4); j++) out[j] = word >>> (8 * (j - i))
    }
    return out
  }

  /** A number from 0 up to, not including, 1. */
  share(): number {
    return this.#draw() / 2 ** 32
  }

  /** A whole number from 0 up to, not including, `below`. */
  upTo(below: number): number {
    return Math.floor(this.share() * below)
  }

  /** A number between two. */
  between(least: number, most: number): number {
    return least + this.share() * (most - least)
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[this.upTo(items.length)]
  }

  /** The same items in another order. */
  shuffled<T>(items: readonly T[]): T[] {
    const out = [...items]
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.upTo(i + 1)
      ;[out[i], out[j]] = [out[j] as T, out[i] as T]
    }
    return out
  }

  #draw(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    return sum >>> 0
  }
}
