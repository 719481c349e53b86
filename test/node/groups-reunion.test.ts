// Groups of real nodes on loopback that come together again after a fork that no held epoch bridges.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../support/direct-node.ts'
import { GroupCast, groupTexts, speak, threeInGroup } from '../support/group-node.ts'
import type { GroupNode } from '../support/group-node.ts'

const test = suite('node · groups reunion')

/** More than the epochs that are held. */
const APART_EPOCHS = 10

test('sides that were apart for more epochs than are held come together, and what was said reaches everybody', async () => {
  await using cast = new GroupCast()
  const { carol, groupId } = await threeInGroup(cast)
  await cast.stop('alice', 'bob')
  for (let i = 0; i < APART_EPOCHS; i++) await carol.groups.rekey(groupId)
  await speak(carol, groupId, 'from the side that lost')
  await cast.stop('carol')
  const side = await cast.start('alice', 'bob')
  for (let i = 0; i < APART_EPOCHS; i++) await side[0]?.groups.rekey(groupId)
  await speak(cast.get('alice'), groupId, 'from the side that won')
  await cast.start('carol')
  const all = (['alice', 'bob', 'carol'] as const).map((name) => cast.get(name))
  await until(
    'all hold one epoch',
    async () => {
      const infos = await Promise.all(all.map((node) => node.groups.info(groupId)))
      return new Set(infos.map(({ authenticator }) => authenticator)).size === 1
    },
    60_000,
  )
  const heard = new Map<GroupNode, Set<string | undefined>>(all.map((node) => [node, new Set()]))
  const wanted = (node: GroupNode): string[] => [
    ...(node === cast.get('alice') ? [] : ['from the side that won']),
    ...(node === cast.get('carol') ? [] : ['from the side that lost']),
  ]
  await until(
    'everybody has read both',
    async () => {
      for (const node of all) {
        for (const text of await groupTexts(node, groupId)) heard.get(node)?.add(text)
      }
      return all.every((node) => wanted(node).every((text) => heard.get(node)?.has(text)))
    },
    90_000,
  )
})

test('a branch is heard of from whoever was added on it, though who added it is away', async () => {
  await using cast = new GroupCast()
  const { alice, carol, groupId } = await threeInGroup(cast)
  await alice.groups.setRole(groupId, carol.host.peerId, 'admin')
  await until('Carol is an admin', async () => {
    const { members } = await carol.groups.info(groupId)
    return members.some(({ peerId, role }) => peerId === carol.host.peerId && role === 'admin')
  })
  await cast.stop('bob', 'carol')
  const [rita] = await cast.start('rita')
  assert.ok(rita)
  await rita.contacts.add(alice.host.peerId)
  const joined = { until: 'joined', timeoutMs: 30_000 } as const
  await alice.groups.invite(groupId, [rita.host.peerId], joined)
  // She shows them to those who do not know her yet.
  await until('Rita has the records before her own', async () => {
    const { pending } = await rita.groups.info(groupId)
    return !pending.some((one) => one.startsWith('records before'))
  })
  await cast.stop('alice', 'rita')
  for (const node of await cast.start('bob', 'carol')) await node.groups.rekey(groupId)
  await cast.start('rita')
  const lost = `add ${rita.host.peerId}: lost with its branch`
  await until(
    'Carol knows whom her branch lacks',
    async () => (await cast.get('carol').groups.info(groupId)).pending.includes(lost),
    60_000,
  )
  await until(
    'Rita knows that she waits',
    async () => {
      const { pending } = await cast.get('rita').groups.info(groupId)
      return pending.includes('not on the selected branch: waiting to be added again')
    },
    60_000,
  )
})

test.run()
