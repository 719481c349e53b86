// A member in the simulator: the real machine, an engine, the real rows; only sockets, disks and clocks are made up. It
// does with the machine what src/node/running-group.ts and src/node/groups.ts do.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { HOUR_MS, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import { joinAnew } from '../../protocols/group/founding.ts'
import { frameIdOf, openFrame, readFrameHead } from '../../protocols/group/frame.ts'
import { toGroupMessageId } from '../../protocols/group/ids.ts'
import { encodeJoinPackage } from '../../protocols/group/join-package.ts'
import { makeJobRunner } from '../../protocols/group/jobs.ts'
import type { Job, JobRunner } from '../../protocols/group/jobs.ts'
import { makeGroupMachine } from '../../protocols/group/machine.ts'
import type { GroupMachine } from '../../protocols/group/machine.ts'
import type { Identity, MlsEngine, OwnKeyPackage } from '../../protocols/group/mls-engine.ts'
import { generationsFor } from '../../protocols/group/resync.ts'
import type { Delivered, GroupEffect, GroupEvent, GroupState } from '../../protocols/group/state.ts'
import type { GroupKit, Retention } from '../../protocols/group/turn.ts'
import { FRAME_FUTURE_HOURS_MAX, INLINE_TREE_BYTES_MAX } from '../../protocols/group/types.ts'
import type { CommitId, EntryInfo, FrameId, View } from '../../protocols/group/types.ts'
import { isTimely } from '../../src/handlers/group.ts'
import { GroupHistory } from '../../src/node/group-history.ts'
import { loadGroup } from '../../src/node/group-load.ts'
import { openGroupLog } from '../../src/node/group-log.ts'
import type { GroupLog } from '../../src/node/group-log.ts'
import {
  dropMembership,
  GROUP_TABLES,
  saveRows,
  stateRows,
  unpackRow,
} from '../../src/node/group-rows.ts'
import type { GroupHeard } from '../../src/node/running-group.ts'
import type { Op } from '../../src/store/types.ts'
import { seededPeer } from '../support/seeded.ts'
import type { Published } from '../support/thief.ts'
import { foundBy, joinBy } from './beginnings.ts'
import type { Chance } from './chance.ts'
import { gossip } from './gossip.ts'
import { describeContent } from './ledger.ts'
import { mailJoin } from './mail.ts'
import { deliveredIn, epochRowsOf, rowsOf } from './member-rows.ts'
import { MemberSync } from './member-sync.ts'
import { copyTables, SimStore } from './sim-store.ts'
import type { Tables } from './sim-store.ts'
import type { CrashPoint, Member, World } from './cast.ts'

/** How a member may differ from others. */
export interface MemberOptions {
  /** Whose keys it has, where it is a copy of another. */
  readonly identity?: string
  readonly retention?: Retention
}

/** A crash that waits for its step. */
interface Fuse {
  stepsLeft: number
  readonly point: CrashPoint
  readonly downMs: number
}

/** A machine's timer is set no sooner than this, and no later. */
const TIMER_MS_MIN = 100
const TIMER_MS_MAX = 600_000
/** How long an engine job takes at most, in virtual time. */
const JOB_MS_MAX = 20

export class SimMember implements Member {
  readonly name: string
  readonly peer: PeerId
  readonly secret: Bytes
  readonly sync: MemberSync
  readonly world: World
  readonly chance: Chance
  readonly engine: MlsEngine
  readonly #machine: GroupMachine
  readonly #keyPackages = new Map<string, OwnKeyPackage>()
  #store: SimStore
  #jobs: JobRunner | undefined
  #history: GroupHistory | undefined
  #log: GroupLog | undefined
  #queue: Promise<void> = Promise.resolve()
  #isUp = true
  /** Grows with each crash: what belongs to an earlier life is dropped. */
  #life = 0
  #timer = 0
  #fuse: Fuse | undefined
  /** What was durable when it went down. */
  #last: { readonly state: GroupState; readonly delivered: readonly Delivered[] } | undefined
  /** Keeps every rule. */
  isHonest = true
  /** Hears nothing any more: a copy that acts on what it had. */
  isDeaf = false
  /** Its clock against the others'. */
  skewMs = 0
  state: GroupState | undefined
  /** How often it joined: a branch that lost adds it again. */
  joins = 0
  /** When it joined last. */
  joinedAt = 0
  /** How often it began again with an old backup. */
  restores = 0
  /** What its agent got, as its rows say. */
  delivered: Delivered[] = []
  readonly published: Published[] = []

  constructor(world: World, name: string, { identity = name, retention }: MemberOptions = {}) {
    this.world = world
    this.name = name
    const { peer, secret } = seededPeer(identity)
    this.peer = peer
    this.secret = secret
    this.chance = world.chance.fork(`member ${name}`)
    this.#store = this.#storeOver(new Map<string, Map<string, Bytes>>())
    this.engine = world.ledger.watch(world.makeEngine(this.chance.fork('engine')), peer)
    this.#machine = makeGroupMachine({ ...this.kit, ...(retention && { retention }) })
    this.sync = new MemberSync(world, this, this.chance.fork('sync'))
    if (identity === name) world.members.set(peer, this)
    else world.ghosts.push(this)
  }

  get isUp(): boolean {
    return this.#isUp
  }

  get isMember(): boolean {
    return this.state?.phase === 'member'
  }

  get nowMs(): TimeMs {
    return toTimeMs(this.world.timeline.nowMs + this.skewMs)
  }

  get tables(): Tables {
    return this.#store.tables
  }

  get log(): GroupLog {
    if (this.#log === undefined) throw new Error(`${this.name} has no group`)
    return this.#log
  }

  get view(): View {
    const state = this.demand()
    return nodeOf(state.chain, state.tip).view
  }

  get authenticator(): string {
    const state = this.demand()
    const epoch = state.held.get(state.tip)
    return epoch === undefined ? 'none' : formatHex(epoch.authenticator)
  }

  get identity(): Identity {
    const { secret, world } = this
    return { peer: this.peer, sign: (message) => world.primitives.sign(secret, message) }
  }

  get kit(): GroupKit {
    return { primitives: this.world.primitives, peer: this.peer, secret: this.secret }
  }

  demand(): GroupState {
    if (this.state === undefined) throw new Error(`${this.name} has no group`)
    return this.state
  }

  async found(): Promise<void> {
    const [state, effects] = await foundBy(this)
    await this.#begin(state, effects)
  }

  async keyPackage(): Promise<{ keyPackage: Bytes; ref: Bytes }> {
    const made = await this.engine.keyPackage(this.identity, { nowMs: this.nowMs })
    this.#keyPackages.set(formatHex(made.ref), made)
    return made
  }

  /** Takes an event through the machine: compute, persist, perform. One at a time. */
  hear(heard: GroupHeard): Promise<void> {
    const life = this.#life
    const done = this.#queue.then(async () => {
      if (this.#isUp && life === this.#life) await this.#step(heard)
    })
    this.#queue = done.catch(() => undefined)
    return done
  }

  /** Asks for something as an agent does; false if the machine refuses it. */
  async ask(heard: GroupHeard): Promise<boolean> {
    try {
      await this.hear(heard)
      return true
    } catch (error) {
      if (error instanceof ConclaveError && error.family !== 'BUG') return false
      throw error
    }
  }

  async say(text: string): Promise<boolean> {
    const msgId = toGroupMessageId(this.chance.bytes(16))
    const body = new TextEncoder().encode(text)
    return this.ask({ kind: 'messageAsked', msgId, contentType: '', body })
  }

  /** Power off at once. */
  async crash(): Promise<void> {
    await this.#queue
    this.#powerOff()
  }

  /** Power off in the middle of a later step; back up after a while. */
  lightFuse(stepsLeft: number, point: CrashPoint, downMs: number): void {
    this.#fuse = { stepsLeft, point, downMs }
  }

  async restart(regressed = false): Promise<void> {
    if (this.#isUp) return
    const { groupId, primitives } = this.world
    this.#isUp = true
    this.#store = this.#storeOver(this.tables)
    this.state = await loadGroup(this.#store, primitives, groupId)
    await this.#open()
    if (this.state === undefined) return
    const last = this.#last
    for (const watcher of this.world.watchers) {
      if (last !== undefined) watcher.restarted(this, last.state, last.delivered)
    }
    this.world.note(`${this.name} is back${regressed ? ' from a backup' : ''}`)
    await this.hear({ kind: 'loaded', regressed })
    this.sync.begin()
    this.meetAll()
  }

  /** A copy of all rows. */
  backup(): Tables {
    return copyTables(this.tables)
  }

  /** Begins again with older rows, which the host notices. */
  async restore(tables: Tables, regressed = true): Promise<void> {
    await this.crash()
    this.#last = undefined
    this.restores += 1
    this.world.ledger.tally.restores += 1
    for (const watcher of this.world.watchers) watcher.restored(this)
    this.#store = this.#storeOver(copyTables(tables))
    await this.restart(regressed)
  }

  /** Links may be there again: members that are met are synced with. */
  meetAll(): void {
    const { members, network, timeline } = this.world
    const { state } = this
    if (!this.#isUp || this.isDeaf || state === undefined) return
    const { roster } = this.view
    for (const other of members.values()) {
      if (other === this || !other.isUp || !roster.has(other.peer)) continue
      if (!network.connects(this.name, other.name)) continue
      timeline.after(this.chance.upTo(500), () => this.sync.soon(other.peer))
    }
  }

  async frameOf(id: FrameId): Promise<Bytes | undefined> {
    const key = this.log.rowKey(id)
    return key === undefined ? undefined : this.#store.get(GROUP_TABLES.frame, key)
  }

  /** What a member that comes back from outside is given: of the adopted epoch, and only if it is on its roster. */
  async infoFor(peer: PeerId, commitId: CommitId): Promise<EntryInfo | undefined> {
    const { state } = this
    const epoch = state?.held.get(commitId)
    if (state?.tip !== commitId || epoch === undefined || !this.view.roster.has(peer)) {
      return undefined
    }
    const gen = this.view.roster.get(peer) ?? 0
    const groupInfo = await this.#jobs?.groupInfo(commitId)
    const key = `${this.world.groupId}/${formatHex(epoch.treeHash)}`
    const row = await this.#store.get(GROUP_TABLES.tree, key)
    if (groupInfo === undefined || row === undefined) return undefined
    const generations = generationsFor(state, { peer, gen })
    return { groupInfo, tree: unpackRow(row)[0] as Bytes, bodyKey: epoch.bodyKey, generations }
  }

  /** A frame as it comes from gossip or a sync: validated, then heard; true if it is worth being forwarded. */
  async receive(frame: Bytes, by: 'gossip' | 'sync' = 'gossip'): Promise<boolean> {
    const { state } = this
    const { primitives } = this.world
    const head = readFrameHead(frame)
    if (!this.#isUp || this.isDeaf || state === undefined || !head.ok) return false
    const { hour, genTag } = head.value
    const listening = [...state.generations.values()].find(
      ({ generation }) => generation.genTag === genTag,
    )
    // What is fetched may be as old as the log.
    const latest = Math.floor(this.nowMs / HOUR_MS) + FRAME_FUTURE_HOURS_MAX
    const isDue = by === 'sync' ? hour <= latest : isTimely(hour, this.nowMs)
    if (listening === undefined || !isDue) return false
    const frameId = frameIdOf(primitives, frame)
    if (this.log.has(frameId)) return false
    const content = openFrame(primitives, listening.generation, frame)
    if (!content.ok || this.#machine.judge(state, content.value) !== 'accept') return false
    await this.hear({ kind: 'frameHeard', frameId, hour, frame, content: content.value })
    return true
  }

  /** Joins by a package that came as a direct message, as src/node/groups.ts takes one. */
  async join(bytes: Bytes): Promise<void> {
    const begun = await joinBy(this, bytes, this.#keyPackages)
    if (begun === undefined) return
    await this.#queue
    const { groupId, ledger, timeline } = this.world
    const before = this.state
    const [state, effects] = before === undefined ? begun : joinAnew(begun, before)
    this.joins += 1
    this.joinedAt = timeline.elapsedMs
    ledger.tally.joins += 1
    const goesOn = before?.self.gen === state.self.gen
    await this.#store.commit(await dropMembership(this.#store, groupId, goesOn))
    await this.#begin(state, effects)
  }

  /** Rows, and what the ledger takes down of them: every key that this member ever had. */
  #storeOver(tables: Tables): SimStore {
    const { ledger } = this.world
    return new SimStore(tables, (table, key, value) => {
      const [, name = ''] = key.split('/')
      if (table === GROUP_TABLES.tree) ledger.trees.set(name, unpackRow(value)[0] as Bytes)
      if (table !== GROUP_TABLES.snapshot) return
      const epoch = this.tables.get(GROUP_TABLES.epoch)?.get(key)
      if (epoch === undefined) return
      const treeHash = formatHex(unpackRow(epoch)[4] as Bytes)
      ledger.hoard(this.peer, name as CommitId, {
        snapshot: unpackRow(value)[0] as Bytes,
        treeHash,
      })
    })
  }

  #powerOff(): void {
    const { state, delivered } = this
    this.#last = state === undefined ? undefined : { state, delivered }
    this.#life += 1
    this.#isUp = false
    this.#jobs?.reset()
    this.#jobs = undefined
    this.#log = undefined
    this.#history = undefined
    this.#fuse = undefined
    this.state = undefined
    this.sync.end()
    this.world.ledger.tally.crashes += 1
  }

  async #begin(state: GroupState, effects: readonly GroupEffect[]): Promise<void> {
    this.#life += 1
    this.sync.end()
    const ops: Op[] = [...stateRows(undefined, state)]
    for (const effect of effects) {
      if (effect.kind === 'changed') continue
      ops.push(...saveRows(state.groupId, effect as Parameters<typeof saveRows>[1]))
    }
    await this.#store.commit(ops)
    this.state = await loadGroup(this.#store, this.world.primitives, this.world.groupId)
    await this.#open()
    await this.hear({ kind: 'loaded', regressed: false })
    this.sync.begin()
  }

  /** Everything beside the state that is read back from rows. */
  async #open(): Promise<void> {
    const { groupId, primitives } = this.world
    this.#log = await openGroupLog(this.#store, primitives, groupId)
    this.#history = await GroupHistory.open(this.#store, groupId)
    this.delivered = await deliveredIn(this.#store)
    this.#jobs?.reset()
    this.#jobs = makeJobRunner({
      engine: this.engine,
      primitives,
      self: this.identity,
      rows: epochRowsOf(this.#store, groupId),
    })
  }

  async #step(heard: GroupHeard): Promise<void> {
    const before = this.state
    if (before === undefined) return
    const event = { ...heard, nowMs: this.nowMs, entropy: this.chance.bytes(32) } as GroupEvent
    const [after, effects] = this.#machine.step(before, event)
    const point = this.#burn()
    if (point === 'before') return
    const { groupId } = this.world
    const parts = { groupId, log: this.log, history: this.#history, nowMs: this.nowMs }
    const { ops, delivered } = rowsOf(effects, parts)
    await this.#store.commit([...stateRows(before, after), ...ops])
    this.state = after
    this.delivered.push(...delivered)
    for (const watcher of this.world.watchers) {
      await watcher.stepped({ member: this, before, event, after, effects })
    }
    for (const [i, effect] of effects.entries()) {
      if (point === 'after' || (point === 'between' && i >= effects.length / 2)) break
      await this.#perform(effect)
    }
    if (point === undefined) this.#setTimer()
    else this.#goDown()
  }

  /** Counts down to a crash; answers where this step is cut short, if it is. */
  #burn(): CrashPoint | undefined {
    const fuse = this.#fuse
    if (fuse === undefined || fuse.stepsLeft-- > 0) return undefined
    if (fuse.point === 'before') this.#goDown()
    return fuse.point
  }

  #goDown(): void {
    const downMs = this.#fuse?.downMs ?? 0
    this.world.note(`${this.name} crashes ${this.#fuse?.point ?? ''} a commit`)
    this.#powerOff()
    this.world.timeline.after(downMs, () => this.restart())
  }

  async #perform(effect: GroupEffect): Promise<void> {
    switch (effect.kind) {
      case 'startJob':
        this.#run(effect.job)
        return
      case 'keepHandle':
        this.#jobs?.keep(effect.commitId)
        return
      case 'dropEpoch':
        this.#jobs?.drop(effect.commitId)
        return
      case 'publish':
        await this.#publish(effect.generation, effect.frame)
        return
      case 'handJoin':
        this.#handJoin(effect)
        return
      case 'wantSync':
        this.sync.soon()
        return
      case 'wantInfo':
        this.sync.fetchInfo(effect.commitId)
        return
      case 'inviteAgain':
        this.#inviteAgain(effect.peer)
        return
      default: // what is saved needs nothing more
    }
  }

  /** As the node does it: the peer or whoever keeps its KeyPackages hands one out. */
  #inviteAgain(peer: PeerId): void {
    const other = this.world.members.get(peer)
    if (other === undefined) return
    const life = this.#life
    this.world.timeline.after(100, async () => {
      const { keyPackage, ref } = await other.keyPackage()
      if (life !== this.#life) return
      await this.ask({ kind: 'changesAsked', changes: [{ kind: 'add', peer, keyPackage, ref }] })
    })
  }

  async #publish(start: CommitId, frame: Bytes): Promise<void> {
    this.published.push({ by: this.peer, frame })
    const listening = this.demand().generations.get(start)
    const content = listening && openFrame(this.world.primitives, listening.generation, frame)
    if (content?.ok !== true) return
    this.world.note(`${this.name} publishes ${describeContent(content.value)}`)
    for (const watcher of this.world.watchers) await watcher.publishing(this, frame, content.value)
    gossip(this, frame, [...this.world.members.values()])
  }

  #handJoin({ peer, commitId, joinPackage }: Extract<GroupEffect, { kind: 'handJoin' }>): void {
    const life = this.#life
    this.world.timeline.after(100, async () => {
      if (life !== this.#life) return
      const hash = formatHex(joinPackage.treeHash)
      const row = await this.#store.get(GROUP_TABLES.tree, `${this.world.groupId}/${hash}`)
      const tree = row === undefined ? undefined : (unpackRow(row)[0] as Bytes)
      const isInline = tree !== undefined && tree.length <= INLINE_TREE_BYTES_MAX
      const inline = isInline ? tree : new Uint8Array(0)
      mailJoin(this, peer, encodeJoinPackage({ ...joinPackage, tree: inline, addresses: [] }))
      await this.hear({ kind: 'joinHandedOff', commitId, peer })
    })
  }

  #run(job: Job): void {
    const life = this.#life
    const { timeline } = this.world
    timeline.after(1 + this.chance.upTo(JOB_MS_MAX), async () => {
      const jobs = this.#jobs
      if (life !== this.#life || jobs === undefined) return
      const result = await jobs.run(job)
      timeline.after(1 + this.chance.upTo(JOB_MS_MAX), async () => {
        if (life === this.#life) await this.hear({ kind: 'jobDone', job, result })
      })
    })
  }

  #setTimer(): void {
    const { state } = this
    if (state === undefined) return
    const life = this.#life
    const timer = ++this.#timer
    const inMs = this.#machine.wakeAt(state) - this.nowMs
    const delayMs = Math.min(Math.max(inMs, TIMER_MS_MIN), TIMER_MS_MAX)
    this.world.timeline.after(delayMs, async () => {
      if (life === this.#life && timer === this.#timer) await this.hear({ kind: 'timer' })
    })
  }
}
