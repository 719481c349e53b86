// The delivery machine's sender, cell by cell (direct spec.md §4.2.2), on real sessions.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { DAY_MS, HOUR_MS, toTimeMs } from '../../protocols/base/time.ts'
import type { Conversation, ConversationEffect } from '../../protocols/direct/conversation.ts'
import { RETRY_MS_MAX } from '../../protocols/direct/conversation.ts'
import {
  MAILBOX_TTL_MS,
  OUTBOX_PER_PEER_MAX,
  REFETCH_MAX,
  RESET_INTERVAL_MS,
} from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { pairUp } from '../support/direct-party.ts'
import type { Party } from '../support/direct-party.ts'

const kinds = (effects: readonly ConversationEffect[]): string[] => effects.map(({ kind }) => kind)
const stateOf = (party: Party, id: string): string | undefined =>
  party.state.outbox.find(({ letter }) => letter.id === id)?.letter.state ??
  party.state.done.find((one) => one.id === id)?.state
const lastErrorOf = ({ outbox }: Conversation): string | undefined => outbox[0]?.lastError

/* Sender: `submitted` */
const sender = suite('direct machine · sender')

sender('a first message waits for a bundle and asks for it, and for a link', () => {
  const [alice] = pairUp(native)
  const effects = alice.submit('one')
  assert.equal(kinds(effects), ['befriend', 'fetchBundle', 'openLink', 'startTimer'])
  assert.is(alice.state.unsealed, 1)
  assert.is(alice.state.trust, 'contact')
})

sender(
  'a fetched bundle seals what waits in sequence order and sends it once the link is open',
  () => {
    const [alice, bob] = pairUp(native)
    alice.submit('one')
    alice.submit('two')
    assert.equal(alice.transmitted(alice.fetchFrom(bob)), [])
    const sent = alice.transmitted(alice.hear({ kind: 'linkOpened' }))
    assert.equal(
      sent.map(({ ref }) => ref.number),
      [1, 2],
    )
  },
)

sender('in a session a message is sealed and sent in one step', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const effects = alice.submit('one')
  assert.equal(
    kinds(effects).filter((kind) => kind !== 'startTimer'),
    ['transmit'],
  )
  assert.is(alice.state.unsealed, 0)
})

// "submitted – duplicate id: same handle" in every state.
sender('an id that was submitted before adds nothing, in any state', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const id = alice.newId()
  alice.submit('one', { id, keyed: true })
  assert.equal(alice.transmitted(alice.submit('one', { id, keyed: true })), [])
  assert.is(alice.state.outbox.length, 1)
  alice.receipt(bob, id, 'delivered')
  alice.submit('one', { id, keyed: true })
  alice.receipt(bob, id, 'handled')
  alice.submit('one', { id, keyed: true })
  assert.is(alice.state.outbox.length, 0)
  assert.is(stateOf(alice, id), 'handled')
})

sender('a full outbox refuses with both numbers and stays as it was', () => {
  const [alice] = pairUp(native)
  for (let i = 0; i < OUTBOX_PER_PEER_MAX; i++) alice.submit('x')
  const before = alice.state
  try {
    alice.submit('one too many')
    assert.unreachable('a full outbox took a message')
  } catch (error) {
    assert.instance(error, ConclaveError)
    assert.is((error as ConclaveError).code, 'DIRECT_OUTBOX_FULL')
    assert.equal((error as ConclaveError).data, { found: 1_000, allowed: 1_000 })
  }
  assert.is(alice.state, before)
})

/* Sender: attempts and results */
sender('a failed dial leaves the reason NETWORK_NO_CUSTODIAN and tries again later', () => {
  const [alice, bob] = pairUp(native)
  alice.submit('one')
  alice.hear({ kind: 'fetchFailed', code: 'NETWORK_UNREACHABLE' })
  alice.hear({ kind: 'linkFailed', code: 'NETWORK_UNREACHABLE' })
  assert.is(lastErrorOf(alice.state), 'NETWORK_NO_CUSTODIAN')
  assert.is(alice.state.outbox[0]?.letter.state, 'queued')
  const { retryAt } = alice.state
  assert.ok(retryAt !== undefined && retryAt > alice.nowMs)
  alice.nowMs = toTimeMs(retryAt)
  assert.equal(kinds(alice.hear({ kind: 'timerExpired' })).slice(0, 2), ['fetchBundle', 'openLink'])
  alice.fetchFrom(bob)
  assert.is(alice.transmitted(alice.hear({ kind: 'linkOpened' })).length, 1)
})

sender('the pauses between attempts double up to a bound, for ever', () => {
  const [alice] = pairUp(native)
  alice.submit('one')
  const pauses: number[] = []
  for (let attempt = 0; attempt < 14; attempt++) {
    alice.hear({ kind: 'fetchFailed', code: 'NETWORK_UNREACHABLE' })
    alice.hear({ kind: 'linkFailed', code: 'NETWORK_UNREACHABLE' })
    pauses.push((alice.state.retryAt ?? 0) - alice.nowMs)
    alice.nowMs = toTimeMs(alice.state.retryAt ?? 0)
    alice.hear({ kind: 'timerExpired' })
  }
  assert.equal(pauses.slice(0, 4), [1_000, 2_000, 4_000, 8_000]) // jitter 0.5: none
  assert.ok(pauses.slice(9).every((pause) => pause === RETRY_MS_MAX))
})

sender('a connection ends the pause at once', () => {
  const [alice] = pairUp(native)
  alice.submit('one')
  alice.hear({ kind: 'fetchFailed', code: 'NETWORK_UNREACHABLE' })
  alice.hear({ kind: 'linkFailed', code: 'NETWORK_UNREACHABLE' })
  assert.equal(kinds(alice.hear({ kind: 'connected' })).slice(0, 2), ['fetchBundle', 'openLink'])
})

sender('an accepted envelope is not sent again on this link, and awaits its receipt', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const [first] = alice.transmitted(alice.submit('one'))
  assert.equal(alice.result(first, 'accepted'), [])
  assert.is(alice.state.outbox[0]?.phase, 'accepted')
  alice.nowMs = toTimeMs(alice.nowMs + HOUR_MS)
  assert.equal(alice.transmitted(alice.hear({ kind: 'timerExpired' })), [])
  assert.is(alice.state.outbox[0]?.letter.state, 'queued')
})

sender('every link gets the same bytes of what has no receipt, oldest first', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const first = alice.transmitted([...alice.submit('one'), ...alice.submit('two')])
  alice.result(first[0], 'accepted')
  alice.hear({ kind: 'linkClosed' })
  const again = alice.transmitted(alice.hear({ kind: 'linkOpened' }))
  assert.equal(again, first)
})

for (const [status, code] of [
  ['busy', 'LIMIT_RATE'],
  ['quota', 'LIMIT_QUOTA'],
  ['refused', 'DIRECT_REFUSED'],
  ['malformed', 'CODEC_MALFORMED'],
  ['unsupported', 'CODEC_UNKNOWN_VERSION'],
] as const) {
  sender(`${status} backs off and says ${code}`, () => {
    const [alice, bob] = pairUp(native)
    alice.connectTo(bob)
    const [sent] = alice.transmitted(alice.submit('one'))
    alice.result(sent, status)
    assert.is(lastErrorOf(alice.state), code)
    assert.is(alice.state.outbox[0]?.phase, 'refused')
    assert.ok((alice.state.retryAt ?? 0) > alice.nowMs)
  })
}

sender('a result for another envelope than the one sent changes nothing', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const [sent] = alice.transmitted(alice.submit('one'))
  const before = alice.state
  alice.result(
    { ...sent!, ref: { ...sent!.ref, envelopeId: '00'.repeat(32) as never } },
    'accepted',
  )
  assert.equal(alice.state, before)
})

sender('a refused session is renewed once an hour at most, under the same message id', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const [sent] = alice.transmitted(alice.submit('one'))
  alice.result(sent, 'refused')
  assert.is(alice.state.renewal, 'renew')
  alice.nowMs = toTimeMs(alice.state.retryAt ?? 0)
  assert.ok(kinds(alice.hear({ kind: 'timerExpired' })).includes('fetchBundle'))
  const [again] = alice.transmitted(alice.fetchFrom(bob))
  assert.is.not(again?.ref.envelopeId, sent?.ref.envelopeId)
  assert.is(again?.ref.number, sent?.ref.number)
  alice.result(again, 'refused')
  assert.is(alice.state.renewal, undefined)
  alice.nowMs = toTimeMs(alice.nowMs + RESET_INTERVAL_MS)
  alice.result(again, 'refused')
  assert.is(alice.state.renewal, 'renew')
})

// "The sender refetches, at most 3 times."
sender('a consumed prekey is refetched three times, then the message fails', () => {
  const [alice, bob] = pairUp(native)
  const effects = alice.submit('one')
  assert.ok(kinds(effects).includes('fetchBundle'))
  alice.hear({ kind: 'linkOpened' })
  const id = alice.state.outbox[0]?.letter.id ?? ''
  for (let fetch = 0; fetch <= REFETCH_MAX; fetch++) {
    const [sent] = alice.transmitted(alice.fetchFrom(bob))
    assert.ok(sent, `attempt ${fetch} sends`)
    const answered = alice.result(sent, 'prekeyConsumed')
    if (fetch < REFETCH_MAX) assert.ok(kinds(answered).includes('fetchBundle'))
    else assert.ok(answered.some((one) => one.kind === 'report' && one.state === 'failed'))
  }
  assert.is(stateOf(alice, id), 'failed')
})

/* Sender: receipts and ends */
sender('a delivered receipt drops the bytes, a handled one ends it, each reported once', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  alice.submit('one')
  const id = alice.state.outbox[0]?.letter.id ?? ''
  const reports = (effects: readonly ConversationEffect[]): string[] =>
    effects.flatMap((one) => (one.kind === 'report' ? [one.state] : []))
  assert.equal(reports(alice.receipt(bob, id, 'delivered')), ['delivered'])
  assert.is(alice.state.outbox.length, 0)
  assert.equal(reports(alice.receipt(bob, id, 'delivered')), [])
  assert.equal(reports(alice.receipt(bob, id, 'handled')), ['handled'])
  assert.equal(reports(alice.receipt(bob, id, 'handled')), [])
  assert.is(stateOf(alice, id), undefined)
})

sender('a handled receipt alone says delivered, too', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  alice.submit('one')
  alice.receipt(bob, alice.state.outbox[0]?.letter.id ?? '', 'handled')
  assert.is(alice.state.outbox.length + alice.state.done.length, 0)
})

sender('past its life a message expires and is withdrawn; its bytes are resent once a link', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const [sent] = alice.transmitted(alice.submit('one'))
  alice.hear({ kind: 'linkClosed' })
  alice.nowMs = toTimeMs(alice.nowMs + MAILBOX_TTL_MS)
  const effects = alice.hear({ kind: 'timerExpired' })
  assert.ok(effects.some((one) => one.kind === 'report' && one.state === 'expired'))
  assert.is(alice.state.ledger.postbag.withdrawals.length, 1)
  const [resent] = alice.transmitted(alice.hear({ kind: 'linkOpened' }))
  assert.equal(resent, sent)
  const id = alice.state.outbox[0]?.letter.id ?? ''
  alice.receipt(bob, id, 'delivered')
  assert.is(stateOf(alice, id), 'delivered')
})

sender('a week after its life a message is forgotten, whatever its state', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  alice.submit('delivered')
  alice.receipt(bob, alice.state.outbox[0]?.letter.id ?? '', 'delivered')
  alice.submit('expired')
  alice.nowMs = toTimeMs(alice.nowMs + MAILBOX_TTL_MS + 7 * DAY_MS)
  alice.hear({ kind: 'timerExpired' })
  assert.is(alice.state.outbox.length + alice.state.done.length, 0)
})

sender('a restart resends the same bytes', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const sent = alice.transmitted(alice.submit('one'))
  alice.restart()
  assert.ok(kinds(alice.hear({ kind: 'restarted' })).includes('openLink'))
  assert.equal(alice.transmitted(alice.hear({ kind: 'linkOpened' })), sent)
})

sender('an unsealed message survives a restart and is sealed then', () => {
  const [alice, bob] = pairUp(native)
  alice.submit('one')
  alice.restart()
  assert.ok(kinds(alice.hear({ kind: 'restarted' })).includes('fetchBundle'))
  alice.fetchFrom(bob)
  assert.is(alice.transmitted(alice.hear({ kind: 'linkOpened' })).length, 1)
})

sender('a reset re-encrypts what is undelivered under the same id, once in half an hour', () => {
  const [alice, bob] = pairUp(native)
  alice.connectTo(bob)
  const [sent] = alice.transmitted(alice.submit('one'))
  alice.result(sent, 'accepted')
  const again = alice.transmitted(bob.resetTo(alice))
  assert.is(again.length, 1)
  assert.is(again[0]?.ref.number, sent?.ref.number)
  assert.is.not(again[0]?.ref.envelopeId, sent?.ref.envelopeId)
  assert.equal(alice.transmitted(bob.resetTo(alice)), [])
})

sender.run()
