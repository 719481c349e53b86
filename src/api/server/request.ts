// What several routes do with a request. Floor 4.
import type { FastifyReply } from 'fastify'
import { utf8 } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { ConclaveError } from '../../../protocols/base/errors.ts'
import { WAIT_SECONDS } from '../client-limits.ts'
import type { MessageBody } from '../schema/direct.ts'
import type { TUnsafe } from 'typebox'
import { ERROR_RESULT } from '../schema/events.ts'
import type { ErrorResult } from '../schema/events.ts'

/** Aborts when the client has gone away or the API closes. */
export function signalOf(reply: FastifyReply, closing: AbortSignal): AbortSignal {
  const gone = new AbortController()
  const stop = (): void => gone.abort(closing.reason)
  if (closing.aborted) stop()
  closing.addEventListener('abort', stop, { once: true })
  reply.raw.once('close', () => {
    closing.removeEventListener('abort', stop)
    gone.abort()
  })
  return gone.signal
}

/** The bytes of a message given as text or as base64. */
export function bytesOf({ text, base64 }: MessageBody): Bytes {
  if ((text === undefined) === (base64 === undefined)) {
    throw new ConclaveError('USAGE_ARGUMENT', 'a message has either text or base64', {
      hint: 'give one of the two fields',
    })
  }
  if (text !== undefined) return utf8(text)
  const bytes = Buffer.from(base64 ?? '', 'base64')
  // Node skips what is no base64; a message that was meant otherwise must not go out.
  const plain = (base64 ?? '').replace(/=+$/, '').replaceAll('-', '+').replaceAll('_', '/')
  if (bytes.toString('base64').replace(/=+$/, '') !== plain) {
    throw new ConclaveError('USAGE_ARGUMENT', 'base64 of the body is malformed', {
      hint: 'encode the bytes as RFC 4648 base64, without line breaks',
    })
  }
  return Uint8Array.from(bytes)
}

/** How long to wait: what was asked, or a minute where a state is to be waited for. */
export function timeoutOf(request: { readonly until?: unknown; readonly timeout?: number }): {
  readonly timeoutMs?: number
} {
  const seconds = request.timeout ?? (request.until === undefined ? undefined : WAIT_SECONDS)
  return seconds === undefined ? {} : { timeoutMs: Math.ceil(seconds * 1_000) }
}

/** The description of a route's answers. */
export function answers<T>(ok: TUnsafe<T>): {
  readonly 200: TUnsafe<T>
  readonly default: TUnsafe<ErrorResult>
} {
  return { 200: ok, default: ERROR_RESULT }
}
