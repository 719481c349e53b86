// Makes a failing script smaller: leaves out what it fails without, faults first, then what agents do (delta debugging).
import type { Outcome } from './play.ts'
import type { Script, Step, StepKind } from './script.ts'

const ACTIONS: ReadonlySet<StepKind> = new Set<StepKind>([
  'say',
  'rekey',
  'add',
  'remove',
  'promote',
  'demote',
  'leave',
])

/** How a script is tried, and for how long. */
export interface ShrinkOptions {
  readonly play: (script: Script) => Promise<Outcome>
  /** True while there is time for another try. */
  readonly mayGoOn: () => boolean
}

/** A script that breaks the same invariant with fewer steps. */
export async function shrink(
  script: Script,
  invariant: string,
  { play, mayGoOn }: ShrinkOptions,
): Promise<Script> {
  let best = script
  const fails = async (steps: readonly Step[]): Promise<boolean> => {
    const candidate = { ...best, steps: inOrder(steps) }
    if ((await play(candidate)).violation?.invariant !== invariant) return false
    best = candidate
    return true
  }
  for (const isChosen of [isFault, isAction]) {
    let chunk = Math.ceil(best.steps.filter(isChosen).length / 2)
    while (chunk >= 1 && mayGoOn()) {
      let from = 0
      for (let all = best.steps.filter(isChosen); from < all.length && mayGoOn();) {
        const others = best.steps.filter((step) => !isChosen(step))
        const left = [...all.slice(0, from), ...all.slice(from + chunk)]
        if (await fails([...others, ...left])) all = left
        else from += chunk
      }
      chunk = chunk === 1 ? 0 : Math.ceil(chunk / 2)
    }
  }
  return best
}

function isAction({ kind }: Step): boolean {
  return ACTIONS.has(kind)
}

function isFault(step: Step): boolean {
  return !isAction(step)
}

function inOrder(steps: readonly Step[]): Step[] {
  return [...steps].sort((a, b) => a.at - b.at)
}
