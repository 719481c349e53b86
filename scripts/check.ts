// `npm run check`: every gate that needs no running node, two at a time. Exits 1 if any fails.
import { spawn } from 'node:child_process'

interface Gate {
  readonly name: string
  readonly command: readonly [string, ...string[]]
  /** Output without which a zero exit code means that nothing was looked at. */
  readonly proof?: RegExp
}

const GATES_AT_ONCE = 2

const gates: readonly Gate[] = [
  {
    name: 'lint',
    command: ['eslint', '-c', 'scripts/eslint.config.js', 'protocols', 'src', 'test', 'scripts'],
  },
  { name: 'types', command: ['tsc', '-p', '.'] },
  {
    name: 'layers',
    command: [
      'depcruise',
      '--config',
      'scripts/dependency-cruiser.mjs',
      'protocols',
      'src',
      'test',
    ],
    proof: /\b[1-9]\d* modules/,
  },
  { name: 'format', command: ['prettier', '--check', '--log-level', 'warn', '.'] },
  { name: 'dead code', command: ['knip'] },
  { name: 'tidy', command: ['node', 'scripts/tidy.ts'] },
]

async function runGate(gate: Gate): Promise<boolean> {
  const startedAt = performance.now()
  const [program, ...args] = gate.command
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (chunk: string) => (output += chunk))
  }
  const code = await new Promise<number | null>((resolve) => {
    child.on('error', (error) => {
      output += error.message
      resolve(1)
    })
    child.on('close', resolve)
  })
  const looked = gate.proof === undefined || gate.proof.test(output)
  const passed = code === 0 && looked
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  console.log(`${passed ? 'ok  ' : 'FAIL'} ${gate.name.padEnd(10)} ${seconds.padStart(5)} s`)
  if (!looked) console.log(`     it looked at nothing: ${output.trim().slice(-200)}`)
  else if (!passed || /warning/i.test(output)) console.log(output.trimEnd())
  return passed
}

const waiting = [...gates]
const results: boolean[] = []
async function worker(): Promise<void> {
  for (let gate = waiting.shift(); gate !== undefined; gate = waiting.shift()) {
    results.push(await runGate(gate))
  }
}
await Promise.all(Array.from({ length: GATES_AT_ONCE }, worker))
if (results.includes(false)) process.exitCode = 1
