// Streams of /conclave/group-sync/1.0.0, as both ends open and watch them (group spec.md §3.7). Floor 2.
import { ConclaveError } from '../../../protocols/base/errors.ts'
import { SECOND_MS } from '../../../protocols/base/time.ts'
import { SYNC_FRAME_BYTES_MAX } from '../../../protocols/group/types.ts'
import type { FrameStream, ProtocolOptions } from '../../host/types.ts'

/* Implementation constants: ours to tune. */
/** How long a stream may be silent. */
const SYNC_SILENCE_MS: number = 20 * SECOND_MS

/** Bounds of the protocol's streams. */
export const STREAMS: ProtocolOptions = {
  frameBytesMax: SYNC_FRAME_BYTES_MAX,
  inboundStreamsMax: 16,
  outboundStreamsMax: 16,
  relayed: true,
}

/** Gives a stream up that stays silent. */
export class Silence {
  readonly #stream: FrameStream
  #timer: NodeJS.Timeout

  constructor(stream: FrameStream) {
    this.#stream = stream
    this.#timer = this.#start()
  }

  /** Something came or went: the waiting begins anew. */
  over(): void {
    clearTimeout(this.#timer)
    this.#timer = this.#start()
  }

  /** Watches no more. */
  end(): void {
    clearTimeout(this.#timer)
  }

  #start(): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#stream.abort(new ConclaveError('NETWORK_TIMEOUT', 'a sync fell silent'))
    }, SYNC_SILENCE_MS)
    timer.unref()
    return timer
  }
}
