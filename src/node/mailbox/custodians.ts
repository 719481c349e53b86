// This agent's own custodians: chosen, leased, told what they need, collected from, replaced (mailbox spec.md §4.2).
// Floor 3. Table `custodian`: peer → lease, whether it was replaced, serial of the last queue key that it knows.
import { equalBytes } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import type { Primitives } from '../../../protocols/base/primitives.ts'
import { MINUTE_MS, SECOND_MS } from '../../../protocols/base/time.ts'
import type { TimeMs } from '../../../protocols/base/time.ts'
import type { ResultStatus } from '../../../protocols/direct/conversation.ts'
import type { EnvelopeId } from '../../../protocols/direct/types.ts'
import { decodeLease, parseLease } from '../../../protocols/mailbox/lease.ts'
import {
  CONTACT_QUOTA_BYTES,
  CONTACT_QUOTA_ENVELOPES,
  CUSTODIANS,
  DEFAULT_QUOTA_BYTES,
  DEFAULT_QUOTA_ENVELOPES,
  LEASE_LIFE_MS,
  MAILBOX_PROTOCOL,
  TTL_MS_MAX,
} from '../../../protocols/mailbox/types.ts'
import type { Lease } from '../../../protocols/mailbox/types.ts'
import type { MailboxClient } from '../../handlers/mailbox-client.ts'
import type { Prekeys } from '../../handlers/prekeys.ts'
import type { Host, PeerEvent } from '../../host/types.ts'
import { decodeRow, encodeRow } from '../../store/row.ts'
import { del, put } from '../../store/types.ts'
import type { Store } from '../../store/types.ts'
import type { NodeLog } from '../log.ts'
import type { PrekeyKeeper } from '../prekey-keeper.ts'
import { Collector } from './collector.ts'
import type { Progress } from './collector.ts'
import type { ContactRecords } from './contact-records.ts'
import type { OwnQueueKey, QueueKeys } from './queue-keys.ts'

/* Implementation constants: ours to tune. */
/** How often everything is looked after; peers that come are looked at sooner. */
export const TEND_MS: number = 30 * SECOND_MS
/** After a peer said what it speaks. */
const TEND_SOON_MS = 100
/** A custodian that was away for this long is replaced once another one is there. */
export const CUSTODIAN_GONE_MS: number = MINUTE_MS
/** One-time prekeys that each custodian holds, and the share in percent at which it gets new ones. */
export const SHARD = { pairs: 20, ecs: 100 } as const
export const SHARD_KEY_PACKAGES = 8
export const REFILL_PERCENT = 25
/** What is left with a custodian in one frame. */
const ENTRIES_AT_ONCE = { pairs: 20, ecs: 100 }
/** A peer that refused a lease is not asked again for this long. */
const REFUSED_MS: number = 10 * MINUTE_MS

const TABLE = 'custodian'
const VERSION = 1

/** What choosing and using custodians needs. */
export interface CustodiansOptions {
  readonly host: Host
  readonly store: Store
  readonly primitives: Primitives
  readonly now: () => TimeMs
  readonly client: MailboxClient
  readonly prekeys: Prekeys
  readonly keeper: Pick<PrekeyKeeper, 'bundle' | 'shard'>
  readonly records: ContactRecords
  readonly queueKeys: QueueKeys
  /** Strangers are treated as contacts: each gets a contact's room. */
  readonly open: boolean
  readonly isContact: (peer: PeerId) => Promise<boolean>
  /** Peers that this agent was started with. */
  readonly bootstrap: readonly PeerId[]
  readonly receive: (
    sender: PeerId,
    envelope: Bytes,
    envelopeId: EnvelopeId,
  ) => Promise<ResultStatus>
  readonly onProgress: (progress: Progress) => void
  /** Called whenever custodians were looked after. */
  readonly onTended: () => void
  readonly log: NodeLog
  /** CUSTODIAN_GONE_MS if absent. */
  readonly goneMs?: number
}

interface Custodian {
  readonly peer: PeerId
  leaseBytes: Bytes
  lease: Lease
  /** Replaced: collected from until its lease ends, and named to nobody. */
  isFormer: boolean
  keySerial: number
  /** When it was seen connected last. */
  seenAt: number
  /** What it was left last in this process. */
  bundle?: Bytes | undefined
  record?: Bytes | undefined
  readonly stop: AbortController
  readonly collector: Collector
}

/** The custodians of this agent. */
export class Custodians {
  readonly #options: CustodiansOptions
  readonly #all = new Map<PeerId, Custodian>()
  readonly #refusedAt = new Map<PeerId, number>()
  readonly #closing = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #tending: Promise<void> | undefined
  #again = false

  private constructor(options: CustodiansOptions) {
    this.#options = options
  }

  /** Takes up the custodians of earlier, and begins to look for more. */
  static async open(options: CustodiansOptions): Promise<Custodians> {
    const custodians = new Custodians(options)
    for await (const { key, value } of options.store.rows(TABLE)) {
      const [leaseBytes, isFormer, keySerial] = decodeRow(VERSION, value) as [
        Bytes,
        boolean,
        number,
      ]
      const lease = decodeLease(leaseBytes)
      if (!lease.ok) continue
      custodians.#take(key as PeerId, leaseBytes, lease.value, { isFormer, keySerial })
    }
    custodians.#tendSoon()
    return custodians
  }

  /** Custodians named in the contact record. */
  current(): PeerId[] {
    return this.#current().map(({ peer }) => peer)
  }

  /** A peer came, said what it speaks, or went. */
  onPeer({ kind, peer }: PeerEvent): void {
    const known = this.#all.get(peer)
    if (known !== undefined) {
      known.seenAt = this.#options.now()
      if (kind !== 'disconnected') known.collector.wake()
    }
    if (kind === 'identified') this.#tendSoon()
  }

  /** Gives a contact a key of its own at every custodian; answers it if it is to be told, and `told` is to follow. */
  async authorise(peer: PeerId): ReturnType<QueueKeys['renew']> {
    if (this.#current().length === 0) return undefined
    const key = await this.#options.queueKeys.renew(peer)
    if (key === undefined) return undefined
    await Promise.all(this.#current().map((one) => this.#tellKeys(one).catch(() => undefined)))
    return key
  }

  /** The contact's conversation has the key. */
  told(peer: PeerId, key: OwnQueueKey): Promise<void> {
    return this.#options.queueKeys.told(peer, key)
  }

  /** Takes a former contact's key away. */
  async revoke(peer: PeerId): Promise<void> {
    const id = await this.#options.queueKeys.drop(peer)
    if (id === undefined) return
    const { client } = this.#options
    await Promise.allSettled(
      this.#current().map((one) => client.revoke(one.peer, id, this.#closing.signal)),
    )
  }

  close(): void {
    this.#closing.abort()
    clearTimeout(this.#timer)
    for (const { stop } of this.#all.values()) stop.abort()
  }

  #current(): Custodian[] {
    return [...this.#all.values()].filter(({ isFormer }) => !isFormer)
  }

  #take(
    peer: PeerId,
    leaseBytes: Bytes,
    lease: Lease,
    { isFormer, keySerial }: { readonly isFormer: boolean; readonly keySerial: number },
  ): Custodian {
    const { host, client, primitives, receive, onProgress, now } = this.#options
    const stop = new AbortController()
    const signal = AbortSignal.any([stop.signal, this.#closing.signal])
    const collector = new Collector({
      custodian: peer,
      client,
      primitives,
      receive,
      onProgress,
      signal,
    })
    const seenAt: number = now()
    const one = { peer, leaseBytes, lease, isFormer, keySerial, seenAt, stop, collector }
    this.#all.set(peer, one)
    host.keepAlive(peer)
    return one
  }

  async #save({ peer, leaseBytes, isFormer, keySerial }: Custodian): Promise<void> {
    const row = encodeRow(VERSION, [leaseBytes, isFormer, keySerial])
    await this.#options.store.commit([put(TABLE, peer, row)])
  }

  #tendSoon(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#tend(), TEND_SOON_MS).unref()
  }

  async #tend(): Promise<void> {
    if (this.#tending !== undefined) {
      this.#again = true
      return
    }
    this.#tending = this.#tendOnce().catch((error: unknown) => this.#note(null, error))
    await this.#tending
    this.#tending = undefined
    if (this.#closing.signal.aborted) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#tend(), this.#again ? TEND_SOON_MS : TEND_MS).unref()
    this.#again = false
  }

  async #tendOnce(): Promise<void> {
    const { host, records } = this.#options
    const nowMs = this.#options.now()
    for (const one of this.#all.values()) if (host.isConnected(one.peer)) one.seenAt = nowMs
    await this.#dropEnded(nowMs)
    await this.#renew(nowMs)
    await this.#choose(nowMs)
    const leases = this.#current().map(({ leaseBytes }) => leaseBytes)
    await records.publish(leases, this.#closing.signal)
    for (const one of this.#current()) {
      if (!host.isConnected(one.peer)) continue
      // One that does not answer, or answers wrongly, must not keep the others from what they need.
      await this.#provide(one).catch((error: unknown) => this.#note(one.peer, error))
    }
    this.#options.onTended()
  }

  async #provide(one: Custodian): Promise<void> {
    await this.#supply(one)
    await this.#tellKeys(one)
  }

  #note(custodian: PeerId | null, error: unknown): void {
    if (this.#closing.signal.aborted) return
    const facts = { custodian, error: String(error) }
    this.#options.log.debug(facts, 'custodians could not be looked after')
  }

  async #dropEnded(nowMs: number): Promise<void> {
    const { host, store } = this.#options
    for (const one of this.#all.values()) {
      if (one.lease.expiresAt + one.lease.ttlMs > nowMs) continue
      one.stop.abort()
      this.#all.delete(one.peer)
      host.release(one.peer)
      await store.commit([del(TABLE, one.peer)])
    }
  }

  async #renew(nowMs: number): Promise<void> {
    for (const one of this.#current()) {
      if (one.lease.expiresAt - nowMs > LEASE_LIFE_MS / 2) continue
      if (!this.#options.host.isConnected(one.peer)) continue
      const granted = await this.#ask(one.peer)
      if (granted === undefined) continue
      one.leaseBytes = granted.bytes
      one.lease = granted.lease
      await this.#save(one)
    }
  }

  /** Fills the places that are free, and those of custodians that are gone. */
  async #choose(nowMs: number): Promise<void> {
    const goneMs = this.#options.goneMs ?? CUSTODIAN_GONE_MS
    for (const peer of await this.#candidates(nowMs)) {
      const current = this.#current()
      const gone = current.find((one) => this.#isGone(one, nowMs, goneMs))
      if (current.length >= CUSTODIANS && gone === undefined) return
      const granted = await this.#ask(peer)
      if (granted === undefined) continue
      if (current.length >= CUSTODIANS && gone !== undefined) {
        gone.isFormer = true
        await this.#save(gone)
      }
      // A former one may come back: its box is still there.
      const former = this.#all.get(peer)
      former?.stop.abort()
      const keySerial = former?.keySerial ?? 0
      const one = this.#take(peer, granted.bytes, granted.lease, { isFormer: false, keySerial })
      await this.#save(one)
      this.#options.log.debug({ custodian: peer }, 'a custodian keeps mail for this agent')
    }
  }

  #isGone({ peer, seenAt, lease }: Custodian, nowMs: number, goneMs: number): boolean {
    if (lease.expiresAt <= nowMs) return true
    return !this.#options.host.isConnected(peer) && nowMs - seenAt >= goneMs
  }

  /** Connected peers that serve and are not custodians yet: contacts and bootstrap peers first. */
  async #candidates(nowMs: number): Promise<PeerId[]> {
    const { host, isContact, bootstrap } = this.#options
    const serving = host.speaking(MAILBOX_PROTOCOL).filter((peer) => {
      const refusedAt = this.#refusedAt.get(peer)
      if (refusedAt !== undefined && nowMs - refusedAt < REFUSED_MS) return false
      return this.#all.get(peer)?.isFormer !== false
    })
    const ranked = await Promise.all(
      serving.map(async (peer) => {
        const isNear = bootstrap.includes(peer) || (await isContact(peer))
        return { peer, rank: isNear ? 0 : 1 }
      }),
    )
    return ranked.sort((a, b) => a.rank - b.rank).map(({ peer }) => peer)
  }

  async #ask(peer: PeerId): Promise<{ bytes: Bytes; lease: Lease } | undefined> {
    const { client, primitives, host, open, now } = this.#options
    try {
      const wish = {
        quotaBytes: DEFAULT_QUOTA_BYTES,
        quotaEnvelopes: DEFAULT_QUOTA_ENVELOPES,
        ttlMs: TTL_MS_MAX,
        strangerBytes: open ? CONTACT_QUOTA_BYTES : 0,
        strangerEnvelopes: open ? CONTACT_QUOTA_ENVELOPES : 0,
      }
      const bytes = await client.requestLease(peer, wish, this.#closing.signal)
      const lease = parseLease(primitives, bytes, { recipient: host.peerId, nowMs: now() })
      if (lease.ok && lease.value.custodian === peer) return { bytes, lease: lease.value }
    } catch {
      // Refused, or gone: another one may serve.
    }
    this.#refusedAt.set(peer, now())
    return undefined
  }

  /** Leaves bundle, record, one-time prekeys and key packages with a custodian, where it lacks them. */
  async #supply(one: Custodian): Promise<void> {
    const { prekeys, keeper, records, log } = this.#options
    const { signal } = this.#closing
    const bundle = await keeper.bundle()
    const record = records.own()
    const left = await prekeys.supply(one.peer, signal)
    const isLow = (found: number, wanted: number): boolean => found * 100 <= wanted * REFILL_PERCENT
    const pairs = isLow(left.pairs, SHARD.pairs) ? SHARD.pairs - left.pairs : 0
    const ecs = isLow(left.ecs, SHARD.ecs) ? SHARD.ecs - left.ecs : 0
    const wantedPackages = isLow(left.keyPackages, SHARD_KEY_PACKAGES)
      ? SHARD_KEY_PACKAGES - left.keyPackages
      : 0
    const isKnown = same(bundle, one.bundle) && same(record, one.record)
    if (isKnown && pairs + ecs + wantedPackages === 0) return
    if (one.bundle !== undefined && pairs + ecs > 0) {
      log.warn({ custodian: one.peer, ...left }, 'one-time prekeys at a custodian ran low')
    }
    const counts = {
      pairs: Math.min(pairs, ENTRIES_AT_ONCE.pairs),
      ecs: Math.min(ecs, ENTRIES_AT_ONCE.ecs),
    }
    const entries = await keeper.shard(one.peer, counts)
    const keyPackages: Bytes[] = []
    for (let n = 0; n < wantedPackages; n++) {
      const keyPackage = await prekeys.ownKeyPackage(one.peer)
      if (keyPackage !== undefined) keyPackages.push(keyPackage)
    }
    const given = { bundle, entries, keyPackages, ...(record !== undefined && { record }) }
    await prekeys.publish(one.peer, given, signal)
    one.bundle = bundle
    one.record = record
  }

  async #tellKeys(one: Custodian): Promise<void> {
    const { client, queueKeys } = this.#options
    const before = one.keySerial
    for (const { serial, ...key } of queueKeys.after(one.keySerial)) {
      await client.authorise(one.peer, key, this.#closing.signal)
      one.keySerial = serial
    }
    if (one.keySerial !== before) await this.#save(one)
  }
}

function same(a: Bytes | undefined, b: Bytes | undefined): boolean {
  return a !== undefined && b !== undefined ? equalBytes(a, b) : a === b
}
