// Three epochs of the post-quantum ratchet, and what a session refuses between them.
import { formatHex, u32 } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import type { ErrorCode } from '../../../protocols/base/error-codes.ts'
import { toTimeMs } from '../../../protocols/base/time.ts'
import { encodeBody } from '../../../protocols/direct/body.ts'
import type { SckaHeader } from '../../../protocols/direct/scka.ts'
import { SEAL_DRAW_BYTES } from '../../../protocols/direct/envelope-seal.ts'
import { encodeSession } from '../../../protocols/direct/session-codec.ts'
import type { Sessions } from '../../../protocols/direct/session.ts'
import { SCKA_EPOCH_MS } from '../../../protocols/direct/types.ts'
import type { SckaOffer } from '../../../protocols/direct/types.ts'
import { portable } from '../../../src/crypto/portable.ts'
import { NOTHING_TO_SAY, say } from '../../../test/support/direct-cast.ts'
import { craftEnvelope } from '../../../test/support/direct-craft.ts'
import type { Craft } from '../../../test/support/direct-craft.ts'
import { Stage } from './stage.ts'
import type { Name } from './stage.ts'

type Case = readonly [comment: string, code: ErrorCode, craft: Craft]

/** The protobuf of a body with nothing but this offer, filled from a seed. */
export function offerBody(kind: SckaOffer['kind'], epoch: number): Bytes {
  const bytes =
    kind === 'ciphertext'
      ? portable.hkdfSha256(u32(epoch), u32(0), new Uint8Array(0), 1_088)
      : portable.kemPublic(768, new Uint8Array(64).fill(epoch))
  return encodeBody({ ...NOTHING_TO_SAY, scka: { kind, epoch, bytes } })
}

const header = (changes: Partial<SckaHeader>): Craft => ({ header: changes })
const offer = (kind: SckaOffer['kind'], epoch: number): Craft => ({ body: offerBody(kind, epoch) })

/** What only the peer itself could have sealed, with the state that refuses it. */
function refuse(stage: Stage, to: Name, cases: readonly Case[]): unknown[] {
  const from = to === 'Alice' ? 'Bob' : 'Alice'
  const state = formatHex(encodeSession(stage.session(to)))
  return cases.map(([comment, code, craft]) => {
    const draws = stage.draw(SEAL_DRAW_BYTES)
    const sender = stage.sender(from)
    const envelope = craftEnvelope(portable, stage.session(from), sender, draws, craft)
    return { comment, spec: '4.1.4', to, state, input: formatHex(envelope), code }
  })
}

/** Epoch 1 is proposed by the first envelopes and completed by receipt-only ones; two of epoch 0 come late. */
function firstEpoch(stage: Stage): { reject: unknown[]; late: Bytes } {
  const [one, two] = [say(1), say(2)].map((body) => stage.seal('Alice', body)) as [Bytes, Bytes]
  stage.open('Bob', one)
  const answer = stage.seal('Bob', NOTHING_TO_SAY)
  stage.open('Alice', answer)
  const early = refuse(stage, 'Alice', [
    [
      'a proposal of epoch 2 before epoch 1 was used',
      'DIRECT_EPOCH_UNKNOWN',
      offer('encapsulationKey', 2),
    ],
  ])
  const turn = refuse(stage, 'Bob', [
    ['an epoch that is not derived', 'DIRECT_EPOCH_UNKNOWN', header({ pqEpoch: 2 })],
    [
      'a chain that ended before it was received',
      'DIRECT_OPEN_FAILED',
      header({ pqPreviousCount: 0 }),
    ],
    ['a chain that ended one too early', 'DIRECT_OPEN_FAILED', header({ pqPreviousCount: 1 })],
    ['a chain that ended one too late', 'DIRECT_OPEN_FAILED', header({ pqPreviousCount: 3 })],
    ['a chain without end', 'DIRECT_OPEN_FAILED', header({ pqPreviousCount: 2 ** 32 - 1 })],
    ['one ahead in the new epoch alone', 'DIRECT_OPEN_FAILED', header({ pqCount: 1 })],
    ['a count beyond the chain', 'DIRECT_OPEN_FAILED', header({ pqCount: 2 ** 20 })],
    [
      'a late place for an envelope that is not',
      'DIRECT_OPEN_FAILED',
      header({ pqEpoch: 0, pqCount: 0 }),
    ],
    ['the key of the old epoch', 'DIRECT_OPEN_FAILED', header({ pqEpoch: 0, pqCount: 2 })],
  ])
  const [three, four] = [say(3), say(4)].map((body) => stage.seal('Alice', body)) as [Bytes, Bytes]
  stage.open('Bob', four)
  stage.open('Bob', three)
  return { reject: [...early, ...turn], late: two }
}

/** Makes the epochs from Alice's sessions after a handshake with the one-time pair. */
export function epochs(sessions: Sessions): unknown {
  const stage = new Stage('vectors epochs', sessions)
  const { reject, late } = firstEpoch(stage)
  reject.push(
    ...refuse(stage, 'Bob', [
      ['a proposal at the other side’s turn', 'DIRECT_EPOCH_UNKNOWN', offer('encapsulationKey', 2)],
      ['a proposal two epochs ahead', 'DIRECT_EPOCH_UNKNOWN', offer('encapsulationKey', 3)],
      ['an answer to nothing', 'DIRECT_EPOCH_UNKNOWN', offer('ciphertext', 2)],
      ['an answer to a proposal of its own', 'DIRECT_EPOCH_UNKNOWN', offer('ciphertext', 1)],
    ]),
  )
  // Epochs 2 and 3, each an hour later; one envelope of the epoch before is kept back.
  const kept: (readonly [Name, Bytes])[] = [['Bob', late]]
  for (const [proposer, answerer] of [
    ['Bob', 'Alice'],
    ['Alice', 'Bob'],
  ] as const) {
    stage.nowMs = toTimeMs(stage.nowMs + SCKA_EPOCH_MS)
    const first = stage.steps.length
    kept.push([answerer, stage.seal(proposer, say(first))])
    stage.open(answerer, stage.seal(proposer, say(first + 1)))
    kept.push([proposer, stage.seal(answerer, say(first))])
    stage.open(proposer, stage.seal(answerer, NOTHING_TO_SAY))
    stage.open(answerer, stage.seal(proposer, say(first + 2)))
    stage.open(proposer, stage.seal(answerer, say(first + 1)))
  }
  for (const [to, envelope] of kept) stage.open(to, envelope)
  const comment =
    'three epochs; each is completed by a receipt-only envelope, with late ones before it'
  return { comment, spec: '4.1.4', steps: stage.steps, states: stage.states(), reject }
}
