// The MLS engine, over both Primitives.
import { suite } from 'uvu'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import { selfTest } from '../../protocols/group/mls/self-test.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import { engineConformance } from '../contract/mls-engine.ts'
import { NOW } from '../support/mls-room.ts'
import { seededBytes } from '../support/seeded.ts'

engineConformance('group · engine', (seed) =>
  makeMlsEngine({ primitives: native, random: seededBytes(seed) }),
)

const test = suite('group · engine self-test')

for (const [name, primitives] of Object.entries({ native, portable })) {
  test(`a removed member is out: ${name}`, async () => {
    const random = seededBytes(`self-test ${name}`)
    const engine = makeMlsEngine({ primitives, random })
    await selfTest({ engine, primitives, random, nowMs: NOW })
  })
}

test.run()
