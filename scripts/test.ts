// `npm test [-- FILTER…]`: every test file in its own process, two at a time; sums up what they report.
// The last line is `N passed, N failed, N skipped`. A file that reports nothing, hangs or leaks listeners has failed.
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'

const FILES_AT_ONCE = 2
const FILE_TIMEOUT_MS = 180_000
/** Interop tests compile the other implementation the first time. */
const INTEROP_TIMEOUT_MS = 900_000
/**
 * WebRTC's binary may abort a process in which two hosts use it, in an assertion of its own. Nothing of ours has
 * failed then, so the file is run once more, and the report says so.
 */
const NATIVE_ABORT = /pthread_mutex_lock.*Assertion/

interface Report {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const strip = (text: string): string => text.replaceAll(/\u001b\[\d+m/g, '')
const sum = (text: string, pattern: RegExp): number =>
  [...text.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0)

function read(output: string, code: number | null): Report & { readonly why: string } {
  const text = strip(output)
  const total = sum(text, /^ {2}Total: +(\d+)/gm)
  const passed = sum(text, /^ {2}Passed: +(\d+)/gm)
  const named = [...text.matchAll(/^skipped: /gm)].length
  const skipped = sum(text, /^ {2}Skipped: +(\d+)/gm) + named
  const failed = total - passed
  const counts = { passed, failed, skipped }
  if (code === null) return { ...counts, failed: failed + 1, why: 'did not end in time' }
  if (text.includes('MaxListenersExceededWarning')) {
    return { ...counts, failed: failed + 1, why: 'leaked listeners' }
  }
  if (failed > 0) return { ...counts, why: `${failed} failed` }
  if (code !== 0) return { ...counts, failed: 1, why: `exit code ${code}` }
  if (total + skipped === 0) return { ...counts, failed: 1, why: 'reported no test' }
  return { ...counts, why: '' }
}

async function runFile(file: string, isAgain = false): Promise<Report> {
  const startedAt = performance.now()
  const child = spawn(process.execPath, [file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a group of its own, so that a hanging file takes its children along
    env: { ...process.env, FORCE_COLOR: '0' },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (chunk: string) => (output += chunk))
  }
  const hung = new AbortController()
  const timer = setTimeout(
    () => {
      hung.abort()
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    },
    file.startsWith('test/interop') ? INTEROP_TIMEOUT_MS : FILE_TIMEOUT_MS,
  )
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  clearTimeout(timer)
  if (!isAgain && NATIVE_ABORT.test(output)) {
    console.log(`again            ${file}: the binary of WebRTC aborted`)
    return runFile(file, true)
  }
  const report = read(output, hung.signal.aborted ? null : (code ?? 1))
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const verdict = report.failed === 0 ? 'ok  ' : 'FAIL'
  console.log(`${verdict} ${seconds.padStart(6)} s  ${file}${report.why && `: ${report.why}`}`)
  if (report.failed > 0) console.log(strip(output).trimEnd().slice(-6_000))
  for (const line of strip(output).matchAll(/^skipped: .*$/gm)) console.log(`     ${line[0]}`)
  return report
}

const filters = process.argv.slice(2)
const waiting = globSync('test/**/*.test.ts')
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .sort()
const reports: Report[] = []
async function worker(): Promise<void> {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    reports.push(await runFile(file))
  }
}
await Promise.all(Array.from({ length: FILES_AT_ONCE }, worker))

const total = (key: keyof Report): number => reports.reduce((all, one) => all + one[key], 0)
const failed = reports.length === 0 ? 1 : total('failed')
console.log(`${total('passed')} passed, ${failed} failed, ${total('skipped')} skipped`)
if (failed > 0) process.exitCode = 1
