// A node as a process of its own, on a real database and loopback TCP, that kills itself at a failpoint:
// `crash-child.ts HOME NAME LISTEN PEERS SENDS` with PEERS and SENDS as JSON. `POINTS` names a file for the points that
// are reached, `CRASH_AT` the one to end at, `SEALS` a file for what is sealed under which key and nonce.
import { appendFileSync } from 'node:fs'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { native } from '../../src/crypto/native.ts'
import { locateHome } from '../../src/store/home.ts'
import { say, startDirect } from './direct-node.ts'
import { Counter, probedHost, probedStore } from './failpoints.ts'
import type { Probe } from './failpoints.ts'
import { startHost } from './hosts.ts'
import type { Name } from './hosts.ts'
import { openHome } from './store.ts'

/** Where another node is. */
export interface Neighbour {
  readonly peer: PeerId
  readonly addresses: readonly string[]
  readonly isCustodian: boolean
}

/** What is to be sent. */
export interface Sending {
  readonly to: PeerId
  readonly text: string
}

const POLL_MS = 30
const [path = '', name = '', listen = '', peers = '[]', sends = '[]'] = process.argv.slice(2)
const { POINTS, CRASH_AT, SEALS } = process.env

const counter = new Counter()
const probe: Probe = {
  isOver: false,
  reach(point) {
    const numbered = counter.next(point)
    if (POINTS !== undefined) appendFileSync(POINTS, `${numbered}\n`)
    if (numbered === CRASH_AT) process.kill(process.pid, 'SIGKILL')
    return undefined
  },
}

const primitives: Primitives = {
  ...native,
  seal(key, nonce, ad, plaintext) {
    const sealed = native.seal(key, nonce, ad, plaintext)
    const pair = formatHex(native.sha256(key, nonce))
    if (SEALS !== undefined) appendFileSync(SEALS, `${pair} ${formatHex(native.sha256(sealed))}\n`)
    return sealed
  },
}

const opened = await openHome(locateHome(path, undefined))
const host = await startHost(name as Name, { listen: [listen] })
const node = await startDirect(name as Name, {
  host: probedHost(host, probe),
  store: probedStore(opened.store, probe),
  primitives,
  regressed: opened.regressed,
  open: true,
  mailbox: name === 'rita',
})
await opened.settle()
const tell = (fact: object): void => void process.stdout.write(`${JSON.stringify(fact)}\n`)
tell({ ready: host.boundAddresses(), regressed: opened.regressed })

async function meet(): Promise<void> {
  for (const { peer, addresses, isCustodian } of JSON.parse(peers) as Neighbour[]) {
    await host.addAddresses(peer, addresses, { trusted: true })
    if (isCustodian) host.keepAlive(peer)
  }
}

async function send(): Promise<void> {
  for (const { to, text } of JSON.parse(sends) as Sending[]) {
    await node.messages.send(to, say(text), { idempotencyKey: text, timeoutMs: 0 })
    tell({ queued: text })
  }
}

await meet()
const sending = send()
let told = ''
for (;;) {
  await node.messages.inbox({ handle: true })
  await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  const events = await node.logged()
  const custodians = node.mailboxes.facts().custodians.length
  const facts = JSON.stringify({
    custodians,
    events: events.map(({ kind, data }) => ({ kind, data })),
  })
  if (facts !== told) process.stdout.write(`${facts}\n`)
  told = facts
  await Promise.race([sending, Promise.resolve()])
}
