// /conclave/group-sync/1.0.0: serves a group to whoever asks for what it lacks (group spec.md §3.7). Floor 2.
// The connection says who asks; whether that is a member is decided above.
import { compareBytes, equalBytes } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import { TokenBuckets } from '../../../protocols/base/token-bucket.ts'
import { decodeSyncFrame, encodeSyncFrame } from '../../../protocols/group/sync-frames.ts'
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
  SYNC_CHUNK_BYTES_MAX,
  SYNC_IDS_MAX,
  SYNC_PROOFS_MAX,
} from '../../../protocols/group/types.ts'
import type { CommitId, FrameId, GroupId, RecordEntry } from '../../../protocols/group/types.ts'
import type { FrameStream, Host } from '../../host/types.ts'
import { Silence, STREAMS } from './stream.ts'

/* Implementation constants: ours to tune. */
/** Requests of one peer: a thorough sync asks some hundred times. */
const REQUEST_RATE = { burst: 4_000, perSecond: 200 }
const PEERS_MAX = 4_096
/** A range with more frames than this is split. */
const SPLIT_OVER = SYNC_IDS_MAX
const SPLIT_WAYS = 16
/** Records in one frame. */
const RECORDS_BYTES = 196_608

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

/** Begins to serve. */
export async function serveGroupSync(
  host: Host,
  server: SyncServer,
  now: () => number,
): Promise<void> {
  const rates = new TokenBuckets<PeerId>(REQUEST_RATE, PEERS_MAX)
  await host.handle(GROUP_SYNC_PROTOCOL, STREAMS, (stream) =>
    serve(stream, server, () => rates.take(stream.peer, now())),
  )
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

function isSame(a: SyncHello, b: SyncHello): boolean {
  return (
    compareBytes(a.logPrint, b.logPrint) === 0 && compareBytes(a.recordsPrint, b.recordsPrint) === 0
  )
}
