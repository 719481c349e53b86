// Groups of this agent: found, join, change, talk. Floor 3. What a group is, its machine decides; here the groups
// meet the host, direct messages and the agent.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError, invariant } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { DAY_MS, SECOND_MS } from '../../protocols/base/time.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import { firstPolicy, foundGroup, makeGenesis } from '../../protocols/group/founding.ts'
import { idBytes, toGroupId } from '../../protocols/group/ids.ts'
import { encodeJoinPackage } from '../../protocols/group/join-package.ts'
import { describeEpoch } from '../../protocols/group/jobs.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import type { Identity, MlsEngine } from '../../protocols/group/mls-engine.ts'
import { encodePolicy, isGroupName } from '../../protocols/group/policy.ts'
import type { GroupEffect, GroupState } from '../../protocols/group/state.ts'
import type { GroupKit, Retention } from '../../protocols/group/turn.ts'
import {
  INLINE_TREE_BYTES_MAX,
  JOIN_ADDRESSES_MAX,
  JOIN_HANDOFF,
} from '../../protocols/group/types.ts'
import type { GroupId } from '../../protocols/group/types.ts'
import { openGossip } from '../handlers/group.ts'
import type { Gossip } from '../handlers/group.ts'
import { makeGroupSyncClient } from '../handlers/group-sync/client.ts'
import type { GroupSyncClient } from '../handlers/group-sync/client.ts'
import { serveGroupSync } from '../handlers/group-sync/server.ts'
import type { SyncServer, SyncSource } from '../handlers/group-sync/server.ts'
import type { Host } from '../host/types.ts'
import type { Op, Store } from '../store/types.ts'
import { watchCatchUp } from './catch-up.ts'
import type { CatchUp } from './catch-up.ts'
import type { Direct } from './direct.ts'
import type { EventLog } from './events.ts'
import { Invitations } from './group-invitations.ts'
import { fetchAdds } from './group-inviting.ts'
import type { InvitingPorts } from './group-inviting.ts'
import { GroupJoining } from './group-joining.ts'
import { openGroupKeys } from './group-keys.ts'
import type { GroupKeys } from './group-keys.ts'
import { Neighbours } from './group-neighbours.ts'
import { groupIds, saveRows, stateRows } from './group-rows.ts'
import { GroupSyncing, sourceFor, takeShown } from './group-syncing.ts'
import { othersOf, RunningGroup } from './running-group.ts'
import type { GroupPorts } from './running-group.ts'
import { SpareKeyPackages } from './spare-key-packages.ts'

/** Pause before a JoinPackage is handed off again, after a failure. */
const RETRY_MS: number = 5 * SECOND_MS

/** How often a key package in reserve is asked of contacts that are connected. */
const MEETING_MS: number = 60 * SECOND_MS

/** What groups are made with. */
export interface GroupsOptions {
  readonly host: Host
  readonly store: Store
  readonly direct: Direct
  readonly primitives: Primitives
  readonly random: (length: number) => Bytes
  readonly now: () => TimeMs
  readonly events: EventLog
  /** Ed25519 seed of the host's peer ID. */
  readonly secret: Bytes
  /** Treat strangers as contacts. */
  readonly open: boolean
  /** The database is older than what this home had seen: keys of its epochs may have been used. */
  readonly regressed: boolean
  /** Keys of past epochs are kept for less than the protocol allows. */
  readonly retention?: Retention
  /** Hears how far a group is that catches up. */
  readonly onCatchUp?: (progress: CatchUp) => void
}

/** All groups of a running node; `group-service.ts` is their face. */
export class Groups {
  readonly options: GroupsOptions
  readonly engine: MlsEngine
  readonly invitations: Invitations
  readonly spares: SpareKeyPackages
  readonly joining: GroupJoining
  readonly #kit: GroupKit
  readonly #self: Identity
  readonly #keys: GroupKeys
  readonly #neighbours: Neighbours
  readonly #running = new Map<GroupId, RunningGroup>()
  readonly #syncing = new Map<GroupId, GroupSyncing>()
  /** Invitations of those whose branch lost. */
  #again: Promise<void> = Promise.resolve()
  readonly #stops: (() => void)[] = []
  readonly #closing = new AbortController()
  readonly #gossip: Gossip
  #sync: GroupSyncClient | undefined

  private constructor(
    options: GroupsOptions,
    parts: {
      engine: MlsEngine
      self: Identity
      keys: GroupKeys
      invitations: Invitations
      spares: SpareKeyPackages
    },
  ) {
    const { host, primitives, secret, now, retention } = options
    this.options = options
    this.engine = parts.engine
    this.invitations = parts.invitations
    this.spares = parts.spares
    this.#self = parts.self
    this.#keys = parts.keys
    this.#kit = { primitives, peer: host.peerId, secret, ...(retention && { retention }) }
    this.#neighbours = new Neighbours(host)
    this.#gossip = openGossip({ host, primitives, now })
    this.joining = new GroupJoining({
      ...parts,
      options,
      kit: this.#kit,
      closing: this.#closing.signal,
      all: () => this.all(),
      get: (groupId) => this.#running.get(groupId),
      begin: (step, extra) => this.#begin(step, extra),
      end: (groupId) => this.#end(groupId),
      sync: () => this.#sync,
    })
  }

  /** Opens the groups; handoffs and KeyPackages are taken and served at once, groups from `start` on. */
  static async open(options: GroupsOptions): Promise<Groups> {
    const { store, primitives, random, secret, host, now, direct } = options
    const engine = makeMlsEngine({ primitives, random })
    const self: Identity = {
      peer: host.peerId,
      sign: (message) => primitives.sign(secret, message),
    }
    const keys = await openGroupKeys({ store, engine, self, now })
    const invitations = await Invitations.open(store)
    const { prekeys, contacts } = direct
    const isContact = (peer: PeerId): Promise<boolean> => contacts.isContact(peer)
    const spares = await SpareKeyPackages.open({ store, engine, prekeys, isContact, now })
    const groups = new Groups(options, { engine, self, keys, invitations, spares })
    direct.prekeys.setKeyPackages(keys)
    direct.messages.onHandoff(JOIN_HANDOFF, (from, content, facts) =>
      groups.joining.take(from, content, facts),
    )
    return groups
  }

  /** Takes up every group, and serves syncs. */
  async start(): Promise<void> {
    const { host, now, store, primitives, regressed } = this.options
    const server: SyncServer = {
      source: (groupId, peer) => this.#sourceFor(groupId, peer),
      shown: async (groupId, peer, entries) => {
        const group = this.#running.get(groupId)
        if (group !== undefined) await takeShown(group, primitives, peer, entries)
      },
    }
    await serveGroupSync(host, server, now)
    this.#sync = makeGroupSyncClient(host)
    for (const groupId of await groupIds(store)) await this.#take(groupId, regressed)
    this.#stops.push(host.onPeer(({ kind, peer }) => kind === 'connected' && this.#met(peer)))
    // Contacts that were added since they connected are met here.
    const meeting = setInterval(() => {
      for (const { peer } of host.connections()) {
        void this.spares.met(peer, this.#closing.signal)
      }
    }, MEETING_MS)
    meeting.unref()
    this.#stops.push(() => clearInterval(meeting))
    const forgetting = setInterval(() => void this.#keys.forget().catch(() => undefined), DAY_MS)
    forgetting.unref()
    this.#stops.push(() => clearInterval(forgetting))
    this.joining.resume()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    for (const stop of this.#stops.splice(0)) stop()
    for (const syncing of this.#syncing.values()) syncing.close()
    await this.joining.idle()
    await Promise.all([...this.#running.values()].map((group) => group.close()))
    this.#neighbours.close()
  }

  /** Groups that there are rows of, those that this agent is out of included. */
  all(): RunningGroup[] {
    return [...this.#running.values()]
  }

  get(groupId: string): RunningGroup | undefined {
    return this.#running.get(groupId as GroupId)
  }

  /** Founds a group with this agent as its admin. */
  async found(name: string): Promise<RunningGroup> {
    if (!isGroupName(name)) {
      throw new ConclaveError('USAGE_ARGUMENT', 'not a name for a group', {
        hint: 'give 1 to 64 characters without control characters',
      })
    }
    const { random, now, host } = this.options
    const groupId = toGroupId(random(32))
    const nowMs = now()
    const policy = firstPolicy(host.peerId, name)
    const handle = await this.engine.create({
      groupId: idBytes(groupId),
      self: this.#self,
      policy: encodePolicy(policy),
      nowMs,
    })
    const { groupInfoHash } = this.engine.info(handle)
    const genesis = makeGenesis(this.#kit, { groupId, policy, groupInfoHash, nowMs })
    const epoch = await describeEpoch(this.engine, handle, genesis.commitId)
    this.engine.dispose(handle)
    const founded = foundGroup(this.#kit, genesis.bytes, epoch, nowMs)
    invariant(founded.ok, 'an own genesis is valid')
    await this.#begin(founded.value, [])
    return this.#demand(groupId)
  }

  async #begin(
    [state, effects]: readonly [GroupState, readonly GroupEffect[]],
    extra: readonly Op[],
  ): Promise<void> {
    const { store, events } = this.options
    const ops = [...extra, ...stateRows(undefined, state)]
    for (const effect of effects) {
      if (effect.kind === 'changed') {
        const { policy, epoch, roster } = nodeOf(state.chain, state.tip).view
        const fact = { groupId: state.groupId, name: policy.name, epoch, members: roster.size }
        ops.push(...events.append('group', { ...fact, phase: state.phase }))
      } else ops.push(...saveRows(state.groupId, effect as Parameters<typeof saveRows>[1]))
    }
    await store.commit(ops)
    events.wake()
    await this.#take(state.groupId)
  }

  async #take(groupId: GroupId, regressed = false): Promise<void> {
    const group = await RunningGroup.open(this.#ports(), groupId, regressed)
    if (group === undefined) return
    const sync = this.#sync
    invariant(sync !== undefined, 'groups run after start')
    const { host, primitives, now, onCatchUp } = this.options
    if (onCatchUp !== undefined) {
      const look = watchCatchUp(onCatchUp, now)
      group.watch(() => look(group.state))
    }
    this.#running.set(groupId, group)
    this.#syncing.set(groupId, new GroupSyncing(group, { host, sync, primitives, now }))
    this.#neighbours.set(groupId, this.#neighboursOf(group))
    this.#syncing.get(groupId)?.soon()
  }

  #ports(): GroupPorts {
    const { store, events, random, now } = this.options
    return {
      store,
      kit: this.#kit,
      engine: this.engine,
      gossip: this.#gossip,
      events,
      random,
      now,
      onChanged: (group) => this.#neighbours.set(group.groupId, this.#neighboursOf(group)),
      wantSync: (group) => this.#syncing.get(group.groupId)?.soon(),
      wantInfo: (group, commitId) => void this.#syncing.get(group.groupId)?.fetchInfo(commitId),
      inviteAgain: (group, peer) => this.#inviteAgain(group, peer),
      onPublished: (group, count) => this.#syncing.get(group.groupId)?.published(count),
      handJoin: (group, effect) => void this.#handJoin(group, effect),
    }
  }

  /** Where the key packages of those who are to be invited come from. */
  get inviting(): InvitingPorts {
    const { mailboxes } = this.options.direct
    return {
      fetch: async (peer, signal) =>
        (await mailboxes.fetchPrekeys(peer, { wantKeyPackage: true, signal })).keyPackage,
      spares: this.spares,
      engine: this.engine,
    }
  }

  /** Adds a peer whose branch lost; where that fails the machine asks for it again. One after another. */
  #inviteAgain(group: RunningGroup, peer: PeerId): void {
    this.#again = this.#again.then(async () => {
      const { signal } = this.#closing
      if (group.isClosed || group.view.roster.has(peer)) return
      const changes = await fetchAdds(this.inviting, [peer], { signal, onFetched: () => undefined })
      if (!signal.aborted) await group.dispatch({ kind: 'changesAsked', changes })
    })
    this.#again = this.#again.catch(() => undefined)
  }

  #neighboursOf(group: RunningGroup): PeerId[] {
    const { phase } = group.state
    return phase === 'member' || phase === 'leaving' ? othersOf(group) : []
  }

  /** A member has connected: it may hold what we lack. */
  #met(peer: PeerId): void {
    void this.spares.met(peer, this.#closing.signal)
    for (const [groupId, group] of this.#running) {
      const { phase } = group.state
      if (phase !== 'member' && phase !== 'leaving') continue
      if (group.view.roster.has(peer)) this.#syncing.get(groupId)?.soon(peer)
    }
  }

  #sourceFor(groupId: GroupId, peer: PeerId): SyncSource | 'unknownGroup' | 'denied' {
    const group = this.#running.get(groupId)
    if (group === undefined || group.state.phase === 'left') return 'unknownGroup'
    const { store, primitives } = this.options
    return sourceFor(group, peer, {
      store,
      primitives,
      differs: (from) => this.#syncing.get(groupId)?.soon(from),
    })
  }

  async #handJoin(
    group: RunningGroup,
    { peer, commitId, joinPackage }: Extract<GroupEffect, { kind: 'handJoin' }>,
  ): Promise<void> {
    const { direct, host } = this.options
    try {
      const tree = await group.readTree(joinPackage.treeHash)
      const isInline = tree !== undefined && tree.length <= INLINE_TREE_BYTES_MAX
      const content = encodeJoinPackage({
        ...joinPackage,
        tree: isInline ? tree : new Uint8Array(0),
        addresses: host.addresses().slice(0, JOIN_ADDRESSES_MAX),
      })
      await direct.messages.handoff(peer, JOIN_HANDOFF, content)
      group.tell({ kind: 'joinHandedOff', commitId, peer })
    } catch {
      const timer = setTimeout(() => {
        if (!group.isClosed)
          void this.#handJoin(group, { kind: 'handJoin', peer, commitId, joinPackage })
      }, RETRY_MS)
      timer.unref()
    }
  }

  /** Ends a group that runs, before another membership of it begins. */
  async #end(groupId: GroupId): Promise<GroupState | undefined> {
    const group = this.#running.get(groupId)
    if (group === undefined) return undefined
    this.#syncing.get(groupId)?.close()
    await group.close()
    this.#running.delete(groupId)
    this.#syncing.delete(groupId)
    return group.state
  }

  #demand(groupId: GroupId): RunningGroup {
    const group = this.#running.get(groupId)
    invariant(group !== undefined, 'a group that was begun runs')
    return group
  }
}
