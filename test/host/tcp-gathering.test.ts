import type { Connection, MultiaddrConnection, Upgrader } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { multiaddr } from '@multiformats/multiaddr'
import { gatheringWrites } from '../../src/host/tcp-gathering.ts'
import { until } from '../support/hosts.ts'
import { SILENT } from '../support/peer-store.ts'

const test = suite('host · gathered TCP writes')

/** One end of a connection as the upgrader is given it. */
interface End {
  readonly connection: MultiaddrConnection
  readonly socket: Socket
  /** Octets that arrived. */
  readonly heard: number[]
  /** Sizes of what was handed to the system, call by call. */
  readonly calls: number[][]
}

/** What a socket hands to the system: one piece, or some at once. */
interface Writes {
  _write: (chunk: Uint8Array, ...rest: unknown[]) => void
  _writev: (chunks: readonly { readonly chunk: Uint8Array }[], ...rest: unknown[]) => void
}

function watch(connection: MultiaddrConnection): End {
  const { socket } = connection as MultiaddrConnection & { readonly socket: Socket }
  const writes = socket as unknown as Writes
  const [heard, calls]: [number[], number[][]] = [[], []]
  connection.addEventListener('message', ({ data }) => heard.push(...data.subarray()))
  const write = writes._write.bind(socket)
  const writev = writes._writev.bind(socket)
  writes._write = (chunk, ...rest) => {
    calls.push([chunk.length])
    write(chunk, ...rest)
  }
  writes._writev = (chunks, ...rest) => {
    calls.push(chunks.map(({ chunk }) => chunk.length))
    writev(chunks, ...rest)
  }
  return { connection, socket, heard, calls }
}

/** The two ends of a TCP connection, dialling end first; nothing above them. */
async function withEnds(use: (dialling: End, listening: End) => Promise<void>): Promise<void> {
  const inbound = Promise.withResolvers<End>()
  const outbound = Promise.withResolvers<End>()
  const upgrader: Upgrader = {
    upgradeInbound: (connection) => {
      inbound.resolve(watch(connection))
      return Promise.resolve()
    },
    upgradeOutbound: (connection) => {
      outbound.resolve(watch(connection))
      return Promise.resolve({} as Connection)
    },
    createInboundAbortSignal: (signal) => Object.assign(signal, { clear: () => undefined }),
    getConnectionEncrypters: () => new Map(),
    getStreamMuxers: () => new Map(),
  }
  const transport = gatheringWrites(tcp()({ logger: { forComponent: () => SILENT } }))
  const listener = transport.createListener({ upgrader })
  await listener.listen(multiaddr('/ip4/127.0.0.1/tcp/0'))
  try {
    const [address] = listener.getAddrs()
    assert.ok(address)
    await transport.dial(address, { upgrader, signal: new AbortController().signal })
    const ends = await Promise.all([outbound.promise, inbound.promise])
    await use(...ends)
    for (const { connection } of ends) connection.abort(new Error('the test is over'))
  } finally {
    await listener.close()
  }
}

const bytes = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => (from + i) & 255)

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('what is sent in one turn is one call of the system, in either direction; the next turn is another', async () => {
  await withEnds(async (dialling, listening) => {
    for (const [from, to] of [
      [dialling, listening],
      [listening, dialling],
    ] as const) {
      for (const octet of [1, 2, 3]) from.connection.send(Uint8Array.of(octet, octet))
      assert.is(from.calls.length, 0)
      await turn()
      from.connection.send(Uint8Array.of(4))
      from.connection.send(Uint8Array.of(5))
      await turn()
      assert.equal(from.calls, [
        [2, 2, 2],
        [1, 1],
      ])
      await until('heard', () => to.heard.length === 8)
      assert.equal(to.heard, [1, 1, 2, 2, 3, 3, 4, 5])
    }
  })
})

test('more than a socket takes at once arrives whole and in order', async () => {
  await withEnds(async ({ connection, socket }, { heard }) => {
    const [size, part] = [4 * 1024 * 1024, 64 * 1024]
    let arrived = 0
    let isInOrder = true
    // Turns of one part each, as a muxer sends, without waiting for the socket.
    for (let at = 0; at < size; at += part) {
      connection.send(Uint8Array.from(bytes(at, at + part)))
      if (at % (part * 8) === 0) await turn()
    }
    await until('all arrived', () => {
      isInOrder &&= heard.every((octet, i) => octet === ((arrived + i) & 255))
      arrived += heard.splice(0).length
      return arrived === size
    })
    assert.ok(isInOrder)
    assert.is(socket.writableCorked, 0)
  })
})

test('a connection that closes in the turn in which it sent has sent everything', async () => {
  await withEnds(async ({ connection }, { heard, socket }) => {
    const ended = once(socket, 'close')
    for (const octet of [1, 2, 3]) connection.send(Uint8Array.of(octet))
    await connection.close()
    await ended
    assert.equal(heard, [1, 2, 3])
  })
})

test('a connection that is cut in the turn in which it sent is just gone', async () => {
  await withEnds(async ({ connection, calls }, { socket }) => {
    const ended = once(socket, 'close')
    connection.send(Uint8Array.of(1))
    connection.abort(new Error('cut'))
    await Promise.allSettled([ended])
    assert.is(calls.length, 0)
  })
})

test.run()
