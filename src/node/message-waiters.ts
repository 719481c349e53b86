// Those who wait for a message to reach a state. Floor 3.
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { MINUTE_MS, SECOND_MS } from '../../protocols/base/time.ts'
import type { MessageId } from '../../protocols/direct/types.ts'
import type { StateFacts } from './effect-rows.ts'
import type { MessageState, SendOptions, SendResult } from './types.ts'

/** How long `send` waits for `delivered` when nothing was asked. */
export const SEND_WAIT_MS: number = 10 * SECOND_MS
/** How long it waits for a state that was asked for. */
export const UNTIL_WAIT_MS: number = MINUTE_MS

const ORDER: readonly MessageState[] = ['queued', 'stored', 'delivered', 'handled']

/** How far a message got, and how. */
interface Heard extends StateFacts {
  readonly state: MessageState
}

const NO_FACTS: StateFacts = { via: null, copies: null, degraded: false }

/** One who waits. */
export interface Waiting {
  /**
   * Resolves when the message is in the state that `options` ask for, or a later one; where they ask for none, when
   * it is with the recipient or its custodians, or after SEND_WAIT_MS.
   *
   * @throws ConclaveError `STATE_NOT_REACHED` with `id` and `state`, if a state was asked for; `AbortError`.
   */
  reach(to: PeerId, state: MessageState, options: SendOptions): Promise<SendResult>
  /** Stops listening. */
  end(): void
}

interface Listener {
  heard: Heard | undefined
  notify: () => void
}

/** All who wait, by message id. */
export class MessageWaiters {
  readonly #listeners = new Map<MessageId, Set<Listener>>()

  /** Begins to listen, so that nothing is missed between sending and waiting. */
  expect(id: MessageId): Waiting {
    const listener: Listener = { heard: undefined, notify: () => undefined }
    const listeners = this.#listeners.get(id) ?? new Set()
    this.#listeners.set(id, listeners.add(listener))
    return {
      reach: (to, state, options) => reach(listener, { id, to, state }, options),
      end: () => {
        listeners.delete(listener)
        if (listeners.size === 0) this.#listeners.delete(id)
      },
    }
  }

  /** Tells those who wait that a message has got further. */
  report(id: MessageId, heard: Heard): void {
    for (const listener of this.#listeners.get(id) ?? []) {
      listener.heard = heard
      listener.notify()
    }
  }
}

async function reach(
  listener: Listener,
  message: { readonly id: MessageId; readonly to: PeerId; readonly state: MessageState },
  { until, timeoutMs, signal }: SendOptions,
): Promise<SendResult> {
  const target = until ?? 'stored'
  const waitMs = timeoutMs ?? (until === undefined ? SEND_WAIT_MS : UNTIL_WAIT_MS)
  const isSettled = (): boolean => {
    const state = listener.heard?.state ?? message.state
    return hasReached(state, target) || isEnd(state)
  }
  if (!isSettled()) {
    // A timer rather than a timeout signal: thousands of senders may wait at once.
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', settle)
        resolve()
      }
      const timer = setTimeout(settle, waitMs)
      listener.notify = () => {
        if (isSettled()) settle()
      }
      signal?.addEventListener('abort', settle)
      if (signal?.aborted === true) settle()
    })
  }
  const facts = listener.heard ?? factsOf(message.state)
  const { state, via, copies, degraded } = facts
  if (!isSettled()) signal?.throwIfAborted()
  if (until !== undefined && !hasReached(state, target)) throw notReached(message.id, state, target)
  return { id: message.id, to: message.to, state, via, copies, degraded }
}

/** What is known of a message that was sent before. */
function factsOf(state: MessageState): Heard {
  const isThere = state === 'delivered' || state === 'handled'
  return { ...NO_FACTS, state, via: isThere ? 'direct' : null }
}

function hasReached(state: MessageState, target: MessageState): boolean {
  return state === target || (ORDER.includes(state) && ORDER.indexOf(state) > ORDER.indexOf(target))
}

function isEnd(state: MessageState): boolean {
  return state === 'expired' || state === 'failed' || state === 'handled'
}

function notReached(id: MessageId, state: MessageState, target: MessageState): ConclaveError {
  const isOver = state === 'expired' || state === 'failed'
  return new ConclaveError('STATE_NOT_REACHED', `the message is ${state}, not ${target}`, {
    hint: isOver
      ? 'it will not be delivered any more: send it again if it still matters'
      : 'do not send it again: delivery goes on; conclave outbox shows it',
    data: { id, state },
  })
}
