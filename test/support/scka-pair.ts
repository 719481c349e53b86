// The post-quantum ratchet alone, on two sides: messages in order of sending, skipped keys kept beside, as a session would.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import { decoded } from '../../protocols/base/decode.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { makeScka, SCKA_DRAW_BYTES } from '../../protocols/direct/scka.ts'
import type { Scka, SckaHeader, SckaState } from '../../protocols/direct/scka.ts'
import type { SckaOffer } from '../../protocols/direct/types.ts'
import { drawsOf, NOW, seeded, valueOf } from './direct-cast.ts'

/** Over Primitives whose encapsulation follows from its coins. */
export const scka: Scka = makeScka(seeded)

/** One message under way. */
export interface SckaMessage {
  /** Place among all messages of its sender. */
  readonly ordinal: number
  readonly header: SckaHeader
  readonly key: Bytes
  readonly offer?: SckaOffer
}

/** One side. */
export class SckaSide {
  state: SckaState
  nowMs: TimeMs = NOW
  sent = 0
  opened = 0
  /** The newest epoch of which a message was opened. */
  openedEpoch = 0
  readonly skipped: Map<number, Bytes> = new Map<number, Bytes>()
  readonly #draw: (length: number) => Bytes

  constructor(role: SckaState['role'], seed: string) {
    this.state = scka.start(role, drawsOf(seeded, seed)(32))
    this.#draw = drawsOf(seeded, `${seed} ${role}`)
  }

  send(): SckaMessage {
    const { state, ...message } = valueOf(
      scka.send(this.state, this.#draw(SCKA_DRAW_BYTES), this.nowMs),
    )
    this.state = state
    return { ordinal: this.sent++, ...message }
  }

  /** Answers the message's key as this side finds it; a refusal changes nothing. */
  open({ ordinal, header, offer }: SckaMessage): Decoded<Bytes | undefined> {
    const found = scka.find(this.state, header)
    if (!found.ok) return found
    const late = ordinal < this.opened
    const skipped: Bytes[] = []
    if (!late) while (this.opened + skipped.length < ordinal) skipped.push(found.value.next())
    const key = late ? this.skipped.get(ordinal) : found.value.next()
    const walked = found.value.end(this.nowMs)
    if (!walked.ok) return walked
    const taken = offer === undefined ? walked : scka.receive(walked.value, offer, this.nowMs)
    if (!taken.ok) return taken
    this.state = taken.value
    this.skipped.delete(ordinal)
    for (const [i, one] of skipped.entries()) this.skipped.set(this.opened + i, one)
    if (!late) this.opened = ordinal + 1
    this.openedEpoch = Math.max(this.openedEpoch, header.pqEpoch)
    return decoded(key)
  }
}
