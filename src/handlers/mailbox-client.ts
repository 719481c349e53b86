// Asks custodians over /conclave/mailbox/1.0.0: requests pipelined on one stream each, collecting on another
// (mailbox spec.md §3.4). Floor 2.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { ErrorCode } from '../../protocols/base/error-codes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { SECOND_MS } from '../../protocols/base/time.ts'
import type { EnvelopeId, Status } from '../../protocols/direct/types.ts'
import { decodeMailboxFrame, encodeMailboxFrame } from '../../protocols/mailbox/frames.ts'
import type {
  CollectEnd,
  DepositRequest,
  MailboxFrame,
  MailboxRequest,
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
/** Requests of one stream that wait for their answers. */
const ASKED_AT_ONCE_MAX = 64
const STREAMS: ProtocolOptions = {
  frameBytesMax: DEPOSIT_FRAME_BYTES_MAX,
  inboundStreamsMax: 8,
  outboundStreamsMax: 8,
  relayed: true,
}
/** A stream without requests is closed after this. */
const IDLE_MS: number = 60 * SECOND_MS

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

type Unnumbered = MailboxRequest extends infer One
  ? One extends MailboxRequest
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
  const reason: unknown = signal.reason
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
    const next = await this.#reading
    this.#reading = undefined
    if (next.done === true) throw gone()
    const frame = decodeMailboxFrame(next.value)
    return frame.ok ? frame.value : unexpected()
  }
}
