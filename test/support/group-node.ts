// Nodes with direct messages and groups over real hosts on loopback, that can be stopped and started on the same rows.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { utf8 } from '../../protocols/base/bytes.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { makeGroupService } from '../../src/node/group-service.ts'
import { Groups } from '../../src/node/groups.ts'
import type { GroupService } from '../../src/node/types.ts'
import { SEEDS, startDirect } from './direct-node.ts'
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
