// One measurement of the transport bench in a process of its own: connects, echoes, sends in bulk, prints the figures.
// A process each, because the native library below WebRTC does not survive a second host in one.
import { spread } from './result.ts'
import { openStack } from './transport-stacks.ts'
import type { StackName } from './transport-stacks.ts'

const PINGS = 200
const BULK_BYTES = 64 * 1024 * 1024
const CHUNK_BYTES = 64 * 1024

const [stack = 'tcp', address = ''] = process.argv.slice(2)
const startedAt = performance.now()
const link = await openStack(stack as StackName, address)
const connectMs = performance.now() - startedAt - link.setupMs
const ball = new Uint8Array(32)
await link.echo(ball)
const pings: number[] = []
for (let i = 0; i < PINGS; i++) {
  const sentAt = performance.now()
  await link.echo(ball)
  pings.push((performance.now() - sentAt) * 1_000)
}
const bulkAt = performance.now()
await link.bulk(BULK_BYTES, CHUNK_BYTES)
const mbPerS = BULK_BYTES / 1e6 / ((performance.now() - bulkAt) / 1_000)
const figures = { connectMs, rttUs: spread(pings).median, mbPerS }
// What was measured is out; nothing is gained by closing what the process ends anyway.
process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.kill(process.pid, 'SIGKILL'))
