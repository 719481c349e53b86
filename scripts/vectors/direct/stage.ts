// Two agents who seal and open one after the other, and a record of it: what the conversations of the vectors are made with.
import { formatHex } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import type { TimeMs } from '../../../protocols/base/time.ts'
import { encodeBody } from '../../../protocols/direct/body.ts'
import { envelopeIdOf } from '../../../protocols/direct/envelope.ts'
import { SEAL_DRAW_BYTES } from '../../../protocols/direct/envelope-seal.ts'
import { encodeSession } from '../../../protocols/direct/session-codec.ts'
import { noSessions } from '../../../protocols/direct/session.ts'
import type { Session, Sessions } from '../../../protocols/direct/session.ts'
import type { Body } from '../../../protocols/direct/types.ts'
import { portable } from '../../../src/crypto/portable.ts'
import {
  drawsOf,
  makeAgent,
  NOW,
  operationsOf,
  valueOf,
} from '../../../test/support/direct-cast.ts'
import { alice } from './cast.ts'

export type Name = 'Alice' | 'Bob'

const operations = operationsOf(portable)

/** A story under way: Alice has opened a session, Bob knows nothing of it. */
export class Stage {
  readonly steps: unknown[] = []
  readonly draw: (length: number) => Bytes
  nowMs: TimeMs = NOW
  readonly #sides

  constructor(seed: string, started: Sessions) {
    this.draw = drawsOf(portable, seed)
    this.#sides = {
      Alice: { agent: alice, sessions: started },
      Bob: { agent: makeAgent(portable, 'Bob'), sessions: noSessions(alice.peer) },
    }
  }

  /** The session that one of them sends on. */
  session(name: Name): Session {
    const session = this.#sides[name].sessions.list[0]
    if (session === undefined) throw new Error(`${name} has a session`)
    return session
  }

  sender(name: Name): Bytes {
    return this.#sides[name].agent.own.peerBytes
  }

  seal(from: Name, body: Body): Bytes {
    const side = this.#sides[from]
    const draws = this.draw(SEAL_DRAW_BYTES)
    const sealed = operations.seal(side.agent.own, side.sessions, body, draws, this.nowMs)
    const { sessions, envelope } = valueOf(sealed)
    side.sessions = sessions
    this.steps.push({
      seal: from,
      nowMs: this.nowMs,
      draws: formatHex(draws),
      body: formatHex(encodeBody(body)),
      envelope: formatHex(envelope),
    })
    return envelope
  }

  open(to: Name, envelope: Bytes): void {
    const { agent, sessions } = this.#sides[to]
    const { own, prekeys } = agent
    const opened = valueOf(operations.open(own, sessions, prekeys, envelope, this.nowMs))
    this.#sides[to].sessions = opened.sessions
    agent.consume(opened)
    this.steps.push({
      open: to,
      nowMs: this.nowMs,
      envelopeId: envelopeIdOf(portable, envelope),
      sequence: opened.body.message?.sequence ?? 0,
    })
  }

  /** What is saved of both sessions in the end. */
  states(): Readonly<Record<Name, string>> {
    const saved = (name: Name): string => formatHex(encodeSession(this.session(name)))
    return { Alice: saved('Alice'), Bob: saved('Bob') }
  }
}
