// Keeps this agent's identity key and prekeys: makes, rotates, hands out, uses up, deletes. Floor 3.
//
// Table `prekey`: `identity`, `counter`, `bundle/<seq>`, `key/<id>` (signed and last-resort secrets),
// `one-time/<id>`, `issued/<peer>`, `used/<tuple>`. Private keys and the counter are durable before a public key
// leaves; ids are never used twice. A one-time key is deleted in the batch that saves the session it made.
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { DAY_MS, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { signBundle, signEntry } from '../../protocols/direct/prekey-bundle.ts'
import { makeOwnKeys } from '../../protocols/direct/session.ts'
import type { Consumed } from '../../protocols/direct/sessions.ts'
import {
  BUNDLE_LIFE_MS,
  CAPABILITIES,
  MAILBOX_TTL_MS,
  PREKEY_GRACE_MS,
  PREKEY_ROTATION_MS,
} from '../../protocols/direct/types.ts'
import type {
  OneTimeEntry,
  OwnKeys,
  PrekeyLookup,
  PrekeyTuple,
} from '../../protocols/direct/types.ts'
import { signIdentityCertificate } from '../../protocols/identity/identity-certificate.ts'
import { decodeRow, encodeRow } from '../store/row.ts'
import { del, put } from '../store/types.ts'
import type { Op, Store } from '../store/types.ts'

/** One-time prekeys handed out and not used yet; beyond it requesters get the bundle alone. */
export const ONE_TIME_OUTSTANDING_MAX = 10_000
/** Handshakes remembered against replay while their keys live; beyond it no new one is accepted. */
export const USED_TUPLES_MAX = 100_000
/** One requester gets one one-time prekey in this time. */
export const ONE_TIME_INTERVAL_MS: number = DAY_MS
/** How often rotation and deletion are looked after. */
export const KEEPER_INTERVAL_MS: number = DAY_MS / 24
/** Ids skipped after a restored backup: those given out since it was made are below. */
const REGRESSION_SKIP: number = 2 ** 20

const TABLE = 'prekey'
const VERSION = 1
const KEY_LIFE_MS = MAILBOX_TTL_MS + PREKEY_GRACE_MS

/** What this agent's own keys are made with. */
export interface OwnKeysOptions {
  readonly store: Store
  readonly primitives: Primitives
  readonly random: (length: number) => Bytes
  readonly now: () => TimeMs
  readonly peer: PeerId
  /** Ed25519 seed of `peer`. */
  readonly secret: Bytes
}

/** What the keeper is made with. */
export interface KeeperOptions extends OwnKeysOptions {
  /** The database is older than what this home had seen. */
  readonly regressed: boolean
}

/** Holds the private prekeys of this agent. */
export interface PrekeyKeeper extends Disposable {
  readonly own: OwnKeys
  readonly lookup: PrekeyLookup
  /** The signed bundle to hand out, fresh enough for every requester. */
  bundle(): Promise<Bytes>
  /** A one-time entry for this requester, committed to it; undefined if it had one today, or none is left. */
  issue(requester: PeerId): Promise<Bytes | undefined>
  /**
   * Makes one-time entries for a custodian to hand out; their private halves are durable.
   *
   * @returns Fewer than asked for if too many are out already.
   */
  shard(custodian: PeerId, counts: ShardCounts): Promise<Bytes[]>
  /**
   * Uses up what a new session was made with. The keys are gone from memory at once.
   *
   * @returns The rows of the session's own batch, and what to call if that batch fails.
   */
  consume(consumed: Consumed): { readonly ops: readonly Op[]; readonly undo: () => void }
  /** Deletes keys past their life and renews the bundle when due; runs by itself, too. */
  tend(): Promise<void>
}

/** How many entries of each kind. */
export interface ShardCounts {
  readonly pairs: number
  readonly ecs: number
}

interface OwnBundle {
  readonly seq: number
  readonly bytes: Bytes
  readonly hash: Bytes
  readonly issuedAt: TimeMs
  readonly expiresAt: TimeMs
  readonly signedId: number
  readonly kemId: number
}

interface OneTime {
  readonly ecSecret: Bytes
  /** Of a `pair`. */
  readonly kemSeed?: Bytes
  readonly hash: Bytes
  readonly expiresAt: TimeMs
}

interface Issued {
  readonly id: number
  readonly at: TimeMs
  readonly entry: Bytes
}

/** Loads the keys of a home, making them where there are none. */
export async function openPrekeyKeeper(options: KeeperOptions): Promise<PrekeyKeeper> {
  const { own, identitySeq } = await openIdentity(options)
  const keeper = new Keeper(options, own, identitySeq)
  await keeper.load()
  await keeper.tend()
  return keeper
}

interface OwnIdentity {
  readonly own: OwnKeys
  readonly identitySeq: number
}

/** Loads this agent's own keys, making them where there are none; prekeys are neither made nor touched. */
export async function openOwnKeys(options: OwnKeysOptions): Promise<OwnKeys> {
  return (await openIdentity(options)).own
}

async function openIdentity(options: OwnKeysOptions): Promise<OwnIdentity> {
  const { store, primitives, random, now, peer, secret } = options
  const saved = await store.get(TABLE, 'identity')
  if (saved !== undefined) {
    const [identitySecret, certificate, identitySeq] = decodeRow(VERSION, saved) as [
      Bytes,
      Bytes,
      number,
    ]
    return { own: makeOwnKeys(primitives, { peer, identitySecret, certificate }), identitySeq }
  }
  const identitySecret = random(32)
  // The time, so that an agent that lost all but its seed supersedes its former self.
  const issuedAt = now()
  const identitySeq: number = issuedAt
  const certificate = signIdentityCertificate(primitives, secret, {
    peer,
    identityKey: primitives.dhPublic(identitySecret),
    identitySeq,
    issuedAt,
  })
  await store.commit([
    put(TABLE, 'identity', encodeRow(VERSION, [identitySecret, certificate, identitySeq])),
  ])
  return { own: makeOwnKeys(primitives, { peer, identitySecret, certificate }), identitySeq }
}

class Keeper implements PrekeyKeeper {
  readonly own: OwnKeys
  readonly lookup: PrekeyLookup
  readonly #options: KeeperOptions
  readonly #bundles = new Map<number, OwnBundle>()
  readonly #secrets = new Map<number, Bytes>()
  readonly #oneTime = new Map<number, OneTime>()
  readonly #used = new Set<string>()
  readonly #issuing = new Map<PeerId, Promise<Bytes | undefined>>()
  readonly #timer: NodeJS.Timeout
  readonly #identitySeq: number
  #nextId = 1
  #nextSeq = 1
  #newest: OwnBundle | undefined
  #tending: Promise<void> | undefined

  constructor(options: KeeperOptions, own: OwnKeys, identitySeq: number) {
    this.#identitySeq = identitySeq
    this.#options = options
    this.own = own
    this.#timer = setInterval(() => void this.tend().catch(() => undefined), KEEPER_INTERVAL_MS)
    this.#timer.unref()
    this.lookup = {
      bundle: (seq) => {
        const found = this.#bundles.get(seq)
        return found === undefined ? undefined : { hash: found.hash, capabilities: CAPABILITIES }
      },
      signed: (id) => (this.#used.size < USED_TUPLES_MAX ? this.#secrets.get(id) : undefined),
      lastResort: (id) => this.#secrets.get(id),
      oneTime: (id) => this.#oneTime.get(id),
      isUsed: (tuple) => this.#used.has(tupleKey(tuple)),
    }
  }

  async load(): Promise<void> {
    const { store, primitives, regressed } = this.#options
    for await (const { key, value } of store.rows(TABLE)) {
      const [kind, name = ''] = key.split('/')
      const fields = decodeRow(VERSION, value)
      if (kind === 'counter') [this.#nextId, this.#nextSeq] = fields as [number, number]
      else if (kind === 'key') this.#secrets.set(Number(name), fields as Bytes)
      else if (kind === 'used') this.#used.add(key.slice('used/'.length))
      else if (kind === 'bundle') this.#keepBundle(unpackBundle(primitives, Number(name), fields))
      else if (kind === 'one-time') this.#oneTime.set(Number(name), unpackOneTime(fields))
    }
    if (!regressed) return
    this.#nextId += REGRESSION_SKIP
    await store.commit([this.#counter()])
    await this.#renew()
  }

  async bundle(): Promise<Bytes> {
    if (this.#newest === undefined || this.#isOld(this.#newest)) await this.tend()
    return this.#newest?.bytes ?? (await this.#renew()).bytes
  }

  issue(requester: PeerId): Promise<Bytes | undefined> {
    const running = this.#issuing.get(requester)
    if (running !== undefined) return running
    const issuing = this.#issue(requester).finally(() => this.#issuing.delete(requester))
    this.#issuing.set(requester, issuing)
    return issuing
  }

  async shard(custodian: PeerId, { pairs, ecs }: ShardCounts): Promise<Bytes[]> {
    const room = Math.max(0, ONE_TIME_OUTSTANDING_MAX - this.#oneTime.size)
    const kinds: OneTimeEntry['kind'][] = [
      ...Array.from({ length: pairs }, () => 'pair' as const),
      ...Array.from({ length: ecs }, () => 'ec' as const),
    ]
    const made = kinds.slice(0, room).map((kind) => this.#makeEntry(kind, custodian))
    await this.#options.store.commit([
      this.#counter(),
      ...made.map(({ id, oneTime }) => put(TABLE, `one-time/${id}`, packOneTime(oneTime))),
    ])
    for (const { id, oneTime } of made) this.#oneTime.set(id, oneTime)
    return made.map(({ entry }) => entry)
  }

  consume({ tuple, oneTimeId }: Consumed): { ops: Op[]; undo: () => void } {
    const name = tupleKey(tuple)
    const oneTime = oneTimeId === undefined ? undefined : this.#oneTime.get(oneTimeId)
    this.#used.add(name)
    const ops = [put(TABLE, `used/${name}`, encodeRow(VERSION, 0))]
    if (oneTimeId !== undefined) {
      this.#oneTime.delete(oneTimeId)
      ops.push(del(TABLE, `one-time/${oneTimeId}`))
    }
    const undo = (): void => {
      this.#used.delete(name)
      if (oneTimeId !== undefined && oneTime !== undefined) this.#oneTime.set(oneTimeId, oneTime)
    }
    return { ops, undo }
  }

  tend(): Promise<void> {
    this.#tending ??= this.#tend().finally(() => (this.#tending = undefined))
    return this.#tending
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #isOld({ issuedAt }: OwnBundle): boolean {
    return issuedAt + PREKEY_ROTATION_MS <= this.#options.now()
  }

  #keepBundle(bundle: OwnBundle): void {
    this.#bundles.set(bundle.seq, bundle)
    if (bundle.seq > (this.#newest?.seq ?? 0)) this.#newest = bundle
  }

  #counter(): Op {
    return put(TABLE, 'counter', encodeRow(VERSION, [this.#nextId, this.#nextSeq]))
  }

  async #tend(): Promise<void> {
    if (this.#newest === undefined || this.#isOld(this.#newest)) await this.#renew()
    await this.#deleteDead()
  }

  /** Makes a signed and a last-resort prekey, and a bundle of them. */
  async #renew(): Promise<OwnBundle> {
    const { store, primitives, random, now, peer, secret } = this.#options
    const signedId = this.#nextId++
    const kemId = this.#nextId++
    // The time for the same reason as an identity's; never the same twice.
    const seq = Math.max(this.#nextSeq, now())
    this.#nextSeq = seq + 1
    const signedSecret = random(32)
    const kemSeed = random(64)
    const issuedAt = now()
    const bytes = signBundle(primitives, secret, {
      capabilities: CAPABILITIES,
      peer,
      identityKey: this.own.identityKey,
      identitySeq: this.#identitySeq,
      bundleSeq: seq,
      issuedAt,
      expiresAt: toTimeMs(issuedAt + BUNDLE_LIFE_MS),
      signedPrekeyId: signedId,
      signedPrekey: primitives.dhPublic(signedSecret),
      lastResortKemId: kemId,
      lastResortKemKey: primitives.kemPublic(1024, kemSeed),
    })
    const packed = [bytes, issuedAt, issuedAt + BUNDLE_LIFE_MS, signedId, kemId]
    await store.commit([
      this.#counter(),
      put(TABLE, `key/${signedId}`, encodeRow(VERSION, signedSecret)),
      put(TABLE, `key/${kemId}`, encodeRow(VERSION, kemSeed)),
      put(TABLE, `bundle/${seq}`, encodeRow(VERSION, packed)),
    ])
    this.#secrets.set(signedId, signedSecret)
    this.#secrets.set(kemId, kemSeed)
    const bundle = unpackBundle(primitives, seq, packed)
    this.#keepBundle(bundle)
    return bundle
  }

  async #deleteDead(): Promise<void> {
    const nowMs = this.#options.now()
    const ops: Op[] = []
    for (const [seq, { expiresAt, signedId, kemId }] of this.#bundles) {
      if (expiresAt + KEY_LIFE_MS > nowMs) continue
      this.#bundles.delete(seq)
      ops.push(del(TABLE, `bundle/${seq}`))
      for (const id of [signedId, kemId]) {
        this.#secrets.get(id)?.fill(0)
        this.#secrets.delete(id)
        ops.push(del(TABLE, `key/${id}`))
      }
      for (const name of this.#used) {
        if (!name.startsWith(`${signedId}/`)) continue
        this.#used.delete(name)
        ops.push(del(TABLE, `used/${name}`))
      }
    }
    for (const [id, { expiresAt }] of this.#oneTime) {
      if (expiresAt + KEY_LIFE_MS > nowMs) continue
      this.#oneTime.delete(id)
      ops.push(del(TABLE, `one-time/${id}`))
    }
    for await (const { key, value } of this.#options.store.rows(TABLE, { prefix: 'issued/' })) {
      if (unpackIssued(value).at + ONE_TIME_INTERVAL_MS <= nowMs) ops.push(del(TABLE, key))
    }
    if (ops.length > 0) await this.#options.store.commit(ops)
  }

  async #issue(requester: PeerId): Promise<Bytes | undefined> {
    const { store, now, peer } = this.#options
    const saved = await store.get(TABLE, `issued/${requester}`)
    if (saved !== undefined) {
      const { id, at, entry } = unpackIssued(saved)
      // The same entry for a day, so that a requester cannot drain them; none once it is used up.
      if (at + ONE_TIME_INTERVAL_MS > now()) return this.#oneTime.has(id) ? entry : undefined
    }
    if (this.#oneTime.size >= ONE_TIME_OUTSTANDING_MAX) return undefined
    const { id, oneTime, entry } = this.#makeEntry('pair', peer)
    await store.commit([
      this.#counter(),
      put(TABLE, `one-time/${id}`, packOneTime(oneTime)),
      put(TABLE, `issued/${requester}`, encodeRow(VERSION, [id, now(), entry])),
    ])
    this.#oneTime.set(id, oneTime)
    return entry
  }

  /** Makes a one-time entry for somebody to hand out; its id is used up, come what may. */
  #makeEntry(
    kind: OneTimeEntry['kind'],
    custodian: PeerId,
  ): { id: number; oneTime: OneTime; entry: Bytes } {
    const { primitives, random, now, secret } = this.#options
    const id = this.#nextId++
    const ecSecret = random(32)
    const kemSeed = kind === 'pair' ? random(64) : undefined
    const expiresAt = toTimeMs(now() + BUNDLE_LIFE_MS)
    const entry = signEntry(primitives, secret, {
      kind,
      id,
      ecKey: primitives.dhPublic(ecSecret),
      ...(kemSeed !== undefined && { kemKey: primitives.kemPublic(1024, kemSeed) }),
      custodian,
      expiresAt,
    })
    const hash = primitives.sha256(entry)
    return {
      id,
      oneTime: { ecSecret, ...(kemSeed !== undefined && { kemSeed }), hash, expiresAt },
      entry,
    }
  }
}

function tupleKey({ signedPrekeyId, kemPrekeyId, baseKey }: PrekeyTuple): string {
  return `${signedPrekeyId}/${kemPrekeyId}/${formatHex(baseKey)}`
}

function unpackBundle(primitives: Primitives, seq: number, fields: unknown): OwnBundle {
  const [bytes, issuedAt, expiresAt, signedId, kemId] = fields as [
    Bytes,
    TimeMs,
    TimeMs,
    number,
    number,
  ]
  return { seq, bytes, hash: primitives.sha256(bytes), issuedAt, expiresAt, signedId, kemId }
}

function packOneTime({ ecSecret, kemSeed, hash, expiresAt }: OneTime): Bytes {
  return encodeRow(VERSION, [ecSecret, kemSeed ?? null, hash, expiresAt])
}

function unpackOneTime(fields: unknown): OneTime {
  const [ecSecret, kemSeed, hash, expiresAt] = fields as [Bytes, Bytes | null, Bytes, TimeMs]
  return { ecSecret, ...(kemSeed !== null && { kemSeed }), hash, expiresAt }
}

function unpackIssued(bytes: Bytes): Issued {
  const [id, at, entry] = decodeRow(VERSION, bytes) as [number, TimeMs, Bytes]
  return { id, at, entry }
}
