// What a peer or a stranger may throw at a host without stopping it from serving others.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { noise } from '@chainsafe/libp2p-noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Connection } from '@libp2p/interface'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ConclaveHost } from '../../src/host/host.ts'
import { PING_PROTOCOL } from '../../src/host/ping.ts'
import { STREAM, rejection, startHost, until, withHosts } from '../support/hosts.ts'
import { exchange, serveCases } from '../contract/transport.ts'

const test = suite('host · garbage')

/** A server under attack, and a client that must still be served. */
async function underAttack(
  attack: (server: ConclaveHost, client: ConclaveHost) => Promise<void>,
): Promise<void> {
  await withHosts([startHost('bob'), startHost('alice')], async (server, client) => {
    await serveCases(server)
    await client.addAddresses(server.peerId, server.addresses())
    await attack(server, client)
    const frame = Uint8Array.of(1, 2, 3)
    assert.equal(await exchange(client, server.peerId, frame), frame)
  })
}

/** Libp2p without any of our manners. */
async function withRawPeer(
  server: ConclaveHost,
  use: (connection: Connection) => Promise<void>,
): Promise<void> {
  const raw = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  })
  try {
    await use(await raw.dial(multiaddr(server.addresses()[0] ?? '')))
  } finally {
    await raw.stop()
  }
}

test('200 sockets that send random bytes, silence or half a handshake', async () => {
  await underAttack(async (server) => {
    const port = Number(/\/tcp\/(\d+)/.exec(server.addresses()[0] ?? '')?.[1])
    const greeting = Buffer.from('\x13/multistream/1.0.0\n')
    const sockets = Array.from({ length: 200 }, (_, i) => {
      const socket = net.connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      const opening = [randomBytes(1 + (i % 5_000)), Buffer.alloc(0), greeting]
      socket.write(opening[i % 3] ?? greeting)
      if (i % 2 === 0) socket.write(randomBytes(64))
      return socket
    })
    await once(sockets[0] ?? new net.Socket(), 'connect')
    await new Promise((resolve) => setTimeout(resolve, 300))
    sockets.forEach((socket, i) => (i % 2 === 0 ? socket.destroy() : socket.resetAndDestroy()))
  })
})

test('10,000 streams and chunks of random bytes, over every protocol that the host speaks', async () => {
  await underAttack(async (server) => {
    await withRawPeer(server, async (connection) => {
      const protocols = [
        '/test/echo/1.0.0',
        PING_PROTOCOL,
        '/conclave/kad/1.0.0',
        '/meshsub/1.2.0',
        '/ipfs/id/push/1.0.0',
        '/libp2p/circuit/relay/0.2.0/stop',
        '/libp2p/autonat/2/dial-request',
        '/libp2p/dcutr',
      ]
      let chunkCount = 0
      for (let round = 0; chunkCount < 10_000; round++) {
        const protocol = protocols[round % protocols.length] ?? PING_PROTOCOL
        const stream = await connection.newStream(protocol).catch(() => undefined)
        if (stream === undefined) {
          assert.is(connection.status, 'open', 'one bad stream ended the connection')
          continue
        }
        for (let i = 0; i < 50; i++) {
          chunkCount += 1
          try {
            stream.send(randomBytes(1 + ((i * 37) % 700)))
          } catch {
            break // reset already: that is what should happen
          }
        }
        stream.abort(new Error('done'))
      }
    })
  })
})

test('10,000 frames of random bytes to a handler that looks at each', async () => {
  await underAttack(async (server, client) => {
    const stream = await client.open(server.peerId, '/test/watch/1.0.0', STREAM)
    for (let i = 0; i < 10_000; i++) await stream.send(new Uint8Array(randomBytes(i % 300)))
    stream.abort()
  })
})

test('streams beyond the limit of a protocol are reset, those within it live', async () => {
  await underAttack(async (server, client) => {
    const limits = { ...STREAM, inboundStreamsMax: 8 }
    await server.handle('/test/few/1.0.0', limits, async (stream) => {
      for await (const frame of stream.frames) await stream.send(frame)
    })
    const streams = await Promise.all(
      Array.from({ length: 12 }, () => client.open(server.peerId, '/test/few/1.0.0', STREAM)),
    )
    const answers = await Promise.allSettled(
      streams.map(async (stream) => {
        await stream.send(Uint8Array.of(1))
        for await (const frame of stream.frames) return frame
        throw new Error('ended')
      }),
    )
    const alive = answers.filter(({ status }) => status === 'fulfilled').length
    assert.ok(alive >= 1 && alive <= 8, `${alive} of 12 alive`)
    for (const stream of streams) stream.abort()
  })
})

test('a peer that opens streams without end keeps nobody else out', async () => {
  await underAttack(async (server, client) => {
    await withRawPeer(server, async (connection) => {
      const opening = Array.from({ length: 1_000 }, () =>
        connection.newStream('/test/stuck/1.0.0').catch(() => undefined),
      )
      assert.ok(await exchange(client, server.peerId, Uint8Array.of(1)))
      await Promise.all(opening)
      assert.ok(connection.streams.length <= 600)
    })
  })
})

test('a peer that floods a handler that never reads is held or reset, its memory bounded', async () => {
  await underAttack(async (server) => {
    await withRawPeer(server, async (connection) => {
      globalThis.gc?.()
      const before = process.memoryUsage().arrayBuffers
      const stream = await connection.newStream('/test/stuck/1.0.0')
      const chunk = new Uint8Array(256 * 1024)
      let sentBytes = 0
      // Our own side queues without end, so only a little more than one window is offered.
      for (let i = 0; i < 32; i++) {
        try {
          stream.send(chunk)
          sentBytes += chunk.length
        } catch {
          break
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 300))
      const grown = process.memoryUsage().arrayBuffers - before
      assert.ok(grown < sentBytes + 16 * 1024 * 1024, `${grown} bytes`)
      stream.abort(new Error('done'))
    })
  })
})

test('addresses that are malformed, foreign or too long are ignored', async () => {
  await withHosts([startHost('alice'), startHost('bob')], async (alice, bob) => {
    await alice.addAddresses(bob.peerId, [
      '',
      'nonsense',
      '/ip4/999.1.1.1/tcp/1',
      `/ip4/127.0.0.1/tcp/1/p2p/${alice.peerId}`,
      `/unix/${'a'.repeat(5_000)}`,
      String.fromCharCode(0, 255, 65_535),
    ])
    assert.equal(await alice.knownAddresses(bob.peerId), [])
    await alice.addAddresses(bob.peerId, bob.addresses())
    assert.equal(await alice.knownAddresses(bob.peerId), bob.addresses())
    const many = Array.from({ length: 500 }, (_, i) => `/ip4/10.0.0.1/tcp/${i + 1}`)
    await alice.addAddresses(bob.peerId, many)
    assert.ok((await alice.knownAddresses(bob.peerId)).length <= 32)
  })
})

test('a ping of another size, or an answer that is none, ends only that stream', async () => {
  await withHosts([startHost('alice'), startHost('bob')], async (alice, bob) => {
    await alice.addAddresses(bob.peerId, bob.addresses())
    const odd = await alice.open(bob.peerId, PING_PROTOCOL, STREAM)
    await odd.send(new Uint8Array(31))
    await odd.closed
    const { rttMs, transport, relayed } = await alice.ping(bob.peerId, { count: 200 })
    assert.is(rttMs.length, 200)
    assert.is(transport, 'tcp')
    assert.is(relayed, false)
    rttMs.sort((a, b) => a - b)
    console.log(`  round trip ${((rttMs[100] ?? 0) * 1000).toFixed(0)} µs`)
    await bob.handle(PING_PROTOCOL, STREAM, async (stream) => {
      for await (const frame of stream.frames) await stream.send(frame.map((octet) => octet ^ 1))
    })
    assert.is((await rejection(alice.ping(bob.peerId, { count: 1 }))).code, 'NETWORK_RESET')
    assert.is((await rejection(alice.ping(bob.peerId, { count: 0 }))).code, 'USAGE_ARGUMENT')
  })
})

test('a handler that fails resets its stream and nothing else', async () => {
  await withHosts([startHost('alice'), startHost('bob')], async (alice, bob) => {
    await serveCases(bob)
    await bob.handle('/test/fails/1.0.0', STREAM, () => Promise.reject(new Error('bad day')))
    await alice.addAddresses(bob.peerId, bob.addresses())
    const stream = await alice.open(bob.peerId, '/test/fails/1.0.0', STREAM)
    const reading = async (): Promise<void> => {
      for await (const frame of stream.frames) assert.unreachable(String(frame.length))
    }
    assert.is((await rejection(reading())).code, 'NETWORK_RESET')
    assert.ok(await exchange(alice, bob.peerId, Uint8Array.of(1)))
    const error = await rejection(alice.open(bob.peerId, '/test/none/1.0.0', STREAM))
    assert.is(error.code, 'NETWORK_UNREACHABLE')
    await until('the connection lives', () => alice.isConnected(bob.peerId))
  })
})

test.run()
