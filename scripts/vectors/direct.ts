// Makes protocols/direct/vectors.json: structures, handshakes, a conversation and rejects from fixed seeds, by the
// portable Primitives, whose encapsulation takes coins. Codes of refusals are stated here, not taken from the code under test.
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { encodeHeader } from '../../protocols/direct/envelope.ts'
import { noSessions } from '../../protocols/direct/session.ts'
import type { Sessions } from '../../protocols/direct/session.ts'
import { encodeSession } from '../../protocols/direct/session-codec.ts'
import { portable } from '../../src/crypto/portable.ts'
import {
  drawsOf,
  fetchFrom,
  NOW,
  operationsOf,
  say,
  valueOf,
} from '../../test/support/direct-cast.ts'
import type { Agent } from '../../test/support/direct-cast.ts'
import { alice, bob } from './direct/cast.ts'
import { epochs } from './direct/epochs.ts'
import { envelopes } from './direct/envelopes.ts'
import { Stage } from './direct/stage.ts'
import type { Name } from './direct/stage.ts'
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
  const stage = new Stage('vectors conversation', withPair.sessions)
  const late: { readonly due: number; readonly to: Name; readonly envelope: Bytes }[] = []
  let sequence = 0
  BURSTS.forEach((count, turn) => {
    const [from, to] = turn % 2 === 0 ? (['Alice', 'Bob'] as const) : (['Bob', 'Alice'] as const)
    const sealed = Array.from({ length: count }, () => stage.seal(from, say(++sequence)))
    const [kept] = sealed.length > 2 ? sealed.splice(1, 1) : []
    if (kept !== undefined) late.push({ due: turn + LATE_TURNS, to, envelope: kept })
    for (const envelope of sealed.reverse()) stage.open(to, envelope)
    for (const one of late.filter(({ due }) => due === turn)) stage.open(one.to, one.envelope)
  })
  for (const one of late.filter(({ due }) => due >= BURSTS.length)) {
    stage.open(one.to, one.envelope)
  }
  const comment =
    'fifty messages in turns; each turn opens backwards, and some of it two turns late'
  return { comment, spec: '4.1', steps: stage.steps, states: stage.states() }
}

/** Makes the vectors; the same at every call. */
export function makeVectors(): unknown {
  const header = {
    ratchetKey: bob.own.identityKey,
    previousCount: 1,
    count: 2,
    pqEpoch: 3,
    pqCount: 4,
    pqPreviousCount: 5,
  }
  return {
    comment: 'direct, version 1, suite 1; written by `npm run vectors`',
    agents: [alice, bob].map(agentKeys),
    header: {
      comment: 'header plaintext: ratchet key, then the five numbers 1 to 5',
      spec: '3.2',
      ratchetKey: formatHex(header.ratchetKey),
      bytes: formatHex(encodeHeader(header, header)),
    },
    bodies: bodies(),
    prekeys: bundles(),
    handshakes: [
      withPair.vector,
      handshake('one-time Diffie-Hellman prekey, last-resort KEM key', 'ec').vector,
      handshake('no one-time prekey').vector,
    ],
    conversation: conversation(),
    epochs: epochs(withPair.sessions),
    envelopes: envelopes(withPair.sessions),
    frames: frames(),
  }
}
