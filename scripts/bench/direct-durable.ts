// Direct messages between two processes over TCP on loopback: every message is on the sender's disk before it leaves and
// on the recipient's before it is acknowledged. Part of the direct bench; alone: `node scripts/bench/direct-durable.ts`.
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { decodeDirectFrame } from '../../protocols/direct/frames.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { createHost } from '../../src/host/host.ts'
import type { FrameStream, Host } from '../../src/host/types.ts'
import { openDirect } from '../../src/node/direct.ts'
import { QUIET_LOG } from '../../src/node/log.ts'
import type { DirectMessages } from '../../src/node/direct-messages.ts'
import { openEventLog } from '../../src/node/events.ts'
import { hostStorage } from '../../src/node/host-storage.ts'
import { loadIdentity } from '../../src/node/identity-key.ts'
import { openNodeStore } from '../../src/node/node-store.ts'
import { locateHome } from '../../src/store/home.ts'
import { format, printTable, quantile, spread } from './result.ts'

const LONE_MESSAGES = 300
const LONE_WARMUP = 100
const ROUNDS = 5
const WARMUP_ROUNDS = 2
const ROUND_MESSAGES = 3_000
const IN_FLIGHT = 512
const BODY = new Uint8Array(256).fill(97)
const DEADLINE_MS = 120_000
const SYNCS = 200
const SYNC_BYTES = 4_096

interface Peer {
  readonly peerId: PeerId
  readonly addresses: readonly string[]
}

async function startPeer(home: string): Promise<{ child: ChildProcess; peer: Peer }> {
  const child = fork(new URL('direct-peer.ts', import.meta.url), [home], { stdio: 'inherit' })
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the peer has ended')))
  const [peer] = (await Promise.race([once(child, 'message'), ended])) as [Peer]
  ended.catch(() => undefined)
  return { child, peer }
}

async function stopPeer(child: ChildProcess): Promise<void> {
  child.disconnect()
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  if (child.exitCode === null) await once(child, 'exit')
  clearTimeout(timer)
}

/** Notes when an answer to an envelope came, which the API of a node does not say. */
class Tap {
  answeredAt = 0
  isOn = false

  /** The host, with the streams it opens watched. */
  over(host: Host): Host {
    const open: Host['open'] = async (...args) => this.#watch(await host.open(...args))
    return new Proxy(host, {
      get(target, name) {
        if (name === 'open') return open
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
  }

  #watch(stream: FrameStream): FrameStream {
    const { frames } = stream
    const note = (frame: Bytes): void => {
      const read = decodeDirectFrame(frame)
      if (read.ok && read.value.kind === 'result') this.answeredAt = performance.now()
    }
    const isOn = (): boolean => this.isOn
    async function* watched(): AsyncGenerator<Bytes> {
      for await (const frame of frames) {
        if (isOn()) note(frame)
        yield frame
      }
    }
    return { ...stream, frames: { [Symbol.asyncIterator]: watched } }
  }
}

interface Sender extends AsyncDisposable {
  readonly messages: DirectMessages
  readonly tap: Tap
}

/** A node with direct messages alone, and a tap on its streams. */
async function startSender(folder: string, peer: Peer): Promise<Sender> {
  await using stack = new AsyncDisposableStack()
  const home = locateHome(folder, undefined)
  const { store } = await openNodeStore({ home, key: { kind: 'file' }, create: true })
  stack.defer(() => store.close())
  const identity = await loadIdentity(store, native, randomBytes)
  const host = await createHost({
    privateKey: identity.secret.reveal(),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    bootstrap: [],
    transports: ['tcp'],
    relay: false,
    mdns: false,
    storage: hostStorage(store),
    log: { debug: () => undefined, warn: () => undefined },
    agentVersion: 'conclave/bench',
  })
  stack.defer(() => host.close())
  await host.addAddresses(peer.peerId, peer.addresses, { trusted: true })
  const tap = new Tap()
  const direct = await openDirect({
    host: tap.over(host),
    store,
    primitives: native,
    random: randomBytes,
    now: () => toTimeMs(Date.now()),
    events: await openEventLog(store),
    secret: identity.secret.reveal(),
    open: true,
    regressed: false,
    log: QUIET_LOG,
  })
  stack.defer(() => direct.close())
  await direct.start()
  const opened = stack.move()
  return {
    messages: direct.messages,
    tap,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** Milliseconds from `send` to the recipient's answer, and to its receipt, message after message. */
async function lone(
  { messages, tap }: Sender,
  peer: PeerId,
): Promise<{ accepted: number[]; delivered: number[] }> {
  const [accepted, delivered]: [number[], number[]] = [[], []]
  tap.isOn = true
  for (let i = -LONE_WARMUP; i < LONE_MESSAGES; i++) {
    const startedAt = performance.now()
    await messages.send(peer, BODY, { until: 'delivered', timeoutMs: DEADLINE_MS })
    if (i < 0) continue
    delivered.push(performance.now() - startedAt)
    accepted.push(tap.answeredAt - startedAt)
  }
  tap.isOn = false
  return { accepted, delivered }
}

/** Messages a second, each durable on both sides and receipted, so many of them under way at once. */
async function batch({ messages }: Sender, peer: PeerId): Promise<number> {
  const startedAt = performance.now()
  let left = ROUND_MESSAGES
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      await messages.send(peer, BODY, { until: 'delivered', timeoutMs: DEADLINE_MS })
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  return (ROUND_MESSAGES * 1_000) / (performance.now() - startedAt)
}

/** What this disk takes to sync one block, milliseconds each: the floor of everything durable. */
function measureSync(folder: string): number[] {
  const file = openSync(join(folder, 'sync'), 'w')
  const block = new Uint8Array(SYNC_BYTES)
  const times = Array.from({ length: SYNCS }, () => {
    const startedAt = performance.now()
    writeSync(file, block)
    fdatasyncSync(file)
    return performance.now() - startedAt
  })
  closeSync(file)
  return times
}

/** Measures, prints a table and answers the figures. */
export async function measureDurable(): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), 'conclave-bench-'))
  const { child, peer } = await startPeer(join(folder, 'bob'))
  try {
    await using sender = await startSender(join(folder, 'alice'), peer)
    const sync = measureSync(folder)
    for (let round = 0; round < WARMUP_ROUNDS; round++) await batch(sender, peer.peerId)
    const times = await lone(sender, peer.peerId)
    const rates: number[] = []
    for (let round = 0; round < ROUNDS; round++) rates.push(await batch(sender, peer.peerId))
    const rate = spread(rates)
    const tails = (name: string, all: readonly number[]): Record<string, number> => ({
      [`${name}Percentile50Ms`]: quantile(all, 0.5),
      [`${name}Percentile99Ms`]: quantile(all, 0.99),
    })
    const row = (name: string, all: readonly number[]): string[] => [
      name,
      format(quantile(all, 0.5)),
      format(Math.min(...all)),
      format(quantile(all, 0.99)),
    ]
    printTable('two processes over TCP on loopback, durable on both sides, 256 B', [
      ['', 'median', 'least', 'most, or p99'],
      ['messages/s in batches', format(rate.median), format(rate.min), format(rate.max)],
      row('lone message until accepted, ms', times.accepted),
      row('lone message until delivered, ms', times.delivered),
      row(`write and sync of ${SYNC_BYTES} bytes alone, ms`, sync),
    ])
    return {
      durablePerSecond: rate.median,
      ...tails('lone', times.accepted),
      ...tails('loneDelivered', times.delivered),
      ...tails('diskSync', sync),
    }
  } finally {
    await stopPeer(child)
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await measureDurable()
