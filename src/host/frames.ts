// Length-prefixed frames over a libp2p v3 stream, with back-pressure both ways. Floor 1.
//
// The library's own iterator and duplex never pause the remote, and end before what a paused stream still holds
// has been read; its `onDrain` resolves at once after the first time. So reading and waiting are done here.
import type { Stream } from '@libp2p/interface'
import { decode, encode } from 'it-length-prefixed'
import { pipe } from 'it-pipe'
import type { Uint8ArrayList } from 'uint8arraylist'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { abortable } from './signals.ts'
import type { FrameStream } from './types.ts'

/** Received bytes waiting for a reader at which the remote is paused. */
const READ_HIGH_BYTES: number = 256 * 1024

/** Octets of a length prefix: enough for frames up to 2^35 - 1. */
const LENGTH_BYTES_MAX = 5

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
  let tail: Promise<unknown> = Promise.resolve()
  let iterated = false

  async function* frames(): AsyncGenerator<Bytes> {
    if (iterated) throw new ConclaveError('BUG_INVARIANT', 'frames iterated twice')
    iterated = true
    const limits = { maxDataLength: facts.frameBytesMax, maxLengthLength: LENGTH_BYTES_MAX }
    try {
      for await (const frame of pipe(reader.chunks(), (source) => decode(source, limits))) {
        yield copyOf(frame)
      }
    } catch (error) {
      const failure = readFailure(error, facts.frameBytesMax)
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
      // Frames leave in the order of the calls, one at a time, however many calls wait.
      const sent = tail.then(() => writeFrame(stream, frame, signal))
      tail = sent.catch(() => undefined)
      return signal === undefined ? sent : abortable(sent, signal)
    },
    async close() {
      try {
        await tail
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

async function writeFrame(stream: Stream, frame: Bytes, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  try {
    stream.send(encode.single(frame))
  } catch (error) {
    throw resetError(error)
  }
  await untilWritable(stream, signal)
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

/** A copy that shares no memory with the socket's buffers. */
function copyOf(list: Uint8Array | Uint8ArrayList): Bytes {
  const out = new Uint8Array(list.byteLength)
  if (list instanceof Uint8Array) {
    out.set(list)
    return out
  }
  let offset = 0
  for (const part of list) {
    out.set(part, offset)
    offset += part.byteLength
  }
  return out
}

function readFailure(error: unknown, frameBytesMax: number): ConclaveError {
  if (error instanceof ConclaveError) return error
  const name = error instanceof Error ? error.name : ''
  if (name.startsWith('InvalidDataLength') || name === 'InvalidMessageLengthError') {
    return new ConclaveError('CODEC_LENGTH', `frame longer than ${frameBytesMax} bytes`, {
      cause: error,
      data: { allowed: frameBytesMax },
    })
  }
  return resetError(error)
}

function resetError(cause?: unknown): ConclaveError {
  if (cause instanceof ConclaveError) return cause
  return new ConclaveError('NETWORK_RESET', 'the stream has ended', { cause })
}
