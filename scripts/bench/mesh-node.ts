// A node of the mesh bench: the whole program but for its local API, on a home of its own, in this process. It can be
// stopped and started on that home, and notes when messages of a group reached it and when it adopted epochs.
import { join } from 'node:path'
import type { PeerId } from '../../protocols/base/ids.ts'
import { openAgent } from '../../src/node/agent.ts'
import { QUIET_LOG } from '../../src/node/log.ts'
import type { Agent, AgentEvent } from '../../src/node/types.ts'
import { locateHome } from '../../src/store/home.ts'

/** What can reach a node: a message by its id, an epoch by its number. */
export type Thing = `message ${string}` | `epoch ${number}`

/** Says that a thing has reached a node. */
export type Arrival = (node: MeshNode, thing: Thing, atMs: number) => void

/** One node. */
export class MeshNode {
  readonly peerId: PeerId
  readonly #folder: string
  readonly #onArrival: Arrival
  #agent: Agent
  #following: AbortController
  #lastId = 0
  #epoch = 0
  #isUp = true

  private constructor(folder: string, agent: Agent, onArrival: Arrival) {
    this.peerId = agent.ready.peerId
    this.#folder = folder
    this.#agent = agent
    this.#onArrival = onArrival
    this.#following = this.#follow()
  }

  /** Makes a node in a new home. */
  static async start(folder: string, onArrival: Arrival): Promise<MeshNode> {
    return new MeshNode(folder, await open(folder), onArrival)
  }

  get agent(): Agent {
    return this.#agent
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Stops the node; its home stays. */
  async stop(): Promise<void> {
    this.#isUp = false
    this.#following.abort()
    await this.#agent.close()
  }

  /** Starts it again on its home. */
  async restart(): Promise<void> {
    this.#agent = await open(this.#folder)
    this.#following = this.#follow()
    this.#isUp = true
  }

  #follow(): AbortController {
    const stop = new AbortController()
    const { events } = this.#agent
    const run = async (): Promise<void> => {
      for await (const event of events.follow({ afterId: this.#lastId, signal: stop.signal })) {
        this.#lastId = event.id
        this.#note(event)
      }
    }
    run().catch((error: unknown) => {
      if (!stop.signal.aborted) throw error
    })
    return stop
  }

  #note({ kind, data }: AgentEvent): void {
    const atMs = performance.now()
    if (kind === 'group-message') this.#onArrival(this, `message ${String(data['id'])}`, atMs)
    if (kind !== 'group') return
    const epoch = Number(data['epoch'])
    for (let next = this.#epoch + 1; next <= epoch; next++) {
      this.#onArrival(this, `epoch ${next}`, atMs)
    }
    this.#epoch = Math.max(this.#epoch, epoch)
  }
}

function open(folder: string): Promise<Agent> {
  return openAgent({
    home: locateHome(join(folder, 'home'), undefined),
    key: { kind: 'file' },
    log: QUIET_LOG,
    version: 'bench',
    listen: ['/ip4/127.0.0.1/tcp/0'],
    transports: ['tcp'],
    mdns: false,
    open: true,
  })
}
