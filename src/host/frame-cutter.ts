// Cuts chunks of any size into length-prefixed frames. Floor 1. The length is checked before anything is allocated.
import type { Uint8ArrayList } from 'uint8arraylist'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'

/** Octets of a length prefix: enough for frames up to 2^35 - 1. */
const LENGTH_BYTES_MAX = 5

/** Collects chunks and gives frames. */
export class FrameCutter {
  readonly #frameBytesMax: number
  readonly #parts: Uint8Array[] = []
  /** The part being read, and where in it. */
  #part = 0
  #at = 0
  #bytes = 0
  /** Of the frame that has begun; undefined while its length is read. */
  #length: number | undefined
  #prefix = { value: 0, octets: 0 }

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax
  }

  /** True if nothing of an unfinished frame is held. */
  get isEmpty(): boolean {
    return this.#bytes === 0 && this.#length === undefined && this.#prefix.octets === 0
  }

  push(chunk: Uint8Array | Uint8ArrayList): void {
    this.#parts.splice(0, this.#part)
    this.#part = 0
    for (const part of chunk instanceof Uint8Array ? [chunk] : chunk) {
      if (part.length > 0) this.#parts.push(part)
    }
    this.#bytes += chunk.byteLength
  }

  /**
   * The next frame if all of it is here: a copy that shares no memory with the socket's buffers.
   *
   * @throws ConclaveError `CODEC_LENGTH` for a frame beyond the limit.
   */
  next(): Bytes | undefined {
    this.#length ??= this.#readLength()
    if (this.#length === undefined || this.#bytes < this.#length) return undefined
    const frame = this.#copy(this.#length)
    this.#length = undefined
    return frame
  }

  #readLength(): number | undefined {
    while (this.#bytes > 0) {
      const octet = this.#parts[this.#part]?.[this.#at] ?? 0
      this.#advance(1)
      const { value, octets } = this.#prefix
      const next = value + (octet & 0x7f) * 2 ** (7 * octets)
      const isLast = octet < 0x80
      if (next > this.#frameBytesMax || (!isLast && octets + 1 === LENGTH_BYTES_MAX)) {
        throw new ConclaveError('CODEC_LENGTH', `frame longer than ${this.#frameBytesMax} bytes`, {
          data: { allowed: this.#frameBytesMax },
        })
      }
      this.#prefix = isLast ? { value: 0, octets: 0 } : { value: next, octets: octets + 1 }
      if (isLast) return next
    }
    return undefined
  }

  #copy(length: number): Bytes {
    const frame = new Uint8Array(length)
    let filled = 0
    while (filled < length) {
      const part = this.#parts[this.#part] ?? new Uint8Array(0)
      const some = part.subarray(this.#at, this.#at + length - filled)
      frame.set(some, filled)
      filled += some.length
      this.#advance(some.length)
    }
    return frame
  }

  #advance(count: number): void {
    this.#at += count
    this.#bytes -= count
    if (this.#at < (this.#parts[this.#part]?.length ?? 0)) return
    this.#part += 1
    this.#at = 0
  }
}
