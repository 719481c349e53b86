// The library's face of a node: direct messages and groups as objects and async iterables. Floor 3.
import { utf8 } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type {
  Agent,
  GroupFact,
  GroupInfo,
  GroupMessage,
  InboxMessage,
  Role,
  SendOptions,
  SendResult,
} from './types.ts'

/** What may be sent: text (UTF-8) or bytes, at most 60,000 bytes. */
export type Body = string | Uint8Array

/** A received direct message; call `handled` when the agent has dealt with it. */
export interface ReceivedMessage extends Omit<InboxMessage, 'handled'> {
  /** Tells the sender, durably. */
  handled(): Promise<void>
}

/** A group as the library hands it out. PEER arguments as on the command line. */
export interface Group {
  readonly id: string
  readonly name: string
  info(): Promise<GroupInfo>
  /** Adds members, in one commit where it can; they need not be online. */
  invite(
    peers: readonly string[],
    options?: {
      readonly until?: 'joined'
      readonly timeoutMs?: number
      readonly signal?: AbortSignal
    },
  ): Promise<{ readonly epoch: number; readonly added: PeerId[] }>
  remove(peers: readonly string[]): Promise<{ readonly epoch: number; readonly removed: PeerId[] }>
  send(
    body: Body,
    options?: { readonly type?: string },
  ): Promise<{ readonly id: string; readonly epoch: number }>
  /** Messages not yet read, then new ones as they come, each once, until `signal` aborts. */
  messages(options?: { readonly signal?: AbortSignal }): AsyncIterable<GroupMessage>
  rekey(): Promise<{ readonly epoch: number }>
  setRole(peer: string, role: Role): Promise<void>
  leave(): Promise<void>
}

/** A running node, as the library hands it out. */
export interface Node extends AsyncDisposable {
  readonly peerId: PeerId
  readonly did: string
  readonly addresses: string[]
  readonly ticket: string
  readonly direct: {
    /** PEER as on the command line. Without `until`: waits up to 10 s for `delivered`, else says `queued`. */
    send(peer: string, body: Body, options?: SendOptions): Promise<SendResult>
    /** Messages not yet handled, oldest first, then new ones as they come, until `signal` aborts. */
    messages(options?: { readonly signal?: AbortSignal }): AsyncIterable<ReceivedMessage>
  }
  readonly groups: {
    create(name: string): Promise<Group>
    list(): Promise<GroupFact[]>
    /** Finds a group by name, id or unambiguous prefix of an id. */
    get(group: string): Promise<Group>
    /** Accepts an invitation that waits. */
    join(group: string): Promise<Group>
  }
  /** Everything else that the local API offers. */
  readonly agent: Agent
  close(): Promise<void>
}

const toBytes = (body: Body): Uint8Array => (typeof body === 'string' ? utf8(body) : body)

/** Wraps a running agent. Closing the wrapper closes the agent. */
export function wrapAgent(agent: Agent): Node {
  const closed = new AbortController()
  const close = async (): Promise<void> => {
    closed.abort()
    await agent.close()
  }
  const wrapGroup = ({ groupId, name }: GroupFact): Group =>
    makeGroup(agent, groupId, name, closed.signal)
  const find = async (group: string): Promise<Group> => {
    const groupId = await agent.groups.resolve(group)
    const facts = await agent.groups.list()
    const fact = facts.find((one) => one.groupId === groupId)
    return makeGroup(agent, groupId, fact?.name ?? group, closed.signal)
  }
  return {
    peerId: agent.ready.peerId,
    did: agent.ready.did,
    addresses: agent.ready.addresses,
    ticket: agent.ready.ticket,
    direct: {
      send: async (peer, body, options) =>
        agent.direct.send(await agent.resolvePeer(peer), toBytes(body), options),
      messages: (options) => receive(agent, withClose(closed.signal, options?.signal)),
    },
    groups: {
      create: async (name) => wrapGroup(await agent.groups.create(name)),
      list: () => agent.groups.list(),
      get: find,
      join: async (group) => wrapGroup(await agent.groups.join(group)),
    },
    agent,
    close,
    [Symbol.asyncDispose]: close,
  }
}

function makeGroup(agent: Agent, id: string, name: string, closed: AbortSignal): Group {
  const resolveAll = (peers: readonly string[]): Promise<PeerId[]> =>
    Promise.all(peers.map((peer) => agent.resolvePeer(peer)))
  return {
    id,
    name,
    info: () => agent.groups.info(id),
    invite: async (peers, options) => agent.groups.invite(id, await resolveAll(peers), options),
    remove: async (peers) => agent.groups.remove(id, await resolveAll(peers)),
    send: (body, options) => agent.groups.send(id, toBytes(body), options),
    messages: (options) => listen(agent, id, withClose(closed, options?.signal)),
    rekey: () => agent.groups.rekey(id),
    setRole: async (peer, role) => {
      await agent.groups.setRole(id, await agent.resolvePeer(peer), role)
    },
    leave: async () => {
      await agent.groups.leave(id)
    },
  }
}

function withClose(closed: AbortSignal, signal: AbortSignal | undefined): AbortSignal {
  return signal === undefined ? closed : AbortSignal.any([closed, signal])
}

async function* receive(agent: Agent, signal: AbortSignal): AsyncIterable<ReceivedMessage> {
  const wrap = (message: InboxMessage): ReceivedMessage => ({
    ...message,
    handled: async () => {
      await agent.direct.handled([message.id])
    },
  })
  const afterId = agent.events.lastId
  const early = new Set<string>() // read from the inbox, and maybe reported as an event as well
  for (const message of await agent.direct.inbox()) {
    if (signal.aborted) return
    early.add(`${message.from} ${message.id}`)
    yield wrap(message)
  }
  for await (const event of agent.events.follow({ afterId, signal })) {
    if (event.kind !== 'message') continue
    const message = event.data as unknown as InboxMessage
    if (!early.delete(`${message.from} ${message.id}`)) yield wrap(message)
  }
}

async function* listen(agent: Agent, id: string, signal: AbortSignal): AsyncIterable<GroupMessage> {
  const afterId = agent.events.lastId
  yield* await agent.groups.read(id)
  for await (const event of agent.events.follow({ afterId, signal })) {
    if (event.kind === 'group-message' && event.data['groupId'] === id) {
      yield* await agent.groups.read(id)
    }
  }
}
