// Shows that a wait goes on: one line on the terminal, rewritten, and gone at the end. Floor 5.
import type { Io } from './command.ts'

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
