// The part of libsignal's interface that the bench uses, so that types check where the package is not installed.
type Bytes = Uint8Array<ArrayBuffer>

/** Something that is kept as bytes. */
export interface Kept {
  serialize(): Bytes
}

/** How kept bytes are read back. */
export interface Reads<T> {
  deserialize(bytes: Bytes): T
}

export type PublicKey = Kept
export interface PrivateKey extends Kept {
  getPublicKey(): PublicKey
  sign(message: Bytes): Bytes
}
export interface IdentityKeyPair {
  readonly publicKey: PublicKey
  readonly privateKey: PrivateKey
}
export interface KemKeyPair {
  getPublicKey(): Kept
}
export interface Address {
  toString(): string
}
export interface Ciphertext extends Kept {
  type(): number
}
/** A bundle as it was fetched; opaque. */
export type PreKeyBundle = Readonly<Record<'registrationId' | 'deviceId', () => number>>

/** A store that libsignal calls; the base class brings what is not overridden. */
type StoreBase = abstract new () => object

/** The module. */
export interface Libsignal {
  readonly PrivateKey: Reads<PrivateKey> & { generate(): PrivateKey }
  readonly PublicKey: Reads<PublicKey>
  readonly IdentityKeyPair: { generate(): IdentityKeyPair }
  readonly KEMKeyPair: { generate(): KemKeyPair }
  readonly ProtocolAddress: { new: (name: string, deviceId: number) => Address }
  readonly SessionRecord: Reads<Kept>
  readonly PreKeyRecord: Reads<Kept> & {
    new: (id: number, publicKey: PublicKey, privateKey: PrivateKey) => Kept
  }
  readonly SignedPreKeyRecord: Reads<Kept> & {
    new: (
      id: number,
      timestamp: number,
      publicKey: PublicKey,
      privateKey: PrivateKey,
      signature: Bytes,
    ) => Kept
  }
  readonly KyberPreKeyRecord: Reads<Kept> & {
    new: (id: number, timestamp: number, pair: KemKeyPair, signature: Bytes) => Kept
  }
  readonly PreKeyBundle: { new: (...parts: readonly unknown[]) => PreKeyBundle }
  readonly SignalMessage: Reads<Kept>
  readonly PreKeySignalMessage: Reads<Kept>
  readonly SessionStore: StoreBase
  readonly IdentityKeyStore: StoreBase
  readonly PreKeyStore: StoreBase
  readonly SignedPreKeyStore: StoreBase
  readonly KyberPreKeyStore: StoreBase
  readonly processPreKeyBundle: (
    bundle: PreKeyBundle,
    address: Address,
    local: Address,
    sessions: object,
    identities: object,
  ) => Promise<void>
  readonly signalEncrypt: (
    message: Bytes,
    address: Address,
    local: Address,
    sessions: object,
    identities: object,
  ) => Promise<Ciphertext>
  readonly signalDecrypt: (
    message: Kept,
    address: Address,
    local: Address,
    sessions: object,
    identities: object,
  ) => Promise<Bytes>
  readonly signalDecryptPreKey: (
    message: Kept,
    address: Address,
    local: Address,
    ...stores: readonly object[]
  ) => Promise<Bytes>
}
