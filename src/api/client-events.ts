// Reads the event stream of a running node, and resumes it where it broke off. Floor 4.
import { createParser } from 'eventsource-parser'
import type { EventSourceMessage } from 'eventsource-parser'
import type { IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { isRecord } from './client-errors.ts'
import { open } from './client-http.ts'
import { HEARTBEAT_MS } from './client-limits.ts'

/* Implementation constants: ours to tune. */
/** Longest event taken, in characters. */
const EVENT_CHARS_MAX = 1_048_576
/** A stream that stays silent through this many comment lines is dead. */
const SILENCE_MS = 3 * HEARTBEAT_MS
/** How long a node that went away may take to come back. */
const RETURN_MS = 30_000
const RETRY_MS = 250

/** One event. `data` has the fields of the matching result. */
export interface ClientEvent {
  readonly id: number
  readonly kind: string
  readonly data: Readonly<Record<string, unknown>>
}

/** Which events to follow, and from where. */
export interface FollowOptions {
  readonly kinds?: readonly string[]
  /** In any PEER form. */
  readonly from?: string | undefined
  /** In any GROUP form. */
  readonly group?: string | undefined
  /** Id of the last event that was seen; new ones only when absent. */
  readonly after?: number
  readonly signal: AbortSignal
}

/**
 * Opens a stream, and answers once it stands: everything that happens from then on is in it, once.
 *
 * @returns Events until `signal` aborts. A node that restarts within 30 s is followed on.
 * @throws ConclaveError `NETWORK_NODE_NOT_RUNNING`, `STATE_EVENT_GONE` if what is resumed from is no longer kept.
 */
export async function followEvents(
  home: string,
  options: FollowOptions,
): Promise<AsyncIterable<ClientEvent>> {
  const first = await openEvents(home, options, options.after)
  return read(home, options, first)
}

async function* read(
  home: string,
  options: FollowOptions,
  first: IncomingMessage,
): AsyncGenerator<ClientEvent> {
  const cursor: Cursor = { lastId: options.after }
  let response: IncomingMessage | undefined = first
  while (response !== undefined) {
    yield* parse(response, cursor)
    response = await reopen(home, options, cursor)
  }
}

interface Cursor {
  lastId: number | undefined
}

function openEvents(
  home: string,
  { kinds, from, group, signal }: FollowOptions,
  after: number | undefined,
): Promise<IncomingMessage> {
  return open(home, {
    method: 'GET',
    path: '/v1/events',
    query: { kinds: kinds?.join(','), from, group },
    headers: {
      accept: 'text/event-stream',
      ...(after !== undefined && { 'last-event-id': String(after) }),
    },
    signal,
  })
}

/** Tries for a while to reach the node again; undefined once the signal has aborted. */
async function reopen(
  home: string,
  options: FollowOptions,
  { lastId }: Cursor,
): Promise<IncomingMessage | undefined> {
  const deadline = performance.now() + RETURN_MS
  while (!options.signal.aborted) {
    try {
      return await openEvents(home, options, lastId)
    } catch (error) {
      const isAway = error instanceof ConclaveError && error.family === 'NETWORK'
      const isClosing = error instanceof ConclaveError && error.code === 'STATE_CLOSED'
      if (!(isAway || isClosing || isAborted(options.signal))) throw error
      if (performance.now() > deadline) throw error
    }
    await delay(RETRY_MS, undefined, { signal: options.signal }).catch(() => undefined)
  }
  return undefined
}

/** Events of one connection. Ends when it does, for whatever reason; the cursor says how far it came. */
async function* parse(response: IncomingMessage, cursor: Cursor): AsyncGenerator<ClientEvent> {
  const parsed: EventSourceMessage[] = []
  let malformed: string | undefined
  const parser = createParser({
    maxBufferSize: EVENT_CHARS_MAX,
    onEvent: (event) => parsed.push(event),
    // What was parsed is always handed on before the next connection is asked for.
    onId: (id) => (cursor.lastId = Number(id)),
    onError: ({ type }) => (malformed = type),
  })
  response.setEncoding('utf8')
  response.socket.setTimeout(SILENCE_MS, () => response.destroy())
  const chunks = response[Symbol.asyncIterator]() as AsyncIterator<string>
  try {
    for (;;) {
      const chunk = await nextChunk(chunks)
      if (chunk === undefined) return
      parser.feed(chunk)
      for (const event of parsed.splice(0)) yield toEvent(event)
      if (malformed !== undefined) throw refuse(malformed)
    }
  } finally {
    response.destroy()
  }
}

/** The next text of a stream; undefined once it has ended or broken off. */
async function nextChunk(chunks: AsyncIterator<string>): Promise<string | undefined> {
  try {
    const next = await chunks.next()
    return next.done === true ? undefined : next.value
  } catch {
    return undefined // What comes next is asked for from where this got to.
  }
}

function toEvent({ id, event, data }: EventSourceMessage): ClientEvent {
  try {
    const fields: unknown = JSON.parse(data)
    if (isRecord(fields)) return { id: Number(id), kind: event ?? 'message', data: fields }
  } catch {
    // Said below.
  }
  throw refuse('no JSON object')
}

function refuse(what: string): ConclaveError {
  return new ConclaveError('CODEC_MALFORMED', `the event stream is malformed: ${what}`, {
    hint: 'the node may run another version: compare conclave status and conclave --version',
  })
}

// A function, because the signal changes behind the compiler's back.
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted
}
