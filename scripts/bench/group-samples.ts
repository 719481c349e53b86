// Samples of both sides of a bench, and what is made of them.
import { format, printTable, spread } from './result.ts'
import type { Spread } from './result.ts'

/** Who did a piece of work. */
export type Side = 'ours' | 'theirs'

/** Milliseconds of pieces of work, by name. */
export type Samples = Map<string, Record<Side, number[]>>

/** Times a piece of work and keeps what it answers. */
export async function timed<T>(
  samples: Samples,
  name: string,
  side: Side,
  work: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now()
  const value = await work()
  const row = samples.get(name) ?? { ours: [], theirs: [] }
  row[side].push(performance.now() - startedAt)
  samples.set(name, row)
  return value
}

function cell({ median, min, max }: Spread): string {
  return `${format(median)} (${format(min)}–${format(max)})`
}

/** Prints samples; `beside` adds a column to the rows that it names. */
export function showSamples(
  heading: string,
  samples: Samples,
  beside?: { readonly title: string; readonly cells: Readonly<Record<string, string>> },
): void {
  const header = ['ms: median (least–most)', 'ours', 'ts-mls 1.6.4', 'ratio', 'rounds']
  const rows = [beside === undefined ? header : [...header, beside.title]]
  for (const [name, { ours, theirs }] of samples) {
    const [a, b] = [spread(ours), spread(theirs)]
    const ratio = theirs.length === 0 ? '–' : `${format(b.median / a.median)}×`
    const their = theirs.length === 0 ? 'not measured' : cell(b)
    const row = [name, cell(a), their, ratio, String(ours.length)]
    rows.push(beside === undefined ? row : [...row, beside.cells[name] ?? ''])
  }
  printTable(heading, rows)
}

/** Slope of a log-log fit: 1 means linear growth. */
export function exponentOf(points: readonly (readonly [n: number, ms: number])[]): number {
  const logs = points.map(([n, ms]) => [Math.log(n), Math.log(ms)] as const)
  const mean = (at: 0 | 1): number => logs.reduce((sum, log) => sum + log[at], 0) / logs.length
  const [x, y] = [mean(0), mean(1)]
  const cross = logs.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0)
  return cross / logs.reduce((sum, [a]) => sum + (a - x) ** 2, 0)
}
