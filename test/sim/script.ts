// What happens in one simulation, planned from its seed as a list: so that a failing run can be made smaller by leaving
// things out.
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../protocols/base/time.ts'
import { Chance } from './chance.ts'
import type { CrashPoint } from './cast.ts'
import type { Weather } from './network.ts'

/** What agents ask for. */
type ActionKind = 'say' | 'rekey' | 'add' | 'remove' | 'promote' | 'demote' | 'leave'
/** What befalls members, and what bad ones do. */
type FaultKind =
  | 'crash'
  | 'fuse'
  | 'cut'
  | 'storm'
  | 'backup'
  | 'restore'
  | 'flood'
  | 'doubleVote'
  | 'falseRecord'
  | 'withhold'
  | 'badPath'
  | 'grind'
  | 'collude'
  | 'replay'
  | 'ghost'

/** What a step does. */
export type StepKind = ActionKind | FaultKind

/** One thing that happens. */
export interface Step {
  readonly at: number
  readonly kind: StepKind
  /** Index of a member; others are chosen by `salt` among those that fit then. */
  readonly who: number
  readonly salt: number
  /** How long it lasts. */
  readonly forMs: number
  /** Members on one side of a cut, as bits. */
  readonly side?: number
  readonly oneWay?: boolean
  readonly point?: CrashPoint
  readonly weather?: Weather
}

/** How likely what is. */
export type Mix = Readonly<Partial<Record<StepKind, number>>>

/** One kind of run. */
export interface Scenario {
  readonly mix: Mix
  readonly steps: number
  /** Commits asked for at most. */
  readonly changes: number
  readonly lastsMs: number
  readonly cutMs: readonly [number, number]
  readonly downMs: readonly [number, number]
  /** Members that break the rules. */
  readonly bad: number
  /** Members at least, where it takes more of them to keep the rules. */
  readonly least?: number
  /** Too much goes on for a large group. */
  readonly isSmall?: true
}

const TALK: Mix = { say: 50, rekey: 12, add: 7, remove: 4, promote: 3, demote: 1, leave: 1 }

/** The name of a kind of run. */
export type ScenarioName =
  'usual' | 'long' | 'backups' | 'quarrels' | 'liars' | 'colluders' | 'ghosts' | 'days'

/** Kinds of runs, by name. */
export const SCENARIOS: Readonly<Record<ScenarioName, Scenario>> = {
  /** Members that talk and change things, in rain and with crashes. */
  usual: {
    mix: { ...TALK, crash: 4, fuse: 6, cut: 6, storm: 2, replay: 2 },
    steps: 70,
    changes: 14,
    lastsMs: 8 * MINUTE_MS,
    cutMs: [SECOND_MS, 40 * SECOND_MS],
    downMs: [100, 30 * SECOND_MS],
    bad: 0,
  },
  /** Both sides of a long cut go on for more epochs than anybody holds. */
  long: {
    isSmall: true,
    mix: { say: 30, rekey: 40, add: 3, remove: 2, cut: 3, crash: 2, replay: 3 },
    steps: 70,
    changes: 40,
    lastsMs: 12 * MINUTE_MS,
    cutMs: [3 * MINUTE_MS, 8 * MINUTE_MS],
    downMs: [100, 30 * SECOND_MS],
    bad: 0,
  },
  /** Old backups come back. */
  backups: {
    mix: { ...TALK, crash: 3, fuse: 3, cut: 3, backup: 6, restore: 6 },
    steps: 60,
    changes: 14,
    lastsMs: 8 * MINUTE_MS,
    cutMs: [SECOND_MS, 40 * SECOND_MS],
    downMs: [100, 30 * SECOND_MS],
    bad: 0,
  },
  /** Admins remove each other and others on both sides of cuts. */
  quarrels: {
    mix: { say: 40, rekey: 4, add: 6, remove: 14, promote: 8, demote: 3, cut: 10, fuse: 2 },
    steps: 60,
    changes: 12,
    lastsMs: 8 * MINUTE_MS,
    cutMs: [10 * SECOND_MS, 60 * SECOND_MS],
    downMs: [100, 30 * SECOND_MS],
    bad: 0,
  },
  /** Somebody votes twice, lies, withholds, floods, grinds ids and makes paths that not all can open. */
  liars: {
    isSmall: true,
    mix: {
      ...{ ...TALK, cut: 4, fuse: 2, doubleVote: 5, falseRecord: 3, withhold: 3, flood: 2 },
      ...{ badPath: 3, grind: 3 },
    },
    steps: 60,
    changes: 14,
    lastsMs: 8 * MINUTE_MS,
    cutMs: [SECOND_MS, 40 * SECOND_MS],
    downMs: [100, 30 * SECOND_MS],
    bad: 1,
  },
  /** Two share everything, also where one of them is removed or beyond a cut. */
  colluders: {
    isSmall: true,
    least: 6,
    mix: { say: 40, rekey: 8, add: 6, remove: 3, promote: 2, cut: 6, collude: 12, replay: 4 },
    steps: 60,
    changes: 12,
    lastsMs: 8 * MINUTE_MS,
    cutMs: [5 * SECOND_MS, 60 * SECOND_MS],
    downMs: [10 * SECOND_MS, 60 * SECOND_MS],
    bad: 2,
  },
  /** Who was removed comes back from old states; what was sent comes again. */
  ghosts: {
    mix: { say: 40, rekey: 4, add: 4, remove: 8, promote: 6, cut: 4, ghost: 8, replay: 10 },
    steps: 60,
    changes: 8,
    lastsMs: 8 * MINUTE_MS,
    cutMs: [SECOND_MS, 40 * SECOND_MS],
    downMs: [100, 30 * SECOND_MS],
    bad: 0,
  },
  /** Members are away for days. */
  days: {
    isSmall: true,
    mix: { ...TALK, crash: 8, cut: 2, replay: 2 },
    steps: 60,
    changes: 14,
    lastsMs: 60 * HOUR_MS,
    cutMs: [MINUTE_MS, HOUR_MS],
    downMs: [HOUR_MS, 30 * HOUR_MS],
    bad: 0,
  },
}

/** Everything that one run is made from. */
export interface Script {
  readonly seed: number
  readonly scenario: ScenarioName
  readonly members: number
  /** Members from the beginning. */
  readonly first: number
  /** Clocks against the right time. */
  readonly skewsMs: readonly number[]
  /** Members that break the rules, by index. */
  readonly bad: readonly number[]
  readonly weather: Weather
  readonly lastsMs: number
  readonly steps: readonly Step[]
}

/** What may be asked of a plan. */
export interface PlanOptions {
  readonly scenario?: ScenarioName
  readonly members?: number
  readonly hours?: number
  /** In per cent; otherwise the seed decides. */
  readonly loss?: number
}

const CHANGES: ReadonlySet<StepKind> = new Set<StepKind>([
  'rekey',
  'add',
  'remove',
  'promote',
  'demote',
  'leave',
])
const SKEW_MS: number = 10 * MINUTE_MS
const LOSSES = [0, 0.1, 0.2, 0.3] as const

/** Scenarios by their share of seeds. */
const ROTA: readonly ScenarioName[] = (
  [
    ['usual', 5],
    ['long', 3],
    ['backups', 3],
    ['quarrels', 3],
    ['liars', 3],
    ['colluders', 2],
    ['ghosts', 3],
    ['days', 1],
  ] as const
).flatMap(([name, share]) => Array.from({ length: share }, () => name))

/** Members of most groups, of the large ones, and the share of those. */
const USUAL_MEMBERS: readonly [number, number] = [4, 7]
const LARGE_MEMBERS: readonly [number, number] = [9, 16]
const LARGE_SHARE = 0.06
/** Of what happens in others this much happens in a large group. */
const LARGE_STEPS_SHARE = 0.5

/** Plans a run. */
export function plan(seed: number, options: PlanOptions = {}): Script {
  const chance = new Chance(`plan ${seed}`)
  const name = options.scenario ?? chance.pick(ROTA) ?? 'usual'
  const scenario: Scenario = SCENARIOS[name]
  const members = options.members ?? membersOf(chance.fork('members'), scenario)
  const lastsMs = options.hours === undefined ? scenario.lastsMs : options.hours * HOUR_MS
  const loss = options.loss === undefined ? (chance.pick(LOSSES) ?? 0) : options.loss / 100
  const isSkewed = chance.share() < 0.3
  const skewsMs = Array.from({ length: members }, () =>
    isSkewed ? Math.round(chance.between(-SKEW_MS, SKEW_MS)) : 0,
  )
  const slow = chance.share() < 0.2 ? 5_000 : 400
  const weather: Weather = { loss, repeats: 0.1, delayMs: [5, slow] }
  const scale = lastsMs / scenario.lastsMs
  const share = members < LARGE_MEMBERS[0] ? 1 : LARGE_STEPS_SHARE
  const count = Math.round(scenario.steps * share * Math.max(1, Math.min(scale, 20)))
  const steps = planSteps(chance.fork('steps'), scenario, { members, lastsMs, count })
  return {
    seed,
    scenario: name,
    members,
    first: Math.max(3, members - 2),
    skewsMs,
    bad: Array.from({ length: scenario.bad }, (_, i) => members - 1 - i),
    weather,
    lastsMs,
    steps,
  }
}

function membersOf(chance: Chance, { isSmall, least = 0 }: Scenario): number {
  const isLarge = isSmall !== true && chance.share() < LARGE_SHARE
  const [fewest, most] = isLarge ? LARGE_MEMBERS : USUAL_MEMBERS
  return Math.max(least, fewest + chance.upTo(most - fewest + 1))
}

function planSteps(
  chance: Chance,
  scenario: Scenario,
  { members, lastsMs, count }: { members: number; lastsMs: number; count: number },
): Step[] {
  const kinds = Object.entries(scenario.mix) as [StepKind, number][]
  const total = kinds.reduce((sum, [, weight]) => sum + weight, 0)
  const times = timesOf(chance, count, lastsMs)
  const steps: Step[] = []
  let changes = 0
  for (const at of times) {
    let dice = chance.share() * total
    const kind = kinds.find(([, weight]) => (dice -= weight) < 0)?.[0] ?? 'say'
    const [who, salt] = [chance.upTo(members), chance.upTo(2 ** 30)]
    const own = chance.fork(`${at} ${salt}`)
    if (CHANGES.has(kind) && ++changes > scenario.changes) continue
    const range = kind === 'cut' || kind === 'storm' ? scenario.cutMs : scenario.downMs
    const step: Step = { at, kind, who, salt, forMs: Math.round(own.between(...range)) }
    steps.push({ ...step, ...extrasOf(kind, own, members) })
  }
  return steps
}

/** When things happen: some at leisure, some on the heels of others. */
function timesOf(chance: Chance, count: number, lastsMs: number): number[] {
  const times: number[] = []
  while (times.length < count) {
    const at = chance.upTo(lastsMs)
    times.push(at)
    while (times.length < count && chance.share() < 0.4) times.push(at + chance.upTo(400))
  }
  return times.sort((a, b) => a - b)
}

function extrasOf(kind: StepKind, chance: Chance, members: number): Partial<Step> {
  switch (kind) {
    case 'cut':
      return { side: 1 + chance.upTo(2 ** members - 2), oneWay: chance.share() < 0.2 }
    case 'storm':
      return {
        weather: {
          loss: chance.between(0.1, 0.3),
          repeats: 0.3,
          delayMs: [5, chance.pick([1_000, 10_000, 30_000]) ?? 1_000],
        },
      }
    case 'fuse':
      return { point: chance.pick(['before', 'after', 'between'] as const) ?? 'before' }
    default:
      return {}
  }
}
