// `npm run bench -- [NAME…] [--json] [options of the bench]`: ratios against named peers, measured in one run.
// `--help` lists the benches and their options.
import { globSync } from 'node:fs'
import { basename } from 'node:path'
import type { Bench, BenchResult } from './bench/result.ts'

const args = process.argv.slice(2)
const known = globSync('scripts/bench/*.ts')
  .map((file) => basename(file, '.ts'))
  .filter((name) => name !== 'result' && !name.includes('-'))
  .sort()
const named = args.filter((arg) => known.includes(arg))
const options = args.filter((arg) => !known.includes(arg) && arg !== '--json')
const stranger = options.find((arg) => !arg.startsWith('--') && !/^[\d,]+$/.test(arg))
if (stranger !== undefined) {
  console.error(`conclave: error: no bench ${stranger}`)
  console.error(`conclave: hint: there are ${known.join(', ')}`)
  process.exit(2)
}

const results: BenchResult[] = []
for (const name of named.length > 0 ? named : known) {
  const { run, usage } = (await import(`./bench/${name}.ts`)) as Bench
  if (args.includes('--help')) console.log(usage === undefined ? name : `${name}  ${usage}`)
  else results.push(await run(options))
}
if (args.includes('--json')) for (const result of results) console.log(JSON.stringify(result))
