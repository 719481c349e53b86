// Yamux whose window updates wait until half a window was read. Floor 1.
//
// The library answers every data frame with an update of the sender's window. Most of our messages are small: the
// answers were half of all that travelled. Half a window is what other implementations wait for.
import type { StreamMuxerFactory } from '@libp2p/interface'
import { yamux } from '@libp2p/yamux'
import type { YamuxMuxerInit } from '@libp2p/yamux'

/** The part of a stream that is used; the library's types keep most of it back. */
interface WindowedStream {
  readonly state: number
  readonly recvWindow: number
  readonly recvWindowCapacity: number
  sendWindowUpdate: () => void
}

interface WindowedMuxer {
  _newStream: (...args: readonly unknown[]) => WindowedStream
}

/** The library's states in which an update does no more than to give room. */
const SYN_SENT = 1
const ESTABLISHED = 3

/** Makes yamux with sparing window updates. */
export function sparingYamux(init: YamuxMuxerInit): () => StreamMuxerFactory {
  return () => {
    const factory = yamux(init)()
    const create = factory.createStreamMuxer.bind(factory)
    factory.createStreamMuxer = (connection) => {
      const muxer = create(connection)
      const windowed = muxer as unknown as WindowedMuxer
      const newStream = windowed._newStream.bind(muxer)
      windowed._newStream = (...args) => spare(newStream(...args))
      return muxer
    }
    return factory
  }
}

function spare(stream: WindowedStream): WindowedStream {
  const send = stream.sendWindowUpdate.bind(stream)
  stream.sendWindowUpdate = () => {
    const isOpen = stream.state === SYN_SENT || stream.state === ESTABLISHED
    if (!isOpen || stream.recvWindowCapacity * 2 <= stream.recvWindow) send()
  }
  return stream
}
