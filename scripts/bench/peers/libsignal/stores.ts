// libsignal's stores in memory, of serialized records: what its interface is made for.
import type { Address, IdentityKeyPair, Kept, Libsignal, PublicKey, Reads } from './types.ts'

type Bytes = Uint8Array<ArrayBuffer>

const IDENTITY_NEW_OR_UNCHANGED = 0
const REGISTRATION_ID = 1

/** All stores of one agent. */
export interface Stores {
  readonly sessions: object
  readonly identities: object
  readonly preKeys: RecordStore
  readonly signedPreKeys: RecordStore
  readonly kyberPreKeys: RecordStore
}

/** A store of records by number, and how the bench fills it. */
export interface RecordStore {
  keep(id: number, record: Kept): void
}

/** Makes empty stores; `rereads` has a session read back from its bytes whenever it is asked for. */
export function makeStores(signal: Libsignal, identity: IdentityKeyPair, rereads: boolean): Stores {
  return {
    sessions: makeSessionStore(signal, rereads),
    identities: makeIdentityStore(signal, identity),
    preKeys: makePreKeyStore(signal),
    signedPreKeys: makeSignedPreKeyStore(signal),
    kyberPreKeys: makeKyberPreKeyStore(signal),
  }
}

function makeSessionStore({ SessionStore, SessionRecord }: Libsignal, rereads: boolean): object {
  return new (class extends SessionStore {
    readonly #rows = new Map<string, Bytes>()
    readonly #held = new Map<string, Kept>()

    saveSession(name: Address, record: Kept): Promise<void> {
      this.#rows.set(name.toString(), record.serialize())
      this.#held.set(name.toString(), record)
      return Promise.resolve()
    }

    getSession(name: Address): Promise<Kept | null> {
      if (!rereads) return Promise.resolve(this.#held.get(name.toString()) ?? null)
      const row = this.#rows.get(name.toString())
      return Promise.resolve(row === undefined ? null : SessionRecord.deserialize(row))
    }
  })()
}

function makeIdentityStore(signal: Libsignal, own: IdentityKeyPair): object {
  const { IdentityKeyStore, PrivateKey, PublicKey } = signal
  const secret = own.privateKey.serialize()
  return new (class extends IdentityKeyStore {
    readonly #rows = new Map<string, Bytes>()

    getIdentityKey(): Promise<Kept> {
      return Promise.resolve(PrivateKey.deserialize(secret))
    }

    getIdentityKeyPair(): Promise<IdentityKeyPair> {
      return Promise.resolve(own)
    }

    getLocalRegistrationId(): Promise<number> {
      return Promise.resolve(REGISTRATION_ID)
    }

    saveIdentity(name: Address, key: PublicKey): Promise<number> {
      this.#rows.set(name.toString(), key.serialize())
      return Promise.resolve(IDENTITY_NEW_OR_UNCHANGED)
    }

    isTrustedIdentity(): Promise<boolean> {
      return Promise.resolve(true)
    }

    getIdentity(name: Address): Promise<PublicKey | null> {
      const row = this.#rows.get(name.toString())
      return Promise.resolve(row === undefined ? null : PublicKey.deserialize(row))
    }
  })()
}

class Rows {
  readonly #rows = new Map<number, Bytes>()
  readonly #reads: Reads<Kept>

  constructor(reads: Reads<Kept>) {
    this.#reads = reads
  }

  keep(id: number, record: Kept): void {
    this.#rows.set(id, record.serialize())
  }

  get(id: number): Promise<Kept> {
    const row = this.#rows.get(id)
    if (row === undefined) return Promise.reject(new Error(`no record ${id}`))
    return Promise.resolve(this.#reads.deserialize(row))
  }

  remove(id: number): Promise<void> {
    this.#rows.delete(id)
    return Promise.resolve()
  }
}

function makePreKeyStore({ PreKeyStore, PreKeyRecord }: Libsignal): RecordStore {
  return new (class extends PreKeyStore {
    readonly #rows = new Rows(PreKeyRecord)
    keep(id: number, record: Kept): void {
      this.#rows.keep(id, record)
    }
    getPreKey(id: number): Promise<Kept> {
      return this.#rows.get(id)
    }
    removePreKey(id: number): Promise<void> {
      return this.#rows.remove(id)
    }
  })()
}

function makeSignedPreKeyStore(signal: Libsignal): RecordStore {
  return new (class extends signal.SignedPreKeyStore {
    readonly #rows = new Rows(signal.SignedPreKeyRecord)
    keep(id: number, record: Kept): void {
      this.#rows.keep(id, record)
    }
    getSignedPreKey(id: number): Promise<Kept> {
      return this.#rows.get(id)
    }
  })()
}

function makeKyberPreKeyStore(signal: Libsignal): RecordStore {
  return new (class extends signal.KyberPreKeyStore {
    readonly #rows = new Rows(signal.KyberPreKeyRecord)
    keep(id: number, record: Kept): void {
      this.#rows.keep(id, record)
    }
    getKyberPreKey(id: number): Promise<Kept> {
      return this.#rows.get(id)
    }
    // One-time, as ours: it goes with its first use.
    markKyberPreKeyUsed(id: number): Promise<void> {
      return this.#rows.remove(id)
    }
  })()
}
