// The writing side of a frame stream: frames in the order of the calls, merged into few writes. Floor 1.
//
// Each write costs a muxer frame, a Noise message and a system call, whatever its size. The library's `onDrain`
// resolves at once after the first time, so waiting for room is done here.
import type { Stream } from '@libp2p/interface'
import { encode } from 'it-length-prefixed'
import { Uint8ArrayList } from 'uint8arraylist'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { resetError } from './stream-errors.ts'

/** Frames queued together leave in one write of at most this many bytes; a longer frame leaves alone. */
export const WRITE_BYTES_MAX: number = 48 * 1024

interface Waiting {
  readonly frame: Bytes
  readonly signal: AbortSignal | undefined
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Writes frames to one stream. */
export class FrameWriter {
  readonly #stream: Stream
  #queue: Waiting[] = []
  #running: Promise<void> | undefined

  constructor(stream: Stream) {
    this.#stream = stream
  }

  /**
   * Queues one frame; resolves once it is written and there is room for more.
   *
   * @throws ConclaveError `NETWORK_RESET` when the stream has ended; the signal's reason.
   */
  send(frame: Bytes, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ frame, signal, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves once nothing is queued. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    await endOfTurn() // what else is queued by then goes along
    while (this.#queue.length > 0) {
      const some = this.#take()
      try {
        await this.#write(some)
        for (const { resolve } of some) resolve()
      } catch (error) {
        for (const { reject } of some) reject(error)
      }
    }
    this.#running = undefined
  }

  /** Frames for one write; one that can be called off stays by itself. */
  #take(): Waiting[] {
    let bytes = 0
    let count = 0
    for (const { frame, signal } of this.#queue) {
      bytes += frame.length
      if (count > 0 && (signal !== undefined || bytes > WRITE_BYTES_MAX)) break
      count += 1
      if (signal !== undefined) break
    }
    return this.#queue.splice(0, count)
  }

  async #write(some: readonly Waiting[]): Promise<void> {
    const [first] = some
    const signal = first?.signal
    signal?.throwIfAborted()
    try {
      this.#stream.send(merge(some))
    } catch (error) {
      throw resetError(error)
    }
    await untilWritable(this.#stream, signal)
  }
}

/** Resolves once every promise reaction that is due now has run: sooner than any timer or I/O. */
function endOfTurn(): Promise<void> {
  return new Promise((resolve) => queueMicrotask(() => process.nextTick(resolve)))
}

/** The frames with their lengths; few parts, because each of them costs the muxer and the cipher. */
function merge(some: readonly Waiting[]): Uint8Array | Uint8ArrayList {
  const list = new Uint8ArrayList()
  for (const { frame } of some) list.append(encode.single(frame))
  return some.length === 1 ? list : list.subarray()
}

/** Waits until the muxer takes more. A drained stream may fill again with what was queued, so it looks again. */
async function untilWritable(stream: Stream, signal?: AbortSignal): Promise<void> {
  while (stream.writableNeedsDrain) {
    if (stream.status !== 'open' && stream.status !== 'closing') throw resetError()
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        stream.removeEventListener('drain', settle)
        stream.removeEventListener('close', settle)
        signal?.removeEventListener('abort', cancel)
        resolve()
      }
      const cancel = (): void => {
        settle()
        reject(signal?.reason as Error)
      }
      stream.addEventListener('drain', settle)
      stream.addEventListener('close', settle)
      signal?.addEventListener('abort', cancel)
    })
    signal?.throwIfAborted()
  }
}
