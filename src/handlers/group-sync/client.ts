// /conclave/group-sync/1.0.0: asks a peer for what this node lacks of a group (group spec.md §3.7). Floor 2.
import { concat, equalBytes } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { ConclaveError } from '../../../protocols/base/errors.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import { SECOND_MS } from '../../../protocols/base/time.ts'
import {
  compareKeys,
  decodeSyncFrame,
  encodeSyncFrame,
  EVERYTHING,
} from '../../../protocols/group/sync-frames.ts'
import type {
  LogKey,
  LogRange,
  SyncFailure,
  SyncFrame,
  SyncHello,
  SyncInfo,
} from '../../../protocols/group/sync-frames.ts'
import {
  GROUP_SYNC_PROTOCOL,
  SEALED_BODY_BYTES_MAX,
  SYNC_GET_MAX,
} from '../../../protocols/group/types.ts'
import type {
  CommitId,
  EntryInfo,
  FrameId,
  GroupId,
  RecordEntry,
} from '../../../protocols/group/types.ts'
import type { Host } from '../../host/types.ts'
import { Silence, STREAMS } from './stream.ts'

/* Implementation constants: ours to tune. */
/** How long one sync may take, dialling included. */
const SYNC_TIMEOUT_MS: number = 120 * SECOND_MS

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

/** What asks members. */
export interface GroupSyncClient {
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

/** Makes the client. */
export function makeGroupSyncClient(host: Host): GroupSyncClient {
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
