// Prekeys and contact records that this agent hands out for recipients it keeps mail for (mailbox spec.md §4.3).
// Floor 3. A one-time entry is committed to its requester before it leaves; an id that was here never comes again.
//
// | table             | key                    | value                                                       |
// | ----------------- | ---------------------- | ----------------------------------------------------------- |
// | shard             | recipient              | bundle, contact record, highest id that was brought         |
// | shard-entry       | recipient/kind/id      | a one-time entry not handed out yet                         |
// | shard-key-package | recipient/number       | an MLS key package not handed out yet                       |
// | shard-issued      | recipient/requester    | when, and what it got                                       |
import type { Bytes } from '../../../protocols/base/bytes.ts'
import type { PeerId } from '../../../protocols/base/ids.ts'
import type { Primitives } from '../../../protocols/base/primitives.ts'
import { DAY_MS } from '../../../protocols/base/time.ts'
import type { TimeMs } from '../../../protocols/base/time.ts'
import { verifyBundle, verifyEntry } from '../../../protocols/direct/prekey-bundle.ts'
import type { OneTimeEntry } from '../../../protocols/direct/types.ts'
import { parseContactRecord } from '../../../protocols/identity/contact-record.ts'
import type { FetchedPrekeys, PrekeyCustody, Published, Remaining } from '../../handlers/prekeys.ts'
import { decodeRow, encodeRow } from '../../store/row.ts'
import { del, put } from '../../store/types.ts'
import type { Op, Store } from '../../store/types.ts'
import { sortable } from '../direct-rows.ts'

/* Implementation constants: ours to tune. */
/** Entries of each kind, and key packages, kept for one recipient. */
export const PAIRS_MAX = 50
export const ECS_MAX = 200
export const KEY_PACKAGES_MAX = 16
/** Octets of a key package that fit an answer beside the bundle. */
const KEY_PACKAGE_BYTES_MAX = 2_048
/** One requester gets one entry and one key package in this time, and the same ones again. */
export const ISSUE_INTERVAL_MS: number = DAY_MS

const VERSION = 1
const TABLES = {
  shard: 'shard',
  entry: 'shard-entry',
  keyPackage: 'shard-key-package',
  issued: 'shard-issued',
} as const

/** What shards are made with. */
export interface ShardsOptions {
  readonly store: Store
  readonly primitives: Primitives
  readonly now: () => TimeMs
  readonly peer: PeerId
  /** Whether this agent keeps mail for a recipient. */
  readonly serves: (recipient: PeerId) => boolean
  /** This agent's own contact record. */
  readonly ownRecord: () => Bytes | undefined
}

interface Shard {
  readonly bundle: Bytes | undefined
  readonly record: Bytes | undefined
  readonly highestId: number
}

const NO_SHARD: Shard = { bundle: undefined, record: undefined, highestId: 0 }

/** Prekeys of others. One recipient's requests run one after another, so that none gets an entry twice. */
export class Shards implements PrekeyCustody {
  readonly #options: ShardsOptions
  readonly #busy = new Map<PeerId, Promise<unknown>>()

  constructor(options: ShardsOptions) {
    this.#options = options
  }

  async record(recipient: PeerId): Promise<Bytes | undefined> {
    if (recipient === this.#options.peer) return this.#options.ownRecord()
    if (!this.#options.serves(recipient)) return undefined
    return (await this.#shard(recipient)).record
  }

  async supply(recipient: PeerId): Promise<Remaining | undefined> {
    if (!this.#options.serves(recipient)) return undefined
    const { store } = this.#options
    const count = async (table: string, prefix: string): Promise<number> => {
      let found = 0
      for await (const _ of store.rows(table, { prefix })) found += 1
      return found
    }
    return {
      pairs: await count(TABLES.entry, `${recipient}/pair/`),
      ecs: await count(TABLES.entry, `${recipient}/ec/`),
      keyPackages: await count(TABLES.keyPackage, `${recipient}/`),
    }
  }

  async publish(recipient: PeerId, published: Published): Promise<Remaining | undefined> {
    if (!this.#options.serves(recipient)) return undefined
    return this.#alone(recipient, () => this.#publish(recipient, published))
  }

  async fetch(
    recipient: PeerId,
    requester: PeerId,
    wanted: { readonly oneTime: boolean; readonly keyPackage: boolean },
  ): Promise<FetchedPrekeys | undefined> {
    if (!this.#options.serves(recipient)) return undefined
    return this.#alone(recipient, async () => {
      const { bundle } = await this.#shard(recipient)
      if (bundle === undefined) return undefined
      if (!wanted.oneTime && !wanted.keyPackage) return { bundle }
      const { entry, keyPackage } = await this.#issue(recipient, requester, wanted)
      return {
        bundle,
        ...(wanted.oneTime && entry !== undefined && { entry }),
        ...(wanted.keyPackage && keyPackage !== undefined && { keyPackage }),
      }
    })
  }

  /** Deletes all that is kept for a recipient whose lease is over, and what requesters may ask for anew. */
  async sweep(): Promise<void> {
    const { store, now, serves } = this.#options
    const ops: Op[] = []
    const isOver = (key: string): boolean => !serves((key.split('/')[0] ?? '') as PeerId)
    for (const table of [TABLES.shard, TABLES.entry, TABLES.keyPackage]) {
      for await (const { key } of store.rows(table)) if (isOver(key)) ops.push(del(table, key))
    }
    for await (const { key, value } of store.rows(TABLES.issued)) {
      const isOld = unpackIssued(value).at + ISSUE_INTERVAL_MS <= now()
      if (isOld || isOver(key)) ops.push(del(TABLES.issued, key))
    }
    if (ops.length > 0) await store.commit(ops)
  }

  async #publish(recipient: PeerId, published: Published): Promise<Remaining | undefined> {
    const { store, now } = this.#options
    const before = await this.#shard(recipient)
    const left = await this.supply(recipient)
    if (left === undefined) return undefined
    const entries = published.entries.map((bytes) => ({
      bytes,
      entry: this.#read(recipient, bytes),
    }))
    let { highestId } = before
    const ops: Op[] = []
    const room = { pair: PAIRS_MAX - left.pairs, ec: ECS_MAX - left.ecs }
    for (const { bytes, entry } of entries) {
      // An id that was here before may have been handed out: two requesters must never share one.
      if (entry === undefined || entry.id <= highestId) return undefined
      highestId = entry.id
      if (room[entry.kind]-- <= 0) continue
      const key = `${recipient}/${entry.kind}/${sortable(entry.id)}`
      ops.push(put(TABLES.entry, key, bytes))
    }
    const { bundle = before.bundle, record = before.record } = published
    if (!this.#isGood(recipient, before, bundle, record)) return undefined
    const packages = published.keyPackages
      .filter(({ length }) => length > 0 && length <= KEY_PACKAGE_BYTES_MAX)
      .slice(0, Math.max(0, KEY_PACKAGES_MAX - left.keyPackages))
    packages.forEach((bytes, at) => {
      const name = `${sortable(now())}${at.toString(16).padStart(2, '0')}`
      ops.push(put(TABLES.keyPackage, `${recipient}/${name}`, bytes))
    })
    const row = encodeRow(VERSION, [bundle ?? null, record ?? null, highestId])
    await store.commit([put(TABLES.shard, recipient, row), ...ops])
    return this.supply(recipient)
  }

  #read(recipient: PeerId, bytes: Bytes): OneTimeEntry | undefined {
    const { primitives, peer, now } = this.#options
    const entry = verifyEntry(primitives, recipient, bytes, peer, now())
    return entry.ok ? entry.value : undefined
  }

  /** Nobody but the recipient brings these, and no older ones. */
  #isGood(
    recipient: PeerId,
    before: Shard,
    bundle: Bytes | undefined,
    record: Bytes | undefined,
  ): boolean {
    const { primitives, now } = this.#options
    if (bundle !== undefined && bundle !== before.bundle) {
      if (!verifyBundle(primitives, recipient, bundle, now()).ok) return false
    }
    if (record === undefined || record === before.record) return true
    return parseContactRecord(primitives, record, { peer: recipient, nowMs: now() }).ok
  }

  async #issue(
    recipient: PeerId,
    requester: PeerId,
    wanted: { readonly oneTime: boolean; readonly keyPackage: boolean },
  ): Promise<Issued> {
    const { store, now } = this.#options
    const key = `${recipient}/${requester}`
    const saved = await store.get(TABLES.issued, key)
    const known = saved === undefined ? undefined : unpackIssued(saved)
    const isHeld = known !== undefined && known.at + ISSUE_INTERVAL_MS > now()
    const held = isHeld ? known : { at: now() }
    const ops: Op[] = []
    const take = async (table: string, prefixes: readonly string[]): Promise<Bytes | undefined> => {
      for (const prefix of prefixes) {
        for await (const row of store.rows(table, { prefix, limit: 1 })) {
          ops.push(del(table, row.key))
          return row.value
        }
      }
      return undefined
    }
    const entryPrefixes = [`${recipient}/pair/`, `${recipient}/ec/`]
    const entry =
      wanted.oneTime && held.entry === undefined
        ? await take(TABLES.entry, entryPrefixes)
        : held.entry
    const keyPackage =
      wanted.keyPackage && held.keyPackage === undefined
        ? await take(TABLES.keyPackage, [`${recipient}/`])
        : held.keyPackage
    const issued: Issued = {
      at: held.at,
      ...(entry !== undefined && { entry }),
      ...(keyPackage !== undefined && { keyPackage }),
    }
    if (ops.length > 0) await store.commit([put(TABLES.issued, key, packIssued(issued)), ...ops])
    return issued
  }

  async #shard(recipient: PeerId): Promise<Shard> {
    const row = await this.#options.store.get(TABLES.shard, recipient)
    if (row === undefined) return NO_SHARD
    const [bundle, record, highestId] = decodeRow(VERSION, row) as [
      Bytes | null,
      Bytes | null,
      number,
    ]
    return { bundle: bundle ?? undefined, record: record ?? undefined, highestId }
  }

  async #alone<Result>(recipient: PeerId, work: () => Promise<Result>): Promise<Result> {
    const before = this.#busy.get(recipient) ?? Promise.resolve()
    const running = before.then(work, work)
    this.#busy.set(recipient, running)
    try {
      return await running
    } finally {
      if (this.#busy.get(recipient) === running) this.#busy.delete(recipient)
    }
  }
}

interface Issued {
  readonly at: number
  readonly entry?: Bytes
  readonly keyPackage?: Bytes
}

function packIssued({ at, entry, keyPackage }: Issued): Bytes {
  return encodeRow(VERSION, [at, entry ?? null, keyPackage ?? null])
}

function unpackIssued(row: Bytes): Issued {
  const [at, entry, keyPackage] = decodeRow(VERSION, row) as [number, Bytes | null, Bytes | null]
  return { at, ...(entry !== null && { entry }), ...(keyPackage !== null && { keyPackage }) }
}
