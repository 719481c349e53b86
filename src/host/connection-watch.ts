// Connections that have died without a word are closed. Floor 1.
//
// libp2p's own monitor opens a stream for each ping, on every connection and from both ends: in a group of fifty that
// was more work than all that the group said. Here a connection is asked only if nothing came over it since the last
// time, and by its muxer's own ping where there is one: two frames of twelve octets.
import type { Connection, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'
import { byteStream } from '@libp2p/utils'
import { abortable, listenable } from './signals.ts'

/** A half-open connection is noticed after two intervals and one timeout at most. */
const INTERVAL_MS = 10_000
const TIMEOUT_MS = 10_000

const PING_PROTOCOL = '/ipfs/ping/1.0.0'
const PING_BYTES = 32

/** The part of yamux that is used. */
interface PingingMuxer extends StreamMuxer {
  onData: (data: unknown) => void
  getRTT: () => number
  ping: () => Promise<number>
}

/** How often something came in by a muxer. */
const hearing = new WeakMap<object, number>()

/** Makes a muxer of yamux note what comes in. */
export function hearingMuxers(make: () => StreamMuxerFactory): () => StreamMuxerFactory {
  return () => {
    const factory = make()
    const create = factory.createStreamMuxer.bind(factory)
    factory.createStreamMuxer = (connection) => {
      const muxer = create(connection) as PingingMuxer
      const take = muxer.onData.bind(muxer)
      hearing.set(muxer, 0)
      muxer.onData = (data) => {
        hearing.set(muxer, (hearing.get(muxer) ?? 0) + 1)
        take(data)
      }
      return muxer
    }
    return factory
  }
}

/** How often a connection is looked at, and how long an answer may take. */
export interface WatchLimits {
  readonly intervalMs?: number
  readonly timeoutMs?: number
}

/** Looks after all connections of a host until it is closed. */
export class ConnectionWatch {
  readonly #connections: () => Connection[]
  readonly #heard = new WeakMap<Connection, number>()
  readonly #closing = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #timeoutMs: number

  constructor(
    connections: () => Connection[],
    { intervalMs = INTERVAL_MS, timeoutMs = TIMEOUT_MS }: WatchLimits = {},
  ) {
    this.#connections = connections
    this.#timeoutMs = timeoutMs
    this.#timer = setInterval(() => this.#look(), intervalMs).unref()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#closing.abort()
  }

  #look(): void {
    for (const connection of this.#connections()) {
      if (connection.status === 'open') void this.#check(connection)
    }
  }

  async #check(connection: Connection): Promise<void> {
    const muxer = pingingMuxerOf(connection)
    const heard = muxer && hearing.get(muxer)
    const isSilent = heard === undefined || heard === this.#heard.get(connection)
    if (heard !== undefined) this.#heard.set(connection, heard)
    if (!isSilent) {
      note(connection, muxer?.getRTT())
      return
    }
    const limits = [this.#closing.signal, AbortSignal.timeout(this.#timeoutMs)]
    const signal = listenable(AbortSignal.any(limits))
    try {
      // The muxer is not told of the signal: to it, a late answer to what is not asked any more is an offence.
      const asked = muxer?.ping() ?? pingByStream(connection, signal)
      note(connection, await abortable(asked, signal))
    } catch (error) {
      const isHeard = muxer !== undefined && hearing.get(muxer) !== heard
      if (isHeard || this.#closing.signal.aborted) return
      connection.abort(error instanceof Error ? error : new Error('no answer to a ping'))
    }
  }
}

function pingingMuxerOf(connection: Connection): PingingMuxer | undefined {
  const { muxer } = connection as Connection & { readonly muxer?: PingingMuxer }
  return muxer !== undefined && hearing.has(muxer) ? muxer : undefined
}

function note(connection: Connection, rttMs: number | undefined): void {
  if (rttMs !== undefined && rttMs >= 0) connection.rtt = rttMs
}

async function pingByStream(connection: Connection, signal: AbortSignal): Promise<number> {
  const askedAt = Date.now()
  try {
    const stream = await connection.newStream(PING_PROTOCOL, {
      signal,
      runOnLimitedConnection: true,
    })
    const sentAt = Date.now()
    const bytes = byteStream(stream)
    await Promise.all([
      bytes.write(crypto.getRandomValues(new Uint8Array(PING_BYTES)), { signal }),
      bytes.read({ bytes: PING_BYTES, signal }),
    ])
    const rttMs = Date.now() - sentAt
    void stream.close().catch(() => undefined)
    return rttMs
  } catch (error) {
    // It has answered all the same, after two round trips.
    if (error instanceof Error && error.name === 'UnsupportedProtocolError') {
      return (Date.now() - askedAt) / 2
    }
    throw error
  }
}
