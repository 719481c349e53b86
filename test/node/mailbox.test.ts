// Mailboxes over real hosts on loopback: mail reaches who was away when it was sent, and whose sender has gone since,
// whatever one custodian of three does.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { DAY_MS, HOUR_MS, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { verifyBundle } from '../../protocols/direct/prekey-bundle.ts'
import { PREKEY_ROTATION_MS } from '../../protocols/direct/types.ts'
import { parseContactRecord } from '../../protocols/identity/contact-record.ts'
import { parseLease } from '../../protocols/mailbox/lease.ts'
import { LEASE_LIFE_MS } from '../../protocols/mailbox/types.ts'
import { serveMailbox } from '../../src/handlers/mailbox.ts'
import type { Answer } from '../../src/handlers/mailbox.ts'
import { CUSTODY } from '../../src/node/mailbox/box.ts'
import { Custodian } from '../../src/node/mailbox/custodian.ts'
import { signReceipt } from '../../protocols/mailbox/storage-receipt.ts'
import type { DepositRequest } from '../../protocols/mailbox/frames.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { EnvelopeId } from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { introduce, say, SEEDS, startDirect, texts, until } from '../support/direct-node.ts'
import type { DirectNode, DirectNodeOptions } from '../support/direct-node.ts'
import type { Name } from '../support/hosts.ts'
import { memoryStore } from '../support/store.ts'
import type { Store } from '../../src/store/types.ts'

const test = suite('mailbox')

const SERVING = { mailbox: true } as const
const THREE: readonly Name[] = ['rita', 'max', 'mallory']

/** Nodes that are stopped whatever happens. */
class Cast implements AsyncDisposable {
  readonly #nodes = new Set<DirectNode>()

  async start(name: Name, options: DirectNodeOptions = {}): Promise<DirectNode> {
    const node = await startDirect(name, { custodianGoneMs: 500, ...options })
    this.#nodes.add(node)
    return node
  }

  async custodians(names: readonly Name[] = THREE): Promise<DirectNode[]> {
    const all = await Promise.all(names.map((name) => this.start(name, SERVING)))
    await introduce(...all)
    return all
  }

  async stop(...nodes: readonly DirectNode[]): Promise<void> {
    for (const node of nodes) this.#nodes.delete(node)
    await Promise.all(nodes.map((node) => node.stop()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(...this.#nodes)
  }
}

/** Connects a node to custodians. */
async function meet(node: DirectNode, custodians: readonly DirectNode[]): Promise<void> {
  await introduce(node, ...custodians)
  for (const { host } of custodians) await node.host.connect(host.peerId)
}

/** Connects a node to custodians, and waits until they keep its mail and hand out its prekeys. */
async function join(node: DirectNode, custodians: readonly DirectNode[]): Promise<void> {
  await meet(node, custodians)
  for (const { host } of custodians) {
    await until('a custodian', () => node.mailboxes.facts().custodians.includes(host.peerId))
    await until('prekeys with a custodian', async () => {
      const left = await node.prekeys.supply(host.peerId, AbortSignal.timeout(5_000))
      return left.pairs > 0
    })
  }
}

const stored = { until: 'stored', timeoutMs: 20_000 } as const

/** Bob joins and goes; Alice sends while he is away; he comes back. */
async function whileAway(
  cast: Cast,
  custodians: readonly DirectNode[],
  send: (alice: DirectNode, bob: PeerId) => Promise<void>,
): Promise<{ readonly bob: DirectNode; readonly alice: DirectNode }> {
  const bob = await cast.start('bob', { open: true })
  await join(bob, custodians)
  await cast.stop(bob)
  const alice = await cast.start('alice')
  await meet(alice, custodians)
  await send(alice, bob.host.peerId)
  const back = await cast.start('bob', { rows: bob.rows, open: true })
  return { bob: back, alice }
}

test('a first message reaches an agent that is away, after its sender has gone; both learn it', async () => {
  await using cast = new Cast()
  const custodians = await cast.custodians()
  const bob = await cast.start('bob', { open: true })
  await join(bob, custodians)
  await cast.stop(bob)
  const alice = await cast.start('alice')
  await join(alice, custodians)
  const sent = await alice.messages.send(bob.host.peerId, say('while you were away'))
  assert.is(sent.state, 'stored')
  assert.is(sent.via, 'mailbox')
  assert.match(String(sent.copies), /^[23] of 3$/)
  assert.is(sent.degraded, false)
  await cast.stop(alice)
  const back = await cast.start('bob', { rows: bob.rows, open: true })
  await introduce(back, ...custodians)
  await until('the message', async () => (await texts(back)).length > 0)
  assert.equal(await texts(back), ['while you were away'])
  const [message] = await back.messages.inbox()
  assert.is(message?.via, 'mailbox')
  await back.messages.handled([message?.id ?? ''])
  const own = alice.host.peerId
  await until('receipts with custodians', async () => {
    const { notices, ledger } = await back.conversation(own)
    return notices.length === 0 && ledger.postbag.since === undefined
  })
  await cast.stop(back)
  // Bob is gone again: his receipts wait for Alice as her message did for him.
  const again = await cast.start('alice', { rows: alice.rows })
  await introduce(again, ...custodians)
  await until('handled', async () =>
    (await again.logged('state')).some(({ data }) => data['state'] === 'handled'),
  )
  assert.equal(await again.messages.outbox(), [])
})

test('with one custodian it works with one, and says so', async () => {
  await using cast = new Cast()
  const custodians = await cast.custodians(['rita'])
  const { bob } = await whileAway(cast, custodians, async (alice, to) => {
    const sent = await alice.messages.send(to, say('one copy'), stored)
    assert.equal([sent.copies, sent.degraded], ['1 of 1', true])
    const [line] = await alice.messages.outbox()
    assert.equal([line?.state, line?.copies, line?.lastError], ['stored', '1 of 1', null])
  })
  await introduce(bob, ...custodians)
  await until('the message', async () => (await texts(bob)).length > 0)
})

test('one custodian of three is dead: a hundred messages come once and in order', async () => {
  await using cast = new Cast()
  const custodians = await cast.custodians()
  const wanted = Array.from({ length: 100 }, (_, n) => `message ${n}`)
  const bob = await cast.start('bob', { open: true })
  const alice = await cast.start('alice')
  await join(bob, custodians)
  await join(alice, custodians)
  // They know each other: Alice has a queue key, so no stranger's bound is in the way.
  await introduce(alice, bob)
  await bob.contacts.add(alice.host.peerId)
  await alice.messages.send(bob.host.peerId, say('hello'), { until: 'delivered' })
  await until(
    'a queue key',
    async () => (await alice.conversation(bob.host.peerId)).ledger.granted !== undefined,
  )
  await cast.stop(bob)
  await cast.stop(custodians[1]!)
  await Promise.all(wanted.map((text) => alice.messages.send(bob.host.peerId, say(text), stored)))
  await cast.stop(alice)
  const back = await cast.start('bob', { rows: bob.rows, open: true })
  await introduce(back, ...custodians)
  await until('all', async () => (await texts(back)).length > wanted.length, 30_000)
  assert.equal(await texts(back), ['hello', ...wanted])
  assert.ok((await back.messages.inbox()).every(({ gap, late }) => !gap && !late))
  await until(
    'empty boxes',
    async () =>
      (await kept(custodians[0]!, bob.host.peerId)) +
        (await kept(custodians[2]!, bob.host.peerId)) ===
      0,
  )
})

/** Envelopes at a custodian for a recipient. */
async function kept({ store }: DirectNode, recipient: PeerId): Promise<number> {
  let rows = 0
  for await (const _ of store.rows(CUSTODY.envelope, { prefix: `${recipient}/` })) rows += 1
  return rows
}

/** A store that forgets envelopes, and says that it has them. */
function lyingStore(): Store {
  const store = memoryStore()
  const isForgotten = (table: string): boolean =>
    table === CUSTODY.envelope || table === CUSTODY.item
  return {
    get: (table, key) => store.get(table, key),
    rows: (table, range) => store.rows(table, range),
    keys: (table, range) => store.keys(table, range),
    close: () => store.close(),
    commit: (ops) => store.commit(ops.filter(({ table }) => !isForgotten(table))),
  }
}

test('one custodian of three signs and stores nothing: the message comes all the same', async () => {
  await using cast = new Cast()
  const honest = await cast.custodians(['rita', 'max'])
  const liar = await cast.start('mallory', { ...SERVING, store: lyingStore() })
  await introduce(liar, ...honest)
  const custodians = [...honest, liar]
  const { bob } = await whileAway(cast, custodians, async (alice, to) => {
    const { copies } = await alice.messages.send(to, say('two of us keep it'), stored)
    assert.match(String(copies), /^[23] of 3$/)
  })
  await introduce(bob, ...custodians)
  await until('the message', async () => (await texts(bob)).length > 0)
  assert.equal(await texts(bob), ['two of us keep it'])
})

type Forgery = (receipt: Bytes, from: PeerId, request: DepositRequest) => Bytes

const FORGERIES: readonly (readonly [string, Forgery])[] = [
  [
    'with another signature',
    (receipt) => receipt.with(receipt.length - 1, (receipt.at(-1) ?? 0) ^ 1),
  ],
  ['with a longer life', (receipt) => receipt.with(145, 255)],
  [
    'about another envelope',
    (_, __, { recipient, leaseId }) =>
      signReceipt(native, new Uint8Array(32).fill(SEEDS.mallory), {
        custodian: peerOfMallory(),
        recipient,
        leaseId,
        envelopeId: 'f'.repeat(64) as EnvelopeId,
        size: 512,
        storedAt: toTimeMs(Date.now()),
        expiresAt: toTimeMs(Date.now() + 60_000),
      }),
  ],
]

let mallory: PeerId | undefined
function peerOfMallory(): PeerId {
  assert.ok(mallory)
  return mallory
}

test('a forged receipt makes nothing stored', async () => {
  for (const [what, forge] of FORGERIES) {
    await using cast = new Cast()
    const forger = await cast.start('mallory')
    mallory = forger.host.peerId
    const custodian = await Custodian.open({
      store: memoryStore(),
      primitives: native,
      random: randomBytes,
      now: () => toTimeMs(Date.now()),
      peer: mallory,
      secret: new Uint8Array(32).fill(SEEDS.mallory),
    })
    const deposit = custodian.deposit.bind(custodian)
    custodian.deposit = async (from, request): Promise<Answer<Bytes>> => {
      const answer = await deposit(from, request)
      return answer.ok ? { ok: true, value: forge(answer.value, from, request) } : answer
    }
    await serveMailbox(forger.host, custodian, Date.now)
    const bob = await cast.start('bob', { open: true })
    const alice = await cast.start('alice')
    await introduce(alice, bob)
    await alice.messages.send(bob.host.peerId, say('hello'), { until: 'delivered' })
    await meet(bob, [forger])
    await until('a custodian', () => bob.mailboxes.facts().custodians.length === 1)
    await meet(alice, [forger])
    await until('the record', async () => {
      const found = await alice.mailboxes.custodiansOf(bob.host.peerId, AbortSignal.timeout(5_000))
      return found.length === 1
    })
    await cast.stop(bob)
    const sent = await alice.messages.send(bob.host.peerId, say('away'), { timeoutMs: 6_000 })
    assert.is(sent.state, 'queued', what)
    const line = (await alice.messages.outbox()).find(({ id }) => id === sent.id)
    assert.match(String(line?.lastError), /^VERIFY_/, what)
    custodian[Symbol.dispose]()
  }
})

test('strangers fill their share and no more; a contact gets through', async () => {
  await using cast = new Cast()
  const custodians = await cast.custodians(['rita'])
  const bob = await cast.start('bob')
  const alice = await cast.start('alice')
  await join(bob, custodians)
  await meet(alice, custodians)
  await introduce(alice, bob)
  await bob.contacts.add(alice.host.peerId)
  await alice.messages.send(bob.host.peerId, say('hello'), { until: 'delivered' })
  await until(
    'a queue key',
    async () => (await alice.conversation(bob.host.peerId)).ledger.granted !== undefined,
  )
  await cast.stop(bob)
  const carol = await cast.start('carol')
  await meet(carol, custodians)
  for (const n of [1, 2, 3, 4]) {
    const { state } = await carol.messages.send(bob.host.peerId, say(`stranger ${n}`), stored)
    assert.is(state, 'stored')
  }
  const fifth = await carol.messages.send(bob.host.peerId, say('stranger 5'), { timeoutMs: 5_000 })
  assert.is(fifth.state, 'queued')
  const line = (await carol.messages.outbox()).find(({ id }) => id === fifth.id)
  assert.is(line?.lastError, 'MAILBOX_FULL')
  for (const n of [1, 2, 3, 4, 5, 6]) {
    await alice.messages.send(bob.host.peerId, say(`contact ${n}`), stored)
  }
  const back = await cast.start('bob', { rows: bob.rows })
  await introduce(back, ...custodians)
  await until('mail of both', async () => {
    return (
      (await texts(back)).length === 7 &&
      (await back.messages.inbox({ requests: true })).length === 4
    )
  })
})

test('a custodian that is gone is replaced, and mail goes to the new one', async () => {
  await using cast = new Cast()
  const custodians = await cast.custodians()
  const bob = await cast.start('bob', { open: true })
  await join(bob, custodians)
  const [rita] = custodians
  const fresh = await cast.start('carol', SERVING)
  await introduce(fresh, ...custodians.slice(1))
  await cast.stop(rita!)
  await meet(bob, [fresh])
  await until(
    'a replacement',
    () => bob.mailboxes.facts().custodians.includes(fresh.host.peerId),
    60_000,
  )
  assert.not.ok(bob.mailboxes.facts().custodians.includes(rita!.host.peerId))
  assert.is(bob.mailboxes.facts().custodians.length, 3)
})

test('a custodian that takes no prekeys keeps none from the others', async () => {
  await using cast = new Cast()
  const refusing = await cast.start('mallory', SERVING)
  const nothing = (): Promise<undefined> => Promise.resolve(undefined)
  refusing.prekeys.setCustody({
    fetch: nothing,
    publish: nothing,
    supply: nothing,
    record: nothing,
  })
  const bob = await cast.start('bob', { open: true })
  await meet(bob, [refusing])
  await until('a custodian', () => bob.mailboxes.facts().custodians.length === 1)
  await join(bob, await cast.custodians(['rita', 'max']))
})

interface Given {
  readonly bundleSeq: number
  readonly sequence: number
  readonly leaseEnds: number
}

/** What anybody is given of an agent by its custodian, at a time. */
async function givenOf(
  recipient: PeerId,
  asking: DirectNode,
  custodian: DirectNode,
  nowMs: TimeMs,
): Promise<Given> {
  const { prekeys } = asking
  const from = custodian.host.peerId
  const { bundle } = await prekeys.fetchFrom(from, recipient)
  const verified = verifyBundle(native, recipient, bundle, nowMs)
  assert.ok(verified.ok)
  const bytes = await prekeys.fetchRecord(from, recipient, AbortSignal.timeout(5_000))
  const record = parseContactRecord(native, bytes, { peer: recipient, nowMs })
  assert.ok(record.ok)
  const [leaseBytes = new Uint8Array(0)] = record.value.leases
  const lease = parseLease(native, leaseBytes, { recipient, nowMs })
  assert.ok(lease.ok)
  const { bundleSeq } = verified.value
  return { bundleSeq, sequence: record.value.sequence, leaseEnds: lease.value.expiresAt }
}

// mailbox spec.md §4.2: "It renews a lease at half its life"; "It signs a contact record with the leases, … and leaves it
// with its custodians"; "bundle and MLS key packages beside it".
test('a renewed record, bundle or lease reaches the custodian, and is handed out by it', async () => {
  await using cast = new Cast()
  let laterMs = -2 * DAY_MS
  const now = (): TimeMs => toTimeMs(Date.now() + laterMs)
  // The bundle is older than the lease, so that each has its own time.
  const bob = await cast.start('bob', { open: true, now })
  bob.prekeys.setKeyPackages({ supply: () => Promise.resolve(randomBytes(64)) })
  laterMs = 0
  const custodian = await cast.start('rita', { ...SERVING, now })
  await join(bob, [custodian])
  const alice = await cast.start('alice')
  await meet(alice, [custodian, bob])
  const given = (): Promise<Given> => givenOf(bob.host.peerId, alice, custodian, now())
  const becomes = async (what: string, holds: (one: Given) => boolean): Promise<Given> => {
    let last = await given()
    const isThere = async (): Promise<boolean> => {
      if (holds(last)) return true
      // A peer may ask but now and then.
      await new Promise((resolve) => setTimeout(resolve, 2_000))
      last = await given()
      return holds(last)
    }
    await until(what, isThere, 30_000)
    return last
  }
  const first = await given()

  // Whoever comes makes an agent look after its custodians.
  const lookAfterIn = async (ms: number): Promise<void> => {
    laterMs = ms
    await alice.host.disconnect(bob.host.peerId)
    await alice.host.connect(bob.host.peerId)
  }
  const rotationMs = PREKEY_ROTATION_MS - 2 * DAY_MS
  await lookAfterIn(rotationMs - HOUR_MS)
  const second = await becomes('a newer record', ({ sequence }) => sequence > first.sequence)
  assert.is(second.bundleSeq, first.bundleSeq)

  await lookAfterIn(rotationMs + HOUR_MS)
  const { bundleSeq } = await becomes('a newer bundle', (one) => one.bundleSeq > first.bundleSeq)
  assert.equal(await given(), { ...second, bundleSeq })

  await lookAfterIn(LEASE_LIFE_MS / 2)
  const last = await becomes('a later lease', ({ leaseEnds }) => leaseEnds > first.leaseEnds)
  await cast.stop(bob)
  assert.equal(await given(), last)
})

test.run()
