// What the files of the crash matrix share: a test for each story and kind of trouble, with its figures and a command
// that plays a failed case again.
import { relative } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Matrix, parseCase } from './crash-matrix.ts'
import { SCENARIOS, Theatre } from './crash-scenarios.ts'
import { installVirtualTime, runOnRealTime } from './virtual-time.ts'

/** Milliseconds that each kind of trouble may take in a file; single crashes are cut short on a very busy machine only. */
const BUDGETS = { singles: 100_000, doubles: 10_000, full: 6_000, restored: 6_000 } as const
/** Cases of each kind in a story, the same ones every time. */
const CASES_MAX = { singles: Infinity, doubles: 32, full: 24, restored: 24 } as const
/** Failed cases that are printed. */
const SHOWN_MAX = 5

/** The file that runs, from the root of the project. */
const FILE = relative(process.cwd(), process.argv[1] ?? '')

/** Makes and runs the tests of a file: every kind of trouble in these stories. */
export function runCrashSuite(names: readonly string[]): void {
  const test = suite(`crash matrix · ${names.join(', ')}`)
  const matrix = new Matrix(new Theatre(installVirtualTime()))
  const wanted = process.env['CASE']
  if (wanted !== undefined) {
    test(wanted, async () => {
      const one = parseCase(wanted)
      const { points, wrong } = await matrix.play(one)
      const at = points.indexOf(one.troubles.at(-1)?.point ?? '')
      console.log(points.slice(Math.max(0, at - 20)).join('\n'))
      assert.equal(wrong, [])
    })
    runOnRealTime(() => test.run())
    return
  }
  for (const scenario of SCENARIOS.filter(({ name }) => names.includes(name))) {
    test(`${scenario.name}: nothing is wrong when nothing ends`, async () => {
      const { points, violations, resets } = await matrix.plain(scenario)
      const again = await matrix.play({ scenario, troubles: [] })
      assert.equal(violations, [])
      assert.is(resets, 0)
      assert.equal(again.points, points, 'every run is the same')
    })
    for (const kind of ['singles', 'doubles', 'full', 'restored'] as const) {
      test(`${scenario.name}: ${kind}`, async () => {
        const { cases, failures } = await matrix.run(
          matrix[kind](scenario),
          BUDGETS[kind] / names.length,
          CASES_MAX[kind],
        )
        const all = (await matrix.failpoints(scenario)).length
        const chosen = (await matrix.points(scenario)).length
        console.log(
          `${scenario.name}: ${kind}: ${all} failpoints, ${chosen} chosen, ${cases} cases`,
        )
        report(failures)
        assert.is(failures.length, 0, `${failures.length} of ${cases} cases failed`)
        assert.ok(cases > 0)
      })
    }
  }
  runOnRealTime(() => test.run())
}

function report(failures: readonly string[]): void {
  for (const failure of failures.slice(0, SHOWN_MAX)) {
    const [name = ''] = failure.split('\n')
    console.log(`${failure}\n    again: CASE='${name}' node ${FILE}`)
  }
}
