// /conclave/mailbox/1.0.0: a custodian's requests and answers, and its clients' (mailbox spec.md §3.4). Floor 2.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { ErrorCode } from '../../protocols/base/error-codes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { SECOND_MS } from '../../protocols/base/time.ts'
import { TokenBuckets } from '../../protocols/base/token-bucket.ts'
import type { EnvelopeId, Status } from '../../protocols/direct/types.ts'
import type { Refusal } from '../../protocols/mailbox/custody.ts'
import { decodeMailboxFrame, encodeMailboxFrame } from '../../protocols/mailbox/frames.ts'
import type {
  CollectEnd,
  CollectRequest,
  DepositRequest,
  MailboxFrame,
  StoredEnvelope,
} from '../../protocols/mailbox/frames.ts'
import {
  DEPOSIT_FRAME_BYTES_MAX,
  MAILBOX_PROTOCOL,
  REQUEST_TIMEOUT_MS,
} from '../../protocols/mailbox/types.ts'
import type { Bound, LeaseWish, QueueKey, QueueKeyId } from '../../protocols/mailbox/types.ts'
import type { FrameStream, Host, ProtocolOptions } from '../host/types.ts'

/* Implementation constants: ours to tune. */
/** Requests of one stream that are served at once; the next are not read. */
export const SERVED_AT_ONCE_MAX = 64
/** Requests of one client stream that wait for their answers. */
const ASKED_AT_ONCE_MAX = 64
/** Requests of one peer. */
export const REQUEST_RATE = { burst: 4_096, perSecond: 1_024 }
const PEERS_MAX = 4_096
/** A client's stream without requests is closed after this. */
const IDLE_MS: number = 60 * SECOND_MS

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

type Request = Extract<
  MailboxFrame,
  { kind: 'requestLease' | 'authorise' | 'revoke' | 'deposit' | 'collect' | 'acknowledge' }
>

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

  async #serve(request: Request): Promise<void> {
    try {
      if (request.kind === 'collect') await this.#collect(request.requestId, request.collect)
      else await this.#send(await this.#answer(request))
    } catch {
      this.#stream.abort() // the disk failed, or the stream did: nothing was promised
    }
  }

  async #answer(request: Exclude<Request, { kind: 'collect' }>): Promise<MailboxFrame> {
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

function isRequest(frame: MailboxFrame): frame is Request {
  switch (frame.kind) {
    case 'requestLease':
    case 'authorise':
    case 'revoke':
    case 'deposit':
    case 'collect':
    case 'acknowledge':
      return true
    default:
      return false
  }
}

function fail(requestId: number, { status, bound }: Refusal): MailboxFrame {
  return { kind: 'failure', requestId, status, ...(bound !== undefined && { bound }) }
}

/** What asks custodians. All calls throw ConclaveError: `NETWORK_…`, `MAILBOX_…`, `LIMIT_RATE` or a `CODEC_…` code. */
export interface MailboxClient {
  requestLease(custodian: PeerId, wish: LeaseWish, signal: AbortSignal): Promise<Bytes>
  authorise(custodian: PeerId, key: QueueKey, signal: AbortSignal): Promise<void>
  revoke(custodian: PeerId, keyId: QueueKeyId, signal: AbortSignal): Promise<void>
  /** Answers the receipt, not verified. */
  deposit(custodian: PeerId, request: DepositRequest, signal: AbortSignal): Promise<Bytes>
  /** Opens a stream to collect on. */
  collect(custodian: PeerId, signal: AbortSignal): Promise<Collection>
  /** Ends every stream. */
  close(): void
}

/** A stream on which a recipient collects. One call at a time. */
export interface Collection {
  /** Asks for what comes after; watches from the first call on. */
  next(
    after: number,
    envelopesMax: number,
    bytesMax: number,
  ): Promise<{
    readonly stored: readonly StoredEnvelope[]
    readonly end: CollectEnd
  }>
  acknowledge(ids: readonly EnvelopeId[]): Promise<void>
  /** Resolves once the custodian says that there is more, or after `waitMs`. */
  told(waitMs: number): Promise<void>
  close(): void
}

/** Makes the client. */
export function makeMailboxClient(host: Host): MailboxClient {
  const lines = new Map<PeerId, Promise<Line>>()
  const line = async (custodian: PeerId, signal: AbortSignal): Promise<Line> => {
    const known = lines.get(custodian)
    if (known !== undefined) {
      const open = await known.catch(() => undefined)
      if (open?.isOpen === true) return open
    }
    const opening = host
      .open(custodian, MAILBOX_PROTOCOL, { ...STREAMS, signal })
      .then((stream) => new Line(stream))
    lines.set(custodian, opening)
    const forget = (): void => {
      if (lines.get(custodian) === opening) lines.delete(custodian)
    }
    opening.then((one) => one.ended.then(forget), forget)
    return opening
  }
  const ask = async (
    custodian: PeerId,
    request: Unnumbered,
    signal: AbortSignal,
  ): Promise<MailboxFrame> => {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)])
    const frame = await (await line(custodian, limited)).ask(request, limited)
    if (frame.kind === 'failure') throw failureOf(frame.status, frame.bound)
    return frame
  }
  return {
    async requestLease(custodian, wish, signal) {
      const frame = await ask(custodian, { kind: 'requestLease', wish }, signal)
      return frame.kind === 'granted' ? frame.lease : unexpected()
    },
    async authorise(custodian, key, signal) {
      const frame = await ask(custodian, { kind: 'authorise', key }, signal)
      if (frame.kind !== 'done') unexpected()
    },
    async revoke(custodian, keyId, signal) {
      const frame = await ask(custodian, { kind: 'revoke', keyId }, signal)
      if (frame.kind !== 'done') unexpected()
    },
    async deposit(custodian, deposit, signal) {
      const frame = await ask(custodian, { kind: 'deposit', deposit }, signal)
      return frame.kind === 'receipt' ? frame.receipt : unexpected()
    },
    async collect(custodian, signal) {
      return new Collecting(await host.open(custodian, MAILBOX_PROTOCOL, { ...STREAMS, signal }))
    },
    close() {
      for (const opening of lines.values())
        opening.then((one) => one.close()).catch(() => undefined)
    },
  }
}

function unexpected(): never {
  throw new ConclaveError('CODEC_MALFORMED', 'the custodian answered something else')
}

const CODES: Readonly<Record<Exclude<Status, 'accepted'>, ErrorCode>> = {
  malformed: 'CODEC_MALFORMED',
  unsupported: 'CODEC_UNKNOWN_VERSION',
  refused: 'MAILBOX_REFUSED',
  busy: 'LIMIT_RATE',
  quota: 'MAILBOX_FULL',
  leaseExpired: 'MAILBOX_LEASE_EXPIRED',
  prekeyConsumed: 'PREKEYS_CONSUMED',
}

function failureOf(status: Exclude<Status, 'accepted'>, bound: Bound | undefined): ConclaveError {
  const named = bound === undefined ? '' : `: ${bound.limit}, ${bound.found} of ${bound.allowed}`
  return new ConclaveError(CODES[status], `the custodian refused${named}`, {
    ...(bound !== undefined && { data: { ...bound } }),
  })
}

type Unnumbered = Request extends infer One
  ? One extends Request
    ? Omit<One, 'requestId'>
    : never
  : never

interface Asked {
  readonly resolve: (frame: MailboxFrame) => void
  readonly reject: (error: unknown) => void
}

/** One stream for requests, pipelined. */
class Line {
  readonly ended: Promise<void>
  readonly #stream: FrameStream
  readonly #asked = new Map<number, Asked>()
  readonly #queue: (() => void)[] = []
  #requestId = 0
  #idle: NodeJS.Timeout | undefined
  isOpen = true

  constructor(stream: FrameStream) {
    this.#stream = stream
    this.ended = this.#read()
  }

  async ask(request: Unnumbered, signal: AbortSignal): Promise<MailboxFrame> {
    while (this.#asked.size >= ASKED_AT_ONCE_MAX && this.isOpen) {
      await new Promise<void>((resolve) => this.#queue.push(resolve))
    }
    if (!this.isOpen) throw gone()
    signal.throwIfAborted()
    clearTimeout(this.#idle)
    this.#requestId = (this.#requestId + 1) >>> 0
    const requestId = this.#requestId
    const abort = (): void => {
      this.#asked.get(requestId)?.reject(timedOut(signal))
      this.#stream.abort() // what comes later would answer nobody
    }
    signal.addEventListener('abort', abort)
    try {
      const answered = new Promise<MailboxFrame>((resolve, reject) => {
        this.#asked.set(requestId, { resolve, reject })
      })
      const frame: MailboxFrame = { ...request, requestId }
      this.#stream.send(encodeMailboxFrame(frame)).catch(() => undefined) // reading ends, too
      return await answered
    } finally {
      signal.removeEventListener('abort', abort)
      this.#asked.delete(requestId)
      this.#queue.shift()?.()
      if (this.#asked.size === 0) this.#idle = setTimeout(() => this.close(), IDLE_MS).unref()
    }
  }

  close(): void {
    void this.#stream.close()
    this.#stream.abort()
  }

  async #read(): Promise<void> {
    try {
      for await (const bytes of this.#stream.frames) {
        const frame = decodeMailboxFrame(bytes)
        const asked = frame.ok ? this.#asked.get(frame.value.requestId) : undefined
        if (!frame.ok || asked === undefined) break
        asked.resolve(frame.value)
      }
    } catch {
      // Ended; whoever waits hears it below.
    }
    this.isOpen = false
    this.#stream.abort()
    clearTimeout(this.#idle)
    for (const { reject } of this.#asked.values()) reject(gone())
    for (const go of this.#queue.splice(0)) go()
  }
}

function gone(): ConclaveError {
  return new ConclaveError('NETWORK_RESET', 'the custodian ended the stream')
}

function timedOut(signal: AbortSignal): unknown {
  const { reason } = signal as { reason: unknown }
  if (reason instanceof DOMException && reason.name === 'TimeoutError') {
    return new ConclaveError('NETWORK_TIMEOUT', 'the custodian did not answer in time')
  }
  return reason
}

/** One stream for collecting, question by question. */
class Collecting implements Collection {
  readonly #stream: FrameStream
  readonly #frames: AsyncIterator<Bytes>
  /** A read that nobody has waited for to the end. */
  #reading: Promise<IteratorResult<Bytes>> | undefined
  #requestId = 0
  #isTold = false

  constructor(stream: FrameStream) {
    this.#stream = stream
    this.#frames = stream.frames[Symbol.asyncIterator]()
  }

  async next(
    after: number,
    envelopesMax: number,
    bytesMax: number,
  ): Promise<{ stored: StoredEnvelope[]; end: CollectEnd }> {
    const requestId = ++this.#requestId
    this.#isTold = false
    const collect = { after, envelopesMax, bytesMax, watch: true }
    await this.#stream.send(encodeMailboxFrame({ kind: 'collect', requestId, collect }))
    const stored: StoredEnvelope[] = []
    for (;;) {
      const frame = await this.#read()
      if (frame.kind === 'end' && frame.requestId === requestId && frame.end.quotaBytes > 0) {
        return { stored, end: frame.end }
      }
      if (frame.kind === 'end') this.#isTold = true
      else if (frame.kind === 'stored' && stored.length < envelopesMax) stored.push(frame.stored)
      else if (frame.kind === 'failure') throw failureOf(frame.status, frame.bound)
      else unexpected()
    }
  }

  async acknowledge(ids: readonly EnvelopeId[]): Promise<void> {
    const requestId = ++this.#requestId
    await this.#stream.send(
      encodeMailboxFrame({ kind: 'acknowledge', requestId, envelopeIds: ids }),
    )
    for (;;) {
      const frame = await this.#read()
      if (frame.kind === 'removed') return
      if (frame.kind === 'end') this.#isTold = true
      else if (frame.kind === 'failure') throw failureOf(frame.status, frame.bound)
      else unexpected()
    }
  }

  async told(waitMs: number): Promise<void> {
    const waited = new AbortController()
    const sleeping = sleep(waitMs, 'late', { ref: false, signal: waited.signal }).catch(
      () => 'late',
    )
    while (!this.#isTold) {
      this.#reading ??= this.#frames.next()
      if ((await Promise.race([this.#reading, sleeping])) === 'late') return
      const frame = await this.#read()
      if (frame.kind !== 'end') unexpected()
      this.#isTold = true
    }
    waited.abort()
  }

  close(): void {
    void this.#stream.close()
    this.#stream.abort()
  }

  async #read(): Promise<MailboxFrame> {
    this.#reading ??= this.#frames.next()
    const { done, value } = await this.#reading
    this.#reading = undefined
    if (done === true) throw gone()
    const frame = decodeMailboxFrame(value)
    return frame.ok ? frame.value : unexpected()
  }
}
