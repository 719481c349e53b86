// A member that runs ts-mls itself, over our Primitives: another implementation in the same group, or a liar.
import * as tsMls from 'ts-mls'
import type { CiphersuiteImpl, ClientState, KeyPackage, Proposal } from 'ts-mls'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdToBytes } from '../../protocols/base/ids.ts'
import { makeSuite } from '../../protocols/group/mls/keys/suite.ts'
import type { Suite } from '../../protocols/group/mls/keys/suite.ts'
import { decodeMessage, decodeTree } from '../../protocols/group/mls/messages/codec.ts'
import { ownCapabilities } from '../../protocols/group/mls/profile.ts'
import { native } from '../../src/crypto/native.ts'
import { toCiphersuiteImpl } from './mls-provider.ts'
import { seededBytes, seededPeer } from './seeded.ts'
import type { SeededPeer } from './seeded.ts'

/** The suite that outsiders compute with. */
export const outsideSuite: Suite = makeSuite(native, seededBytes('outsider'))
/** The same as ts-mls sees it. */
export const outsideImpl: CiphersuiteImpl = toCiphersuiteImpl(outsideSuite)

/** A KeyPackage made by ts-mls, with its private keys. */
export interface OutsideKeyPackage {
  readonly publicPackage: KeyPackage
  readonly privatePackage: tsMls.PrivateKeyPackage
  /** As MLSMessage. */
  readonly message: Bytes
}

/**
 * Makes a KeyPackage with ts-mls.
 *
 * @param signer - Whose key signs; the credential is always that of `name`.
 * @param extra - Leaf extensions, and the end of the lifetime in seconds.
 */
export async function outsideKeyPackage(
  name: string,
  signer: SeededPeer = seededPeer(name),
  extra: { readonly extensions?: tsMls.Extension[]; readonly notAfter?: bigint } = {},
): Promise<OutsideKeyPackage> {
  const identity = peerIdToBytes(seededPeer(name).peer)
  const keys = { signKey: signer.secret, publicKey: native.signPublic(signer.secret) }
  const made = await tsMls.generateKeyPackageWithKey(
    { credentialType: 'basic', identity },
    ownCapabilities(),
    { notBefore: 0n, notAfter: extra.notAfter ?? 9_999_999_999n },
    [],
    keys,
    outsideImpl,
    extra.extensions ?? [],
  )
  const { publicPackage: keyPackage } = made
  const message = { version: 'mls10', wireformat: 'mls_key_package', keyPackage } as const
  return { ...made, message: tsMls.encodeMlsMessage(message) }
}

/** A member that runs ts-mls. */
export class Outsider {
  state: ClientState

  constructor(state: ClientState) {
    this.state = state
  }

  static async join(welcome: Bytes, tree: Bytes, own: OutsideKeyPackage): Promise<Outsider> {
    const state = await tsMls.joinGroup(
      decodeMessage('mls_welcome', welcome).welcome,
      own.publicPackage,
      own.privatePackage,
      tsMls.emptyPskIndex,
      outsideImpl,
      decodeTree(tree).nodes,
    )
    return new Outsider(state)
  }

  get authenticator(): Bytes {
    return this.state.keySchedule.epochAuthenticator
  }

  /** Commits as PublicMessage; ts-mls adds a path only where it sees a need. */
  async commit(...extraProposals: Proposal[]): Promise<Bytes> {
    const context = { state: this.state, cipherSuite: outsideImpl }
    const options = { wireAsPublicMessage: true, extraProposals }
    const { newState, commit } = await tsMls.createCommit(context, options)
    this.state = newState
    return tsMls.encodeMlsMessage(commit)
  }

  /** Proposes on its own, to commit by reference later. */
  async propose(proposal: Proposal): Promise<void> {
    this.state = (await tsMls.createProposal(this.state, true, proposal, outsideImpl)).newState
  }

  async follow(commit: Bytes): Promise<void> {
    const { publicMessage } = decodeMessage('mls_public_message', commit)
    const { state } = this
    const index = tsMls.emptyPskIndex
    const followed = await tsMls.processPublicMessage(state, publicMessage, index, outsideImpl)
    this.state = followed.newState
  }

  async seal(plaintext: Bytes): Promise<Bytes> {
    const sealed = await tsMls.createApplicationMessage(this.state, plaintext, outsideImpl)
    this.state = sealed.newState
    const { privateMessage } = sealed
    const message = { version: 'mls10', wireformat: 'mls_private_message', privateMessage } as const
    return tsMls.encodeMlsMessage(message)
  }

  async open(message: Bytes): Promise<Bytes> {
    const { privateMessage } = decodeMessage('mls_private_message', message)
    const index = tsMls.emptyPskIndex
    const opened = await tsMls.processPrivateMessage(this.state, privateMessage, index, outsideImpl)
    if (opened.kind !== 'applicationMessage') throw new Error('not an application message')
    this.state = opened.newState
    return opened.message
  }
}
