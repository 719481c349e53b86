// One recipient's box at a custodian: an index in memory, envelopes on disk (mailbox spec.md §4.1). Floor 3.
//
// | table            | key                   | value                                                    |
// | ---------------- | --------------------- | -------------------------------------------------------- |
// | custody-lease    | recipient             | the signed lease, and each stranger's quota              |
// | custody-key      | recipient/key id      | a contact's queue key                                    |
// | custody-item     | recipient/sequence    | envelope id, size, times, depositor                      |
// | custody-envelope | recipient/sequence    | the envelope                                             |
// | custody-removed  | recipient/envelope id | size and times of what was collected and acknowledged    |
// | custody-stranger | recipient/peer        | what a stranger deposited since the lease began          |
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { ConclaveError } from '../../../protocols/base/errors.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import type { TimeMs } from '../../../protocols/base/time.ts'
import type { EnvelopeId } from '../../../protocols/direct/types.ts'
import { NO_USAGE } from '../../../protocols/mailbox/custody.ts'
import type { BoxFigures, Depositor, Usage } from '../../../protocols/mailbox/custody.ts'
import type { StoredEnvelope } from '../../../protocols/mailbox/frames.ts'
import { decodeLease } from '../../../protocols/mailbox/lease.ts'
import type { Lease, QueueKey, QueueKeyId } from '../../../protocols/mailbox/types.ts'
import { decodeRow, encodeRow } from '../../store/row.ts'
import { del, put } from '../../store/types.ts'
import type { Op, Store } from '../../store/types.ts'
import { sortable } from '../direct-rows.ts'

/** Tables of a custodian's boxes. */
export const CUSTODY = {
  lease: 'custody-lease',
  key: 'custody-key',
  item: 'custody-item',
  envelope: 'custody-envelope',
  removed: 'custody-removed',
  stranger: 'custody-stranger',
} as const

/** Collected envelopes remembered, so that one that is deposited again is not kept again; the oldest is forgotten. */
export const REMOVED_MAX = 16_384

const VERSION = 1

/** An envelope that is kept, or was. */
export interface Kept {
  readonly size: number
  readonly storedAt: TimeMs
  readonly expiresAt: TimeMs
}

interface Item extends Kept {
  readonly sequence: number
  readonly envelopeId: EnvelopeId
  readonly depositor: Depositor
  /** Resolves once the row is on disk; absent from then on. */
  saving?: Promise<void>
}

/** A lease, signed and read. */
export interface GrantedLease {
  readonly bytes: Bytes
  readonly lease: Lease
  /** What each stranger may fill. */
  readonly strangerQuota: Usage
}

/** One box. Its methods change the index at once, and the disk in the order of the calls. */
export class Box {
  readonly recipient: PeerId
  readonly #store: Store
  #granted: GrantedLease
  readonly #keys = new Map<QueueKeyId, QueueKey>()
  /** Ascending by sequence. */
  readonly #items = new Map<EnvelopeId, Item>()
  readonly #removed = new Map<EnvelopeId, Kept>()
  readonly #strangers = new Map<PeerId, Usage>()
  readonly #byKey = new Map<QueueKeyId, Usage>()
  #used = NO_USAGE
  #usedByStrangers = NO_USAGE
  #nextSequence = 1

  private constructor(store: Store, granted: GrantedLease) {
    this.#store = store
    this.#granted = granted
    this.recipient = granted.lease.recipient
  }

  /** Reads a box; undefined if this agent keeps none for the recipient. */
  static async load(store: Store, recipient: PeerId): Promise<Box | undefined> {
    const row = await store.get(CUSTODY.lease, recipient)
    if (row === undefined) return undefined
    const box = new Box(store, unpackGranted(row))
    const prefix = `${recipient}/`
    const nameOf = (key: string): string => key.slice(prefix.length)
    for await (const { key, value } of store.rows(CUSTODY.key, { prefix })) {
      const queueKey = unpackKey(nameOf(key) as QueueKeyId, value)
      box.#keys.set(queueKey.id, queueKey)
    }
    for await (const { key, value } of store.rows(CUSTODY.item, { prefix })) {
      box.#add(unpackItem(Number.parseInt(nameOf(key), 16), value))
    }
    const removed: (readonly [EnvelopeId, Kept])[] = []
    for await (const { key, value } of store.rows(CUSTODY.removed, { prefix })) {
      removed.push([nameOf(key) as EnvelopeId, unpackKept(value)])
    }
    removed.sort(([, a], [, b]) => a.expiresAt - b.expiresAt)
    for (const [id, kept] of removed) box.#removed.set(id, kept)
    for await (const { key, value } of store.rows(CUSTODY.stranger, { prefix })) {
      box.#strangers.set(nameOf(key) as PeerId, unpackUsage(value))
    }
    return box
  }

  /** Makes or renews a box, durably. Strangers begin anew with each lease. */
  static async grant(store: Store, granted: GrantedLease, before?: Box): Promise<Box> {
    const { recipient } = granted.lease
    const { bytes, strangerQuota } = granted
    const row = encodeRow(VERSION, [bytes, strangerQuota.bytes, strangerQuota.envelopes])
    const strangers = before === undefined ? [] : [...before.#strangers.keys()]
    await store.commit([
      put(CUSTODY.lease, recipient, row),
      ...strangers.map((peer) => del(CUSTODY.stranger, `${recipient}/${peer}`)),
    ])
    if (before === undefined) return new Box(store, granted)
    before.#granted = granted
    for (const peer of strangers) before.#strangers.delete(peer)
    return before
  }

  get granted(): GrantedLease {
    return this.#granted
  }

  get used(): Usage {
    return this.#used
  }

  /** Queue keys that the recipient registered. */
  get keyCount(): number {
    return this.#keys.size
  }

  key(id: QueueKeyId): QueueKey | undefined {
    return this.#keys.get(id)
  }

  /** What is known of an envelope: kept now, or collected before. Waits until it is on disk. */
  async find(id: EnvelopeId): Promise<Kept | undefined> {
    const item = this.#items.get(id)
    await item?.saving
    return item ?? this.#removed.get(id)
  }

  /** The figures that decide about a deposit. */
  figures(depositor: Depositor): BoxFigures {
    const { lease, strangerQuota } = this.#granted
    const usedByDepositor =
      depositor.kind === 'contact'
        ? this.#byKey.get(depositor.keyId)
        : this.#strangers.get(depositor.peer)
    return {
      lease,
      strangerQuota,
      used: this.#used,
      usedByStrangers: this.#usedByStrangers,
      strangers: this.#strangers.size,
      usedByDepositor: usedByDepositor ?? NO_USAGE,
    }
  }

  /** Keeps an envelope that was allowed; resolves once it is on disk. */
  async keep(
    envelopeId: EnvelopeId,
    envelope: Bytes,
    depositor: Depositor,
    times: { readonly storedAt: TimeMs; readonly expiresAt: TimeMs },
  ): Promise<Kept> {
    const held = this.#items.get(envelopeId)
    if (held !== undefined) {
      await held.saving // deposited twice at once
      return held
    }
    const sequence = this.#nextSequence
    const item: Item = { sequence, envelopeId, depositor, size: envelope.length, ...times }
    this.#add(item)
    const key = `${this.recipient}/${sortable(sequence)}`
    const ops = [put(CUSTODY.item, key, packItem(item)), put(CUSTODY.envelope, key, envelope)]
    if (depositor.kind === 'stranger') {
      const used = this.#countStranger(depositor.peer, item.size, 1)
      const row = encodeRow(VERSION, [used.bytes, used.envelopes])
      ops.push(put(CUSTODY.stranger, `${this.recipient}/${depositor.peer}`, row))
    }
    item.saving = this.#store.commit(ops)
    try {
      await item.saving
    } catch (error) {
      this.#drop(item)
      if (depositor.kind === 'stranger') this.#countStranger(depositor.peer, item.size, -1)
      throw error
    }
    delete item.saving
    return item
  }

  /** Envelopes after a sequence, oldest first, as far as they are on disk and within the bounds. */
  async collect(
    after: number,
    limits: { readonly envelopesMax: number; readonly bytesMax: number },
    nowMs: TimeMs,
  ): Promise<{ readonly stored: StoredEnvelope[]; readonly more: boolean }> {
    const stored: StoredEnvelope[] = []
    let bytes = 0
    for (const item of this.#items.values()) {
      const { sequence, envelopeId, size, storedAt: depositedAt, expiresAt } = item
      if (sequence <= after || expiresAt <= nowMs) continue
      if (item.saving !== undefined) return { stored, more: false } // its depositor wakes the watchers
      if (stored.length >= limits.envelopesMax) return { stored, more: true }
      if (stored.length > 0 && bytes + size > limits.bytesMax) return { stored, more: true }
      const envelope = await this.#store.get(
        CUSTODY.envelope,
        `${this.recipient}/${sortable(sequence)}`,
      )
      if (envelope === undefined) continue // acknowledged while this was read
      bytes += size
      stored.push({ sequence, envelopeId, depositedAt, expiresAt, envelope })
    }
    return { stored, more: false }
  }

  /** Forgets collected envelopes, durably; answers for each whether it was here. */
  async acknowledge(ids: readonly EnvelopeId[]): Promise<boolean[]> {
    const items = ids.map((id) => this.#items.get(id))
    const ops: Op[] = []
    for (const item of items) {
      if (item === undefined) continue
      ops.push(...this.#removal(item))
      ops.push(put(CUSTODY.removed, `${this.recipient}/${item.envelopeId}`, packKept(item)))
    }
    if (ops.length > 0) await this.#store.commit(ops)
    for (const item of items) {
      if (item === undefined || !this.#drop(item)) continue
      const { envelopeId, size, storedAt, expiresAt } = item
      this.#removed.set(envelopeId, { size, storedAt, expiresAt })
    }
    await this.#boundRemoved()
    return items.map((item) => item !== undefined)
  }

  /** Registers or replaces a contact's queue key, durably. */
  async authorise(key: QueueKey): Promise<void> {
    const { id, publicKey, quotaBytes, quotaEnvelopes, expiresAt } = key
    const row = encodeRow(VERSION, [publicKey, quotaBytes, quotaEnvelopes, expiresAt])
    await this.#store.commit([put(CUSTODY.key, `${this.recipient}/${id}`, row)])
    this.#keys.set(id, key)
  }

  /** Forgets a queue key, durably. */
  async revoke(id: QueueKeyId): Promise<void> {
    await this.#store.commit([del(CUSTODY.key, `${this.recipient}/${id}`)])
    this.#keys.delete(id)
  }

  /** Forgets what is past its time. */
  async expire(nowMs: TimeMs): Promise<void> {
    const items = [...this.#items.values()].filter(({ expiresAt }) => expiresAt <= nowMs)
    const removed = [...this.#removed].filter(([, { expiresAt }]) => expiresAt <= nowMs)
    const keys = [...this.#keys.values()].filter(({ expiresAt }) => expiresAt <= nowMs)
    const ops = [
      ...items.flatMap((item) => this.#removal(item)),
      ...removed.map(([id]) => del(CUSTODY.removed, `${this.recipient}/${id}`)),
      ...keys.map(({ id }) => del(CUSTODY.key, `${this.recipient}/${id}`)),
    ]
    if (ops.length > 0) await this.#store.commit(ops)
    for (const item of items) this.#drop(item)
    for (const [id] of removed) this.#removed.delete(id)
    for (const { id } of keys) this.#keys.delete(id)
  }

  /** Deletes the whole box. */
  async delete(): Promise<void> {
    const { recipient } = this
    await this.#store.commit([
      del(CUSTODY.lease, recipient),
      ...[...this.#items.values()].flatMap((item) => this.#removal(item)),
      ...[...this.#removed.keys()].map((id) => del(CUSTODY.removed, `${recipient}/${id}`)),
      ...[...this.#keys.keys()].map((id) => del(CUSTODY.key, `${recipient}/${id}`)),
      ...[...this.#strangers.keys()].map((peer) => del(CUSTODY.stranger, `${recipient}/${peer}`)),
    ])
  }

  #add(item: Item): void {
    this.#items.set(item.envelopeId, item)
    this.#nextSequence = Math.max(this.#nextSequence, item.sequence + 1)
    this.#count(item, 1)
  }

  /** False if it was gone already. */
  #drop(item: Item): boolean {
    if (this.#items.get(item.envelopeId) !== item) return false
    this.#items.delete(item.envelopeId)
    this.#count(item, -1)
    return true
  }

  #count({ size, depositor }: Item, by: 1 | -1): void {
    this.#used = grow(this.#used, size, by)
    if (depositor.kind === 'stranger') {
      this.#usedByStrangers = grow(this.#usedByStrangers, size, by)
      return
    }
    const { keyId } = depositor
    this.#byKey.set(keyId, grow(this.#byKey.get(keyId) ?? NO_USAGE, size, by))
  }

  /** What a stranger deposited under this lease, whether it was collected or not. */
  #countStranger(peer: PeerId, size: number, by: 1 | -1): Usage {
    const used = grow(this.#strangers.get(peer) ?? NO_USAGE, size, by)
    this.#strangers.set(peer, used)
    return used
  }

  #removal({ sequence }: Item): Op[] {
    const key = `${this.recipient}/${sortable(sequence)}`
    return [del(CUSTODY.item, key), del(CUSTODY.envelope, key)]
  }

  async #boundRemoved(): Promise<void> {
    const over = [...this.#removed.keys()].slice(0, Math.max(0, this.#removed.size - REMOVED_MAX))
    if (over.length === 0) return
    for (const id of over) this.#removed.delete(id)
    await this.#store.commit(over.map((id) => del(CUSTODY.removed, `${this.recipient}/${id}`)))
  }
}

function grow({ bytes, envelopes }: Usage, size: number, by: 1 | -1): Usage {
  return { bytes: bytes + by * size, envelopes: envelopes + by }
}

/** Reads a lease row. */
export function unpackGranted(row: Bytes): GrantedLease {
  const [bytes, strangerBytes, strangerEnvelopes] = decodeRow(VERSION, row) as [
    Bytes,
    number,
    number,
  ]
  const lease = decodeLease(bytes)
  if (!lease.ok) throw new ConclaveError('STORE_CORRUPT', 'a lease in the store does not decode')
  const strangerQuota = { bytes: strangerBytes, envelopes: strangerEnvelopes }
  return { bytes, lease: lease.value, strangerQuota }
}

function unpackKey(id: QueueKeyId, row: Bytes): QueueKey {
  const [publicKey, quotaBytes, quotaEnvelopes, expiresAt] = decodeRow(VERSION, row) as [
    Bytes,
    number,
    number,
    TimeMs,
  ]
  return { id, publicKey, quotaBytes, quotaEnvelopes, expiresAt }
}

function packItem({ envelopeId, size, storedAt, expiresAt, depositor }: Item): Bytes {
  const isContact = depositor.kind === 'contact'
  const name = isContact ? depositor.keyId : depositor.peer
  return encodeRow(VERSION, [envelopeId, size, storedAt, expiresAt, isContact ? 1 : 0, name])
}

function unpackItem(sequence: number, row: Bytes): Item {
  const [envelopeId, size, storedAt, expiresAt, kind, name] = decodeRow(VERSION, row) as [
    EnvelopeId,
    number,
    TimeMs,
    TimeMs,
    number,
    string,
  ]
  const depositor: Depositor =
    kind === 1
      ? { kind: 'contact', keyId: name as QueueKeyId }
      : { kind: 'stranger', peer: name as PeerId }
  return { sequence, envelopeId, size, storedAt, expiresAt, depositor }
}

function packKept({ size, storedAt, expiresAt }: Kept): Bytes {
  return encodeRow(VERSION, [size, storedAt, expiresAt])
}

function unpackKept(row: Bytes): Kept {
  const [size, storedAt, expiresAt] = decodeRow(VERSION, row) as [number, TimeMs, TimeMs]
  return { size, storedAt, expiresAt }
}

function unpackUsage(row: Bytes): Usage {
  const [bytes, envelopes] = decodeRow(VERSION, row) as [number, number]
  return { bytes, envelopes }
}
