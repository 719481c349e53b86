// libsignal as the direct bench drives it: two agents in one process, sessions serialized into memory.
// All its calls are asynchronous, over its native module; each is awaited before the next, as the ratchet demands.
import { CONTENT_BYTES } from '../../direct-contestant.ts'
import type { Contestant, Side } from '../../direct-contestant.ts'
import { installLibsignal, LIBSIGNAL } from './install.ts'
import { makeStores } from './stores.ts'
import type { Stores } from './stores.ts'
import type { Address, Libsignal, PreKeyBundle } from './types.ts'

const PREKEY_MESSAGE = 3
const IDS = { registration: 1, device: 1, oneTime: 3, signed: 1, kyber: 2 }

interface Agent {
  readonly address: Address
  readonly stores: Stores
  /** Fetched: a signed, a one-time and a one-time Kyber prekey. */
  readonly bundle: PreKeyBundle
}

function makeAgent(signal: Libsignal, name: string, rereads = false): Agent {
  const identity = signal.IdentityKeyPair.generate()
  const stores = makeStores(signal, identity, rereads)
  const [signed, oneTime] = [signal.PrivateKey.generate(), signal.PrivateKey.generate()]
  const kyber = signal.KEMKeyPair.generate()
  const [signedKey, oneTimeKey] = [signed.getPublicKey(), oneTime.getPublicKey()]
  const signedSignature = identity.privateKey.sign(signedKey.serialize())
  const kyberSignature = identity.privateKey.sign(kyber.getPublicKey().serialize())
  const { PreKeyRecord, SignedPreKeyRecord, KyberPreKeyRecord } = signal
  stores.preKeys.keep(IDS.oneTime, PreKeyRecord.new(IDS.oneTime, oneTimeKey, oneTime))
  stores.signedPreKeys.keep(
    IDS.signed,
    SignedPreKeyRecord.new(IDS.signed, Date.now(), signedKey, signed, signedSignature),
  )
  stores.kyberPreKeys.keep(
    IDS.kyber,
    KyberPreKeyRecord.new(IDS.kyber, Date.now(), kyber, kyberSignature),
  )
  const bundle = signal.PreKeyBundle.new(
    IDS.registration,
    IDS.device,
    IDS.oneTime,
    oneTimeKey,
    IDS.signed,
    signedKey,
    signedSignature,
    identity.publicKey,
    IDS.kyber,
    kyber.getPublicKey(),
    kyberSignature,
  )
  return { address: signal.ProtocolAddress.new(name, IDS.device), stores, bundle }
}

async function processBundle(signal: Libsignal, from: Agent, to: Agent): Promise<void> {
  const { sessions, identities } = from.stores
  await signal.processPreKeyBundle(to.bundle, to.address, from.address, sessions, identities)
}

/** Encrypts to bytes and decrypts those. */
async function exchange(signal: Libsignal, from: Agent, to: Agent): Promise<void> {
  const content = new Uint8Array(CONTENT_BYTES)
  const { sessions, identities } = from.stores
  const sealed = await signal.signalEncrypt(content, to.address, from.address, sessions, identities)
  const bytes = sealed.serialize()
  const theirs = to.stores
  if (sealed.type() !== PREKEY_MESSAGE) {
    const message = signal.SignalMessage.deserialize(bytes)
    const { sessions: held, identities: known } = theirs
    await signal.signalDecrypt(message, from.address, to.address, held, known)
    return
  }
  await signal.signalDecryptPreKey(
    signal.PreKeySignalMessage.deserialize(bytes),
    from.address,
    to.address,
    theirs.sessions,
    theirs.identities,
    theirs.preKeys,
    theirs.signedPreKeys,
    theirs.kyberPreKeys,
  )
}

/**
 * Installs and loads libsignal.
 *
 * @throws Error that says why it cannot take part.
 */
export async function loadLibsignal(): Promise<Contestant> {
  const version = await installLibsignal()
  const name: string = LIBSIGNAL // not a literal type: nothing resolves it where it is not installed
  const signal = (await import(name)) as Libsignal
  return {
    name: `libsignal-client ${version}, post-quantum ratchet on`,
    async startTalk(rereads) {
      const make = (name: Side): Agent => makeAgent(signal, name, rereads)
      const agents = { alice: make('alice'), bob: make('bob') }
      await processBundle(signal, agents.alice, agents.bob)
      return async (from) => {
        await exchange(signal, agents[from], agents[from === 'alice' ? 'bob' : 'alice'])
      }
    },
    prepareSetup() {
      const [alice, bob] = [makeAgent(signal, 'alice'), makeAgent(signal, 'bob')]
      return async () => {
        await processBundle(signal, alice, bob)
        await exchange(signal, alice, bob)
      }
    },
  }
}
