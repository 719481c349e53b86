// Walks every layer between this node and a peer, past the first failure, and says what it found. Floor 3.
import type { PeerId } from '../../protocols/base/ids.ts'
import type { ConnectionFact, DialFact, Host } from '../host/types.ts'
import type { Standing } from './group-standing.ts'
import type { OutboxMessage, Why, WhyStep } from './types.ts'

/** All layers together answer within this time. */
export const WHY_TIMEOUT_MS = 5_000

/** What a ratchet session with the peer looks like. */
export interface SessionFact {
  readonly open: boolean
  readonly ageSeconds: number
}

/** Where the layers above the host are asked. */
export interface WhySources {
  readonly host: Host
  readonly session: (peer: PeerId) => Promise<SessionFact | undefined>
  /** Custodians that the peer named, as far as they can be found. */
  readonly custodiansOf: (peer: PeerId, signal: AbortSignal) => Promise<readonly PeerId[]>
  readonly outbox: () => Promise<readonly OutboxMessage[]>
  /** Where the peer stands in each group that it shares, or shared, with this agent. */
  readonly standings: (peer: PeerId) => readonly Standing[]
}

/** Explains how a peer is or is not reachable. Never throws for what it finds. */
export async function explain(
  sources: WhySources,
  peer: PeerId,
  signal?: AbortSignal,
): Promise<Why> {
  const { host } = sources
  if (peer === host.peerId) {
    const fact = 'this is the own peer ID'
    return {
      peerId: peer,
      reachable: 'direct',
      steps: [step('identity', true, 'SELF', fact)],
      next: null,
    }
  }
  const deadline = AbortSignal.timeout(WHY_TIMEOUT_MS)
  const bound = signal === undefined ? deadline : AbortSignal.any([deadline, signal])
  const steps: WhyStep[] = [step('identity', true, 'PEER_ID', `${peer} is a valid Ed25519 peer ID`)]
  const known = await host.knownAddresses(peer)
  steps.push(addressStep(known))
  const tried = await host.probe(peer, { signal: bound }).catch((): DialFact[] => [])
  steps.push(dialStep(known, tried))
  if (!host.isConnected(peer)) await host.connect(peer, { signal: bound }).catch(() => undefined)
  steps.push(natStep(host), relayStep(host))
  const connection = bestConnection(host, peer)
  steps.push(pathStep(connection, steps))
  const session = await sources.session(peer)
  steps.push(sessionStep(session))
  const waiting = (await sources.outbox()).filter((message) => message.to === peer)
  const custodians = await sources.custodiansOf(peer, bound).catch((): PeerId[] => [])
  steps.push(mailboxStep(waiting, custodians))
  const standings = sources.standings(peer)
  for (const { ok, code, fact, data } of standings) steps.push(step('group', ok, code, fact, data))
  const reachable = reachableBy(connection, custodians)
  // What it lacks in a group comes by itself, once it can be reached.
  const next =
    reachable === 'no'
      ? nextCommand(known, waiting, peer)
      : standings.find((one) => one.next !== undefined)?.next
  return { peerId: peer, reachable, steps, next: next ?? null }
}

function step(
  layer: WhyStep['layer'],
  ok: boolean,
  code: string,
  fact: string,
  data?: Readonly<Record<string, unknown>>,
): WhyStep {
  return { layer, ok, code, fact, ...(data === undefined ? {} : { data }) }
}

function addressStep(known: readonly string[]): WhyStep {
  return known.length === 0
    ? step('addresses', false, 'NO_ADDRESS', 'no address is known, and the DHT named none')
    : step('addresses', true, 'ADDRESSES', `${known.length} known`, { addresses: known })
}

function dialStep(known: readonly string[], tried: readonly DialFact[]): WhyStep {
  if (tried.length === 0) {
    const why = known.length === 0 ? 'there is no address to dial' : 'no address answered in time'
    return step('dial', false, known.length === 0 ? 'NOTHING_TO_DIAL' : 'DIAL_TIMEOUT', why)
  }
  const good = tried.filter(({ ok }) => ok)
  const timedOut = tried.every(({ ok, error }) => ok || /time|abort/i.test(error ?? ''))
  const code = good.length > 0 ? 'DIALED' : timedOut ? 'DIAL_TIMEOUT' : 'DIAL_FAILED'
  const fact = `${good.length} of ${tried.length} addresses answered`
  return {
    ...step('dial', good.length > 0, code, fact, { tried }),
    ...(good.length > 0 ? {} : { cause: 1 }),
  }
}

function natStep(host: Host): WhyStep {
  const reachability = host.reachability()
  const code = `NAT_${reachability.toUpperCase()}`
  const facts = {
    public: 'this node has a public address that others confirmed',
    private: 'others found no way in to this node',
    unknown: 'nobody has tried yet whether this node can be reached from outside',
  }
  return step('nat', reachability !== 'private', code, facts[reachability])
}

function relayStep(host: Host): WhyStep {
  const relays = host.relays()
  return relays.length === 0
    ? step('relay', host.reachability() === 'public', 'NO_RESERVATION', 'no relay serves this node')
    : step('relay', true, 'RESERVED', `${relays.length} relays serve this node`, { relays })
}

function bestConnection(host: Host, peer: PeerId): ConnectionFact | undefined {
  const open = host.connections().filter((connection) => connection.peer === peer)
  return open.find(({ relayed }) => !relayed) ?? open[0]
}

function pathStep(connection: ConnectionFact | undefined, steps: readonly WhyStep[]): WhyStep {
  if (connection === undefined) {
    const cause = steps.findIndex(({ layer }) => layer === 'dial')
    return { ...step('path', false, 'NO_PATH', 'there is no connection'), cause }
  }
  const { address, transport, relayed } = connection
  const fact = `connected over ${transport}${relayed ? ' through a relay' : ''}`
  return step('path', true, relayed ? 'RELAYED' : 'DIRECT', fact, { address, transport })
}

function sessionStep(session: SessionFact | undefined): WhyStep {
  if (session === undefined)
    return step('session', true, 'NO_SESSION', 'no message was exchanged yet')
  const { open, ageSeconds } = session
  const fact = open
    ? `a session is open, its keys ${ageSeconds} s old`
    : 'a session is being opened'
  return step('session', true, open ? 'SESSION_OPEN' : 'SESSION_OPENING', fact, {
    open,
    ageSeconds,
  })
}

function reachableBy(
  connection: ConnectionFact | undefined,
  custodians: readonly PeerId[],
): Why['reachable'] {
  if (connection !== undefined) return connection.relayed ? 'relay' : 'direct'
  return custodians.length > 0 ? 'mailbox' : 'no'
}

function mailboxStep(waiting: readonly OutboxMessage[], custodians: readonly PeerId[]): WhyStep {
  const queued = waiting.filter(({ state }) => state === 'queued')
  const stored = waiting.length - queued.length
  if (queued.length === 0 && custodians.length > 0) {
    const fact = `${custodians.length} custodians keep its mail, ${stored} messages of this node among it`
    return step('mailbox', true, 'CUSTODIANS', fact, { custodians, stored })
  }
  return queued.length === 0
    ? step('mailbox', true, 'NOTHING_WAITS', 'no message waits here for the peer')
    : step('mailbox', false, 'QUEUED', `${queued.length} messages wait here`, {
        queued: queued.length,
      })
}

function nextCommand(
  known: readonly string[],
  waiting: readonly OutboxMessage[],
  peer: PeerId,
): string {
  if (known.length === 0) return 'conclave peers --json'
  return waiting.length > 0 ? 'conclave outbox --json' : `conclave ping ${peer} --json`
}
