// Contact records: this agent's own, signed and published, and those of others, found and kept (identity spec.md §3.8).
// Floor 3. Table `contact-record`: peer → record, when it was found; `own` → sequence and record.
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { equalBytes, utf8 } from '../../../protocols/base/bytes.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import { parsePeerId } from '../../../protocols/base/ids.ts'
import { parseUtf8 } from '../../../protocols/base/bytes.ts'
import type { Primitives } from '../../../protocols/base/primitives.ts'
import { HOUR_MS, MINUTE_MS, SECOND_MS, toTimeMs } from '../../../protocols/base/time.ts'
import type { TimeMs } from '../../../protocols/base/time.ts'
import {
  compareContactRecords,
  parseContactRecord,
  signContactRecord,
} from '../../../protocols/identity/contact-record.ts'
import { toReach } from '../../../protocols/identity/reach.ts'
import {
  CONTACT_RECORD_BYTES_MAX,
  CONTACT_RECORD_KEY_PREFIX,
  CONTACT_RECORD_LIFE_MS,
} from '../../../protocols/identity/types.ts'
import type { ContactRecord } from '../../../protocols/identity/types.ts'
import { parseLease } from '../../../protocols/mailbox/lease.ts'
import { MAILBOX_PROTOCOL } from '../../../protocols/mailbox/types.ts'
import type { Lease } from '../../../protocols/mailbox/types.ts'
import type { Prekeys } from '../../handlers/prekeys.ts'
import type { RecordKind } from '../../host/options.ts'
import type { Host } from '../../host/types.ts'
import { decodeRow, encodeRow } from '../../store/row.ts'
import { del, put } from '../../store/types.ts'
import type { Store } from '../../store/types.ts'

/* Implementation constants: ours to tune. */
/** A record found is asked for again after this. */
export const RECORD_FRESH_MS: number = 10 * MINUTE_MS
/** How long all sources together may take. */
export const FIND_TIMEOUT_MS: number = 4 * SECOND_MS
/** Connected peers that keep mail, asked whether they know a record. */
const ASKED_MAX = 8
/** How often the own record is put into the hash table again, changed or not. */
export const REPUBLISH_MS: number = 6 * HOUR_MS
/** Records of others kept; the one found longest ago is forgotten. */
export const RECORDS_KEPT_MAX = 4_096

const TABLE = 'contact-record'
const VERSION = 1
const OWN = 'own'
const NAMESPACE = CONTACT_RECORD_KEY_PREFIX.slice(1, -1)

/** What records are made with. */
export interface ContactRecordsOptions {
  readonly host: Host
  readonly store: Store
  readonly primitives: Primitives
  readonly now: () => TimeMs
  /** Ed25519 seed of the host's peer ID. */
  readonly secret: Bytes
  readonly prekeys: Pick<Prekeys, 'fetchRecord'>
}

interface Found {
  readonly record: ContactRecord
  readonly bytes: Bytes
  readonly foundAt: number
}

/** The kind of record that the distributed hash table keeps for contacts. */
export function contactRecordKind(primitives: Primitives, now: () => TimeMs): RecordKind {
  const read = (name: Bytes, value: Bytes): ContactRecord | undefined => {
    const peer = parsePeerId(parseUtf8(name) ?? '')
    if (peer === undefined) return undefined
    const record = parseContactRecord(primitives, value, { peer, nowMs: now() })
    return record.ok ? record.value : undefined
  }
  return {
    namespace: NAMESPACE,
    bytesMax: CONTACT_RECORD_BYTES_MAX,
    validate: (name, value) => read(name, value) !== undefined,
    select(name, values) {
      let best = 0
      let kept: { record: ContactRecord; bytes: Bytes } | undefined
      values.forEach((bytes, at) => {
        const record = read(name, bytes)
        if (record === undefined) return
        if (kept !== undefined && compareContactRecords({ record, bytes }, kept) <= 0) return
        kept = { record, bytes }
        best = at
      })
      return best
    },
  }
}

/** Own and others' contact records. */
export class ContactRecords {
  readonly #options: ContactRecordsOptions
  /** Least recently found first. */
  readonly #found = new Map<PeerId, Found>()
  readonly #finding = new Map<PeerId, Promise<ContactRecord | undefined>>()
  #sequence = 0
  #own: Bytes | undefined
  #hasLeases = false
  #putting = false
  /** Asked for while one was under way: it goes in once more after that. */
  #putAgain = false
  #publishedAt = 0

  private constructor(options: ContactRecordsOptions) {
    this.#options = options
  }

  /** Loads what was found before. */
  static async open(options: ContactRecordsOptions): Promise<ContactRecords> {
    const records = new ContactRecords(options)
    for await (const { key, value } of options.store.rows(TABLE)) {
      if (key === OWN) {
        const [sequence, bytes] = decodeRow(VERSION, value) as [number, Bytes]
        records.#sequence = sequence
        records.#own = bytes
        continue
      }
      const [bytes, foundAt] = decodeRow(VERSION, value) as [Bytes, number]
      const peer = key as PeerId // written from a PeerId
      const record = records.#read(peer, bytes)
      if (record !== undefined) records.#found.set(peer, { record, bytes, foundAt })
    }
    return records
  }

  /** This agent's record as it was signed last. */
  own(): Bytes | undefined {
    return this.#own
  }

  /**
   * Signs a new record if leases or addresses changed, or the last one is old, and puts it into the hash table in the
   * background.
   */
  async publish(leases: readonly Bytes[], signal: AbortSignal): Promise<void> {
    const { host, store, primitives, secret, now } = this.#options
    const reach = toReach(host.peerId, host.addresses())
    const before = this.#own === undefined ? undefined : this.#read(host.peerId, this.#own)
    const isSame =
      before !== undefined &&
      leases.length === before.leases.length &&
      leases.every((lease, at) => equalBytes(lease, before.leases[at] ?? new Uint8Array(0))) &&
      String(before.addresses) === String(reach.addresses) &&
      String(before.relays) === String(reach.relays)
    if (isSame && this.#publishedAt + REPUBLISH_MS > now()) return
    // The time, so that an agent that lost its count supersedes its former record.
    const sequence = Math.max(this.#sequence + 1, now())
    const record: ContactRecord = {
      peer: host.peerId,
      sequence,
      expiresAt: toTimeMs(now() + CONTACT_RECORD_LIFE_MS),
      leases,
      ...reach,
    }
    const bytes = signContactRecord(primitives, secret, record)
    await store.commit([put(TABLE, OWN, encodeRow(VERSION, [sequence, bytes]))])
    this.#sequence = sequence
    this.#own = bytes
    this.#publishedAt = now()
    this.#hasLeases = leases.length > 0
    void this.#put(signal)
  }

  /** Puts the record into the hash table again, for a peer that has just come. */
  announce(signal: AbortSignal): void {
    if (this.#hasLeases) void this.#put(signal)
  }

  /** The newest record of a peer that can be had within a few seconds; one found lately is not looked for again. */
  find(peer: PeerId, signal: AbortSignal): Promise<ContactRecord | undefined> {
    const known = this.#found.get(peer)
    const isFresh = known !== undefined && known.foundAt + RECORD_FRESH_MS > this.#options.now()
    if (isFresh && known.record.leases.length > 0) return Promise.resolve(known.record)
    const running = this.#finding.get(peer)
    if (running !== undefined) return running
    const finding = this.#find(peer, signal).finally(() => this.#finding.delete(peer))
    this.#finding.set(peer, finding)
    return finding
  }

  /** Asks a connected peer for its own record, unless that was done lately. */
  async refresh(peer: PeerId, signal: AbortSignal): Promise<void> {
    const known = this.#found.get(peer)
    if (known !== undefined && known.foundAt + RECORD_FRESH_MS > this.#options.now()) return
    await this.#ask(peer, peer, signal)
  }

  /** Leases in a record that are in force: whose custodians have signed them for this peer. */
  leases({ peer, leases }: ContactRecord): Lease[] {
    const { primitives, now } = this.#options
    const check = { recipient: peer, nowMs: now() }
    const good = leases.flatMap((bytes) => {
      const lease = parseLease(primitives, bytes, check)
      return lease.ok && lease.value.custodian !== peer ? [lease.value] : []
    })
    return [...new Map(good.map((lease) => [lease.custodian, lease])).values()]
  }

  async #find(peer: PeerId, signal: AbortSignal): Promise<ContactRecord | undefined> {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(FIND_TIMEOUT_MS)])
    const { host } = this.#options
    const known = this.#found.get(peer)?.record
    const named = known === undefined ? [] : this.leases(known).map((one) => one.custodian)
    const near = host.speaking(MAILBOX_PROTOCOL).slice(0, ASKED_MAX)
    const custodians = new Set([...named, ...near].filter((one) => one !== peer))
    const sources = [
      this.#lookUp(peer, limited),
      ...[...custodians].map((one) => this.#ask(one, peer, limited)),
      ...(host.isConnected(peer) ? [this.#ask(peer, peer, limited)] : []),
    ]
    const all = Promise.allSettled(sources)
    const over = new Promise<void>((resolve) => {
      limited.addEventListener('abort', () => resolve(), { once: true })
    })
    await Promise.race([all, over])
    return this.#found.get(peer)?.record
  }

  async #lookUp(peer: PeerId, signal: AbortSignal): Promise<void> {
    const bytes = await this.#options.host.records.get(NAMESPACE, utf8(peer), { signal })
    if (bytes !== undefined) await this.#keep(peer, bytes)
  }

  async #ask(from: PeerId, peer: PeerId, signal: AbortSignal): Promise<void> {
    await this.#keep(peer, await this.#options.prekeys.fetchRecord(from, peer, signal))
  }

  async #keep(peer: PeerId, bytes: Bytes): Promise<void> {
    const record = this.#read(peer, bytes)
    if (record === undefined) return
    const { host, store, now } = this.#options
    const known = this.#found.get(peer)
    const isNewer = known === undefined || compareContactRecords({ record, bytes }, known) > 0
    const kept = { ...(isNewer ? { record, bytes } : known), foundAt: now() }
    this.#found.delete(peer)
    this.#found.set(peer, kept)
    const ops = [put(TABLE, peer, encodeRow(VERSION, [kept.bytes, kept.foundAt]))]
    const [oldest] = this.#found.keys()
    if (this.#found.size > RECORDS_KEPT_MAX && oldest !== undefined) {
      this.#found.delete(oldest)
      ops.push(del(TABLE, oldest))
    }
    await store.commit(ops)
    if (isNewer) await host.addAddresses(peer, [...record.addresses, ...record.relays])
  }

  #read(peer: PeerId, bytes: Bytes): ContactRecord | undefined {
    const { primitives, now } = this.#options
    const record = parseContactRecord(primitives, bytes, { peer, nowMs: now() })
    return record.ok ? record.value : undefined
  }

  /** One at a time, however many peers come. */
  async #put(signal: AbortSignal): Promise<void> {
    this.#putAgain = true
    if (this.#putting) return
    this.#putting = true
    const { host } = this.#options
    while (this.#putAgain && this.#own !== undefined && !signal.aborted) {
      this.#putAgain = false
      // Nobody near took it, or there is nobody: it comes again with the next peer, and regularly.
      await host.records
        .put(NAMESPACE, utf8(host.peerId), this.#own, { signal })
        .catch(() => undefined)
    }
    this.#putting = false
  }
}
