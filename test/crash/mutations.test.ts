// The test of the crash matrix: nodes that send or answer before they commit must fail it. Mutants are made at the ports;
// the product is as it is. Beside what left early, the harm that follows from it must be found as well.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Case } from '../support/crash-matrix.ts'
import { Matrix } from '../support/crash-matrix.ts'
import { ACCEPTS_EARLY, hastyHost, signsEarly } from '../support/crash-mutants.ts'
import type { Fault } from '../support/crash-oracle.ts'
import { SCENARIOS, Theatre } from '../support/crash-scenarios.ts'
import { CUSTODIANS } from '../support/crash-world.ts'
import type { Troubles } from '../support/crash-world.ts'
import type { Name } from '../support/hosts.ts'
import { installVirtualTime, runOnRealTime } from '../support/virtual-time.ts'

const test = suite('crash matrix · mutants')
const time = installVirtualTime()
const theatre = new Theatre(time)

/** Cases a mutant gets at most, evenly over the single crashes of its role. */
const CASES_MAX = 40

/** Plays a mutant; answers what was found, and where first. */
async function hunt(
  story: string,
  role: Name,
  at: RegExp,
  mutant: Troubles,
): Promise<Map<Fault, string>> {
  const scenario = SCENARIOS.find(({ name }) => name === story)!
  const matrix = new Matrix(theatre, mutant)
  const cases: Case[] = []
  for await (const one of matrix.singles({ ...scenario, roles: [role] })) {
    if (at.test(one.troubles[0]?.point ?? '')) cases.push(one)
  }
  const step = Math.max(1, Math.ceil(cases.length / CASES_MAX))
  const found = new Map<Fault, string>()
  for (const one of cases.filter((_, index) => index % step === 0)) {
    const { violations } = await matrix.play(one)
    for (const { fault, text } of violations) {
      if (!found.has(fault)) found.set(fault, `${one.troubles[0]?.point ?? ''}: ${text}`)
    }
  }
  console.log(`${story}, ${role}: ${cases.length} cases, found ${[...found.keys()].join(' ')}`)
  for (const [fault, where] of found) console.log(`  ${fault}: ${where}`)
  return found
}

const SENDS = /stream\.send (?:direct|mailbox)\..* after/

test('a sender whose envelopes leave before its commit', async () => {
  const found = await hunt('online', 'alice', SENDS, { late: ['alice'] })
  assert.ok(found.has('early'))
  assert.ok(found.has('key') || found.has('lost') || found.has('stuck'), 'and what follows')
})

test('a recipient that acknowledges before its commit', async () => {
  const found = await hunt('away', 'bob', SENDS, { late: ['bob'] })
  assert.ok(found.has('early'))
  assert.ok(found.has('lost') || found.has('stuck'), 'and what follows')
})

test('custodians that sign before their commit', async () => {
  const found = await hunt('away', 'rita', SENDS, { late: CUSTODIANS })
  assert.ok(found.has('early'))
  assert.ok(found.has('custody'), 'and what follows')
})

test('ACCEPTED that leaves before its commit', async () => {
  const mutate: Troubles['mutate'] = (name, host) =>
    name === 'bob' ? hastyHost(host, ACCEPTS_EARLY) : host
  const found = await hunt('online', 'bob', /stream\.frame direct|disk\.batch/, { mutate })
  assert.ok(found.has('early'))
  assert.ok(found.has('lost') || found.has('stuck'), 'and what follows')
})

test('a receipt that leaves before its commit', async () => {
  const mutate: Troubles['mutate'] = (name, host) =>
    CUSTODIANS.includes(name)
      ? hastyHost(
          host,
          signsEarly(name, () => time.now),
        )
      : host
  const found = await hunt('away', 'rita', /stream\.frame mailbox|disk\.batch/, { mutate })
  assert.ok(found.has('early'))
  assert.ok(found.has('custody'), 'and what follows')
})

runOnRealTime(() => test.run())
