// Opening a stream: the best open connection, or a new one, once more if it has just died. Floor 1.
import type { Connection, Stream } from '@libp2p/interface'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { whileRunning } from './signals.ts'
import type { AbortOptions, FrameStream, ProtocolOptions } from './types.ts'

/** How long the peer may take to agree on the protocol. */
const OPEN_TIMEOUT_MS = 10_000

/** Connections tried: the one that looked open may have died unnoticed. */
const ATTEMPTS_MAX = 2

/** What opening needs from the host, for one peer. */
export interface StreamSource {
  /** Open connections, best first. */
  connections(): Connection[]
  connect(signal?: AbortSignal): Promise<Connection>
  wrap(stream: Stream, connection: Connection, frameBytesMax: number): FrameStream
}

/**
 * Opens a stream of `protocol`.
 *
 * @throws ConclaveError `NETWORK_UNREACHABLE` (also where the peer does not speak the protocol, or only a relay leads
 *   to it and the protocol may not use one), `NETWORK_TIMEOUT`, `NETWORK_RESET`, `LIMIT_QUOTA`; `AbortError`.
 */
export async function openStream(
  source: StreamSource,
  protocol: string,
  options: ProtocolOptions & AbortOptions,
): Promise<FrameStream> {
  let failure: unknown
  const failed = new Set<string>()
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const connection = await usableConnection(source, options, failed)
    try {
      const stream = await negotiate(connection, protocol, options)
      return source.wrap(stream, connection, options.frameBytesMax)
    } catch (error) {
      options.signal?.throwIfAborted()
      if (isFinal(error)) throw openError(error, protocol)
      failure = error
      failed.add(connection.id)
    }
  }
  throw openError(failure, protocol)
}

async function usableConnection(
  source: StreamSource,
  { relayed, signal }: ProtocolOptions & AbortOptions,
  failed: ReadonlySet<string>,
): Promise<Connection> {
  const fits = ({ id, limits }: Connection): boolean =>
    !failed.has(id) && (relayed || limits === undefined)
  const connection = source.connections().find(fits) ?? (await source.connect(signal))
  if (relayed || connection.limits === undefined) return connection
  throw new ConclaveError('NETWORK_UNREACHABLE', 'only a relay leads to the peer', {
    hint: 'this protocol waits for a direct connection',
  })
}

function negotiate(
  connection: Connection,
  protocol: string,
  { relayed, outboundStreamsMax, signal }: ProtocolOptions & AbortOptions,
): Promise<Stream> {
  const signals = [AbortSignal.timeout(OPEN_TIMEOUT_MS), ...(signal === undefined ? [] : [signal])]
  return whileRunning(signals, (within) =>
    connection.newStream(protocol, {
      signal: within,
      runOnLimitedConnection: relayed,
      maxOutboundStreams: outboundStreamsMax,
    }),
  )
}

// Another connection would answer the same.
function isFinal(error: unknown): boolean {
  const name = error instanceof Error ? error.name : ''
  return name === 'UnsupportedProtocolError' || name === 'TooManyOutboundProtocolStreamsError'
}

function openError(cause: unknown, protocol: string): Error {
  if (cause instanceof ConclaveError) return cause
  switch (cause instanceof Error ? cause.name : '') {
    case 'UnsupportedProtocolError':
      return new ConclaveError('NETWORK_UNREACHABLE', `the peer does not speak ${protocol}`, {
        cause,
      })
    case 'TooManyOutboundProtocolStreamsError':
      return new ConclaveError('LIMIT_QUOTA', `too many streams of ${protocol} to the peer`, {
        cause,
      })
    case 'TimeoutError':
      return new ConclaveError('NETWORK_TIMEOUT', `no answer to ${protocol} in time`, { cause })
    default:
      return new ConclaveError('NETWORK_RESET', `the connection ended while opening ${protocol}`, {
        cause,
      })
  }
}
