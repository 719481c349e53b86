// `npm run sim -- --seed N`: one simulated group, or with --seeds FROM-TO many. A failure prints what it takes to see it
// again, and its trace made small; exit code 1.
import { parseArgs } from 'node:util'
import { play } from '../test/sim/play.ts'
import type { Outcome } from '../test/sim/play.ts'
import { purely } from '../test/sim/purity.ts'
import { reportOf } from '../test/sim/report.ts'
import type { Played } from '../test/sim/report.ts'
import { plan, SCENARIOS } from '../test/sim/script.ts'
import type { PlanOptions, ScenarioName, Script } from '../test/sim/script.ts'
import { shrink } from '../test/sim/shrink.ts'
import type { EngineKind, Violation } from '../test/sim/world.ts'

/** A failing run is made smaller for so long. */
const SHRINK_MS = 60_000

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    members: { type: 'string' },
    hours: { type: 'string' },
    loss: { type: 'string' },
    scenario: { type: 'string' },
    engine: { type: 'string', default: 'fake' },
    trace: { type: 'boolean', default: false },
    whole: { type: 'boolean', default: false },
  },
})

function refuse(what: string, hint: string): never {
  console.error(`conclave: error: ${what}`)
  console.error(`conclave: hint: ${hint}`)
  process.exit(2)
}

function numberFrom(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  return Number.isFinite(value) && value >= 0 ? value : refuse(`--${name} ${text}`, 'give a number')
}

function seedsAsked(): number[] {
  const [from = '1', to = from] = (values.seeds ?? values.seed ?? '1').split('-')
  const [first, last] = [numberFrom(from, 'seeds') ?? 1, numberFrom(to, 'seeds') ?? 1]
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i)
}

function optionsAsked(): PlanOptions {
  const { scenario } = values
  if (scenario !== undefined && !(scenario in SCENARIOS)) {
    refuse(`no scenario ${scenario}`, `there are ${Object.keys(SCENARIOS).join(', ')}`)
  }
  const [members, hours, loss] = (['members', 'hours', 'loss'] as const).map((name) =>
    numberFrom(values[name], name),
  )
  return {
    ...(scenario !== undefined && { scenario: scenario as ScenarioName }),
    ...(members !== undefined && { members }),
    ...(hours !== undefined && { hours }),
    ...(loss !== undefined && { loss }),
  }
}

function engineAsked(): EngineKind {
  const { engine } = values
  if (engine === 'fake' || engine === 'real') return engine
  return refuse(`no engine ${engine}`, 'there are fake and real')
}

const options = optionsAsked()
const engine = engineAsked()
const print = (line: string): void => console.log(line)
const run = (script: Script, isTraced = false): Promise<Outcome> =>
  purely(() => play(script, { engine, ...(isTraced && { trace: print }) }))

function commandFor(script: Script): string {
  const flags = Object.entries(options).map(([name, value]) => ` --${name} ${String(value)}`)
  return `npm run sim -- --seed ${script.seed}${flags.join('')} --engine ${engine}`
}

async function showFailure(script: Script, violation: Violation): Promise<void> {
  print(`seed ${script.seed} (${script.scenario}): ${violation.message}`)
  print(commandFor(script))
  const until = performance.now() + SHRINK_MS
  const small = await shrink(script, violation.invariant, {
    play: (one) => run(one),
    mayGoOn: () => performance.now() < until,
  })
  print(`${small.steps.length} of ${script.steps.length} steps are enough:`)
  await run(small, true)
}

const played: Played[] = []
for (const seed of seedsAsked()) {
  const script = plan(seed, options)
  const outcome = await run(script, values.trace)
  played.push({ seed, lossPercent: Math.round(script.weather.loss * 100), outcome })
  const { violation } = outcome
  if (violation === undefined) continue
  process.exitCode = 1
  if (values.whole) print(`seed ${seed}: ${violation.message}`)
  else {
    await showFailure(script, violation)
    break
  }
}
for (const line of reportOf(played)) print(line)
