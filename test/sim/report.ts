// What many runs amount to.
import type { Outcome } from './play.ts'
import type { Tally } from './ledger.ts'

/** One run with its rate of loss. */
export interface Played {
  readonly seed: number
  readonly lossPercent: number
  readonly outcome: Outcome
}

/** How long members took to be together again, ascending. */
export function healsOf(runs: readonly Played[]): number[] {
  return runs.flatMap(({ outcome }) => outcome.healMs ?? []).sort((a, b) => a - b)
}

/** The figures of many runs as lines of text. */
export function reportOf(runs: readonly Played[]): string[] {
  const sum = (key: keyof Tally): number =>
    runs.reduce((total, { outcome }) => total + outcome.tally[key], 0)
  const heals = healsOf(runs)
  const settles = runs.flatMap(({ outcome }) => outcome.settledMs ?? []).sort((a, b) => a - b)
  const failed = runs.filter(({ outcome }) => outcome.violation !== undefined)
  const keys: readonly (readonly [string, keyof Tally])[] = [
    ['commits', 'commits'],
    ['forks', 'forks'],
    ['followed', 'follows'],
    ['own commits resumed', 'resumes'],
    ['resyncs', 'resyncs'],
    ['messages sealed again', 'salvaged'],
    ['joins', 'joins'],
    ['crashes', 'crashes'],
    ['restored backups', 'restores'],
    ['misdeeds', 'misdeeds'],
    ['replays', 'replays'],
    ['final, and lost', 'unsettled'],
  ]
  return [
    `${runs.length} runs, ${failed.length} failed`,
    ...keys.map(([name, key]) => `${name.padEnd(24)}${sum(key)}`),
    `${'heal time p50, p99, max'.padEnd(24)}${[0.5, 0.99, 1].map((share) => secondsAt(heals, share)).join(', ')}`,
    `${'all done p50, p99, max'.padEnd(24)}${[0.5, 0.99, 1].map((share) => secondsAt(settles, share)).join(', ')}`,
    ...[0, 10, 20, 30].map((percent) => {
      const some = runs.filter(({ lossPercent }) => lossPercent === percent)
      const apart = some.filter(({ outcome }) => outcome.violation?.invariant === 'convergence')
      const title = `permanent forks at ${percent} %`
      return `${title.padEnd(24)}${apart.length} of ${some.length}`
    }),
    ...byInvariant(failed),
  ]
}

/** The value below which a share of them lies. */
export function quantile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
}

function secondsAt(sorted: readonly number[], share: number): string {
  const value = quantile(sorted, share)
  return value === undefined ? '–' : `${(value / 1_000).toFixed(2)} s`
}

function byInvariant(failed: readonly Played[]): string[] {
  const seeds = new Map<string, number[]>()
  for (const { seed, outcome } of failed) {
    const name = outcome.violation?.invariant ?? ''
    seeds.set(name, [...(seeds.get(name) ?? []), seed])
  }
  return [...seeds].map(([name, list]) => `${name.padEnd(24)}seeds ${list.slice(0, 20).join(' ')}`)
}
