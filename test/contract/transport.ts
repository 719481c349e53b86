// What every transport must do, built in or not: run over real hosts by `transport.<name>.test.ts`.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { ConclaveHost } from '../../src/host/host.ts'
import type { HostOptions } from '../../src/host/options.ts'
import type { FrameStream } from '../../src/host/types.ts'
import { STREAM, echo, rejection, startHost, until } from '../support/hosts.ts'
import type { Name } from '../support/hosts.ts'

/** One transport to examine. */
export interface TransportCase {
  /** As in `ConnectionFact.transport`. */
  readonly name: string
  readonly transports: HostOptions['transports']
  /** Address to listen on, such as `/ip4/127.0.0.1/tcp/0`. */
  readonly listen: string
  /** Bytes sent past a slow reader: 64 MiB unless the transport is slow. */
  readonly bulkBytes?: number
  /** Bytes that may be on the way while the reader is slow: windows and socket buffers. */
  readonly onTheWayBytesMax?: number
  /**
   * False for a transport that cannot tell the other side to wait: there, bytes that nobody reads end in a reset of
   * their stream, and an abort may look like an end.
   */
  readonly pauses?: boolean
  /** How long the transport may take to notice that the other side's process was killed; 30 s. */
  readonly deathMs?: number
  /** False for a transport that does not leave its process. */
  readonly betweenProcesses?: boolean
  /** False for a transport whose binary holds on to an address until the process ends. */
  readonly releases?: boolean
}

type Test = ReturnType<typeof suite>

const MIB: number = 1024 * 1024
const ECHO = '/test/echo/1.0.0'
const COUNT = '/test/count/1.0.0'
const SLOW = '/test/slow/1.0.0'
const WATCH = '/test/watch/1.0.0'
const STUCK = '/test/stuck/1.0.0'

/** What the listening side has seen. */
export interface Seen {
  receivedBytes: number
  outcome: string | undefined
}

/** Serves the protocols that the cases use. */
export async function serveCases(host: ConclaveHost): Promise<Seen> {
  const seen: Seen = { receivedBytes: 0, outcome: undefined }
  await host.handle(ECHO, STREAM, echo)
  await host.handle(COUNT, STREAM, async (stream) => {
    let count = 0
    for await (const frame of stream.frames) count += frame.length
    await stream.send(Uint8Array.of(count))
    await stream.close()
  })
  await host.handle(SLOW, STREAM, async (stream) => {
    let unrested = 0
    for await (const frame of stream.frames) {
      seen.receivedBytes += frame.length
      unrested += frame.length
      if (unrested < MIB) continue
      unrested = 0
      await sleep(10)
    }
    await stream.send(Uint8Array.of(1))
    await stream.close()
  })
  await host.handle(STUCK, STREAM, (stream) => stream.closed)
  await host.handle(WATCH, STREAM, async (stream) => {
    try {
      for await (const frame of stream.frames) seen.receivedBytes += frame.length
      seen.outcome = 'ended'
    } catch (error) {
      seen.outcome = (error as { code?: string }).code ?? String(error)
    }
  })
  return seen
}

/** A dialler and a listener that are not connected yet. */
export interface Pair {
  readonly dialler: ConclaveHost
  readonly listener: ConclaveHost
  readonly seen: Seen
}

/** Runs `use` over a fresh pair. */
export async function withPair(
  of: TransportCase,
  use: (pair: Pair) => Promise<void>,
): Promise<void> {
  const listener = await startCase(of, 'bob')
  const dialler = await startCase(of, 'alice', [])
  try {
    const seen = await serveCases(listener)
    await dialler.addAddresses(listener.peerId, listener.addresses(), { trusted: true })
    await use({ dialler, listener, seen })
  } finally {
    await Promise.all([dialler.close(), listener.close()])
  }
}

function startCase(of: TransportCase, name: Name, listen = [of.listen]): Promise<ConclaveHost> {
  return startHost(name, { transports: of.transports, listen })
}

async function nextFrame(stream: FrameStream): Promise<Uint8Array | undefined> {
  for await (const frame of stream.frames) return frame
  return undefined
}

/** The suite of one transport; the caller adds what is its own and runs it. */
export function transportContract(of: TransportCase): Test {
  const test = suite(`transport · ${of.name}`)
  addDialling(test, of)
  addPairCases(test, (use) => withPair(of, use), of)
  addRestarts(test, of)
  return test
}

/** Stands for a transport whose binary is absent; says so. */
export function skippedContract(name: string): Test {
  console.log(`skipped: transport · ${name}: no binary here`)
  return suite(`transport · ${name}`)
}

function addDialling(test: Test, of: TransportCase): void {
  test('a dial reaches the peer, over this transport and no relay', async () => {
    await withPair(of, async ({ dialler, listener }) => {
      await dialler.connect(listener.peerId)
      const [connection] = dialler.connections()
      assert.is(connection?.peer, listener.peerId)
      assert.is(connection?.transport, of.name)
      assert.is(connection?.relayed, false)
      assert.is(connection?.direction, 'outbound')
      await until('the listener sees it', () => listener.isConnected(dialler.peerId))
    })
  })

  test('an address that another peer answers is refused', async () => {
    await withPair(of, async ({ dialler, listener }) => {
      const mallory = await startCase(of, 'mallory', [])
      const wrong = listener
        .addresses()
        .map((address) => address.replace(listener.peerId, mallory.peerId))
      await mallory.close()
      await dialler.addAddresses(mallory.peerId, wrong, { trusted: true })
      const error = await rejection(dialler.connect(mallory.peerId))
      assert.is(error.code, 'NETWORK_UNREACHABLE')
      assert.not(dialler.isConnected(mallory.peerId))
    })
  })

  test('a dial that is cancelled midway leaves nothing behind', async () => {
    await withPair(of, async ({ dialler, listener }) => {
      const cancel = new AbortController()
      const dialling = rejection(dialler.connect(listener.peerId, { signal: cancel.signal }))
      setImmediate(() => cancel.abort())
      assert.is((await dialling).name, 'AbortError')
      await sleep(100)
      assert.not(dialler.isConnected(listener.peerId))
      await dialler.connect(listener.peerId)
    })
  })
}

/** Cases that only need two hosts that can reach each other; also run over a relay. */
export function addPairCases(
  test: Test,
  pairing: (use: (pair: Pair) => Promise<void>) => Promise<void>,
  of: Pick<TransportCase, 'bulkBytes' | 'onTheWayBytesMax' | 'pauses'>,
): void {
  const pauses = of.pauses !== false
  addStreamCases(test, pairing, pauses ? ['NETWORK_RESET'] : ['NETWORK_RESET', 'ended'])
  addFrameCases(test, pairing)
  if (pauses) addSlowReader(test, pairing, of)
  else addUnpausedReader(test, pairing)
}

function addSlowReader(
  test: Test,
  pairing: (use: (pair: Pair) => Promise<void>) => Promise<void>,
  of: Pick<TransportCase, 'bulkBytes' | 'onTheWayBytesMax'>,
): void {
  const bulkBytes = of.bulkBytes ?? 64 * MIB
  const onTheWayMax = of.onTheWayBytesMax ?? 8 * MIB

  test(`${bulkBytes / MIB} MiB past a slow reader arrive whole, never more than ${onTheWayMax / MIB} MiB on the way`, async () => {
    await pairing(async ({ dialler, listener, seen }) => {
      const stream = await dialler.open(listener.peerId, SLOW, STREAM)
      const frame = new Uint8Array(64 * 1024).fill(7)
      let sentBytes = 0
      let onTheWay = 0
      const startedAt = performance.now()
      while (sentBytes < bulkBytes) {
        await stream.send(frame)
        sentBytes += frame.length
        onTheWay = Math.max(onTheWay, sentBytes - seen.receivedBytes)
      }
      await stream.close()
      assert.equal(await nextFrame(stream), Uint8Array.of(1))
      assert.is(seen.receivedBytes, bulkBytes)
      const seconds = (performance.now() - startedAt) / 1000
      console.log(
        `  ${(bulkBytes / 1e6 / seconds).toFixed(0)} MB/s past a slow reader, at most ` +
          `${(onTheWay / MIB).toFixed(1)} MiB on the way`,
      )
      assert.ok(onTheWay <= onTheWayMax, `${onTheWay} bytes on the way`)
    })
  })
}

function addUnpausedReader(
  test: Test,
  pairing: (use: (pair: Pair) => Promise<void>) => Promise<void>,
): void {
  test('16 MiB past a reader that keeps up arrive whole', async () => {
    await pairing(async ({ dialler, listener, seen }) => {
      const stream = await dialler.open(listener.peerId, WATCH, STREAM)
      const frame = new Uint8Array(64 * 1024).fill(7)
      const startedAt = performance.now()
      for (let sentBytes = 0; sentBytes < 16 * MIB; sentBytes += frame.length) {
        await stream.send(frame)
      }
      await stream.close()
      await until('all is there', () => seen.receivedBytes === 16 * MIB)
      const seconds = (performance.now() - startedAt) / 1000
      console.log(`  ${((16 * MIB) / 1e6 / seconds).toFixed(0)} MB/s`)
    })
  })

  test('a reader that does not read has its stream reset, and only that', async () => {
    await pairing(async ({ dialler, listener }) => {
      const stream = await dialler.open(listener.peerId, STUCK, STREAM)
      const frame = new Uint8Array(64 * 1024)
      const sending = async (): Promise<void> => {
        for (let sentBytes = 0; sentBytes < 64 * MIB; sentBytes += frame.length) {
          await stream.send(frame)
        }
      }
      assert.is((await rejection(sending())).code, 'NETWORK_RESET')
      assert.ok(await exchange(dialler, listener.peerId, Uint8Array.of(1)))
    })
  })
}

function addStreamCases(
  test: Test,
  pairing: (use: (pair: Pair) => Promise<void>) => Promise<void>,
  abortOutcomes: readonly string[],
): void {
  test('100 streams one after the other, then 64 at once, each answer', async () => {
    await pairing(async ({ dialler, listener }) => {
      for (let i = 0; i < 100; i++) {
        assert.equal(await exchange(dialler, listener.peerId, Uint8Array.of(i)), Uint8Array.of(i))
      }
      const parallel = Array.from({ length: 64 }, (_, i) =>
        exchange(dialler, listener.peerId, Uint8Array.of(i, i)),
      )
      const answers = await Promise.all(parallel)
      answers.forEach((answer, i) => assert.equal(answer, Uint8Array.of(i, i)))
    })
  })

  test('a half-closed stream still receives the answer', async () => {
    await pairing(async ({ dialler, listener }) => {
      const stream = await dialler.open(listener.peerId, COUNT, STREAM)
      for (let i = 0; i < 3; i++) await stream.send(Uint8Array.of(i))
      await stream.close()
      assert.equal(await nextFrame(stream), Uint8Array.of(3))
    })
  })

  test('an aborted stream is a reset at the other side, and the next one works', async () => {
    await pairing(async ({ dialler, listener, seen }) => {
      const stream = await dialler.open(listener.peerId, WATCH, STREAM)
      await stream.send(Uint8Array.of(1))
      await until('the first frame is there', () => seen.receivedBytes === 1)
      stream.abort()
      await until('the other side knows', () => seen.outcome !== undefined)
      assert.ok(abortOutcomes.includes(seen.outcome ?? ''), seen.outcome)
      assert.is((await rejection(stream.send(Uint8Array.of(2)))).code, 'NETWORK_RESET')
      await stream.closed
      assert.ok(await exchange(dialler, listener.peerId, Uint8Array.of(1)))
    })
  })
}

function addFrameCases(
  test: Test,
  pairing: (use: (pair: Pair) => Promise<void>) => Promise<void>,
): void {
  test('frames of 0 bytes, 1 byte and 1 MiB arrive unchanged and in order', async () => {
    await pairing(async ({ dialler, listener }) => {
      const large = new Uint8Array(randomBytes(MIB))
      const sent = [new Uint8Array(0), Uint8Array.of(1), large, Uint8Array.of(2)]
      const stream = await dialler.open(listener.peerId, ECHO, STREAM)
      // Not awaited: frames keep their order all the same.
      const sending = Promise.all(sent.map((frame) => stream.send(frame)))
      const received: Uint8Array[] = []
      for await (const frame of stream.frames) {
        assert.is(frame.constructor, Uint8Array)
        received.push(frame)
        if (received.length === sent.length) await stream.close()
      }
      await sending
      assert.equal(received, sent)
    })
  })

  test('a frame beyond the limit is refused before it is read, and only its stream ends', async () => {
    await pairing(async ({ dialler, listener, seen }) => {
      const stream = await dialler.open(listener.peerId, WATCH, STREAM)
      const sending = stream.send(new Uint8Array(MIB + 1)).catch((error: unknown) => error)
      await until('it is refused', () => seen.outcome !== undefined)
      assert.is(seen.outcome, 'CODEC_LENGTH')
      assert.is(seen.receivedBytes, 0)
      await sending
      await stream.closed
      assert.ok(await exchange(dialler, listener.peerId, Uint8Array.of(1)))
    })
  })
}

function addRestarts(test: Test, of: TransportCase): void {
  if (of.releases !== false) addReleasedAddress(test, of)
  if (of.betweenProcesses !== false) addKilledRemote(test, of)

  test('an address that is in use says so', async () => {
    await withPair(of, async ({ listener }) => {
      const [bound = ''] = listener.addresses()
      const listen = [bound.replace(/\/(certhash|p2p)\/.*$/, '')]
      assert.is((await rejection(startCase(of, 'carol', listen))).code, 'NETWORK_LISTEN')
    })
  })
}

function addReleasedAddress(test: Test, of: TransportCase): void {
  test('a listener comes back on the same address', async () => {
    const first = await startCase(of, 'bob')
    const [bound = ''] = first.addresses()
    const listen = [bound.replace(/\/(certhash|p2p)\/.*$/, '')]
    await first.close()
    const second = await startCase(of, 'bob', listen)
    const dialler = await startCase(of, 'alice', [])
    try {
      await serveCases(second)
      await dialler.addAddresses(second.peerId, second.addresses(), { trusted: true })
      assert.ok(await exchange(dialler, second.peerId, Uint8Array.of(1)))
    } finally {
      await Promise.all([second.close(), dialler.close()])
    }
  })
}

function addKilledRemote(test: Test, of: TransportCase): void {
  test('a peer whose process is killed is noticed, and found again after its restart', async () => {
    const child = await startChild(of)
    const dialler = await startCase(of, 'alice', [])
    let restarted: ConclaveHost | undefined
    try {
      await dialler.addAddresses(child.peerId, child.addresses, { trusted: true })
      const stream = await dialler.open(child.peerId, ECHO, STREAM)
      await stream.send(Uint8Array.of(1))
      assert.equal(await nextFrame(stream), Uint8Array.of(1))
      await child.kill()
      const killedAt = performance.now()
      await until(
        'the peer is gone',
        () => !dialler.isConnected(child.peerId),
        of.deathMs ?? 30_000,
      )
      await stream.closed
      console.log(`  noticed after ${(performance.now() - killedAt).toFixed(0)} ms`)
      const [bound = ''] = child.addresses
      restarted = await startCase(of, 'bob', [bound.replace(/\/(certhash|p2p)\/.*$/, '')])
      await serveCases(restarted)
      // A certificate hash may have changed with the restart.
      await dialler.addAddresses(restarted.peerId, restarted.addresses(), { trusted: true })
      assert.ok(await exchange(dialler, restarted.peerId, Uint8Array.of(1)))
    } finally {
      await Promise.all([child.kill(), dialler.close(), restarted?.close()])
    }
  })
}

interface Child {
  readonly peerId: PeerId
  readonly addresses: string[]
  kill(): Promise<void>
}

async function startChild(of: TransportCase): Promise<Child> {
  const names = of.transports.map((one) => (typeof one === 'string' ? one : 'unix'))
  const file = new URL('../support/transport-child.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [file, of.listen, ...names], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const gone = once(child, 'exit')
  const [line] = (await Promise.race([once(child.stdout, 'data'), gone])) as [unknown]
  const facts = JSON.parse(String(line)) as {
    readonly peerId: PeerId
    readonly addresses: string[]
  }
  return {
    ...facts,
    async kill() {
      child.kill('SIGKILL')
      await gone
    },
  }
}

/** One frame there and back on a stream of its own. */
export async function exchange(
  from: ConclaveHost,
  to: PeerId,
  frame: Uint8Array,
): Promise<Uint8Array | undefined> {
  const stream = await from.open(to, ECHO, STREAM)
  await stream.send(frame)
  await stream.close()
  return nextFrame(stream)
}
