// JoinPackages of real nodes on loopback that come once more: whoever was removed has kept its own, and the key that
// opens it, for a day.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { JOIN_HANDOFF } from '../../protocols/group/types.ts'
import type { GroupId } from '../../protocols/group/types.ts'
import { dropMembership, GROUP_TABLES } from '../../src/node/group-rows.ts'
import type { AgentEvent } from '../../src/node/types.ts'
import { del } from '../../src/store/types.ts'
import { say, texts, until } from '../support/direct-node.ts'
import { GroupCast, groupTexts, speak, threeInGroup } from '../support/group-node.ts'
import type { GroupNode } from '../support/group-node.ts'
import { rejects } from '../support/rejects.ts'
import { memoryStore } from '../support/store.ts'

const test = suite('node · groups replayed')
const joined = { until: 'joined', timeoutMs: 30_000 } as const

/** Alice, Bob and Carol in a group, and the JoinPackage that brought Carol in; Alice has removed her since. */
async function carolRemoved(cast: GroupCast): Promise<{
  readonly alice: GroupNode
  readonly bob: GroupNode
  readonly carol: GroupNode
  readonly groupId: string
  readonly old: Bytes
}> {
  const handed = new Map<PeerId, Bytes>()
  const [alice] = await cast.start('alice')
  assert.ok(alice)
  const handoff = alice.messages.handoff.bind(alice.messages)
  alice.messages.handoff = (to, protocol, content) => {
    if (protocol === JOIN_HANDOFF && !handed.has(to)) handed.set(to, Uint8Array.from(content))
    return handoff(to, protocol, content)
  }
  const { bob, carol, groupId } = await threeInGroup(cast)
  await alice.groups.remove(groupId, [carol.host.peerId])
  await until('Carol knows', async () => (await carol.groups.list()).length === 0)
  const old = handed.get(carol.host.peerId)
  assert.ok(old)
  return { alice, bob, carol, groupId, old }
}

/** Hands Carol a JoinPackage, and waits until she has taken whatever she makes of it. */
async function handOver(from: GroupNode, carol: GroupNode, content: Bytes): Promise<void> {
  await from.messages.handoff(carol.host.peerId, JOIN_HANDOFF, content)
  // Messages of one peer are taken in order, and groups joined as they come.
  const mark = `after a package from ${from.host.peerId}, ${performance.now()}`
  await from.messages.send(carol.host.peerId, say(mark))
  await until('the package is taken', async () => (await texts(carol)).includes(mark))
}

async function hears(node: GroupNode, groupId: string, text: string): Promise<void> {
  await until(
    `${text}: heard`,
    async () => (await groupTexts(node, groupId)).includes(text),
    60_000,
  )
}

/** What a node told its agent of a group. */
async function told(node: GroupNode, groupId: string): Promise<AgentEvent['data'][]> {
  const events = await node.logged('group')
  return events.map(({ data }) => data).filter((data) => data['groupId'] === groupId)
}

test('its own JoinPackage leads a removed member nowhere, and one that is back not into its past', async () => {
  await using cast = new GroupCast()
  const { alice, bob, carol, groupId, old } = await carolRemoved(cast)
  const before = await told(carol, groupId)
  await handOver(alice, carol, old)
  // Of a group that she joins later she is told later.
  const { groupId: another } = await alice.groups.create('another')
  await alice.groups.invite(another, [carol.host.peerId], joined)
  assert.equal(await told(carol, groupId), before)
  assert.equal(await carol.groups.invitations(), [])
  assert.equal(
    (await carol.groups.list()).map((group) => group.groupId),
    [another],
  )

  await alice.groups.invite(groupId, [carol.host.peerId], joined)
  const { epoch } = await carol.groups.info(groupId)
  const soFar = (await told(carol, groupId)).length
  await handOver(alice, carol, old)
  await speak(alice, groupId, 'to who is back')
  await speak(carol, groupId, 'from who is back')
  await hears(carol, groupId, 'to who is back')
  await hears(bob, groupId, 'from who is back')
  const since = (await told(carol, groupId)).slice(soFar)
  assert.ok(since.every((data) => Number(data['epoch']) >= epoch))
})

/** Carol's rows without the group: as though she had never been in it, but with her JoinPackage and its key. */
async function forgetGroup(rows: Map<string, Bytes>, groupId: string): Promise<void> {
  const store = memoryStore(rows)
  const { group, base, plan } = GROUP_TABLES
  const ops = await dropMembership(store, groupId as GroupId, false)
  await store.commit([...ops, ...[group, base, plan].map((table) => del(table, groupId))])
}

test('who has forgotten that it was removed is out again, and nobody has heard it nor told it anything', async () => {
  await using cast = new GroupCast()
  const { alice, bob, groupId, old, ...first } = await carolRemoved(cast)
  await first.carol.contacts.add(bob.host.peerId)
  await cast.stop('carol')
  await forgetGroup(first.carol.rows, groupId)
  await speak(alice, groupId, 'after she was removed')
  const [carol] = await cast.start('carol')
  assert.ok(carol)
  const before = (await told(carol, groupId)).length
  const { epoch, members } = await alice.groups.info(groupId)
  assert.is(members.length, 2)

  await handOver(bob, carol, old)
  assert.equal(await carol.groups.invitations(), [])
  assert.is((await told(carol, groupId)).length, before)

  await handOver(alice, carol, old)
  await until('Carol joins the epoch that she was added in', async () => {
    const since = (await told(carol, groupId)).slice(before)
    return since.some(({ phase }) => phase === 'member')
  })
  await speak(carol, groupId, 'am I here?').catch(() => undefined)
  await until('Carol knows again', async () => (await carol.groups.list()).length === 0)
  await rejects(speak(carol, groupId, 'am I here still?'), 'GROUP_NOT_MEMBER')
  const since = (await told(carol, groupId)).slice(before)
  assert.ok(since.every((data) => Number(data['epoch']) <= epoch))
  assert.equal(await groupTexts(carol, groupId), [])

  await speak(alice, groupId, 'last')
  await hears(bob, groupId, 'last')
  for (const node of [alice, bob]) {
    assert.is((await node.groups.info(groupId)).members.length, 2)
    assert.not((await groupTexts(node, groupId)).some((text) => text?.startsWith('am I')))
  }
})

test.run()
