// Mailboxes over real hosts on loopback: mail reaches who was away when it was sent, and whose sender has gone since.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { introduce, say, startDirect, texts, until } from '../support/direct-node.ts'
import type { DirectNode, DirectNodeOptions } from '../support/direct-node.ts'
import type { Name } from '../support/hosts.ts'

const test = suite('mailbox')

/** Nodes that find custodians and replace them quickly. */
function start(name: Name, options: DirectNodeOptions = {}): Promise<DirectNode> {
  return startDirect(name, { custodianGoneMs: 500, ...options })
}

async function withCustodians(
  names: readonly Name[],
  use: (custodians: readonly DirectNode[]) => Promise<void>,
): Promise<void> {
  const custodians = await Promise.all(names.map((name) => start(name, { mailbox: true })))
  try {
    await introduce(...custodians)
    await use(custodians)
  } finally {
    await Promise.all(custodians.map((one) => one.stop()))
  }
}

/** Connects a node to all custodians, and waits until they keep its mail. */
async function join(node: DirectNode, custodians: readonly DirectNode[]): Promise<void> {
  await introduce(node, ...custodians)
  for (const { host } of custodians) await node.host.connect(host.peerId)
  await until('custodians', () => node.mailboxes.facts().custodians.length >= custodians.length)
  for (const { host } of custodians) {
    await until('prekeys with a custodian', async () => {
      const left = await node.prekeys.supply(host.peerId, AbortSignal.timeout(5_000))
      return left.pairs > 0
    })
  }
}

test('a first message reaches an agent that is away, after its sender has gone', () =>
  withCustodians(['rita', 'max', 'mallory'], async (custodians) => {
    const bob = await start('bob', { open: true })
    await join(bob, custodians)
    const { rows } = bob
    const bobId = bob.host.peerId
    await bob.stop()
    const alice = await start('alice')
    await introduce(alice, ...custodians)
    for (const { host } of custodians) await alice.host.connect(host.peerId)
    const sent = await alice.messages.send(bobId, say('while you were away'))
    assert.is(sent.state, 'stored')
    assert.is(sent.via, 'mailbox')
    assert.match(String(sent.copies), /^[23] of 3$/)
    const aliceRows = alice.rows
    await alice.stop()
    const back = await start('bob', { rows, open: true })
    await introduce(back, ...custodians)
    await until('the message', async () => (await texts(back)).length > 0)
    assert.equal(await texts(back), ['while you were away'])
    assert.is((await back.messages.inbox())[0]?.via, 'mailbox')
    const again = await start('alice', { rows: aliceRows })
    await introduce(again, ...custodians)
    await until(
      'the receipt',
      async () => (await again.messages.outbox())[0]?.state === 'delivered',
    )
    await again.stop()
    await back.stop()
  }))

test.run()
