// The crash matrix: cases are made from what a run of a story reached, played, and named so that each can be played again.
import type { Outcome, Scenario, Theatre } from './crash-scenarios.ts'
import { SCENARIOS } from './crash-scenarios.ts'
import type { Troubles } from './crash-world.ts'
import { seededBytes } from './seeded.ts'

/** What happens at a point. */
export type Kind = 'crash' | 'full' | 'backup' | 'restore'

/** One trouble of a case. */
export interface Trouble {
  readonly kind: Kind
  readonly point: string
}

/** A story and what goes wrong in it. */
export interface Case {
  readonly scenario: Scenario
  readonly troubles: readonly Trouble[]
}

/** How long a full disk stays full. */
const FULL_MS = 2_000
/**
 * Unless all are wanted: after a read nothing is different on any disk, and around a commit nothing that is not so on a
 * side of its batch. Of these, only every so manieth point is a case.
 */
const THINNED = [
  { pattern: / store\.(?:get|rows) /, each: 16 },
  { pattern: / store\.commit /, each: 4 },
] as const
/** Resets that may follow from a restored backup, of both sides together. */
const RESETS_AFTER_RESTORE_MAX = 2
const SEED = 'crash'

/** Every case is played, whatever that takes. */
export const IS_ALL: boolean = process.env['CASES'] === 'all'

/** `online; crash alice.1 store.commit outbox #1 before`. */
export function nameOf({ scenario, troubles }: Case): string {
  return [scenario.name, ...troubles.map(({ kind, point }) => `${kind} ${point}`)].join('; ')
}

/** Reads what `nameOf` wrote. */
export function parseCase(name: string): Case {
  const [story = '', ...rest] = name.split('; ')
  const scenario = SCENARIOS.find((one) => one.name === story)
  if (scenario === undefined) throw new Error(`no story ${story}`)
  const troubles = rest.map((text): Trouble => {
    const at = text.indexOf(' ')
    return { kind: text.slice(0, at) as Kind, point: text.slice(at + 1) }
  })
  return { scenario, troubles }
}

/** What was played of a kind. */
export interface Tally {
  cases: number
  failures: string[]
}

/** Plays cases of stories and keeps count. */
export class Matrix {
  readonly #theatre: Theatre
  readonly #extra: Troubles
  readonly #plain = new Map<Scenario, Outcome>()

  /** `extra` goes wrong in every case: a mutant. */
  constructor(theatre: Theatre, extra: Troubles = {}) {
    this.#theatre = theatre
    this.#extra = extra
  }

  /** The undisturbed run of a story: what there is to fail at. */
  async plain(scenario: Scenario): Promise<Outcome> {
    const known = this.#plain.get(scenario)
    if (known !== undefined) return known
    const outcome = await this.#theatre.play(scenario, SEED, this.#extra)
    this.#plain.set(scenario, outcome)
    return outcome
  }

  /** Every point of a story at which a role of it may end, in order. */
  async failpoints(scenario: Scenario): Promise<string[]> {
    const { points } = await this.plain(scenario)
    return points.filter((point) => isOf(scenario, point))
  }

  /** Those at which it ends: without most of what changes nothing, unless all are wanted. */
  async points(scenario: Scenario): Promise<string[]> {
    const each = IS_ALL ? 1 : scenario.each
    return thin(await this.failpoints(scenario)).filter((_, at) => at % each === 0)
  }

  /** Plays a case and judges it; answers what is wrong with it. */
  async play(one: Case): Promise<Outcome & { readonly wrong: string[] }> {
    const plain = await this.plain(one.scenario)
    const outcome = await this.#theatre.play(one.scenario, SEED, {
      ...this.#extra,
      ...troublesOf(one.troubles),
    })
    const wrong = outcome.violations.map(({ fault, text }) => `${fault}: ${text}`)
    const isRestored = one.troubles.some(({ kind }) => kind === 'restore')
    const resetsMax = isRestored ? RESETS_AFTER_RESTORE_MAX : 0
    if (outcome.resets > resetsMax) wrong.push(`reset: ${outcome.resets} resets`)
    if (!isRestored && outcome.sessions > plain.sessions) {
      wrong.push(`reset: ${outcome.sessions} sessions instead of ${plain.sessions}`)
    }
    return { ...outcome, wrong }
  }

  /** Plays cases until there are no more, or as many as are wanted, or the time is up. */
  async run(
    cases: AsyncIterable<Case>,
    budgetMs: number = Infinity,
    casesMax: number = Infinity,
  ): Promise<Tally> {
    const end = performance.now() + (IS_ALL ? Infinity : budgetMs)
    const tally: Tally = { cases: 0, failures: [] }
    for await (const one of cases) {
      const { wrong } = await this.play(one)
      tally.cases += 1
      if (wrong.length > 0) tally.failures.push(`${nameOf(one)}\n    ${wrong.join('\n    ')}`)
      if (performance.now() > end || (!IS_ALL && tally.cases >= casesMax)) break
    }
    return tally
  }

  /** One crash, at every point; in a shuffled order. */
  async *singles(scenario: Scenario): AsyncIterable<Case> {
    for (const point of shuffle(await this.points(scenario), 'singles')) {
      yield { scenario, troubles: [{ kind: 'crash', point }] }
    }
  }

  /** A second crash at every point of what follows a first one; first ones in a shuffled order. */
  async *doubles(scenario: Scenario): AsyncIterable<Case> {
    for (const point of shuffle(await this.points(scenario), 'doubles')) {
      const first: Trouble = { kind: 'crash', point }
      const { points } = await this.play({ scenario, troubles: [first] })
      const later = points.slice(points.indexOf(point) + 1)
      const recovery = later.filter((one) => isOf(scenario, one) && !/^\w+\.1 /.test(one))
      for (const second of thin(recovery)) {
        yield { scenario, troubles: [first, { kind: 'crash', point: second }] }
      }
    }
  }

  /** A full disk, from every write on; it has room again after some refusals. */
  async *full(scenario: Scenario): AsyncIterable<Case> {
    const { points } = await this.plain(scenario)
    for (const point of points) {
      if (!isOf(scenario, point) || !/ disk\.batch .* lost #/.test(point)) continue
      yield { scenario, troubles: [{ kind: 'full', point }] }
    }
  }

  /** A backup taken after one write, and restored at a later one; pairs in a shuffled order. */
  async *restored(scenario: Scenario): AsyncIterable<Case> {
    const { points } = await this.plain(scenario)
    const pairs: Case[] = []
    for (const role of scenario.roles) {
      const writes = points.filter((one) => one.startsWith(`${role}.`) && one.includes(' whole #'))
      for (const [at, backup] of writes.entries()) {
        for (const restore of writes.slice(at + 1)) {
          const troubles: Trouble[] = [
            { kind: 'backup', point: backup },
            { kind: 'restore', point: restore },
          ]
          pairs.push({ scenario, troubles })
        }
      }
    }
    yield* shuffle(pairs, 'restored')
  }
}

function troublesOf(troubles: readonly Trouble[]): Troubles {
  const at = (kind: Kind): string | undefined => troubles.find((one) => one.kind === kind)?.point
  const full = at('full')
  const backup = at('backup')
  const restore = at('restore')
  return {
    crashes: troubles.filter(({ kind }) => kind === 'crash').map(({ point }) => point),
    ...(full !== undefined && { full: { point: full, ms: FULL_MS } }),
    ...(backup !== undefined && restore !== undefined && { restore: { backup, at: restore } }),
  }
}

function isOf({ roles }: Scenario, point: string): boolean {
  return roles.some((role) => point.startsWith(`${role}.`))
}

function thin(points: readonly string[]): string[] {
  const met = THINNED.map(() => 0)
  return points.filter((point) => {
    const at = THINNED.findIndex(({ pattern }) => pattern.test(point))
    const rule = THINNED[at]
    if (IS_ALL || rule === undefined) return true
    const count = met[at] ?? 0
    met[at] = count + 1
    return count % rule.each === 0
  })
}

/** The same order every time. */
function shuffle<Item>(items: readonly Item[], seed: string): Item[] {
  const draw = seededBytes(`${SEED} ${seed}`)
  const shuffled = [...items]
  for (let at = shuffled.length - 1; at > 0; at--) {
    const [a = 0, b = 0, c = 0] = draw(3)
    const other = ((a << 16) | (b << 8) | c) % (at + 1)
    const item = shuffled[at]!
    shuffled[at] = shuffled[other]!
    shuffled[other] = item
  }
  return shuffled
}
