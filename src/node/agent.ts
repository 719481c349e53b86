// Composes one running node: store, identity, host, direct messages, contacts, events. Floor 3.
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { DAY_MS, HOUR_MS, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { Retention } from '../../protocols/group/turn.ts'
import { PAST_EPOCHS_MAX, PAST_EPOCHS_MS } from '../../protocols/group/types.ts'
import { formatDid } from '../../protocols/identity/did.ts'
import { formatFingerprint } from '../../protocols/identity/fingerprint.ts'
import { toReach } from '../../protocols/identity/reach.ts'
import { formatTicket } from '../../protocols/identity/ticket.ts'
import { TICKET_LIFE_DAYS } from '../../protocols/identity/types.ts'
import { native } from '../crypto/native.ts'
import { randomBytes } from '../crypto/random.ts'
import { createHost } from '../host/host.ts'
import { defaultTransports, isTransportName } from '../host/transports.ts'
import type { TransportFactory } from '../host/transports.ts'
import type { Host } from '../host/types.ts'
import type { Home } from '../store/home.ts'
import type { KeySource } from '../store/key-source.ts'
import type { OpenedStore } from '../store/open.ts'
import type { CatchUp } from './catch-up.ts'
import { openDirect } from './direct.ts'
import type { Direct } from './direct.ts'
import { openEventLog } from './events.ts'
import type { EventLog } from './events.ts'
import type { Progress } from './mailbox/collector.ts'
import { contactRecordKind } from './mailbox/contact-records.ts'
import { makeGroupService } from './group-service.ts'
import { Groups } from './groups.ts'
import { standingIn } from './group-standing.ts'
import { hostStorage } from './host-storage.ts'
import { loadIdentity } from './identity-key.ts'
import type { OwnIdentity } from './identity-key.ts'
import { recallPorts, rememberPorts } from './listen-ports.ts'
import type { NodeLog } from './log.ts'
import { openNodeStore } from './node-store.ts'
import { findPetname, parsePeerForm } from './peer-argument.ts'
import type { Agent, GroupService, PeerFact, PingResult, Ready, Status } from './types.ts'
import { explain } from './why.ts'

/** Where a node listens if nothing else is said: any address, a free port that is kept. */
export const DEFAULT_LISTEN: readonly string[] = ['/ip4/0.0.0.0/tcp/0', '/ip4/0.0.0.0/tcp/0/ws']

/** Round trips of one ping. */
const PING_COUNT = 5

/** What a node is made from; every part but the home has a default. */
export interface AgentOptions {
  readonly home: Home
  readonly key: KeySource
  readonly log: NodeLog
  readonly version: string
  readonly listen?: readonly string[]
  readonly announce?: readonly string[]
  /** Multiaddrs ending in `/p2p/…`, or tickets. */
  readonly bootstrap?: readonly string[]
  readonly name?: string
  /** Built-in names and libp2p transport factories. */
  readonly transports?: readonly (string | TransportFactory)[]
  readonly relay?: boolean
  /** Keep mail for anyone, within quotas. */
  readonly mailbox?: boolean
  readonly open?: boolean
  readonly mdns?: boolean
  readonly orderWaitMs?: number
  /** Past epochs of a group whose keys are kept, 0 to 8; 8 if absent. */
  readonly groupKeyEpochs?: number
  /** Hours that they are kept, 0 to 24; 24 if absent. */
  readonly groupKeyHours?: number
  /** Hears how far the collection of waiting mail got. */
  readonly onCollected?: (progress: Progress) => void
  /** Hears how far a group is that catches up with many epochs. */
  readonly onCatchUp?: (progress: CatchUp) => void
}

const now = (): TimeMs => toTimeMs(Date.now())

/**
 * Starts a node. It is ready, and its API may be started, when this resolves.
 *
 * @throws ConclaveError any code of the `STORE`, `USAGE` and `NETWORK` families; nothing stays open then.
 */
export async function openAgent(options: AgentOptions): Promise<Agent> {
  await using stack = new AsyncDisposableStack()
  const opened = await openNodeStore({ home: options.home, key: options.key, create: true })
  stack.defer(() => opened.store.close())
  const identity = await loadIdentity(opened.store, native, randomBytes)
  const events = await openEventLog(opened.store)
  const host = await startHost(options, opened, identity)
  stack.defer(() => host.close())
  const { open = false, orderWaitMs } = options
  const direct = await openDirect({
    host,
    store: opened.store,
    primitives: native,
    random: randomBytes,
    now,
    events,
    secret: identity.secret.reveal(),
    open,
    regressed: opened.regressed,
    log: options.log,
    mailbox: options.mailbox ?? false,
    bootstrap: bootstrapPeers(options),
    ...(options.onCollected !== undefined && { onCollected: options.onCollected }),
    ...(orderWaitMs !== undefined && { orderWaitMs }),
  })
  stack.defer(() => direct.close())
  const groups = await Groups.open({
    host,
    store: opened.store,
    direct,
    primitives: native,
    random: randomBytes,
    now,
    events,
    secret: identity.secret.reveal(),
    open,
    regressed: opened.regressed,
    retention: retentionOf(options),
    ...(options.onCatchUp !== undefined && { onCatchUp: options.onCatchUp }),
  })
  stack.defer(() => groups.close())
  await direct.start()
  await groups.start()
  await opened.settle()
  if (opened.regressed) {
    options.log.warn(
      {},
      'this home was restored from a backup: old sessions only receive, new ones are opened, groups get new keys',
    )
  }
  const service = makeGroupService({
    groups,
    nameOf: async (peer) =>
      (await direct.contacts.list()).find(({ peerId }) => peerId === peer)?.name ?? null,
    befriend: async (peer) => {
      if (!(await direct.contacts.isContact(peer))) await direct.contacts.add(peer)
    },
  })
  const parts = { options, host, identity, direct, events, groups, service }
  return new RunningAgent(parts, stack.move())
}

function retentionOf({ groupKeyEpochs, groupKeyHours }: AgentOptions): Retention {
  return {
    epochs: groupKeyEpochs ?? PAST_EPOCHS_MAX,
    ms: groupKeyHours === undefined ? PAST_EPOCHS_MS : groupKeyHours * HOUR_MS,
  }
}

async function startHost(
  options: AgentOptions,
  { store }: OpenedStore,
  identity: OwnIdentity,
): Promise<Host> {
  const asked = options.listen ?? DEFAULT_LISTEN
  const { log } = options
  const host = await createHost({
    privateKey: identity.secret.reveal(),
    listen: await recallPorts(store, asked),
    announce: options.announce ?? [],
    bootstrap: (options.bootstrap ?? []).flatMap((text) => bootstrapAddresses(text)),
    transports: transportsOf(options.transports ?? (await defaultTransports())),
    relay: options.relay ?? false,
    mdns: options.mdns ?? true,
    storage: hostStorage(store),
    log: {
      debug: (message, fields = {}) => log.debug(fields, message),
      warn: (message, fields = {}) => log.warn(fields, message),
    },
    agentVersion: `conclave/${options.version}`,
    records: [contactRecordKind(native, now)],
  })
  await rememberPorts(store, asked, host.boundAddresses())
  return host
}

function bootstrapPeers({ bootstrap = [] }: AgentOptions): PeerId[] {
  return bootstrap.flatMap((text) => parsePeerForm(text, native, now())?.peer ?? [])
}

function bootstrapAddresses(text: string): readonly string[] {
  const named = parsePeerForm(text, native, now())
  if (named !== undefined && named.addresses.length > 0) return named.addresses
  throw new ConclaveError('CONFIG_VALUE', `not a bootstrap peer: ${text.slice(0, 80)}`, {
    hint: 'give a multiaddr ending in /p2p/… or a ticket: conclave ticket prints one',
  })
}

function transportsOf(
  asked: readonly (string | TransportFactory)[],
): Parameters<typeof createHost>[0]['transports'] {
  return asked.map((one) => {
    if (typeof one !== 'string' || isTransportName(one)) return one
    throw new ConclaveError('CONFIG_TRANSPORT', `there is no transport ${one.slice(0, 80)}`, {
      hint: 'built in are tcp, ws, webrtc, webrtc-direct, quic and memory',
    })
  })
}

interface Parts {
  readonly options: AgentOptions
  readonly host: Host
  readonly identity: OwnIdentity
  readonly direct: Direct
  readonly events: EventLog
  readonly groups: Groups
  readonly service: GroupService
}

class RunningAgent implements Agent {
  readonly ready: Ready
  readonly direct: Agent['direct']
  readonly contacts: Agent['contacts']
  readonly groups: GroupService
  readonly events: EventLog
  readonly #parts: Parts
  readonly #stack: AsyncDisposableStack
  readonly #startedAtMs = Date.now()
  #closing: Promise<void> | undefined

  constructor(parts: Parts, stack: AsyncDisposableStack) {
    const { host, direct, events, service, options } = parts
    this.#parts = parts
    this.#stack = stack
    this.direct = direct.messages
    this.contacts = direct.contacts
    this.events = events
    this.groups = service
    this.ready = {
      peerId: host.peerId,
      did: formatDid(host.peerId),
      addresses: host.addresses(),
      home: options.home.path,
      ticket: this.#ticket(TICKET_LIFE_DAYS),
    }
    stack.defer(this.#reportPeers())
  }

  async status(): Promise<Status> {
    const { host, direct, options } = this.#parts
    const counts = await direct.messages.counts()
    const mailbox = direct.mailboxes.facts()
    return {
      peerId: host.peerId,
      did: formatDid(host.peerId),
      fingerprint: formatFingerprint(native, host.peerId, direct.identityKey),
      name: options.name ?? null,
      uptimeSeconds: Math.floor((Date.now() - this.#startedAtMs) / 1_000),
      addresses: host.addresses(),
      connections: host.connections().length,
      reachability: host.reachability(),
      relays: host.relays(),
      groups: (await this.groups.list()).length,
      inbox: { unread: counts.unread, requests: counts.requests },
      outbox: { queued: counts.queued, stored: counts.stored },
      mailbox: { serving: mailbox.serving, custodians: [...mailbox.custodians] },
      version: options.version,
    }
  }

  async peers(): Promise<PeerFact[]> {
    const names = await this.#petnames()
    const facts = new Map<PeerId, PeerFact>()
    for (const one of this.#parts.host.connections()) {
      const before = facts.get(one.peer)
      if (before?.relayed === false) {
        before.addresses.push(one.address)
        continue
      }
      facts.set(one.peer, {
        peerId: one.peer,
        name: names.get(one.peer) ?? null,
        addresses: [one.address, ...(before?.addresses ?? [])],
        transport: one.transport,
        relayed: one.relayed,
        rttMs: one.rttMs ?? null,
        agent: one.agent ?? null,
      })
    }
    return [...facts.values()]
  }

  async ping(
    peer: PeerId,
    { count = PING_COUNT, signal }: { readonly count?: number; readonly signal?: AbortSignal } = {},
  ): Promise<PingResult> {
    const { rttMs, transport, relayed } = await this.#parts.host.ping(peer, {
      count,
      ...(signal !== undefined && { signal }),
    })
    const sorted = [...rttMs].sort((a, b) => a - b)
    const at = (share: number): number =>
      Number((sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(3))
    return { rttMs: { min: at(0), median: at(0.5), max: at(1) }, transport, relayed }
  }

  why(peer: PeerId, { signal }: { readonly signal?: AbortSignal } = {}): ReturnType<Agent['why']> {
    const { host, direct, groups } = this.#parts
    const sources = {
      host,
      session: (of: PeerId) => direct.messages.session(of),
      custodiansOf: (of: PeerId, until: AbortSignal) => direct.mailboxes.custodiansOf(of, until),
      outbox: () => direct.messages.outbox(),
      standings: (of: PeerId) =>
        groups
          .all()
          .filter(({ state }) => state.phase === 'member')
          .flatMap(({ state }) => {
            return standingIn(state, of, { primitives: native, nowMs: now() }) ?? []
          }),
    }
    return explain(sources, peer, signal)
  }

  ticket({
    expiresDays = TICKET_LIFE_DAYS,
  }: { readonly expiresDays?: number } = {}): Promise<string> {
    return Promise.resolve(this.#ticket(expiresDays))
  }

  async resolvePeer(text: string): Promise<PeerId> {
    const named = parsePeerForm(text, native, now())
    if (named === undefined) return findPetname(text, await this.contacts.list())
    if (named.addresses.length > 0) {
      await this.#parts.host.addAddresses(named.peer, named.addresses, { trusted: true })
    }
    return named.peer
  }

  close(): Promise<void> {
    this.#closing ??= this.#stack.disposeAsync()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #ticket(days: number): string {
    const { host, identity } = this.#parts
    return formatTicket(native, identity.secret.reveal(), {
      peer: host.peerId,
      expiresAt: toTimeMs(Date.now() + days * DAY_MS),
      ...toReach(host.peerId, host.addresses()),
    })
  }

  async #petnames(): Promise<Map<PeerId, string | null>> {
    const contacts = await this.contacts.list()
    return new Map(contacts.map(({ peerId, name }) => [peerId, name]))
  }

  /** Peers that come and go are events of the agent's log. */
  #reportPeers(): () => void {
    const { host, events } = this.#parts
    return host.onPeer(({ kind, peer }) => {
      if (kind === 'identified') return
      void events.announce('peer', { peerId: peer, connected: kind === 'connected' })
    })
  }
}
