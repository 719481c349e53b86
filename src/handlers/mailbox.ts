// /conclave/mailbox/1.0.0: a custodian serves (mailbox spec.md §3.4). Floor 2.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { TokenBuckets } from '../../protocols/base/token-bucket.ts'
import type { EnvelopeId } from '../../protocols/direct/types.ts'
import type { Refusal } from '../../protocols/mailbox/custody.ts'
import {
  decodeMailboxFrame,
  encodeMailboxFrame,
  isRequest,
} from '../../protocols/mailbox/frames.ts'
import type {
  CollectEnd,
  CollectRequest,
  DepositRequest,
  MailboxFrame,
  MailboxRequest,
  StoredEnvelope,
} from '../../protocols/mailbox/frames.ts'
import { DEPOSIT_FRAME_BYTES_MAX, MAILBOX_PROTOCOL } from '../../protocols/mailbox/types.ts'
import type { LeaseWish, QueueKey, QueueKeyId } from '../../protocols/mailbox/types.ts'
import type { FrameStream, Host, ProtocolOptions } from '../host/types.ts'

/* Implementation constants: ours to tune. */
/** Requests of one stream that are served at once; the next are not read. */
export const SERVED_AT_ONCE_MAX = 64
/** Requests of one peer. */
export const REQUEST_RATE = { burst: 4_096, perSecond: 1_024 }
const PEERS_MAX = 4_096

const STREAMS: ProtocolOptions = {
  frameBytesMax: DEPOSIT_FRAME_BYTES_MAX,
  inboundStreamsMax: 8,
  outboundStreamsMax: 8,
  relayed: true,
}

/** What a request comes to. */
export type Answer<Value> = { readonly ok: true; readonly value: Value } | Refusal

/** Who keeps the mail. Every method resolves once what it answers is durable. */
export interface MailboxSink {
  requestLease(recipient: PeerId, wish: LeaseWish): Promise<Answer<Bytes>>
  authorise(recipient: PeerId, key: QueueKey): Promise<Answer<undefined>>
  revoke(recipient: PeerId, keyId: QueueKeyId): Promise<Answer<undefined>>
  /** Answers a signed receipt. */
  deposit(from: PeerId, request: DepositRequest): Promise<Answer<Bytes>>
  collect(
    recipient: PeerId,
    request: CollectRequest,
  ): Promise<Answer<{ readonly stored: readonly StoredEnvelope[]; readonly end: CollectEnd }>>
  /** For each id, whether it was here. */
  acknowledge(recipient: PeerId, ids: readonly EnvelopeId[]): Promise<Answer<readonly boolean[]>>
  /** Calls `wake` whenever there is more for a recipient; answers what ends that. */
  watch(recipient: PeerId, wake: () => void): () => void
}

/** Begins to serve. */
export async function serveMailbox(
  host: Host,
  sink: MailboxSink,
  now: () => number,
): Promise<void> {
  const rates = new TokenBuckets<PeerId>(REQUEST_RATE, PEERS_MAX)
  await host.handle(MAILBOX_PROTOCOL, STREAMS, (stream) =>
    new Service(stream, sink, () => rates.take(stream.peer, now())).run(),
  )
}

/** One stream of a client. */
class Service {
  readonly #stream: FrameStream
  readonly #sink: MailboxSink
  readonly #mayAsk: () => boolean
  readonly #serving = new Set<Promise<void>>()
  #unwatch: (() => void) | undefined
  #isTold = false

  constructor(stream: FrameStream, sink: MailboxSink, mayAsk: () => boolean) {
    this.#stream = stream
    this.#sink = sink
    this.#mayAsk = mayAsk
  }

  async run(): Promise<void> {
    try {
      for await (const bytes of this.#stream.frames) {
        const frame = decodeMailboxFrame(bytes)
        if (!frame.ok || !isRequest(frame.value) || !this.#mayAsk()) {
          this.#stream.abort()
          break
        }
        const serving: Promise<void> = this.#serve(frame.value).finally(() => {
          this.#serving.delete(serving)
        })
        this.#serving.add(serving)
        if (this.#serving.size >= SERVED_AT_ONCE_MAX) await Promise.race(this.#serving)
      }
      await Promise.all(this.#serving)
      await this.#stream.close()
    } catch {
      this.#stream.abort() // the peer is gone; what is durable stays so
    } finally {
      this.#unwatch?.()
    }
  }

  async #serve(request: MailboxRequest): Promise<void> {
    try {
      if (request.kind === 'collect') await this.#collect(request.requestId, request.collect)
      else await this.#send(await this.#answer(request))
    } catch {
      this.#stream.abort() // the disk failed, or the stream did: nothing was promised
    }
  }

  async #answer(request: Exclude<MailboxRequest, { kind: 'collect' }>): Promise<MailboxFrame> {
    const { requestId } = request
    const { peer } = this.#stream
    switch (request.kind) {
      case 'requestLease': {
        const answer = await this.#sink.requestLease(peer, request.wish)
        return answer.ok
          ? { kind: 'granted', requestId, lease: answer.value }
          : fail(requestId, answer)
      }
      case 'authorise': {
        const answer = await this.#sink.authorise(peer, request.key)
        return answer.ok ? { kind: 'done', requestId } : fail(requestId, answer)
      }
      case 'revoke': {
        const answer = await this.#sink.revoke(peer, request.keyId)
        return answer.ok ? { kind: 'done', requestId } : fail(requestId, answer)
      }
      case 'deposit': {
        const answer = await this.#sink.deposit(peer, request.deposit)
        return answer.ok
          ? { kind: 'receipt', requestId, receipt: answer.value }
          : fail(requestId, answer)
      }
      case 'acknowledge': {
        const answer = await this.#sink.acknowledge(peer, request.envelopeIds)
        return answer.ok
          ? { kind: 'removed', requestId, removed: answer.value }
          : fail(requestId, answer)
      }
    }
  }

  async #collect(requestId: number, request: CollectRequest): Promise<void> {
    const { peer } = this.#stream
    if (request.watch) this.#watch(requestId)
    const answer = await this.#sink.collect(peer, request)
    if (!answer.ok) {
      await this.#send(fail(requestId, answer))
      return
    }
    for (const stored of answer.value.stored)
      await this.#send({ kind: 'stored', requestId, stored })
    await this.#send({ kind: 'end', requestId, end: answer.value.end })
  }

  /** Tells the recipient once that there is more; its next Collect is what follows. */
  #watch(requestId: number): void {
    this.#unwatch?.()
    this.#isTold = false
    this.#unwatch = this.#sink.watch(this.#stream.peer, () => {
      if (this.#isTold) return
      this.#isTold = true
      const end = { next: 0, more: true, usedBytes: 0, quotaBytes: 0 }
      this.#send({ kind: 'end', requestId, end }).catch(() => undefined) // the reading side ends, too
    })
  }

  #send(frame: MailboxFrame): Promise<void> {
    return this.#stream.send(encodeMailboxFrame(frame))
  }
}

function fail(requestId: number, { status, bound }: Refusal): MailboxFrame {
  return { kind: 'failure', requestId, status, ...(bound !== undefined && { bound }) }
}
