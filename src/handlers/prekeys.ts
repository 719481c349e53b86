// /conclave/prekeys/1.0.0: hands out this agent's bundle, a one-time entry and an MLS key package, and fetches
// those of others (direct spec.md §3.5). Floor 2.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { SECOND_MS } from '../../protocols/base/time.ts'
import { TokenBuckets } from '../../protocols/base/token-bucket.ts'
import { decodePrekeysFrame, encodePrekeysFrame } from '../../protocols/direct/frames.ts'
import type { PrekeysFrame, Status } from '../../protocols/direct/frames.ts'
import { PREKEYS_PROTOCOL, PREKEYS_REPLY_BYTES_MAX } from '../../protocols/direct/types.ts'
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
  frameBytesMax: PREKEYS_REPLY_BYTES_MAX,
  inboundStreamsMax: 8,
  outboundStreamsMax: 8,
  relayed: true,
}

/** Where an MLS key package comes from: durable before it is handed out. */
export interface KeyPackageSource {
  supply(requester: PeerId): Promise<Bytes | undefined>
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

/** Serves and fetches prekeys. */
export interface Prekeys {
  /**
   * Asks a peer for its own prekeys.
   *
   * @throws ConclaveError `NETWORK_UNREACHABLE`, `NETWORK_RESET`, `NETWORK_TIMEOUT`, `LIMIT_RATE`,
   *   `DIRECT_REFUSED`, a `CODEC_…` code; `AbortError`.
   */
  fetch(peer: PeerId, options?: FetchOptions): Promise<FetchedPrekeys>
  /** Whom to ask for MLS key packages from now on. */
  setKeyPackages(source: KeyPackageSource): void
}

/** Begins to serve. */
export async function servePrekeys(options: PrekeysOptions): Promise<Prekeys> {
  const { host, now } = options
  const each = new TokenBuckets<PeerId>(FETCH_RATE, PEERS_MAX)
  const all = new TokenBuckets<'all'>(FETCH_RATE_TOTAL, 1)
  let keyPackages: KeyPackageSource | undefined

  const answer = async (peer: PeerId, frame: PrekeysFrame): Promise<PrekeysFrame> => {
    const { requestId } = frame
    const fail = (status: Status): PrekeysFrame => ({ kind: 'failure', requestId, status })
    // This version hands out its own prekeys alone: it is nobody's custodian.
    if (frame.kind !== 'fetch') return fail('unsupported')
    if (frame.recipient !== host.peerId) return fail('refused')
    if (!each.take(peer, now()) || !all.take('all', now())) return fail('busy')
    const bundle = await options.bundle()
    const entry = frame.wantOneTime ? await options.issue(peer) : undefined
    const keyPackage = frame.wantKeyPackage ? await keyPackages?.supply(peer) : undefined
    return fitReply({
      kind: 'bundle',
      requestId,
      bundle,
      ...(entry !== undefined && { entry }),
      ...(keyPackage !== undefined && { keyPackage }),
    })
  }

  const serve = async (stream: FrameStream): Promise<void> => {
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
        await stream.send(encodePrekeysFrame(await answer(stream.peer, frame.value)))
      }
      await stream.close()
    } catch {
      stream.abort() // the peer is gone, or the store does not take the entry: nothing was handed out
    } finally {
      clearTimeout(timer)
    }
  }

  await host.handle(PREKEYS_PROTOCOL, STREAMS, serve)
  return {
    fetch: (peer, wanted = {}) => fetch(host, peer, wanted),
    setKeyPackages(source) {
      keyPackages = source
    },
  }
}

/** Leaves the one-time entry out if the reply would be too long with the key package that was asked for. */
function fitReply(frame: Extract<PrekeysFrame, { kind: 'bundle' }>): PrekeysFrame {
  if (encodePrekeysFrame(frame).length <= PREKEYS_REPLY_BYTES_MAX) return frame
  const { entry: _, ...without } = frame
  return without
}

async function fetch(host: Host, peer: PeerId, options: FetchOptions): Promise<FetchedPrekeys> {
  const { wantOneTime = false, wantKeyPackage = false } = options
  const timeout = AbortSignal.timeout(FETCH_TIMEOUT_MS)
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal])
  let stream: FrameStream | undefined
  const cancel = (): void => stream?.abort()
  signal.addEventListener('abort', cancel)
  try {
    stream = await host.open(peer, PREKEYS_PROTOCOL, { ...STREAMS, signal })
    const request = { requestId: 1, recipient: peer, wantOneTime, wantKeyPackage }
    await stream.send(encodePrekeysFrame({ kind: 'fetch', ...request }), { signal })
    for await (const bytes of stream.frames) return readReply(bytes)
    throw new ConclaveError('NETWORK_RESET', 'the peer ended the stream without an answer')
  } catch (error) {
    options.signal?.throwIfAborted()
    if (!timeout.aborted) throw error
    throw new ConclaveError('NETWORK_TIMEOUT', 'the peer handed out no prekeys in time', {
      cause: error,
    })
  } finally {
    signal.removeEventListener('abort', cancel)
    void stream?.close()
  }
}

function readReply(bytes: Bytes): FetchedPrekeys {
  const frame = decodePrekeysFrame(bytes)
  if (!frame.ok)
    throw new ConclaveError(frame.code, 'the peer answered with bytes that do not decode')
  const reply = frame.value
  if (reply.kind === 'bundle' && reply.requestId === 1) {
    const { bundle, entry, keyPackage } = reply
    return {
      bundle,
      ...(entry !== undefined && { entry }),
      ...(keyPackage !== undefined && { keyPackage }),
    }
  }
  if (reply.kind === 'failure' && reply.status === 'busy') {
    throw new ConclaveError('LIMIT_RATE', 'the peer hands out no prekeys at the moment')
  }
  throw new ConclaveError('DIRECT_REFUSED', 'the peer refused to hand out its prekeys')
}
