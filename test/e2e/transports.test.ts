// A direct message and a group over each transport, with nothing above them changed: two library nodes on real sockets.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createNode } from '../../src/index.ts'
import type { Node } from '../../src/index.ts'
import { isAvailable, isTransportName } from '../../src/host/transports.ts'
import { endNativeThreads } from '../support/hosts.ts'
import { unix } from '../support/unix-transport.ts'

const test = suite('e2e · transports')

type Transports = NonNullable<Parameters<typeof createNode>[0]['transports']>

interface Case {
  readonly name: string
  readonly listen: (folder: string, who: string) => string
  readonly transports: Transports
  readonly seen: RegExp
}

const CASES: readonly Case[] = [
  { name: 'tcp', listen: () => '/ip4/127.0.0.1/tcp/0', transports: ['tcp'], seen: /^tcp$/ },
  { name: 'ws', listen: () => '/ip4/127.0.0.1/tcp/0/ws', transports: ['ws'], seen: /^ws$/ },
  {
    name: 'quic',
    listen: () => '/ip4/127.0.0.1/udp/0/quic-v1',
    transports: ['quic'],
    seen: /^quic$/,
  },
  {
    name: 'webrtc-direct',
    listen: () => '/ip4/127.0.0.1/udp/0/webrtc-direct',
    transports: ['webrtc-direct'],
    seen: /^webrtc-direct$/,
  },
  {
    name: "a user's own",
    listen: (folder, who) => `/unix/${encodeURIComponent(join(folder, `${who}.sock`))}`,
    transports: [unix()],
    seen: /unix/,
  },
]

async function converse(alice: Node, bob: Node): Promise<void> {
  await bob.agent.contacts.add(alice.peerId)
  const sent = await alice.direct.send(bob.peerId, 'build is green', {
    until: 'delivered',
    timeoutMs: 20_000,
  })
  assert.is(sent.state, 'delivered')
  for await (const message of bob.direct.messages()) {
    assert.is(message.text, 'build is green')
    assert.is(message.from, alice.peerId)
    await message.handled()
    break
  }
  const ops = await alice.groups.create('ops')
  await ops.invite([bob.peerId], { until: 'joined', timeoutMs: 20_000 })
  await ops.send('hello, everyone')
  const joined = await bob.groups.get('ops')
  for await (const message of joined.messages()) {
    assert.is(message.text, 'hello, everyone')
    assert.is(message.from, alice.peerId)
    break
  }
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'conclave-'))
  try {
    await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function missing(name: string): Promise<boolean> {
  return isTransportName(name) && !(await isAvailable(name))
}

for (const { name, listen, transports, seen } of CASES) {
  if (await missing(name)) {
    console.log(`skipped: e2e · transports: ${name}: its binary is absent`)
    continue
  }
  test(`a direct message and a group run over ${name}`, () =>
    withFolder(async (folder) => {
      const common = { transports, mdns: false } as const
      await using alice = await createNode({
        home: join(folder, 'alice'),
        listen: [listen(folder, 'alice')],
        ...common,
      })
      await using bob = await createNode({
        home: join(folder, 'bob'),
        listen: [listen(folder, 'bob')],
        bootstrap: [alice.ticket],
        ...common,
      })
      await converse(alice, bob)
      const facts = await bob.agent.peers()
      assert.match(facts.find((fact) => fact.peerId === alice.peerId)?.transport ?? '', seen)
    }))
}

test('a direct message and a group run over a relayed circuit', () =>
  withFolder(async (folder) => {
    const common = { transports: ['tcp'], mdns: false } satisfies {
      transports: Transports
      mdns: boolean
    }
    await using rita = await createNode({
      home: join(folder, 'rita'),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      relay: true,
      ...common,
    })
    const join2 = { listen: [], bootstrap: [rita.ticket], ...common }
    await using alice = await createNode({ home: join(folder, 'alice'), ...join2 })
    await using bob = await createNode({ home: join(folder, 'bob'), ...join2 })
    await converse(alice, bob)
    const facts = await bob.agent.peers()
    assert.is(facts.find((fact) => fact.peerId === alice.peerId)?.relayed, true)
  }))

endNativeThreads(test)
test.run()
