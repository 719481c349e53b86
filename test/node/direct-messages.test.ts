// Direct messages between nodes over real hosts on loopback: states, restarts, order, strangers, keys.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import {
  MESSAGE_BYTES_MAX,
  OUTBOX_PER_PEER_MAX,
  STRANGER_ENVELOPES,
} from '../../protocols/direct/types.ts'
import { put } from '../../src/store/types.ts'
import type { Store } from '../../src/store/types.ts'
import { introduce, say, startDirect, texts, until } from '../support/direct-node.ts'
import type { DirectNode, DirectNodeOptions } from '../support/direct-node.ts'
import { memoryStore, openHome, Scratch } from '../support/store.ts'

const test = suite('direct messages')

/** Runs a story with nodes that are stopped whatever happens. */
async function withNodes(
  options: readonly [DirectNodeOptions, DirectNodeOptions],
  story: (alice: DirectNode, bob: DirectNode) => Promise<void>,
): Promise<void> {
  const alice = await startDirect('alice', options[0])
  const bob = await startDirect('bob', options[1])
  try {
    await introduce(alice, bob)
    await story(alice, bob)
  } finally {
    await alice.stop()
    await bob.stop()
  }
}

const open = { open: true }

/** The code that a promise is refused with. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'resolved'
  } catch (error) {
    return error instanceof ConclaveError ? error.code : String(error)
  }
}

test('a message is delivered, read, handled, and each state is reported once', () =>
  withNodes([{}, open], async (alice, bob) => {
    const to = bob.host.peerId
    const sent = await alice.messages.send(to, say('build is green'), { until: 'delivered' })
    assert.equal([sent.state, sent.via, sent.to], ['delivered', 'direct', to])
    const [received] = await bob.messages.inbox()
    assert.is(received?.id, sent.id)
    assert.equal(
      [received?.text, received?.type, received?.from],
      ['build is green', 'text/plain', alice.host.peerId],
    )
    assert.equal(await bob.messages.handled([sent.id]), [sent.id])
    assert.equal(await bob.messages.inbox(), [])
    assert.is((await bob.messages.inbox({ all: true }))[0]?.handled, true)
    await until('handled', async () => (await alice.messages.outbox()).length === 0)
    const states = (await alice.logged('state')).map(({ data }) => data['state'])
    assert.equal(states, ['delivered', 'handled'])
    assert.equal(
      (await bob.logged('message')).map(({ data }) => data['id']),
      [sent.id],
    )
    assert.equal(await bob.messages.handled([sent.id]), [sent.id], 'handled twice is handled')
  }))

// "Prekey delete, KEM mark and session in separate writes (libsignal)": one batch.
test('the batch that saves a first message saves its session and deletes its one-time prekey', () => {
  const batches: string[][] = []
  const inner = memoryStore()
  const store: Store = {
    get: (table, key) => inner.get(table, key),
    rows: (table, range) => inner.rows(table, range),
    keys: (table, range) => inner.keys(table, range),
    close: () => inner.close(),
    commit: (ops) => {
      batches.push(ops.map((op) => `${op.kind} ${op.table} ${op.key}`))
      return inner.commit(ops)
    },
  }
  return withNodes([{}, { open: true, store }], async (alice, bob) => {
    await alice.messages.send(bob.host.peerId, say('first'), { until: 'delivered' })
    const one =
      batches.find((batch) => batch.some((op) => op.startsWith('del prekey one-time/'))) ?? []
    for (const table of [
      'put prekey used/',
      'put direct-session',
      'put inbox',
      'put seen',
      'put event',
      'put direct-peer',
    ]) {
      assert.ok(
        one.some((op) => op.startsWith(table)),
        `${table} in the same batch`,
      )
    }
    for await (const { key } of store.rows('prekey')) assert.not.match(key, /^one-time/)
  })
})

test('bytes and types arrive as they were sent', () =>
  withNodes([{}, open], async (alice, bob) => {
    const binary = Uint8Array.of(0xff, 0x00, 0x80)
    await alice.messages.send(bob.host.peerId, binary, { type: 'image/png', until: 'delivered' })
    await alice.messages.send(bob.host.peerId, new Uint8Array(0), { until: 'delivered' })
    const largest = new Uint8Array(MESSAGE_BYTES_MAX).fill(0x61)
    await alice.messages.send(bob.host.peerId, largest, {
      type: 'application/json',
      until: 'delivered',
    })
    const [first, second, third] = await bob.messages.inbox()
    assert.equal([first?.type, first?.base64, first?.text], ['image/png', '/wCA', undefined])
    assert.is(second?.text, '')
    assert.is(third?.text?.length, MESSAGE_BYTES_MAX)
  }))

test('hundreds of messages at once arrive in order, each once', () =>
  withNodes([{}, open], async (alice, bob) => {
    const bodies = Array.from({ length: 400 }, (_, i) => `message ${i}`)
    await Promise.all(
      bodies.map((text) =>
        alice.messages.send(bob.host.peerId, say(text), { until: 'delivered', timeoutMs: 50_000 }),
      ),
    )
    assert.equal(await texts(bob), bodies)
  }))

test('both sides may write first at the same time', () =>
  withNodes([open, open], async (alice, bob) => {
    const [a, b] = await Promise.all([
      alice.messages.send(bob.host.peerId, say('from Alice'), { until: 'delivered' }),
      bob.messages.send(alice.host.peerId, say('from Bob'), { until: 'delivered' }),
    ])
    assert.equal([a.state, b.state], ['delivered', 'delivered'])
    assert.equal([await texts(alice), await texts(bob)], [['from Bob'], ['from Alice']])
    await alice.messages.send(bob.host.peerId, say('more'), { until: 'delivered' })
    assert.equal(await texts(bob), ['from Alice', 'more'])
  }))

test('to a peer that is down: queued with its reason, exit by time, delivered when it is back', async () => {
  const scratch = new Scratch()
  const aliceHome = await openHome(scratch.home('alice'))
  const bobHome = scratch.home('bob')
  const listen = ['/ip4/127.0.0.1/tcp/0']
  const alice = await startDirect('alice', { store: aliceHome.store })
  let bob = await startDirect('bob', { store: (await openHome(bobHome)).store, open: true, listen })
  const to = bob.host.peerId
  const [address = ''] = bob.host.addresses()
  try {
    await introduce(alice, bob)
    await alice.messages.send(to, say('before'), { until: 'delivered' })
    await bob.stop()
    const error = await alice.messages
      .send(to, say('while down'), { until: 'delivered', timeoutMs: 300 })
      .catch((cause: unknown) => cause as ConclaveError)
    assert.instance(error, ConclaveError)
    assert.is((error as ConclaveError).code, 'STATE_NOT_REACHED')
    assert.is((error as ConclaveError).data?.['state'], 'queued')
    await until('the reason', async () =>
      (await alice.messages.outbox()).some(
        ({ lastError, nextAttemptAt }) =>
          lastError === 'NETWORK_NO_CUSTODIAN' && nextAttemptAt !== null,
      ),
    )
    const again = address.replace(/\/p2p\/.*$/, '')
    bob = await startDirect('bob', {
      store: (await openHome(bobHome)).store,
      open: true,
      listen: [again],
    })
    await until('delivered', async () => (await texts(bob)).length === 2, 20_000)
    assert.equal(await texts(bob), ['before', 'while down'])
  } finally {
    await alice.stop()
    await bob.stop()
    scratch[Symbol.dispose]()
  }
})

test('what was queued is delivered by the next process, and the conversation goes on', async () => {
  const rows = { alice: new Map<string, Bytes>(), bob: new Map<string, Bytes>() }
  const bob = await startDirect('bob', { rows: rows.bob, open: true })
  let alice = await startDirect('alice', { rows: rows.alice })
  try {
    // Alice does not know where Bob is.
    await alice.messages.send(bob.host.peerId, say('one'), { until: 'queued' })
    await alice.messages.send(bob.host.peerId, say('two'), { until: 'queued' })
    await alice.stop()
    alice = await startDirect('alice', { rows: rows.alice })
    await introduce(alice, bob)
    await alice.host.connect(bob.host.peerId)
    await until('delivered', async () => (await texts(bob)).length === 2)
    await alice.messages.send(bob.host.peerId, say('three'), { until: 'delivered' })
    assert.equal(await texts(bob), ['one', 'two', 'three'])
    assert.equal(
      (await alice.messages.outbox()).map(({ state }) => state),
      Array(3).fill('delivered'),
    )
  } finally {
    await alice.stop()
    await bob.stop()
  }
})

test('a stranger waits in the request box until it becomes a contact, then all is in order', () =>
  withNodes([{}, {}], async (alice, bob) => {
    const to = bob.host.peerId
    const count = STRANGER_ENVELOPES + 2
    for (let i = 1; i <= count; i++) await alice.messages.send(to, say(`${i}`), { until: 'queued' })
    await until(
      'a full box',
      async () =>
        (await alice.messages.outbox()).filter(({ lastError }) => lastError === 'LIMIT_QUOTA')
          .length === 2,
    )
    assert.equal(await bob.messages.inbox(), [])
    assert.is((await bob.messages.inbox({ requests: true })).length, STRANGER_ENVELOPES)
    assert.is((await bob.messages.counts()).requests, STRANGER_ENVELOPES)
    assert.is(
      (await alice.messages.outbox()).every(({ state }) => state === 'queued'),
      true,
      'no receipt',
    )
    const contact = await bob.contacts.add(alice.host.peerId, { name: 'alice' })
    assert.is(contact.name, 'alice')
    await until('all of them', async () => (await texts(bob)).length === count)
    assert.equal(await texts(bob), ['1', '2', '3', '4', '5', '6'])
    assert.equal(await bob.messages.inbox({ requests: true }), [])
    assert.is((await bob.messages.inbox())[0]?.name, 'alice')
    await until('receipts', async () =>
      (await alice.messages.outbox()).every(({ state }) => state === 'delivered'),
    )
    assert.is((await bob.logged('request')).length, STRANGER_ENVELOPES)
    assert.is((await bob.logged('message')).length, count)
  }))

test('who is written to is a contact; who is removed is a stranger again', () =>
  withNodes([{}, open], async (alice, bob) => {
    await alice.messages.send(bob.host.peerId, say('hello'), { until: 'delivered' })
    assert.ok(await alice.contacts.isContact(bob.host.peerId))
    await bob.messages.send(alice.host.peerId, say('answer'), { until: 'delivered' })
    assert.equal(await texts(alice), ['answer'])
    await alice.contacts.remove(bob.host.peerId)
    assert.is(await codeOf(alice.contacts.remove(bob.host.peerId)), 'USAGE_PEER_UNKNOWN')
    const sent = await bob.messages.send(alice.host.peerId, say('again'), { timeoutMs: 500 })
    assert.is(sent.state, 'queued')
    assert.equal(
      (await alice.messages.inbox({ requests: true })).map(({ text }) => text),
      ['again'],
    )
  }))

test('both sides see the same safety number; a match is kept, a mismatch is an error', () =>
  withNodes([{}, {}], async (alice, bob) => {
    assert.is((await alice.contacts.add(bob.host.peerId)).safetyNumber, null)
    const there = await alice.contacts.verify(bob.host.peerId)
    const here = await bob.contacts.verify(alice.host.peerId)
    assert.match(there.safetyNumber ?? '', /^(?:\d{5} ){11}\d{5}$/)
    assert.is(there.safetyNumber, here.safetyNumber)
    const wrong = (there.safetyNumber ?? '').replace(/^./, (digit) => (digit === '9' ? '0' : '9'))
    assert.is(
      await codeOf(alice.contacts.verify(bob.host.peerId, { match: wrong })),
      'VERIFY_SAFETY_NUMBER',
    )
    assert.is((await alice.contacts.list())[0]?.verified, false)
    await alice.contacts.verify(bob.host.peerId, { match: there.safetyNumber ?? '' })
    assert.is((await alice.contacts.list())[0]?.verified, true)
  }))

test('the same idempotency key is the same message, at once, later and after a restart', async () => {
  const rows = new Map<string, Bytes>()
  const bob = await startDirect('bob', open)
  let alice = await startDirect('alice', { rows })
  const options = { idempotencyKey: 'job 7', until: 'delivered' } as const
  const send = (): Promise<string> =>
    alice.messages.send(bob.host.peerId, say('once'), options).then(({ id }) => id)
  try {
    await introduce(alice, bob)
    const ids = await Promise.all([send(), send()])
    ids.push(await send())
    await bob.messages.handled(ids.slice(0, 1))
    await until('handled', async () => (await alice.messages.outbox()).length === 0)
    ids.push(await send())
    await alice.stop()
    alice = await startDirect('alice', { rows })
    await introduce(alice, bob)
    ids.push(await send())
    assert.is(new Set(ids).size, 1)
    assert.is((await bob.messages.inbox({ all: true })).length, 1)
  } finally {
    await alice.stop()
    await bob.stop()
  }
})

test('a full outbox and a wrong argument refuse, and send nothing', () =>
  withNodes([{}, {}], async (alice, bob) => {
    const to = bob.host.peerId
    const { messages, host } = alice
    const large = new Uint8Array(MESSAGE_BYTES_MAX + 1)
    assert.is(await codeOf(messages.send(to, large)), 'USAGE_MESSAGE_TOO_LARGE')
    assert.is(await codeOf(messages.send(host.peerId, say('me'))), 'USAGE_ARGUMENT')
    assert.is(
      await codeOf(messages.send(to, say('x'), { type: 'text/\u001b[2J' })),
      'USAGE_ARGUMENT',
    )
    assert.is(
      await codeOf(messages.send(to, say('x'), { type: 'x'.repeat(129) })),
      'USAGE_ARGUMENT',
    )
    assert.is(await codeOf(messages.handled(['00'.repeat(16)])), 'USAGE_MESSAGE_UNKNOWN')
    assert.is(await codeOf(messages.handled(['nonsense'])), 'USAGE_MESSAGE_UNKNOWN')
    assert.is(await codeOf(alice.contacts.add(host.peerId)), 'USAGE_ARGUMENT')
    assert.is(await codeOf(alice.contacts.add(to, { name: '/ip4/1.2.3.4' })), 'USAGE_ARGUMENT')
    assert.equal(await messages.outbox(), [])
    const away = '12D3KooWGzBXWNvHpLALvWLvvGaEzQqFpGzNHMUMNCqLLTGFGQAu' as typeof to
    const sends = Array.from({ length: OUTBOX_PER_PEER_MAX }, () =>
      messages.send(away, say('x'), { until: 'queued' }),
    )
    await Promise.all(sends)
    assert.is(await codeOf(messages.send(away, say('x'))), 'DIRECT_OUTBOX_FULL')
    assert.is((await messages.outbox()).length, OUTBOX_PER_PEER_MAX)
  }))

test('waiting ends when the caller gives up; delivery does not', () =>
  withNodes([{}, {}], async (alice, bob) => {
    const giveUp = new AbortController()
    const sending = alice.messages.send(bob.host.peerId, say('x'), { signal: giveUp.signal })
    await until('queued', async () => (await alice.messages.outbox()).length === 1)
    giveUp.abort()
    assert.match(await codeOf(sending), /AbortError/)
    await until('there', async () => (await bob.messages.inbox({ requests: true })).length === 1)
  }))

test("a handoff reaches its protocol's taker once, its rows in the batch that saves it", async () => {
  const taken: string[] = []
  const after: string[] = []
  const text = new TextDecoder()
  const prepare: DirectNodeOptions['prepare'] = ({ messages }) =>
    messages.onHandoff('test', (from, content, { isContact }) => {
      taken.push(`${from} ${text.decode(content)} ${String(isContact)}`)
      return {
        ops: [put('taken', text.decode(content), content)],
        after: () => void after.push('durable'),
      }
    })
  await withNodes([{}, { open: true, prepare }], async (alice, bob) => {
    await alice.messages.handoff(bob.host.peerId, 'test', say('welcome'))
    await alice.messages.handoff(bob.host.peerId, 'nobody', say('lost'))
    await alice.messages.send(bob.host.peerId, say('after'), { until: 'delivered' })
    assert.equal(taken, [`${alice.host.peerId} welcome true`])
    assert.equal(after, ['durable'])
    assert.equal(await bob.store.get('taken', 'welcome'), say('welcome'))
    assert.equal(await texts(bob), ['after'])
    assert.is((await alice.messages.outbox()).length, 1, 'handoffs are not the agent’s messages')
    assert.is(await codeOf(alice.messages.handoff(bob.host.peerId, '', say('x'))), 'USAGE_ARGUMENT')
  })
})

test('a peer that lost everything but its key is written to again, through a new session', async () => {
  const alice = await startDirect('alice', open)
  let bob = await startDirect('bob', open)
  try {
    await introduce(alice, bob)
    await alice.messages.send(bob.host.peerId, say('one'), { until: 'delivered' })
    await bob.messages.send(alice.host.peerId, say('two'), { until: 'delivered' })
    await bob.stop()
    bob = await startDirect('bob', open)
    await introduce(alice, bob)
    await alice.messages.send(bob.host.peerId, say('three'), { until: 'queued' })
    // Bob never heard of messages before it, so the first waits for them; it is not lost.
    await until(
      'decrypted',
      async () => (await alice.messages.outbox()).every(({ state }) => state === 'delivered'),
      20_000,
    )
  } finally {
    await alice.stop()
    await bob.stop()
  }
})

test('a store that fails loses nothing: the sender keeps it and sends it again', async () => {
  const inner = memoryStore()
  let failing = false
  const store: typeof inner = {
    get: (table, key) => inner.get(table, key),
    rows: (table, range) => inner.rows(table, range),
    keys: (table, range) => inner.keys(table, range),
    close: () => inner.close(),
    commit: (ops) =>
      failing
        ? Promise.reject(new ConclaveError('STORE_FULL', 'the disk is full'))
        : inner.commit(ops),
  }
  await withNodes([{}, { open: true, store }], async (alice, bob) => {
    await alice.messages.send(bob.host.peerId, say('one'), { until: 'delivered' })
    failing = true
    await alice.messages.send(bob.host.peerId, say('two'), { until: 'queued' })
    await until('busy', async () =>
      (await alice.messages.outbox()).some(({ lastError }) => lastError === 'LIMIT_RATE'),
    )
    assert.is(
      await codeOf(bob.messages.send(alice.host.peerId, say('x'), { until: 'queued' })),
      'STORE_FULL',
    )
    failing = false
    await until('delivered', async () => (await texts(bob)).length === 2, 20_000)
    assert.equal(await texts(bob), ['one', 'two'])
    await bob.messages.send(alice.host.peerId, say('three'), { until: 'queued' })
    await until('received', async () => (await texts(alice)).length === 1)
    assert.equal(await texts(alice), ['three'])
  })
})

test.run()
