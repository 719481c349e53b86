// Coming back from outside (spec §4.8): how long a member waits before it asks for the way in.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SECOND_MS, toTimeMs } from '../../protocols/base/time.ts'
import { resyncJob } from '../../protocols/group/resync.ts'
import type { ComingBack } from '../../protocols/group/state.ts'
import { GroupTurn } from '../../protocols/group/turn.ts'
import { SETTLE_MS } from '../../protocols/group/types.ts'
import { native } from '../../src/crypto/native.ts'
import { MADE_AT, madeGroup, madeId } from '../support/made-group.ts'
import { seededPeer } from '../support/seeded.ts'

const test = suite('group · resync')

const alice = seededPeer('alice')
const DRAWS = 32

/** How long Alice waits for the way into `b`, as often as it is drawn. */
function waits(comingBack?: ComingBack): number[] {
  const kit = { primitives: native, peer: alice.peer, secret: alice.secret }
  const made = madeGroup({ self: alice.peer, commits: [{ id: 'a' }, { id: 'b' }], tip: 'a' })
  const volatile = { ...made.volatile, ...(comingBack !== undefined && { comingBack }) }
  return Array.from({ length: DRAWS }, (_, i) => {
    const entropy = new Uint8Array(32).fill(i)
    const turn = new GroupTurn(
      kit,
      { ...made, volatile },
      { kind: 'timer', nowMs: MADE_AT, entropy },
    )
    assert.is(resyncJob(turn, madeId('b'), 0), undefined)
    const { to, dueAt = 0 } = turn.state.volatile.comingBack ?? {}
    assert.is(to, madeId('b'))
    return dueAt - MADE_AT
  })
}

// "a random time below D for each member whose vote is on another branch"
test('those who come back together draw apart', () => {
  const drawn = waits()
  assert.ok(drawn.every((ms) => ms >= 0 && ms < SETTLE_MS))
  assert.is(new Set(drawn).size, DRAWS)
})

// "it waits no longer than it would have for the one before, or below that time anew if that is more"
test('who has waited does not begin anew with every epoch that is selected meanwhile', () => {
  const waiting = { to: madeId('a'), attempts: 4, unanswered: 0 }
  const late = waits({ ...waiting, dueAt: toTimeMs(MADE_AT + 20 * SECOND_MS) })
  assert.is(Math.max(...late), 20 * SECOND_MS)
  // Whose time has come draws once more: others may be as far.
  const due = waits({ ...waiting, dueAt: MADE_AT })
  assert.ok(due.every((ms) => ms < SETTLE_MS))
  assert.ok(new Set(due).size > DRAWS / 2)
})

test.run()
