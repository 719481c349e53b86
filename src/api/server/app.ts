// The HTTP application: routes, validation, errors, description. One for each listener. Floor 4.
import swagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { fastify } from 'fastify'
import type { FastifyReply } from 'fastify'
import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { ConclaveError } from '../../../protocols/base/errors.ts'
import { nearest } from '../../../protocols/base/nearest.ts'
import { formatError, toConclaveError } from '../client-errors.ts'
import { REQUEST_BYTES_MAX } from '../client-limits.ts'
import { addContactRoutes } from '../routes/contacts.ts'
import { addDirectRoutes } from '../routes/direct.ts'
import { addEventRoutes } from '../routes/events.ts'
import { addGroupRoutes } from '../routes/groups.ts'
import { addMemberRoutes } from '../routes/members.ts'
import { addNodeRoutes } from '../routes/node.ts'
import type { ApiContext, App } from './context.ts'
import type { Guard } from './guard.ts'
import { statusOf } from './status-codes.ts'
import { compileCheck } from './validate.ts'

/* Implementation constants: ours to tune. */
const HEADER_BYTES_MAX = 32_768
const HEADERS_TIMEOUT_MS = 10_000
/** For a request to arrive whole; its answer may take as long as it was asked to wait. */
const REQUEST_TIMEOUT_MS = 30_000
const KEEP_ALIVE_MS = 5_000
const CONNECTIONS_MAX = 256
const PARAMETER_MAX = 16_384

/** Certificate and key of a TLS listener, as PEM. */
export interface TlsPair {
  readonly cert: string
  readonly key: string
}

/** Builds an application; it listens nowhere yet. */
export async function buildApp(
  context: ApiContext,
  options: { readonly guard?: Guard; readonly tls?: TlsPair } = {},
): Promise<App> {
  const app: App = fastify({
    serverFactory: (handler) => makeServer(handler, options.tls),
    bodyLimit: REQUEST_BYTES_MAX,
    routerOptions: { maxParamLength: PARAMETER_MAX },
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    clientErrorHandler: refuseConnection,
    frameworkErrors: (error, _request, reply) => void answerError(context, error, reply),
  }).withTypeProvider<TypeBoxTypeProvider>()
  app.setValidatorCompiler(compileCheck)
  // Answers go out as they are: a schema that filters would hide what it doesn't know yet.
  app.setSerializerCompiler(() => (answer) => JSON.stringify(answer))
  const { guard } = options
  if (guard !== undefined) {
    app.addHook('onRequest', (request, _reply, done) => {
      guard(request)
      done()
    })
  }
  acceptEmptyBodies(app)
  app.setErrorHandler((error, _request, reply) => answerError(context, error, reply))
  const paths: string[] = []
  app.addHook('onRoute', (route) => void paths.push(route.url))
  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?')
    const near = nearest(path, paths)
    const hint = near === undefined ? 'GET /v1/openapi.json lists every route' : `nearest: ${near}`
    const said = `no route ${request.method} ${path.slice(0, 200)}`
    return answerError(context, new ConclaveError('USAGE_NOT_FOUND', said, { hint }), reply)
  })
  await describe(app)
  addNodeRoutes(app, context)
  addDirectRoutes(app, context)
  addContactRoutes(app, context)
  addGroupRoutes(app, context)
  addMemberRoutes(app, context)
  addEventRoutes(app, context)
  await app.ready()
  return app
}

/** Answers what is not even HTTP, or came too slowly, and hangs up. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const said = new ConclaveError(
    'USAGE_ARGUMENT',
    late ? 'the request took too long to arrive' : 'the request is not HTTP/1.1 within its limits',
    { hint: `headers may have ${HEADER_BYTES_MAX} bytes` },
  )
  const body = JSON.stringify(formatError(said))
  const head = [
    'HTTP/1.1 400 Bad Request',
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

function makeServer(handler: RequestListener, tls: TlsPair | undefined): Server {
  const limits = {
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
  }
  const server =
    tls === undefined
      ? createServer(limits, handler)
      : createTlsServer({ ...limits, ...tls, minVersion: 'TLSv1.3' }, handler)
  server.maxConnections = CONNECTIONS_MAX
  return server
}

/** A body that is absent or empty is one without fields. */
function acceptEmptyBodies(app: App): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser(['text/plain', 'application/json'])
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else void parse(request, body as string, done)
  })
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.method !== 'GET') request.body ??= {}
    done()
  })
}

async function describe(app: App): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'conclave local API',
        description: 'One running node, for the agent that it belongs to.',
        version: '1.0.0',
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    },
  })
  app.get('/v1/openapi.json', { schema: { hide: true } }, () => app.swagger())
}

function answerError(context: ApiContext, thrown: unknown, reply: FastifyReply): FastifyReply {
  const error = translate(context, thrown)
  if (error.family === 'BUG') {
    context.log.error({ err: thrown }, 'a request failed in a way that it should not')
  }
  const status = statusOf(error)
  if (status === 401) void reply.header('www-authenticate', 'Bearer')
  return reply.code(status).type('application/json; charset=utf-8').send(formatError(error))
}

/** Errors of the framework get codes of ours; those of the node have theirs. */
function translate(context: ApiContext, thrown: unknown): ConclaveError {
  if (thrown instanceof ConclaveError) return thrown
  const { code, statusCode, message, name } = thrown as Error & {
    readonly code?: string
    readonly statusCode?: number
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new ConclaveError(
      'USAGE_BODY_TOO_LARGE',
      `the body has more than ${REQUEST_BYTES_MAX} bytes`,
      { hint: 'send less in one request' },
    )
  }
  if (name === 'AbortError') {
    const said = context.closing.aborted ? 'the node is closing' : 'the request was cut off'
    return new ConclaveError('STATE_CLOSED', said, { hint: 'try again', cause: thrown })
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new ConclaveError('USAGE_ARGUMENT', message, {
      hint: 'send a JSON object with content-type: application/json',
    })
  }
  return toConclaveError(thrown)
}
