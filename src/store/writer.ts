// Group commit: one synchronous batch at a time; what arrives meanwhile shares the next. Floor 1.
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { Change } from './backing.ts'
import { storeError } from './faults.ts'

/** Commits that share one batch at most. */
export const WRITE_BATCH_COMMITS_MAX = 64

interface Waiting {
  readonly changes: readonly Change[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** The single queue of writes. */
export interface Writer {
  /** Queues changes; resolves when they are synced. Batches keep the order of the calls. */
  commit(changes: readonly Change[]): Promise<void>
  /** Refuses new commits and waits for the queued ones. */
  close(): Promise<void>
}

/** Makes a writer over an engine's batch. */
export function makeWriter(write: (changes: readonly Change[]) => Promise<void>): Writer {
  const queue: Waiting[] = []
  let closed = false
  let running: Promise<void> | undefined

  const run = async (): Promise<void> => {
    while (queue.length > 0) {
      const batch = queue.splice(0, WRITE_BATCH_COMMITS_MAX)
      try {
        await write(batch.flatMap(({ changes }) => changes))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        const fault = storeError(error, 'database')
        for (const { reject } of batch) reject(fault)
      }
    }
    running = undefined
  }

  return {
    commit(changes) {
      if (closed) return Promise.reject(new ConclaveError('STATE_CLOSED', 'the store is closed'))
      return new Promise((resolve, reject) => {
        queue.push({ changes, resolve, reject })
        running ??= run()
      })
    },
    async close() {
      closed = true
      await running
    },
  }
}
