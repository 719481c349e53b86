// Makes protocols/direct/vectors.json: structures, handshakes, a conversation and rejects from fixed seeds, by the
// portable Primitives, whose encapsulation takes coins. Codes of refusals are stated here, not taken from the code under test.
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { encodeBody } from '../../protocols/direct/body.ts'
import { encodeHeader, envelopeIdOf } from '../../protocols/direct/envelope.ts'
import { SEAL_DRAW_BYTES } from '../../protocols/direct/envelope-seal.ts'
import { noSessions } from '../../protocols/direct/session.ts'
import type { Sessions } from '../../protocols/direct/session.ts'
import { encodeSession } from '../../protocols/direct/session-codec.ts'
import { portable } from '../../src/crypto/portable.ts'
import {
  drawsOf,
  fetchFrom,
  makeAgent,
  NOW,
  operationsOf,
  say,
  valueOf,
} from '../../test/support/direct-cast.ts'
import type { Agent } from '../../test/support/direct-cast.ts'
import { alice, bob } from './direct/cast.ts'
import { envelopes } from './direct/envelopes.ts'
import { bodies, bundles, frames } from './direct/structures.ts'

const operations = operationsOf(portable)

function agentKeys(agent: Agent): unknown {
  const { own, prekeys, published } = agent
  const pair = prekeys.oneTime(3)
  const ec = prekeys.oneTime(4)
  const hex = (bytes: Bytes | undefined): string => formatHex(bytes ?? new Uint8Array(0))
  return {
    comment: agent.name,
    secret: formatHex(agent.secret),
    peerId: agent.peer,
    identitySecret: formatHex(own.identitySecret),
    identityKey: formatHex(own.identityKey),
    certificate: formatHex(own.certificate),
    signedPrekeySecret: hex(prekeys.signed(1)),
    lastResortSeed: hex(prekeys.lastResort(2)),
    pairSecret: hex(pair?.ecSecret),
    pairSeed: hex(pair?.kemSeed),
    ecSecret: hex(ec?.ecSecret),
    bundle: formatHex(published.bundle),
    pair: formatHex(published.pair),
    ec: formatHex(published.ec),
  }
}

interface Handshake {
  readonly sessions: Sessions
  readonly vector: unknown
}

function handshake(comment: string, entry?: 'pair' | 'ec'): Handshake {
  const draw = drawsOf(portable, `vectors handshake ${comment}`)
  const fetched = fetchFrom(bob, entry)
  const draws = valueOf(operations.drawInitiation(fetched, draw))
  const made = operations.initiate(alice.own, noSessions(bob.peer), fetched, draws, NOW)
  const { sessions, degraded } = valueOf(made)
  const session = sessions.list[0]
  if (session === undefined) throw new Error('a handshake makes a session')
  const vector = {
    comment,
    spec: '4.1.1',
    initiator: 'Alice',
    responder: 'Bob',
    entry: entry ?? null,
    nowMs: NOW,
    baseSecret: formatHex(draws.baseSecret),
    kemCiphertext: formatHex(draws.encapsulation.ciphertext),
    kemSecret: formatHex(draws.encapsulation.secret),
    transcript: formatHex(session.transcript),
    rootKey: formatHex(session.ratchet.rootKey),
    headerA: formatHex(session.ratchet.nextSendingHeader),
    headerB: formatHex(session.ratchet.nextReceivingHeader),
    preamble: formatHex(session.preamble ?? new Uint8Array(0)),
    degraded,
    state: formatHex(encodeSession(session)),
  }
  return { sessions, vector }
}

const withPair = handshake('one-time pair: KEM and Diffie-Hellman prekey', 'pair')

/** Messages of each turn of the conversation. */
const BURSTS = [1, 4, 7, 3, 5, 2, 8, 6, 9, 5]
/** A late message comes so many turns after its burst, when its sender has a new chain. */
const LATE_TURNS = 2

/** Fifty messages in turns, each turn's opened in another order than they were sealed. */
function conversation(): unknown {
  const draw = drawsOf(portable, 'vectors conversation')
  const sides = {
    Alice: { agent: alice, sessions: withPair.sessions },
    Bob: { agent: makeAgent(portable, 'Bob'), sessions: noSessions(alice.peer) },
  }
  const steps: unknown[] = []
  const late: { readonly due: number; readonly to: 'Alice' | 'Bob'; readonly envelope: Bytes }[] =
    []
  let sequence = 0
  BURSTS.forEach((count, turn) => {
    const from = turn % 2 === 0 ? 'Alice' : 'Bob'
    const to = from === 'Alice' ? 'Bob' : 'Alice'
    const sealed: Bytes[] = []
    for (let i = 0; i < count; i++) {
      const body = say(++sequence)
      const draws = draw(SEAL_DRAW_BYTES)
      const one = operations.seal(sides[from].agent.own, sides[from].sessions, body, draws)
      const { sessions, envelope } = valueOf(one)
      sides[from].sessions = sessions
      sealed.push(envelope)
      steps.push({
        seal: from,
        sequence,
        draws: formatHex(draws),
        body: formatHex(encodeBody(body)),
        envelope: formatHex(envelope),
      })
    }
    const [kept] = sealed.length > 2 ? sealed.splice(1, 1) : []
    if (kept !== undefined) late.push({ due: turn + LATE_TURNS, to, envelope: kept })
    for (const envelope of sealed.reverse()) steps.push(open(sides, to, envelope))
    for (const one of late.filter(({ due }) => due === turn)) {
      steps.push(open(sides, one.to, one.envelope))
    }
  })
  for (const one of late.filter(({ due }) => due >= BURSTS.length)) {
    steps.push(open(sides, one.to, one.envelope))
  }
  const states = Object.entries(sides).map(([name, { sessions }]) => {
    const session = sessions.list[0]
    return [name, session === undefined ? '' : formatHex(encodeSession(session))]
  })
  const comment =
    'fifty messages in turns; each turn opens backwards, and some of it two turns late'
  return { comment, spec: '4.1', steps, states: Object.fromEntries(states) as unknown }
}

function open(
  sides: Record<'Alice' | 'Bob', { readonly agent: Agent; sessions: Sessions }>,
  to: 'Alice' | 'Bob',
  envelope: Bytes,
): unknown {
  const { agent, sessions } = sides[to]
  const opened = valueOf(operations.open(agent.own, sessions, agent.prekeys, envelope, NOW))
  sides[to].sessions = opened.sessions
  agent.consume(opened)
  const envelopeId = envelopeIdOf(portable, envelope)
  return { open: to, envelopeId, sequence: opened.body.message?.sequence }
}

/** Makes the vectors; the same at every call. */
export function makeVectors(): unknown {
  const header = {
    ratchetKey: bob.own.identityKey,
    previousCount: 1,
    count: 2,
    pqEpoch: 0,
    pqCount: 0,
    pqPreviousCount: 0,
  }
  return {
    comment: 'direct, version 1, suite 0; written by `npm run vectors`',
    agents: [alice, bob].map(agentKeys),
    header: {
      comment: 'header plaintext: ratchet key, previousCount 1, count 2',
      spec: '3.2',
      ratchetKey: formatHex(header.ratchetKey),
      bytes: formatHex(encodeHeader(header)),
    },
    bodies: bodies(),
    prekeys: bundles(),
    handshakes: [
      withPair.vector,
      handshake('one-time Diffie-Hellman prekey, last-resort KEM key', 'ec').vector,
      handshake('no one-time prekey').vector,
    ],
    conversation: conversation(),
    envelopes: envelopes(withPair.sessions),
    frames: frames(),
  }
}
