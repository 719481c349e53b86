// Our host beside go-libp2p, another implementation of the same specs: transports, Noise, yamux, identify, ping, framed
// streams and gossip, dialled from either side. Built with the Go toolchain where there is one.
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../protocols/base/bytes.ts'
import { parsePeerId } from '../../protocols/base/ids.ts'
import type { HostOptions } from '../../src/host/options.ts'
import { isAvailable } from '../../src/host/transports.ts'
import type { TransportName } from '../../src/host/transports.ts'
import { echo, endNativeThreads, startHost, until, withHosts } from '../support/hosts.ts'

const ECHO = '/conclave/interop-echo/1.0.0'
const TOPIC = 'conclave-interop'
const STREAMS = {
  frameBytesMax: 65_536,
  inboundStreamsMax: 8,
  outboundStreamsMax: 8,
  relayed: false,
}
const SOURCE = join(import.meta.dirname, 'go-libp2p')
const CACHE = join(import.meta.dirname, '../../node_modules/.cache/conclave')
const PROGRAM = join(CACHE, 'go-libp2p')

/** True once the program is built; false, with a line that says why, where it cannot be. */
function isBuilt(): boolean {
  if (spawnSync('go', ['version']).status !== 0) {
    console.log('skipped: interop · go-libp2p: there is no Go toolchain')
    return false
  }
  mkdirSync(CACHE, { recursive: true })
  const fetched = spawnSync('go', ['mod', 'download'], { cwd: SOURCE, encoding: 'utf8' })
  if (fetched.status !== 0) {
    console.log('skipped: interop · go-libp2p: its modules cannot be fetched')
    return false
  }
  const built = spawnSync('go', ['build', '-trimpath', '-o', PROGRAM, '.'], {
    cwd: SOURCE,
    encoding: 'utf8',
  })
  if (built.status !== 0) throw new Error(built.stderr)
  return true
}

interface Line {
  readonly kind: string
  readonly addresses?: readonly string[]
  readonly peerId?: string
  readonly text?: string
  readonly security?: string
  readonly muxer?: string
  readonly protocols?: readonly string[]
  readonly agent?: string
}

/** The Go program while it runs. */
class Gopher implements AsyncDisposable {
  readonly lines: Line[] = []
  readonly #child: ChildProcessByStdio<Writable, Readable, null>

  constructor(...args: readonly string[]) {
    this.#child = spawn(PROGRAM, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface(this.#child.stdout).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line)
    })
  }

  async line(kind: string): Promise<Line> {
    const found = (): Line | undefined => this.lines.find((line) => line.kind === kind)
    await until(`go says ${kind}`, () => found() !== undefined || this.#child.exitCode !== null)
    const line = found()
    assert.ok(line, `go ended without saying ${kind}`)
    return line
  }

  hears(text: string): Promise<void> {
    return until(`go hears ${text}`, () => this.lines.some((line) => line.text === text))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.stdin.end()
    if (this.#child.exitCode === null) await ended
  }
}

const test = suite('interop · go-libp2p')

interface Case {
  readonly transport: TransportName
  readonly listen: string
  readonly address: RegExp
}

const CASES: readonly Case[] = [
  { transport: 'tcp', listen: '/ip4/127.0.0.1/tcp/0', address: /\/tcp\/\d+\/p2p/ },
  { transport: 'ws', listen: '/ip4/127.0.0.1/tcp/0/ws', address: /\/ws\// },
  { transport: 'quic', listen: '/ip4/127.0.0.1/udp/0/quic-v1', address: /\/quic-v1\/p2p/ },
  {
    transport: 'webrtc-direct',
    listen: '/ip4/127.0.0.1/udp/0/webrtc-direct',
    address: /\/webrtc-direct\//,
  },
]

if (isBuilt()) {
  for (const { transport, listen, address } of CASES) {
    if (!(await isAvailable(transport))) {
      console.log(`skipped: interop · go-libp2p: ${transport}: its binary is absent`)
      continue
    }
    const options: Partial<HostOptions> = { listen: [listen], transports: [transport] }

    test(`${transport}: go dials us: Noise, identify, ping, framed streams, gossip both ways`, () =>
      withHosts([startHost('alice', options)], async (alice) => {
        assert.ok(alice)
        const heard = new Set<string>()
        await alice.handle(ECHO, STREAMS, echo)
        alice.pubsub.subscribe(TOPIC, ({ data }) => {
          heard.add(new TextDecoder().decode(data))
          return 'accept'
        })
        const own = alice.addresses().find((one) => address.test(one))
        assert.ok(own)
        await using go = new Gopher('meet', own)
        await go.line('echoed')
        const { protocols } = await go.line('identified')
        assert.ok(protocols?.includes(ECHO))
        await until('a message of go', () => [...heard].some((text) => text.startsWith('from go')))
        await until('go hears us', async () => {
          await alice.pubsub.publish(TOPIC, utf8(`from us ${heard.size} ${Date.now()}`))
          return go.lines.some(({ text }) => text?.startsWith('from us') === true)
        })
      }))

    test(`${transport}: we dial go: framed streams of all sizes`, () =>
      withHosts([startHost('alice', { ...options, listen: [] })], async (alice) => {
        assert.ok(alice)
        await using go = new Gopher('serve')
        const { addresses = [], peerId = '' } = await go.line('listening')
        const theirs = addresses.find((one) => address.test(one))
        const peer = parsePeerId(peerId)
        assert.ok(theirs !== undefined && peer !== undefined)
        await alice.addAddresses(peer, [theirs], { trusted: true })
        const signal = AbortSignal.timeout(15_000)
        const stream = await alice.open(peer, ECHO, { ...STREAMS, signal })
        const frames = stream.frames[Symbol.asyncIterator]()
        for (const size of [0, 1, 127, 128, 16_384, 65_536]) {
          const ball = new Uint8Array(size).map((_, i) => i)
          await stream.send(ball)
          assert.equal((await frames.next()).value, ball, `${size} bytes`)
        }
        await stream.close()
        assert.is(alice.connections()[0]?.transport, transport)
      }))
  }
}

endNativeThreads(test)
test.run()
