// The main job, end to end: three processes, one of which is the bootstrap peer.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Bench, until } from '../support/cli.ts'

const test = suite('e2e · mesh')

test('three nodes join, message, form a group, remove a member, and carry on after SIGKILL', async () => {
  await using bench = new Bench()
  const alice = await bench.start('alice')
  const bob = await bench.start('bob', '--bootstrap', alice.ticket)
  const carol = await bench.start('carol', '--bootstrap', alice.ticket)

  // Bob and Carol know only Alice's ticket, and find each other by peer ID alone.
  const [sent] = await bob.run('contact', 'add', carol.peerId, '--name', 'carol')
  assert.is(sent?.['peerId'], carol.peerId)
  await carol.run('contact', 'add', bob.peerId, '--name', 'bob')
  const [direct] = await bob.run('send', 'carol', 'build is green', '--until', 'delivered')
  assert.is(direct?.['state'], 'delivered')
  assert.is(direct?.['via'], 'direct')
  const [arrived] = await carol.run('inbox')
  assert.is(arrived?.['text'], 'build is green')
  assert.is(arrived?.['id'], direct?.['id'])
  assert.is(arrived?.['name'], 'bob')
  await carol.run('handled', String(arrived?.['id']))
  await until('Bob learns that it was handled', async () => (await bob.run('outbox')).length === 0)
  assert.equal(await carol.run('inbox'), [])

  // A group of three; each one's message reaches the others.
  await alice.run('contact', 'add', bob.peerId, '--name', 'bob')
  await alice.run('contact', 'add', carol.peerId, '--name', 'carol')
  await bob.run('contact', 'add', alice.peerId)
  await carol.run('contact', 'add', alice.peerId)
  await alice.run('group', 'create', 'ops')
  const [invited] = await alice.run('group', 'invite', 'ops', 'bob', 'carol', '--until', 'joined')
  assert.equal(new Set(invited?.['added'] as string[]), new Set([bob.peerId, carol.peerId]))
  const nodes = [alice, bob, carol]
  for (const node of nodes) await node.run('group', 'send', 'ops', `hello from ${node.peerId}`)
  for (const node of nodes) {
    const heard = new Set<unknown>()
    await until('the others are heard', async () => {
      for (const line of await node.run('group', 'read', 'ops')) heard.add(line['text'])
      return heard.size === 2
    })
    assert.not(heard.has(`hello from ${node.peerId}`))
  }

  // Removed stays removed: Carol reads nothing that is said afterwards.
  await alice.run('group', 'remove', 'ops', 'carol')
  await until('Bob follows the removal', async () => {
    const [info] = await bob.run('group', 'info', 'ops')
    return (info?.['members'] as unknown[]).length === 2
  })
  await alice.run('group', 'send', 'ops', 'after the removal')
  await until('Bob reads on', async () => {
    const lines = await bob.run('group', 'read', 'ops')
    return lines.some((line) => line['text'] === 'after the removal')
  })
  const leftover = await carol.try(['group', 'read', 'ops', '--all'])
  assert.not(leftover.stdout.includes('after the removal'))

  // SIGKILL, then the same home: same peer ID, same addresses, conversations where they were.
  await bob.end('SIGKILL')
  const queued = await carol.run('send', 'bob', 'call me', '--until', 'queued')
  assert.is(queued[0]?.['state'], 'queued')
  const again = await bench.start('bob', '--bootstrap', alice.ticket)
  assert.is(again.peerId, bob.peerId)
  assert.equal(again.ready['addresses'], bob.ready['addresses'])
  await until('the message that waited arrives', async () => {
    const lines = await again.run('inbox')
    return lines.length === 1 && lines[0]?.['text'] === 'call me'
  })
  const [back] = await again.run('send', 'carol', 'here I am', '--until', 'delivered')
  assert.is(back?.['state'], 'delivered')
  await alice.run('group', 'send', 'ops', 'welcome back')
  await until('the group goes on', async () => {
    const lines = await again.run('group', 'read', 'ops')
    return lines.some((line) => line['text'] === 'welcome back')
  })
  assert.is(await again.end(), 0)
})

test.run()
