// A clock that tests turn: timers, sleeps, time-outs and immediates of the whole process run in virtual time, one by
// one, so that hours pass in milliseconds and every run is the same. Install it before anything sets a timer.
import { AsyncLocalStorage } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import sleeping from 'node:timers/promises'

/** Whoever sets timers; those of an owner that is dead never fire. */
export interface Owner {
  isDead: boolean
}

interface Entry {
  readonly at: number
  readonly order: number
  readonly owner: Owner | undefined
  run: (() => void) | undefined
}

const { setImmediate: realImmediate, setTimeout: realTimeout } = globalThis

/** Timers by the time at which they are due; a binary heap. */
class Queue {
  readonly #heap: Entry[] = []

  get next(): Entry | undefined {
    return this.#heap[0]
  }

  push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent]!, entry)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = entry
  }

  pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1
      if (isBefore(last, heap[child]!)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }

  clear(): void {
    this.#heap.length = 0
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** The virtual clock of the process. */
export class VirtualTime {
  readonly #owners = new AsyncLocalStorage<Owner | undefined>()
  readonly #queue = new Queue()
  #now = 0
  #order = 0

  /** Milliseconds since the epoch. */
  get now(): number {
    return this.#now
  }

  /** Begins anew: no timer is left. */
  reset(nowMs: number): void {
    this.#queue.clear()
    this.#now = nowMs
  }

  /** Runs something on behalf of an owner: its timers, and those of all it starts, end with the owner. */
  as<Result>(owner: Owner | undefined, run: () => Result): Result {
    return this.#owners.run(owner, run)
  }

  /** Calls back after a while; answers what cancels it. */
  after(ms: number, run: () => void): () => void {
    const entry: Entry = {
      at: this.#now + Math.max(0, Number.isFinite(ms) ? ms : 0),
      order: this.#order++,
      owner: this.#owners.getStore(),
      run,
    }
    this.#queue.push(entry)
    return () => (entry.run = undefined)
  }

  /** Resolves after a while; never for an owner that has died. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  /** Lets time pass until something holds; false if `limitMs` passed before, or nothing can happen any more. */
  async run(holds: () => boolean, limitMs: number): Promise<boolean> {
    const end = this.#now + limitMs
    for (;;) {
      await new Promise<void>((resolve) => realImmediate(resolve))
      if (holds()) return true
      const next = this.#queue.next
      if (next === undefined || next.at > end) return false
      this.#queue.pop()
      const { run, owner } = next
      next.run = undefined
      if (run === undefined || owner?.isDead === true) continue
      this.#now = next.at
      this.#owners.run(owner, run)
    }
  }
}

/** A timer as callers hold it. */
class Timer {
  readonly #cancel: () => void

  constructor(cancel: () => void) {
    this.#cancel = cancel
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return false
  }

  cancel(): void {
    this.#cancel()
  }
}

type Callback = (...args: unknown[]) => void

/** Calls something that needs a real timer: a test runner, to begin. */
export function runOnRealTime(run: () => void): void {
  const virtual = globalThis.setTimeout
  globalThis.setTimeout = realTimeout
  run()
  globalThis.setTimeout = virtual
}

/** Puts the whole process on virtual time, from now on and for good. */
export function installVirtualTime(): VirtualTime {
  const time = new VirtualTime()
  const once = (run: Callback, ms = 0, ...args: unknown[]): Timer =>
    new Timer(time.after(ms, () => run(...args)))
  const every = (run: Callback, ms = 1): Timer => {
    let cancel = (): void => undefined
    const arm = (): void => {
      cancel = time.after(ms, () => {
        arm()
        run()
      })
    }
    arm()
    return new Timer(() => cancel())
  }
  const clear = (timer: unknown): void => {
    if (timer instanceof Timer) timer.cancel()
  }
  const sleep = (ms: number, value: unknown, { signal }: { signal?: AbortSignal } = {}) =>
    new Promise((resolve, reject) => {
      const abort = (): void => {
        cancel()
        reject(signal?.reason as Error)
      }
      const cancel = time.after(ms, () => {
        signal?.removeEventListener('abort', abort)
        resolve(value)
      })
      if (signal?.aborted === true) abort()
      else signal?.addEventListener('abort', abort, { once: true })
    })
  Object.assign(globalThis, {
    setTimeout: once,
    setInterval: every,
    setImmediate: (run: Callback, ...args: unknown[]) => once(run, 0, ...args),
    clearTimeout: clear,
    clearInterval: clear,
    clearImmediate: clear,
  })
  Object.assign(sleeping, { setTimeout: sleep })
  syncBuiltinESMExports()
  AbortSignal.timeout = (ms) => {
    const control = new AbortController()
    time.after(ms, () => control.abort(new DOMException('too late', 'TimeoutError')))
    return control.signal
  }
  Date.now = () => time.now
  return time
}
