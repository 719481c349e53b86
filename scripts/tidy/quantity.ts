// Quantities as specs write them. Pure.

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  bytes: 1,
  B: 1,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹'

/** Reads `65,536`, `14 d`, `64 KiB`, `2²⁰`; undefined for anything that is not one quantity. */
export function parseQuantity(text: string): number | undefined {
  const power = /^2([⁰¹²³⁴⁵⁶⁷⁸⁹]+)$/.exec(text)?.[1]
  if (power !== undefined) {
    return 2 ** Number(power.replaceAll(/./gu, (digit) => String(SUPERSCRIPTS.indexOf(digit))))
  }
  const match = /^(\d[\d,]*)(?: (\w+))?$/.exec(text)
  const unit = UNITS[match?.[2] ?? '']
  if (match === null || unit === undefined) return undefined
  return Number((match[1] ?? '').replaceAll(',', '')) * unit
}
