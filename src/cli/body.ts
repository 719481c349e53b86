// The body of a message: an argument, or stdin. Floor 5.
import { ConclaveError } from '../../protocols/base/errors.ts'
import { MESSAGE_BYTES_MAX } from '../api/client-limits.ts'
import type { Invocation, Row } from './command.ts'

/** The body as the API takes it; refuses more than 60,000 bytes without reading on. */
export async function bodyOf({ args, io }: Invocation, at: number): Promise<Row> {
  const text = args[at]
  if (text !== undefined) {
    demandFit(Buffer.byteLength(text))
    return { text }
  }
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array)
    length += bytes.length
    demandFit(length)
    chunks.push(bytes)
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
