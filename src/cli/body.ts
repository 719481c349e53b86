// The body of a message: an argument, or stdin. Floor 5.
import { addAbortSignal } from 'node:stream'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { MESSAGE_BYTES_MAX } from '../api/client-limits.ts'
import type { Invocation } from './command.ts'

/** The body as the API takes it. */
export type Body = { readonly text: string } | { readonly base64: string }

/** Takes the body from the argument at `at`, else from stdin; refuses over 60,000 bytes without reading on. */
export async function bodyOf(
  { args, io }: Invocation,
  at: number,
  { signal }: { readonly signal: AbortSignal },
): Promise<Body> {
  const text = args[at]
  if (text !== undefined) {
    demandFit(Buffer.byteLength(text))
    return { text }
  }
  const chunks: Uint8Array[] = []
  let length = 0
  const stdin = addAbortSignal(signal, io.stdin)
  try {
    for await (const chunk of stdin as AsyncIterable<Uint8Array>) {
      length += chunk.length
      demandFit(length)
      chunks.push(chunk)
    }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  }
  return { base64: Buffer.concat(chunks).toString('base64') }
}

function demandFit(found: number): void {
  if (found <= MESSAGE_BYTES_MAX) return
  throw new ConclaveError('USAGE_MESSAGE_TOO_LARGE', `a body of ${found} bytes or more`, {
    hint: `at most ${MESSAGE_BYTES_MAX} bytes fit in one message`,
    data: { found, allowed: MESSAGE_BYTES_MAX },
  })
}
