// /conclave/direct/1.0.0: one long-lived stream a peer, envelopes and their results pipelined both ways
// (direct spec.md §3.5). Floor 2. What is durable, and what an envelope means, is decided above.
import { formatHex, isZero } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { ErrorCode } from '../../protocols/base/error-codes.ts'
import { peerIdToBytes } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { SECOND_MS } from '../../protocols/base/time.ts'
import { TokenBuckets } from '../../protocols/base/token-bucket.ts'
import type {
  EnvelopeRef,
  EnvelopeResult,
  ResultStatus,
} from '../../protocols/direct/conversation.ts'
import { ENVELOPE_TYPES, envelopeIdOf, isFrom } from '../../protocols/direct/envelope.ts'
import { decodeDirectFrame, encodeDirectFrame } from '../../protocols/direct/frames.ts'
import {
  DIRECT_FRAME_BYTES_MAX,
  DIRECT_PROTOCOL,
  ENVELOPE_BYTES_MAX,
  RESULT_TIMEOUT_MS,
  UNANSWERED_BYTES_MAX,
  UNANSWERED_MAX,
} from '../../protocols/direct/types.ts'
import type { EnvelopeId } from '../../protocols/direct/types.ts'
import type { FrameStream, Host, ProtocolOptions } from '../host/types.ts'

/* Implementation constants: ours to tune. */
/** Streams die after 120 s without a frame. */
export const KEEP_ALIVE_MS: number = 50 * SECOND_MS
/** How long opening a stream may take, dialling included. */
export const OPEN_TIMEOUT_MS: number = 30 * SECOND_MS
/** Envelopes of one peer that end in anything but `accepted`: a full outbox of them, then a trickle. */
export const JUNK_RATE = { burst: 1_024, perSecond: 10 }
/** New sessions of one peer, and of all together: each costs a handshake. */
export const SESSION_RATE = { burst: 8, perSecond: 0.1 }
export const SESSION_RATE_TOTAL = { burst: 256, perSecond: 50 }
/** Peers whose rates are remembered. */
const PEERS_MAX = 4_096
/** Base keys of initial envelopes remembered: repeats of a preamble are no new session. */
const BASE_KEYS_MAX = 4_096
/** Where an initial envelope's base key lies (spec.md §3.1). */
const BASE_KEY_AT = 88 + 4 + 4 + 8 + 4 + 4 + 4

const STREAMS: ProtocolOptions = {
  frameBytesMax: DIRECT_FRAME_BYTES_MAX,
  inboundStreamsMax: 4,
  outboundStreamsMax: 4,
  relayed: true,
}

/** Whom the handler tells. */
export interface DirectSink {
  /** An envelope whose route names its stream's peer; resolves once it is durably answered. */
  received(peer: PeerId, envelope: Bytes, envelopeId: EnvelopeId): Promise<ResultStatus>
  /** What the peer answered, in bursts. */
  results(peer: PeerId, results: readonly EnvelopeResult[]): void
  /** Envelopes may be sent from now on; nothing of an earlier stream is under way any more. */
  opened(peer: PeerId): void
  closed(peer: PeerId): void
  /** What `open` began has failed. */
  failed(peer: PeerId, code: ErrorCode): void
}

/** What serving needs. */
export interface DirectOptions {
  readonly host: Host
  readonly primitives: Primitives
  readonly now: () => number
  readonly sink: DirectSink
}

/** The streams to all peers. */
export interface DirectLinks {
  /** Begins to open a stream, unless there is one or it is being opened; the sink hears of the end. */
  open(peer: PeerId): void
  isOpen(peer: PeerId): boolean
  /** Queues an envelope; it goes out as the peer answers earlier ones. Dropped if the link has just closed. */
  transmit(peer: PeerId, ref: EnvelopeRef, envelope: Bytes): void
  /** Ends every stream and opens no more. */
  close(): void
}

/** Begins to serve. */
export async function serveDirect(options: DirectOptions): Promise<DirectLinks> {
  const links = new Links(options)
  await options.host.handle(DIRECT_PROTOCOL, STREAMS, (stream) => links.accept(stream))
  return links
}

class Links implements DirectLinks {
  readonly #options: DirectOptions
  readonly #gate: Gate
  /** Every stream of a peer; the first is the one to send on. */
  readonly #links = new Map<PeerId, Link[]>()
  readonly #opening = new Set<PeerId>()
  readonly #closing = new AbortController()

  constructor(options: DirectOptions) {
    this.#options = options
    this.#gate = new Gate(options.now)
  }

  accept(stream: FrameStream): Promise<void> {
    if (this.#gate.isShut(stream.peer) || this.#closing.signal.aborted) {
      stream.abort()
      return Promise.resolve()
    }
    return this.#run(stream, false)
  }

  open(peer: PeerId): void {
    if (this.isOpen(peer) || this.#opening.has(peer)) return
    this.#opening.add(peer)
    void this.#open(peer).finally(() => this.#opening.delete(peer))
  }

  isOpen(peer: PeerId): boolean {
    return this.#links.has(peer)
  }

  transmit(peer: PeerId, ref: EnvelopeRef, envelope: Bytes): void {
    this.#links.get(peer)?.[0]?.transmit(ref, envelope)
  }

  close(): void {
    this.#closing.abort()
    for (const links of this.#links.values()) for (const link of links) link.end()
  }

  async #open(peer: PeerId): Promise<void> {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(OPEN_TIMEOUT_MS)])
    try {
      const stream = await this.#options.host.open(peer, DIRECT_PROTOCOL, { ...STREAMS, signal })
      if (this.#closing.signal.aborted) stream.abort()
      else void this.#run(stream, true)
    } catch (error) {
      if (this.#closing.signal.aborted) return
      const code = error instanceof ConclaveError ? error.code : 'NETWORK_TIMEOUT'
      this.#options.sink.failed(peer, code)
    }
  }

  async #run(stream: FrameStream, isOurs: boolean): Promise<void> {
    const { peer } = stream
    const { sink } = this.#options
    const link = new Link(stream, isOurs, this.#options, this.#gate)
    const links = this.#links.get(peer)
    if (links === undefined) this.#links.set(peer, [link])
    else links.push(link)
    if (links === undefined) sink.opened(peer)
    await link.run()
    this.#ended(peer, link)
  }

  #ended(peer: PeerId, link: Link): void {
    const links = this.#links.get(peer) ?? []
    const wasFirst = links[0] === link
    const left = links.filter((one) => one !== link)
    if (left.length === 0) this.#links.delete(peer)
    else this.#links.set(peer, left)
    if (!wasFirst || this.#closing.signal.aborted) return
    if (left.length > 0) this.#options.sink.opened(peer)
    else this.#options.sink.closed(peer)
  }
}

interface Outgoing {
  readonly ref: EnvelopeRef
  readonly envelope: Bytes
}

/** One stream. */
class Link {
  readonly #stream: FrameStream
  readonly #isOurs: boolean
  readonly #options: DirectOptions
  readonly #gate: Gate
  readonly #peerBytes: Bytes
  readonly #queue: Outgoing[] = []
  readonly #unanswered = new Map<number, Outgoing>()
  #unansweredBytes = 0
  #requestId = 0
  #progressAt = 0
  #results: EnvelopeResult[] = []
  /** Envelopes of the peer's that wait for our answer. */
  #owed = 0
  #owedBytes = 0
  #isOver = false

  constructor(stream: FrameStream, isOurs: boolean, options: DirectOptions, gate: Gate) {
    this.#stream = stream
    this.#isOurs = isOurs
    this.#options = options
    this.#gate = gate
    this.#peerBytes = peerIdToBytes(stream.peer)
  }

  /** Reads until the stream ends. */
  async run(): Promise<void> {
    const keepAlive = setInterval(() => this.#keepAlive(), KEEP_ALIVE_MS)
    const watch = setInterval(() => this.#watch(), SECOND_MS)
    keepAlive.unref()
    watch.unref()
    try {
      for await (const frame of this.#stream.frames) {
        if (this.#take(frame)) continue
        // Whatever does not follow the protocol ends the stream; the rest of the peer's streams are served on.
        this.#stream.abort()
        break
      }
    } catch {
      this.#stream.abort() // a reset; what was under way is sent again on the next stream
    } finally {
      this.#isOver = true
      clearInterval(keepAlive)
      clearInterval(watch)
      void this.#stream.close()
      this.#flushResults()
    }
  }

  transmit(ref: EnvelopeRef, envelope: Bytes): void {
    this.#queue.push({ ref, envelope })
    this.#pump()
  }

  end(): void {
    void this.#stream.close()
    this.#stream.abort()
  }

  /** Sends what the window allows. The window is the back-pressure, so no write is awaited. */
  #pump(): void {
    while (this.#unanswered.size < UNANSWERED_MAX && !this.#isOver) {
      const next = this.#queue[0]
      if (next === undefined) return
      if (this.#unansweredBytes + next.envelope.length > UNANSWERED_BYTES_MAX) return
      this.#queue.shift()
      if (this.#unanswered.size === 0) this.#progressAt = this.#options.now()
      this.#requestId = (this.#requestId + 1) >>> 0
      const requestId = this.#requestId
      this.#unanswered.set(requestId, next)
      this.#unansweredBytes += next.envelope.length
      this.#send({ kind: 'send', requestId, envelope: next.envelope })
    }
  }

  #send(frame: Parameters<typeof encodeDirectFrame>[0]): void {
    // A failed write ends the reading side, too, and that is where it is dealt with.
    this.#stream.send(encodeDirectFrame(frame)).catch(() => undefined)
  }

  #keepAlive(): void {
    if (this.#isOurs) this.#send({ kind: 'keepAlive' })
  }

  /** Gives the stream up if the peer owes results and none came for too long. */
  #watch(): void {
    if (this.#unanswered.size === 0) return
    if (this.#options.now() - this.#progressAt < RESULT_TIMEOUT_MS) return
    this.#stream.abort(new ConclaveError('NETWORK_TIMEOUT', 'the peer does not answer envelopes'))
  }

  /** Answers false if the stream must end. */
  #take(bytes: Bytes): boolean {
    const frame = decodeDirectFrame(bytes)
    if (!frame.ok) return false
    switch (frame.value.kind) {
      case 'send':
        return this.#takeEnvelope(frame.value.requestId, frame.value.envelope)
      case 'result': {
        const { requestId, envelopeId, status } = frame.value
        return this.#takeResult(
          requestId,
          envelopeId,
          status === 'leaseExpired' ? 'refused' : status,
        )
      }
      case 'keepAlive':
        return this.#gate.junk(this.#stream.peer)
    }
  }

  #takeResult(requestId: number, envelopeId: EnvelopeId, status: ResultStatus): boolean {
    const sent = this.#unanswered.get(requestId)
    if (sent?.ref.envelopeId !== envelopeId) return false
    this.#unanswered.delete(requestId)
    this.#unansweredBytes -= sent.envelope.length
    this.#progressAt = this.#options.now()
    if (this.#results.length === 0) setImmediate(() => this.#flushResults())
    this.#results.push({ ref: sent.ref, status })
    this.#pump()
    return true
  }

  #flushResults(): void {
    const results = this.#results
    if (results.length === 0) return
    this.#results = []
    this.#options.sink.results(this.#stream.peer, results)
  }

  #takeEnvelope(requestId: number, view: Bytes): boolean {
    const { peer } = this.#stream
    this.#owed += 1
    this.#owedBytes += view.length
    // A peer that keeps to its window never gets here.
    if (this.#owed > UNANSWERED_MAX) return false
    if (this.#owedBytes > UNANSWERED_BYTES_MAX + ENVELOPE_BYTES_MAX) return false
    const envelope = view.slice() // the frame's buffer ends with this turn
    const envelopeId = envelopeIdOf(this.#options.primitives, envelope)
    const answer = (status: ResultStatus): void => {
      this.#owed -= 1
      this.#owedBytes -= envelope.length
      if (this.#isOver) return
      this.#send({ kind: 'result', requestId, envelopeId, status })
      if (status !== 'accepted' && !this.#gate.junk(peer)) this.#stream.abort()
    }
    if (!isFrom(envelope, this.#peerBytes)) answer('refused')
    else if (!this.#gate.mayOpenSession(peer, envelope)) answer('busy')
    else this.#options.sink.received(peer, envelope, envelopeId).then(answer, () => answer('busy'))
    return true
  }
}

/** Rate limits of all peers. */
class Gate {
  readonly #now: () => number
  readonly #junk = new TokenBuckets<PeerId>(JUNK_RATE, PEERS_MAX)
  readonly #sessions = new TokenBuckets<PeerId>(SESSION_RATE, PEERS_MAX)
  readonly #allSessions = new TokenBuckets<'all'>(SESSION_RATE_TOTAL, 1)
  readonly #baseKeys = new Set<string>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** Notes something useless; false if it was too much. */
  junk(peer: PeerId): boolean {
    return this.#junk.take(peer, this.#now())
  }

  /** True while a peer has sent too much junk to be listened to. */
  isShut(peer: PeerId): boolean {
    return !this.#junk.has(peer, this.#now())
  }

  /** True unless the envelope begins one session too many. Its preamble comes again until the first reply. */
  mayOpenSession(peer: PeerId, envelope: Bytes): boolean {
    if (envelope[1] !== ENVELOPE_TYPES.initial) return true
    const baseKey = envelope.subarray(BASE_KEY_AT, BASE_KEY_AT + 32)
    if (isZero(baseKey)) return true // refused where it is opened
    const name = `${peer}/${formatHex(baseKey)}`
    if (this.#baseKeys.has(name)) return true
    if (!this.#sessions.take(peer, this.#now()) || !this.#allSessions.take('all', this.#now())) {
      return false
    }
    this.#baseKeys.add(name)
    if (this.#baseKeys.size > BASE_KEYS_MAX) {
      const [oldest] = this.#baseKeys
      if (oldest !== undefined) this.#baseKeys.delete(oldest)
    }
    return true
  }
}
