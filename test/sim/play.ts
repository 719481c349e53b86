// Plays a script: begins a group, lets everything happen, heals, waits, and checks.
import { MINUTE_MS, SECOND_MS } from '../../protocols/base/time.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Change } from '../../protocols/group/state.ts'
import { GROUP_TABLES } from '../../src/node/group-rows.ts'
import { Chance } from './chance.ts'
import { STRAY_MS } from '../../protocols/group/types.ts'
import { checkEnd, isSettled, isTogether } from './endings.ts'
import { SimMember } from './group-node.ts'
import { Invariants } from './invariants.ts'
import type { Tally } from './ledger.ts'
import { collude, haunt, misbehave } from './misdeeds.ts'
import type { Cast } from './misdeeds.ts'
import { FAIR } from './network.ts'
import { Liveness } from './liveness.ts'
import { replay } from './replays.ts'
import type { Script, Step } from './script.ts'
import { Stability } from './stability.ts'
import type { Tables } from './sim-store.ts'
import { makeWorld } from './world.ts'
import { Violation } from './cast.ts'
import type { EngineKind, World } from './cast.ts'

const NAMES = [
  ...['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi'],
  ...['ivan', 'judy', 'kim', 'leo', 'mia', 'nina', 'oscar', 'peggy'],
]
/** A group has so long to begin. */
const BEGIN_MS: number = 20 * SECOND_MS
/** After the end of all faults: how long until all stand on one tip in most runs, in any run, and have nothing left to do. */
export const HEAL_MS_P99: number = 5 * SECOND_MS
const HEAL_MS_MAX: number = 2 * STRAY_MS + 30 * SECOND_MS
const SETTLED_MS_MAX: number = 3 * MINUTE_MS
/** How long nothing may change then. */
const REST_MS: number = 2 * MINUTE_MS
/** In long runs members sync this often. */
const LONG_MS: number = 60 * MINUTE_MS
const LONG_SYNC_MS: number = 20 * MINUTE_MS

/** What became of a run. */
export interface Outcome {
  readonly violation?: Violation
  readonly tally: Tally
  /** From the end of all faults until all members stood on one tip; absent if they never did. */
  readonly healMs?: number
  /** From then until nothing was left to be done; absent if something always was. */
  readonly settledMs?: number
  readonly said: number
  /** Equal for runs that ended alike. */
  readonly print: string
}

/** How a script is played. */
export interface PlayOptions {
  readonly engine?: EngineKind
  readonly trace?: (text: string) => void
}

/** Plays a script from beginning to end. */
export async function play(script: Script, options: PlayOptions = {}): Promise<Outcome> {
  const world = makeWorld({ seed: `seed ${script.seed}`, ...options })
  const run = new Run(world, script)
  try {
    await run.begin()
    await run.unfold()
    await run.heal()
  } catch (error) {
    run.violation =
      error instanceof Violation ? error : new Violation('no exception', String(stackOf(error)))
  }
  return run.outcome()
}

function stackOf(error: unknown): unknown {
  return error instanceof Error ? error.stack : error
}

class Run {
  readonly #world: World
  readonly #script: Script
  readonly #all: readonly SimMember[]
  readonly #invariants: Invariants
  readonly #stability: Stability
  readonly #backups = new Map<PeerId, Tables>()
  readonly #cast: Cast
  /** What a script has planned for later does not happen. */
  #isHealed = false
  #healMs: number | undefined
  #settledMs: number | undefined
  violation: Violation | undefined

  constructor(world: World, script: Script) {
    this.#world = world
    this.#script = script
    this.#invariants = new Invariants(world)
    this.#stability = new Stability(world)
    world.watchers.push(this.#invariants, new Liveness(world), this.#stability)
    this.#all = Array.from({ length: script.members }, (_, i) => {
      const member = new SimMember(world, NAMES[i] ?? `member ${i}`)
      member.skewMs = script.skewsMs[i] ?? 0
      member.isHonest = !script.bad.includes(i)
      return member
    })
    this.#cast = { world, all: this.#all, backups: this.#backups }
  }

  async begin(): Promise<void> {
    const [founder, ...others] = this.#all
    if (founder === undefined) return
    await founder.found()
    const invited = others.slice(0, this.#script.first - 1)
    for (const i of this.#script.bad) {
      const bad = this.#all[i]
      if (bad !== undefined && !invited.includes(bad)) invited.push(bad)
    }
    await this.#invite(founder, invited)
    await this.#world.timeline.run(BEGIN_MS)
    const [bad] = this.#script.bad.flatMap((i) => this.#all[i] ?? [])
    if (bad === undefined || this.#script.seed % 2 === 0) return
    const member = { peer: bad.peer, gen: 1 }
    await founder.ask({
      kind: 'changesAsked',
      changes: [{ kind: 'role', member, role: 'admin' }],
    })
  }

  async unfold(): Promise<void> {
    const { timeline, network } = this.#world
    const { steps, weather, lastsMs } = this.#script
    if (lastsMs > LONG_MS) this.#world.syncEveryMs = LONG_SYNC_MS
    network.weather = weather
    for (const step of steps) {
      timeline.after(step.at, async () => {
        if (this.#isHealed) return
        this.#world.note(`* ${step.kind} ${this.#all[step.who]?.name ?? ''}`)
        await this.#do(step)
      })
    }
    await timeline.run(lastsMs)
  }

  /** Everything is connected and up again; nothing may be left apart, undone or unheard. */
  async heal(): Promise<void> {
    const { timeline, network } = this.#world
    this.#world.note('* heal')
    this.#isHealed = true
    this.#world.syncEveryMs = 30 * SECOND_MS
    network.weather = FAIR
    network.heal()
    for (const member of this.#all) await member.restart()
    // Whoever is connected again syncs.
    for (const member of this.#all) if (member.state !== undefined) member.sync.soon()
    const healedAt = timeline.elapsedMs
    let restMs = 0
    while (timeline.elapsedMs - healedAt < SETTLED_MS_MAX + REST_MS && restMs < REST_MS) {
      await timeline.run(SECOND_MS / 4)
      if (isTogether(this.#world)) this.#healMs ??= timeline.elapsedMs - healedAt
      if (isSettled(this.#world)) this.#settledMs ??= timeline.elapsedMs - healedAt
      restMs = isSettled(this.#world) ? restMs + SECOND_MS / 4 : 0
    }
    checkEnd(this.#world, this.#invariants)
    if ((this.#healMs ?? 0) > HEAL_MS_MAX || (this.#settledMs ?? 0) > SETTLED_MS_MAX) {
      const ms = `${this.#healMs}, settled after ${this.#settledMs} ms`
      throw new Violation('liveness', `members are together after ${ms}`)
    }
    const [one] = this.#all.filter(({ isHonest, isMember }) => isHonest && isMember)
    if (one?.state !== undefined) this.#stability.checkEnd(one.state)
  }

  outcome(): Outcome {
    const { ledger } = this.#world
    const tips = this.#all.map(({ name, state }) => {
      return `${name} ${state?.phase ?? ''} ${state?.tip ?? ''}`
    })
    return {
      ...(this.violation !== undefined && { violation: this.violation }),
      tally: ledger.tally,
      ...(this.#healMs !== undefined && { healMs: this.#healMs }),
      ...(this.#settledMs !== undefined && { settledMs: this.#settledMs }),
      said: ledger.said.length,
      print: [...tips, ledger.published.length, JSON.stringify(ledger.tally)].join(),
    }
  }

  async #do(step: Step): Promise<void> {
    const member = this.#all[step.who]
    if (member === undefined) return
    const chance = new Chance(`step ${this.#script.seed} ${step.salt}`)
    switch (step.kind) {
      case 'say':
        await this.#say(member, step)
        return
      case 'rekey':
      case 'add':
      case 'remove':
      case 'promote':
      case 'demote':
      case 'leave':
        await this.#change(member, step.kind, chance)
        return
      case 'cut':
      case 'storm':
        this.#weather(step)
        return
      case 'crash':
        if (!member.isUp) return
        await member.crash()
        this.#world.timeline.after(step.forMs, () => member.restart())
        return
      case 'fuse':
        member.lightFuse(chance.upTo(40), step.point ?? 'before', step.forMs)
        return
      case 'backup':
        this.#backups.set(member.peer, member.backup())
        return
      case 'restore': {
        const backup = this.#backups.get(member.peer)
        const isThere = (backup?.get(GROUP_TABLES.group)?.size ?? 0) > 0
        if (backup !== undefined && isThere && member.isUp) await member.restore(backup)
        return
      }
      case 'replay':
        await replay(this.#world, chance)
        return
      case 'ghost':
        await haunt(this.#cast, member, chance)
        return
      case 'collude':
        await collude(this.#cast, step, chance)
        return
      default:
        await misbehave(this.#cast, step.kind, step.salt)
    }
  }

  #weather({ kind, side = 0, oneWay, forMs, weather }: Step): void {
    const { network, timeline } = this.#world
    if (kind === 'cut') {
      const names = this.#all.filter((_, i) => (side & (1 << i)) !== 0).map(({ name }) => name)
      timeline.after(forMs, network.part(names, oneWay))
      return
    }
    const before = this.#script.weather
    network.weather = weather ?? before
    timeline.after(forMs, () => {
      network.weather = before
    })
  }

  async #say(member: SimMember, { salt }: Step): Promise<void> {
    if (!member.isUp || !member.isMember) return
    const { ledger, timeline } = this.#world
    const { gen } = member.demand().self
    const text = `${member.name} ${salt}`
    const hearers = new Map<PeerId, number>(member.view.roster)
    const said = { by: member.peer, gen, text, at: timeline.elapsedMs, hearers }
    const isUp = (): boolean => member.isUp
    // A crash may have come before it was durable: then nothing was said.
    if ((await member.say(text)) && isUp()) ledger.said.push(said)
  }

  async #invite(by: SimMember, others: readonly SimMember[]): Promise<void> {
    const changes: Change[] = []
    for (const other of others) {
      const { keyPackage, ref } = await other.keyPackage()
      changes.push({ kind: 'add', peer: other.peer, keyPackage, ref })
    }
    await by.ask({ kind: 'changesAsked', changes })
  }

  async #change(member: SimMember, kind: Step['kind'], chance: Chance): Promise<void> {
    if (!member.isUp || !member.isMember) return
    const { view } = member
    if (kind === 'leave') {
      await member.ask({ kind: 'leaveAsked' })
      return
    }
    if (kind === 'rekey') {
      await member.ask({ kind: 'changesAsked', changes: [{ kind: 'rekey' }] })
      return
    }
    if (kind === 'add') {
      const other = chance.pick(this.#all.filter(({ peer }) => !view.roster.has(peer)))
      if (other !== undefined) await this.#invite(member, [other])
      return
    }
    const others = [...view.roster].filter(([peer]) => peer !== member.peer)
    const [peer, gen] = chance.pick(others) ?? []
    if (peer === undefined || gen === undefined) return
    const other = this.#world.members.get(peer)
    // Who is to be removed may come back with what it has now.
    if (kind === 'remove' && other?.isUp === true) this.#backups.set(other.peer, other.backup())
    const ref = { peer, gen }
    const change: Change =
      kind === 'remove'
        ? { kind, member: ref }
        : { kind: 'role', member: ref, role: kind === 'promote' ? 'admin' : 'member' }
    await member.ask({ kind: 'changesAsked', changes: [change] })
  }
}
