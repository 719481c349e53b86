// One group of a running node: its machine, its engine jobs, its topics, its timer. Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { ErrorCode } from '../../protocols/base/error-codes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { MINUTE_MS, SECOND_MS } from '../../protocols/base/time.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import { refKey } from '../../protocols/group/ids.ts'
import { makeJobRunner } from '../../protocols/group/jobs.ts'
import type { Job, JobResult, JobRunner } from '../../protocols/group/jobs.ts'
import type { Generation } from '../../protocols/group/keys.ts'
import { makeGroupMachine } from '../../protocols/group/machine.ts'
import type { GroupMachine } from '../../protocols/group/machine.ts'
import type { MlsEngine } from '../../protocols/group/mls-engine.ts'
import { isAdmin } from '../../protocols/group/policy.ts'
import type { GroupEffect, GroupEvent, GroupState, Moment } from '../../protocols/group/state.ts'
import type { GroupKit } from '../../protocols/group/turn.ts'
import type { CommitId, FrameContent, GroupId, View } from '../../protocols/group/types.ts'
import { drive } from '../driver.ts'
import type { Driver } from '../driver.ts'
import type { Gossip, GossipSink, OpenedFrame } from '../handlers/group.ts'
import type { Verdict } from '../host/types.ts'
import type { Op, Store } from '../store/types.ts'
import type { EventLog } from './events.ts'
import { GroupHistory, present } from './group-history.ts'
import type { GroupLog } from './group-log.ts'
import { openGroupLog } from './group-log.ts'
import { loadGroup } from './group-load.ts'
import { sortable } from './direct-rows.ts'
import { GROUP_TABLES, saveRows, stateRows, unpackRow } from './group-rows.ts'
import type { GroupFact } from './types.ts'

/* Implementation constants: ours to tune. */
/** A machine's timer is set no sooner than this, and no later. */
const TIMER_MS_MIN = 100
const TIMER_MS_MAX: number = MINUTE_MS
/** Pause after the store failed. */
const RETRY_MS: number = SECOND_MS

/** What all groups of a node share. */
export interface GroupPorts {
  readonly store: Store
  readonly kit: GroupKit
  readonly engine: MlsEngine
  readonly gossip: Gossip
  readonly events: EventLog
  readonly random: (length: number) => Bytes
  readonly now: () => TimeMs
  /** Something changed that syncs and neighbours follow from. */
  readonly onChanged: (group: RunningGroup) => void
  readonly wantSync: (group: RunningGroup) => void
  /** An EntryInfo of this epoch is wanted of a member of it. */
  readonly wantInfo: (group: RunningGroup, commitId: CommitId) => void
  /** Another admin had added the peer, on a branch that lost. */
  readonly inviteAgain: (group: RunningGroup, peer: PeerId) => void
  /** A frame went to this many neighbours. */
  readonly onPublished: (group: RunningGroup, neighbours: number) => void
  readonly handJoin: (
    group: RunningGroup,
    effect: Extract<GroupEffect, { kind: 'handJoin' }>,
  ) => void
}

type WithoutMoment<E> = E extends unknown ? Omit<E, keyof Moment> : never
/** An event before time and randomness are added. */
export type GroupHeard = WithoutMoment<GroupEvent>

/** Why an intent failed, by its id. */
type Failures = Map<number, ErrorCode>

/** One group while the node runs. */
export class RunningGroup implements GossipSink {
  readonly groupId: GroupId
  readonly history: GroupHistory
  readonly #ports: GroupPorts
  readonly #machine: GroupMachine
  readonly #driver: Driver<GroupState, GroupEvent>
  readonly #jobs: JobRunner
  readonly #listening = new Map<CommitId, Generation>()
  readonly #watchers = new Set<() => void>()
  readonly #failures: Failures = new Map()
  readonly #extras = new Map<string, readonly Op[]>()
  #log: GroupLog
  #state: GroupState
  #after: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  #busy = 0

  private constructor(
    ports: GroupPorts,
    parts: {
      readonly state: GroupState
      readonly log: GroupLog
      readonly history: GroupHistory
    },
  ) {
    this.#ports = ports
    this.#state = parts.state
    this.#log = parts.log
    this.history = parts.history
    this.groupId = parts.state.groupId
    this.#machine = makeGroupMachine(ports.kit)
    this.#driver = this.#drive(parts.state)
    const { engine, kit } = ports
    this.#jobs = makeJobRunner({
      engine,
      primitives: kit.primitives,
      self: { peer: kit.peer, sign: (message) => kit.primitives.sign(kit.secret, message) },
      rows: this.#epochRows(),
    })
  }

  /** Reads a group's rows and takes up what was under way. */
  static async open(
    ports: GroupPorts,
    groupId: GroupId,
    regressed: boolean,
  ): Promise<RunningGroup | undefined> {
    const { store, kit } = ports
    const state = await loadGroup(store, kit.primitives, groupId)
    if (state === undefined) return undefined
    const log = await openGroupLog(store, kit.primitives, groupId)
    const history = await GroupHistory.open(store, groupId)
    const group = new RunningGroup(ports, { state, log, history })
    for (const { generation } of state.generations.values()) group.#listen(generation)
    await group.dispatch({ kind: 'loaded', regressed })
    return group
  }

  /** The newest durable state. */
  get state(): GroupState {
    return this.#state
  }

  get log(): GroupLog {
    return this.#log
  }

  /** The view of the adopted epoch. */
  get view(): View {
    return nodeOf(this.#state.chain, this.#state.tip).view
  }

  /** Its line in the list of groups. */
  fact(): GroupFact {
    const { groupId, view } = this
    const { policy, epoch, roster } = view
    const role = isAdmin(policy, this.#state.self) ? 'admin' : 'member'
    const { unread } = this.history
    return { groupId, name: policy.name, epoch, members: roster.size, role, unread }
  }

  /**
   * Queues an event; resolves once its step is durable.
   *
   * @param extra - Rows to be written with the message that has this id.
   * @throws ConclaveError what the machine refuses, and what the store throws.
   */
  async dispatch(
    heard: GroupHeard,
    extra?: { readonly msgId: string; readonly ops: readonly Op[] },
  ): Promise<void> {
    if (this.#isClosed) throw new ConclaveError('STATE_CLOSED', 'the node is closing')
    const { now, random } = this.#ports
    if (extra !== undefined) this.#extras.set(extra.msgId, extra.ops)
    this.#busy += 1
    try {
      await this.#driver.dispatch({ ...heard, nowMs: now(), entropy: random(32) })
    } catch (error) {
      if (error instanceof ConclaveError && error.family === 'STORE') this.#recoverLater()
      throw error
    } finally {
      this.#busy -= 1
      if (extra !== undefined) this.#extras.delete(extra.msgId)
    }
    this.#state = await this.#driver.state()
    this.#setTimer()
    for (const watcher of [...this.#watchers]) watcher()
  }

  /** Events that nobody waits for. */
  tell(heard: GroupHeard): void {
    if (this.#isClosed) return
    this.dispatch(heard).catch(() => undefined) // a failing store is retried by #recoverLater
  }

  /** Calls back after every step, until the answered function is called. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** Why an intent failed, once. */
  failureOf(intent: number): ErrorCode | undefined {
    const code = this.#failures.get(intent)
    this.#failures.delete(intent)
    return code
  }

  isKnown: GossipSink['isKnown'] = (frameId) => this.#log.has(frameId)

  judge(content: FrameContent): Verdict {
    return this.#machine.judge(this.#state, content)
  }

  heard({ frameId, hour, frame, content }: OpenedFrame): void {
    this.tell({ kind: 'frameHeard', frameId, hour, frame, content })
  }

  /** Generations that are listened to, newest last. */
  generations(): Generation[] {
    return [...this.#listening.values()]
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    for (const generation of this.#listening.values()) this.#ports.gossip.leave(generation)
    while (this.#busy > 0) await new Promise((resolve) => setImmediate(resolve))
    for (const watcher of [...this.#watchers]) watcher()
    this.#jobs.reset()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  #drive(first: GroupState): Driver<GroupState, GroupEvent> {
    const { store, kit, events } = this.#ports
    let loaded: GroupState | undefined = first
    const commit = async (ops: readonly Op[]): Promise<void> => {
      const after = this.#after.splice(0)
      await store.commit(ops)
      for (const one of after) one()
      events.wake()
    }
    return drive<GroupState, GroupEvent, GroupEffect>(
      { commit },
      {
        load: async () => {
          const given = loaded
          loaded = undefined
          if (given !== undefined) return given
          // A commit failed: what the index of the log says may not be on the disk.
          this.#log = await openGroupLog(store, kit.primitives, this.groupId)
          const state = await loadGroup(store, kit.primitives, this.groupId)
          if (state === undefined) throw new ConclaveError('STORE_CORRUPT', 'a group has gone')
          return state
        },
        step: (state, event) => this.#machine.step(state, event),
        rows: (_before, after, effects) => this.#rows(after, effects),
        stateRows: (before, after) => stateRows(before, after),
        perform: (effect) => this.#perform(effect),
      },
    )
  }

  #epochRows(): Parameters<typeof makeJobRunner>[0]['rows'] {
    const { store } = this.#ports
    const read = async (table: string, key: string): Promise<readonly unknown[] | undefined> => {
      const row = await store.get(table, `${this.groupId}/${key}`)
      return row === undefined ? undefined : unpackRow(row)
    }
    const tree = (hash: Bytes): Promise<Bytes | undefined> => this.readTree(hash)
    return {
      tree,
      async kept(author, n) {
        const row = await read(GROUP_TABLES.payload, `${refKey(author)}/${sortable(n)}`)
        return row?.[0] as Bytes | undefined
      },
      async snapshot(id) {
        const row = await read(GROUP_TABLES.snapshot, id)
        const epoch = await read(GROUP_TABLES.epoch, id)
        if (row === undefined || epoch === undefined) return undefined
        const found = await tree(epoch[4] as Bytes)
        return found === undefined ? undefined : { snapshot: row[0] as Bytes, tree: found }
      },
      async checkpoint(id) {
        return (await read(GROUP_TABLES.checkpoint, id))?.[2] as Bytes | undefined
      },
    }
  }

  /** A ratchet tree of a held epoch. */
  async readTree(treeHash: Bytes): Promise<Bytes | undefined> {
    const key = `${this.groupId}/${Buffer.from(treeHash).toString('hex')}`
    const row = await this.#ports.store.get(GROUP_TABLES.tree, key)
    return row === undefined ? undefined : (unpackRow(row)[0] as Bytes)
  }

  /** A GroupInfo of an epoch that is held. */
  groupInfo(id: CommitId): Promise<Bytes | undefined> {
    return this.#jobs.groupInfo(id)
  }

  /** Rows of a step's effects; called while a batch is composed. */
  #rows(state: GroupState, effects: readonly GroupEffect[]): Op[] {
    const { events, now } = this.#ports
    const ops: Op[] = []
    for (const effect of effects) {
      switch (effect.kind) {
        case 'saveFrame':
          ops.push(...this.#log.append(effect.frameId, effect.hour, effect.frame, now()))
          break
        case 'deliver': {
          const { message } = effect
          const appended = this.history.append(message)
          ops.push(...appended.ops, ...(this.#extras.get(message.payload.msgId) ?? []))
          this.#after.push(appended.after)
          if (!message.own) ops.push(...events.append('group-message', { ...present(message) }))
          break
        }
        case 'changed':
          ops.push(...events.append('group', { ...factOf(state, this.history.unread) }))
          break
        case 'startJob':
        case 'keepHandle':
        case 'publish':
        case 'handJoin':
        case 'wantSync':
        case 'wantInfo':
        case 'inviteAgain':
        case 'intentFailed':
          break
        default:
          ops.push(...saveRows(this.groupId, effect))
      }
    }
    return ops
  }

  #perform(effect: GroupEffect): void {
    switch (effect.kind) {
      case 'startJob':
        void this.#run(effect.job)
        return
      case 'keepHandle':
        this.#jobs.keep(effect.commitId)
        return
      case 'dropEpoch':
        this.#jobs.drop(effect.commitId)
        return
      case 'publish':
        this.#publish(effect.generation, effect.frame)
        return
      case 'saveGeneration':
        this.#listen(effect.listening.generation)
        return
      case 'dropGeneration':
        this.#leave(effect.start)
        return
      case 'handJoin':
        this.#ports.handJoin(this, effect)
        return
      case 'wantSync':
        this.#ports.wantSync(this)
        return
      case 'wantInfo':
        this.#ports.wantInfo(this, effect.commitId)
        return
      case 'inviteAgain':
        this.#ports.inviteAgain(this, effect.peer)
        return
      case 'changed':
        queueMicrotask(() => {
          if (!this.#isClosed) this.#ports.onChanged(this)
        })
        return
      case 'intentFailed':
        this.#failures.set(effect.id, effect.code)
        return
      default: // what is saved needs nothing more
    }
  }

  async #run(job: Job): Promise<void> {
    let result: JobResult
    try {
      result = await this.#jobs.run(job)
    } catch {
      // The store failed, or is closing: the job is started anew.
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref())
      result = { kind: 'lost' }
    }
    this.tell({ kind: 'jobDone', job, result })
  }

  /** After a failed commit the state is read again, and what it asks for is started again. */
  #recoverLater(): void {
    this.#jobs.reset()
    setTimeout(() => this.tell({ kind: 'loaded', regressed: false }), RETRY_MS).unref()
  }

  #publish(start: CommitId, frame: Bytes): void {
    const generation = this.#listening.get(start)
    if (generation === undefined) return
    // To nobody is fine: the log has it, and syncs bring it.
    this.#ports.gossip.publish(generation, frame).then(
      (neighbours) => this.#ports.onPublished(this, neighbours),
      () => undefined,
    )
  }

  #listen(generation: Generation): void {
    if (this.#listening.has(generation.start)) return
    this.#listening.set(generation.start, generation)
    this.#ports.gossip.listen(generation, this)
  }

  #leave(start: CommitId): void {
    const generation = this.#listening.get(start)
    this.#listening.delete(start)
    if (generation !== undefined) this.#ports.gossip.leave(generation)
  }

  #setTimer(): void {
    clearTimeout(this.#timer)
    if (this.#isClosed) return
    const inMs = this.#machine.wakeAt(this.#state) - this.#ports.now()
    const delayMs = Math.min(Math.max(inMs, TIMER_MS_MIN), TIMER_MS_MAX)
    this.#timer = setTimeout(() => this.tell({ kind: 'timer' }), delayMs)
    this.#timer.unref()
  }
}

/** The line of a group in the list of groups. */
export function factOf(state: GroupState, unread: number): GroupFact & { readonly phase: string } {
  const { policy, epoch, roster } = nodeOf(state.chain, state.tip).view
  return {
    groupId: state.groupId,
    name: policy.name,
    epoch,
    members: roster.size,
    role: isAdmin(policy, state.self) ? 'admin' : 'member',
    unread,
    phase: state.phase,
  }
}

/** Peers on the roster of the adopted epoch, besides this one. */
export function othersOf({ view, state }: RunningGroup): PeerId[] {
  return [...view.roster.keys()].filter((peer) => peer !== state.self.peer)
}
