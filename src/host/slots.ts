// A bound on how many things happen at once. Floor 1.

/** Lets `capacity` jobs run at a time; the others wait in order. */
export class Slots {
  #free: number
  readonly #waiting: ((place: undefined) => void)[] = []

  constructor(capacity: number) {
    this.#free = capacity
  }

  /** Runs `job` once there is room; rejects with the signal's reason if it aborts before that. */
  async use<T>(job: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    if (this.#free > 0) this.#free -= 1
    else await this.#wait(signal)
    try {
      return await job()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free += 1
      else next(undefined)
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>()
    const leave = (): void => {
      const place = this.#waiting.indexOf(resolve)
      if (place === -1) return // the place has been given already
      this.#waiting.splice(place, 1)
      reject(signal.reason as Error)
    }
    this.#waiting.push(resolve)
    signal.addEventListener('abort', leave, { once: true })
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }
}
