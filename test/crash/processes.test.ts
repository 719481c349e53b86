// Crashes of real processes on real databases over loopback: SIGKILL at failpoints of sender, recipient and custodian,
// spread evenly over those of a recorded run, with a torn write at the end of the log; and a restored database folder.
// `CASES=all` plays every failpoint.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, cpSync, existsSync, globSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { native } from '../../src/crypto/native.ts'
import type { AgentEvent } from '../../src/node/types.ts'
import type { Neighbour, Sending } from '../support/crash-child.ts'
import { SEEDS, until } from '../support/direct-node.ts'
import { Scratch } from '../support/store.ts'

const test = suite('crash matrix · processes')
const child = new URL('../support/crash-child.ts', import.meta.url).pathname

const ROLES = ['alice', 'bob', 'rita'] as const
type Role = (typeof ROLES)[number]

/** Crashes of each role, unless all are wanted. */
const CASES_EACH = 4
/** After this, and one case of each role, no further one is begun. */
const BUDGET_MS = 70_000
const CASE_MS = 40_000
const IS_ALL = process.env['CASES'] === 'all'
const TEXTS = ['first', 'second']

const peerOf = (role: Role): PeerId =>
  peerIdFromPublicKey(native.signPublic(new Uint8Array(32).fill(SEEDS[role])))

interface Facts {
  readonly ready?: readonly string[]
  readonly regressed?: boolean
  readonly custodians?: number
  readonly events?: readonly AgentEvent[]
}

/** One node: its folder, and its process while it runs. */
class Actor {
  readonly role: Role
  readonly home: string
  addresses: readonly string[] = []
  custodians = 0
  events: readonly AgentEvent[] = []
  starts = 0
  wasRegressed = false
  #process: ChildProcess | undefined
  #ended: Promise<unknown> = Promise.resolve()

  constructor(role: Role, folder: string) {
    this.role = role
    this.home = join(folder, role)
  }

  get isRunning(): boolean {
    return this.#process !== undefined
  }

  async start(cast: Cast, sends: readonly Sending[], env: NodeJS.ProcessEnv = {}): Promise<void> {
    const listen = this.addresses[0]?.replace(/\/p2p\/.*/, '') ?? '/ip4/127.0.0.1/tcp/0'
    const peers = cast.neighboursOf(this.role)
    const args = [child, this.home, this.role, listen, JSON.stringify(peers), JSON.stringify(sends)]
    const started = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, SEALS: `${this.home}.seals`, ...env },
    })
    this.#process = started
    this.starts += 1
    let isReady = false
    let rest = ''
    started.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const facts = JSON.parse(line) as Facts
        if (facts.ready !== undefined) isReady = true
        this.addresses = facts.ready ?? this.addresses
        this.wasRegressed = facts.regressed ?? this.wasRegressed
        this.custodians = facts.custodians ?? this.custodians
        this.events = facts.events ?? this.events
      }
    })
    this.#ended = once(started, 'close').then(() => {
      if (this.#process === started) this.#process = undefined
    })
    await until(`${this.role} starts`, () => isReady || !this.isRunning, CASE_MS)
  }

  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL')
    await this.#ended
  }

  /** A write was under way when the power went: the log ends in the middle of a record. */
  tear(bytes: number): void {
    const [log] = globSync(join(this.home, '**/*.log')).sort().reverse()
    if (log === undefined) return
    const begun = readFileSync(log).subarray(0, bytes)
    appendFileSync(log, begun)
  }

  arrivals(text: string): number {
    return this.events.filter(({ kind, data }) => kind === 'message' && data['text'] === text)
      .length
  }

  /** States of its messages, in the order in which they became durable. */
  states(): string[] {
    return this.events
      .filter(({ kind }) => kind === 'state')
      .map(({ data }) => String(data['state']))
  }
}

/** Three nodes. */
class Cast implements AsyncDisposable {
  readonly actors: Readonly<Record<Role, Actor>>

  constructor(folder: string) {
    const make = (role: Role): Actor => new Actor(role, folder)
    this.actors = { alice: make('alice'), bob: make('bob'), rita: make('rita') }
  }

  neighboursOf(role: Role): Neighbour[] {
    return ROLES.filter((other) => other !== role).map((other) => ({
      peer: peerOf(other),
      addresses: this.actors[other].addresses,
      isCustodian: other === 'rita' && role !== 'rita',
    }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Object.values(this.actors).map((actor) => actor.kill()))
  }
}

const sends = (to: Role, texts: readonly string[]): Sending[] =>
  texts.map((text) => ({ to: peerOf(to), text }))

/** Bob has chosen his custodian and gone. */
async function prepare(folder: string): Promise<void> {
  await using cast = new Cast(folder)
  const { bob, rita } = cast.actors
  await rita.start(cast, [])
  await bob.start(cast, [])
  await until('a custodian', () => bob.custodians === 1, CASE_MS)
  await new Promise((resolve) => setTimeout(resolve, 1_000)) // prekeys follow
}

interface Ending {
  readonly role: Role
  readonly point: string
  readonly tornBytes: number
}

/** Alice writes while Bob is away, Bob comes; whoever ends starts again. */
async function play(base: string, folder: string, ending?: Ending): Promise<void> {
  cpSync(base, folder, { recursive: true })
  await using cast = new Cast(folder)
  const { alice, bob, rita } = cast.actors
  const toSend = { alice: sends('bob', TEXTS), bob: sends('alice', ['answer']), rita: [] }
  const start = async (actor: Actor): Promise<void> => {
    const isDoomed = actor.role === ending?.role && actor.starts === 0
    await actor.start(cast, toSend[actor.role], {
      POINTS: `${folder}/${actor.role}.points`,
      ...(isDoomed && { CRASH_AT: ending.point }),
    })
    if (actor.isRunning) return
    if (ending !== undefined) actor.tear(ending.tornBytes)
    await start(actor)
  }
  /** Waits, and starts again who has ended meanwhile. */
  const reach = (claim: string, holds: () => boolean): Promise<void> =>
    until(
      `${ending?.role ?? ''} ${ending?.point ?? ''}: ${claim}`,
      async () => {
        for (const actor of Object.values(cast.actors)) {
          if (actor.starts === 0 || actor.isRunning) continue
          if (ending !== undefined) actor.tear(ending.tornBytes)
          await start(actor)
        }
        return holds()
      },
      CASE_MS,
    )
  await start(rita)
  await start(alice)
  await reach('stored', () => alice.states().filter((state) => state === 'stored').length >= 2)
  await start(bob)
  const handled = (actor: Actor, count: number): boolean =>
    actor.states().filter((state) => state === 'handled').length >= count
  await reach('handled', () => handled(alice, TEXTS.length) && handled(bob, 1))
  for (const text of TEXTS) assert.is(bob.arrivals(text), 1, `${text} came once`)
  assert.is(alice.arrivals('answer'), 1, 'the answer came once')
  for (const { home } of Object.values(cast.actors)) assertSealedOnce(`${home}.seals`)
}

/** No key and nonce sealed two plaintexts, over all starts. */
function assertSealedOnce(file: string): void {
  if (!existsSync(file)) return
  const seals = new Map<string, string>()
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [pair = '', sealed = ''] = line.split(' ')
    assert.is(seals.get(pair) ?? sealed, sealed, 'a key and a nonce are used once')
    seals.set(pair, sealed)
  }
}

/** So many of them, evenly spread. */
function spread<Item>(items: readonly Item[], count: number): Item[] {
  const step = Math.max(1, items.length / count)
  return items
    .filter((_, at) => Math.floor((at + 1) / step) > Math.floor(at / step))
    .slice(0, count)
}

test('SIGKILL at failpoints of each role, with a torn log', async () => {
  using scratch = new Scratch()
  const end = performance.now() + BUDGET_MS
  const base = join(scratch.path, 'base')
  await prepare(base)
  const recorded = join(scratch.path, 'recorded')
  await play(base, recorded)
  const endings = ROLES.map((role): Ending[] => {
    const points = readFileSync(`${recorded}/${role}.points`, 'utf8').trim().split('\n')
    const wanted = points.filter((point) => IS_ALL || !/^store\.(?:get|rows)/.test(point))
    const some = IS_ALL ? wanted : spread(wanted, CASES_EACH)
    console.log(`${role}: ${wanted.length} failpoints, ${some.length} of them played`)
    return some.map((point, at) => ({ role, point, tornBytes: 1 + 37 * at }))
  })
  let played = 0
  const longest = Math.max(...endings.map((some) => some.length))
  for (let at = 0; at < longest; at++) {
    for (const ending of endings.map((some) => some[at])) {
      if (ending === undefined) continue
      if (at > 0 && !IS_ALL && performance.now() > end) continue
      const folder = join(scratch.path, `case-${played}`)
      await play(base, folder, ending)
      rmSync(folder, { recursive: true })
      played += 1
    }
  }
  console.log(`${played} processes killed at a failpoint`)
  assert.ok(played >= ROLES.length)
})

test('a restored database folder: regressed once, and messages go both ways', async () => {
  using scratch = new Scratch()
  const folder = join(scratch.path, 'homes')
  await using cast = new Cast(folder)
  const { alice, bob, rita } = cast.actors
  await rita.start(cast, [])
  await bob.start(cast, sends('alice', ['to alice']))
  await alice.start(cast, sends('bob', ['in the backup']))
  await bob.kill()
  await bob.start(cast, sends('alice', ['to alice']))
  await until('arrival', () => bob.arrivals('in the backup') === 1, CASE_MS)
  await alice.kill()
  const database = join(alice.home, 'db')
  const [found = database] = globSync(join(alice.home, '**/CURRENT')).map((file) =>
    join(file, '..'),
  )
  const backup = join(scratch.path, 'backup')
  cpSync(found, backup, { recursive: true })
  await alice.start(cast, sends('bob', ['not in the backup']))
  await until('arrival', () => bob.arrivals('not in the backup') === 1, CASE_MS)
  await alice.kill()
  rmSync(found, { recursive: true })
  cpSync(backup, found, { recursive: true })
  await alice.start(cast, sends('bob', ['after the restore']))
  assert.is(alice.wasRegressed, true)
  await until('arrival', () => bob.arrivals('after the restore') === 1, CASE_MS)
  await bob.kill()
  await bob.start(cast, sends('alice', ['to the restored']))
  await until('arrival', () => alice.arrivals('to the restored') === 1, CASE_MS)
  assertSealedOnce(`${alice.home}.seals`)
  await alice.kill()
  await alice.start(cast, [])
  assert.is(alice.wasRegressed, false)
})

test.run()
