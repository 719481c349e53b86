// Stories of the crash matrix, and how a case of one is played.
import type { Violation } from './crash-oracle.ts'
import { CUSTODIANS, EPOCH_MS, World } from './crash-world.ts'
import type { Base, Stage, Troubles } from './crash-world.ts'
import type { Name } from './hosts.ts'
import type { VirtualTime } from './virtual-time.ts'

/** A story. */
export interface Scenario {
  readonly name: string
  /** What the disks hold at first: nothing, custodians chosen, or a conversation with queue keys, too. */
  readonly base: 'nothing' | 'joined' | 'acquainted'
  readonly isMailing: boolean
  /** Every so manieth failpoint is a case, unless all are wanted. */
  readonly each: number
  readonly stages: readonly Stage[]
  /** Who ends at its points. */
  readonly roles: readonly Name[]
}

const THREE = (who: string): string[] => [1, 2, 3].map((n) => `${who} ${n}`)
const always = (): boolean => true

/** Alice and Bob talk while both are there. */
const ONLINE: Scenario = {
  name: 'online',
  base: 'nothing',
  isMailing: false,
  each: 1,
  roles: ['alice', 'bob'],
  stages: [
    {
      until: always,
      then(world) {
        world.start('alice', 'bob')
        world.say('alice', 'bob', ...THREE('alice'))
      },
    },
    {
      until: ({ oracle }) => oracle.hasArrived('bob', 'alice 1'),
      then: (world) => world.say('bob', 'alice', ...THREE('bob')),
    },
  ],
}

/** Both begin at the same time. */
const CROSSED: Scenario = {
  name: 'crossed',
  base: 'nothing',
  isMailing: false,
  each: 1,
  roles: ['alice', 'bob'],
  stages: [
    {
      until: always,
      then(world) {
        world.start('alice', 'bob')
        world.say('alice', 'bob', 'alice 1', 'alice 2')
        world.say('bob', 'alice', 'bob 1', 'bob 2')
      },
    },
  ],
}

/** Bob is away; Alice goes; Bob comes back and goes; Alice comes back. */
function away(name: string, base: Scenario['base']): Scenario {
  const texts = THREE('alice')
  return {
    name,
    base,
    isMailing: true,
    each: 1,
    roles: ['alice', 'bob', 'rita'],
    stages: [
      {
        until: always,
        then(world) {
          world.start(...CUSTODIANS, 'alice')
          world.say('alice', 'bob', ...texts)
        },
      },
      {
        until: ({ oracle }) => texts.every((text) => oracle.isStored('alice', text)),
        then(world) {
          world.leave('alice')
          world.start('bob')
        },
      },
      {
        until: (world) =>
          texts.every((text) => world.oracle.hasArrived('bob', text)) &&
          world.disks.get('bob')!.table('inbox').size === 0 &&
          world.isDrained('bob'),
        then(world) {
          world.leave('bob')
          world.start('alice')
        },
      },
    ],
  }
}

/** Bob finds custodians. */
const JOINING: Scenario = {
  name: 'joining',
  base: 'nothing',
  isMailing: true,
  each: 4,
  roles: ['bob', 'rita'],
  stages: [
    { until: always, then: (world) => world.start(...CUSTODIANS, 'bob') },
    {
      until: (world) => world.custodiansOf('bob') === 3,
      then(world) {
        world.leave('bob')
        world.start('alice')
        world.say('alice', 'bob', 'alice 1')
      },
    },
    {
      until: ({ oracle }) => oracle.isStored('alice', 'alice 1'),
      then: (world) => world.start('bob'),
    },
  ],
}

/** All stories. */
export const SCENARIOS: readonly Scenario[] = [
  ONLINE,
  CROSSED,
  away('away', 'acquainted'),
  away('first contact', 'joined'),
  JOINING,
]

/** A restored node has forgotten a key that the other will not tell again soon; strangers' room is left to it. */
function areAcquainted(world: World): boolean {
  if (world.oracle.restored.size > 0) return true
  return world.hasQueueKey('alice', 'bob') && world.hasQueueKey('bob', 'alice')
}

/** Everything that was said is handled, queue keys are known, and a fresh message goes each way. */
function ending(isMailing: boolean): Stage[] {
  const isQuiet = (world: World): boolean =>
    world.allHandled() && world.isDrained('alice') && world.isDrained('bob')
  return [
    {
      until: always,
      then: (world) => world.start('alice', 'bob', ...(isMailing ? CUSTODIANS : [])),
    },
    {
      until: isQuiet,
      then(world) {
        world.say('alice', 'bob', 'fresh alice')
        world.say('bob', 'alice', 'fresh bob')
      },
    },
    { until: (world) => isQuiet(world) && (!isMailing || areAcquainted(world)) },
  ]
}

/** What a case came to. */
export interface Outcome {
  readonly violations: readonly Violation[]
  readonly points: readonly string[]
  readonly sessions: number
  readonly resets: number
}

/** Makes cases of scenarios; bases are played once. */
export class Theatre {
  readonly #time: VirtualTime
  readonly #bases = new Map<Scenario['base'], Base | undefined>()

  constructor(time: VirtualTime) {
    this.#time = time
  }

  /** Plays one case. */
  async play(scenario: Scenario, seed: string, troubles: Troubles = {}): Promise<Outcome> {
    const base = await this.#base(scenario.base)
    const { isMailing, stages } = scenario
    this.#time.reset(EPOCH_MS + 3_600_000)
    const world = new World(this.#time, seed, troubles, { base, isMailing })
    const isOver = await world.play([...stages, ...ending(isMailing)])
    if (isOver) world.oracle.finish()
    world.end()
    const { violations, sessions, resets } = world.oracle
    return { violations, points: world.points, sessions: sessions.size, resets }
  }

  async #base(kind: Scenario['base']): Promise<Base | undefined> {
    if (kind === 'nothing') return undefined
    const known = this.#bases.get(kind)
    if (known !== undefined) return known
    this.#time.reset(EPOCH_MS)
    const world = new World(this.#time, `base ${kind}`, {}, { isMailing: true })
    world.start(...CUSTODIANS, 'alice', 'bob')
    const isJoined = (): boolean => world.custodiansOf('alice') + world.custodiansOf('bob') === 6
    const stages: Stage[] = [{ until: isJoined }]
    if (kind === 'acquainted') {
      world.say('alice', 'bob', 'hello bob')
      stages.push(
        {
          until: () => world.allHandled(),
          then: () => world.say('bob', 'alice', 'hello alice'),
        },
        { until: () => world.allHandled() && world.isDrained('bob') && world.isDrained('alice') },
      )
    }
    const isReady = await world.play(stages)
    if (!isReady) throw new Error(`no base: ${JSON.stringify(world.oracle.violations)}`)
    const base = world.snapshot()
    world.end()
    this.#bases.set(kind, base)
    return base
  }
}
