// Token buckets: what a peer may do, and how many peers are remembered.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { TokenBuckets } from '../../protocols/base/token-bucket.ts'

const test = suite('token buckets')

test('a burst, then the rate, for each name by itself', () => {
  const buckets = new TokenBuckets<string>({ burst: 3, perSecond: 2 }, 8)
  const take = (name: string, nowMs: number, times: number): number =>
    Array.from({ length: times }, () => buckets.take(name, nowMs)).filter(Boolean).length
  assert.is(take('mallory', 0, 10), 3)
  assert.is(take('alice', 0, 10), 3)
  assert.is(take('mallory', 499, 1), 0)
  assert.is(take('mallory', 500, 10), 1)
  assert.is(take('mallory', 60_000, 10), 3)
})

test('looking takes nothing, and a clock that goes back gives nothing', () => {
  const buckets = new TokenBuckets<string>({ burst: 1, perSecond: 1 }, 8)
  assert.ok(buckets.has('bob', 1_000) && buckets.has('bob', 1_000))
  assert.ok(buckets.take('bob', 1_000))
  assert.not.ok(buckets.take('bob', 0))
  assert.not.ok(buckets.take('bob', 1_500))
  assert.ok(buckets.take('bob', 2_000))
})

test('of too many names the one asked longest ago is forgotten', () => {
  const buckets = new TokenBuckets<number>({ burst: 1, perSecond: 0 }, 2)
  for (const name of [1, 2, 1, 3]) buckets.take(name, 0)
  assert.not.ok(buckets.take(1, 0), 'asked lately')
  assert.ok(buckets.take(2, 0), 'forgotten, so full again')
})

test.run()
