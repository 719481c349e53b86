// Direct messages: sessions in memory against libsignal's, the ratchet over both Primitives, and two whole processes
// whose messages are durable on both sides.
import { measureDurable } from './direct-durable.ts'
import { measureDirectMemory } from './direct-memory.ts'
import { measureVersus } from './direct-versus.ts'
import { format, printTable } from './result.ts'
import type { BenchResult } from './result.ts'

const MEASURES = ['OneWay', 'PingPong', 'Setup'] as const

/** The ratchet alone, nothing serialized: native over portable. */
function measurePrimitives(): Record<string, number> {
  const { figures } = measureDirectMemory()
  const of = (name: string): number => figures[name] ?? Number.NaN
  const cell = (name: string): string =>
    `${format(of(name))} (${format(of(`${name}Min`))}–${format(of(`${name}Max`))})`
  const ratios = MEASURES.map((measure) => of(`native${measure}`) / of(`portable${measure}`))
  printTable('our ratchet alone, 256 B, per second: median (least–most)', [
    ['', 'native', 'portable', 'ratio'],
    ...MEASURES.map((measure, i) => [
      measure,
      cell(`native${measure}`),
      cell(`portable${measure}`),
      `${format(ratios[i] ?? Number.NaN)}×`,
    ]),
  ])
  return { ...figures }
}

/** Runs the bench; the ratios are ours over libsignal's. */
export async function run(): Promise<BenchResult> {
  const versus = await measureVersus()
  const primitives = measurePrimitives()
  const durable = await measureDurable()
  return {
    bench: 'direct',
    ratios: versus.ratios,
    figures: { ...versus.figures, ...primitives, ...durable },
  }
}
