// A group service whose other agents are a crowd of seeded peers: they hand out key packages and take handoffs, and
// nothing of them is on a network. The group, its engine, its store and its host are real.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import type { MlsEngine, OwnKeyPackage } from '../../protocols/group/mls-engine.ts'
import { JOIN_HANDOFF } from '../../protocols/group/types.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import type { Direct } from '../../src/node/direct.ts'
import { openEventLog } from '../../src/node/events.ts'
import { makeGroupService } from '../../src/node/group-service.ts'
import { Groups } from '../../src/node/groups.ts'
import type { GroupService } from '../../src/node/types.ts'
import { SEEDS } from './direct-node.ts'
import { startHost } from './hosts.ts'
import { seededPeer } from './seeded.ts'
import type { SeededPeer } from './seeded.ts'
import { memoryStore } from './store.ts'

/** A seeded peer and the private half of what it handed out. */
export interface Stranger extends SeededPeer {
  readonly own: OwnKeyPackage
}

/** What the inviter hands over. */
export interface Handoff {
  readonly to: PeerId
  readonly content: Bytes
}

/** The inviter and its crowd. */
export interface Crowd extends AsyncDisposable {
  readonly engine: MlsEngine
  readonly groups: GroupService
  readonly running: Groups
  readonly strangers: readonly Stranger[]
  readonly handoffs: readonly Handoff[]
}

const now = (): TimeMs => toTimeMs(Date.now())

/** Makes an inviter and so many peers that it may invite. */
export async function startCrowd(count: number): Promise<Crowd> {
  const engine = makeMlsEngine({ primitives: native, random: randomBytes })
  const strangers: Stranger[] = []
  for (let i = 0; i < count; i++) {
    const one = seededPeer(`crowd ${i}`)
    strangers.push({ ...one, own: await engine.keyPackage(one, { nowMs: now() }) })
  }
  const handoffs: Handoff[] = []
  const host = await startHost('alice')
  const store = memoryStore()
  const running = await Groups.open({
    host,
    store,
    direct: directTo(strangers, handoffs),
    primitives: native,
    random: randomBytes,
    now,
    events: await openEventLog(store),
    secret: new Uint8Array(32).fill(SEEDS.alice),
    open: false,
    regressed: false,
  })
  await running.start()
  const groups = makeGroupService({
    groups: running,
    nameOf: () => Promise.resolve(null),
    befriend: () => Promise.resolve(),
  })
  const close = async (): Promise<void> => {
    await running.close()
    await host.close()
    await store.close()
  }
  return { engine, groups, running, strangers, handoffs, [Symbol.asyncDispose]: close }
}

/** The parts of direct messages that groups use. */
function directTo(strangers: readonly Stranger[], handoffs: Handoff[]): Direct {
  const known = new Map(strangers.map((one) => [one.peer, one]))
  const parts = {
    prekeys: {
      setKeyPackages: () => undefined,
      fetch: () => Promise.reject(new Error('nobody connects')),
    },
    contacts: { isContact: () => Promise.resolve(false) },
    mailboxes: {
      fetchPrekeys: (peer: PeerId) =>
        Promise.resolve({ keyPackage: known.get(peer)?.own.keyPackage }),
    },
    messages: {
      onHandoff: () => undefined,
      handoff: (to: PeerId, protocol: string, content: Bytes) => {
        if (protocol === JOIN_HANDOFF) handoffs.push({ to, content })
        return Promise.resolve(String(handoffs.length))
      },
    },
  }
  return parts as unknown as Direct
}
