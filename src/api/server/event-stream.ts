// Writes the agent's events as a server-sent-event stream. Floor 4.
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { ConclaveError } from '../../../protocols/base/errors.ts'
import type { AgentEvent, EventService } from '../../node/types.ts'

/** A reader that takes nothing for this long is cut off; it resumes from its last id. */
const STALL_MS = 300_000

/** What one stream is about. */
export interface StreamOptions {
  readonly events: EventService
  readonly afterId: number
  readonly wants: (event: AgentEvent) => boolean
  readonly heartbeatMs: number
  /** Aborts when the reader has gone or the API closes. */
  readonly signal: AbortSignal
}

/** An open stream of events, checked: what it resumes from is still kept. */
export interface OpenStream {
  /** Writes events until the signal aborts. Pulls them one by one, so a slow reader costs no memory. */
  run(raw: ServerResponse): Promise<void>
}

/**
 * Opens a stream.
 *
 * @throws ConclaveError `STATE_EVENT_GONE` if an event after `afterId` is no longer kept.
 */
export async function openStream(options: StreamOptions): Promise<OpenStream> {
  const { events, afterId, signal } = options
  if (afterId > events.lastId) {
    throw new ConclaveError('STATE_EVENT_GONE', `there is no event ${afterId} yet`, {
      hint: `the newest is ${events.lastId}; read the inbox and the groups, then follow from there`,
    })
  }
  const isBehind = afterId < events.lastId
  const iterator = events.follow({ afterId, signal })[Symbol.asyncIterator]()
  // The status line goes out first, so whether the events are kept must be known before it.
  const first = isBehind ? await iterator.next() : undefined
  return { run: (raw) => run(options, iterator, first, raw) }
}

async function run(
  options: StreamOptions,
  iterator: AsyncIterator<AgentEvent>,
  first: IteratorResult<AgentEvent> | undefined,
  raw: ServerResponse,
): Promise<void> {
  const { afterId, wants, heartbeatMs, signal } = options
  let seen = afterId
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    connection: 'close',
  })
  // The id alone raises no event, but moves the point from which a reader resumes.
  raw.write(`: conclave\nid: ${afterId}\n\n`)
  const beat = setInterval(() => {
    if (!raw.writableNeedDrain) raw.write(`: still here\nid: ${seen}\n\n`)
  }, heartbeatMs)
  try {
    let next = first ?? (await iterator.next())
    while (next.done !== true && !signal.aborted) {
      const event = next.value
      if (wants(event) && !raw.write(format(event))) await drained(raw, signal)
      seen = event.id
      next = await iterator.next()
    }
  } finally {
    clearInterval(beat)
    await iterator.return?.()
    raw.end()
  }
}

function format({ id, kind, data }: AgentEvent): string {
  return `id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`
}

async function drained(raw: ServerResponse, signal: AbortSignal): Promise<void> {
  const stalled = AbortSignal.timeout(STALL_MS)
  try {
    await once(raw, 'drain', { signal: AbortSignal.any([signal, stalled]) })
  } catch (error) {
    if (stalled.aborted) raw.destroy()
    if (!signal.aborted && !stalled.aborted) throw error
  }
}
