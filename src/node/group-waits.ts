// Waiting for a group. Floor 3.
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { RunningGroup } from './running-group.ts'

/** Waits until `isReached` answers true; what it throws, too. */
export function until(
  group: RunningGroup,
  signal: AbortSignal,
  isReached: () => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      stop()
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    const onAbort = (): void => {
      const isTimeout = (signal.reason as Error | undefined)?.name === 'TimeoutError'
      const timeout = new ConclaveError('STATE_TIMEOUT', 'the group did not get there in time', {
        hint: 'it goes on by itself: conclave group info GROUP shows what is pending',
      })
      finish(() => reject(isTimeout ? timeout : (signal.reason as Error)))
    }
    const look = (): void => {
      try {
        if (isReached()) finish(resolve)
        else if (group.isClosed) throw new ConclaveError('STATE_CLOSED', 'the node is closing')
        else if (signal.aborted) onAbort()
      } catch (error) {
        finish(() => reject(error instanceof Error ? error : new Error(String(error))))
      }
    }
    const stop = group.watch(look)
    signal.addEventListener('abort', onAbort)
    look()
  })
}
