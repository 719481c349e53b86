// A client of the local API over the node's Unix socket. Floor 4; knows nothing of the node behind it.
import { createParser } from 'eventsource-parser'
import type { EventSourceMessage } from 'eventsource-parser'
import { Agent as Dispatcher, fetch } from 'undici'
import type { Response } from 'undici'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { parseError } from './client-errors.ts'
import { notRunning, readApiFile } from './client-home.ts'
import type { ApiFile } from './client-home.ts'
import { RESPONSE_BYTES_MAX } from './client-limits.ts'

/** Time for a node to accept a connection on its own machine. */
const CONNECT_TIMEOUT_MS = 5_000

/** One request. Undefined query values are left out. */
export interface Call {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: Readonly<Record<string, unknown>>
  readonly signal?: AbortSignal
}

/** One event of the stream. */
export interface ClientEvent {
  readonly id: string
  readonly kind: string
  readonly data: Readonly<Record<string, unknown>>
}

/** A connection to a running node. */
export interface Client extends AsyncDisposable {
  /** What the node's home says of it. */
  readonly api: ApiFile
  /**
   * Makes one request and answers its JSON.
   *
   * @throws ConclaveError what the node answered; `NETWORK_NODE_NOT_RUNNING`; `AbortError` on `signal`.
   */
  call(method: string, path: string, call?: Call): Promise<unknown>
  /** Events after `after` (the newest now, if absent) until `signal` aborts; reconnects without losing one. */
  events(options: {
    readonly kinds: readonly string[]
    readonly after?: string
    readonly signal: AbortSignal
    /** Called each time the stream stands. */
    readonly onOpen?: () => void
  }): AsyncIterable<ClientEvent>
}

/**
 * Connects to the node of a home.
 *
 * @throws ConclaveError `NETWORK_NODE_NOT_RUNNING` if none answers there.
 */
export async function openClient(home: string): Promise<Client> {
  const api = await readApiFile(home)
  if (api === undefined) throw notRunning(home)
  const dispatcher = new Dispatcher({
    connect: { socketPath: api.socket, timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: 0, // a node may take as long as it was asked to wait
    bodyTimeout: 0,
    maxResponseSize: RESPONSE_BYTES_MAX,
  })
  const send = async (
    method: string,
    path: string,
    call: Call,
    headers: Record<string, string>,
  ): Promise<Response> => {
    const url = new URL(path, 'http://localhost')
    for (const [key, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) url.searchParams.set(key, String(value))
    }
    try {
      return await fetch(url, {
        method,
        dispatcher,
        headers: { ...headers, ...(call.body && { 'content-type': 'application/json' }) },
        ...(call.body && { body: JSON.stringify(call.body) }),
        ...(call.signal && { signal: call.signal }),
      })
    } catch (error) {
      if (call.signal?.aborted === true) throw call.signal.reason
      throw notRunning(home, error)
    }
  }
  return {
    api,
    async call(method, path, call = {}) {
      const response = await send(method, path, call, {})
      const value: unknown = await response.json().catch(() => undefined)
      if (response.ok) return value
      throw (
        parseError(value) ??
        new ConclaveError(
          'BUG_INVARIANT',
          `the node answered ${response.status} to ${method} ${path}`,
        )
      )
    },
    async *events({ kinds, after, signal, onOpen }) {
      const headers: Record<string, string> = after === undefined ? {} : { 'last-event-id': after }
      const response = await send(
        'GET',
        '/v1/events',
        { query: { kinds: kinds.join(',') }, signal },
        headers,
      )
      if (!response.ok || response.body === null) {
        throw parseError(await response.json()) ?? notRunning(home)
      }
      onOpen?.()
      yield* parseStream(response.body as AsyncIterable<Uint8Array>, signal)
    },
    [Symbol.asyncDispose]: () => dispatcher.destroy(),
  }
}

async function* parseStream(
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncIterable<ClientEvent> {
  const ready: EventSourceMessage[] = []
  const parser = createParser({ onEvent: (event) => ready.push(event) })
  const decoder = new TextDecoder()
  try {
    for await (const chunk of body) {
      parser.feed(decoder.decode(chunk, { stream: true }))
      for (let event = ready.shift(); event !== undefined; event = ready.shift()) {
        const data = JSON.parse(event.data) as Readonly<Record<string, unknown>>
        yield { id: event.id ?? '', kind: event.event ?? 'message', data }
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
