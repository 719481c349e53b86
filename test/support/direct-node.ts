// Nodes with direct messages alone, over real hosts on loopback, that can be stopped and started on the same rows.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { utf8 } from '../../protocols/base/bytes.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import type { Host } from '../../src/host/types.ts'
import { openDirect } from '../../src/node/direct.ts'
import type { Direct, DirectOptions } from '../../src/node/direct.ts'
import { openEventLog } from '../../src/node/events.ts'
import type { EventLog } from '../../src/node/events.ts'
import { QUIET_LOG } from '../../src/node/log.ts'
import type { AgentEvent } from '../../src/node/types.ts'
import type { Store } from '../../src/store/types.ts'
import { startHost } from './hosts.ts'
import type { Name } from './hosts.ts'
import { memoryStore } from './store.ts'

/** Ed25519 seeds are 32 times these octets. */
export const SEEDS: Readonly<Record<Name, number>> = {
  alice: 1,
  bob: 2,
  carol: 3,
  mallory: 4,
  rita: 5,
  max: 6,
}

/** A node under test. */
export interface DirectNode extends Direct {
  readonly host: Host
  /** What the store in memory holds, for a restart; empty over another store. */
  readonly rows: Map<string, Bytes>
  readonly store: Store
  readonly events: EventLog
  /** Stops everything but the rows, which `rows` still holds. */
  stop(): Promise<void>
  /** Events so far. */
  logged(kind?: AgentEvent['kind']): Promise<AgentEvent[]>
}

/** What is there before the node begins to listen. */
export interface PreparedParts {
  readonly host: Host
  readonly store: Store
  readonly events: EventLog
}

/** What tests change. */
export interface DirectNodeOptions extends Partial<DirectOptions> {
  /** The rows of an earlier node: a restart. */
  readonly rows?: Map<string, Bytes>
  readonly listen?: string[]
  /** Called before the node begins to listen. */
  readonly prepare?: (direct: Direct, parts: PreparedParts) => void | Promise<void>
}

/** Starts a node; its store is in memory unless one is given. */
export async function startDirect(
  name: Name,
  options: DirectNodeOptions = {},
): Promise<DirectNode> {
  const { rows, listen, prepare, ...rest } = options
  const held = rows ?? new Map<string, Bytes>()
  const store = options.store ?? memoryStore(held)
  const host = options.host ?? (await startHost(name, listen === undefined ? {} : { listen }))
  const events = await openEventLog(store)
  try {
    const direct = await openDirect({
      host,
      store,
      primitives: native,
      random: randomBytes,
      now: (): TimeMs => toTimeMs(Date.now()),
      events,
      secret: new Uint8Array(32).fill(SEEDS[name]),
      open: false,
      regressed: false,
      log: QUIET_LOG,
      ...rest,
    })
    await prepare?.(direct, { host, store, events })
    await direct.start()
    return running(direct, { host, store, events }, held)
  } catch (error) {
    await host.close()
    throw error
  }
}

function running(
  direct: Direct,
  { host, store, events }: PreparedParts,
  held: Map<string, Bytes>,
): DirectNode {
  return {
    ...direct,
    host,
    rows: held,
    store,
    events,
    async stop() {
      await direct.close()
      await host.close()
      await store.close()
    },
    async logged(kind) {
      const found: AgentEvent[] = []
      if (events.lastId === 0) return found
      const stop = new AbortController()
      for await (const event of events.follow({ afterId: 0, signal: stop.signal })) {
        if (kind === undefined || event.kind === kind) found.push(event)
        if (event.id === events.lastId) stop.abort()
      }
      return found
    },
  }
}

/** Lets each node know where the other listens. */
export async function introduce(...nodes: readonly DirectNode[]): Promise<void> {
  for (const one of nodes) {
    for (const other of nodes) {
      if (one === other) continue
      await one.host.addAddresses(other.host.peerId, other.host.addresses(), { trusted: true })
    }
  }
}

/** Waits until something holds, or fails after `timeoutMs`. */
export async function until(
  claim: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 15_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${claim}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** The texts in a node's inbox, oldest first. */
export async function texts(node: DirectNode): Promise<(string | undefined)[]> {
  return (await node.messages.inbox()).map(({ text }) => text)
}

/** Text as a body. */
export const say = (text: string): Bytes => utf8(text)
