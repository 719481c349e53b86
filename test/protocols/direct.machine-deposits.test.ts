// The delivery machine and custodians, cell by cell (direct spec.md §4.2.6), and receipts that somebody else makes up.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { isStored } from '../../protocols/direct/conversation.ts'
import type { ConversationEffect, EnvelopeRef } from '../../protocols/direct/conversation.ts'
import type { Opened } from '../../protocols/direct/sessions.ts'
import { MAILBOX_TTL_MS, REACH_WAIT_MS } from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { makeAgent, NOW } from '../support/direct-cast.ts'
import { pairUp, Party } from '../support/direct-party.ts'

const test = suite('direct machine · custodians')

type Deposit = Extract<ConversationEffect, { kind: 'deposit' }>

const deposits = (effects: readonly ConversationEffect[]): Deposit[] =>
  effects.filter((one) => one.kind === 'deposit')
const states = (effects: readonly ConversationEffect[]): string[] =>
  effects.flatMap((one) => (one.kind === 'report' ? [one.state] : []))
const custodian = (n: number): PeerId => makeAgent(native, `custodian ${n}`).peer

/** Alice and Bob with a session, Bob not to be reached; what Alice has sent is on its way to custodians. */
function awayPair(text = 'one'): { alice: Party; bob: Party; asked: Deposit } {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  alice.hear({ kind: 'linkClosed' })
  alice.submit(text)
  const [asked] = deposits(alice.hear({ kind: 'linkFailed', code: 'NETWORK_UNREACHABLE' }))
  assert.ok(asked)
  return { alice, bob, asked }
}

function stored(party: Party, ref: EnvelopeRef, n: number, of = 3): readonly ConversationEffect[] {
  const expiresAt = toTimeMs(party.nowMs + MAILBOX_TTL_MS)
  const copy = { custodian: custodian(n), storedAt: party.nowMs, expiresAt }
  return party.hear({ kind: 'stored', ref, copy, of })
}

test('nothing goes to custodians while the link is open, or an attempt is young', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  assert.equal(deposits(alice.submit('on the link')), [])
  alice.hear({ kind: 'linkClosed' })
  alice.nowMs = toTimeMs(alice.nowMs + 2_000)
  assert.equal(deposits(alice.hear({ kind: 'timerExpired' })), [])
  assert.is(alice.state.link, 'opening')
  alice.nowMs = toTimeMs(alice.nowMs + REACH_WAIT_MS)
  const [asked] = deposits(alice.hear({ kind: 'timerExpired' }))
  assert.is(asked?.ref.kind, 'letter', 'an attempt that takes long')
  assert.equal(asked?.have, [])
})

test('a failed attempt asks custodians about everything, once; what comes later goes at once', () => {
  const { alice } = awayPair()
  assert.equal(deposits(alice.hear({ kind: 'timerExpired' })), [], 'once in an attempt')
  const [second] = deposits(alice.submit('two'))
  assert.is(second?.ref.number, 2)
  const again = alice.hear({ kind: 'linkFailed', code: 'NETWORK_TIMEOUT' })
  assert.equal(
    deposits(again).map(({ ref }) => ref.number),
    [1, 2],
  )
})

test('stored is reported at the second of three receipts, once, and a third changes only the count', () => {
  const { alice, asked } = awayPair()
  assert.equal(states(stored(alice, asked.ref, 1)), [])
  assert.not.ok(isStored(alice.state.outbox[0]!))
  assert.equal(states(stored(alice, asked.ref, 1)), [], 'the same custodian counts once')
  assert.equal(states(stored(alice, asked.ref, 2)), ['stored'])
  assert.ok(isStored(alice.state.outbox[0]!))
  assert.equal(states(stored(alice, asked.ref, 3)), [])
  assert.is(alice.state.outbox[0]?.copies?.list.length, 3)
  const next = alice.hear({ kind: 'linkFailed', code: 'NETWORK_TIMEOUT' })
  assert.is(deposits(next)[0]?.have.length, 3, 'they are not asked again')
})

test('where the recipient has one custodian, one receipt is enough', () => {
  const { alice, asked } = awayPair()
  assert.equal(states(stored(alice, asked.ref, 1, 1)), ['stored'])
})

test('a receipt for another envelope counts nowhere; one for an envelope that was sealed anew neither', () => {
  const { alice, bob, asked } = awayPair()
  const other = { ...asked.ref, envelopeId: 'f'.repeat(64) as EnvelopeRef['envelopeId'] }
  assert.equal(states(stored(alice, other, 1, 1)), [])
  assert.is(alice.state.outbox[0]?.copies, undefined)
  stored(alice, asked.ref, 1)
  stored(alice, asked.ref, 2)
  alice.hear({ kind: 'linkOpened' })
  bob.forgetSessions()
  const reset = bob.resetTo(alice)
  assert.ok(alice.transmitted(reset).length > 0)
  assert.is(
    alice.state.outbox[0]?.copies,
    undefined,
    'copies of the old envelope are worth nothing',
  )
  assert.equal(states(stored(alice, asked.ref, 3)), [])
})

test('copies are saved, and after a restart the message is still stored', () => {
  const { alice, asked } = awayPair()
  stored(alice, asked.ref, 1)
  stored(alice, asked.ref, 2)
  alice.restart()
  assert.ok(isStored(alice.state.outbox[0]!))
})

test('after half a life a custodian is asked again', () => {
  const { alice, asked } = awayPair()
  stored(alice, asked.ref, 1)
  alice.nowMs = toTimeMs(NOW + MAILBOX_TTL_MS / 2 + 1)
  const [again] = deposits(alice.hear({ kind: 'linkFailed', code: 'NETWORK_TIMEOUT' }))
  assert.equal(again?.have, [])
})

test('why no custodian took it is the reason that is shown, until one does', () => {
  const { alice, asked } = awayPair()
  alice.hear({ kind: 'depositFailed', ref: asked.ref, code: 'MAILBOX_FULL' })
  assert.is(alice.state.outbox[0]?.lastError, 'MAILBOX_FULL')
  alice.hear({ kind: 'linkFailed', code: 'NETWORK_TIMEOUT' })
  assert.is(alice.state.outbox[0]?.lastError, 'MAILBOX_FULL')
  stored(alice, asked.ref, 1, 1)
  assert.is(alice.state.outbox[0]?.lastError, undefined)
  alice.hear({ kind: 'depositFailed', ref: asked.ref, code: 'LIMIT_RATE' })
  assert.is(
    alice.state.outbox[0]?.lastError,
    undefined,
    'another custodian refused; enough have it',
  )
})

test('receipts leave by custodians, too, and one signature ends such an envelope', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  bob.receive(alice.transmitted(alice.submit('one'))[0])
  bob.hear({ kind: 'linkFailed', code: 'NETWORK_UNREACHABLE' })
  bob.nowMs = toTimeMs(bob.nowMs + 1_000)
  const [notice] = deposits(bob.hear({ kind: 'timerExpired' }))
  assert.is(notice?.ref.kind, 'notice')
  assert.is(bob.state.notices.length, 1)
  stored(bob, notice!.ref, 1)
  assert.equal(bob.state.notices, [])
  // Alice gets it from the custodian, and learns that her message was delivered.
  assert.equal(states(alice.receive({ envelope: notice!.envelope, ref: notice!.ref })), [
    'delivered',
  ])
})

test('a queue key is told in every envelope until one is accepted, and used for deposits', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const key = {
    id: new Uint8Array(8).fill(1),
    seed: new Uint8Array(32).fill(2),
    expiresAt: toTimeMs(NOW + 10_000),
  }
  alice.hear({ kind: 'keyOffered', key })
  const first = alice.transmitted(alice.submit('one'))[0]
  const second = alice.transmitted(alice.submit('two'))[0]
  bob.receive(second)
  assert.equal(bob.state.ledger.granted, key)
  alice.result(first, 'accepted')
  assert.is(alice.state.ledger.offered, undefined)
  bob.receive(first)
  bob.hear({ kind: 'linkFailed', code: 'NETWORK_UNREACHABLE' })
  const [asked] = deposits(bob.submit('to Alice'))
  assert.equal(asked?.granted, key)
  bob.nowMs = key.expiresAt
  const [late] = deposits(bob.hear({ kind: 'linkFailed', code: 'NETWORK_UNREACHABLE' }))
  assert.is(late?.granted, undefined, 'a key that is over is not used')
})

test('no answer, no custodian and no stranger makes a message delivered: only its recipient does', () => {
  const { alice, bob, asked } = awayPair()
  stored(alice, asked.ref, 1)
  stored(alice, asked.ref, 2)
  alice.hear({ kind: 'linkOpened' })
  const accepted = alice.hear({
    kind: 'resultsReceived',
    results: [{ ref: asked.ref, status: 'accepted' }],
  })
  assert.equal(states(accepted), [], 'accepted is no receipt')
  const { id } = alice.state.outbox[0]!.letter
  // Mallory has a conversation of her own with Alice, and says what she likes in it.
  const mallory = makeAgent(native, 'Mallory')
  const aliceToMallory = new Party(native, alice.agent, mallory, 'contact', false)
  const malloryToAlice = new Party(native, mallory, alice.agent, 'contact', false)
  aliceToMallory.connectTo(malloryToAlice)
  for (const state of ['delivered', 'handled'] as const) {
    assert.equal(states(aliceToMallory.receipt(malloryToAlice, id, state)), [])
  }
  assert.is(alice.state.outbox.length, 1)
  // An envelope of Bob's with one bit changed says nothing either.
  const receipt = bob.sealBody({ receipts: [{ id, state: 'handled' }], controls: [] })
  const forged = receipt.slice()
  forged[forged.length - 20]! ^= 1
  assert.equal(states(alice.receive({ envelope: forged, ref: asked.ref })), [])
  assert.equal(states(alice.receive({ envelope: receipt, ref: asked.ref })), ['handled'])
})

test('a sender whose one-time prekey a custodian gave to two hears of it in a session of the recipient', () => {
  for (const [via, mayRenew, hears] of [
    ['mailbox', true, true],
    ['mailbox', false, false],
    ['direct', true, false],
  ] as const) {
    const [alice, bob] = pairUp(native, { bobTrusts: 'stranger' })
    alice.submit('first')
    alice.hear({ kind: 'linkFailed', code: 'NETWORK_UNREACHABLE' })
    const [asked] = deposits(alice.fetchFrom(bob, 'pair'))
    assert.ok(asked)
    // Another requester got the same entry, and came first.
    const used = { signedPrekeyId: 1, kemPrekeyId: 3, baseKey: new Uint8Array(32) }
    bob.agent.consume({ consumed: { tuple: used, oneTimeId: 3 } } as Opened)
    bob.via = via
    bob.mayRenew = mayRenew
    bob.receive({ envelope: asked.envelope, ref: asked.ref })
    assert.is(bob.answers.at(-1), 'prekeyConsumed')
    assert.is(bob.state.renewal === 'reset', hears, `${via}, ${String(mayRenew)}`)
    if (!hears) continue
    bob.hear({ kind: 'linkFailed', code: 'NETWORK_UNREACHABLE' })
    const [reset] = deposits(bob.fetchFrom(alice))
    assert.ok(reset)
    const anew = deposits(alice.receive({ envelope: reset.envelope, ref: reset.ref }))
    assert.is(anew.length, 1, 'sealed anew, for custodians')
    bob.receive({ envelope: anew[0]!.envelope, ref: anew[0]!.ref })
    assert.is(bob.answers.at(-1), 'accepted')
    assert.is(bob.state.requests.length, 1)
  }
})

test.run()
