// The test of the simulator: a rule broken on purpose must be found within 200 seeds.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { loadMutant, MUTANT_OPTIONS, MUTANTS } from './mutants.ts'
import { play } from './play.ts'
import { plan } from './script.ts'

const test = suite('sim · mutations')

const SEEDS_MAX = 200

for (const mutant of MUTANTS) {
  test(`found: ${mutant.name}`, async () => {
    const playMutant = await loadMutant(mutant)
    for (let seed = 1; seed <= SEEDS_MAX; seed++) {
      const { scenario, members } = mutant
      const script = plan(seed, { scenario, ...(members !== undefined && { members }) })
      const { violation } = await playMutant(script, MUTANT_OPTIONS)
      if (violation === undefined || !mutant.breaks.test(violation.invariant)) continue
      // What the rule's keepers break as well shows nothing.
      if ((await play(script, MUTANT_OPTIONS)).violation !== undefined) continue
      console.log(`${mutant.name}: seed ${seed}, ${violation.message}`)
      return
    }
    assert.unreachable(`not found in ${SEEDS_MAX} seeds`)
  })
}

test.run()
