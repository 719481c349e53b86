// Finds a running node by the `api.json` in its home. Floor 4.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { isRecord } from './client-errors.ts'

/** What `api.json` says; nothing of it is secret. */
export interface ApiFile {
  readonly socket: string
  readonly pid: number
  /** Of the TCP listener, if there is one. */
  readonly url?: string
}

const POLL_MS = 50

/** Reads `api.json`; undefined if there is none, or nothing that a node wrote. */
export async function readApiFile(home: string): Promise<ApiFile | undefined> {
  try {
    const file: unknown = JSON.parse(await readFile(join(home, 'api.json'), 'utf8'))
    if (!isRecord(file)) return undefined
    const { socket, pid, url } = file
    if (typeof socket !== 'string' || typeof pid !== 'number') return undefined
    return { socket, pid, ...(typeof url === 'string' && { url }) }
  } catch {
    return undefined
  }
}

/** The error of a command that needs a node where none answers. */
export function notRunning(home: string, cause?: unknown): ConclaveError {
  return new ConclaveError('NETWORK_NODE_NOT_RUNNING', `no node is running on ${home}`, {
    hint: 'start one: conclave up',
    cause,
  })
}

/** Waits until a node has closed: its `api.json` is gone, or another's, and its process has ended. */
export async function waitUntilClosed(
  home: string,
  { pid }: ApiFile,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  while ((await readApiFile(home))?.pid === pid || (await isAlive(pid))) {
    await delay(POLL_MS, undefined, options)
  }
}

async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  // A process that has ended but that its parent never asked about still has its id.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return !/\) Z/.test(stat)
}
