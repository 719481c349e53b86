// Collects mail from one custodian, for as long as it is one of this agent's (mailbox spec.md §4.2). Floor 3.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import { peerIdFromBytes } from '../../../protocols/base/ids.ts'
import type { Primitives } from '../../../protocols/base/primitives.ts'
import { MINUTE_MS, SECOND_MS } from '../../../protocols/base/time.ts'
import type { ResultStatus } from '../../../protocols/direct/conversation.ts'
import { cutEnvelope, envelopeIdOf } from '../../../protocols/direct/envelope.ts'
import type { EnvelopeId } from '../../../protocols/direct/types.ts'
import type { StoredEnvelope } from '../../../protocols/mailbox/frames.ts'
import { COLLECT_BYTES_MAX, COLLECT_ENVELOPES_MAX } from '../../../protocols/mailbox/types.ts'
import type { Collection, MailboxClient } from '../../handlers/mailbox-client.ts'

/* Implementation constants: ours to tune. */
/** Pauses between attempts to reach a custodian: doubling from the first to the last. */
export const COLLECT_RETRY_MS_MIN: number = SECOND_MS
export const COLLECT_RETRY_MS_MAX: number = MINUTE_MS
/** What could not be taken, because a box here was full, is asked for again after this. */
export const COLLECT_AGAIN_MS: number = MINUTE_MS

/** How far a collection got. */
export interface Progress {
  readonly custodian: PeerId
  /** Envelopes taken since the box was empty last. */
  readonly collected: number
  /** Octets that wait there still. */
  readonly bytesLeft: number
}

/** What collecting needs. */
export interface CollectorOptions {
  readonly custodian: PeerId
  readonly client: MailboxClient
  readonly primitives: Primitives
  /** Takes an envelope; resolves once that is durable. */
  readonly receive: (
    sender: PeerId,
    envelope: Bytes,
    envelopeId: EnvelopeId,
  ) => Promise<ResultStatus>
  readonly onProgress: (progress: Progress) => void
  readonly signal: AbortSignal
}

/** One custodian's collector. */
export class Collector {
  readonly #options: CollectorOptions
  #wake = new AbortController()
  #collected = 0

  constructor(options: CollectorOptions) {
    this.#options = options
    void this.#run()
  }

  /** The custodian is connected: a pause ends. */
  wake(): void {
    this.#wake.abort()
  }

  async #run(): Promise<void> {
    const { signal, client, custodian } = this.#options
    let pauseMs = COLLECT_RETRY_MS_MIN
    while (!signal.aborted) {
      try {
        const collection = await client.collect(custodian, signal)
        const stop = (): void => collection.close()
        signal.addEventListener('abort', stop)
        try {
          pauseMs = COLLECT_RETRY_MS_MIN
          await this.#collect(collection)
        } finally {
          signal.removeEventListener('abort', stop)
          collection.close()
        }
      } catch {
        // Not there, or gone in between; what was not acknowledged comes again.
      }
      this.#wake = new AbortController()
      const woken = AbortSignal.any([signal, this.#wake.signal])
      await sleep(pauseMs, undefined, { ref: false, signal: woken }).catch(() => undefined)
      pauseMs = Math.min(pauseMs * 2, COLLECT_RETRY_MS_MAX)
    }
  }

  async #collect(collection: Collection): Promise<void> {
    const { custodian, onProgress } = this.#options
    let after = 0
    let isAllTaken = true
    for (;;) {
      const { stored, end } = await collection.next(after, COLLECT_ENVELOPES_MAX, COLLECT_BYTES_MAX)
      const done = await this.#take(stored)
      if (done.length < stored.length) isAllTaken = false
      if (done.length > 0) await collection.acknowledge(done)
      this.#collected += done.length
      onProgress({ custodian, collected: this.#collected, bytesLeft: end.more ? end.usedBytes : 0 })
      after = end.next
      if (end.more) continue
      this.#collected = 0
      await collection.told(isAllTaken ? COLLECT_AGAIN_MS * 60 : COLLECT_AGAIN_MS)
      if (isAllTaken) continue
      after = 0
      isAllTaken = true
    }
  }

  /** Commits what came; answers what the custodian may delete. */
  async #take(stored: readonly StoredEnvelope[]): Promise<EnvelopeId[]> {
    const { primitives, receive } = this.#options
    const taken = await Promise.all(
      stored.map(async ({ envelopeId, envelope }) => {
        const parts = cutEnvelope(envelope)
        const sender = parts.ok ? peerIdFromBytes(parts.value.sender) : undefined
        // Not what its depositor left: nothing here can open it.
        if (sender === undefined || envelopeIdOf(primitives, envelope) !== envelopeId) return true
        return isDone(await receive(sender, envelope, envelopeId))
      }),
    )
    return stored.flatMap(({ envelopeId }, at) => (taken[at] === true ? [envelopeId] : []))
  }
}

/** False for what may be taken later: a full box, a busy node. What cannot be opened never will be. */
function isDone(status: ResultStatus): boolean {
  return status !== 'busy' && status !== 'quota'
}
