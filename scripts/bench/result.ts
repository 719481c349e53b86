// What a bench answers, and how its table is printed.

/** One bench's outcome; a ratio above 1 means that conclave is faster than the peer it is measured against. */
export interface BenchResult {
  readonly bench: string
  readonly ratios: Readonly<Record<string, number>>
  readonly figures: Readonly<Record<string, number>>
}

/** A file in this folder. */
export interface Bench {
  /** One line about it and its options, for `--help`. */
  readonly usage?: string
  readonly run: (options: readonly string[]) => Promise<BenchResult>
}

/** Median, least and greatest of some samples. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Sums up at least one sample. */
export function spread(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (index: number): number => sorted[index] ?? Number.NaN
  const middle = Math.floor(sorted.length / 2)
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2
  return { median, min: at(0), max: at(sorted.length - 1) }
}

/** The sample below which `share` (0 to 1) of them lie. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** Formats a number with three significant digits. */
export function format(value: number): string {
  if (!Number.isFinite(value)) return '–'
  return Math.abs(value) >= 100
    ? Math.round(value).toLocaleString('en')
    : String(Number(value.toPrecision(3)))
}

/** Prints rows under a heading, columns aligned. */
export function printTable(heading: string, rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  console.log(`\n${heading}`)
  for (const row of rows) {
    console.log(
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
  }
}
