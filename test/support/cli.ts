// Runs the command line as a user does: real processes, real homes, nothing faked.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname
const NODE_ARGS = ['--disable-warning=ExperimentalWarning', MAIN]

/** One line of `--json` output. */
export type Line = Record<string, unknown>

/** How one command ended. */
export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** The lines of stdout as JSON; call only after `--json`. */
  lines(): Line[]
}

interface RunOptions {
  readonly stdin?: string | Uint8Array
  readonly env?: Readonly<Record<string, string>>
  readonly killAfterMs?: number
}

/** Runs one command to its end. */
export async function conclave(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = spawn(process.execPath, [...NODE_ARGS, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.on('error', () => undefined) // a command that refuses early closes its stdin
  child.stdin.end(options.stdin ?? '')
  const timer = setTimeout(() => child.kill('SIGKILL'), options.killAfterMs ?? 90_000)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  const lines = (): Line[] =>
    stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line)
  return { code, stdout, stderr, lines }
}

/** A running node and its home. */
export class RunningNode {
  readonly home: string
  readonly ready: Line
  readonly process: ChildProcess
  /** What it wrote to stderr so far. */
  log = ''

  constructor(home: string, ready: Line, process: ChildProcess) {
    this.home = home
    this.ready = ready
    this.process = process
  }

  get peerId(): string {
    return String(this.ready['peerId'])
  }

  get ticket(): string {
    return String(this.ready['ticket'])
  }

  /** Runs a command on this node with `--json`; throws unless it exits 0. */
  async run(...args: string[]): Promise<Line[]> {
    const ran = await conclave([...args, '--home', this.home, '--json'])
    if (ran.code !== 0) {
      throw new Error(`${args.join(' ')}: exit ${String(ran.code)}\n${ran.stdout}${ran.stderr}`)
    }
    return ran.lines()
  }

  /** Runs a command on this node with `--json`, whatever its exit code. */
  try(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return conclave([...args, '--home', this.home, '--json'], options)
  }

  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<number | null> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const closed = once(this.process, 'close')
      this.process.kill(signal)
      await closed
    }
    return this.process.exitCode
  }
}

/** Starts `up` on a home and waits for its ready line. */
export async function startNode(home: string, ...args: string[]): Promise<RunningNode> {
  const listen = args.includes('--listen') ? [] : ['--listen', '/ip4/127.0.0.1/tcp/0']
  const child = spawn(
    process.execPath,
    [...NODE_ARGS, 'up', '--home', home, '--json', '--no-mdns', ...listen, ...args],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const ready = await new Promise<Line>((resolve, reject) => {
    createInterface(child.stdout).once('line', (line) => resolve(JSON.parse(line) as Line))
    child.once('close', (code) => reject(new Error(`up: exit ${String(code)}\n${log}`)))
  })
  if (ready['event'] !== 'ready') {
    throw new Error(`up: ${JSON.stringify(ready)}\n${log}`)
  }
  const node = new RunningNode(home, ready, child)
  node.log = log
  child.stderr.on('data', (text: string) => (node.log += text))
  return node
}

/** A folder for homes, and the nodes started in it; disposing ends and removes all. */
export class Bench implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'conclave-'))
  readonly #nodes: RunningNode[] = []

  home(name: string): string {
    return join(this.folder, name)
  }

  async start(name: string, ...args: string[]): Promise<RunningNode> {
    const node = await startNode(this.home(name), ...args)
    this.#nodes.push(node)
    return node
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.end('SIGKILL')))
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Asks again every 100 ms until the answer is true; throws after `timeoutMs`. */
export async function until(
  claim: string,
  ask: () => Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await ask())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${claim}`)
    await delay(100)
  }
}
