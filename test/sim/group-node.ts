// A member in the simulator: the real machine, the real engine, the real rows; only sockets and clocks are made up.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { HOUR_MS } from '../../protocols/base/time.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { nodeOf, recordsBeyond, removalOf } from '../../protocols/group/chain.ts'
import {
  firstPolicy,
  foundGroup,
  joinAnew,
  joinGroup,
  makeGenesis,
  readJoinPackage,
} from '../../protocols/group/founding.ts'
import { reachesBack } from '../../protocols/group/history.ts'
import { frameIdOf, openFrame, readFrameHead } from '../../protocols/group/frame.ts'
import { idBytes, refKey, toGroupMessageId } from '../../protocols/group/ids.ts'
import { describeEpoch, makeJobRunner } from '../../protocols/group/jobs.ts'
import type { Job, JobRunner } from '../../protocols/group/jobs.ts'
import { makeGroupMachine } from '../../protocols/group/machine.ts'
import type { GroupMachine } from '../../protocols/group/machine.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import type { MlsEngine, OwnKeyPackage } from '../../protocols/group/mls-engine.ts'
import { encodePolicy } from '../../protocols/group/policy.ts'
import type { Delivered, GroupEffect, GroupEvent, GroupState } from '../../protocols/group/state.ts'
import { generationsFor } from '../../protocols/group/resync.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Retention } from '../../protocols/group/turn.ts'
import type {
  CommitId,
  EntryInfo,
  FrameId,
  GroupId,
  JoinPackage,
  View,
} from '../../protocols/group/types.ts'
import { native } from '../../src/crypto/native.ts'
import { sortable } from '../../src/node/direct-rows.ts'
import { loadGroup } from '../../src/node/group-load.ts'
import {
  dropMembership,
  GROUP_TABLES,
  saveRows,
  stateRows,
  unpackRow,
} from '../../src/node/group-rows.ts'
import type { GroupHeard } from '../../src/node/running-group.ts'
import { put } from '../../src/store/types.ts'
import type { Op, Store } from '../../src/store/types.ts'
import { memoryStore } from '../support/store.ts'
import { seededPeer } from '../support/seeded.ts'
import type { Chance, Network, Timeline } from './network.ts'

/** What the members of one simulation share. */
export interface World {
  readonly timeline: Timeline
  readonly network: Network
  readonly chance: Chance
  readonly members: Map<PeerId, SimMember>
  readonly groupId: GroupId
}

/** A published frame, kept to attack it later. */
export interface Published {
  readonly by: PeerId
  readonly frame: Bytes
}

/** How long an engine job takes, in virtual time. */
const JOB_MS = 5

export class SimMember {
  readonly name: string
  readonly peer: PeerId
  readonly #world: World
  readonly #secret: Bytes
  readonly #engine: MlsEngine
  readonly #machine: GroupMachine
  readonly #rows = new Map<string, Bytes>()
  readonly #keyPackages = new Map<string, OwnKeyPackage>()
  #store: Store
  #jobs: JobRunner | undefined
  #queue: Promise<void> = Promise.resolve()
  #isUp = true
  /** Grows with each crash: what belongs to an earlier life is dropped. */
  #life = 0
  #log = new Map<FrameId, { readonly hour: number; readonly frame: Bytes }>()
  state: GroupState | undefined
  /** How often it joined: a branch that lost adds it again. */
  joins = 0
  readonly delivered: Delivered[] = []
  readonly published: Published[] = []

  constructor(world: World, name: string, retention?: Retention) {
    this.#world = world
    this.name = name
    const { peer, secret } = seededPeer(name)
    this.peer = peer
    this.#secret = secret
    this.#store = memoryStore(this.#rows)
    this.#engine = makeMlsEngine({
      primitives: native,
      random: (length) => world.chance.bytes(length),
    })
    this.#machine = makeGroupMachine({
      primitives: native,
      peer,
      secret,
      ...(retention && { retention }),
    })
    world.members.set(peer, this)
  }

  /** All that a thief of the opened store would have now. */
  theft(): Map<string, Bytes> {
    return new Map(this.#rows)
  }

  get isUp(): boolean {
    return this.#isUp
  }

  get isMember(): boolean {
    return this.state?.phase === 'member'
  }

  get view(): View {
    const state = this.#demand()
    return nodeOf(state.chain, state.tip).view
  }

  get authenticator(): string {
    const state = this.#demand()
    const epoch = state.held.get(state.tip)
    return epoch === undefined ? 'none' : formatHex(epoch.authenticator)
  }

  async found(): Promise<void> {
    const { groupId, timeline } = this.#world
    const kit = { primitives: native, peer: this.peer, secret: this.#secret }
    const policy = firstPolicy(this.peer, 'sim')
    const { nowMs } = timeline
    const self = this.#self()
    const handle = await this.#engine.create({
      groupId: idBytes(groupId),
      self,
      policy: encodePolicy(policy),
      nowMs,
    })
    const { groupInfoHash } = this.#engine.info(handle)
    const genesis = makeGenesis(kit, { groupId, policy, groupInfoHash, nowMs })
    const epoch = await describeEpoch(this.#engine, handle, genesis.commitId)
    const founded = foundGroup(kit, genesis.bytes, epoch, nowMs)
    if (!founded.ok) throw new Error(founded.code)
    await this.#begin(founded.value[0], founded.value[1])
  }

  async keyPackage(): Promise<{ keyPackage: Bytes; ref: Bytes }> {
    const made = await this.#engine.keyPackage(this.#self(), { nowMs: this.#world.timeline.nowMs })
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

  async say(text: string): Promise<void> {
    const msgId = toGroupMessageId(this.#world.chance.bytes(16))
    const body = new TextEncoder().encode(text)
    await this.hear({ kind: 'messageAsked', msgId, contentType: '', body })
  }

  /** Power off: what was not committed is gone. */
  async crash(): Promise<void> {
    await this.#queue
    this.#life += 1
    this.#isUp = false
    this.#jobs?.reset()
    this.#jobs = undefined
    this.state = undefined
  }

  async restart(): Promise<void> {
    const { groupId } = this.#world
    this.#store = memoryStore(this.#rows)
    this.#isUp = true
    this.state = await loadGroup(this.#store, native, groupId)
    this.#log = new Map()
    for await (const { key, value } of this.#store.rows(GROUP_TABLES.frame)) {
      const [, hour = '0', id = ''] = key.split('/')
      this.#log.set(id as FrameId, { hour: Number(hour), frame: value })
    }
    if (this.state === undefined) return
    this.#startJobs()
    await this.hear({ kind: 'loaded', regressed: false })
    this.#wake()
  }

  /** Fetches from another what this one lacks; both are up and reach each other. */
  async pull(from: SimMember): Promise<void> {
    const theirs = from.state
    const own = this.state
    if (theirs === undefined || own === undefined) return
    const isAllowed =
      nodeOf(theirs.chain, theirs.tip).view.roster.has(this.peer) ||
      (removalOf(theirs.chain, theirs.tip, this.peer) === undefined &&
        [...theirs.chain.nodes.values()].some(({ view }) => view.roster.has(this.peer)))
    await this.hear({ kind: 'syncBegan' })
    if (isAllowed) {
      for (const { frame } of from.frames()) await this.receive(frame)
      const known = reachesBack(own) ? own.chain.nodes.keys() : []
      const entries = recordsBeyond(theirs.chain, [...known]).map(({ entry }) => entry)
      await this.hear({ kind: 'recordsHeard', entries })
      await this.hear({
        kind: 'acksHeard',
        acks: [...theirs.acks.values()],
        proofs: [...theirs.proofs.values()],
      })
      for (const [commitId, { hasBody }] of this.state?.chain.nodes ?? []) {
        const body = theirs.chain.nodes.get(commitId)?.entry.body
        if (!hasBody && body !== undefined) await this.hear({ kind: 'bodyHeard', commitId, body })
      }
    } else {
      const removal = removalOf(theirs.chain, theirs.tip, this.peer)
      const last = removal === undefined ? -1 : nodeOf(theirs.chain, removal).record.epoch
      const entries = recordsBeyond(theirs.chain, [...own.chain.nodes.keys()])
        .filter(({ record }) => record.epoch <= last)
        .map(({ entry }) => entry)
      await this.hear({ kind: 'recordsHeard', entries })
    }
    const shown = isAllowed ? theirs.tip : removalOf(theirs.chain, theirs.tip, this.peer)
    const seen = shown && this.state?.chain.nodes.get(shown)
    if (shown !== undefined && seen?.view.roster.has(this.peer) === false) {
      await this.hear({ kind: 'removalHeard', peer: from.peer, removal: shown })
    }
    await this.hear({ kind: 'syncEnded', reached: true })
  }

  frames(): Iterable<{ readonly frame: Bytes }> {
    return this.#log.values()
  }

  /** A frame as it comes from gossip or a sync: validated, then heard. */
  async receive(frame: Bytes): Promise<void> {
    const { state } = this
    const head = readFrameHead(frame)
    if (!this.#isUp || state === undefined || !head.ok) return
    const frameId = frameIdOf(native, frame)
    if (this.#log.has(frameId)) return
    const listening = [...state.generations.values()].find(
      ({ generation }) => generation.genTag === head.value.genTag,
    )
    const content = listening && openFrame(native, listening.generation, frame)
    if (content?.ok !== true || this.#machine.judge(state, content.value) !== 'accept') return
    const { hour } = head.value
    await this.hear({ kind: 'frameHeard', frameId, hour, frame, content: content.value })
  }

  /** Joins by a package that came as a direct message: those are never lost. */
  async join(p: JoinPackage): Promise<void> {
    if (!this.#isUp) {
      this.#world.timeline.after(1_000, () => this.join(p))
      return
    }
    const { nowMs } = this.#world.timeline
    const kit = { primitives: native, peer: this.peer, secret: this.#secret }
    const read = readJoinPackage(kit, p)
    if (!read.ok) throw new Error(read.code)
    const before = this.state
    const { record } = read.value
    if (before?.phase === 'member' && before.chain.nodes.has(record.commitId)) return
    const own = record.adds.find(({ member }) => member.peer === this.peer)
    const keyPackage = own && this.#keyPackages.get(formatHex(own.keyPackageRef))
    if (keyPackage === undefined) return
    const { welcome, tree } = p
    const { secret } = keyPackage
    const joined = await this.#engine.join({ welcome, secret, tree, self: this.#self() })
    if (!joined.ok) throw new Error(joined.code)
    const epoch = await describeEpoch(this.#engine, joined.value, record.commitId)
    const begun = joinGroup(kit, p, epoch, nowMs)
    if (!begun.ok) throw new Error(begun.code)
    const [state, effects] = before === undefined ? begun.value : joinAnew(begun.value, before)
    this.joins += 1
    await this.#store.commit(
      await dropMembership(this.#store, p.groupId, before?.self.gen === state.self.gen),
    )
    await this.#begin(state, effects)
  }

  #self() {
    const secret = this.#secret
    return { peer: this.peer, sign: (message: Bytes) => native.sign(secret, message) }
  }

  #demand(): GroupState {
    if (this.state === undefined) throw new Error(`${this.name} has no group`)
    return this.state
  }

  async #begin(state: GroupState, effects: readonly GroupEffect[]): Promise<void> {
    this.#life += 1
    await this.#store.commit([...stateRows(undefined, state), ...this.#rowsOf(effects)])
    this.state = state
    this.#startJobs()
    await this.hear({ kind: 'loaded', regressed: false })
    this.#wake()
  }

  #startJobs(): void {
    const read = async (table: string, key: string): Promise<readonly unknown[] | undefined> => {
      const row = await this.#store.get(table, `${this.#world.groupId}/${key}`)
      return row === undefined ? undefined : unpackRow(row)
    }
    const tree = async (hash: Bytes): Promise<Bytes | undefined> =>
      (await read(GROUP_TABLES.tree, formatHex(hash)))?.[0] as Bytes | undefined
    this.#jobs?.reset()
    this.#jobs = makeJobRunner({
      engine: this.#engine,
      primitives: native,
      self: this.#self(),
      rows: {
        tree,
        async kept(author, n) {
          const row = await read(GROUP_TABLES.payload, `${refKey(author)}/${sortable(n)}`)
          return row?.[0] as Bytes | undefined
        },
        async snapshot(id) {
          const row = await read(GROUP_TABLES.snapshot, id)
          const epoch = await read(GROUP_TABLES.epoch, id)
          const found = epoch && (await tree(epoch[4] as Bytes))
          if (row === undefined || found === undefined) return undefined
          return { snapshot: row[0] as Bytes, tree: found }
        },
        async checkpoint(id) {
          return (await read(GROUP_TABLES.checkpoint, id))?.[2] as Bytes | undefined
        },
      },
    })
  }

  async #step(heard: GroupHeard): Promise<void> {
    const before = this.state
    if (before === undefined) return
    const { timeline, chance } = this.#world
    const event = { ...heard, nowMs: timeline.nowMs, entropy: chance.bytes(32) } as GroupEvent
    const [after, effects] = this.#machine.step(before, event)
    await this.#store.commit([...stateRows(before, after), ...this.#rowsOf(effects)])
    this.state = after
    for (const effect of effects) this.#perform(effect)
  }

  #rowsOf(effects: readonly GroupEffect[]): Op[] {
    const { groupId } = this.#world
    const ops: Op[] = []
    for (const effect of effects) {
      switch (effect.kind) {
        case 'saveFrame': {
          const { frameId, hour, frame } = effect
          this.#log.set(frameId, { hour, frame })
          ops.push(put(GROUP_TABLES.frame, `${groupId}/${hour}/${frameId}`, frame))
          break
        }
        case 'deliver':
          this.delivered.push(effect.message)
          break
        case 'startJob':
        case 'keepHandle':
        case 'publish':
        case 'handJoin':
        case 'wantSync':
        case 'wantInfo':
        case 'changed':
        case 'intentFailed':
          break
        default:
          ops.push(...saveRows(groupId, effect))
      }
    }
    return ops
  }

  #perform(effect: GroupEffect): void {
    const { members, network, timeline } = this.#world
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
        this.published.push({ by: this.peer, frame: effect.frame })
        for (const other of members.values()) {
          if (other === this) continue
          network.carry(this.name, other.name, () => other.receive(effect.frame))
        }
        return
      case 'handJoin': {
        const { peer, commitId, joinPackage } = effect
        timeline.after(100, async () => {
          const row = await this.#store.get(
            GROUP_TABLES.tree,
            `${this.#world.groupId}/${formatHex(joinPackage.treeHash)}`,
          )
          if (row !== undefined) {
            const tree = unpackRow(row)[0] as Bytes
            await members.get(peer)?.join({ ...joinPackage, tree, addresses: [] })
          }
          await this.hear({ kind: 'joinHandedOff', commitId, peer })
        })
        return
      }
      case 'wantInfo':
        timeline.after(200, () => this.#fetchInfo(effect.commitId))
        return
      case 'wantSync':
        timeline.after(200, () => this.#syncWithSomebody())
        return
      default:
    }
  }

  async #fetchInfo(commitId: CommitId): Promise<void> {
    const { members, network } = this.#world
    for (const other of members.values()) {
      if (other === this || !other.isUp || !network.reaches(this.name, other.name)) continue
      const info = await other.infoFor(this.peer, commitId)
      if (info === undefined) continue
      await this.hear({ kind: 'infoHeard', commitId, info })
      return
    }
  }

  /** What a member that comes back is given. */
  async infoFor(peer: PeerId, commitId: CommitId): Promise<EntryInfo | undefined> {
    const { state } = this
    const epoch = state?.held.get(commitId)
    if (state?.tip !== commitId || epoch === undefined || !this.view.roster.has(peer))
      return undefined
    const gen = this.view.roster.get(peer) ?? 0
    const groupInfo = await this.#jobs?.groupInfo(commitId)
    const key = `${this.#world.groupId}/${formatHex(epoch.treeHash)}`
    const row = await this.#store.get(GROUP_TABLES.tree, key)
    if (groupInfo === undefined || row === undefined) return undefined
    const generations = generationsFor(state, { peer, gen })
    return { groupInfo, tree: unpackRow(row)[0] as Bytes, bodyKey: epoch.bodyKey, generations }
  }

  async #syncWithSomebody(): Promise<void> {
    const { members, network, chance } = this.#world
    const near = [...members.values()].filter(
      (other) => other !== this && other.isUp && network.reaches(this.name, other.name),
    )
    const other = chance.pick(near)
    if (other !== undefined && this.#isUp) await this.pull(other)
  }

  #run(job: Job): void {
    const life = this.#life
    this.#world.timeline.after(JOB_MS, async () => {
      const jobs = this.#jobs
      if (life !== this.#life || jobs === undefined) return
      const result = await jobs.run(job)
      if (life === this.#life) await this.hear({ kind: 'jobDone', job, result })
    })
  }

  /** Timers and regular syncs of this life. */
  #wake(): void {
    const life = this.#life
    const { timeline, chance } = this.#world
    const tick = async (): Promise<void> => {
      if (life !== this.#life || this.state === undefined) return
      if (this.#machine.wakeAt(this.state) <= timeline.nowMs) await this.hear({ kind: 'timer' })
      timeline.after(250, tick)
    }
    const sync = async (): Promise<void> => {
      if (life !== this.#life) return
      await this.#syncWithSomebody()
      timeline.after(HOUR_MS / 120 + chance.upTo(30_000), sync)
    }
    timeline.after(250, tick)
    timeline.after(1_000 + chance.upTo(30_000), sync)
  }
}
