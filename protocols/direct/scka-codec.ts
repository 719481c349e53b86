// Saved form of the post-quantum ratchet, the last part of a session's row (spec.md §4.1.6). Floor 0, pure.
// Its version octet is its own, so that another SCKA can take its place: state read wrongly reuses keys.
import { putU32 } from '../base/bytes.ts'
import type { Bytes, Reader } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { toTimeMs } from '../base/time.ts'
import { OFFER_BYTES } from './body.ts'
import { SCKA_DRAW_BYTES } from './scka.ts'
import type { SckaChain, SckaState, SckaStep } from './scka.ts'

/** Version of the saved post-quantum ratchet. */
export const SCKA_STATE_VERSION = 1

const STEPS = ['idle', 'proposed', 'answering', 'encapsulated'] as const
const KEY_BYTES = 32
const CHAIN_BYTES: number = 4 + KEY_BYTES + 4
/** Version, step, presence of the next receiving chain; root, two chains, length of the previous one, time. */
const FIXED_BYTES: number = 3 + KEY_BYTES + 2 * CHAIN_BYTES + 4 + 8

/** Encodes the state but for the role, which the session says: 159 octets, more with an offer under way. */
export function encodeScka(state: SckaState): Bytes {
  const { rootKey, sending, previousCount, receiving, nextReceiving, since, step } = state
  const parts = [...(nextReceiving === undefined ? [] : [nextReceiving]), ...secretsOf(step)]
  let length = FIXED_BYTES
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  out[0] = SCKA_STATE_VERSION
  out[1] = STEPS.indexOf(step.kind)
  out[2] = nextReceiving === undefined ? 0 : 1
  out.set(rootKey, 3)
  let at = putChain(out, 3 + KEY_BYTES, sending)
  at = putU32(out, at, previousCount)
  at = putChain(out, at, receiving)
  at = putU32(out, at, Math.floor(since / 2 ** 32))
  at = putU32(out, at, since)
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

function secretsOf(step: SckaStep): readonly Bytes[] {
  if (step.kind === 'proposed') return [step.seed, step.key]
  if (step.kind === 'answering') return [step.key]
  return step.kind === 'encapsulated' ? [step.ciphertext, step.chain] : []
}

function putChain(out: Bytes, at: number, { epoch, key, count }: SckaChain): number {
  out.set(key, putU32(out, at, epoch))
  return putU32(out, at + 4 + KEY_BYTES, count)
}

/**
 * Reads what `encodeScka` wrote.
 *
 * @returns `ok: false` with `CODEC_UNKNOWN_VERSION` or `CODEC_MALFORMED`; that nothing is missing or left
 *   over, the caller asks the reader.
 */
export function readScka(reader: Reader, role: SckaState['role']): Decoded<SckaState> {
  if (reader.u8() !== SCKA_STATE_VERSION) {
    return refused(reader.ok ? 'CODEC_UNKNOWN_VERSION' : 'CODEC_MALFORMED')
  }
  const kind = STEPS[reader.u8()]
  const nexts = reader.u8()
  if (kind === undefined || nexts > 1) return refused('CODEC_MALFORMED')
  // Fields are read in the order in which `encodeScka` writes them: a literal evaluates top to bottom.
  return decoded({
    role,
    rootKey: reader.take(KEY_BYTES),
    sending: readChain(reader),
    previousCount: reader.u32(),
    receiving: readChain(reader),
    since: toTimeMs(reader.u64()),
    ...(nexts === 1 && { nextReceiving: reader.take(KEY_BYTES) }),
    step: readStep(reader, kind),
  })
}

function readChain(reader: Reader): SckaChain {
  return { epoch: reader.u32(), key: reader.take(KEY_BYTES), count: reader.u32() }
}

function readStep(reader: Reader, kind: SckaStep['kind']): SckaStep {
  switch (kind) {
    case 'idle':
      return { kind }
    case 'proposed':
      return {
        kind,
        seed: reader.take(SCKA_DRAW_BYTES),
        key: reader.take(OFFER_BYTES.encapsulationKey),
      }
    case 'answering':
      return { kind, key: reader.take(OFFER_BYTES.encapsulationKey) }
    case 'encapsulated':
      return {
        kind,
        ciphertext: reader.take(OFFER_BYTES.ciphertext),
        chain: reader.take(KEY_BYTES),
      }
  }
}
