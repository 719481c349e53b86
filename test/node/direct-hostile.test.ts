// What a hostile peer can do to direct messages and prekeys over real streams, and what it cannot.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { concat, u8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdToBytes } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import {
  decodeDirectFrame,
  decodePrekeysFrame,
  encodeDirectFrame,
  encodePrekeysFrame,
} from '../../protocols/direct/frames.ts'
import type { DirectFrame } from '../../protocols/direct/frames.ts'
import { DIRECT_PROTOCOL, PREKEYS_PROTOCOL, UNANSWERED_MAX } from '../../protocols/direct/types.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { FETCH_RATE } from '../../src/handlers/prekeys.ts'
import { JUNK_RATE, SESSION_RATE } from '../../src/handlers/direct.ts'
import type { FrameStream, Host } from '../../src/host/types.ts'
import type { Store } from '../../src/store/types.ts'
import { introduce, say, startDirect, until } from '../support/direct-node.ts'
import type { DirectNode, DirectNodeOptions } from '../support/direct-node.ts'
import { startHost, STREAM } from '../support/hosts.ts'
import { memoryStore } from '../support/store.ts'

const test = suite('direct messages · hostile peers')

/** Bob, Alice who talks to him, and Mallory's bare host. */
async function withMallory(
  story: (bob: DirectNode, mallory: Host, alice: DirectNode) => Promise<void>,
  options: DirectNodeOptions = {},
): Promise<void> {
  const bob = await startDirect('bob', { open: true, ...options })
  const alice = await startDirect('alice')
  const mallory = await startHost('mallory')
  try {
    await introduce(alice, bob)
    await mallory.addAddresses(bob.host.peerId, bob.host.addresses(), { trusted: true })
    await story(bob, mallory, alice)
    const sent = await alice.messages.send(bob.host.peerId, say('still served'), {
      until: 'delivered',
    })
    assert.is(sent.state, 'delivered')
  } finally {
    await mallory.close()
    await alice.stop()
    await bob.stop()
  }
}

/** An envelope of the right form that no session opens. */
function junkFrom(peer: PeerId, type: 1 | 2, size = type === 1 ? 2_048 : 512): Bytes {
  const head = concat(u8(1), u8(type), peerIdToBytes(peer), new Uint8Array(48))
  const envelope = concat(head, randomBytes(size - head.length))
  // suite 1, a bundle sequence in range
  if (type === 1) envelope.fill(1, 88, 89).fill(0, 89, 92).fill(0, 96, 98)
  return envelope
}

/** Sends envelopes one by one and collects what is answered, until the stream ends. */
async function answersTo(stream: FrameStream, envelopes: readonly Bytes[]): Promise<string[]> {
  const statuses: string[] = []
  const frames = stream.frames[Symbol.asyncIterator]()
  try {
    for (const [requestId, envelope] of envelopes.entries()) {
      await stream.send(encodeDirectFrame({ kind: 'send', requestId, envelope }))
      const next = await frames.next()
      if (next.done === true) break
      const frame = decodeDirectFrame(next.value)
      if (frame.ok && frame.value.kind === 'result') statuses.push(frame.value.status)
    }
  } catch {
    statuses.push('reset')
  }
  return statuses
}

const openTo = (host: Host, peer: PeerId, protocol = DIRECT_PROTOCOL): Promise<FrameStream> =>
  host.open(peer, protocol, STREAM)

/** True if the other side ends the stream. */
async function isEnded(stream: FrameStream): Promise<boolean> {
  const ended = stream.closed.then(() => true)
  return Promise.race([
    ended,
    new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 5_000)),
  ])
}

test('garbage frames end their stream', () =>
  withMallory(async (bob, mallory) => {
    for (const garbage of [new Uint8Array(0), randomBytes(40), randomBytes(3_000), u8(0xff)]) {
      for (const protocol of [DIRECT_PROTOCOL, PREKEYS_PROTOCOL]) {
        const stream = await openTo(mallory, bob.host.peerId, protocol)
        await stream.send(garbage)
        assert.ok(await isEnded(stream), `${protocol} ends`)
      }
    }
  }))

test('a result that nobody asked for ends the stream', () =>
  withMallory(async (bob, mallory) => {
    const stream = await openTo(mallory, bob.host.peerId)
    const result: DirectFrame = {
      kind: 'result',
      requestId: 7,
      envelopeId: 'ab'.repeat(32) as never,
      status: 'accepted',
    }
    await stream.send(encodeDirectFrame(result))
    assert.ok(await isEnded(stream))
  }))

// "`route` MUST equal the stream's PeerId."
test('an envelope in the name of another is refused, as one that does not open', () =>
  withMallory(async (bob, mallory, alice) => {
    const stream = await openTo(mallory, bob.host.peerId)
    const envelopes = [junkFrom(alice.host.peerId, 2), junkFrom(mallory.peerId, 2)]
    assert.equal(await answersTo(stream, envelopes), ['refused', 'refused'])
    stream.abort()
  }))

test('new sessions are rate limited; a repeated preamble is no new session', () =>
  withMallory(async (bob, mallory) => {
    const stream = await openTo(mallory, bob.host.peerId)
    const fresh = Array.from({ length: SESSION_RATE.burst + 4 }, () => junkFrom(mallory.peerId, 1))
    const repeats = Array<Bytes | undefined>(20)
      .fill(fresh[0])
      .filter((one) => one !== undefined)
    const statuses = await answersTo(stream, [...repeats, ...fresh])
    assert.equal([...new Set(statuses.slice(0, 20))], ['refused'])
    const answers = Map.groupBy(statuses.slice(20), (status) => status)
    assert.is(answers.get('refused')?.length, SESSION_RATE.burst)
    assert.is(answers.get('busy')?.length, 4)
    stream.abort()
  }))

// "100,000 junk envelopes in bounded memory and logs": after the burst the peer is not listened to.
test('a flood of junk ends the stream and the next ones, and only for who sent it', () =>
  withMallory(async (bob, mallory) => {
    const stream = await openTo(mallory, bob.host.peerId)
    const before = process.memoryUsage().heapUsed
    const flood = Array.from({ length: JUNK_RATE.burst + 400 }, () => junkFrom(mallory.peerId, 2))
    const statuses = await answersTo(stream, flood)
    assert.ok(statuses.length < flood.length, 'the stream ended before the flood did')
    assert.ok(process.memoryUsage().heapUsed - before < 128 * 1024 * 1024)
    // A few tokens may be back by now, on a slow machine more; never a flood of them.
    const next = await openTo(mallory, bob.host.peerId)
    const again = await answersTo(next, flood.slice(0, 400))
    assert.ok(again.length < 400, `${again.length} answers to the next stream`)
  }))

test('more unanswered envelopes than the window end the stream', async () => {
  const inner = memoryStore()
  const store: Store = {
    get: async (table, key) => {
      if (table === 'seen') await new Promise((resolve) => setTimeout(resolve, 1_000)) // a slow disk
      return inner.get(table, key)
    },
    rows: (table, range) => inner.rows(table, range),
    keys: (table, range) => inner.keys(table, range),
    commit: (ops) => inner.commit(ops),
    close: () => inner.close(),
  }
  await withMallory(
    async (bob, mallory) => {
      const stream = await openTo(mallory, bob.host.peerId)
      const envelope = junkFrom(mallory.peerId, 2)
      for (let requestId = 0; requestId <= UNANSWERED_MAX; requestId++) {
        stream.send(encodeDirectFrame({ kind: 'send', requestId, envelope })).catch(() => undefined)
      }
      assert.ok(await isEnded(stream))
    },
    { store },
  )
})

test('a peer that answers no envelope is given up, and tried again on another stream', async () => {
  const host = await startHost('mallory')
  let streams = 0
  const silent = async (stream: FrameStream): Promise<void> => {
    streams += 1
    for await (const _ of stream.frames) continue
  }
  // Everything as it should be, but for the handler of envelopes.
  const deaf = new Proxy(host, {
    get(target, name) {
      const handle: Host['handle'] = (protocol, options, handler) =>
        target.handle(protocol, options, protocol === DIRECT_PROTOCOL ? silent : handler)
      if (name === 'handle') return handle
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  const mallory = await startDirect('mallory', { host: deaf })
  const bob = await startDirect('bob')
  try {
    await introduce(bob, mallory)
    const sent = await bob.messages.send(host.peerId, say('hello?'), { until: 'queued' })
    assert.is(sent.state, 'queued')
    await until('another stream', () => streams >= 2, 20_000)
    assert.ok(((await bob.messages.outbox())[0]?.attempts ?? 0) >= 1)
  } finally {
    await bob.stop()
    await mallory.stop()
  }
})

test('a peer that hands out no prekeys leaves messages queued, with the reason', () =>
  withMallory(async (bob, mallory) => {
    await mallory.handle(PREKEYS_PROTOCOL, STREAM, async (stream) => {
      const busy = encodePrekeysFrame({ kind: 'failure', requestId: 1, status: 'busy' })
      for await (const _ of stream.frames) await stream.send(busy)
    })
    await bob.host.addAddresses(mallory.peerId, mallory.addresses(), { trusted: true })
    await bob.messages.send(mallory.peerId, say('hello?'), { until: 'queued' })
    await until('the reason', async () => (await bob.messages.outbox())[0]?.lastError !== null)
    const [waiting] = await bob.messages.outbox()
    assert.is(waiting?.state, 'queued')
  }))

// "One peer drains ≤ 1 a day."
test('a requester gets one one-time prekey a day, always the same, and not too often', () =>
  withMallory(async (bob, mallory) => {
    const entries = new Set<string>()
    const failures: string[] = []
    for (let i = 0; i < FETCH_RATE.burst + 3; i++) {
      const stream = await openTo(mallory, bob.host.peerId, PREKEYS_PROTOCOL)
      const request = {
        requestId: 1,
        recipient: bob.host.peerId,
        wantOneTime: true,
        wantKeyPackage: true,
      }
      await stream.send(encodePrekeysFrame({ kind: 'fetch', ...request }))
      for await (const bytes of stream.frames) {
        const reply = decodePrekeysFrame(bytes)
        if (reply.ok && reply.value.kind === 'bundle')
          entries.add((reply.value.entry ?? '').toString())
        if (reply.ok && reply.value.kind === 'failure') failures.push(reply.value.status)
        break
      }
      stream.abort()
    }
    assert.is(entries.size, 1)
    assert.ok(![...entries].includes(''))
    assert.ok(failures.length >= 1 && failures.every((status) => status === 'busy'))
  }))

test("prekeys of others are not this agent's to hand out", () =>
  withMallory(async (bob, mallory, alice) => {
    const stream = await openTo(mallory, bob.host.peerId, PREKEYS_PROTOCOL)
    const request = {
      requestId: 1,
      recipient: alice.host.peerId,
      wantOneTime: true,
      wantKeyPackage: false,
    }
    await stream.send(encodePrekeysFrame({ kind: 'fetch', ...request }))
    await stream.send(encodePrekeysFrame({ kind: 'supply', requestId: 2 }))
    const statuses: string[] = []
    for await (const bytes of stream.frames) {
      const reply = decodePrekeysFrame(bytes)
      if (reply.ok && reply.value.kind === 'failure') statuses.push(reply.value.status)
      if (statuses.length === 2) break
    }
    assert.equal(statuses, ['refused', 'refused'])
    stream.abort()
  }))

test.run()
