// KeyPackages of contacts, fetched while they were here, so that they can be invited while they are away. Floor 3.
// Table `key-package-spare`: peer → KeyPackage, when it was fetched. One a contact, used once.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { DAY_MS } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { MlsEngine } from '../../protocols/group/mls-engine.ts'
import type { Prekeys } from '../handlers/prekeys.ts'
import { del, put } from '../store/types.ts'
import type { Store } from '../store/types.ts'
import { packRow, unpackRow } from './group-rows.ts'

/* Implementation constants: ours to tune. */
/** Contacts of whom one is kept. */
export const SPARES_MAX = 4_096
/** A spare is fetched anew after this long: its owner keeps the private half for 30 days. */
export const SPARE_LIFE_MS: number = 25 * DAY_MS

const TABLE = 'key-package-spare'

/** What spares are made with. */
export interface SparesOptions {
  readonly store: Store
  readonly engine: MlsEngine
  readonly prekeys: Pick<Prekeys, 'fetch'>
  readonly isContact: (peer: PeerId) => Promise<boolean>
  readonly now: () => TimeMs
}

/** One that was taken. */
export interface Spare {
  readonly keyPackage: Bytes
  readonly fetchedAt: number
}

/** KeyPackages in reserve. */
export class SpareKeyPackages {
  readonly #options: SparesOptions
  readonly #fetchedAt = new Map<PeerId, number>()
  readonly #fetching = new Set<PeerId>()

  private constructor(options: SparesOptions) {
    this.#options = options
  }

  static async open(options: SparesOptions): Promise<SpareKeyPackages> {
    const spares = new SpareKeyPackages(options)
    for await (const { key, value } of options.store.rows(TABLE)) {
      spares.#fetchedAt.set(key as PeerId, unpackRow(value)[1] as number)
    }
    return spares
  }

  /** A peer has connected: fetches one in reserve if it is a contact and none is there. */
  async met(peer: PeerId, signal: AbortSignal): Promise<void> {
    const { isContact, now } = this.#options
    const isFresh = now() - (this.#fetchedAt.get(peer) ?? 0) < SPARE_LIFE_MS
    if (isFresh || this.#fetching.has(peer) || this.#fetchedAt.size >= SPARES_MAX) return
    this.#fetching.add(peer)
    try {
      if (await isContact(peer)) await this.#fetch(peer, signal)
    } catch {
      // It comes again with the next connection.
    } finally {
      this.#fetching.delete(peer)
    }
  }

  /** Takes the one in reserve, durably: it is never used for another group. */
  async take(peer: PeerId): Promise<Spare | undefined> {
    const { store, now } = this.#options
    const row = await store.get(TABLE, peer)
    if (row === undefined) return undefined
    const [keyPackage, fetchedAt] = unpackRow(row) as [Bytes, number]
    await store.commit([del(TABLE, peer)])
    this.#fetchedAt.delete(peer)
    return now() - fetchedAt < SPARE_LIFE_MS ? { keyPackage, fetchedAt } : undefined
  }

  /** Puts back one that was taken and not used. */
  async giveBack(peer: PeerId, spare: Spare): Promise<void> {
    if (this.#fetchedAt.has(peer)) return // a newer one has come meanwhile
    await this.#keep(peer, spare)
  }

  async #fetch(peer: PeerId, signal: AbortSignal): Promise<void> {
    const { prekeys, engine, now } = this.#options
    const { keyPackage } = await prekeys.fetch(peer, { wantKeyPackage: true, signal })
    const facts = keyPackage && (await engine.readKeyPackage(keyPackage))
    if (keyPackage === undefined || facts?.ok !== true || facts.value.peer !== peer) return
    await this.#keep(peer, { keyPackage, fetchedAt: now() })
  }

  async #keep(peer: PeerId, { keyPackage, fetchedAt }: Spare): Promise<void> {
    await this.#options.store.commit([put(TABLE, peer, packRow(keyPackage, fetchedAt))])
    this.#fetchedAt.set(peer, fetchedAt)
  }
}
