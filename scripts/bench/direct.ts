// Direct messages: the ratchet in memory, over both Primitives, then two whole nodes in two processes, where every message is
// on the sender's disk before it leaves and on the recipient's before it is acknowledged.
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode } from '../../src/index.ts'
import type { Node } from '../../src/index.ts'
import { measureDirectMemory } from './direct-memory.ts'
import { format, printTable, quantile, spread } from './result.ts'
import type { BenchResult } from './result.ts'

const LONE_MESSAGES = 300
const ROUNDS = 5
const ROUND_MESSAGES = 1_500
const IN_FLIGHT = 512
const BODY = new Uint8Array(256).fill(97)
const DEADLINE_MS = 120_000

async function startPeer(home: string): Promise<{ child: ChildProcess; ticket: string }> {
  const child = fork(new URL('direct-peer.ts', import.meta.url), [home], { stdio: 'inherit' })
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the peer has ended')))
  const [ready] = (await Promise.race([once(child, 'message'), ended])) as [{ ticket: string }]
  ended.catch(() => undefined)
  return { child, ticket: ready.ticket }
}

async function lone(node: Node, peer: string): Promise<number[]> {
  const times: number[] = []
  for (let i = 0; i < LONE_MESSAGES; i++) {
    const startedAt = performance.now()
    await node.direct.send(peer, BODY, { until: 'delivered', timeoutMs: DEADLINE_MS })
    times.push(performance.now() - startedAt)
  }
  return times
}

/** Messages a second, each durable on both sides, so many of them under way at once. */
async function batch(node: Node, peer: string): Promise<number> {
  const startedAt = performance.now()
  let left = ROUND_MESSAGES
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      await node.direct.send(peer, BODY, { until: 'delivered', timeoutMs: DEADLINE_MS })
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  return (ROUND_MESSAGES * 1_000) / (performance.now() - startedAt)
}

async function durable(): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), 'conclave-bench-'))
  const { child, ticket } = await startPeer(join(folder, 'bob'))
  try {
    await using node = await createNode({
      home: join(folder, 'alice'),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      transports: ['tcp'],
      mdns: false,
      bootstrap: [ticket],
      open: true,
    })
    const peer = await node.agent.resolvePeer(ticket)
    await node.direct.send(peer, BODY, { until: 'delivered', timeoutMs: DEADLINE_MS })
    const times = await lone(node, peer)
    await batch(node, peer) // warms both processes up
    const rates: number[] = []
    for (let round = 0; round < ROUNDS; round++) rates.push(await batch(node, peer))
    const rate = spread(rates)
    const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)]
    printTable('two processes over TCP on loopback, durable on both sides, 256 B', [
      ['', 'median', 'least', 'most'],
      ['messages/s in batches', format(rate.median), format(rate.min), format(rate.max)],
      ['lone message, ms (p50, –, p99)', format(p50), '', format(p99)],
    ])
    return { durablePerSecond: rate.median, lonePercentile50Ms: p50, lonePercentile99Ms: p99 }
  } finally {
    child.disconnect()
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
    if (child.exitCode === null) await once(child, 'exit')
    clearTimeout(timer)
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Runs the bench. */
export async function run(): Promise<BenchResult> {
  const { figures: memory } = measureDirectMemory()
  const measures = ['OneWay', 'PingPong', 'Setup'] as const
  const of = (name: string): number => memory[name] ?? Number.NaN
  printTable('ratchet in memory, 256 B, per second: median (least–most)', [
    ['', 'native', 'portable', 'ratio'],
    ...measures.map((measure) => [
      measure,
      ...['native', 'portable'].map((side) => {
        const name = `${side}${measure}`
        return `${format(of(name))} (${format(of(`${name}Min`))}–${format(of(`${name}Max`))})`
      }),
      `${format(of(`native${measure}`) / of(`portable${measure}`))}×`,
    ]),
  ])
  const ratios = Object.fromEntries(
    measures.map((measure) => [
      `${measure.charAt(0).toLowerCase()}${measure.slice(1)}OverPortable`,
      of(`native${measure}`) / of(`portable${measure}`),
    ]),
  )
  return { bench: 'direct', ratios, figures: { ...memory, ...(await durable()) } }
}
