// A world of nodes that end at failpoints and start again on what their disks kept, driven by agents outside of them.
import { toTimeMs } from '../../protocols/base/time.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { postbagSize } from '../../protocols/direct/receipts.ts'
import { native } from '../../src/crypto/native.ts'
import type { Host } from '../../src/host/types.ts'
import { openDirect } from '../../src/node/direct.ts'
import type { Direct } from '../../src/node/direct.ts'
import { decodeLedger, TABLES } from '../../src/node/direct-rows.ts'
import { openEventLog } from '../../src/node/events.ts'
import { QUIET_LOG } from '../../src/node/log.ts'
import { makeStore } from '../../src/store/database.ts'
import { CrashDisk, NO_SEAL } from './crash-disk.ts'
import { Oracle } from './crash-oracle.ts'
import { say, SEEDS } from './direct-node.ts'
import { Counter, probedHost, probedStore } from './failpoints.ts'
import type { Probe } from './failpoints.ts'
import type { Name } from './hosts.ts'
import { MemoryNet } from './memory-net.ts'
import { seededBytes } from './seeded.ts'
import type { Owner, VirtualTime } from './virtual-time.ts'

/** When every world begins. */
export const EPOCH_MS = 1_750_000_000_000
/** How long a node stays down after a crash. */
const RESTART_MS = 150
/** After a fault of the disk an agent tries again. */
const AGAIN_MS = 300
/** How long after its arrival an agent has handled a message. */
const HANDLE_MS = 20
/** A case that is not over after this is stuck. */
const CASE_MS_MAX = 1_800_000
/** What is drawn at once. */
const POOL_BYTES = 8_000
/** Within which a connection to a custodian is looked after. */
const REDIAL_MS = 200

/** Draws in large pieces, for speed. */
function pooled(draw: (length: number) => Bytes): (length: number) => Bytes {
  let pool = draw(POOL_BYTES)
  let at = 0
  return (length) => {
    if (at + length > POOL_BYTES) {
      pool = draw(POOL_BYTES)
      at = 0
    }
    if (length > POOL_BYTES) return draw(length)
    at += length
    return pool.slice(at - length, at)
  }
}

/** Who keeps mail. */
export const CUSTODIANS: readonly Name[] = ['rita', 'max', 'mallory']
const EVERYBODY: readonly Name[] = ['alice', 'bob', ...CUSTODIANS]

const secretOf = (name: Name): Bytes => new Uint8Array(32).fill(SEEDS[name])

/** The peer ID of each. */
export const PEERS: ReadonlyMap<Name, PeerId> = new Map(
  EVERYBODY.map((name) => [name, peerIdFromPublicKey(native.signPublic(secretOf(name)))]),
)
const NAMES: ReadonlyMap<PeerId, Name> = new Map([...PEERS].map(([name, peer]) => [peer, name]))

/** The peer ID of one. */
export function peerOf(name: Name): PeerId {
  return PEERS.get(name)!
}

/** What one step of a story waits for, and does. */
export interface Stage {
  readonly until: (world: World) => boolean
  readonly then?: (world: World) => void
}

/** What may go wrong beside crashes. */
export interface Troubles {
  /** Points at which the node that reaches them ends. */
  readonly crashes?: readonly string[]
  /** From this point on, the disk of the node that reaches it is full for a while. */
  readonly full?: { readonly point: string; readonly ms: number }
  /** Nodes whose disks answer before they write. */
  readonly late?: readonly Name[]
  /** At the first point the disk is copied; at the second the node ends and starts on the copy. */
  readonly restore?: { readonly backup: string; readonly at: string }
  /** Changes a node's host: a mutant. */
  readonly mutate?: (name: Name, host: Host, disk: CrashDisk) => Host
}

interface Running {
  readonly owner: Owner
  direct: Direct | undefined
}

interface Plan {
  readonly to: Name
  readonly text: string
  isSent: boolean
}

/** Rows to begin with. */
export type Base = ReadonlyMap<Name, CrashDisk>

/** One case. */
export class World {
  readonly time: VirtualTime
  readonly oracle: Oracle
  readonly disks: ReadonlyMap<Name, CrashDisk>
  /** Every point reached, in order. */
  readonly points: string[] = []
  readonly net: MemoryNet
  readonly #troubles: Troubles
  readonly #crashes: Set<string>
  readonly #seed: string
  readonly #running = new Map<Name, Running>()
  readonly #starts = new Map<Name, number>()
  readonly #away = new Set<Name>()
  readonly #plans = new Map<Name, Plan[]>()
  readonly #regressed = new Set<Name>()
  readonly #backups = new Map<Name, CrashDisk>()
  readonly #isMailing: boolean

  constructor(
    time: VirtualTime,
    seed: string,
    troubles: Troubles,
    { base, isMailing }: { readonly base?: Base | undefined; readonly isMailing: boolean },
  ) {
    this.time = time
    this.#troubles = troubles
    this.#crashes = new Set(troubles.crashes)
    this.#isMailing = isMailing
    this.#seed = seed
    const jitter = pooled(seededBytes(`${seed} jitter`))
    Math.random = () => (jitter(1)[0] ?? 0) / 256
    const isLate = (name: Name): boolean => troubles.late?.includes(name) === true
    this.disks = new Map(
      EVERYBODY.map((name) => {
        const disk = base?.get(name)?.copy(isLate(name)) ?? new CrashDisk(undefined, isLate(name))
        return [name, disk]
      }),
    )
    this.oracle = new Oracle(this.disks, NAMES)
    this.net = new MemoryNet(time)
    this.net.onDeparture = (departure) => this.oracle.departed(departure)
    for (const [name, disk] of this.disks) {
      disk.onDurable = (changes) => {
        this.oracle.durable(name, changes)
        const hasNews = changes.some(({ table, value }) => table === TABLES.inbox && value)
        if (hasNews) this.#handleSoon(name)
      }
    }
  }

  /** Switches a node on. */
  start(...names: readonly Name[]): void {
    for (const name of names) {
      this.#away.delete(name)
      if (!this.#running.has(name)) this.#start(name)
    }
  }

  /** A node goes away, as if its power were cut, until it is started again. */
  leave(name: Name): void {
    this.#away.add(name)
    this.#end(name)
  }

  /** An agent wants to send a message, whatever happens to its node. */
  say(from: Name, to: Name, ...texts: readonly string[]): void {
    const plans = this.#plans.get(from) ?? []
    plans.push(...texts.map((text) => ({ to, text, isSent: false })))
    this.#plans.set(from, plans)
    this.#pump(from)
  }

  /**
   * True once all that was said was handled, and its sender knows. A recipient that forgot a message handles it no more.
   */
  allHandled(): boolean {
    return [...this.#plans].every(([from, plans]) =>
      plans.every(({ to, text, isSent }) => {
        const isForgotten = this.oracle.restored.has(to) && this.oracle.isDelivered(from, text)
        return isSent && (isForgotten || this.oracle.isHandled(from, text))
      }),
    )
  }

  /** True if nothing waits to be sent on a disk. */
  isDrained(name: Name): boolean {
    const disk = this.disks.get(name)
    if (disk === undefined) return true
    if (disk.table(TABLES.notice).size > 0 || disk.table(TABLES.outbox).size > 0) return false
    const ledgers = [...disk.table(TABLES.peer).values()]
    return ledgers.every((row) => postbagSize(decodeLedger(row).postbag) === 0)
  }

  /** True if a node has the other's queue key, or the other is sure to tell it in its next envelope. */
  hasQueueKey(name: Name, other: Name): boolean {
    const ledger = (of: Name, with_: Name) => {
      const row = this.disks.get(of)!.table(TABLES.peer).get(peerOf(with_))
      return row === undefined ? undefined : decodeLedger(row)
    }
    return (ledger(name, other)?.granted ?? ledger(other, name)?.offered) !== undefined
  }

  /** Custodians that a node's own record names, each with prekeys to hand out. */
  custodiansOf(name: Name): number {
    const direct = this.#running.get(name)?.direct
    const peer = peerOf(name)
    return (direct?.mailboxes.facts().custodians ?? []).filter((custodian) => {
      const entries = this.disks.get(NAMES.get(custodian)!)?.table('shard-entry').keys() ?? []
      return [...entries].some((key) => key.startsWith(peer))
    }).length
  }

  /** The durable rows of all, to begin others with. */
  snapshot(): Base {
    return new Map([...this.disks].map(([name, disk]) => [name, disk.copy(false)]))
  }

  /** Plays stages one after another; false, with a violation, if one is never reached. */
  async play(stages: readonly Stage[]): Promise<boolean> {
    for (const [at, { until, then }] of stages.entries()) {
      if (!(await this.time.run(() => until(this), CASE_MS_MAX))) {
        this.oracle.note('stuck', `stage ${at} is never over: ${this.#waiting()}`)
        return false
      }
      then?.(this)
    }
    return true
  }

  /** Ends everything. */
  end(): void {
    for (const name of this.#running.keys()) this.leave(name)
  }

  /** What is not done yet. */
  #waiting(): string {
    const texts = [...this.#plans].flatMap(([from, plans]) =>
      plans
        .filter(({ text, isSent }) => !isSent || !this.oracle.isHandled(from, text))
        .map(({ text }) => `"${text}" is ${this.oracle.stateOf(from, text)}`),
    )
    const waiting = EVERYBODY.filter((name) => !this.isDrained(name))
    const rows = waiting.map((name) => `${name} has ${this.disks.get(name)!.summary()}`)
    return [...texts, ...rows].join(', ')
  }

  #start(name: Name): void {
    const owner: Owner = { isDead: false }
    const running: Running = { owner, direct: undefined }
    this.#running.set(name, running)
    const start = (this.#starts.get(name) ?? 0) + 1
    this.#starts.set(name, start)
    const counter = new Counter()
    const probe: Probe = {
      get isOver() {
        return owner.isDead
      },
      reach: (point) => {
        if (owner.isDead) return new Promise<never>(() => undefined)
        return this.#reached(name, counter.next(`${name}.${start} ${point}`))
      },
    }
    void this.time.as(owner, () => this.#open(name, running, probe))
  }

  async #open(name: Name, running: Running, probe: Probe): Promise<void> {
    const { owner } = running
    const disk = this.disks.get(name)!
    const plain = this.net.open(peerOf(name), owner)
    const host = probedHost(this.#troubles.mutate?.(name, plain, disk) ?? plain, probe)
    const store = probedStore(makeStore(disk.open(this.time, probe), NO_SEAL), probe)
    try {
      const events = await openEventLog(store)
      const direct = await openDirect({
        host,
        store,
        primitives: this.oracle.primitives(name),
        random: pooled(seededBytes(`${this.#seed} ${name} ${this.#starts.get(name) ?? 0}`)),
        now: () => toTimeMs(this.time.now),
        events,
        secret: secretOf(name),
        open: true,
        regressed: this.#regressed.has(name),
        log: QUIET_LOG,
        mailbox: CUSTODIANS.includes(name),
      })
      await direct.start()
      this.#regressed.delete(name)
      running.direct = direct
    } catch {
      // The disk is full: as after a crash, it is tried again.
      this.#end(name)
      this.#restart(name)
      return
    }
    this.#meet(name)
    this.#pump(name)
    this.#handleSoon(name)
  }

  #reached(name: Name, point: string): Promise<never> | undefined {
    this.points.push(point)
    const { full, restore } = this.#troubles
    if (point === full?.point) this.disks.get(name)!.fullUntil = this.time.now + full.ms
    if (point === restore?.backup) this.#backups.set(name, this.disks.get(name)!.copy())
    const isRestored = point === restore?.at && this.#backups.has(name)
    if (isRestored) {
      this.#restore(name)
    }
    if (!isRestored && !this.#crashes.delete(point)) return undefined
    this.#end(name)
    this.#restart(name)
    return new Promise(() => undefined)
  }

  /** The disk is as it was; the agent does not know what became of what it had sent. */
  #restore(name: Name): void {
    this.disks.get(name)!.rollBack(this.#backups.get(name)!)
    this.oracle.restored.add(name)
    this.#regressed.add(name)
    for (const plan of this.#plans.get(name) ?? []) {
      if (!this.oracle.isHandled(name, plan.text)) plan.isSent = false
    }
  }

  #end(name: Name): void {
    const running = this.#running.get(name)
    if (running === undefined) return
    running.owner.isDead = true
    this.#running.delete(name)
    this.net.hosts.get(peerOf(name))?.vanish()
    this.oracle.checkCustody(name)
  }

  #restart(name: Name): void {
    this.time.as(undefined, () =>
      this.time.after(RESTART_MS, () => {
        if (!this.#away.has(name) && !this.#running.has(name)) this.#start(name)
      }),
    )
  }

  /** Connects a node with every custodian, as peers that it was started with. */
  #meet(name: Name): void {
    if (!this.#isMailing || CUSTODIANS.includes(name)) return
    const host = this.net.hosts.get(peerOf(name))
    if (host === undefined || host.owner.isDead) return
    for (const custodian of CUSTODIANS) {
      if (!host.isConnected(peerOf(custodian))) {
        host.connect(peerOf(custodian)).catch(() => undefined)
      }
    }
    this.time.as(host.owner, () => this.time.after(REDIAL_MS, () => this.#meet(name)))
  }

  /** Sends what the agent wants to send, one after another; an idempotency key makes repeats harmless. */
  #pump(name: Name): void {
    const running = this.#running.get(name)
    const { direct, owner } = running ?? {}
    const next = this.#plans.get(name)?.find(({ isSent }) => !isSent)
    if (direct === undefined || owner === undefined || next === undefined) return
    const { to, text } = next
    this.time.as(owner, () => {
      direct.messages
        .send(peerOf(to), say(text), { idempotencyKey: text, timeoutMs: 0 })
        .then(() => {
          if (!next.isSent) this.oracle.queued(name, to, text)
          next.isSent = true
          this.#pump(name)
        })
        .catch(() => this.time.after(AGAIN_MS, () => this.#pump(name)))
    })
  }

  #handleSoon(name: Name): void {
    const running = this.#running.get(name)
    if (running === undefined || this.disks.get(name)!.table(TABLES.inbox).size === 0) return
    this.time.as(running.owner, () =>
      this.time.after(HANDLE_MS, () => {
        const { direct } = running
        direct?.messages
          .inbox({ handle: true })
          .catch(() => this.time.after(AGAIN_MS, () => this.#handleSoon(name)))
      }),
    )
  }
}
