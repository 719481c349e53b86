// The engine of the simulator, held to what every engine does.
import { native } from '../../src/crypto/native.ts'
import { engineConformance } from '../contract/mls-engine.ts'
import { makeFakeEngine } from '../support/fake-mls-engine.ts'
import { seededBytes } from '../support/seeded.ts'

function runConformance(): void {
  engineConformance('group · fake engine', (seed) =>
    makeFakeEngine({ primitives: native, random: seededBytes(seed) }),
  )
}

runConformance()
