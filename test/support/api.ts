// A local API over a fake agent, and plain HTTP requests to it.
import { randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startApi } from '../../src/api/server.ts'
import type { ApiOptions, RunningApi } from '../../src/api/server.ts'
import { makeFakeAgent } from './fake-agent.ts'
import type { FakeAgent } from './fake-agent.ts'

/** An answer, its body read whole. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The body as JSON. */
  readonly json: Record<string, unknown>
  /** The `error` object of a refusal. */
  readonly error: Record<string, unknown>
}

interface RequestOptions {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** A running API. Disposing closes it and removes its home. */
export class TestApi implements AsyncDisposable {
  readonly agent: FakeAgent
  readonly home: string
  readonly api: RunningApi
  /** Set once `POST /v1/shutdown` was answered. */
  shutdown = false

  private constructor(agent: FakeAgent, home: string, api: RunningApi) {
    this.agent = agent
    this.home = home
    this.api = api
  }

  static async start(options: Partial<ApiOptions> = {}): Promise<TestApi> {
    const agent = makeFakeAgent()
    const home = options.home ?? mkdtempSync(join(tmpdir(), 'conclave-home-'))
    let started: TestApi | undefined
    const api = await startApi({
      agent,
      home,
      log: silent,
      randomBytes: (count) => randomFillSync(new Uint8Array(count)),
      onShutdown: () => {
        if (started !== undefined) started.shutdown = true
      },
      ...options,
    })
    return (started = new TestApi(agent, home, api))
  }

  /** Sends one request over the Unix socket. */
  ask(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    return ask({ socketPath: this.api.socket }, method, path, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api.close()
    rmSync(this.home, { recursive: true, force: true })
  }
}

/** Drops what is logged. */
export const silent: ApiOptions['log'] = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
}

/** Sends one request to a socket or a port, and reads the answer. */
export async function ask(
  where: { readonly socketPath: string } | { readonly host: string; readonly port: number },
  method: string,
  path: string,
  { body, headers = {} }: RequestOptions = {},
): Promise<Answer> {
  const text =
    body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const length = Buffer.byteLength(text ?? '')
    const json =
      body === undefined ? {} : { 'content-type': 'application/json', 'content-length': length }
    const outgoing = request({
      ...where,
      method,
      path,
      agent: false,
      headers: { ...json, ...headers },
    })
    outgoing.once('response', resolve)
    outgoing.once('error', reject)
    outgoing.end(text)
  })
  let read = ''
  response.setEncoding('utf8')
  for await (const chunk of response as AsyncIterable<string>) read += chunk
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text: read,
    get json() {
      return JSON.parse(read) as Record<string, unknown>
    },
    get error() {
      return (JSON.parse(read) as { error: Record<string, unknown> }).error
    },
  }
}

/** The text of an event stream as it comes. */
export class StreamReader {
  readonly response: IncomingMessage
  text = ''
  ended = false
  readonly #wakers = new Set<() => void>()

  private constructor(response: IncomingMessage) {
    this.response = response
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      this.text += chunk
      for (const wake of this.#wakers) wake()
    })
    response.on('error', () => undefined)
    response.on('close', () => {
      this.ended = true
      for (const wake of this.#wakers) wake()
    })
  }

  static async open(
    socketPath: string,
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<StreamReader> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ socketPath, path, headers, agent: false })
        .once('response', resolve)
        .once('error', reject)
        .end()
    })
    return new StreamReader(response)
  }

  /** Ids of the events so far, with their kinds: `1 message`. */
  get events(): string[] {
    return [...this.text.matchAll(/^id: (\d+)\nevent: (.+)$/gm)].map(
      ([, id = '', kind = '']) => `${id} ${kind}`,
    )
  }

  /** Waits until the text matches; throws after five seconds or when the stream ends. */
  async until(pattern: RegExp): Promise<void> {
    const deadline = AbortSignal.timeout(5_000)
    while (!pattern.test(this.text)) {
      if (this.ended || deadline.aborted) {
        throw new Error(`no ${String(pattern)} in ${this.text.slice(-500)}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 5_000)
        this.#wakers.add(() => {
          clearTimeout(timer)
          resolve()
        })
      })
      this.#wakers.clear()
    }
  }

  close(): void {
    this.response.destroy()
  }
}
