// Groups of three nodes over real hosts on loopback: found, join, talk, change, be away, leave.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { introduce, until } from '../support/direct-node.ts'
import type { DirectNodeOptions } from '../support/direct-node.ts'
import { groupTexts, speak, startGroups } from '../support/group-node.ts'
import type { GroupNode } from '../support/group-node.ts'
import type { Name } from '../support/hosts.ts'
import { rejects } from '../support/rejects.ts'

const test = suite('node · groups')

const CAST: readonly Name[] = ['alice', 'bob', 'carol']

async function withCast(
  use: (alice: GroupNode, bob: GroupNode, carol: GroupNode) => Promise<void>,
  options: Partial<Record<Name, DirectNodeOptions>> = {},
): Promise<void> {
  const nodes: GroupNode[] = []
  try {
    for (const name of CAST) nodes.push(await startGroups(name, options[name]))
    await introduce(...nodes)
    const [alice, bob, carol] = nodes as [GroupNode, GroupNode, GroupNode]
    for (const node of [bob, carol]) await node.contacts.add(alice.host.peerId)
    await use(alice, bob, carol)
  } finally {
    await Promise.all(nodes.map((node) => node.stop().catch(() => undefined)))
  }
}

async function together(alice: GroupNode, others: readonly GroupNode[]): Promise<string> {
  const { groupId } = await alice.groups.create('ops')
  await alice.groups.invite(
    groupId,
    others.map(({ host }) => host.peerId),
    { until: 'joined', timeoutMs: 30_000 },
  )
  return groupId
}

async function agree(groupId: string, nodes: readonly GroupNode[]): Promise<void> {
  const seen = async (): Promise<string[]> => {
    const infos = await Promise.all(nodes.map((node) => node.groups.info(groupId)))
    return infos.map(({ authenticator }) => authenticator)
  }
  await until('all are in one epoch', async () => new Set(await seen()).size === 1)
}

test('three in a group hear each other, and hold one epoch', async () => {
  await withCast(async (alice, bob, carol) => {
    const groupId = await together(alice, [bob, carol])
    await agree(groupId, [alice, bob, carol])
    for (const node of [alice, bob, carol]) await speak(node, groupId, node.host.peerId)
    for (const node of [alice, bob, carol]) {
      const heard: (string | undefined)[] = []
      await until('two messages', async () => {
        heard.push(...(await groupTexts(node, groupId)))
        return heard.length >= 2
      })
      const others = [alice, bob, carol].filter((one) => one !== node)
      assert.equal(heard.sort(), others.map(({ host }) => host.peerId as string).sort())
    }
  })
})

test('a removed member reads nothing newer, and says so', async () => {
  await withCast(async (alice, bob, carol) => {
    const groupId = await together(alice, [bob, carol])
    await alice.groups.remove(groupId, [carol.host.peerId])
    await agree(groupId, [alice, bob])
    await speak(alice, groupId, 'without carol')
    await until('bob reads', async () => (await groupTexts(bob, groupId)).includes('without carol'))
    await until('carol knows', async () => (await carol.groups.list()).length === 0)
    assert.equal(await groupTexts(carol, groupId), [])
    await rejects(speak(carol, groupId, 'still here?'), 'GROUP_NOT_MEMBER')
  })
})

test('who was away catches up, in order, over changes of key and of roster', async () => {
  await withCast(async (alice, bob, carol) => {
    const groupId = await together(alice, [bob, carol])
    const rows = carol.rows
    await carol.stop()
    for (let i = 0; i < 4; i++) await speak(alice, groupId, `a${i}`)
    await bob.groups.rekey(groupId)
    for (let i = 4; i < 8; i++) await speak(alice, groupId, `a${i}`)
    await alice.groups.rekey(groupId)
    for (let i = 8; i < 12; i++) await speak(alice, groupId, `a${i}`)
    const again = await startGroups('carol', { rows })
    try {
      await introduce(again, alice, bob)
      await again.host.connect(alice.host.peerId)
      const heard: (string | undefined)[] = []
      await until('all twelve', async () => {
        heard.push(...(await groupTexts(again, groupId)))
        return heard.length >= 12
      })
      assert.equal(
        heard,
        Array.from({ length: 12 }, (_, i) => `a${i}`),
      )
      await agree(groupId, [alice, bob, again])
      await speak(again, groupId, 'back')
      await until('bob hears', async () => (await groupTexts(bob, groupId)).includes('back'))
    } finally {
      await again.stop()
    }
  })
})

test('changes made at the same time all come about, in one epoch', async () => {
  await withCast(async (alice, bob, carol) => {
    const groupId = await together(alice, [bob, carol])
    await alice.groups.setRole(groupId, bob.host.peerId, 'admin')
    await agree(groupId, [alice, bob, carol])
    await Promise.all([
      alice.groups.rekey(groupId),
      bob.groups.setRole(groupId, carol.host.peerId, 'admin'),
      carol.groups.rekey(groupId),
    ])
    await agree(groupId, [alice, bob, carol])
    await until('carol is an admin', async () => {
      const { members } = await alice.groups.info(groupId)
      return members.filter(({ role }) => role === 'admin').length === 3
    })
    await speak(carol, groupId, 'one group')
    for (const node of [alice, bob]) {
      await until('heard', async () => (await groupTexts(node, groupId)).includes('one group'))
    }
  })
})

test('members may not do what admins may; the last admin stays', async () => {
  await withCast(async (alice, bob, carol) => {
    const groupId = await together(alice, [bob])
    await rejects(bob.groups.invite(groupId, [carol.host.peerId]), 'GROUP_NOT_ADMIN')
    await rejects(bob.groups.remove(groupId, [alice.host.peerId]), 'GROUP_NOT_ADMIN')
    await rejects(alice.groups.leave(groupId), 'GROUP_LAST_ADMIN')
    await rejects(alice.groups.setRole(groupId, alice.host.peerId, 'member'), 'GROUP_LAST_ADMIN')
    await rejects(alice.groups.create('ops'), 'GROUP_NAME_TAKEN')
  })
})

test('who leaves is gone once another has executed it, and may be invited again', async () => {
  await withCast(async (alice, bob, carol) => {
    const groupId = await together(alice, [bob, carol])
    await bob.groups.leave(groupId)
    assert.equal(await bob.groups.list(), [])
    await until('two are left', async () => {
      const { members } = await alice.groups.info(groupId)
      return members.length === 2
    })
    await agree(groupId, [alice, carol])
    await alice.groups.invite(groupId, [bob.host.peerId], { until: 'joined', timeoutMs: 30_000 })
    await agree(groupId, [alice, bob, carol])
    await speak(bob, groupId, 'back again')
    await until('heard', async () => (await groupTexts(carol, groupId)).includes('back again'))
  })
})

test('a contact that is away is invited with a key package from earlier, and joins once it is back', async () => {
  await withCast(async (alice, bob) => {
    await alice.contacts.add(bob.host.peerId)
    await alice.host.connect(bob.host.peerId)
    await until('one is in reserve', () =>
      [...alice.rows.keys()].some((key) => key.includes('spare')),
    )
    const { rows } = bob
    await bob.stop()
    const { groupId } = await alice.groups.create('ops')
    const { added } = await alice.groups.invite(groupId, [bob.host.peerId])
    assert.equal(added, [bob.host.peerId])
    const again = await startGroups('bob', { rows })
    try {
      await introduce(alice, again)
      await again.host.connect(alice.host.peerId)
      await until('he is in', async () => (await again.groups.list()).length === 1)
      await agree(groupId, [alice, again])
    } finally {
      await again.stop()
    }
  })
})

test('where one peer is out of reach nobody is invited, and the error names it', async () => {
  await withCast(async (alice, bob, carol) => {
    await carol.stop()
    const { groupId } = await alice.groups.create('ops')
    const both = [bob.host.peerId, carol.host.peerId]
    const { message, data } = await rejects(
      alice.groups.invite(groupId, both),
      'NETWORK_UNREACHABLE',
    )
    assert.match(`${message} ${JSON.stringify(data)}`, carol.host.peerId)
    assert.not.match(`${message} ${JSON.stringify(data)}`, bob.host.peerId)
    const { epoch, pending } = await alice.groups.info(groupId)
    assert.equal([epoch, pending], [0, []])
    await alice.groups.invite(groupId, [bob.host.peerId], { until: 'joined', timeoutMs: 30_000 })
  })
})

test('the invitation of a stranger waits for the agent', async () => {
  await withCast(async (alice, bob) => {
    await bob.contacts.remove(alice.host.peerId)
    const { groupId } = await alice.groups.create('strangers')
    await alice.groups.invite(groupId, [bob.host.peerId])
    await until('it waits', async () => (await bob.groups.invitations()).length === 1)
    assert.equal(await bob.groups.list(), [])
    const joined = await bob.groups.join(groupId)
    assert.is(joined.name, 'strangers')
    await agree(groupId, [alice, bob])
  })
})

test('after a restored backup a member speaks under fresh keys and numbers, and is heard', async () => {
  await withCast(async (alice, bob, carol) => {
    const groupId = await together(alice, [bob, carol])
    await agree(groupId, [alice, bob, carol])
    const backup = new Map(bob.rows)
    await speak(bob, groupId, 'not in the backup')
    await until('heard', async () => (await groupTexts(alice, groupId)).length === 1)
    await bob.stop()
    const again = await startGroups('bob', { rows: backup, regressed: true })
    try {
      await introduce(again, alice, carol)
      await again.host.connect(alice.host.peerId)
      await speak(again, groupId, 'restored')
      await until('heard once more', async () =>
        (await groupTexts(alice, groupId)).includes('restored'),
      )
      await agree(groupId, [alice, again, carol])
    } finally {
      await again.stop()
    }
  })
})

test.run()
