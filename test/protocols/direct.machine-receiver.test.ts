// The delivery machine's receiver, cell by cell (direct spec.md §4.2.3, §4.2.4), on real sessions.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../protocols/base/bytes.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { ConversationEffect } from '../../protocols/direct/conversation.ts'
import { STRANGER_HANDOFFS_MAX } from '../../protocols/direct/conversation.ts'
import {
  ORDER_WAIT_MS,
  RESET_INTERVAL_MS,
  STRANGER_ENVELOPES,
} from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { pairUp } from '../support/direct-party.ts'

const kinds = (effects: readonly ConversationEffect[]): string[] => effects.map(({ kind }) => kind)
/* Receiver */
const receiver = suite('direct machine · receiver')
const handed = (effects: readonly ConversationEffect[]): string[] =>
  effects.flatMap((one) =>
    one.kind === 'saveMessage'
      ? [
          new TextDecoder().decode(one.handed.message.content) +
            (one.handed.gap ? ' gap' : '') +
            (one.handed.late ? ' late' : ''),
        ]
      : [],
  )

receiver(
  'an envelope is saved, then answered: session, seen id, message, receipt in one step',
  () => {
    const [alice, bob] = pairUp(native)
    alice.connectTo(bob)
    const [sent] = alice.transmitted(alice.submit('one'))
    const effects = bob.receive(sent)
    assert.equal(kinds(effects).slice(0, 3), ['saveSeen', 'saveMessage', 'answer'])
    assert.equal(bob.answers, ['accepted'])
    assert.is(bob.state.ledger.postbag.receipts[0]?.state, 'delivered')
  },
)

receiver(
  'a repeated envelope is accepted again and its receipt issued again, and nothing is saved twice',
  () => {
    const [alice, bob] = pairUp(native)
    alice.connectTo(bob)
    const [sent] = alice.transmitted(alice.submit('one'))
    bob.receive(sent)
    bob.flushReceipts()
    assert.is(bob.state.ledger.postbag.receipts.length, 0)
    const effects = bob.receive(sent)
    assert.equal(handed(effects), [])
    assert.equal(bob.answers, ['accepted', 'accepted'])
    assert.is(bob.state.ledger.postbag.receipts.length, 1)
  },
)

receiver('a known message in a new envelope commits the ratchet, and no second message', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const [sent] = alice.transmitted(alice.submit('one'))
  bob.receive(sent)
  const [again] = alice.transmitted(bob.resetTo(alice))
  const before = bob.state.sessions
  const effects = bob.receive(again)
  assert.equal(handed(effects), [])
  assert.ok(kinds(effects).includes('saveSeen'))
  assert.is.not(bob.state.sessions, before)
  assert.is(bob.answers.at(-1), 'accepted')
})

receiver('what does not open is looked up, then refused, and changes nothing', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const [sent] = alice.transmitted(alice.submit('one'))
  const envelope = Uint8Array.from(sent!.envelope)
  envelope[envelope.length - 1]! ^= 1
  const { sessions, ledger } = bob.state
  bob.receive({ ...sent!, envelope })
  assert.equal(bob.answers, ['refused'])
  assert.is(bob.state.sessions, sessions)
  assert.is(bob.state.ledger, ledger)
  bob.receive(sent)
  assert.is(bob.answers.at(-1), 'accepted')
})

// "At most one an hour per peer, doubling to 24 h."
receiver('an unknown envelope of a contact asks for a reset, and not again within the hour', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const [sent] = alice.transmitted(alice.submit('one'))
  bob.forgetSessions()
  bob.receive(sent)
  assert.is(bob.state.renewal, 'reset')
  bob.fetchFrom(alice)
  assert.is(bob.state.notices.length, 1)
  const fresh = alice.transmitted(alice.submit('two'))
  bob.forgetSessions()
  bob.receive(fresh[0])
  assert.is(bob.state.renewal, undefined)
  bob.nowMs = toTimeMs(bob.nowMs + RESET_INTERVAL_MS)
  bob.receive({ ...fresh[0]!, envelope: fresh[0]!.envelope.slice() })
  assert.is(bob.state.renewal, 'reset')
})

receiver('a stranger causes no reset', () => {
  const [alice, bob] = pairUp(native, { bobTrusts: 'stranger' })
  alice.connectTo(bob)
  const [sent] = alice.transmitted(alice.submit('one'))
  bob.forgetSessions()
  bob.receive(sent)
  assert.is(bob.state.renewal, undefined)
  assert.equal(bob.answers, ['refused'])
})

receiver('messages go over in sequence order whatever order they come in', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const sent = ['1', '2', '3', '4'].flatMap((text) => alice.transmitted(alice.submit(text)))
  assert.equal(handed(bob.receive(sent[2])), [])
  assert.equal(handed(bob.receive(sent[0])), ['1'])
  assert.equal(handed(bob.receive(sent[3])), [])
  assert.equal(handed(bob.receive(sent[1])), ['2', '3', '4'])
  assert.equal(bob.state.held, [])
})

receiver('after ORDER_WAIT_MS a hole is given up: gap, then late', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const sent = ['1', '2', '3'].flatMap((text) => alice.transmitted(alice.submit(text)))
  bob.receive(sent[0])
  bob.receive(sent[2])
  bob.nowMs = toTimeMs(bob.nowMs + ORDER_WAIT_MS - 1)
  assert.equal(handed(bob.hear({ kind: 'timerExpired' })), [])
  bob.nowMs = toTimeMs(bob.nowMs + 1)
  assert.equal(handed(bob.hear({ kind: 'timerExpired' })), ['3 gap'])
  assert.equal(handed(bob.receive(sent[1])), ['2 late'])
  const [fourth] = alice.transmitted(alice.submit('4'))
  assert.equal(handed(bob.receive(fourth)), ['4'])
})

receiver('a withdrawn message is not waited for', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const sent = ['1', '2'].flatMap((text) => alice.transmitted(alice.submit(text)))
  bob.receive(sent[1])
  assert.equal(
    handed(
      bob.hearControl(alice, {
        kind: 'withdrawn',
        items: [{ id: alice.state.outbox[0]!.letter.id, sequence: 1 }],
      }),
    ),
    ['2'],
  )
})

receiver('a handoff goes to its protocol, never to the inbox, and leaves no hole', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const [handoff] = alice.transmitted(alice.submitHandoff('group', utf8('welcome')))
  const [message] = alice.transmitted(alice.submit('after'))
  assert.equal(handed(bob.receive(message)), [])
  const effects = bob.receive(handoff)
  assert.ok(kinds(effects).includes('saveHandoff'))
  assert.equal(handed(effects), ['after'])
})

receiver('the agent that has handled a message tells its sender', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  bob.receive(alice.transmitted(alice.submit('one'))[0])
  bob.hear({ kind: 'linkOpened' })
  const { id } = alice.state.outbox[0]!.letter
  const effects = bob.hear({ kind: 'agentHandled', ids: [id] })
  assert.ok(kinds(effects).includes('archive'))
  assert.equal(bob.state.ledger.postbag.receipts, [{ id, state: 'handled' }])
})

/* Strangers */
receiver('a stranger waits in the request box: no inbox, no receipt', () => {
  const [alice, bob] = pairUp(native, { bobTrusts: 'stranger' })
  alice.connectTo(bob)
  const effects = bob.receive(alice.transmitted(alice.submit('one'))[0])
  assert.ok(kinds(effects).includes('saveRequest'))
  assert.equal(handed(effects), [])
  assert.equal(bob.answers, ['accepted'])
  assert.equal(bob.state.ledger.postbag.receipts, [])
})

receiver(
  'a stranger has room for four envelopes; more is quota, and a repeat is still accepted',
  () => {
    const [alice, bob] = pairUp(native, { bobTrusts: 'stranger' })
    alice.connectTo(bob)
    const sent = Array.from({ length: 5 }, () => alice.transmitted(alice.submit('x'))[0])
    for (const one of sent) bob.receive(one)
    assert.equal(bob.answers, [...Array<string>(STRANGER_ENVELOPES).fill('accepted'), 'quota'])
    bob.receive(sent[0])
    assert.is(bob.answers.at(-1), 'accepted')
  },
)

receiver('a full request box takes from no stranger', () => {
  const [alice, bob] = pairUp(native, { bobTrusts: 'stranger' })
  alice.connectTo(bob)
  bob.isBoxFull = true
  bob.receive(alice.transmitted(alice.submit('one'))[0])
  assert.equal(bob.answers, ['quota'])
})

for (const way of ['trusted', 'submitted'] as const) {
  receiver(
    `a stranger that becomes a contact (${way}) is handed over in order and receipted`,
    () => {
      const [alice, bob] = pairUp(native, { bobTrusts: 'stranger' })
      alice.connectTo(bob)
      const sent = ['1', '2'].flatMap((text) => alice.transmitted(alice.submit(text)))
      bob.receive(sent[1])
      bob.receive(sent[0])
      const effects = way === 'trusted' ? bob.hear({ kind: 'trusted' }) : bob.submit('hello')
      assert.equal(handed(effects), ['1', '2'])
      assert.is(bob.state.requests.length, 0)
      assert.is(bob.state.ledger.strangerEnvelopes, 0)
    },
  )
}

receiver('a removed contact is a stranger again', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  bob.hear({ kind: 'distrusted', trust: 'stranger' })
  const effects = bob.receive(alice.transmitted(alice.submit('one'))[0])
  assert.ok(kinds(effects).includes('saveRequest'))
})

receiver("a stranger's handled request frees its place, silently", () => {
  const [alice, bob] = pairUp(native, { bobTrusts: 'stranger' })
  alice.connectTo(bob)
  bob.receive(alice.transmitted(alice.submit('one'))[0])
  const id = alice.state.outbox[0]!.letter.id
  bob.hear({ kind: 'agentHandled', ids: [id] })
  assert.is(bob.state.requests.length, 0)
  assert.is(bob.state.ledger.strangerEnvelopes, 0)
  assert.equal(bob.state.ledger.postbag.receipts, [])
})

receiver("a stranger's handoffs are counted by themselves", () => {
  const [alice, bob] = pairUp(native, { bobTrusts: 'stranger' })
  alice.connectTo(bob)
  let taken = 0
  for (let i = 0; i < STRANGER_HANDOFFS_MAX + 2; i++) {
    const [sent] = alice.transmitted(alice.submitHandoff('group', utf8('welcome')))
    if (kinds(bob.receive(sent)).includes('saveHandoff')) taken += 1
  }
  assert.is(taken, STRANGER_HANDOFFS_MAX)
  assert.is(bob.state.ledger.strangerEnvelopes, 0)
})

/* Receipts */
receiver('receipts wait a moment for company, and leave at once at 64', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  bob.hear({ kind: 'linkOpened' })
  for (let i = 0; i < 63; i++) bob.receive(alice.transmitted(alice.submit('x'))[0])
  assert.is(bob.state.notices.length, 0)
  const effects = bob.receive(alice.transmitted(alice.submit('x'))[0])
  assert.is(bob.transmitted(effects).length, 1)
  assert.is(bob.state.ledger.postbag.receipts.length, 0)
})

receiver('receipts ride on a message that leaves anyway', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  bob.hear({ kind: 'linkOpened' })
  bob.receive(alice.transmitted(alice.submit('question'))[0])
  const [reply] = bob.transmitted(bob.submit('answer'))
  assert.is(bob.state.ledger.postbag.receipts.length, 0)
  const effects = alice.receive(reply)
  assert.ok(effects.some((one) => one.kind === 'report' && one.state === 'delivered'))
  assert.equal(handed(effects), ['answer'])
})

receiver('what rode in an envelope that a reset gives up rides again in its successor', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  bob.hear({ kind: 'linkOpened' })
  bob.receive(alice.transmitted(alice.submit('question'))[0])
  bob.submit('answer') // lost on the way, and the receipt in it
  const [again] = bob.transmitted(alice.resetTo(bob))
  const effects = alice.receive(again)
  assert.ok(effects.some((one) => one.kind === 'report' && one.state === 'delivered'))
  assert.equal(handed(effects), ['answer'])
})

receiver('a receipt-only envelope is not receipted, and is gone once accepted', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  bob.hear({ kind: 'linkOpened' })
  bob.receive(alice.transmitted(alice.submit('one'))[0])
  const [notice] = bob.flushReceipts()
  alice.receive(notice)
  assert.equal(alice.state.ledger.postbag.receipts, [])
  bob.result(notice, 'accepted')
  assert.is(bob.state.notices.length, 0)
})

receiver('an unaccepted receipt-only envelope survives a restart as the same bytes', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  bob.hear({ kind: 'linkOpened' })
  bob.receive(alice.transmitted(alice.submit('one'))[0])
  const sent = bob.flushReceipts()
  bob.restart()
  bob.hear({ kind: 'restarted' })
  assert.equal(bob.transmitted(bob.hear({ kind: 'linkOpened' })), sent)
})

receiver('no step changes its input, and the same input gives the same result', () => {
  const [alice, bob] = pairUp(native, { frozen: true })
  alice.connectTo(bob)
  bob.hear({ kind: 'linkOpened' })
  const sent = Array.from({ length: 70 }, () => alice.transmitted(alice.submit('x'))[0])
  const notices = sent.flatMap((one) => bob.transmitted(bob.receive(one)))
  assert.is(notices.length, 1)
  alice.receive(notices[0])
  assert.is(alice.state.outbox.length, 6)
})

receiver.run()
