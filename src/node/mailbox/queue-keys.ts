// Queue keys: each contact's right to a place of its own in this agent's mailboxes (mailbox spec.md §4.2). Floor 3.
// Table `queue-key`: peer → serial, id, seed, expiry. A custodian knows all keys up to a serial.
import { formatHex } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import type { Primitives } from '../../../protocols/base/primitives.ts'
import { toTimeMs } from '../../../protocols/base/time.ts'
import type { TimeMs } from '../../../protocols/base/time.ts'
import { QUEUE_KEY_LIFE_MS, QUEUE_KEY_RENEWAL_MS } from '../../../protocols/direct/types.ts'
import type { QueueKeyGrant } from '../../../protocols/direct/types.ts'
import {
  CONTACT_QUOTA_BYTES,
  CONTACT_QUOTA_ENVELOPES,
  QUEUE_KEY_ID_BYTES,
  QUEUE_KEYS_MAX,
} from '../../../protocols/mailbox/types.ts'
import type { QueueKey, QueueKeyId } from '../../../protocols/mailbox/types.ts'
import { decodeRow, encodeRow } from '../../store/row.ts'
import { del, put } from '../../store/types.ts'
import type { Store } from '../../store/types.ts'

const TABLE = 'queue-key'
const VERSION = 1

/** A contact's key. */
export interface OwnQueueKey extends QueueKeyGrant {
  readonly serial: number
  /** The contact's conversation has it durably: it will be told. */
  readonly isTold: boolean
}

/** What keys are made with. */
export interface QueueKeysOptions {
  readonly store: Store
  readonly primitives: Primitives
  readonly random: (length: number) => Bytes
  readonly now: () => TimeMs
}

/** Keys of all contacts. */
export class QueueKeys {
  readonly #options: QueueKeysOptions
  readonly #keys = new Map<PeerId, OwnQueueKey>()
  #serial = 0

  private constructor(options: QueueKeysOptions) {
    this.#options = options
  }

  /** Loads the keys. */
  static async open(options: QueueKeysOptions): Promise<QueueKeys> {
    const keys = new QueueKeys(options)
    for await (const { key, value } of options.store.rows(TABLE)) {
      const own = unpackKey(value)
      keys.#keys.set(key as PeerId, own)
      keys.#serial = Math.max(keys.#serial, own.serial)
    }
    return keys
  }

  /** The highest serial. */
  get serial(): number {
    return this.#serial
  }

  /**
   * The key that a contact is to be told: a new one if it has none or an old one, or one that a crash kept from it;
   * undefined if nothing is to be done.
   */
  async renew(peer: PeerId): Promise<OwnQueueKey | undefined> {
    const { store, random, now } = this.#options
    const known = this.#keys.get(peer)
    if (known !== undefined && known.expiresAt - now() > QUEUE_KEY_RENEWAL_MS) {
      return known.isTold ? undefined : known
    }
    if (known === undefined && this.#keys.size >= QUEUE_KEYS_MAX) await this.#forget()
    if (known === undefined && this.#keys.size >= QUEUE_KEYS_MAX) return undefined
    this.#serial += 1
    const key: OwnQueueKey = {
      serial: this.#serial,
      id: random(QUEUE_KEY_ID_BYTES),
      seed: random(32),
      expiresAt: toTimeMs(now() + QUEUE_KEY_LIFE_MS),
      isTold: false,
    }
    this.#keys.set(peer, key)
    try {
      await store.commit([put(TABLE, peer, packKey(key))])
    } catch (error) {
      if (known === undefined) this.#keys.delete(peer)
      else this.#keys.set(peer, known)
      throw error
    }
    return key
  }

  /** Notes that a contact will be told its key, whatever happens. */
  async told(peer: PeerId, { serial }: OwnQueueKey): Promise<void> {
    const key = this.#keys.get(peer)
    if (key?.serial !== serial || key.isTold) return
    const told = { ...key, isTold: true }
    await this.#options.store.commit([put(TABLE, peer, packKey(told))])
    if (this.#keys.get(peer) === key) this.#keys.set(peer, told)
  }

  /** Forgets a contact's key; answers its id, for custodians to forget it, too. */
  async drop(peer: PeerId): Promise<QueueKeyId | undefined> {
    const key = this.#keys.get(peer)
    if (key === undefined) return undefined
    this.#keys.delete(peer)
    await this.#options.store.commit([del(TABLE, peer)])
    return formatHex(key.id) as QueueKeyId
  }

  /** What custodians are to know of keys made after a serial, oldest first. */
  after(serial: number): (QueueKey & { readonly serial: number })[] {
    const { primitives, now } = this.#options
    return [...this.#keys.values()]
      .filter((key) => key.serial > serial && key.expiresAt > now())
      .sort((a, b) => a.serial - b.serial)
      .map((key) => ({
        serial: key.serial,
        id: formatHex(key.id) as QueueKeyId,
        publicKey: primitives.signPublic(key.seed),
        quotaBytes: CONTACT_QUOTA_BYTES,
        quotaEnvelopes: CONTACT_QUOTA_ENVELOPES,
        expiresAt: key.expiresAt,
      }))
  }

  async #forget(): Promise<void> {
    const { store, now } = this.#options
    const dead = [...this.#keys].filter(([, { expiresAt }]) => expiresAt <= now())
    for (const [peer] of dead) this.#keys.delete(peer)
    if (dead.length > 0) await store.commit(dead.map(([peer]) => del(TABLE, peer)))
  }
}

function packKey({ serial, id, seed, expiresAt, isTold }: OwnQueueKey): Bytes {
  return encodeRow(VERSION, [serial, id, seed, expiresAt, isTold])
}

function unpackKey(row: Bytes): OwnQueueKey {
  const [serial, id, seed, expiresAt, isTold] = decodeRow(VERSION, row) as [
    number,
    Bytes,
    Bytes,
    TimeMs,
    boolean | undefined,
  ]
  return { serial, id, seed, expiresAt, isTold: isTold ?? false }
}
