// Following: what is there, then what comes, each once, until SIGINT or a --timeout that was given. Floor 5.
import type { ClientEvent } from '../api/client-events.ts'
import { numberOf } from './command.ts'
import type { Invocation } from './command.ts'

/** A message by which repeats are known: ids are the sender's. */
interface Identified {
  readonly id: string
  readonly from: string
}

/** What to follow. */
export interface Followed<T extends Identified> {
  readonly kind: 'message' | 'request' | 'group-message'
  /** Of one sender only, in any PEER form. */
  readonly from?: string | undefined
  /** Of one group only, in any GROUP form. */
  readonly group?: string | undefined
  /** Reads what is there. */
  readonly read: (signal: AbortSignal) => Promise<readonly T[]>
  /** Handles messages in their order, once each; false when enough of them came. */
  readonly take: (messages: readonly T[], signal: AbortSignal) => Promise<boolean>
  /** What an event brings; its own message unless stated otherwise. */
  readonly onEvent?: (event: ClientEvent, signal: AbortSignal) => Promise<readonly T[]>
}

/**
 * Reads, then follows. The stream stands before anything is read, so nothing falls in between; what is in both
 * is taken once.
 */
export async function follow<T extends Identified>(
  invocation: Invocation,
  followed: Followed<T>,
): Promise<void> {
  const signal = lifetime(invocation)
  const { kind, from, group, take } = followed
  const onEvent =
    followed.onEvent ??
    // An event's data has the fields of the matching result.
    (({ data }): Promise<T[]> => Promise.resolve([data as unknown as T]))
  try {
    const events = await invocation.client.follow({ kinds: [kind], from, group, signal })
    const there = await followed.read(signal)
    const early = new Set(there.map(keyOf))
    if (!(await take(there, signal))) return
    for await (const event of events) {
      const fresh = (await onEvent(event, signal)).filter((one) => !early.delete(keyOf(one)))
      if (!(await take(fresh, signal))) return
    }
  } catch (error) {
    if (!signal.aborted) throw error // To be told to stop is how following ends well.
  }
}

function lifetime(invocation: Invocation): AbortSignal {
  const { interrupted } = invocation.io
  const seconds = numberOf(invocation, 'timeout')
  if (seconds === undefined) return interrupted
  return AbortSignal.any([interrupted, AbortSignal.timeout(Math.ceil(seconds * 1_000))])
}

function keyOf({ from, id }: Identified): string {
  return `${from} ${id}`
}
