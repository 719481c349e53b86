import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ConclaveHost } from '../../src/host/host.ts'
import type { TopicMessage, Verdict } from '../../src/host/types.ts'
import { rejection, startHost, until, withHosts } from '../support/hosts.ts'

const test = suite('host · pubsub')
const TOPIC = 'conclave/test'

// Alice and Carol share no transport: whatever Carol hears went through Bob.
async function inLine(
  use: (alice: ConclaveHost, bob: ConclaveHost, carol: ConclaveHost) => Promise<void>,
): Promise<void> {
  const starting = [
    startHost('alice'),
    startHost('bob', {
      transports: ['tcp', 'memory'],
      listen: ['/ip4/127.0.0.1/tcp/0', '/memory/pubsub-bob'],
    }),
    startHost('carol', { transports: ['memory'], listen: ['/memory/pubsub-carol'] }),
  ]
  await withHosts(starting, async (alice, bob, carol) => {
    for (const host of [alice, carol]) {
      await host.addAddresses(bob.peerId, bob.addresses())
      await host.connect(bob.peerId)
    }
    await use(alice, bob, carol)
  })
}

async function subscribed(from: ConclaveHost, count: number): Promise<void> {
  await until('subscriptions known', () => from.pubsub.subscribers(TOPIC).length >= count)
  // The mesh forms with the next heartbeat.
  await new Promise((resolve) => setTimeout(resolve, 1_200))
}

test('a message is judged before it travels on: only what Bob accepts reaches Carol', async () => {
  await inLine(async (alice, bob, carol) => {
    const heard: TopicMessage[] = []
    const verdicts: Record<number, Verdict> = { 1: 'accept', 2: 'ignore', 3: 'reject', 4: 'accept' }
    let judgedCount = 0
    alice.pubsub.subscribe(TOPIC, () => 'accept')
    bob.pubsub.subscribe(TOPIC, async ({ data, from }) => {
      assert.is(from, alice.peerId)
      judgedCount += 1
      await new Promise((resolve) => setTimeout(resolve, 20))
      return verdicts[data[0] ?? 0] ?? 'reject'
    })
    carol.pubsub.subscribe(TOPIC, (message) => {
      heard.push(message)
      return 'accept'
    })
    await subscribed(alice, 1)
    await subscribed(bob, 2)
    for (const number of [1, 2, 3, 4]) {
      assert.is(await alice.pubsub.publish(TOPIC, Uint8Array.of(number)), 1)
      await until('judged', () => judgedCount === number)
    }
    await until('heard', () => heard.length === 2)
    assert.equal(
      heard.map(({ data }) => data[0]),
      [1, 4],
    )
    assert.ok(
      heard.every(({ from, data }) => from === bob.peerId && data.constructor === Uint8Array),
    )
  })
})

test('a neighbour whose messages are rejected is soon no longer heard', async () => {
  await inLine(async (alice, bob) => {
    let judgedCount = 0
    alice.pubsub.subscribe(TOPIC, () => 'accept')
    bob.pubsub.subscribe(TOPIC, () => {
      judgedCount += 1
      return 'reject'
    })
    await subscribed(alice, 1)
    let sentCount = 0
    const send = async (): Promise<void> => {
      await alice.pubsub.publish(TOPIC, Uint8Array.of(sentCount++))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await until('no longer heard', async () => {
      await send()
      return sentCount > judgedCount + 10
    })
    assert.ok(judgedCount >= 3, `${judgedCount} were looked at`)
  })
})

test('a validator that throws drops the message and harms nobody', async () => {
  await inLine(async (alice, bob) => {
    let judgedCount = 0
    alice.pubsub.subscribe(TOPIC, () => 'accept')
    bob.pubsub.subscribe(TOPIC, () => {
      judgedCount += 1
      throw new Error('bad day')
    })
    await subscribed(alice, 1)
    for (let i = 0; i < 5; i++) await alice.pubsub.publish(TOPIC, Uint8Array.of(i))
    await until('all judged', () => judgedCount === 5)
  })
})

test('the same bytes travel once; too many are the publisher’s mistake; nobody there is none', async () => {
  await withHosts([startHost('alice')], async (alice) => {
    assert.is(await alice.pubsub.publish('conclave/g/x', Uint8Array.of(1)), 0)
    assert.is(await alice.pubsub.publish('conclave/g/x', Uint8Array.of(1)), 0)
    const error = await rejection(alice.pubsub.publish(TOPIC, new Uint8Array(512 * 1024 + 1)))
    assert.is(error.code, 'USAGE_ARGUMENT')
  })
})

test('an unsubscribed topic is silent, and can be subscribed again', async () => {
  await inLine(async (alice, bob) => {
    let heardCount = 0
    const hear = (): Verdict => {
      heardCount += 1
      return 'accept'
    }
    alice.pubsub.subscribe(TOPIC, () => 'accept')
    bob.pubsub.subscribe(TOPIC, hear)
    await subscribed(alice, 1)
    bob.pubsub.unsubscribe(TOPIC)
    await until('known', () => alice.pubsub.subscribers(TOPIC).length === 0)
    await alice.pubsub.publish(TOPIC, Uint8Array.of(1))
    await new Promise((resolve) => setTimeout(resolve, 200))
    assert.is(heardCount, 0)
    bob.pubsub.subscribe(TOPIC, hear)
    await subscribed(alice, 1)
    await alice.pubsub.publish(TOPIC, Uint8Array.of(2))
    await until('heard', () => heardCount === 1)
  })
})

test.run()
