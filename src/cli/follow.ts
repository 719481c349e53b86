// Following: print what is there, then what comes, each once, until SIGINT or --timeout. Floor 5.
import type { Client } from '../api/client.ts'
import type { Invocation, Row } from './command.ts'
import { timeoutOf } from './command.ts'

/** What to follow. */
export interface Followed {
  readonly kind: string
  /** Reads what is there and was not printed yet. */
  read(client: Client): Promise<readonly Row[]>
  print(row: Row): void
}

/** Reads once, or again at every event when `--follow` was given. */
export async function readOrFollow(invocation: Invocation, followed: Followed): Promise<void> {
  const client = await invocation.client()
  const printed = new Set<string>()
  const readAll = async (): Promise<void> => {
    for (const row of await followed.read(client)) {
      const key = `${String(row['from'])} ${String(row['id'])}`
      if (printed.has(key)) continue
      if (invocation.flags['follow'] === true) printed.add(key)
      followed.print(row)
    }
  }
  if (invocation.flags['follow'] !== true) {
    await readAll()
    return
  }
  const seconds = timeoutOf(invocation)
  const signal =
    seconds === undefined
      ? invocation.io.interrupted
      : AbortSignal.any([invocation.io.interrupted, AbortSignal.timeout(seconds * 1_000)])
  let opened = (): void => undefined
  const standing = new Promise<void>((resolve) => (opened = resolve))
  const events = client.events({ kinds: [followed.kind], signal, onOpen: opened })
  const first = standing.then(readAll)
  try {
    for await (const _ of events) {
      await first
      await readAll()
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  if (!signal.aborted) await first
}
