// Serves as custodian: leases, deposits, collections of any number of recipients (mailbox spec.md §4.1). Floor 3.
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { invariant } from '../../../protocols/base/errors.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import type { Primitives } from '../../../protocols/base/primitives.ts'
import { HOUR_MS, toTimeMs } from '../../../protocols/base/time.ts'
import type { TimeMs } from '../../../protocols/base/time.ts'
import { TokenBuckets } from '../../../protocols/base/token-bucket.ts'
import { envelopeIdOf, isFrom } from '../../../protocols/direct/envelope.ts'
import type { EnvelopeId } from '../../../protocols/direct/types.ts'
import { peerIdToBytes } from '../../../protocols/base/ids.ts'
import { decodeAuthorisation, isAuthorised } from '../../../protocols/mailbox/authorisation.ts'
import { judgeDeposit, judgeWish, overBound } from '../../../protocols/mailbox/custody.ts'
import type { Depositor, Refusal } from '../../../protocols/mailbox/custody.ts'
import type { CollectEnd, CollectRequest } from '../../../protocols/mailbox/frames.ts'
import type { DepositRequest, StoredEnvelope } from '../../../protocols/mailbox/frames.ts'
import { leaseIdFromBytes, signLease } from '../../../protocols/mailbox/lease.ts'
import { signReceipt } from '../../../protocols/mailbox/storage-receipt.ts'
import {
  CONTACT_QUOTA_BYTES,
  CONTACT_QUOTA_ENVELOPES,
  LEASE_ID_BYTES,
  QUEUE_KEYS_MAX,
  STRANGER_RATE,
  TTL_MS_MAX,
} from '../../../protocols/mailbox/types.ts'
import type { Lease, LeaseWish, QueueKey, QueueKeyId } from '../../../protocols/mailbox/types.ts'
import type { Answer, MailboxSink } from '../../handlers/mailbox.ts'
import type { Store } from '../../store/types.ts'
import { Box, CUSTODY, unpackGranted } from './box.ts'
import type { GrantedLease, Kept } from './box.ts'

/* Implementation constants: ours to tune. */
/** Boxes in memory; of more, the one used longest ago is unloaded. */
export const BOXES_LOADED_MAX = 256
/** How often what is past its time is deleted. */
export const SWEEP_MS: number = HOUR_MS
/** Depositors whose rates are remembered. */
const DEPOSITORS_MAX = 4_096

/** What a custodian is made with. */
export interface CustodianOptions {
  readonly store: Store
  readonly primitives: Primitives
  readonly random: (length: number) => Bytes
  readonly now: () => TimeMs
  readonly peer: PeerId
  /** Ed25519 seed of `peer`. */
  readonly secret: Bytes
}

const REFUSED: Refusal = { ok: false, status: 'refused' }

/** All boxes that this agent keeps. */
export class Custodian implements MailboxSink, Disposable {
  readonly #options: CustodianOptions
  /** What was promised, by recipient. */
  readonly #leases = new Map<PeerId, GrantedLease>()
  /** Least recently used first. */
  readonly #boxes = new Map<PeerId, Promise<Box | undefined>>()
  readonly #watchers = new Map<PeerId, Set<() => void>>()
  readonly #granting = new Set<PeerId>()
  readonly #rates = new TokenBuckets<PeerId>(STRANGER_RATE, DEPOSITORS_MAX)
  readonly #timer: NodeJS.Timeout

  private constructor(options: CustodianOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.sweep().catch(() => undefined), SWEEP_MS).unref()
  }

  /** Loads what was promised. */
  static async open(options: CustodianOptions): Promise<Custodian> {
    const custodian = new Custodian(options)
    for await (const { key, value } of options.store.rows(CUSTODY.lease)) {
      custodian.#leases.set(key as PeerId, unpackGranted(value))
    }
    return custodian
  }

  /** Recipients with a box here. */
  recipients(): PeerId[] {
    return [...this.#leases.keys()]
  }

  /** True if this agent keeps a box for the recipient. */
  serves(recipient: PeerId): boolean {
    return this.#leases.has(recipient)
  }

  async requestLease(recipient: PeerId, wish: LeaseWish): Promise<Answer<Bytes>> {
    const { primitives, random, now, peer, secret, store } = this.#options
    if (this.#granting.has(recipient) || recipient === peer) return { ok: false, status: 'busy' }
    const nowMs = now()
    const others = [...this.#leases].filter(([other]) => other !== recipient)
    const bytes = others.reduce((sum, [, { lease }]) => sum + lease.quotaBytes, 0)
    const judged = judgeWish(wish, { leases: others.length, bytes }, nowMs)
    if (!judged.ok) return judged
    this.#granting.add(recipient)
    try {
      const before = await this.#box(recipient)
      const leaseId = before?.granted.lease.leaseId ?? leaseIdFromBytes(random(LEASE_ID_BYTES))
      invariant(leaseId !== undefined, '16 octets name a lease')
      const { quotaBytes, quotaEnvelopes, ttlMs, expiresAt, strangerQuota } = judged.terms
      const terms = { quotaBytes, quotaEnvelopes, ttlMs, issuedAt: nowMs, expiresAt }
      const lease: Lease = { recipient, custodian: peer, leaseId, ...terms }
      const granted = { bytes: signLease(primitives, secret, lease), lease, strangerQuota }
      const box = await Box.grant(store, granted, before)
      this.#leases.set(recipient, granted)
      this.#boxes.set(recipient, Promise.resolve(box))
      return { ok: true, value: granted.bytes }
    } finally {
      this.#granting.delete(recipient)
    }
  }

  async authorise(recipient: PeerId, key: QueueKey): Promise<Answer<undefined>> {
    const box = await this.#box(recipient)
    if (box === undefined) return REFUSED
    if (box.key(key.id) === undefined && box.keyCount >= QUEUE_KEYS_MAX) {
      return overBound('queue keys', box.keyCount, QUEUE_KEYS_MAX)
    }
    const quotaBytes = Math.min(key.quotaBytes, CONTACT_QUOTA_BYTES)
    const quotaEnvelopes = Math.min(key.quotaEnvelopes, CONTACT_QUOTA_ENVELOPES)
    await box.authorise({ ...key, quotaBytes, quotaEnvelopes })
    return { ok: true, value: undefined }
  }

  async revoke(recipient: PeerId, id: QueueKeyId): Promise<Answer<undefined>> {
    const box = await this.#box(recipient)
    if (box === undefined) return REFUSED
    await box.revoke(id)
    return { ok: true, value: undefined }
  }

  async deposit(from: PeerId, request: DepositRequest): Promise<Answer<Bytes>> {
    const { primitives, now } = this.#options
    const { recipient, envelope } = request
    const box = await this.#box(recipient)
    if (box?.granted.lease.leaseId !== request.leaseId) return REFUSED
    // Nobody provokes anything in another's name.
    if (!isFrom(envelope, peerIdToBytes(from))) return REFUSED
    const envelopeId = envelopeIdOf(primitives, envelope)
    const known = await box.find(envelopeId)
    if (known !== undefined) return this.#receipt(box, envelopeId, known)
    const nowMs = now()
    const depositor = this.#depositor(box, from, request, envelopeId, nowMs)
    if ('status' in depositor) return depositor
    const key = depositor.kind === 'contact' ? box.key(depositor.keyId) : undefined
    const verdict = judgeDeposit(box.figures(depositor), depositor, envelope.length, key, nowMs)
    if (!verdict.ok) return verdict
    const ttlMs = Math.min(request.ttlMs, box.granted.lease.ttlMs, TTL_MS_MAX)
    const times = { storedAt: nowMs, expiresAt: toTimeMs(nowMs + ttlMs) }
    const kept = await box.keep(envelopeId, envelope, depositor, times)
    for (const wake of this.#watchers.get(recipient) ?? []) wake()
    return this.#receipt(box, envelopeId, kept)
  }

  async collect(
    recipient: PeerId,
    { after, envelopesMax, bytesMax }: CollectRequest,
  ): Promise<Answer<{ readonly stored: readonly StoredEnvelope[]; readonly end: CollectEnd }>> {
    const box = await this.#box(recipient)
    if (box === undefined) return REFUSED
    const limits = { envelopesMax, bytesMax }
    const { stored, more } = await box.collect(after, limits, this.#options.now())
    const next = stored.at(-1)?.sequence ?? after
    const { quotaBytes } = box.granted.lease
    return {
      ok: true,
      value: { stored, end: { next, more, usedBytes: box.used.bytes, quotaBytes } },
    }
  }

  async acknowledge(
    recipient: PeerId,
    ids: readonly EnvelopeId[],
  ): Promise<Answer<readonly boolean[]>> {
    const box = await this.#box(recipient)
    if (box === undefined) return REFUSED
    return { ok: true, value: await box.acknowledge(ids) }
  }

  watch(recipient: PeerId, wake: () => void): () => void {
    const watchers = this.#watchers.get(recipient) ?? new Set()
    this.#watchers.set(recipient, watchers.add(wake))
    return () => {
      watchers.delete(wake)
      if (watchers.size === 0) this.#watchers.delete(recipient)
    }
  }

  /** Deletes what is past its time, and boxes whose lease ended longer ago than an envelope lives. */
  async sweep(): Promise<void> {
    const nowMs = this.#options.now()
    for (const [recipient, { lease }] of this.#leases) {
      const box = await this.#box(recipient)
      if (lease.expiresAt + lease.ttlMs > nowMs) {
        await box?.expire(nowMs)
        continue
      }
      await box?.delete()
      this.#leases.delete(recipient)
      this.#boxes.delete(recipient)
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  /** Who deposits, if it has the right to what it says. */
  #depositor(
    box: Box,
    from: PeerId,
    { authorisation, recipient }: DepositRequest,
    envelopeId: EnvelopeId,
    nowMs: TimeMs,
  ): Depositor | Refusal {
    const { primitives, peer } = this.#options
    if (authorisation === undefined) {
      if (this.#rates.take(from, nowMs)) return { kind: 'stranger', peer: from }
      return { ok: false, status: 'busy', bound: { limit: 'rate', found: 1, allowed: 0 } }
    }
    const right = decodeAuthorisation(authorisation)
    if (!right.ok) return REFUSED
    const key = box.key(right.value.keyId)
    const facts = { custodian: peer, recipient, envelopeId }
    if (key === undefined) return REFUSED
    return isAuthorised(primitives, key.publicKey, right.value, facts, nowMs)
      ? { kind: 'contact', keyId: key.id }
      : REFUSED
  }

  #receipt(box: Box, envelopeId: EnvelopeId, { size, storedAt, expiresAt }: Kept): Answer<Bytes> {
    const { primitives, peer, secret } = this.#options
    const { recipient } = box
    const { leaseId } = box.granted.lease
    const facts = { custodian: peer, recipient, leaseId, envelopeId, size, storedAt, expiresAt }
    return { ok: true, value: signReceipt(primitives, secret, facts) }
  }

  async #box(recipient: PeerId): Promise<Box | undefined> {
    if (!this.#leases.has(recipient)) return undefined
    const loading = this.#boxes.get(recipient) ?? Box.load(this.#options.store, recipient)
    this.#boxes.delete(recipient)
    this.#boxes.set(recipient, loading)
    for (const other of this.#boxes.keys()) {
      if (this.#boxes.size <= BOXES_LOADED_MAX) break
      if (!this.#watchers.has(other)) this.#boxes.delete(other)
    }
    try {
      return await loading
    } catch (error) {
      this.#boxes.delete(recipient)
      throw error
    }
  }
}
