// Abort signals: many listeners, ends that do not outlive their job. Floor 1.
import { setMaxListeners } from 'node:events'

/** Makes a signal fit for many listeners; each dial adds a dozen and takes them away. */
export function listenable(signal: AbortSignal): AbortSignal {
  setMaxListeners(Infinity, signal)
  return signal
}

/**
 * Runs `job` with a signal that follows `signals`, until the job ends and no longer: libp2p's TCP ties the signal of
 * a dial to the socket for life, so a time limit on dialling would later cut the connection.
 */
export async function whileRunning<T>(
  signals: readonly AbortSignal[],
  job: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const all = AbortSignal.any([...signals])
  all.throwIfAborted()
  const controller = new AbortController()
  const follow = (): void => controller.abort(all.reason)
  all.addEventListener('abort', follow)
  try {
    return await job(listenable(controller.signal))
  } finally {
    all.removeEventListener('abort', follow)
  }
}

/** Settles as `promise` does, or rejects at once when the signal aborts. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) promise.catch(() => undefined) // nobody waits for it any more
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const cancel = (): void => reject(signal.reason as Error)
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}
