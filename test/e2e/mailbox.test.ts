// Mail for an agent that is away, as a user sees it: real processes, killed and started again in turn.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Bench, until } from '../support/cli.ts'
import type { RunningNode } from '../support/cli.ts'

const test = suite('e2e · mailbox')

async function hasCustodians(node: RunningNode, count: number): Promise<void> {
  await until(`${count} custodians`, async () => {
    const [status] = await node.run('status')
    const { custodians } = status?.['mailbox'] as { custodians: string[] }
    return custodians.length === count
  })
}

test('sender and recipient are never on at the same time, and one custodian of three is killed', async () => {
  await using bench = new Bench()
  const rita = await bench.start('rita', '--mailbox')
  const mesh = ['--bootstrap', rita.ticket]
  const max = await bench.start('max', '--mailbox', ...mesh)
  const mia = await bench.start('mia', '--mailbox', ...mesh)
  const [status] = await rita.run('status')
  assert.is((status?.['mailbox'] as { serving: boolean }).serving, true)

  const know = [...mesh, '--bootstrap', max.ticket, '--bootstrap', mia.ticket]
  const bob = await bench.start('bob', '--open', ...know)
  await hasCustodians(bob, 3)
  // Prekeys and record reach the custodians within moments; then Bob is gone.
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  await bob.end('SIGKILL')

  const alice = await bench.start('alice', ...know)
  await hasCustodians(alice, 3)
  const [sent] = await alice.run('send', bob.peerId, 'first words', '--until', 'stored')
  assert.is(sent?.['state'], 'stored')
  assert.is(sent?.['via'], 'mailbox')
  assert.match(String(sent?.['copies']), /^[23] of 3$/)
  const [line] = await alice.run('outbox')
  assert.equal([line?.['state'], line?.['lastError']], ['stored', null])
  const [why] = await alice.run('why', bob.peerId)
  assert.is(why?.['reachable'], 'mailbox')
  await alice.run('send', bob.peerId, 'second words', '--until', 'stored')
  await alice.end('SIGKILL')
  await max.end('SIGKILL')

  const back = await bench.start('bob', '--open', ...know)
  await until('both messages', async () => (await back.run('inbox')).length === 2)
  const inbox = await back.run('inbox', '--handle')
  assert.equal(
    inbox.map(({ text, via, gap, late }) => [text, via, gap, late]),
    [
      ['first words', 'mailbox', false, false],
      ['second words', 'mailbox', false, false],
    ],
  )
  // Bob's receipts wait for Alice, as her messages did for him.
  await new Promise((resolve) => setTimeout(resolve, 6_000))
  await back.end('SIGKILL')
  const again = await bench.start('alice', ...know)
  await until(
    'Alice learns that both were handled',
    async () => (await again.run('outbox')).length === 0,
  )
})

test('a Welcome waits in the mailbox of who is away, and its inviter may go', async () => {
  await using bench = new Bench()
  const rita = await bench.start('rita', '--mailbox')
  const mesh = ['--bootstrap', rita.ticket]
  const bob = await bench.start('bob', '--open', ...mesh)
  await hasCustodians(bob, 1)
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  await bob.end('SIGKILL')
  const alice = await bench.start('alice', ...mesh)
  await alice.run('group', 'create', 'ops')
  await until('a key package of Bob', async () => {
    const invited = await alice.try(['group', 'invite', 'ops', bob.peerId])
    return invited.code === 0
  })
  await until('Bob is a member', async () => {
    const [info] = await alice.run('group', 'info', 'ops')
    return (info?.['members'] as unknown[]).length === 2
  })
  await new Promise((resolve) => setTimeout(resolve, 8_000))
  await alice.end('SIGKILL')
  const back = await bench.start('bob', '--open', ...mesh)
  await until('Bob is in the group', async () => (await back.run('group', 'list')).length === 1)
  const again = await bench.start('alice', ...mesh)
  await again.run('group', 'send', 'ops', 'welcome')
  await until('Bob reads', async () => {
    const lines = await back.run('group', 'read', 'ops')
    return lines.some(({ text }) => text === 'welcome')
  })
})

test.run()
