// Nodes with direct messages and groups over real hosts on loopback, that can be stopped and started on the same rows.
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { utf8 } from '../../protocols/base/bytes.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { makeGroupService } from '../../src/node/group-service.ts'
import { Groups } from '../../src/node/groups.ts'
import type { GroupService } from '../../src/node/types.ts'
import { introduce, SEEDS, startDirect } from './direct-node.ts'
import type { DirectNode, DirectNodeOptions } from './direct-node.ts'
import type { Name } from './hosts.ts'

/** A node under test. */
export interface GroupNode extends DirectNode {
  readonly groups: GroupService
}

/** Starts a node; its store is in memory unless one is given. */
export async function startGroups(name: Name, options: DirectNodeOptions = {}): Promise<GroupNode> {
  let groups: Groups | undefined
  const node = await startDirect(name, {
    ...options,
    prepare: async (direct, { host, store, events }) => {
      groups = await Groups.open({
        host,
        store,
        direct,
        primitives: native,
        random: randomBytes,
        now: () => toTimeMs(Date.now()),
        events,
        secret: new Uint8Array(32).fill(SEEDS[name]),
        open: options.open ?? false,
        regressed: options.regressed ?? false,
      })
    },
  })
  if (groups === undefined) throw new Error('prepare was not called')
  const running = groups
  await running.start()
  const service = makeGroupService({
    groups: running,
    nameOf: () => Promise.resolve(null),
    befriend: async (peer) => {
      await node.contacts.add(peer)
    },
  })
  const stop = async (): Promise<void> => {
    await running.close()
    await node.stop()
  }
  return { ...node, groups: service, stop }
}

/** Texts of a group's messages that were not read yet. */
export async function groupTexts(
  node: GroupNode,
  groupId: string,
): Promise<(string | undefined)[]> {
  return (await node.groups.read(groupId)).map(({ text }) => text)
}

/** Sends text to a group. */
export async function speak(node: GroupNode, groupId: string, text: string): Promise<string> {
  const body: Bytes = utf8(text)
  return (await node.groups.send(groupId, body)).id
}

/** Nodes that are stopped and started on their own stores. */
export class GroupCast {
  readonly #rows = new Map<Name, GroupNode['rows']>()
  readonly #up = new Map<Name, GroupNode>()

  /** Starts those that are not up, each on the rows that it left, and connects all. */
  async start(...names: readonly Name[]): Promise<GroupNode[]> {
    for (const name of names) {
      if (this.#up.has(name)) continue
      const rows = this.#rows.get(name)
      const node = await startGroups(name, rows === undefined ? {} : { rows })
      this.#rows.set(name, node.rows)
      this.#up.set(name, node)
    }
    const all = [...this.#up.values()]
    await introduce(...all)
    for (const one of all) {
      for (const other of all) {
        if (one !== other) await one.host.connect(other.host.peerId).catch(() => undefined)
      }
    }
    return names.map((name) => this.get(name))
  }

  /** One that is up. */
  get(name: Name): GroupNode {
    const node = this.#up.get(name)
    assert.ok(node, name)
    return node
  }

  /** Stops nodes; their rows stay. */
  async stop(...names: readonly Name[]): Promise<void> {
    for (const name of names) {
      await this.#up.get(name)?.stop()
      this.#up.delete(name)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(...this.#up.keys())
  }
}

/** Alice founds a group, and Bob and Carol are in it. */
export async function threeInGroup(
  cast: GroupCast,
): Promise<{ alice: GroupNode; bob: GroupNode; carol: GroupNode; groupId: string }> {
  const [alice, bob, carol] = await cast.start('alice', 'bob', 'carol')
  assert.ok(alice && bob && carol)
  for (const node of [bob, carol]) await node.contacts.add(alice.host.peerId)
  const { groupId } = await alice.groups.create('ops')
  const others = [bob.host.peerId, carol.host.peerId]
  await alice.groups.invite(groupId, others, { until: 'joined', timeoutMs: 30_000 })
  return { alice, bob, carol, groupId }
}
