// Puts mailboxes together: custody for others, this agent's custodians, deposits, contact records. Floor 3.
import type { Bytes } from '../../../protocols/base/bytes.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import type { Primitives } from '../../../protocols/base/primitives.ts'
import { HOUR_MS } from '../../../protocols/base/time.ts'
import type { TimeMs } from '../../../protocols/base/time.ts'
import type { FetchedPrekeys, FetchOptions, Prekeys } from '../../handlers/prekeys.ts'
import { serveMailbox } from '../../handlers/mailbox.ts'
import { makeMailboxClient } from '../../handlers/mailbox-client.ts'
import type { MailboxClient } from '../../handlers/mailbox-client.ts'
import { QUEUE_KEYS_MAX } from '../../../protocols/mailbox/types.ts'
import type { Host } from '../../host/types.ts'
import type { Store } from '../../store/types.ts'
import type { Conversations, DepositEffect } from '../conversations.ts'
import type { NodeLog } from '../log.ts'
import type { PrekeyKeeper } from '../prekey-keeper.ts'
import type { Progress } from './collector.ts'
import { ContactRecords } from './contact-records.ts'
import { Custodian } from './custodian.ts'
import { Custodians } from './custodians.ts'
import { Deposits } from './deposits.ts'
import { QueueKeys } from './queue-keys.ts'
import { Shards } from './shards.ts'

/* Implementation constants: ours to tune. */
/** Head start of a peer over its custodians when its prekeys are fetched. */
export const PEER_FIRST_MS = 3_000

/** What mailboxes are made with. */
export interface MailboxesOptions {
  readonly host: Host
  readonly store: Store
  readonly primitives: Primitives
  readonly random: (length: number) => Bytes
  readonly now: () => TimeMs
  /** Ed25519 seed of the host's peer ID. */
  readonly secret: Bytes
  readonly prekeys: Prekeys
  readonly log: NodeLog
  /** Keep mail for anyone. */
  readonly serve: boolean
  /** Treat strangers as contacts. */
  readonly open: boolean
  readonly bootstrap: readonly PeerId[]
  readonly custodianGoneMs?: number
  readonly onProgress: (progress: Progress) => void
}

/** What a running conversation has to do with mailboxes. */
export interface MailboxLinks {
  readonly conversations: Conversations
  readonly keeper: PrekeyKeeper
  readonly isContact: (peer: PeerId) => Promise<boolean>
}

/** Facts for the status page. */
export interface MailboxFacts {
  readonly serving: boolean
  readonly custodians: readonly PeerId[]
}

/** Mailboxes of a running node. */
export class Mailboxes {
  readonly #options: MailboxesOptions
  readonly #records: ContactRecords
  readonly #client: MailboxClient
  readonly #custodian: Custodian | undefined
  readonly #shards: Shards
  readonly #closing = new AbortController()
  readonly #stops: (() => void)[] = []
  /** Contacts that have no queue key yet. */
  readonly #waiting = new Set<PeerId>()
  #deposits: Deposits | undefined
  #custodians: Custodians | undefined
  #links: MailboxLinks | undefined

  private constructor(
    options: MailboxesOptions,
    records: ContactRecords,
    custodian: Custodian | undefined,
  ) {
    this.#options = options
    this.#records = records
    this.#custodian = custodian
    this.#client = makeMailboxClient(options.host)
    this.#shards = new Shards({
      ...options,
      peer: options.host.peerId,
      serves: (recipient) => custodian?.serves(recipient) === true,
      ownRecord: () => records.own(),
    })
  }

  /** Loads what is kept; serves from `start` on. */
  static async open(options: MailboxesOptions): Promise<Mailboxes> {
    const peer = options.host.peerId
    const custodian = options.serve ? await Custodian.open({ ...options, peer }) : undefined
    const mailboxes = new Mailboxes(options, await ContactRecords.open(options), custodian)
    options.prekeys.setCustody(mailboxes.#shards)
    return mailboxes
  }

  /** Begins to serve, to collect and to deposit. */
  async start(links: MailboxLinks): Promise<void> {
    const { host, store, now } = this.#options
    const { conversations, keeper, isContact } = links
    this.#links = links
    this.#deposits = new Deposits({
      ...this.#options,
      records: this.#records,
      client: this.#client,
      tell: (peer, heard) => void conversations.dispatch(peer, heard).catch(() => undefined),
    })
    if (this.#custodian !== undefined) {
      const custodian = this.#custodian
      await serveMailbox(host, custodian, now)
      const sweeping = setInterval(() => void this.#shards.sweep().catch(() => undefined), HOUR_MS)
      sweeping.unref()
      this.#stops.push(() => {
        clearInterval(sweeping)
        custodian[Symbol.dispose]()
      })
    }
    const queueKeys = await QueueKeys.open({ ...this.#options, store })
    const custodians = await Custodians.open({
      ...this.#options,
      client: this.#client,
      keeper,
      records: this.#records,
      queueKeys,
      isContact,
      onTended: () => this.#authoriseWaiting(),
      receive: (sender, envelope, envelopeId) =>
        conversations.received(sender, envelope, envelopeId, 'mailbox'),
      ...(this.#options.custodianGoneMs !== undefined && { goneMs: this.#options.custodianGoneMs }),
    })
    this.#custodians = custodians
    this.#stops.push(
      host.onPeer((event) => {
        custodians.onPeer(event)
        if (event.kind === 'identified') this.#records.announce(this.#closing.signal)
      }),
    )
  }

  facts(): MailboxFacts {
    return {
      serving: this.#custodian !== undefined,
      custodians: this.#custodians?.current() ?? [],
    }
  }

  /** Custodians that a peer named, as far as they can be found within a few seconds. */
  async custodiansOf(peer: PeerId, signal: AbortSignal): Promise<PeerId[]> {
    const limited = AbortSignal.any([signal, this.#closing.signal])
    const record = await this.#records.find(peer, limited)
    return record === undefined ? [] : this.#records.leases(record).map((one) => one.custodian)
  }

  /** Leaves an envelope with the peer's custodians. */
  deposit(peer: PeerId, effect: DepositEffect): void {
    this.#deposits?.deposit(peer, effect)
  }

  /** A link to a peer is open: its record is refreshed, and a contact gets a queue key. Never throws. */
  met(peer: PeerId): void {
    void this.#records.refresh(peer, this.#closing.signal).catch(() => undefined)
    this.#authoriseOrWait(peer)
  }

  /** A peer is no contact any more. */
  async parted(peer: PeerId): Promise<void> {
    await this.#custodians?.revoke(peer)
  }

  /** Fetches prekeys from the peer itself, and from its custodians if that takes long. */
  async fetchPrekeys(
    peer: PeerId,
    options: FetchOptions,
  ): Promise<FetchedPrekeys & { readonly from: PeerId }> {
    const { prekeys } = this.#options
    const rivals = new AbortController()
    const limits = [rivals.signal, this.#closing.signal]
    const signal = AbortSignal.any(
      options.signal === undefined ? limits : [...limits, options.signal],
    )
    const own = prekeys
      .fetch(peer, { ...options, signal })
      .then((fetched) => ({ ...fetched, from: peer }))
    const failed = own.catch(() => undefined)
    const others = async (): Promise<FetchedPrekeys & { readonly from: PeerId }> => {
      const early = new Promise<void>((resolve) => setTimeout(resolve, PEER_FIRST_MS).unref())
      const found = await Promise.race([failed, early])
      if (found !== undefined) return found
      const custodians = await this.custodiansOf(peer, signal)
      return Promise.any(
        custodians.map(async (from) => {
          const fetched = await prekeys.fetchFrom(from, peer, { ...options, signal })
          return { ...fetched, from }
        }),
      )
    }
    try {
      return await Promise.any([own, others()])
    } catch {
      return await own // why the peer itself could not be asked says more than why its custodians could not
    } finally {
      rivals.abort()
    }
  }

  close(): void {
    this.#closing.abort()
    for (const stop of this.#stops.splice(0)) stop()
    this.#custodians?.close()
    this.#deposits?.close()
    this.#client.close()
  }

  /** Contacts met before there was a custodian, or while the disk failed, are authorised when custodians are tended. */
  #authoriseOrWait(peer: PeerId): void {
    const authorised = this.#authorise(peer).catch(() => false)
    void authorised.then((isDone) => {
      if (!isDone && this.#waiting.size < QUEUE_KEYS_MAX) this.#waiting.add(peer)
    })
  }

  #authoriseWaiting(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const peer of waiting) this.#authoriseOrWait(peer)
  }

  /** Gives a contact a queue key; false if there is no custodian to give it to. */
  async #authorise(peer: PeerId): Promise<boolean> {
    const links = this.#links
    const custodians = this.#custodians
    if (links === undefined || custodians === undefined) return false
    if (!this.#options.open && !(await links.isContact(peer))) return true
    if (custodians.current().length === 0) return false
    const key = await custodians.authorise(peer)
    if (key === undefined) return true
    const { id, seed, expiresAt } = key
    await links.conversations.dispatch(peer, { kind: 'keyOffered', key: { id, seed, expiresAt } })
    await custodians.told(peer, key)
    return true
  }
}
