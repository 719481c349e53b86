// Round trips on one stream held open: what an application meets, without the cost of opening a stream. Floor 1.
import { pipe } from 'it-pipe'
import type { PeerId } from '../../protocols/base/ids.ts'
import { equalBytes } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { abortable } from './signals.ts'
import type { AbortOptions, FrameStream, ProtocolOptions } from './types.ts'

/** Protocol id of the ping stream. */
export const PING_PROTOCOL = '/conclave/ping/1.0.0'

/** Octets of one ping; the answer is the same octets. */
const PING_BYTES = 32

/** Most round trips of one call. */
const PING_COUNT_MAX = 1_000

/** Streams and frames of the ping protocol. */
export const PING_OPTIONS: ProtocolOptions = {
  frameBytesMax: PING_BYTES,
  inboundStreamsMax: 4,
  outboundStreamsMax: 4,
  relayed: true,
}

/** Answers each ping with itself; anything else ends the stream. */
export async function servePing(stream: FrameStream): Promise<void> {
  try {
    await pipe(stream.frames, checkPings, async (pings) => {
      for await (const ping of pings) await stream.send(ping)
    })
    await stream.close()
  } catch (error) {
    stream.abort(error instanceof Error ? error : undefined)
  }
}

async function* checkPings(frames: AsyncIterable<Bytes>): AsyncGenerator<Bytes> {
  for await (const frame of frames) {
    if (frame.length !== PING_BYTES) {
      throw new ConclaveError('CODEC_LENGTH', `ping of ${frame.length} bytes`)
    }
    yield frame
  }
}

/** Result of `pingPeer`. */
export interface PingTimes {
  readonly rttMs: number[]
  readonly transport: string
  readonly relayed: boolean
}

/**
 * Measures `count` round trips one after the other.
 *
 * @throws ConclaveError `NETWORK_RESET` if the peer ends the stream or answers wrongly; `AbortError` on `signal`.
 */
export async function pingPeer(
  open: (peer: PeerId) => Promise<FrameStream>,
  peer: PeerId,
  { count, signal }: AbortOptions & { readonly count: number },
): Promise<PingTimes> {
  if (!Number.isInteger(count) || count < 1 || count > PING_COUNT_MAX) {
    throw new ConclaveError('USAGE_ARGUMENT', `ping count ${count}, allowed 1 to ${PING_COUNT_MAX}`)
  }
  const stream = await open(peer)
  const answers = stream.frames[Symbol.asyncIterator]()
  const rttMs: number[] = []
  try {
    while (rttMs.length < count) {
      const sent = crypto.getRandomValues(new Uint8Array(PING_BYTES))
      const startedAt = performance.now()
      await stream.send(sent, signal === undefined ? {} : { signal })
      const next = answers.next() as Promise<IteratorResult<Bytes, undefined>>
      const answer = await (signal === undefined ? next : abortable(next, signal))
      if (answer.done === true || !equalBytes(answer.value, sent)) {
        throw new ConclaveError('NETWORK_RESET', 'the peer did not answer the ping with itself')
      }
      rttMs.push(performance.now() - startedAt)
    }
    await stream.close()
  } catch (error) {
    stream.abort()
    throw error
  }
  return { rttMs, transport: stream.transport, relayed: stream.relayed }
}
