// Starts a node in the background and waits until it is ready. Floor 4.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { isRecord, parseError } from './client-errors.ts'

/** Longest first line taken from the node, in characters. */
const LINE_CHARS_MAX = 1_048_576

/**
 * Runs `command` detached, its log in `node.log` of the home, and waits for its first line.
 *
 * @param command - Program and arguments; must print the ready line, or an error object, as JSON.
 * @returns The ready line.
 * @throws ConclaveError what the node said instead, or `STATE_CLOSED` if it ended without a word.
 *   On `signal`, the node is ended and `AbortError` thrown.
 */
export async function startDetached(
  home: string,
  command: readonly [string, ...string[]],
  options: { readonly signal: AbortSignal },
): Promise<Record<string, unknown>> {
  const [program, ...args] = command
  const log = openLog(home)
  const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', log] })
  if (log !== 'ignore') closeSync(log)
  const stop = (): void => void child.kill('SIGTERM')
  options.signal.addEventListener('abort', stop, { once: true })
  try {
    const line = await firstLine(child)
    options.signal.throwIfAborted()
    return readReady(line)
  } finally {
    options.signal.removeEventListener('abort', stop)
    child.stdout?.destroy()
    child.unref()
  }
}

/** The log of the run in the home; none if the home can't be written, which the node says itself. */
function openLog(home: string): number | 'ignore' {
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 })
    return openSync(join(home, 'node.log'), 'w', 0o600)
  } catch {
    return 'ignore'
  }
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      if (text.includes('\n') || text.length > LINE_CHARS_MAX) resolve(text.split('\n')[0] ?? '')
    })
    child.once('error', reject)
    child.once('close', () => resolve(text))
  })
}

function readReady(line: string): Record<string, unknown> {
  try {
    const said: unknown = JSON.parse(line)
    const error = parseError(said)
    if (error !== undefined) throw error
    if (isRecord(said)) return said
  } catch (error) {
    if (error instanceof ConclaveError) throw error
  }
  throw new ConclaveError('STATE_CLOSED', 'the node ended before it was ready', {
    hint: 'node.log in the home says why',
  })
}
