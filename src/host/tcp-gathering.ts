// TCP whose writes of one turn of the event loop leave together. Floor 1.
//
// Every frame of every stream is a write of two parts, its length and its ciphertext, and each part was a system
// call and a packet of its own. A turn's frames are one system call, later by no more than the rest of the turn.
import type { Socket } from 'node:net'
import type { MultiaddrConnection, Transport, Upgrader } from '@libp2p/interface'

/** Makes a TCP transport gather what its sockets write. */
export function gatheringWrites(transport: Transport): Transport {
  const dial = transport.dial.bind(transport)
  const createListener = transport.createListener.bind(transport)
  transport.dial = (address, options) =>
    dial(address, { ...options, upgrader: gathering(options.upgrader) })
  transport.createListener = (options) =>
    createListener({ ...options, upgrader: gathering(options.upgrader) })
  return transport
}

function gathering(upgrader: Upgrader): Upgrader {
  return {
    upgradeInbound: (connection, options) => upgrader.upgradeInbound(gather(connection), options),
    upgradeOutbound: (connection, options) => upgrader.upgradeOutbound(gather(connection), options),
    createInboundAbortSignal: (signal) => upgrader.createInboundAbortSignal(signal),
    getConnectionEncrypters: () => upgrader.getConnectionEncrypters(),
    getStreamMuxers: () => upgrader.getStreamMuxers(),
  }
}

function gather(connection: MultiaddrConnection): MultiaddrConnection {
  const { socket } = connection as MultiaddrConnection & { readonly socket: Socket }
  const send = connection.send.bind(connection)
  let isCorked = false
  connection.send = (data) => {
    if (!isCorked) {
      isCorked = true
      socket.cork()
      process.nextTick(() => {
        isCorked = false
        socket.uncork()
      })
    }
    return send(data)
  }
  return connection
}
