// An agent in memory: the port that the local API serves, without a network. A fake, not a mock: it keeps state.
import { formatHex, parseUtf8 } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { parsePeerId, peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type {
  Agent,
  AgentEvent,
  ContactFact,
  ContactService,
  DirectService,
  EventKind,
  EventService,
  GroupFact,
  GroupMessage,
  GroupService,
  InboxMessage,
  Invitation,
  OutboxMessage,
  Role,
  SendOptions,
} from '../../src/node/types.ts'

/** The cast. */
export const ALICE: PeerId = peerIdFromPublicKey(new Uint8Array(32).fill(1))
export const BOB: PeerId = peerIdFromPublicKey(new Uint8Array(32).fill(2))
export const CAROL: PeerId = peerIdFromPublicKey(new Uint8Array(32).fill(3))

const BODY_MAX = 60_000
const AT = '2026-11-01T12:00:00.000Z'

/** What a test may do to the agent behind the API. */
export interface FakeAgent extends Agent {
  /** Every call that a test may want to look at: method and arguments. */
  readonly calls: (readonly [string, ...unknown[]])[]
  /** Makes the next `status` throw. */
  failure: unknown
  /** How many events are kept. */
  eventsKept: number
  /** Events handed to followers so far. */
  readonly eventsFollowed: number
  /** The state that a sent message gets to. */
  reaches: 'queued' | 'delivered'
  readonly closed: boolean
  emit(kind: EventKind, data: Record<string, unknown>): void
  /** A message arrives in the inbox. */
  receive(from: PeerId, body: string | Uint8Array): InboxMessage
  /** A message arrives in a group. */
  hear(groupId: string, from: PeerId, text: string): void
  /** An invitation arrives. */
  beInvited(invitation: Invitation): void
}

/** Makes an agent named Alice with Bob as contact `bob` and no groups. */
export function makeFakeAgent(): FakeAgent {
  const calls: (readonly [string, ...unknown[]])[] = []
  const events = makeEvents()
  const contacts = new Map<PeerId, ContactFact>([[BOB, contactOf(BOB, 'bob')]])
  const direct = makeDirect(calls, events.emit, () => agent.reaches)
  const groups = makeGroups(calls, events.emit)
  let closed = false
  const close = async (): Promise<void> => void (closed = true)
  const agent: FakeAgent = {
    calls,
    failure: undefined,
    reaches: 'delivered',
    get eventsKept() {
      return events.kept.max
    },
    set eventsKept(max) {
      events.kept.max = max
    },
    get eventsFollowed() {
      return events.kept.followed
    },
    get closed() {
      return closed
    },
    emit: events.emit,
    receive: direct.receive,
    hear: groups.hear,
    beInvited: groups.beInvited,
    ready: {
      peerId: ALICE,
      did: 'did:key:z6MkAlice',
      addresses: [`/ip4/127.0.0.1/tcp/4001/p2p/${ALICE}`],
      home: '/home-of-alice',
      ticket: 'conclave1alice',
    },
    status: async () => {
      const failure = agent.failure
      agent.failure = undefined
      if (failure !== undefined) throw failure as Error
      return {
        peerId: ALICE,
        did: agent.ready.did,
        name: 'alice',
        fingerprint: '00000 11111 22222 33333 44444 55555',
        uptimeSeconds: 61,
        addresses: agent.ready.addresses,
        connections: 1,
        reachability: 'private',
        relays: [],
        groups: (await groups.service.list()).length,
        inbox: { unread: (await direct.service.inbox()).length, requests: 0 },
        outbox: { queued: 0, stored: 0 },
        mailbox: { serving: false, custodians: [] },
        version: '0.1.0',
      }
    },
    peers: async () => [
      {
        peerId: BOB,
        name: 'bob',
        addresses: ['/ip4/127.0.0.1/tcp/4002'],
        transport: 'tcp',
        relayed: false,
        rttMs: 1.5,
        agent: 'conclave/0.1.0',
      },
    ],
    ping: async (peer, options) => {
      calls.push(['ping', peer, options?.count])
      if (peer === CAROL) return forever(options?.signal)
      return { rttMs: { min: 1, median: 2, max: 3 }, transport: 'tcp', relayed: false }
    },
    why: async (peer) => ({
      peerId: peer,
      reachable: peer === BOB ? 'direct' : 'no',
      steps: [{ layer: 'dial', fact: '1 address', ok: peer === BOB, code: 'DIAL' }],
      next: peer === BOB ? null : `conclave contact add ${peer}`,
    }),
    ticket: async (options) => `conclave1alice-${options?.expiresDays ?? 30}`,
    resolvePeer: async (text) => resolve(text, contacts),
    direct: direct.service,
    contacts: makeContacts(contacts),
    groups: groups.service,
    events: events.service,
    close,
    [Symbol.asyncDispose]: close,
  }
  return agent
}

type Emit = (kind: EventKind, data: Record<string, unknown>) => void
type Calls = (readonly [string, ...unknown[]])[]

function resolve(text: string, contacts: ReadonlyMap<PeerId, ContactFact>): PeerId {
  const id = parsePeerId(text.split('/p2p/').at(-1) ?? '')
  if (id !== undefined) return id
  for (const contact of contacts.values()) if (contact.name === text) return contact.peerId
  if (text.startsWith('12D3Koo')) {
    throw new ConclaveError('USAGE_PEER_ID_INVALID', 'not a peer ID', { hint: 'check the end' })
  }
  throw new ConclaveError('USAGE_PEER_UNKNOWN', `no contact is named ${text}`, {
    hint: 'did you mean bob?',
  })
}

function contactOf(peerId: PeerId, name: string | null): ContactFact {
  return { peerId, name, verified: false, safetyNumber: `${'12345 '.repeat(11)}12345` }
}

function makeContacts(known: Map<PeerId, ContactFact>): ContactService {
  const find = (peer: PeerId): ContactFact => {
    const contact = known.get(peer)
    if (contact !== undefined) return contact
    throw new ConclaveError('USAGE_PEER_UNKNOWN', 'not a contact', { hint: 'conclave contact add' })
  }
  return {
    add: async (peer, options) => {
      const contact = contactOf(peer, options?.name ?? known.get(peer)?.name ?? null)
      known.set(peer, contact)
      return contact
    },
    list: async () => [...known.values()],
    remove: async (peer) => {
      const contact = find(peer)
      known.delete(peer)
      return contact
    },
    verify: async (peer, options) => {
      const contact = find(peer)
      if (options?.match === undefined) return contact
      if (options.match !== contact.safetyNumber) {
        throw new ConclaveError('VERIFY_SAFETY_NUMBER', 'the numbers differ', {
          hint: 'compare again over another way',
        })
      }
      const verified = { ...contact, verified: true }
      known.set(peer, verified)
      return verified
    },
    isContact: async (peer) => known.has(peer),
  }
}

function makeDirect(
  calls: Calls,
  emit: Emit,
  reaches: () => 'queued' | 'delivered',
): { service: DirectService; receive: FakeAgent['receive'] } {
  const inbox: InboxMessage[] = []
  const outbox: OutboxMessage[] = []
  const byKey = new Map<string, string>()
  let count = 0
  const nextId = (): string => (++count).toString(16).padStart(32, '0')
  const service: DirectService = {
    send: async (to, body, options: SendOptions = {}) => {
      calls.push(['send', to, body, options.until, options.timeoutMs, options.idempotencyKey])
      if (body.length > BODY_MAX) {
        throw new ConclaveError('USAGE_MESSAGE_TOO_LARGE', 'over 60000 bytes', { hint: 'split it' })
      }
      const key = options.idempotencyKey
      const id = (key === undefined ? undefined : byKey.get(key)) ?? nextId()
      if (key !== undefined) byKey.set(key, id)
      const state = reaches()
      if (options.until === 'delivered' && state === 'queued') {
        throw new ConclaveError('STATE_NOT_REACHED', 'not delivered in time', {
          hint: 'do not send again: delivery goes on',
          data: { id, state },
        })
      }
      outbox.push({
        id,
        to,
        state,
        copies: null,
        attempts: 1,
        nextAttemptAt: null,
        lastError: state === 'queued' ? 'NETWORK_NO_CUSTODIAN' : null,
      })
      const via = state === 'delivered' ? 'direct' : null
      return { id, to, state, via, copies: null, degraded: false }
    },
    inbox: async (query = {}) => {
      calls.push(['inbox', query])
      const found = inbox.filter(
        (message) =>
          query.requests !== true &&
          (query.all === true || !message.handled) &&
          (query.from === undefined || message.from === query.from),
      )
      const page = found.slice(0, query.limit)
      if (query.handle === true) await service.handled(page.map(({ id }) => id))
      return page
    },
    handled: async (ids) => {
      calls.push(['handled', ids])
      for (const id of ids) {
        const at = inbox.findIndex((message) => message.id === id)
        const message = inbox[at]
        if (message === undefined) {
          throw new ConclaveError('USAGE_MESSAGE_UNKNOWN', `no message ${id}`, {
            hint: 'conclave inbox --all lists them',
          })
        }
        inbox[at] = { ...message, handled: true }
      }
      return [...ids]
    },
    outbox: async () => outbox,
  }
  const receive = (from: PeerId, body: string | Uint8Array): InboxMessage => {
    const text = typeof body === 'string' ? body : parseUtf8(body)
    const message: InboxMessage = {
      id: nextId(),
      from,
      name: from === BOB ? 'bob' : null,
      sentAt: AT,
      receivedAt: AT,
      type: 'text/plain',
      ...(text === undefined ? { base64: Buffer.from(body).toString('base64') } : { text }),
      via: 'direct',
      handled: false,
      gap: false,
      late: false,
    }
    inbox.push(message)
    emit('message', { ...message })
    return message
  }
  return { service, receive }
}

interface FakeGroup {
  fact: GroupFact
  readonly members: Map<PeerId, Role>
  readonly messages: { readonly message: GroupMessage; read: boolean }[]
}

function makeGroups(
  calls: Calls,
  emit: Emit,
): { service: GroupService; hear: FakeAgent['hear']; beInvited: FakeAgent['beInvited'] } {
  const all = new Map<string, FakeGroup>()
  const waiting = new Map<string, Invitation>()
  let count = 0
  const found = (groupId: string): FakeGroup => {
    const group = all.get(groupId)
    if (group !== undefined) return group
    throw new ConclaveError('USAGE_GROUP_UNKNOWN', `no group ${groupId}`, { hint: 'group list' })
  }
  const advance = (group: FakeGroup): { readonly groupId: string; readonly epoch: number } => {
    const { groupId, epoch } = group.fact
    group.fact = { ...group.fact, epoch: epoch + 1, members: group.members.size }
    return { groupId, epoch: epoch + 1 }
  }
  const add = (groupId: string, name: string, members: Map<PeerId, Role>): GroupFact => {
    const role = members.get(ALICE) ?? 'member'
    const fact = { groupId, name, epoch: 0, members: members.size, role, unread: 0 }
    all.set(groupId, { fact, members, messages: [] })
    return fact
  }
  const invited = (groupId: string): Invitation => {
    const invitation = waiting.get(groupId)
    if (invitation === undefined) {
      throw new ConclaveError('USAGE_INVITATION_UNKNOWN', 'no such invitation', { hint: 'list' })
    }
    waiting.delete(groupId)
    return invitation
  }
  const append = (group: FakeGroup, from: PeerId, text: string): GroupMessage => {
    const { groupId, epoch } = group.fact
    const id = (++count).toString(16).padStart(32, 'a')
    const message: GroupMessage = {
      ...{ id, groupId, from, sentAt: AT, receivedAt: AT, type: 'text/plain', text, epoch },
      gap: false,
      late: false,
    }
    group.messages.push({ message, read: from === ALICE })
    emit('group-message', { ...message })
    return message
  }
  const service: GroupService = {
    create: async (name) => {
      const groupId = formatHex(new Uint8Array(32).fill(++count))
      return add(groupId, name, new Map([[ALICE, 'admin']]))
    },
    list: async () => [...all.values()].map(({ fact }) => fact),
    resolve: async (text) => {
      const ids = [...all.values()].filter(
        ({ fact }) => fact.name === text || fact.groupId.startsWith(text),
      )
      const [only] = ids
      if (only !== undefined) return only.fact.groupId
      throw new ConclaveError('USAGE_GROUP_UNKNOWN', `no group ${text}`, { hint: 'group list' })
    },
    info: async (groupId) => {
      const { fact, members } = found(groupId)
      return {
        groupId,
        name: fact.name,
        epoch: fact.epoch,
        authenticator: 'ab'.repeat(32),
        members: [...members].map(([peerId, role]) => ({ peerId, name: null, role })),
        keyAgeSeconds: 5,
        branch: 'main',
        pending: [],
      }
    },
    invite: async (groupId, peers, options) => {
      calls.push(['invite', groupId, peers, options?.until, options?.timeoutMs])
      const group = found(groupId)
      for (const peer of peers) group.members.set(peer, 'member')
      return { ...advance(group), added: [...peers] }
    },
    remove: async (groupId, peers) => {
      calls.push(['remove', groupId, peers])
      const group = found(groupId)
      for (const peer of peers) {
        if (group.members.delete(peer)) continue
        throw new ConclaveError('GROUP_NOT_MEMBER', 'not a member', { hint: 'group info' })
      }
      return { ...advance(group), removed: [...peers] }
    },
    leave: async (groupId) => {
      if (found(groupId).members.size > 1) {
        throw new ConclaveError('GROUP_LAST_ADMIN', 'the last admin', { hint: 'group promote' })
      }
      all.delete(groupId)
      return { groupId }
    },
    rekey: async (groupId) => advance(found(groupId)),
    setRole: async (groupId, peer, role) => {
      const { members } = found(groupId)
      if (!members.has(peer)) {
        throw new ConclaveError('GROUP_NOT_ADMIN', 'only admins may', { hint: 'ask an admin' })
      }
      members.set(peer, role)
      return { groupId, peerId: peer, role }
    },
    send: async (groupId, body, options) => {
      calls.push(['group send', groupId, body, options?.type, options?.idempotencyKey])
      const { id, epoch } = append(found(groupId), ALICE, parseUtf8(body) ?? '')
      return { id, groupId, epoch }
    },
    read: async (groupId, query = {}) => {
      calls.push(['read', groupId, query])
      const page = found(groupId)
        .messages.filter(({ read }) => query.all === true || !read)
        .slice(0, query.limit)
      if (query.peek !== true) for (const entry of page) entry.read = true
      return page.map(({ message }) => message)
    },
    invitations: async () => [...waiting.values()],
    join: async (groupId) => {
      const { name, from } = invited(groupId)
      return add(groupId, name, new Map<PeerId, Role>([[ALICE, 'member']]).set(from, 'admin'))
    },
    decline: async (groupId) => ({ groupId: invited(groupId).groupId }),
  }
  return {
    service,
    hear: (groupId, from, text) => void append(found(groupId), from, text),
    beInvited: (invitation) => void waiting.set(invitation.groupId, invitation),
  }
}

interface Kept {
  max: number
  followed: number
}

function makeEvents(): { service: EventService; emit: Emit; kept: Kept } {
  const log: AgentEvent[] = []
  const wakers = new Set<() => void>()
  const kept = { max: 1_000, followed: 0 }
  let lastId = 0
  const emit: Emit = (kind, data) => {
    log.push({ id: ++lastId, kind, data })
    while (log.length > kept.max) log.shift()
    for (const wake of wakers) wake()
  }
  const service: EventService = {
    get lastId() {
      return lastId
    },
    async *follow({ afterId, signal }) {
      let at = afterId
      while (!signal.aborted) {
        const first = lastId - log.length + 1
        if (at < first - 1) {
          throw new ConclaveError('STATE_EVENT_GONE', `event ${at + 1} is gone`, {
            hint: `kept are ${first} to ${lastId}`,
          })
        }
        const next = log.find(({ id }) => id > at)
        if (next !== undefined) {
          at = next.id
          kept.followed += 1
          yield next
          continue
        }
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            wakers.delete(wake)
            signal.removeEventListener('abort', wake)
            resolve()
          }
          wakers.add(wake)
          signal.addEventListener('abort', wake)
        })
      }
    },
  }
  return { service, emit, kept }
}

/** Waits until the caller gives up. */
function forever(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void => reject(signal?.reason as Error)
    if (signal?.aborted === true) stop()
    else signal?.addEventListener('abort', stop, { once: true })
  })
}
