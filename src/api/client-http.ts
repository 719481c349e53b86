// One request to a running node over its Unix socket. Floor 4.
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { parseError } from './client-errors.ts'
import { notRunning, readApiFile } from './client-home.ts'
import { RESPONSE_BYTES_MAX } from './client-limits.ts'

/** One request. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

/**
 * Sends a request and answers the response once its status line is there.
 *
 * @throws ConclaveError `NETWORK_NODE_NOT_RUNNING`, or the error that the node answered; the
 *   reason of `signal` when that aborts.
 */
export async function open(home: string, call: Call): Promise<IncomingMessage> {
  const file = await readApiFile(home)
  if (file === undefined) throw notRunning(home)
  const response = await connect(home, file.socket, call)
  if (response.statusCode === 200) return response
  const answer = await readJson(response, call.signal)
  throw parseError(answer) ?? malformed(`status ${String(response.statusCode)} without an error`)
}

/** Sends a request and answers its JSON. Throws as `open` does. */
export async function send<T>(home: string, call: Call): Promise<T> {
  // The schemas that the answer was written from are the types it is read as.
  return (await readJson(await open(home, call), call.signal)) as T
}

function connect(home: string, socketPath: string, call: Call): Promise<IncomingMessage> {
  const { method, query = {}, body, headers, signal } = call
  const search = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined) search.set(key, String(value))
  }
  const text = body === undefined ? undefined : JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const outgoing = request({
      socketPath,
      method,
      path: search.size === 0 ? call.path : `${call.path}?${search.toString()}`,
      agent: false,
      headers: {
        host: 'localhost',
        ...(text !== undefined && {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
        }),
        ...headers,
      },
      ...(signal !== undefined && { signal }),
    })
    outgoing.once('response', resolve)
    outgoing.once('error', (error) => reject(explain(home, error, signal)))
    outgoing.end(text)
  })
}

function explain(
  home: string,
  error: NodeJS.ErrnoException,
  signal: AbortSignal | undefined,
): Error {
  if (signal?.aborted === true) return signal.reason as Error
  if (['ENOENT', 'ECONNREFUSED', 'ENOTSOCK'].includes(error.code ?? '')) {
    return notRunning(home, error)
  }
  return new ConclaveError('NETWORK_RESET', 'the node ended the connection', {
    hint: 'conclave status shows whether it is still there',
    cause: error,
  })
}

async function readJson(response: IncomingMessage, signal?: AbortSignal): Promise<unknown> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of response as AsyncIterable<Uint8Array>) {
      length += chunk.length
      if (length > RESPONSE_BYTES_MAX) throw malformed(`over ${RESPONSE_BYTES_MAX} bytes`)
      chunks.push(chunk)
    }
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof SyntaxError) throw malformed('not JSON')
    if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') {
      throw new ConclaveError('NETWORK_RESET', 'the node ended the connection', { cause: error })
    }
    throw error
  }
}

function malformed(what: string): ConclaveError {
  return new ConclaveError('CODEC_MALFORMED', `the node's answer is malformed: ${what}`, {
    hint: 'the node may run another version: compare conclave status and conclave --version',
  })
}
