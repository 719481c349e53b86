// A node in the open: garbage, stalls and floods from raw sockets and from a libp2p peer leave it serving, no larger than before.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DIRECT_PROTOCOL, PREKEYS_PROTOCOL } from '../../protocols/direct/types.ts'
import { GROUP_SYNC_PROTOCOL } from '../../protocols/group/types.ts'
import { parsePeerId } from '../../protocols/base/ids.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import type { Host } from '../../src/host/types.ts'
import { Bench } from '../support/cli.ts'
import type { RunningNode } from '../support/cli.ts'
import { startHost } from '../support/hosts.ts'

const test = suite('e2e · hostile')

const GARBAGE_FRAMES = 10_000
const STALLED_SOCKETS = 200
/** What the node may grow by under all of it. */
const GROWTH_BYTES_MAX = 128 * 1024 * 1024
const DISK_BYTES_MAX = 4 * 1024 * 1024
const STREAMS = {
  frameBytesMax: 65_536,
  inboundStreamsMax: 16,
  outboundStreamsMax: 16,
  relayed: false,
}

function residentBytes({ process }: RunningNode): number {
  const status = readFileSync(`/proc/${process.pid ?? 0}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1_024
}

function diskBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

function portOf(node: RunningNode): number {
  const addresses = node.ready['addresses'] as string[]
  const [, port = '0'] = /\/ip4\/127\.0\.0\.1\/tcp\/(\d+)\/p2p/.exec(addresses.join(' ')) ?? []
  return Number(port)
}

/** Sends garbage frames over as many streams as it takes: each ends its stream, or the connection. */
async function flood(mallory: Host, node: RunningNode, protocol: string): Promise<number> {
  const peer = parsePeerId(node.peerId)
  assert.ok(peer)
  let sent = 0
  let refusals = 0
  while (sent < GARBAGE_FRAMES && refusals < 50) {
    try {
      const signal = AbortSignal.timeout(3_000)
      const stream = await mallory.open(peer, protocol, { ...STREAMS, signal })
      void (async () => {
        for await (const _ of stream.frames) continue
      })().catch(() => undefined)
      for (let i = 0; i < 250; i++) {
        await stream.send(randomBytes(1 + (i % 400)))
        sent += 1
      }
      stream.abort()
    } catch {
      refusals += 1 // thrown out: comes again
      sent += 1
    }
  }
  return sent
}

async function serves(bench: Bench, node: RunningNode, name: string): Promise<void> {
  const honest = await bench.start(name, '--bootstrap', String(node.ready['ticket']))
  await node.run('contact', 'add', honest.peerId)
  const [sent] = await honest.run('send', node.peerId, `hello from ${name}`, '--until', 'delivered')
  assert.is(sent?.['state'], 'delivered')
  await honest.end()
}

test('10,000 garbage frames on each protocol leave a node serving, no larger than before', async () => {
  await using bench = new Bench()
  const node = await bench.start('alice')
  await serves(bench, node, 'bob')
  const before = { memory: residentBytes(node), disk: diskBytes(node.home) }
  const mallory = await startHost('mallory', { listen: [] })
  try {
    const peer = parsePeerId(node.peerId)
    assert.ok(peer)
    await mallory.addAddresses(peer, node.ready['addresses'] as string[], { trusted: true })
    for (const protocol of [DIRECT_PROTOCOL, PREKEYS_PROTOCOL, GROUP_SYNC_PROTOCOL]) {
      await flood(mallory, node, protocol)
    }
  } finally {
    await mallory.close()
  }
  await serves(bench, node, 'carol')
  const growth = residentBytes(node) - before.memory
  assert.ok(growth < GROWTH_BYTES_MAX, `grew by ${growth} bytes`)
  const written = diskBytes(node.home) - before.disk
  assert.ok(written < DISK_BYTES_MAX, `${written} bytes more on the disk`)
  const [status] = await node.run('status')
  assert.equal(status?.['inbox'], { unread: 2, requests: 0 })
})

test('sockets that stall, and sockets that shout, keep nobody else out', async () => {
  await using bench = new Bench()
  const node = await bench.start('alice')
  const before = residentBytes(node)
  const port = portOf(node)
  assert.ok(port > 0)
  const sockets = Array.from({ length: STALLED_SOCKETS }, (_, i) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    // A third says nothing, a third begins a handshake and stops, a third sends garbage.
    if (i % 3 === 1) socket.write('\x13/multistream/1.0.0\n')
    if (i % 3 === 2) socket.write(randomBytes(4_096))
    return socket
  })
  try {
    await delay(1_000)
    await serves(bench, node, 'bob')
    const growth = residentBytes(node) - before
    assert.ok(growth < GROWTH_BYTES_MAX, `grew by ${growth} bytes`)
  } finally {
    for (const socket of sockets) socket.destroy()
  }
})

test.run()
