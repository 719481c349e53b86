// Handshake, round trip and throughput of each stack, beside raw TCP and raw TLS in the same run (`reach`: two processes, loopback).
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { format, printTable, spread } from './result.ts'
import type { BenchResult } from './result.ts'
import { STACKS } from './transport-stacks.ts'
import type { StackName } from './transport-stacks.ts'

const ROUNDS = 5
/** How long one measurement may take. */
const MEASURE_MS = 60_000

type Samples = Record<'connectMs' | 'rttUs' | 'mbPerS', number[]>

interface Server {
  readonly child: ChildProcess
  readonly address: string
}

async function startServer(stack: StackName): Promise<Server> {
  const file = new URL('./transport-server.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [file, stack], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  return { child, address: line }
}

/** Measures once, in a process of its own, within a deadline that names what hung. */
async function measure(stack: StackName, address: string, into: Samples): Promise<void> {
  const file = new URL('./transport-client.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [file, stack, address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), MEASURE_MS)
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part))
  await once(child, 'close')
  clearTimeout(timer)
  if (text === '') throw new Error(`${stack} did not finish within ${MEASURE_MS / 1_000} s`)
  const figures = JSON.parse(text) as Record<keyof Samples, number>
  for (const key of ['connectMs', 'rttUs', 'mbPerS'] as const) into[key].push(figures[key])
}

/** Runs the bench: median of five rounds, stacks alternating; ratios against raw TLS and raw TCP. */
export async function run(): Promise<BenchResult> {
  const samples = new Map<StackName, Samples>()
  const servers = new Map<StackName, Server>()
  try {
    for (const stack of STACKS) {
      try {
        servers.set(stack, await startServer(stack))
        samples.set(stack, { connectMs: [], rttUs: [], mbPerS: [] })
      } catch (error) {
        console.log(`skipped: ${stack}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const [stack, into] of samples) {
        await measure(stack, servers.get(stack)?.address ?? '', into)
      }
      process.stderr.write(`transport: round ${round + 1} of ${ROUNDS}\n`)
    }
  } finally {
    for (const { child } of servers.values()) child.kill()
  }
  return report(samples)
}

function report(samples: ReadonlyMap<StackName, Samples>): BenchResult {
  const cell = (values: readonly number[]): string => {
    const { median, min, max } = spread(values)
    return `${format(median)} (${format(min)}–${format(max)})`
  }
  printTable(`transport: median of ${ROUNDS} (least–greatest), Node ${process.versions.node}`, [
    ['stack', 'connect ms', 'RTT µs', 'MB/s, 1 stream'],
    ...[...samples].map(([stack, s]) => [stack, cell(s.connectMs), cell(s.rttUs), cell(s.mbPerS)]),
  ])
  const figures: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  const median = (stack: StackName, key: keyof Samples): number =>
    spread(samples.get(stack)?.[key] ?? []).median
  for (const stack of samples.keys()) {
    for (const key of ['connectMs', 'rttUs', 'mbPerS'] as const) {
      figures[`${stack}.${key}`] = median(stack, key)
    }
    if (stack.startsWith('raw')) continue
    ratios[`${stack}.mbPerS`] = median(stack, 'mbPerS') / median('raw-tls', 'mbPerS')
    ratios[`${stack}.rtt`] = median('raw-tcp', 'rttUs') / median(stack, 'rttUs')
    ratios[`${stack}.connect`] = median('raw-tls', 'connectMs') / median(stack, 'connectMs')
  }
  printTable('against raw TLS (MB/s, connect) and raw TCP (RTT); above 1: faster', [
    ['stack', 'connect', 'RTT', 'MB/s'],
    ...[...samples.keys()]
      .filter((stack) => !stack.startsWith('raw'))
      .map((stack) => [
        stack,
        ...(['connect', 'rtt', 'mbPerS'] as const).map((key) =>
          format(ratios[`${stack}.${key}`] ?? NaN),
        ),
      ]),
  ])
  return { bench: 'transport', ratios, figures }
}

if (process.argv[1] === new URL(import.meta.url).pathname) await run()
