// Streams of a QUIC connection, with back-pressure and resets that arrive. Floor 1.
//
// The library's own streams go on reading while they are paused, up to the reset, and show a reset as a normal end.
// This muxer sits on the same native connection and takes their place in the upgrade.
import type {
  Logger,
  MessageStream,
  MessageStreamDirection,
  StreamMuxer,
  StreamMuxerFactory,
  Transport,
  Upgrader,
} from '@libp2p/interface'
import { AbstractStream, AbstractStreamMuxer } from '@libp2p/utils'
import type { SendResult } from '@libp2p/utils'
import type { Uint8ArrayList } from 'uint8arraylist'
import { READ_BUFFER_BYTES_MAX, WRITE_BUFFER_BYTES_MAX } from './stream-limits.ts'

/** What one native read asks for. */
const READ_BYTES: number = 64 * 1024

/** What one native write is given; smaller pieces let streams take turns. */
const WRITE_BYTES_MAX: number = 256 * 1024

/** The part of a native stream that is used. */
interface NativeStream {
  id(): string
  read(maxBytes: number): Promise<Uint8Array | null | undefined>
  write(bytes: Uint8Array): Promise<void>
  finishWrite(): Promise<void>
  resetWrite(): Promise<void>
  stopRead(): Promise<void>
}

/** The part of a native connection that is used. */
interface NativeConnection {
  inboundStream(): Promise<NativeStream>
  outboundStream(): Promise<NativeStream>
}

/** Makes a QUIC transport upgrade its connections with the muxer of this file. */
export function withOwnMuxer(transport: Transport): Transport {
  const dial = transport.dial.bind(transport)
  const createListener = transport.createListener.bind(transport)
  transport.dial = (address, options) =>
    dial(address, { ...options, upgrader: replacing(options.upgrader) })
  transport.createListener = (options) =>
    createListener({ ...options, upgrader: replacing(options.upgrader) })
  return transport
}

function replacing(upgrader: Upgrader): Upgrader {
  return {
    upgradeInbound: (connection, options) =>
      upgrader.upgradeInbound(connection, { ...options, ...ownFactory(options) }),
    upgradeOutbound: (connection, options) =>
      upgrader.upgradeOutbound(connection, { ...options, ...ownFactory(options) }),
    createInboundAbortSignal: (signal) => upgrader.createInboundAbortSignal(signal),
    getConnectionEncrypters: () => upgrader.getConnectionEncrypters(),
    getStreamMuxers: () => upgrader.getStreamMuxers(),
  }
}

function ownFactory(options: object): { muxerFactory?: StreamMuxerFactory } {
  if (!('muxerFactory' in options)) return {}
  const { protocol, init } = options.muxerFactory as StreamMuxerFactory & {
    readonly init: { readonly connection: NativeConnection }
  }
  return {
    muxerFactory: {
      protocol,
      createStreamMuxer: (connection): StreamMuxer =>
        new QuicMuxer(connection, protocol, init.connection),
    },
  }
}

class QuicMuxer extends AbstractStreamMuxer<QuicStream> {
  readonly #native: NativeConnection

  constructor(connection: MessageStream, protocol: string, native: NativeConnection) {
    super(connection, { protocol, name: 'quic' })
    this.#native = native
    void this.#accept()
  }

  override async onCreateStream(): Promise<QuicStream> {
    return new QuicStream(await this.#native.outboundStream(), 'outbound', this.log)
  }

  /** Data comes by stream, never by connection. */
  override onData(): void {
    this.log('data outside of any stream ignored')
  }

  async #accept(): Promise<void> {
    try {
      while (this.status === 'open') {
        const native = await this.#native.inboundStream()
        this.onRemoteStream(new QuicStream(native, 'inbound', this.log))
      }
    } catch {
      this.onTransportClosed() // the connection has ended
    }
  }
}

class QuicStream extends AbstractStream {
  readonly #native: NativeStream
  #flowing: PromiseWithResolvers<undefined> | undefined

  constructor(native: NativeStream, direction: MessageStreamDirection, log: Logger) {
    super({
      id: native.id(),
      direction,
      log: log.newScope(`${direction}:${native.id()}`),
      maxMessageSize: WRITE_BYTES_MAX,
      maxReadBufferLength: READ_BUFFER_BYTES_MAX,
      maxWriteBufferLength: WRITE_BUFFER_BYTES_MAX,
    })
    this.#native = native
    this.addEventListener('close', () => this.#flowing?.resolve(undefined))
    void this.#read()
  }

  override sendData(data: Uint8ArrayList): SendResult {
    // One native write at a time: `drain` comes when it has been taken.
    this.#native.write(data.subarray()).then(
      () => this.safeDispatchEvent('drain'),
      () => this.#onNativeEnd(),
    )
    return { sentBytes: data.byteLength, canSendMore: false }
  }

  override sendReset(): void {
    void this.#native.resetWrite().catch(() => undefined) // ended already
    void this.#native.stopRead().catch(() => undefined)
  }

  override sendCloseWrite(): Promise<void> {
    return this.#native.finishWrite()
  }

  override sendCloseRead(): Promise<void> {
    return this.#native.stopRead()
  }

  override sendPause(): void {
    this.#flowing ??= Promise.withResolvers<undefined>()
  }

  override sendResume(): void {
    this.#flowing?.resolve(undefined)
    this.#flowing = undefined
  }

  async #read(): Promise<void> {
    try {
      while (this.#isReading()) {
        // Nothing is read while paused: QUIC's own window then stops the sender.
        await this.#flowing?.promise
        const chunk = await this.#native.read(READ_BYTES)
        if (chunk === null || chunk === undefined) {
          this.onRemoteCloseWrite()
          return
        }
        this.onData(chunk)
      }
    } catch {
      this.#onNativeEnd()
    }
  }

  #isReading(): boolean {
    return this.status === 'open' || this.status === 'closing'
  }

  #onNativeEnd(): void {
    if (this.#isReading()) this.onRemoteReset()
  }
}
