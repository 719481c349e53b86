// When and with whom groups are synced: on connecting to a member, when something is missing, and now and then
// (group spec.md §3.7). Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { HOUR_MS, SECOND_MS } from '../../protocols/base/time.ts'
import {
  accessOf,
  isShownBy,
  partnersOf,
  provenBy,
  recordsToShow,
} from '../../protocols/group/access.ts'
import type { Farewell } from '../../protocols/group/access.ts'
import { recordsBeyond } from '../../protocols/group/chain.ts'
import { reachesBack } from '../../protocols/group/history.ts'
import { frameIdOf, openFrame, readFrameHead } from '../../protocols/group/frame.ts'
import { EVERYTHING, printOf } from '../../protocols/group/sync-frames.ts'
import { generationsFor } from '../../protocols/group/resync.ts'
import type { SyncHello, SyncInfo } from '../../protocols/group/sync-frames.ts'
import { FRAME_FUTURE_HOURS_MAX, SYNC_KNOWN_MAX } from '../../protocols/group/types.ts'
import type { CommitId, RecordEntry } from '../../protocols/group/types.ts'
import type { GroupSyncClient, SyncSink } from '../handlers/group-sync/client.ts'
import type { SyncSource } from '../handlers/group-sync/server.ts'
import type { Host } from '../host/types.ts'
import type { Store } from '../store/types.ts'
import { GROUP_TABLES } from './group-rows.ts'
import type { RunningGroup } from './running-group.ts'

/* Implementation constants: ours to tune. */
/** Syncs with a random member come this often, give or take half. */
export const SYNC_INTERVAL_MS: number = 30 * SECOND_MS
/** What is asked for within this time is one sync. */
const GATHER_MS = 50
/** Pause between two syncs of one group. */
const PAUSE_MS = 50
/** Members asked for an EntryInfo, one after another. */
const INFO_PEERS_MAX = 4
/** Members that are told by a sync that there is something new, and how long after it. */
const NUDGED_MAX = 4
const NUDGE_MS = 100

/** What syncing needs. */
export interface SyncingOptions {
  readonly host: Pick<Host, 'isConnected'>
  readonly sync: GroupSyncClient
  readonly primitives: Primitives
  readonly now: () => number
}

/** What this node holds of a group. */
export function helloOf(primitives: Primitives, group: RunningGroup): SyncHello {
  const { groupId, state, log } = group
  const records = printOf(primitives, state.chain.nodes.keys())
  const frames = log.range(EVERYTHING.from, EVERYTHING.to)
  return {
    groupId,
    tip: state.tip,
    records: records.count,
    recordsPrint: records.print,
    logCount: frames.count,
    logPrint: frames.print,
  }
}

/** Syncs of one group, one at a time. */
export class GroupSyncing {
  readonly #group: RunningGroup
  readonly #options: SyncingOptions
  readonly #wanted = new Set<PeerId>()
  readonly #closing = new AbortController()
  #anyone = false
  #isRunning = false
  #timer: NodeJS.Timeout | undefined
  #nudge: NodeJS.Timeout | undefined

  constructor(group: RunningGroup, options: SyncingOptions) {
    this.#group = group
    this.#options = options
    this.#schedule()
  }

  /** Asks for a sync with this peer, or with any member that is connected. */
  soon(peer?: PeerId): void {
    if (peer === undefined) this.#anyone = true
    else this.#wanted.add(peer)
    if (!this.#isRunning) void this.#run()
  }

  /**
   * A frame went to so many neighbours. While the mesh of a young topic is not grown, members that are connected
   * are not among them: a sync shows them that they lack something, and they fetch it.
   */
  published(neighbours: number): void {
    const near = this.#near()
    if (this.#nudge !== undefined || neighbours >= Math.min(near.length, NUDGED_MAX)) return
    this.#nudge = setTimeout(() => {
      this.#nudge = undefined
      for (const peer of this.#near().slice(0, NUDGED_MAX)) this.soon(peer)
    }, NUDGE_MS)
    this.#nudge.unref()
  }

  /** Asks members that are connected, one after another, for what is needed to enter an epoch from outside. */
  async fetchInfo(commitId: CommitId): Promise<void> {
    const group = this.#group
    const { sync, primitives } = this.#options
    const node = group.state.chain.nodes.get(commitId)
    const near = [...(node?.view.roster.keys() ?? [])].filter((peer) =>
      this.#options.host.isConnected(peer),
    )
    const start = Math.floor(Math.random() * near.length)
    for (const peer of [...near.slice(start), ...near.slice(0, start)].slice(0, INFO_PEERS_MAX)) {
      if (this.#closing.signal.aborted) return
      try {
        const hello = helloOf(primitives, group)
        const info = await sync.info(peer, hello, commitId, this.#closing.signal)
        if (info === undefined) continue
        group.tell({ kind: 'infoHeard', commitId, info })
        return
      } catch {
        // Out of reach, or not there yet: the next one.
      }
    }
  }

  close(): void {
    this.#closing.abort()
    clearTimeout(this.#timer)
    clearTimeout(this.#nudge)
  }

  #near(): PeerId[] {
    return partnersOf(this.#group.state).filter((peer) => this.#options.host.isConnected(peer))
  }

  #schedule(): void {
    const delayMs = SYNC_INTERVAL_MS * (0.5 + Math.random())
    this.#timer = setTimeout(() => {
      this.soon()
      this.#schedule()
    }, delayMs)
    this.#timer.unref()
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    try {
      await pause(GATHER_MS)
      for (let peer = this.#next(); peer !== undefined; peer = this.#next()) {
        await this.#pull(peer)
        await pause(PAUSE_MS)
      }
    } finally {
      this.#isRunning = false
    }
  }

  #next(): PeerId | undefined {
    if (this.#closing.signal.aborted || this.#group.isClosed) return undefined
    const [named] = this.#wanted
    if (named !== undefined) {
      this.#wanted.delete(named)
      this.#anyone = false
      return named
    }
    if (!this.#anyone) return undefined
    this.#anyone = false
    const near = this.#near()
    return near[Math.floor(Math.random() * near.length)]
  }

  async #pull(peer: PeerId): Promise<void> {
    const group = this.#group
    let reached = false
    try {
      await group.dispatch({ kind: 'syncBegan' })
      const sink = makeSink(group, peer, this.#options)
      await this.#options.sync.pull(peer, sink, this.#closing.signal)
      reached = true
    } catch {
      // Out of reach, or not a member there: another one will do, and this one comes again.
    } finally {
      group.tell({ kind: 'syncEnded', reached })
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}

/** True if a tip is one without this member. */
function isOut({ state }: RunningGroup, tip: CommitId): boolean {
  return state.chain.nodes.get(tip)?.view.roster.has(state.self.peer) === false
}

function makeSink(
  group: RunningGroup,
  peer: PeerId,
  { primitives, now }: SyncingOptions,
): SyncSink {
  return {
    groupId: group.groupId,
    hello: () => helloOf(primitives, group),
    range: (from, to) => group.log.range(from, to),
    has: (id) => group.log.has(id),
    known: () => knownOf(group),
    shown: () => recordsToShow(group.state),
    async frames(frames) {
      const latest = Math.floor(now() / HOUR_MS) + FRAME_FUTURE_HOURS_MAX
      await Promise.all(frames.map((frame) => takeFrame(group, primitives, frame, latest)))
    },
    records: (entries) => group.dispatch({ kind: 'recordsHeard', entries }),
    async acks(acks, proofs) {
      const others = notHeld(group, acks)
      if (others.length + proofs.length === 0) return
      await group.dispatch({ kind: 'acksHeard', acks: others, proofs })
    },
    peerAt: (removal) => {
      if (isOut(group, removal)) group.tell({ kind: 'removalHeard', peer, removal })
    },
    missingBodies: () => {
      const { chain } = group.state
      const missing = [...chain.nodes.values()].filter((node) => !node.hasBody)
      return Promise.resolve(missing.map(({ record }) => record.commitId))
    },
    body: (commitId, body) => group.dispatch({ kind: 'bodyHeard', commitId, body }),
  }
}

/** Without the acks that are the newest here already: a sync brings one of each member, and each would be verified. */
function notHeld({ state }: RunningGroup, acks: readonly Bytes[]): Bytes[] {
  const textOf = (ack: Bytes): string => Buffer.from(ack).toString('latin1')
  const held = new Set([...state.acks.values()].map(textOf))
  return acks.filter((ack) => !held.has(textOf(ack)))
}

async function takeFrame(
  group: RunningGroup,
  primitives: Primitives,
  frame: Bytes,
  latestHour: number,
): Promise<void> {
  const head = readFrameHead(frame)
  if (!head.ok || head.value.hour > latestHour) return
  const generation = group.generations().find(({ genTag }) => genTag === head.value.genTag)
  if (generation === undefined) return // of a generation that is not known here yet, or any more
  const content = openFrame(primitives, generation, frame)
  if (!content.ok || group.judge(content.value) !== 'accept') return
  const frameId = frameIdOf(primitives, frame)
  const { hour } = head.value
  await group.dispatch({ kind: 'frameHeard', frameId, hour, frame, content: content.value })
}

/** The tip and its ancestors at growing distances, then the tips of other branches. */
function knownOf({ state }: RunningGroup): CommitId[] {
  const { chain, tip } = state
  // What is before the base is lacking: everything is asked for, once.
  if (!reachesBack(state)) return []
  const known: CommitId[] = []
  let node = chain.nodes.get(tip)
  let distance = 0
  let next = 0
  while (node !== undefined && known.length < SYNC_KNOWN_MAX / 2) {
    if (distance === next) {
      known.push(node.record.commitId)
      next = distance === 0 ? 1 : distance * 2
    }
    distance += 1
    node = chain.nodes.get(node.record.parent)
  }
  for (const id of chain.nodes.keys()) {
    if (known.length >= SYNC_KNOWN_MAX) break
    if (!chain.children.has(id) && !known.includes(id)) known.push(id)
  }
  return known
}

/** What a peer may have of a group: everything as a member, the way to its removal if it was removed. */
export function sourceFor(
  group: RunningGroup,
  peer: PeerId,
  ports: {
    readonly store: Store
    readonly primitives: Primitives
    readonly differs: (peer: PeerId) => void
  },
): SyncSource | 'denied' {
  const access = accessOf(group.state, peer)
  if (access === 'denied') return access
  if (access !== 'everything') return farewellSource(group, access, ports.primitives)
  const { log } = group
  return {
    groupId: group.groupId,
    hello: () => helloOf(ports.primitives, group),
    records: (known) => recordsBeyond(group.state.chain, known).map(withoutBody),
    acks: () => [...group.state.acks.values()],
    proofs: () => [...group.state.proofs.values()],
    info: (commitId) => infoFor(group, peer, commitId),
    range: (from, to) => log.range(from, to),
    keys: (from, to) => log.keys(from, to),
    async frame(id) {
      const key = log.rowKey(id)
      return key === undefined ? undefined : ports.store.get(GROUP_TABLES.frame, key)
    },
    body: (commitId) => group.state.chain.nodes.get(commitId)?.entry.body,
    tree: (treeHash) => group.readTree(treeHash),
    differs: ports.differs,
  }
}

/** Takes the records by which a peer shows that another branch added it. */
export async function takeShown(
  group: RunningGroup,
  primitives: Primitives,
  peer: PeerId,
  shown: readonly RecordEntry[],
): Promise<void> {
  const entries = provenBy(primitives, group.state, peer, shown)
  if (entries.length > 0) await group.dispatch({ kind: 'recordsHeard', entries })
}

/** What a member that comes back from outside is given: of the selected epoch, and only if it is on its roster. */
async function infoFor(
  group: RunningGroup,
  peer: PeerId,
  commitId: CommitId,
): Promise<SyncInfo | undefined> {
  const { state, view } = group
  const epoch = state.held.get(commitId)
  const gen = view.roster.get(peer)
  if (commitId !== state.tip || gen === undefined || epoch === undefined) return undefined
  const groupInfo = await group.groupInfo(commitId)
  if (groupInfo === undefined) return undefined
  const { treeHash, bodyKey } = epoch
  const generations = generationsFor(state, { peer, gen })
  return { groupInfo, treeHash, bodyKey, generations }
}

/** The records by which a peer learns that it is out, and nothing else. */
function farewellSource(
  group: RunningGroup,
  farewell: Farewell,
  primitives: Primitives,
): SyncSource {
  const { chain } = group.state
  const hello = helloOf(primitives, group)
  const empty = printOf(primitives, [])
  return {
    groupId: group.groupId,
    hello: () => ({ ...hello, tip: farewell.until, logCount: 0, logPrint: empty.print }),
    records: (known) =>
      recordsBeyond(chain, known)
        .filter(({ record }) => isShownBy(chain, farewell, record.commitId))
        .map(withoutBody),
    acks: () => [],
    proofs: () => [],
    info: () => Promise.resolve(undefined),
    range: (from, to) => ({ from, to, ...empty }),
    keys: () => [],
    frame: () => Promise.resolve(undefined),
    body: (commitId) => {
      const node = chain.nodes.get(commitId)
      if (node === undefined || !isShownBy(chain, farewell, commitId)) return undefined
      return node.entry.body
    },
    tree: () => Promise.resolve(undefined),
    differs: () => undefined,
  }
}

function withoutBody({ entry }: { readonly entry: RecordEntry }): RecordEntry {
  return { record: entry.record, evidence: entry.evidence }
}
