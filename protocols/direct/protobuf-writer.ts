// Writes protobuf into one array of known capacity. Floor 0, pure. Bodies are sealed in place, so each array that
// a growing writer would throw away costs more here than the writing itself.
import type { Bytes } from '../base/bytes.ts'

const VARINT = 0
const DELIMITED = 2

/** A protobuf message under construction; fields that have their default value are left out. */
export class ProtobufWriter {
  readonly #bytes: Bytes
  #at: number

  /** Writes into `bytes`, which must have room for everything, from `at` on. */
  constructor(bytes: Bytes, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  /** Where the next octet goes. */
  get at(): number {
    return this.#at
  }

  /** Writes an integer from 0 to 2^53 - 1. */
  number(field: number, value: number): void {
    if (value === 0) return
    this.#varint(field * 8 + VARINT)
    this.#varint(value)
  }

  /** Writes octets. */
  octets(field: number, octets: Bytes): void {
    if (octets.length === 0) return
    this.#varint(field * 8 + DELIMITED)
    this.#varint(octets.length)
    this.#bytes.set(octets, this.#at)
    this.#at += octets.length
  }

  /** Begins a message inside; `end` takes what this answers. */
  begin(field: number): number {
    this.#varint(field * 8 + DELIMITED)
    return ++this.#at
  }

  /** Ends the message that began at `start` and puts its length in front. */
  end(start: number): void {
    const length = this.#at - start
    let shift = 0
    for (let left = length; left >= 0x80; left >>>= 7) shift++
    if (shift > 0) this.#bytes.copyWithin(start + shift, start, this.#at)
    this.#at = start - 1
    this.#varint(length)
    this.#at += length
  }

  #varint(value: number): void {
    let left = value
    while (left >= 0x80) {
      this.#bytes[this.#at++] = (left % 0x80) | 0x80
      left = Math.floor(left / 0x80)
    }
    this.#bytes[this.#at++] = left
  }
}
