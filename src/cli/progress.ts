// Shows that a wait goes on: one line on the terminal, rewritten, and gone at the end. Floor 5.
import type { Invocation, Io } from './command.ts'
import { cell } from './text.ts'

/** Waits shorter than this show nothing. */
export const PROGRESS_AFTER_MS = 700
/** How often the line is rewritten. */
export const PROGRESS_EVERY_MS = 500

/**
 * Runs `work`; where a person looks at a terminal and it takes long, shows what `describe` says with the seconds gone.
 * A description that fails is left out: it must not end the work.
 */
export async function withProgress<Result>(
  io: Io,
  describe: () => Promise<string>,
  work: () => Promise<Result>,
): Promise<Result> {
  const { progress } = io
  if (progress === undefined) return work()
  const startedAt = performance.now()
  let isOver = false
  const show = async (): Promise<void> => {
    const text = await describe().catch(() => '')
    if (isOver || text === '') return
    progress(`${text}, ${Math.floor((performance.now() - startedAt) / 1_000)} s`)
  }
  let timer = setTimeout(function next() {
    void show()
    timer = setTimeout(next, PROGRESS_EVERY_MS)
  }, PROGRESS_AFTER_MS)
  try {
    return await work()
  } finally {
    isOver = true
    clearTimeout(timer)
    progress('')
  }
}

/** The line of a group that follows many epochs; empty once it is there. */
export function describeCatchUp(name: string, done: number, of: number): string {
  const count = (number: number): string => number.toLocaleString('en-US')
  return done >= of ? '' : `group ${cell(name)}: ${count(done)} of ${count(of)} epochs`
}

/** What is under way in a group of what begins with `about`, as the node says it; `otherwise` where it says nothing. */
export async function describePending(
  { client }: Pick<Invocation, 'client'>,
  { group, about, otherwise }: { group: string; about: string; otherwise: string },
): Promise<string> {
  const { pending } = await client.group(group)
  return pending.find((fact) => fact.startsWith(`${about}: `)) ?? otherwise
}
