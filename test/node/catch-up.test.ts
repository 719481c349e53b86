// Who was away for long is told how far its groups are; who was not, is not bothered.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { GroupState } from '../../protocols/group/state.ts'
import { CATCH_UP_EPOCHS_MIN, CATCH_UP_EVERY_MS, watchCatchUp } from '../../src/node/catch-up.ts'
import type { CatchUp } from '../../src/node/catch-up.ts'
import { madeGroup } from '../support/made-group.ts'
import { seededPeer } from '../support/seeded.ts'

const test = suite('node · catch up')

const { peer: alice } = seededPeer('alice')

/** Alice at one of so many epochs. */
function at(tip: number, of: number): GroupState {
  const commits = Array.from({ length: of }, (_, i) => ({ id: `${i + 1}` }))
  return madeGroup({ self: alice, commits, tip: tip === 0 ? 'genesis' : `${tip}` })
}

function follow(tips: readonly number[], of: number, pauseMs: number): CatchUp[] {
  const reports: CatchUp[] = []
  let nowMs = 1_000
  const look = watchCatchUp(
    (progress) => void reports.push(progress),
    () => nowMs,
  )
  for (const tip of tips) {
    look(at(tip, of))
    nowMs += pauseMs
  }
  return reports
}

test('many epochs are counted from where they began, and the end is told', () => {
  const reports = follow([2, 3, 20, 42, 42], 42, CATCH_UP_EVERY_MS)
  assert.equal(
    reports.map(({ done, of }) => [done, of]),
    [
      [0, 40],
      [1, 40],
      [18, 40],
      [40, 40],
    ],
  )
  assert.ok(reports.every(({ name }) => name === 'ops'))
})

test('reports are seldom, but for the last', () => {
  const tips = Array.from({ length: 43 }, (_, i) => i)
  assert.equal(
    follow(tips, 42, 10).map(({ done }) => done),
    [0, 25, 42],
  )
})

test('a few epochs are not worth a word', () => {
  assert.equal(follow([0, 1, 5, CATCH_UP_EPOCHS_MIN - 1], CATCH_UP_EPOCHS_MIN - 1, 1_000), [])
})

test('who is out catches up with nothing', () => {
  const reports: CatchUp[] = []
  const look = watchCatchUp(
    (progress) => void reports.push(progress),
    () => 1_000,
  )
  look({ ...at(0, 42), phase: 'removed' })
  assert.equal(reports, [])
})

test.run()
