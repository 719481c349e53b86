// The processes of the mesh bench, and the nodes in them, as the bench sees them.
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Thing } from './mesh-node.ts'
import type { NodeCall, Order, Report, Usage } from './mesh-process.ts'

/** How long a process may take to stop its nodes. */
const STOP_MS = 20_000

/** A node in another process. */
export interface RemoteNode {
  readonly index: number
  readonly peerId: PeerId
  readonly ticket: string
  call(call: NodeCall, ...args: readonly unknown[]): Promise<unknown>
}

/** Says that a thing has reached the node of that index. */
export type CrewArrival = (index: number, thing: Thing, atMs: number) => void

/** Some processes with some nodes each. */
export class Crew implements AsyncDisposable {
  readonly nodes: RemoteNode[] = []
  readonly #processes: Process[]
  readonly #folder: string = mkdtempSync(join(tmpdir(), 'conclave-bench-'))

  constructor(count: number, onArrival: CrewArrival) {
    this.#processes = Array.from({ length: count }, () => new Process(onArrival))
  }

  /** Starts so many nodes, one at a time in each process. */
  async start(count: number): Promise<void> {
    const turns = this.#processes.map(async (process, at) => {
      for (let index = at; index < count; index += this.#processes.length) {
        const folder = join(this.#folder, String(index))
        const facts = await process.order(index, 'start', [folder])
        this.nodes[index] = {
          ...(facts as Pick<RemoteNode, 'peerId' | 'ticket'>),
          index,
          call: (call, ...args) => process.order(index, call, args),
        }
      }
    })
    await Promise.all(turns)
  }

  /** What all processes have used so far. */
  async usage(): Promise<Usage> {
    const parts = this.#processes.map((process) => process.order(-1, 'usage', []))
    const all = (await Promise.all(parts)) as Usage[]
    const sum = (of: (one: Usage) => number): number =>
      all.reduce((total, one) => total + of(one), 0)
    return {
      cpuMs: sum(({ cpuMs }) => cpuMs),
      mostMiB: sum(({ mostMiB }) => mostMiB),
      loose: all.flatMap(({ loose }) => loose),
    }
  }

  /** Ends all at once. */
  kill(): void {
    for (const process of this.#processes) process.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.end()))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

class Process {
  readonly #child: ChildProcess = fork(new URL('mesh-process.ts', import.meta.url), {
    stdio: 'inherit',
  })
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0

  constructor(onArrival: CrewArrival) {
    this.#child.on('message', (report: Report) => {
      if ('thing' in report) onArrival(report.node, report.thing, report.atMs)
      else this.#take(report)
    })
    this.#child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('a process has ended'))
      this.#waiting.clear()
    })
  }

  order(node: number, call: Order['call'], args: readonly unknown[]): Promise<unknown> {
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, node, call, args } satisfies Order, (error) => {
        if (error === null || !this.#waiting.delete(id)) return
        reject(error)
      })
    })
  }

  /** Lets it stop its nodes, and ends it if that takes too long. */
  async end(): Promise<void> {
    const child = this.#child
    if (this.#isOver()) return
    const ended = once(child, 'exit')
    if (child.connected) child.disconnect()
    await Promise.race([ended, sleep(STOP_MS, undefined, { ref: false })])
    if (this.#isOver()) return
    child.kill('SIGKILL')
    await ended
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #isOver(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  #take({ id, value, error }: Extract<Report, { id: number }>): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(value)
    else waiting?.reject(new Error(error))
  }
}
