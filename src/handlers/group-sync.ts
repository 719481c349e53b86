// /conclave/group-sync/1.0.0: one side asks for what it lacks of a group, the other serves it (group spec.md §3.7).
// Floor 2. The connection says who asks; whether that is a member is decided above.
import { compareBytes, concat, equalBytes } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { SECOND_MS } from '../../protocols/base/time.ts'
import { TokenBuckets } from '../../protocols/base/token-bucket.ts'
import {
  compareKeys,
  decodeSyncFrame,
  encodeSyncFrame,
  EVERYTHING,
} from '../../protocols/group/sync-frames.ts'
import type {
  LogKey,
  LogRange,
  SyncFailure,
  SyncFrame,
  SyncHello,
  SyncInfo,
} from '../../protocols/group/sync-frames.ts'
import {
  GROUP_SYNC_PROTOCOL,
  SEALED_BODY_BYTES_MAX,
  SYNC_CHUNK_BYTES_MAX,
  SYNC_FRAME_BYTES_MAX,
  SYNC_GET_MAX,
  SYNC_IDS_MAX,
  SYNC_PROOFS_MAX,
} from '../../protocols/group/types.ts'
import type {
  CommitId,
  EntryInfo,
  FrameId,
  GroupId,
  RecordEntry,
} from '../../protocols/group/types.ts'
import type { FrameStream, Host, ProtocolOptions } from '../host/types.ts'

/* Implementation constants: ours to tune. */
/** How long one sync may take, dialling included. */
export const SYNC_TIMEOUT_MS: number = 120 * SECOND_MS
/** How long a stream may be silent. */
export const SYNC_SILENCE_MS: number = 20 * SECOND_MS
/** Requests of one peer: a thorough sync asks some hundred times. */
export const REQUEST_RATE = { burst: 4_000, perSecond: 200 }
const PEERS_MAX = 4_096
/** A range with more frames than this is split. */
const SPLIT_OVER = SYNC_IDS_MAX
const SPLIT_WAYS = 16
/** Records in one frame. */
const RECORDS_BYTES = 196_608

const STREAMS: ProtocolOptions = {
  frameBytesMax: SYNC_FRAME_BYTES_MAX,
  inboundStreamsMax: 16,
  outboundStreamsMax: 16,
  relayed: true,
}

/** What a group serves, to peers that may have it. */
export interface SyncSource {
  readonly groupId: GroupId
  hello(): SyncHello
  /** Records beyond those known, parents first. */
  records(known: readonly CommitId[]): readonly RecordEntry[]
  acks(): readonly Bytes[]
  proofs(): readonly Bytes[]
  /** What is needed to enter an epoch from outside; undefined if this one is not held, or not for that peer. */
  info(commitId: CommitId): Promise<SyncInfo | undefined>
  /** What the log holds of a range. */
  range(from: LogKey, to: LogKey): LogRange
  keys(from: LogKey, to: LogKey): readonly LogKey[]
  frame(id: FrameId): Promise<Bytes | undefined>
  body(commitId: CommitId): Bytes | undefined
  tree(treeHash: Bytes): Promise<Bytes | undefined>
  /** The asking peer holds something else than we do. */
  differs(peer: PeerId): void
}

/** Who learns what. */
export interface SyncServer {
  /** The group as this peer may see it; `denied` for one that is no member. */
  source(groupId: GroupId, peer: PeerId): SyncSource | 'unknownGroup' | 'denied'
  /** A peer that was denied shows records that make it a member. */
  shown(groupId: GroupId, peer: PeerId, entries: readonly RecordEntry[]): Promise<void>
}

/** What a sync found. */
export interface SyncSink {
  readonly groupId: GroupId
  hello(): SyncHello
  range(from: LogKey, to: LogKey): LogRange
  has(id: FrameId): boolean
  known(): readonly CommitId[]
  /** The records that make this node a member, for a peer that does not know it as one. */
  shown(): readonly RecordEntry[]
  frames(frames: readonly Bytes[]): Promise<void>
  records(entries: readonly RecordEntry[]): Promise<void>
  acks(acks: readonly Bytes[], proofs: readonly Bytes[]): Promise<void>
  /** The peer is on this tip. */
  peerAt(tip: CommitId): void
  /** Commits whose records are here without their bodies. */
  missingBodies(): Promise<readonly CommitId[]>
  body(commitId: CommitId, body: Bytes): Promise<void>
}

/** What serving and syncing need. */
export interface GroupSyncOptions {
  readonly host: Host
  readonly now: () => number
  readonly server: SyncServer
}

/** The client's side. */
export interface GroupSync {
  /**
   * Fetches from a peer what this node lacks of a group: frames first, so that messages are opened before their
   * epoch is outdated, then records, bodies, acks.
   *
   * @throws ConclaveError of the `NETWORK` family; `GROUP_NOT_MEMBER` if the peer denies it; `CODEC_…`.
   */
  pull(peer: PeerId, sink: SyncSink, signal: AbortSignal): Promise<void>
  /** Fetches what is needed to enter an epoch from outside; undefined if the peer does not hold it. */
  info(
    peer: PeerId,
    hello: SyncHello,
    commitId: CommitId,
    signal: AbortSignal,
  ): Promise<EntryInfo | undefined>
  /** Fetches the ratchet tree that a JoinPackage names; undefined if the peer has it no more. */
  tree(
    peer: PeerId,
    hello: SyncHello,
    treeHash: Bytes,
    signal: AbortSignal,
  ): Promise<Bytes | undefined>
}

/** Begins to serve. */
export async function serveGroupSync(options: GroupSyncOptions): Promise<GroupSync> {
  const { host, now, server } = options
  const rates = new TokenBuckets<PeerId>(REQUEST_RATE, PEERS_MAX)
  await host.handle(GROUP_SYNC_PROTOCOL, STREAMS, (stream) =>
    serve(stream, server, () => rates.take(stream.peer, now())),
  )
  return {
    pull: (peer, sink, signal) =>
      withStream(host, peer, signal, async (asking) => {
        await pull(asking, sink)
      }),
    info: (peer, hello, commitId, signal) =>
      withStream(host, peer, signal, async (asking) => {
        for await (const _ of asking({ kind: 'hello', ...hello })) continue
        return fetchInfo(asking, commitId)
      }),
    tree: (peer, hello, treeHash, signal) =>
      withStream(host, peer, signal, async (asking) => {
        for await (const _ of asking({ kind: 'hello', ...hello })) continue
        return fetchWhole(asking({ kind: 'getTree', treeHash }), 'tree')
      }),
  }
}

async function serve(
  stream: FrameStream,
  server: SyncServer,
  mayAsk: () => boolean,
): Promise<void> {
  const silence = new Silence(stream)
  let source: SyncSource | undefined
  let asked: SyncHello | undefined
  let hasShown = false
  const send = (frame: SyncFrame): Promise<void> => stream.send(encodeSyncFrame(frame))
  const fail = (code: SyncFailure): Promise<void> =>
    send({ kind: 'failure', code, retryAfterMs: 0 })
  try {
    for await (const bytes of stream.frames) {
      silence.over()
      const request = decodeSyncFrame(bytes)
      if (!request.ok) break
      if (!mayAsk()) {
        await fail('busy')
        break
      }
      const { value } = request
      // Who is denied may show once by which records it is a member.
      const isShowing = value.kind === 'records' && source === undefined && !hasShown
      if (value.kind === 'hello') asked = value
      else if (isShowing && asked !== undefined) {
        hasShown = true
        await server.shown(asked.groupId, stream.peer, value.entries)
      }
      if (asked !== undefined && (value.kind === 'hello' || isShowing)) {
        const found = server.source(asked.groupId, stream.peer)
        if (typeof found === 'string') {
          await fail(found)
          if (found === 'denied' && !hasShown) continue
          break
        }
        source = found
        const own = source.hello()
        await send({ kind: 'hello', ...own })
        await send({ kind: 'done' })
        if (!isSame(own, asked)) source.differs(stream.peer)
      } else if (source === undefined || !(await answer(source, value, send, fail))) break
      silence.over()
    }
    await stream.close()
  } catch {
    stream.abort() // the peer is gone; it asks again
  } finally {
    silence.end()
    stream.abort()
  }
}

type Send = (frame: SyncFrame) => Promise<void>

/** False if it was no request. */
async function answer(
  source: SyncSource,
  request: SyncFrame,
  send: Send,
  fail: (code: SyncFailure) => Promise<void>,
): Promise<boolean> {
  switch (request.kind) {
    case 'range':
      await answerRange(source, request, send)
      break
    case 'get':
      for (const id of request.ids) {
        const frame = await source.frame(id)
        if (frame !== undefined) await send({ kind: 'frame', frame })
      }
      break
    case 'getRecords':
      await sendRecords(source.records(request.known), send)
      await sendAcks(source.acks(), send)
      await sendProofs(source.proofs(), send)
      break
    case 'getInfo': {
      const { commitId } = request
      const info = await source.info(commitId)
      if (info === undefined) {
        await fail('gone')
        return true
      }
      await send({ kind: 'info', commitId, ...info })
      break
    }
    case 'getBody': {
      const { commitId } = request
      const body = source.body(commitId)
      if (body === undefined) await fail('gone')
      else for (const part of chunksOf(body)) await send({ kind: 'body', commitId, ...part })
      if (body === undefined) return true
      break
    }
    case 'getTree': {
      const { treeHash } = request
      const tree = await source.tree(treeHash)
      if (tree === undefined) await fail('gone')
      else for (const part of chunksOf(tree)) await send({ kind: 'tree', treeHash, ...part })
      if (tree === undefined) return true
      break
    }
    case 'hello':
    case 'ids':
    case 'frame':
    case 'records':
    case 'body':
    case 'tree':
    case 'acks':
    case 'info':
    case 'done':
    case 'failure':
      return false
  }
  await send({ kind: 'done' })
  return true
}

async function answerRange(source: SyncSource, asked: LogRange, send: Send): Promise<void> {
  const { from, to } = asked
  const own = source.range(from, to)
  if (own.count === asked.count && equalBytes(own.print, asked.print)) return
  const keys = source.keys(from, to)
  if (keys.length <= SPLIT_OVER) {
    await send({ kind: 'ids', from, to, keys })
    return
  }
  const step = Math.ceil(keys.length / SPLIT_WAYS)
  let begin = from
  for (let at = step; at < keys.length; at += step) {
    const end = keys[at] ?? to
    await send({ kind: 'range', ...source.range(begin, end) })
    begin = end
  }
  await send({ kind: 'range', ...source.range(begin, to) })
}

async function sendRecords(entries: readonly RecordEntry[], send: Send): Promise<void> {
  let batch: RecordEntry[] = []
  let bytes = 0
  for (const entry of entries) {
    const size = entry.record.length + entry.evidence.reduce((sum, one) => sum + one.length, 16)
    if (batch.length > 0 && (bytes + size > RECORDS_BYTES || batch.length === SYNC_IDS_MAX)) {
      await send({ kind: 'records', entries: batch })
      batch = []
      bytes = 0
    }
    batch.push(entry)
    bytes += size
  }
  if (batch.length > 0) await send({ kind: 'records', entries: batch })
}

async function sendAcks(acks: readonly Bytes[], send: Send): Promise<void> {
  for (let at = 0; at < acks.length; at += SYNC_IDS_MAX) {
    await send({ kind: 'acks', acks: acks.slice(at, at + SYNC_IDS_MAX), proofs: [] })
  }
}

async function sendProofs(proofs: readonly Bytes[], send: Send): Promise<void> {
  for (let at = 0; at < proofs.length; at += SYNC_PROOFS_MAX) {
    await send({ kind: 'acks', acks: [], proofs: proofs.slice(at, at + SYNC_PROOFS_MAX) })
  }
}

function* chunksOf(bytes: Bytes): Iterable<{ offset: number; total: number; chunk: Bytes }> {
  for (let offset = 0; offset < bytes.length; offset += SYNC_CHUNK_BYTES_MAX) {
    const chunk = bytes.slice(offset, offset + SYNC_CHUNK_BYTES_MAX)
    yield { offset, total: bytes.length, chunk }
  }
}

type Asking = (request: SyncFrame) => AsyncIterable<SyncFrame>

async function withStream<T>(
  host: Host,
  peer: PeerId,
  outer: AbortSignal,
  use: (asking: Asking) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.any([outer, AbortSignal.timeout(SYNC_TIMEOUT_MS)])
  const stream = await host.open(peer, GROUP_SYNC_PROTOCOL, { ...STREAMS, signal })
  const silence = new Silence(stream)
  const cancel = (): void => stream.abort()
  signal.addEventListener('abort', cancel)
  const frames = stream.frames[Symbol.asyncIterator]()
  const asking = async function* (request: SyncFrame): AsyncIterable<SyncFrame> {
    await stream.send(encodeSyncFrame(request), { signal })
    for (;;) {
      const next = await frames.next()
      if (next.done === true) throw new ConclaveError('NETWORK_RESET', 'the peer ended the sync')
      silence.over()
      const frame = decodeSyncFrame(next.value)
      if (!frame.ok) throw new ConclaveError(frame.code, 'a frame of the sync does not decode')
      if (frame.value.kind === 'done') return
      if (frame.value.kind === 'failure') {
        if (frame.value.code === 'gone') return
        throw failureOf(frame.value.code)
      }
      yield frame.value
    }
  }
  try {
    return await use(asking)
  } finally {
    signal.removeEventListener('abort', cancel)
    silence.end()
    void stream.close()
    stream.abort()
  }
}

function failureOf(code: SyncFailure): ConclaveError {
  if (code === 'busy') return new ConclaveError('LIMIT_RATE', 'the peer serves no more syncs now')
  return new ConclaveError('GROUP_NOT_MEMBER', 'the peer does not know this agent as a member', {
    data: { isDenied: code === 'denied' },
  })
}

async function pull(asking: Asking, sink: SyncSink): Promise<void> {
  const own = sink.hello()
  const theirs = await greet(asking, sink, own)
  if (!equalBytes(theirs.logPrint, own.logPrint)) await pullLog(asking, sink)
  for await (const frame of asking({ kind: 'getRecords', known: sink.known() })) {
    if (frame.kind === 'records') await sink.records(frame.entries)
    else if (frame.kind === 'acks') await sink.acks(frame.acks, frame.proofs)
  }
  sink.peerAt(theirs.tip)
  for (const commitId of await sink.missingBodies()) {
    const body = await fetchWhole(asking({ kind: 'getBody', commitId }), 'body')
    if (body !== undefined) await sink.body(commitId, body)
  }
}

/** Learns what the peer holds; to one that denies this node the group it shows how it became a member of it. */
async function greet(asking: Asking, sink: SyncSink, own: SyncHello): Promise<SyncHello> {
  const answerTo = async (request: SyncFrame): Promise<SyncHello> => {
    let theirs: SyncHello | undefined
    for await (const frame of asking(request)) if (frame.kind === 'hello') theirs = frame
    if (theirs?.groupId === sink.groupId) return theirs
    throw new ConclaveError('CODEC_MALFORMED', 'the peer did not say what it holds')
  }
  try {
    return await answerTo({ kind: 'hello', ...own })
  } catch (error) {
    const entries = sink.shown()
    if (!(error instanceof ConclaveError) || error.data?.['isDenied'] !== true) throw error
    if (entries.length === 0) throw error
    return await answerTo({ kind: 'records', entries })
  }
}

/** Compares range by range, and fetches what is missing. */
async function pullLog(asking: Asking, sink: SyncSink): Promise<void> {
  const ranges: { from: LogKey; to: LogKey }[] = [EVERYTHING]
  for (let range = ranges.pop(); range !== undefined; range = ranges.pop()) {
    const missing: FrameId[] = []
    const asked = sink.range(range.from, range.to)
    for await (const frame of asking({ kind: 'range', ...asked })) {
      if (frame.kind === 'ids') {
        for (const { id } of frame.keys) if (!sink.has(id)) missing.push(id)
      } else if (frame.kind === 'range') {
        const own = sink.range(frame.from, frame.to)
        const isEqual = own.count === frame.count && equalBytes(own.print, frame.print)
        if (!isEqual && isPart(frame, range)) ranges.push({ from: frame.from, to: frame.to })
      }
    }
    for (let at = 0; at < missing.length; at += SYNC_GET_MAX) {
      const frames: Bytes[] = []
      const ids = missing.slice(at, at + SYNC_GET_MAX)
      for await (const frame of asking({ kind: 'get', ids })) {
        if (frame.kind === 'frame') frames.push(frame.frame)
        if (frames.length > ids.length) {
          throw new ConclaveError('CODEC_MALFORMED', 'the peer sends what nobody asked for')
        }
      }
      await sink.frames(frames)
    }
  }
}

/** A proper part: so that no peer can keep a sync going for ever. */
function isPart(part: LogRange, of: { readonly from: LogKey; readonly to: LogKey }): boolean {
  const [from, to] = [compareKeys(part.from, of.from), compareKeys(part.to, of.to)]
  return from >= 0 && to <= 0 && (from > 0 || to < 0) && compareKeys(part.from, part.to) < 0
}

async function fetchInfo(asking: Asking, commitId: CommitId): Promise<EntryInfo | undefined> {
  let info: SyncInfo | undefined
  for await (const frame of asking({ kind: 'getInfo', commitId })) {
    if (frame.kind === 'info' && frame.commitId === commitId) info = frame
  }
  if (info === undefined) return undefined
  const { groupInfo, bodyKey, generations, treeHash } = info
  const tree = await fetchWhole(asking({ kind: 'getTree', treeHash }), 'tree')
  return tree && { groupInfo, bodyKey, generations, tree }
}

async function fetchWhole(
  frames: AsyncIterable<SyncFrame>,
  kind: 'body' | 'tree',
): Promise<Bytes | undefined> {
  const parts: Bytes[] = []
  let length = 0
  for await (const frame of frames) {
    if (frame.kind !== kind || frame.offset !== length || frame.total > SEALED_BODY_BYTES_MAX) {
      throw new ConclaveError('CODEC_MALFORMED', 'the parts of a sync do not fit together')
    }
    parts.push(frame.chunk)
    length += frame.chunk.length
  }
  return length === 0 ? undefined : concat(...parts)
}

function isSame(a: SyncHello, b: SyncHello): boolean {
  return (
    compareBytes(a.logPrint, b.logPrint) === 0 && compareBytes(a.recordsPrint, b.recordsPrint) === 0
  )
}

/** Gives a stream up that stays silent. */
class Silence {
  readonly #stream: FrameStream
  #timer: NodeJS.Timeout

  constructor(stream: FrameStream) {
    this.#stream = stream
    this.#timer = this.#start()
  }

  over(): void {
    clearTimeout(this.#timer)
    this.#timer = this.#start()
  }

  end(): void {
    clearTimeout(this.#timer)
  }

  #start(): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#stream.abort(new ConclaveError('NETWORK_TIMEOUT', 'a sync fell silent'))
    }, SYNC_SILENCE_MS)
    timer.unref()
    return timer
  }
}
