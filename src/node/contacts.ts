// Who may reach this agent, under which petnames, and whether their keys were compared. Floor 3.
// Table `contact`: peer → petname, the identity key that was verified, since when.
import { equalBytes } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { verifyBundle } from '../../protocols/direct/prekey-bundle.ts'
import {
  formatFingerprint,
  formatSafetyNumber,
  matchesSafetyNumber,
} from '../../protocols/identity/fingerprint.ts'
import type { Prekeys } from '../handlers/prekeys.ts'
import { decodeRow, encodeRow } from '../store/row.ts'
import { del, put } from '../store/types.ts'
import type { Op, Store } from '../store/types.ts'
import { TABLES } from './direct-rows.ts'
import type { ContactFact, ContactService } from './types.ts'

/** Longest petname, in UTF-16 units. */
export const PETNAME_LENGTH_MAX = 64

const TABLE = 'contact'
const VERSION = 1

interface Contact {
  readonly name: string | null
  /** The identity key whose safety number was compared. */
  readonly verifiedKey: Bytes | null
  readonly addedAt: TimeMs
}

/** A change of the book: rows for a batch, and what to call once they are durable. */
export interface BookChange {
  readonly ops: readonly Op[]
  readonly after: () => void
}

/** All contacts, in memory as on disk. */
export interface ContactBook {
  has(peer: PeerId): boolean
  nameOf(peer: PeerId): string | null
  peers(): PeerId[]
  get(peer: PeerId): Contact | undefined
  set(peer: PeerId, contact: Contact): BookChange
  remove(peer: PeerId): BookChange
}

/** Loads the contacts. */
export async function openContactBook(store: Store): Promise<ContactBook> {
  const contacts = new Map<PeerId, Contact>()
  for await (const { key, value } of store.rows(TABLE)) {
    const [name, verifiedKey, addedAt] = decodeRow(VERSION, value) as [
      string | null,
      Bytes | null,
      TimeMs,
    ]
    contacts.set(key as PeerId, { name, verifiedKey, addedAt }) // written from a PeerId
  }
  return {
    has: (peer) => contacts.has(peer),
    nameOf: (peer) => contacts.get(peer)?.name ?? null,
    peers: () => [...contacts.keys()],
    get: (peer) => contacts.get(peer),
    set(peer, contact) {
      const { name, verifiedKey, addedAt } = contact
      return {
        ops: [put(TABLE, peer, encodeRow(VERSION, [name, verifiedKey, addedAt]))],
        after: () => void contacts.set(peer, contact),
      }
    },
    remove: (peer) => ({
      ops: [del(TABLE, peer)],
      after: () => void contacts.delete(peer),
    }),
  }
}

/** What the service needs. */
export interface ContactOptions {
  readonly store: Store
  readonly primitives: Primitives
  readonly now: () => TimeMs
  readonly peer: PeerId
  /** This agent's X25519 identity key. */
  readonly identityKey: Bytes
  readonly book: ContactBook
  readonly prekeys: Prekeys
  /** Treat strangers as contacts. */
  readonly open: boolean
  /** Tells the conversation that its peer is a contact now, or no more; resolves once that is durable. */
  readonly trust: (peer: PeerId, isContact: boolean) => Promise<void>
}

/** Makes the service. */
export function makeContactService(options: ContactOptions): ContactService {
  return new Contacts(options)
}

class Contacts implements ContactService {
  readonly #options: ContactOptions
  readonly #fingerprint: string

  constructor(options: ContactOptions) {
    this.#options = options
    this.#fingerprint = formatFingerprint(options.primitives, options.peer, options.identityKey)
  }

  async add(peer: PeerId, { name }: { readonly name?: string } = {}): Promise<ContactFact> {
    demandOther(this.#options.peer, peer)
    if (name !== undefined) demandName(name)
    const before = this.#get(peer)
    const contact = name === undefined ? before : { ...before, name }
    await this.#save(peer, contact)
    return this.#fact(peer, contact)
  }

  list(): Promise<ContactFact[]> {
    const { book } = this.#options
    return Promise.all(book.peers().map((peer) => this.#fact(peer, book.get(peer))))
  }

  async remove(peer: PeerId): Promise<ContactFact> {
    const { book, store, trust } = this.#options
    const contact = book.get(peer)
    if (contact === undefined) {
      throw new ConclaveError('USAGE_PEER_UNKNOWN', `${peer} is not a contact`, {
        hint: 'conclave contact list',
      })
    }
    const { ops, after } = book.remove(peer)
    await store.commit(ops)
    after()
    await trust(peer, false)
    return this.#fact(peer, contact)
  }

  async verify(
    peer: PeerId,
    { match, signal }: { readonly match?: string; readonly signal?: AbortSignal } = {},
  ): Promise<ContactFact> {
    demandOther(this.#options.peer, peer)
    const key = (await this.#knownKey(peer)) ?? (await this.#fetchKey(peer, signal))
    if (match === undefined) return this.#fact(peer, this.#options.book.get(peer))
    if (!matchesSafetyNumber(this.#safetyNumber(peer, key), match)) {
      throw new ConclaveError('VERIFY_SAFETY_NUMBER', 'the safety numbers differ', {
        hint: 'compare them again over a channel you trust; if they still differ, somebody may be in between',
      })
    }
    const contact = { ...this.#get(peer), verifiedKey: key }
    await this.#save(peer, contact)
    return this.#fact(peer, contact)
  }

  isContact(peer: PeerId): Promise<boolean> {
    return Promise.resolve(this.#options.open || this.#options.book.has(peer))
  }

  #get(peer: PeerId): Contact {
    const fresh = { name: null, verifiedKey: null, addedAt: this.#options.now() }
    return this.#options.book.get(peer) ?? fresh
  }

  async #save(peer: PeerId, contact: Contact): Promise<void> {
    const { ops, after } = this.#options.book.set(peer, contact)
    await this.#options.store.commit(ops)
    after()
    await this.#options.trust(peer, true)
  }

  async #fact(peer: PeerId, contact: Contact | undefined): Promise<ContactFact> {
    const key = await this.#knownKey(peer)
    return {
      peerId: peer,
      name: contact?.name ?? null,
      // A verified key that the peer has replaced is verified no more.
      verified: key !== undefined && isSame(contact?.verifiedKey, key),
      safetyNumber: key === undefined ? null : this.#safetyNumber(peer, key),
    }
  }

  #safetyNumber(peer: PeerId, key: Bytes): string {
    const theirs = formatFingerprint(this.#options.primitives, peer, key)
    return formatSafetyNumber(this.#fingerprint, theirs)
  }

  #knownKey(peer: PeerId): Promise<Bytes | undefined> {
    return this.#options.store.get(TABLES.identityKey, peer)
  }

  async #fetchKey(peer: PeerId, signal: AbortSignal | undefined): Promise<Bytes> {
    const { prekeys, primitives, now, store } = this.#options
    const fetched = await prekeys.fetch(peer, signal === undefined ? {} : { signal })
    const bundle = verifyBundle(primitives, peer, fetched.bundle, now())
    if (!bundle.ok) {
      throw new ConclaveError(bundle.code, "the peer's prekey bundle does not hold", {
        hint: 'somebody may be in between, or the clocks differ',
      })
    }
    await store.commit([put(TABLES.identityKey, peer, bundle.value.identityKey)])
    return bundle.value.identityKey
  }
}

function isSame(a: Bytes | null | undefined, b: Bytes): boolean {
  return a !== null && a !== undefined && equalBytes(a, b)
}

function demandOther(self: PeerId, peer: PeerId): void {
  if (peer !== self) return
  throw new ConclaveError('USAGE_ARGUMENT', 'an agent is no contact of its own', {
    hint: 'give the peer ID of another agent',
  })
}

function demandName(name: string): void {
  const isPlain = !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name) && name.trim() === name
  if (isPlain && name.length > 0 && name.length <= PETNAME_LENGTH_MAX && !looksLikePeer(name))
    return
  throw new ConclaveError('USAGE_ARGUMENT', 'not a petname', {
    hint: `a petname has 1 to ${PETNAME_LENGTH_MAX} printable characters and is not itself a peer ID, did, multiaddr or ticket`,
  })
}

/** A petname in the form of another kind of PEER argument could never be used. */
function looksLikePeer(name: string): boolean {
  return /^(?:12D3Koo|Qm[1-9A-HJ-NP-Za-km-z]{44}$|did:|\/|conclave1)/.test(name)
}
