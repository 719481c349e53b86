// Rows of a conversation: what is saved is what is loaded, whatever happened, and no row is left behind.
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../protocols/base/bytes.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { Conversation, SavedConversation } from '../../protocols/direct/conversation.ts'
import { ORDER_WAIT_MS } from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { conversationRows, loadConversation } from '../../src/node/conversation-rows.ts'
import { peersWithWork, retireSessions } from '../../src/node/conversation-start.ts'
import { weekOf, weeksKept } from '../../src/node/direct-rows.ts'
import type { Store } from '../../src/store/types.ts'
import { pairUp } from '../support/direct-party.ts'
import type { Party, Transmitted } from '../support/direct-party.ts'
import { memoryStore } from '../support/store.ts'

const test = suite('conversation rows')

const savedOf = (state: Conversation): SavedConversation => ({
  sessions: state.sessions,
  trust: state.trust,
  ledger: state.ledger,
  letters: state.outbox.map(({ letter }) => letter),
  copies: new Map(
    state.outbox.flatMap((one) =>
      one.copies === undefined ? [] : [[one.letter.sequence, one.copies] as const],
    ),
  ),
  done: [...state.done].sort((a, b) => a.sequence - b.sequence),
  notices: state.notices.map(({ notice }) => notice),
  held: state.held,
  requests: [...state.requests].sort((a, b) => (a.message.id < b.message.id ? -1 : 1)),
})

/** Two parties, each with a store that hears of every change of state. */
class World {
  readonly parties: readonly [Party, Party] = pairUp(native, { bobTrusts: 'stranger' })
  readonly stores: readonly [Store, Store] = [memoryStore(), memoryStore()]
  readonly #saved: [Conversation, Conversation] = [this.parties[0].state, this.parties[1].state]
  readonly #way: [Transmitted[], Transmitted[]] = [[], []]

  async run(action: number): Promise<void> {
    const one = (action % 2) as 0 | 1
    const party = this.parties[one]
    const other = this.parties[one === 0 ? 1 : 0]
    const send = (sent: readonly Transmitted[]): void =>
      void this.#way[one === 0 ? 1 : 0].push(...sent)
    const kind = Math.floor(action / 2)
    if (kind < 3) send(party.transmitted(party.submit(`text ${action}`)))
    else if (kind === 3) send(party.transmitted(party.submitHandoff('test', utf8('handoff'))))
    else if (kind < 9) {
      const [sent] = this.#way[one].splice(kind % 3, 1)
      if (sent !== undefined) {
        send(party.transmitted(party.receive(sent)))
        other.result(sent, party.answers.at(-1) ?? 'refused')
      }
    } else if (kind === 9) send(party.transmitted(party.fetchFrom(other)))
    else if (kind === 10) send(party.transmitted(party.hear({ kind: 'linkOpened' })))
    else if (kind === 11) send(party.flushReceipts())
    else if (kind === 12) party.hear({ kind: 'trusted' })
    else if (kind === 13) {
      party.nowMs = toTimeMs(party.nowMs + ORDER_WAIT_MS)
      send(party.transmitted(party.hear({ kind: 'timerExpired' })))
    } else party.forgetSessions()
    await this.save()
  }

  async save(): Promise<void> {
    for (const one of [0, 1] as const) {
      await this.stores[one].commit(conversationRows(this.#saved[one], this.parties[one].state))
      this.#saved[one] = this.parties[one].state
    }
  }

  async check(): Promise<void> {
    for (const one of [0, 1] as const) {
      const { state } = this.parties[one]
      const loaded = await loadConversation(this.stores[one], state.peer, state.trust)
      assert.equal(loaded, savedOf(state))
    }
  }
}

test('after any story, what is loaded is what was saved', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat({ max: 29 }), { minLength: 10, maxLength: 60 }),
      async (story) => {
        const world = new World()
        for (const action of [0, 18, 20, 21, ...story]) await world.run(action)
        await world.check()
      },
    ),
    { numRuns: 40 },
  )
})

test('a batch of many steps is saved by its first and last state', async () => {
  const [alice, bob] = pairUp(native)
  const store = memoryStore()
  const first = alice.state
  alice.connectTo(bob)
  for (let i = 0; i < 70; i++) alice.submit('x')
  const middle = alice.state
  await store.commit(conversationRows(first, middle))
  alice.receipt(bob, alice.state.outbox[3]?.letter.id ?? '', 'delivered')
  alice.receipt(bob, alice.state.outbox[3]?.letter.id ?? '', 'handled')
  await store.commit(conversationRows(middle, alice.state))
  assert.equal(await loadConversation(store, alice.state.peer, 'contact'), savedOf(alice.state))
})

test('an unchanged state writes nothing; a small change writes little', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  for (let i = 0; i < 500; i++) alice.submit('x')
  const { state } = alice
  assert.equal(conversationRows(state, { ...state, failures: 3 }), [])
  alice.submit('one more')
  const ops = conversationRows(state, alice.state)
  assert.ok(ops.length <= 3, `${ops.length} rows`)
  const bytes = ops.reduce((sum, op) => sum + (op.kind === 'put' ? op.value.length : 0), 0)
  assert.ok(bytes < 2_048, `${bytes} bytes`)
})

test('a start finds who has work; a restored backup leaves no session to send on', async () => {
  const [alice, bob] = pairUp(native)
  const store = memoryStore()
  const first = alice.state
  alice.connectTo(bob)
  await store.commit(conversationRows(first, alice.state))
  assert.is((await peersWithWork(store)).size, 0)
  const before = alice.state
  alice.submit('x')
  await store.commit(conversationRows(before, alice.state))
  assert.equal([...(await peersWithWork(store))], [alice.state.peer])
  await retireSessions(store, alice.nowMs)
  const { sessions } = await loadConversation(store, alice.state.peer, 'contact')
  assert.ok(alice.operations.needsBundle(sessions, { nowMs: alice.nowMs }))
  assert.is(sessions.list.length, 1, 'what was sent to us before still opens')
})

test('rows by week are found for two weeks, and forgotten after three', () => {
  const dayMs = 24 * 3_600_000
  for (const writtenMs of [1_798_761_600_000, 1_798_761_600_000 + 3 * dayMs]) {
    const week = weekOf(writtenMs)
    assert.ok(weeksKept(writtenMs + 14 * dayMs).includes(week))
    assert.not.ok(weeksKept(writtenMs + 21 * dayMs).includes(week))
    assert.ok((weeksKept(writtenMs + 21 * dayMs).at(-1) ?? '') > week, 'older weeks sort before')
  }
})

test.run()
