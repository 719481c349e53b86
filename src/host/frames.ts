// Length-prefixed frames over a libp2p v3 stream, with back-pressure both ways. Floor 1.
//
// The library's own iterator and duplex never pause the remote, and end before what a paused stream still holds
// has been read. So reading is done here, and writing in frame-writer.ts.
import type { Stream } from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { FrameCutter } from './frame-cutter.ts'
import { FrameWriter } from './frame-writer.ts'
import { abortable } from './signals.ts'
import { resetError } from './stream-errors.ts'
import type { FrameStream } from './types.ts'

/** Received bytes waiting for a reader at which the remote is paused. */
const READ_HIGH_BYTES: number = 256 * 1024

/** How long `close` waits for what was sent to leave before it gives up and resets. */
const CLOSE_TIMEOUT_MS = 10_000

/** What `makeFrameStream` cannot see from the stream itself. */
export interface FrameStreamFacts {
  readonly peer: PeerId
  readonly relayed: boolean
  readonly transport: string
  readonly frameBytesMax: number
}

/** Wraps a stream; it is paused until somebody reads `frames`. */
export function makeFrameStream(stream: Stream, facts: FrameStreamFacts): FrameStream {
  const reader = new PausingReader(stream)
  const closed = new Promise<void>((resolve) => {
    if (stream.status === 'open' || stream.status === 'closing') {
      stream.addEventListener('close', () => resolve(), { once: true })
    } else resolve()
  })
  const writer = new FrameWriter(stream)
  let iterated = false

  async function* frames(): AsyncGenerator<Bytes> {
    if (iterated) throw new ConclaveError('BUG_INVARIANT', 'frames iterated twice')
    iterated = true
    const cutter = new FrameCutter(facts.frameBytesMax)
    try {
      for await (const chunk of reader.chunks()) {
        cutter.push(chunk)
        for (let frame = cutter.next(); frame !== undefined; frame = cutter.next()) yield frame
      }
      if (!cutter.isEmpty) throw resetError()
    } catch (error) {
      const failure = resetError(error)
      stream.abort(failure)
      throw failure
    }
  }

  return {
    peer: facts.peer,
    relayed: facts.relayed,
    transport: facts.transport,
    frames: { [Symbol.asyncIterator]: frames },
    closed,
    send(frame, { signal } = {}) {
      const sent = writer.send(frame, signal)
      return signal === undefined ? sent : abortable(sent, signal)
    },
    async close() {
      try {
        await writer.idle()
        await stream.close({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) })
      } catch (error) {
        stream.abort(resetError(error))
      }
    },
    abort(reason) {
      stream.abort(reason ?? new ConclaveError('NETWORK_RESET', 'stream aborted here'))
    },
  }
}

/** Turns message events into chunks and keeps the stream paused while too many wait. */
class PausingReader {
  readonly #stream: Stream
  readonly #queue: (Uint8Array | Uint8ArrayList)[] = []
  #queuedBytes = 0
  #resuming = false
  #failure: Error | undefined
  #wake: (() => void) | undefined

  constructor(stream: Stream) {
    this.#stream = stream
    this.#pause()
    stream.addEventListener('message', ({ data }) => {
      this.#queue.push(data)
      this.#queuedBytes += data.byteLength
      if (this.#queuedBytes >= READ_HIGH_BYTES) this.#pause()
      this.#wake?.()
    })
    stream.addEventListener('close', ({ error }) => {
      this.#failure = error
      this.#wake?.()
    })
    stream.addEventListener('remoteCloseWrite', () => this.#wake?.())
    stream.addEventListener('end', () => this.#wake?.())
  }

  async *chunks(): AsyncGenerator<Uint8Array | Uint8ArrayList> {
    try {
      while (true) {
        const chunk = this.#queue.shift()
        if (chunk !== undefined) {
          this.#queuedBytes -= chunk.byteLength
          yield chunk
          continue
        }
        this.#resume()
        if (this.#queue.length > 0) continue
        if (this.#failure !== undefined) throw resetError(this.#failure)
        if (this.#isOver()) return
        await new Promise<void>((resolve) => (this.#wake = resolve))
        this.#wake = undefined
      }
    } finally {
      this.#pause()
    }
  }

  #isOver(): boolean {
    const { remoteWriteStatus, readBufferLength, status } = this.#stream
    if (status === 'reset' || status === 'aborted') throw resetError()
    return remoteWriteStatus === 'closed' && readBufferLength === 0
  }

  #pause(): void {
    // Inside `resume` the stream would forget it: window updates would go on, up to the reset.
    if (!this.#resuming && this.#stream.readStatus === 'readable') this.#stream.pause()
  }

  #resume(): void {
    if (this.#stream.readStatus !== 'paused') return
    this.#resuming = true
    try {
      this.#stream.resume()
    } catch (error) {
      // What was buffered has been handed over; only the window update of a connection that is gone failed.
      if (this.#queue.length === 0) throw resetError(error)
    } finally {
      this.#resuming = false
    }
    if (this.#queuedBytes >= READ_HIGH_BYTES) this.#pause()
  }
}
