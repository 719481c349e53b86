// protocols/direct/vectors.json, accept and reject cases, over both Primitives.
import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatHex, parseHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import { parsePeerId } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { encodeBody } from '../../protocols/direct/body.ts'
import { decodeBody } from '../../protocols/direct/body-reader.ts'
import { decodeHeader, encodeHeader, envelopeIdOf } from '../../protocols/direct/envelope.ts'
import {
  decodeDirectFrame,
  decodePrekeysFrame,
  encodeDirectFrame,
  encodePrekeysFrame,
} from '../../protocols/direct/frames.ts'
import { verifyBundle, verifyEntry } from '../../protocols/direct/prekey-bundle.ts'
import { decodeSession, encodeSession } from '../../protocols/direct/session-codec.ts'
import { noSessions } from '../../protocols/direct/session.ts'
import type { Session, Sessions } from '../../protocols/direct/session.ts'
import { native } from '../../src/crypto/native.ts'
import { portable } from '../../src/crypto/portable.ts'
import {
  fetchFrom,
  makeAgent,
  NOW,
  operationsOf,
  padBody,
  valueOf,
} from '../support/direct-cast.ts'

interface Reject {
  readonly comment: string
  readonly input: string
  readonly code: string
}

interface Lists {
  readonly accept: readonly { readonly comment: string; readonly frame: string }[]
  readonly reject: readonly Reject[]
}

type Name = 'Alice' | 'Bob'

interface Story {
  readonly steps: readonly {
    readonly seal?: Name
    readonly open?: Name
    readonly nowMs: number
    readonly sequence?: number
    readonly draws?: string
    readonly body?: string
    readonly envelope?: string
    readonly envelopeId?: string
  }[]
  readonly states: Record<Name, string>
}

interface Vectors {
  readonly agents: readonly Record<string, string>[]
  readonly header: { readonly ratchetKey: string; readonly bytes: string }
  readonly bodies: {
    readonly accept: readonly { readonly comment: string; readonly body: string }[]
    readonly reject: readonly Reject[]
  }
  readonly prekeys: { readonly bundle: readonly Reject[]; readonly entry: readonly Reject[] }
  readonly handshakes: readonly {
    readonly comment: string
    readonly entry: 'pair' | 'ec' | null
    readonly baseSecret: string
    readonly kemCiphertext: string
    readonly kemSecret: string
    readonly transcript: string
    readonly rootKey: string
    readonly headerA: string
    readonly headerB: string
    readonly preamble: string
    readonly degraded: boolean
    readonly state: string
  }[]
  readonly conversation: Story
  readonly epochs: Story & {
    readonly reject: readonly (Reject & { readonly to: Name; readonly state: string })[]
  }
  readonly envelopes: { readonly accept: string; readonly reject: readonly Reject[] }
  readonly frames: { readonly direct: Lists; readonly prekeys: Lists }
}

const file = new URL('../../protocols/direct/vectors.json', import.meta.url)
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vectors
const IMPLEMENTATIONS = { native, portable }
const OTHER = { Alice: 'Bob', Bob: 'Alice' } as const

/** Native ML-KEM takes no coins: what encapsulates is the portable one, on both sides. */
const withCoins = (primitives: Primitives): Primitives => {
  return { ...primitives, encapsulate: portable.encapsulate }
}

function bytesOf(hex: string | undefined): Bytes {
  const bytes = parseHex(hex ?? '')
  if (bytes === undefined) throw new Error('vectors hold hexadecimal')
  return bytes
}

function refuses(cases: readonly Reject[], read: (input: Bytes) => Decoded<unknown>): void {
  assert.ok(cases.length > 0)
  for (const { comment, input, code } of cases) {
    const result = read(bytesOf(input))
    assert.is(result.ok ? 'accepted' : result.code, code, comment)
  }
}

const test = suite('direct · vectors')

test('the numbers of cases are those of the file that is reviewed', () => {
  const { bodies, prekeys, handshakes, conversation, epochs, envelopes, frames } = vectors
  const sealed = conversation.steps.filter(({ seal }) => seal !== undefined)
  assert.equal(
    [
      bodies.accept,
      bodies.reject,
      prekeys.bundle,
      prekeys.entry,
      handshakes,
      envelopes.reject,
      epochs.reject,
    ]
      .map(({ length }) => length)
      .concat(sealed.length, frames.direct.reject.length, frames.prekeys.reject.length),
    [5, 10, 13, 9, 3, 46, 14, 50, 4, 4],
  )
})

test('bodies are accepted, written the same, or refused with their code', () => {
  for (const { comment, body } of vectors.bodies.accept) {
    const padded = padBody(bytesOf(body), body.length + 4)
    assert.is(formatHex(encodeBody(valueOf(decodeBody(padded)))), body, comment)
  }
  refuses(vectors.bodies.reject, decodeBody)
})

test('a header is read and written', () => {
  const { ratchetKey, bytes } = vectors.header
  const header = valueOf(decodeHeader(bytesOf(bytes)))
  const { previousCount, count, pqEpoch, pqCount, pqPreviousCount } = header
  assert.equal([previousCount, count, pqEpoch, pqCount, pqPreviousCount], [1, 2, 3, 4, 5])
  assert.is(formatHex(header.ratchetKey), ratchetKey)
  assert.is(formatHex(encodeHeader(header, header)), bytes)
})

test('frames are accepted, written the same, or refused with their code', () => {
  for (const { frame, comment } of vectors.frames.direct.accept) {
    const read = valueOf(decodeDirectFrame(bytesOf(frame)))
    assert.is(formatHex(encodeDirectFrame(read)), frame, comment)
  }
  for (const { frame, comment } of vectors.frames.prekeys.accept) {
    const read = valueOf(decodePrekeysFrame(bytesOf(frame)))
    assert.is(formatHex(encodePrekeysFrame(read)), frame, comment)
  }
  refuses(vectors.frames.direct.reject, decodeDirectFrame)
  refuses(vectors.frames.prekeys.reject, decodePrekeysFrame)
})

/** Seals and opens as a story says; answers both last sessions, which are those of the story. */
function replay(primitives: Primitives, story: Story): Session[] {
  const operations = operationsOf(withCoins(primitives))
  const cast = { Alice: makeAgent(primitives, 'Alice'), Bob: makeAgent(primitives, 'Bob') }
  const list = [valueOf(decodeSession(bytesOf(vectors.handshakes[0]!.state)))]
  const sides: Record<Name, Sessions> = {
    Alice: { ...noSessions(cast.Bob.peer), nextOrdinal: 2, list },
    Bob: noSessions(cast.Alice.peer),
  }
  const envelopes = new Map<string, Bytes>()
  for (const step of story.steps) {
    const name = step.seal ?? step.open ?? 'Alice'
    const { own, prekeys, consume } = cast[name]
    const nowMs = toTimeMs(step.nowMs)
    if (step.seal !== undefined) {
      const protobuf = bytesOf(step.body)
      const body = valueOf(decodeBody(padBody(protobuf, protobuf.length + 4)))
      const sealed = operations.seal(own, sides[name], body, bytesOf(step.draws), nowMs)
      const { sessions, envelope, envelopeId } = valueOf(sealed)
      sides[name] = sessions
      assert.is(formatHex(envelope), step.envelope)
      envelopes.set(envelopeId, envelope)
    } else {
      const envelope = envelopes.get(step.envelopeId ?? '')!
      const opened = valueOf(operations.open(own, sides[name], prekeys, envelope, nowMs))
      sides[name] = opened.sessions
      consume(opened)
      assert.is(opened.body.message?.sequence ?? 0, step.sequence)
    }
  }
  return (['Alice', 'Bob'] as const).map((name) => {
    const session = sides[name].list[0]!
    assert.is(formatHex(encodeSession(session)), story.states[name])
    assert.equal(session.ratchet.skipped, [])
    return session
  })
}

for (const [name, primitives] of Object.entries(IMPLEMENTATIONS)) {
  test(`${name}: the cast follows from its names`, () => {
    for (const { comment = '', bundle, pair, certificate } of vectors.agents) {
      const { published, own } = makeAgent(primitives, comment)
      assert.is(formatHex(published.bundle), bundle)
      assert.is(formatHex(published.pair), pair)
      assert.is(formatHex(own.certificate), certificate)
    }
  })

  test(`${name}: bundles and entries verify, or are refused with their code`, () => {
    const [, bob] = vectors.agents
    const peer = parsePeerId(bob?.['peerId'] ?? '') as PeerId
    const verify = (input: Bytes): Decoded<unknown> => verifyBundle(primitives, peer, input, NOW)
    const verifyOne = (input: Bytes): Decoded<unknown> =>
      verifyEntry(primitives, peer, input, peer, NOW)
    assert.ok(verify(bytesOf(bob?.['bundle'])).ok)
    assert.ok(verifyOne(bytesOf(bob?.['pair'])).ok)
    assert.ok(verifyOne(bytesOf(bob?.['ec'])).ok)
    refuses(vectors.prekeys.bundle, verify)
    refuses(vectors.prekeys.entry, verifyOne)
  })

  test(`${name}: handshakes reach the same transcript and keys`, () => {
    const [alice, bob] = [makeAgent(primitives, 'Alice'), makeAgent(primitives, 'Bob')]
    for (const one of vectors.handshakes) {
      const encapsulation = {
        ciphertext: bytesOf(one.kemCiphertext),
        secret: bytesOf(one.kemSecret),
      }
      const draws = { baseSecret: bytesOf(one.baseSecret), encapsulation }
      const fetched = fetchFrom(bob, one.entry ?? undefined)
      const start = noSessions(bob.peer)
      const made = valueOf(operationsOf(primitives).initiate(alice.own, start, fetched, draws, NOW))
      const session = made.sessions.list[0]!
      assert.is(formatHex(session.transcript), one.transcript)
      assert.is(formatHex(session.ratchet.rootKey), one.rootKey)
      assert.is(formatHex(session.ratchet.nextSendingHeader), one.headerA)
      assert.is(formatHex(session.ratchet.nextReceivingHeader), one.headerB)
      assert.is(formatHex(session.preamble!), one.preamble)
      assert.is(made.degraded, one.degraded)
      assert.is(formatHex(encodeSession(session)), one.state)
    }
  })

  test(`${name}: the conversation of fifty messages seals to the same octets and opens`, () => {
    replay(primitives, vectors.conversation)
  })

  test(`${name}: three post-quantum epochs seal to the same octets and open`, () => {
    const sessions = replay(primitives, vectors.epochs)
    assert.equal(
      sessions.map(({ scka }) => [scka.sending.epoch, scka.receiving.epoch, scka.step.kind]),
      [
        [3, 3, 'idle'],
        [3, 3, 'idle'],
      ],
    )
  })

  test(`${name}: a session refuses what does not fit its epoch`, () => {
    const cast = { Alice: makeAgent(primitives, 'Alice'), Bob: makeAgent(primitives, 'Bob') }
    for (const { comment, to, state, input, code } of vectors.epochs.reject) {
      const { own, prekeys } = cast[to]
      const list = [valueOf(decodeSession(bytesOf(state)))]
      const sessions = { ...noSessions(cast[OTHER[to]].peer), list }
      const copy = structuredClone(sessions)
      const opened = operationsOf(primitives).open(own, sessions, prekeys, bytesOf(input), NOW)
      assert.is(opened.ok ? 'accepted' : opened.code, code, comment)
      assert.equal(sessions, copy, comment)
    }
  })

  test(`${name}: envelopes open, or are refused with their code`, () => {
    const [alice, bob] = [makeAgent(primitives, 'Alice'), makeAgent(primitives, 'Bob')]
    const start = noSessions(alice.peer)
    const open = (input: Bytes): Decoded<unknown> =>
      operationsOf(primitives).open(bob.own, start, bob.prekeys, input, NOW)
    const good = bytesOf(vectors.envelopes.accept)
    assert.ok(open(good).ok)
    assert.is(envelopeIdOf(primitives, good).length, 64)
    refuses(vectors.envelopes.reject, open)
  })
}

test.run()
