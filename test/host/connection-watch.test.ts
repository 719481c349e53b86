import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Libp2p } from '@libp2p/interface'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ConnectionWatch, hearingMuxers } from '../../src/host/connection-watch.ts'
import { sparingYamux } from '../../src/host/yamux-windows.ts'

const test = suite('host · connection watch')
const LIMITS = { intervalMs: 50, timeoutMs: 200 }

function node(isHearing: boolean): Promise<Libp2p> {
  const muxers = sparingYamux({ keepAliveInterval: 1e8 })
  return createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [isHearing ? hearingMuxers(muxers) : muxers],
    connectionMonitor: { enabled: false },
    connectionGater: { denyDialMultiaddr: () => false },
    services: { ping: ping() },
  })
}

/** Two nodes with a wire between them that can go dead without a word. */
async function pair(isHearing: boolean): Promise<{
  readonly near: Libp2p
  readonly cut: () => void
  readonly written: () => number
  readonly close: () => Promise<void>
}> {
  const [near, far] = await Promise.all([node(isHearing), node(isHearing)])
  const port = Number(
    far
      .getMultiaddrs()[0]
      ?.toString()
      .match(/tcp\/(\d+)/)?.[1],
  )
  const sockets: Socket[] = []
  const wire = createServer((socket) => {
    const other = connect(port, '127.0.0.1')
    sockets.push(socket, other)
    socket.pipe(other).pipe(socket)
    for (const one of [socket, other]) one.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => wire.listen(0, '127.0.0.1', resolve))
  const { port: wirePort } = wire.address() as AddressInfo
  await near.dial(multiaddr(`/ip4/127.0.0.1/tcp/${wirePort}/p2p/${far.peerId.toString()}`))
  return {
    near,
    cut: () => sockets.forEach((socket) => socket.unpipe()),
    written: () => sockets[0]?.bytesRead ?? 0,
    async close() {
      await Promise.all([near.stop(), far.stop()])
      for (const socket of sockets) socket.destroy()
      wire.close()
    },
  }
}

for (const isHearing of [true, false]) {
  const by = isHearing ? 'by its muxer' : 'by a stream'
  test(`a connection that answers stays, one that does not goes (asked ${by})`, async () => {
    const { near, cut, close } = await pair(isHearing)
    const watch = new ConnectionWatch(() => near.getConnections(), LIMITS)
    await sleep(600)
    const [connection] = near.getConnections()
    assert.is(connection?.status, 'open')
    assert.type(connection?.rtt, 'number')
    cut()
    await sleep(600)
    assert.is(near.getConnections().length, 0)
    watch.close()
    await close()
  })
}

test('nobody is asked while something comes', async () => {
  const { near, written, close } = await pair(true)
  await sleep(300) // identify and the like
  const before = written()
  const watch = new ConnectionWatch(() => near.getConnections(), {
    intervalMs: 100,
    timeoutMs: 200,
  })
  const [connection] = near.getConnections()
  const muxer = (connection as { muxer?: { onData: (data: Uint8Array) => void } } | undefined)
    ?.muxer
  const talk = setInterval(() => muxer?.onData(new Uint8Array(0)), 20)
  await sleep(500)
  assert.is(written(), before)
  clearInterval(talk)
  await sleep(500)
  assert.ok(written() > before)
  watch.close()
  await close()
})

test.run()
