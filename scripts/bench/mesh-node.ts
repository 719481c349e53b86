// A node of the mesh bench: the whole program but for its local API, on a home of its own, in this process. It can be
// stopped and started on that home, and notes when messages of a group reached it and when it adopted epochs.
import { join } from 'node:path'
import { utf8 } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { openAgent } from '../../src/node/agent.ts'
import { QUIET_LOG } from '../../src/node/log.ts'
import type { Agent, AgentEvent } from '../../src/node/types.ts'
import { locateHome } from '../../src/store/home.ts'

/** What can reach a node: a message by its id, an epoch by its number. */
export type Thing = `message ${string}` | `epoch ${number}`

/** What a round is about. */
export type Kind = 'message' | 'commit'

/** Says that a thing has reached a node; milliseconds on the clock of `nowMs`. */
export type Arrival = (thing: Thing, atMs: number) => void

/** Milliseconds on a clock that all processes of a machine share. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now()
}

/** One node. */
export class MeshNode {
  readonly #folder: string
  readonly #onArrival: Arrival
  #agent: Agent
  #following: AbortController
  #lastId = 0
  #epoch = 0
  #isUp = true

  private constructor(folder: string, agent: Agent, onArrival: Arrival) {
    this.#folder = folder
    this.#agent = agent
    this.#onArrival = onArrival
    this.#following = this.#follow()
  }

  /** Makes a node in a new home. */
  static async start(folder: string, onArrival: Arrival): Promise<MeshNode> {
    return new MeshNode(folder, await open(folder), onArrival)
  }

  /** Who it is, and what the others need to find it. */
  facts(): { readonly peerId: PeerId; readonly ticket: string } {
    const { peerId, ticket } = this.#agent.ready
    return { peerId, ticket }
  }

  /** Learns of another node. */
  async meet(ticket: string): Promise<void> {
    await this.#agent.resolvePeer(ticket)
  }

  /** Founds the group with one commit; false if not all are in in time. */
  async found(peers: readonly PeerId[], timeoutMs: number): Promise<boolean> {
    const { groups } = this.#agent
    const { groupId } = await groups.create('mesh')
    try {
      await groups.invite(groupId, [...peers], { until: 'joined', timeoutMs })
      return true
    } catch (error) {
      if (error instanceof ConclaveError && error.code === 'STATE_NOT_REACHED') return false
      throw error
    }
  }

  /** True if it is in the group. */
  async isIn(): Promise<boolean> {
    return (await this.#agent.groups.list()).length > 0
  }

  /** Says something, or commits. */
  async cause(kind: Kind): Promise<Thing> {
    const { groups } = this.#agent
    const groupId = await this.#groupId()
    if (kind === 'commit') return `epoch ${(await groups.rekey(groupId)).epoch}`
    return `message ${(await groups.send(groupId, utf8('x'.repeat(256)))).id}`
  }

  /** What only those of one epoch have in common. */
  async authenticator(): Promise<string> {
    return (await this.#agent.groups.info(await this.#groupId())).authenticator
  }

  /** Stops the node; its home stays. */
  async stop(): Promise<void> {
    if (!this.#isUp) return
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

  async #groupId(): Promise<string> {
    const [group] = await this.#agent.groups.list()
    if (group === undefined) throw new Error('the node is in no group')
    return group.groupId
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
    const atMs = nowMs()
    if (kind === 'group-message') this.#onArrival(`message ${String(data['id'])}`, atMs)
    if (kind !== 'group') return
    const epoch = Number(data['epoch'])
    for (let next = this.#epoch + 1; next <= epoch; next++) {
      this.#onArrival(`epoch ${next}`, atMs)
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
