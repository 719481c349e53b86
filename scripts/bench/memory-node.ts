// The other process of the memory bench: starts a node on a home and says how long that took and what it occupies.
import { setTimeout as sleep } from 'node:timers/promises'
import { createNode } from '../../src/index.ts'

const SETTLE_MS = 5_000
const SAMPLE_MS = 50

const [home = ''] = process.argv.slice(2)
let most = 0
const sampling = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), SAMPLE_MS)
await using node = await createNode({
  home,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  transports: ['tcp'],
  mdns: false,
})
const readyMs = performance.now() // since the process began
const readyBytes = process.memoryUsage.rss()
await sleep(SETTLE_MS)
const countedAt = performance.now()
const { inbox, outbox } = await node.agent.status()
const countMs = performance.now() - countedAt
clearInterval(sampling)
process.send?.({
  readyMs,
  readyBytes,
  settledBytes: process.memoryUsage.rss(),
  most,
  countMs,
  unread: inbox.unread,
  queued: outbox.queued,
})
await new Promise<void>((resolve) => process.once('disconnect', resolve))
