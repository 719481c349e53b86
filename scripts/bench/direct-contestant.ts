// One who takes part in the direct bench, and ours: the whole profile, sessions written as rows of bytes into memory at
// every message. A running node holds its sessions; `rereads` has them read back from their bytes each time, too.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { SEAL_DRAW_BYTES } from '../../protocols/direct/envelope-seal.ts'
import { loadSessions, sessionRows } from '../../protocols/direct/session-rows.ts'
import type { Sessions } from '../../protocols/direct/session.ts'
import type { Opened, SessionOperations } from '../../protocols/direct/sessions.ts'
import type { Fetched } from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { makeAgent, NOW, operationsOf, say, valueOf } from '../../test/support/direct-cast.ts'
import type { Agent } from '../../test/support/direct-cast.ts'

/** Octets of each message. */
export const CONTENT_BYTES = 256

/** Whose turn it is. */
export type Side = 'alice' | 'bob'

/** One implementation under measurement. */
export interface Contestant {
  /** With what it is measured: version and profile. */
  readonly name: string
  /** A new conversation between two agents; each call encrypts a message to bytes and decrypts it. */
  startTalk(rereads: boolean): Promise<(from: Side) => void | Promise<void>>
  /** New agents, one with the other's fetched bundle in hand; the call sets up a session up to the first decrypted message. */
  prepareSetup(): () => void | Promise<void>
}

/** One end: its agent, and its sessions as rows. */
class End {
  readonly agent: Agent
  readonly #operations: SessionOperations
  readonly #rereads: boolean
  readonly #rows = new Map<string, Bytes>()
  #held: Sessions | undefined

  constructor(operations: SessionOperations, agent: Agent, rereads: boolean) {
    this.agent = agent
    this.#rereads = rereads
    this.#operations = operations
  }

  initiate(other: Agent): void {
    const { bundle, pair } = other.published
    const fetched: Fetched = { bundle, entry: pair, from: other.peer }
    const before = this.load(other)
    const draws = valueOf(this.#operations.drawInitiation(fetched, randomBytes))
    const made = this.#operations.initiate(this.agent.own, before, fetched, draws, NOW)
    this.#save(before, valueOf(made).sessions)
  }

  seal(other: Agent): Bytes {
    const before = this.load(other)
    const body = say(1, new Uint8Array(CONTENT_BYTES))
    const draw = randomBytes(SEAL_DRAW_BYTES)
    const sealed = valueOf(this.#operations.seal(this.agent.own, before, body, draw, NOW))
    this.#save(before, sealed.sessions)
    return sealed.envelope
  }

  open(other: Agent, envelope: Bytes): Opened {
    const before = this.load(other)
    const { own, prekeys, consume } = this.agent
    const opened = valueOf(this.#operations.open(own, before, prekeys, envelope, NOW))
    this.#save(before, opened.sessions)
    consume(opened)
    return opened
  }

  load(other: Agent): Sessions {
    if (!this.#rereads && this.#held !== undefined) return this.#held
    const rows = [...this.#rows].map(([key, value]) => ({ key, value }))
    return valueOf(loadSessions(other.peer, rows))
  }

  #save(before: Sessions, after: Sessions): void {
    for (const row of sessionRows(before, after)) {
      if (row.kind === 'put') this.#rows.set(row.key, row.value)
      else this.#rows.delete(row.key)
    }
    this.#held = after
  }
}

function exchange(from: End, to: End): void {
  to.open(from.agent, from.seal(to.agent))
}

/** Ours over the native primitives; `suite` is what its sessions say: 0 is without a post-quantum ratchet. */
export function ownContestant(): Contestant & { readonly suite: number } {
  const operations = operationsOf(native)
  let pairs = 0
  const makePair = (rereads = false): Record<Side, End> => {
    // Fresh keys each time: what is cached by key helps within a session only, as with real peers.
    const generation = `${pairs++}`
    const make = (name: string): End =>
      new End(operations, makeAgent(native, `${name} ${generation}`, { generation }), rereads)
    return { alice: make('Alice'), bob: make('Bob') }
  }
  const { alice, bob } = makePair()
  alice.initiate(bob.agent)
  const suite: number = alice.load(bob.agent).list[0]?.suite ?? 0
  const ratchet = suite === 0 ? 'without post-quantum ratchet: not comparable' : 'whole profile'
  return {
    name: `conclave, suite ${suite}, ${ratchet}`,
    suite,
    startTalk(rereads) {
      const ends = makePair(rereads)
      ends.alice.initiate(ends.bob.agent)
      return Promise.resolve((from) =>
        exchange(ends[from], ends[from === 'alice' ? 'bob' : 'alice']),
      )
    },
    prepareSetup() {
      const ends = makePair()
      return () => {
        ends.alice.initiate(ends.bob.agent)
        exchange(ends.alice, ends.bob)
      }
    },
  }
}
