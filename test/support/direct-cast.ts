// Alice, Bob and others with prekeys, and sessions between them: for tests, vectors and benches of direct messages.
import { concat, formatHex, u32, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { DAY_MS, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { SEAL_DRAW_BYTES } from '../../protocols/direct/envelope-seal.ts'
import { signBundle, signEntry } from '../../protocols/direct/prekey-bundle.ts'
import { makeOwnKeys, noSessions } from '../../protocols/direct/session.ts'
import type { Sessions } from '../../protocols/direct/session.ts'
import { makeSessions } from '../../protocols/direct/sessions.ts'
import type { Opened, Sealed, SessionOperations } from '../../protocols/direct/sessions.ts'
import { BUNDLE_LIFE_MS } from '../../protocols/direct/types.ts'
import type {
  Body,
  Fetched,
  MessageId,
  OwnKeys,
  PrekeyLookup,
  PrekeyTuple,
} from '../../protocols/direct/types.ts'
import {
  signIdentityCertificate,
  verifyIdentityCertificate,
} from '../../protocols/identity/identity-certificate.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'

/** The time at which every story here begins. */
export const NOW: TimeMs = toTimeMs(1_798_761_600_000)

/** A generator of bytes that repeats itself exactly for the same seed. */
export function drawsOf(primitives: Primitives, seed: string): (length: number) => Bytes {
  let drawn = 0
  return (length) => primitives.hkdfSha256(utf8(seed), u32(drawn++), concat(), length)
}

/** The native Primitives, but what they encapsulate follows from its coins: for tests that ask twice. */
export const seeded: Primitives = { ...native, encapsulate: portable.encapsulate }

/** What an agent publishes, in signed bytes. */
export interface Published {
  readonly bundle: Bytes
  readonly pair: Bytes
  readonly ec: Bytes
}

/** One agent with its prekeys. Ids: signed 1, last resort 2, pair 3, ec 4. */
export interface Agent {
  readonly name: string
  /** Ed25519 seed. */
  readonly secret: Bytes
  readonly peer: PeerId
  readonly own: OwnKeys
  readonly published: Published
  readonly prekeys: PrekeyLookup
  /** Deletes and records what an opened envelope used up. */
  readonly consume: (opened: Opened) => void
}

/** Options of `makeAgent` that stories change. */
export interface AgentOptions {
  readonly identitySeq?: number
  /** Makes another identity key and other prekeys for the same agent. */
  readonly generation?: string
  readonly bundleSeq?: number
}

/** Makes the operations with real certificates. */
export function operationsOf(primitives: Primitives): SessionOperations {
  return makeSessions(primitives, (peer, bytes) =>
    verifyIdentityCertificate(primitives, peer, bytes),
  )
}

/** Makes an agent whose every key follows from its name. */
export function makeAgent(primitives: Primitives, name: string, options: AgentOptions = {}): Agent {
  const { identitySeq = 1, generation = '', bundleSeq = 1 } = options
  const secret = primitives.sha256(utf8(`agent ${name}`))
  const peer = peerIdFromPublicKey(primitives.signPublic(secret))
  const draw = drawsOf(primitives, `keys of ${name}${generation}`)
  const identitySecret = draw(32)
  const identityKey = primitives.dhPublic(identitySecret)
  const certificate = signIdentityCertificate(primitives, secret, {
    peer,
    identityKey,
    identitySeq,
    issuedAt: NOW,
  })
  const ecSecrets = { signed: draw(32), pair: draw(32), ec: draw(32) }
  const kemSeeds = { lastResort: draw(64), pair: draw(64) }
  const published = publish(
    primitives,
    { secret, peer, identityKey, identitySeq, bundleSeq },
    {
      ...ecSecrets,
      lastResortSeed: kemSeeds.lastResort,
      pairSeed: kemSeeds.pair,
    },
  )
  const used = new Set<string>()
  const gone = new Set<number>()
  const hash = (bytes: Bytes): Bytes => primitives.sha256(bytes)
  const entries = new Map([
    [3, { ecSecret: ecSecrets.pair, kemSeed: kemSeeds.pair, hash: hash(published.pair) }],
    [4, { ecSecret: ecSecrets.ec, hash: hash(published.ec) }],
  ])
  return {
    name,
    secret,
    peer,
    own: makeOwnKeys(primitives, { peer, identitySecret, certificate }),
    published,
    prekeys: {
      bundle: (seq) =>
        seq === bundleSeq ? { hash: hash(published.bundle), capabilities: 0 } : undefined,
      signed: (id) => (id === 1 ? ecSecrets.signed : undefined),
      lastResort: (id) => (id === 2 ? kemSeeds.lastResort : undefined),
      oneTime: (id) => (gone.has(id) ? undefined : entries.get(id)),
      isUsed: (tuple) => used.has(nameOf(tuple)),
    },
    consume({ consumed }) {
      if (consumed === undefined) return
      used.add(nameOf(consumed.tuple))
      if (consumed.oneTimeId !== undefined) gone.add(consumed.oneTimeId)
    },
  }
}

function nameOf({ signedPrekeyId, kemPrekeyId, baseKey }: PrekeyTuple): string {
  return `${signedPrekeyId}/${kemPrekeyId}/${formatHex(baseKey)}`
}

function publish(
  primitives: Primitives,
  agent: {
    readonly secret: Bytes
    readonly peer: PeerId
    readonly identityKey: Bytes
    readonly identitySeq: number
    readonly bundleSeq: number
  },
  keys: {
    readonly signed: Bytes
    readonly pair: Bytes
    readonly ec: Bytes
    readonly lastResortSeed: Bytes
    readonly pairSeed: Bytes
  },
): Published {
  const { secret, peer, identityKey, identitySeq, bundleSeq } = agent
  const expiresAt = toTimeMs(NOW + 7 * DAY_MS)
  return {
    bundle: signBundle(primitives, secret, {
      capabilities: 0,
      peer,
      identityKey,
      identitySeq,
      bundleSeq,
      issuedAt: NOW,
      expiresAt: toTimeMs(NOW + BUNDLE_LIFE_MS),
      signedPrekeyId: 1,
      signedPrekey: primitives.dhPublic(keys.signed),
      lastResortKemId: 2,
      lastResortKemKey: primitives.kemPublic(1024, keys.lastResortSeed),
    }),
    pair: signEntry(primitives, secret, {
      kind: 'pair',
      id: 3,
      ecKey: primitives.dhPublic(keys.pair),
      kemKey: primitives.kemPublic(1024, keys.pairSeed),
      custodian: peer,
      expiresAt,
    }),
    ec: signEntry(primitives, secret, {
      kind: 'ec',
      id: 4,
      ecKey: primitives.dhPublic(keys.ec),
      custodian: peer,
      expiresAt,
    }),
  }
}

/** What an agent answers to `Fetch`. */
export function fetchFrom(agent: Agent, entry?: 'pair' | 'ec'): Fetched {
  const { bundle } = agent.published
  const given = entry === undefined ? {} : { entry: agent.published[entry] }
  return { bundle, from: agent.peer, ...given }
}

/** The value of a decoded result that must be there. */
export function valueOf<T>(result: Decoded<T>): T {
  if (!result.ok) throw new Error(`refused: ${result.code}`)
  return result.value
}

/** A body with one message. */
export function say(sequence: number, content: Bytes = utf8(`message ${sequence}`)): Body {
  const id = sequence.toString(16).padStart(32, '0') as MessageId
  return { message: { id, sequence, sentAt: NOW, content }, receipts: [], controls: [] }
}

/** Puts the length in front of a protobuf and pads it with zeros to `room` octets. */
export function padBody(protobuf: Bytes, room: number): Bytes {
  const out = new Uint8Array(room)
  out.set(concat(u32(protobuf.length), protobuf))
  return out
}

/** A body without any item. */
export const NOTHING_TO_SAY: Body = { receipts: [], controls: [] }

/** One end of a conversation, with a mutable place for the newest sessions: tests read better so. */
export interface End {
  readonly agent: Agent
  sessions: Sessions
  readonly seal: (body: Body, nowMs?: TimeMs) => Sealed
  /** The result, which is kept only if it is a success. */
  readonly open: (envelope: Bytes, nowMs?: TimeMs) => Decoded<Opened>
  readonly initiate: (entry?: 'pair' | 'ec', nowMs?: TimeMs) => void
}

/** Two ends that know nothing of each other yet. */
export function makePair(
  primitives: Primitives,
  seed: string,
  agents: readonly [Agent, Agent] = [makeAgent(primitives, 'Alice'), makeAgent(primitives, 'Bob')],
): readonly [End, End] {
  const operations = operationsOf(primitives)
  const makeEnd = (agent: Agent, other: Agent): End => {
    const draw = drawsOf(primitives, `${seed} ${agent.name}`)
    const end: End = {
      agent,
      sessions: noSessions(other.peer),
      seal(body, nowMs = NOW) {
        const sealed = valueOf(
          operations.seal(agent.own, end.sessions, body, draw(SEAL_DRAW_BYTES), nowMs),
        )
        end.sessions = sealed.sessions
        return sealed
      },
      open(envelope, nowMs = NOW) {
        const opened = operations.open(agent.own, end.sessions, agent.prekeys, envelope, nowMs)
        if (opened.ok) {
          end.sessions = opened.value.sessions
          agent.consume(opened.value)
        }
        return opened
      },
      initiate(entry, nowMs = NOW) {
        const fetched = fetchFrom(other, entry)
        const draws = valueOf(operations.drawInitiation(fetched, draw))
        const made = operations.initiate(agent.own, end.sessions, fetched, draws, nowMs)
        end.sessions = valueOf(made).sessions
      },
    }
    return end
  }
  return [makeEnd(agents[0], agents[1]), makeEnd(agents[1], agents[0])]
}
