// Runs a state machine: compute, persist, perform, wipe. Floor 2; knows no protocol and no handler.
import { wipe } from '../protocols/base/bytes.ts'
import type { Bytes } from '../protocols/base/bytes.ts'
import type { Step } from '../protocols/base/step.ts'
import type { Op, Store } from './store/types.ts'

/** Events that share one commit at most; bounds both latency and the size of a batch. */
export const EVENTS_PER_COMMIT_MAX = 128

/** What the driver needs to know of a machine. */
export interface Machine<State, Event, Effect> {
  /** Reads the saved state; called at the first event and again after a failed commit. */
  readonly load: () => Promise<State>
  /** Pure; a throw refuses the event and leaves the state untouched. */
  readonly step: (state: State, event: Event) => Step<State, Effect>
  /** The rows that make one step durable. Called synchronously, in order, before the commit. */
  readonly rows: (before: State, after: State, effects: readonly Effect[]) => readonly Op[]
  /** Rows that follow from the state alone: called once a commit, with the states before and after all its steps. */
  readonly stateRows?: (before: State, after: State) => readonly Op[]
  /** Starts an effect after its step is durable. Must not throw; what it learns comes back as an event. */
  readonly perform: (effect: Effect) => void
  /** Secrets that nothing needs once the step is durable. */
  readonly wipes?: (effects: readonly Effect[]) => readonly Bytes[]
}

/** One machine with its queue: one event at a time, many events a commit. */
export interface Driver<State, Event> {
  /**
   * Queues an event; resolves once its step is durable and its effects are started.
   *
   * @throws what `step` threw, or what the store threw for the whole commit.
   */
  dispatch(event: Event): Promise<void>
  /** The durable state, loading it if need be. */
  state(): Promise<State>
}

interface Waiting<Event> {
  readonly event: Event
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Makes a driver for one machine over a store. */
export function drive<State, Event, Effect>(
  store: Pick<Store, 'commit'>,
  machine: Machine<State, Event, Effect>,
): Driver<State, Event> {
  let state: { readonly value: State } | undefined
  let loading: Promise<State> | undefined
  let running = false
  const queue: Waiting<Event>[] = []

  const load = async (): Promise<State> => {
    if (state !== undefined) return state.value
    loading ??= machine.load().finally(() => (loading = undefined))
    const value: State = await loading
    state ??= { value }
    return state.value
  }

  const runBatch = async (): Promise<void> => {
    const batch = queue.splice(0, EVENTS_PER_COMMIT_MAX)
    const accepted: Waiting<Event>[] = []
    const effects: Effect[] = []
    const ops: Op[] = []
    try {
      const before: State = await load()
      let next = before
      for (const waiting of batch) {
        try {
          const [after, caused] = machine.step(next, waiting.event)
          ops.push(...machine.rows(next, after, caused))
          effects.push(...caused)
          accepted.push(waiting)
          next = after
        } catch (error) {
          waiting.reject(error)
        }
      }
      ops.push(...(machine.stateRows?.(before, next) ?? []))
      if (ops.length > 0) await store.commit(ops)
      state = { value: next }
    } catch (error) {
      state = undefined // what reached the disk is unknown: read it again
      for (const waiting of batch) waiting.reject(error)
      return
    }
    for (const effect of effects) machine.perform(effect)
    if (machine.wipes !== undefined) wipe(...machine.wipes(effects))
    for (const waiting of accepted) waiting.resolve()
  }

  const run = async (): Promise<void> => {
    running = true
    await endOfTurn() // events that came together share a commit from the first one on
    while (queue.length > 0) await runBatch()
    running = false
  }

  return {
    dispatch(event) {
      return new Promise<void>((resolve, reject) => {
        queue.push({ event, resolve, reject })
        if (!running) void run()
      })
    },
    state: load,
  }
}

/** Resolves once every promise reaction that is due now has run: sooner than any timer or I/O. */
function endOfTurn(): Promise<void> {
  return new Promise((resolve) => queueMicrotask(() => process.nextTick(resolve)))
}
