// /conclave/prekeys/1.0.0: hands out bundles, one-time entries, MLS key packages and contact records, this agent's own
// and those of recipients that it keeps mail for; and fetches those of others (direct spec.md §3.5). Floor 2.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { SECOND_MS } from '../../protocols/base/time.ts'
import { TokenBuckets } from '../../protocols/base/token-bucket.ts'
import { decodePrekeysFrame, encodePrekeysFrame } from '../../protocols/direct/frames.ts'
import type { PrekeysFrame } from '../../protocols/direct/frames.ts'
import {
  PREKEYS_PROTOCOL,
  PREKEYS_REPLY_BYTES_MAX,
  PUBLISH_BYTES_MAX,
} from '../../protocols/direct/types.ts'
import type { Status } from '../../protocols/direct/types.ts'
import type { FrameStream, Host, ProtocolOptions } from '../host/types.ts'

/* Implementation constants: ours to tune. */
/** How long one fetch may take, dialling included. */
export const FETCH_TIMEOUT_MS: number = 15 * SECOND_MS
/** Requests on one inbound stream; ours carry one. */
export const REQUESTS_PER_STREAM_MAX = 16
/** How long an inbound stream may stay. */
export const STREAM_LIFE_MS: number = 30 * SECOND_MS
/** Fetches of one peer. */
export const FETCH_RATE = { burst: 16, perSecond: 0.5 }
/** Fetches of all peers together. */
export const FETCH_RATE_TOTAL = { burst: 256, perSecond: 50 }
/** Peers whose rate is remembered. */
const PEERS_MAX = 4_096

const STREAMS: ProtocolOptions = {
  frameBytesMax: PUBLISH_BYTES_MAX,
  inboundStreamsMax: 8,
  outboundStreamsMax: 8,
  relayed: true,
}

/** Where an MLS key package comes from: durable before it is handed out. */
export interface KeyPackageSource {
  supply(requester: PeerId): Promise<Bytes | undefined>
}

/** What a recipient leaves with a custodian. */
export type Published = Omit<Extract<PrekeysFrame, { kind: 'publish' }>, 'kind' | 'requestId'>

/** What a custodian has left to hand out. */
export type Remaining = Omit<Extract<PrekeysFrame, { kind: 'remaining' }>, 'kind' | 'requestId'>

/** Prekeys of others that this agent hands out as their custodian. */
export interface PrekeyCustody {
  /** Commits the one-time entry to the requester; undefined if it keeps nothing for the recipient. */
  fetch(
    recipient: PeerId,
    requester: PeerId,
    wanted: { readonly oneTime: boolean; readonly keyPackage: boolean },
  ): Promise<FetchedPrekeys | undefined>
  /** Keeps what the recipient itself brings; undefined if it has no lease here. */
  publish(recipient: PeerId, published: Published): Promise<Remaining | undefined>
  supply(recipient: PeerId): Promise<Remaining | undefined>
  record(recipient: PeerId): Promise<Bytes | undefined>
}

/** What serving needs. */
export interface PrekeysOptions {
  readonly host: Host
  readonly now: () => number
  /** This agent's signed bundle. */
  readonly bundle: () => Promise<Bytes>
  /** A one-time entry, committed to the requester before it is answered. */
  readonly issue: (requester: PeerId) => Promise<Bytes | undefined>
}

/** What a peer hands out; nothing is verified yet. */
export interface FetchedPrekeys {
  readonly bundle: Bytes
  readonly entry?: Bytes
  readonly keyPackage?: Bytes
}

/** What to ask for beside the bundle. */
export interface FetchOptions {
  readonly wantOneTime?: boolean
  readonly wantKeyPackage?: boolean
  readonly signal?: AbortSignal
}

/**
 * Serves and fetches prekeys. What asks throws ConclaveError `NETWORK_UNREACHABLE`, `NETWORK_RESET`, `NETWORK_TIMEOUT`,
 * `LIMIT_RATE`, `DIRECT_REFUSED` or a `CODEC_…` code, or `AbortError`.
 */
export interface Prekeys {
  /** Asks a peer for its own prekeys. */
  fetch(peer: PeerId, options?: FetchOptions): Promise<FetchedPrekeys>
  /** Asks a custodian for a recipient's prekeys. */
  fetchFrom(custodian: PeerId, recipient: PeerId, options?: FetchOptions): Promise<FetchedPrekeys>
  /** Asks a peer for a contact record, its own or one that it keeps; not verified. */
  fetchRecord(from: PeerId, recipient: PeerId, signal: AbortSignal): Promise<Bytes>
  /** Leaves prekeys and contact record with a custodian. */
  publish(custodian: PeerId, published: Published, signal: AbortSignal): Promise<Remaining>
  /** Asks a custodian what it has left to hand out. */
  supply(custodian: PeerId, signal: AbortSignal): Promise<Remaining>
  /** Whom to ask for MLS key packages from now on. */
  setKeyPackages(source: KeyPackageSource): void
  /** An MLS key package of this agent for a requester, or for a custodian to hand out. */
  ownKeyPackage(requester: PeerId): Promise<Bytes | undefined>
  /** What this agent hands out for others, and its own contact record. */
  setCustody(custody: PrekeyCustody): void
}

/** Begins to serve. */
export async function servePrekeys(options: PrekeysOptions): Promise<Prekeys> {
  const service = new Service(options)
  await options.host.handle(PREKEYS_PROTOCOL, STREAMS, (stream) => service.serve(stream))
  return service
}

class Service implements Prekeys {
  readonly #options: PrekeysOptions
  readonly #each = new TokenBuckets<PeerId>(FETCH_RATE, PEERS_MAX)
  readonly #all = new TokenBuckets<'all'>(FETCH_RATE_TOTAL, 1)
  #keyPackages: KeyPackageSource | undefined
  #custody: PrekeyCustody | undefined

  constructor(options: PrekeysOptions) {
    this.#options = options
  }

  setKeyPackages(source: KeyPackageSource): void {
    this.#keyPackages = source
  }

  setCustody(custody: PrekeyCustody): void {
    this.#custody = custody
  }

  async ownKeyPackage(requester: PeerId): Promise<Bytes | undefined> {
    return this.#keyPackages?.supply(requester)
  }

  fetch(peer: PeerId, wanted: FetchOptions = {}): Promise<FetchedPrekeys> {
    return this.fetchFrom(peer, peer, wanted)
  }

  async fetchFrom(
    custodian: PeerId,
    recipient: PeerId,
    { wantOneTime = false, wantKeyPackage = false, signal }: FetchOptions = {},
  ): Promise<FetchedPrekeys> {
    const request = { requestId: 1, recipient, wantOneTime, wantKeyPackage }
    const reply = await this.#ask(custodian, { kind: 'fetch', ...request }, signal)
    if (reply.kind !== 'bundle') throw refusal(reply)
    const { bundle, entry, keyPackage } = reply
    return {
      bundle,
      ...(entry !== undefined && { entry }),
      ...(keyPackage !== undefined && { keyPackage }),
    }
  }

  async fetchRecord(from: PeerId, recipient: PeerId, signal: AbortSignal): Promise<Bytes> {
    const reply = await this.#ask(from, { kind: 'fetchRecord', requestId: 1, recipient }, signal)
    if (reply.kind !== 'record') throw refusal(reply)
    return reply.record
  }

  async publish(custodian: PeerId, published: Published, signal: AbortSignal): Promise<Remaining> {
    const request: PrekeysFrame = { kind: 'publish', requestId: 1, ...published }
    const reply = await this.#ask(custodian, request, signal)
    if (reply.kind !== 'remaining') throw refusal(reply)
    return reply
  }

  async supply(custodian: PeerId, signal: AbortSignal): Promise<Remaining> {
    const reply = await this.#ask(custodian, { kind: 'supply', requestId: 1 }, signal)
    if (reply.kind !== 'remaining') throw refusal(reply)
    return reply
  }

  async serve(stream: FrameStream): Promise<void> {
    const timer = setTimeout(() => stream.abort(), STREAM_LIFE_MS)
    let requests = 0
    try {
      for await (const bytes of stream.frames) {
        const frame = decodePrekeysFrame(bytes)
        requests += 1
        if (!frame.ok || requests > REQUESTS_PER_STREAM_MAX) {
          stream.abort()
          return
        }
        await stream.send(encodePrekeysFrame(await this.#answer(stream.peer, frame.value)))
      }
      await stream.close()
    } catch {
      stream.abort() // the peer is gone, or the store does not take the entry: nothing was handed out
    } finally {
      clearTimeout(timer)
    }
  }

  async #answer(peer: PeerId, frame: PrekeysFrame): Promise<PrekeysFrame> {
    const { requestId } = frame
    const { now } = this.#options
    const fail = (status: Exclude<Status, 'accepted'>): PrekeysFrame => {
      return { kind: 'failure', requestId, status }
    }
    if (!this.#each.take(peer, now()) || !this.#all.take('all', now())) return fail('busy')
    switch (frame.kind) {
      case 'fetch': {
        const found = await this.#find(peer, frame)
        return found === undefined
          ? fail('refused')
          : fitReply({ kind: 'bundle', requestId, ...found })
      }
      case 'fetchRecord': {
        const record = await this.#custody?.record(frame.recipient)
        return record === undefined ? fail('refused') : { kind: 'record', requestId, record }
      }
      case 'publish': {
        const left = await this.#custody?.publish(peer, frame)
        return left === undefined ? fail('refused') : { kind: 'remaining', requestId, ...left }
      }
      case 'supply': {
        const left = await this.#custody?.supply(peer)
        return left === undefined ? fail('refused') : { kind: 'remaining', requestId, ...left }
      }
      case 'bundle':
      case 'record':
      case 'remaining':
      case 'failure':
        return fail('unsupported')
    }
  }

  async #find(
    peer: PeerId,
    frame: Extract<PrekeysFrame, { kind: 'fetch' }>,
  ): Promise<FetchedPrekeys | undefined> {
    const { recipient, wantOneTime, wantKeyPackage } = frame
    if (recipient !== this.#options.host.peerId) {
      const wanted = { oneTime: wantOneTime, keyPackage: wantKeyPackage }
      return this.#custody?.fetch(recipient, peer, wanted)
    }
    const bundle = await this.#options.bundle()
    const entry = wantOneTime ? await this.#options.issue(peer) : undefined
    const keyPackage = wantKeyPackage ? await this.ownKeyPackage(peer) : undefined
    return {
      bundle,
      ...(entry !== undefined && { entry }),
      ...(keyPackage !== undefined && { keyPackage }),
    }
  }

  /** One request on a stream of its own. */
  async #ask(
    peer: PeerId,
    request: PrekeysFrame,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<PrekeysFrame> {
    const timeout = AbortSignal.timeout(FETCH_TIMEOUT_MS)
    const limited = AbortSignal.any([signal, timeout])
    let stream: FrameStream | undefined
    const cancel = (): void => stream?.abort()
    limited.addEventListener('abort', cancel)
    try {
      const { host } = this.#options
      stream = await host.open(peer, PREKEYS_PROTOCOL, { ...STREAMS, signal: limited })
      await stream.send(encodePrekeysFrame(request), { signal: limited })
      for await (const bytes of stream.frames) return readReply(bytes)
      throw new ConclaveError('NETWORK_RESET', 'the peer ended the stream without an answer')
    } catch (error) {
      signal.throwIfAborted()
      if (!timeout.aborted) throw error
      throw new ConclaveError('NETWORK_TIMEOUT', 'the peer handed out no prekeys in time', {
        cause: error,
      })
    } finally {
      limited.removeEventListener('abort', cancel)
      void stream?.close()
    }
  }
}

/** Leaves the one-time entry out if the reply would be too long with the key package that was asked for. */
function fitReply(frame: Extract<PrekeysFrame, { kind: 'bundle' }>): PrekeysFrame {
  if (encodePrekeysFrame(frame).length <= PREKEYS_REPLY_BYTES_MAX) return frame
  const { entry: _, ...without } = frame
  return without
}

function readReply(bytes: Bytes): PrekeysFrame {
  const frame = decodePrekeysFrame(bytes)
  if (frame.ok && frame.value.requestId === 1) return frame.value
  const code = frame.ok ? 'CODEC_MALFORMED' : frame.code
  throw new ConclaveError(code, 'the peer answered with bytes that do not decode')
}

function refusal(reply: PrekeysFrame): ConclaveError {
  if (reply.kind === 'failure' && reply.status === 'busy') {
    return new ConclaveError('LIMIT_RATE', 'the peer hands out no prekeys at the moment')
  }
  return new ConclaveError('DIRECT_REFUSED', 'the peer refused to hand out prekeys')
}
