// One group, two live members: ours and ts-mls 1.6.4's with its default provider. The others are seats: ours once,
// to fill leaves and parents.
import * as tsMls from 'ts-mls'
import type { CiphersuiteImpl, ClientState } from 'ts-mls'
import { decodeRatchetTree } from 'ts-mls/ratchetTree.js'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import { peerIdFromPublicKey, peerIdToBytes } from '../../protocols/base/ids.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import { ownCapabilities } from '../../protocols/group/mls/profile.ts'
import type { Identity, MlsEngine, MlsEpoch, Proposal } from '../../protocols/group/mls-engine.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'

export const NONE: Bytes = new Uint8Array(0)
export const NOW: TimeMs = toTimeMs(Date.now())
export const engine: MlsEngine = makeMlsEngine({ primitives: native, random: randomBytes })
export const theirImpl: CiphersuiteImpl = await tsMls.getCiphersuiteImpl(
  tsMls.getCiphersuiteFromName('MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519'),
)

/** An identity and its key. */
export interface Seat extends Identity {
  readonly secret: Bytes
}

/** Makes an identity. */
export function makeSeat(): Seat {
  const secret = randomBytes(32)
  const peer = peerIdFromPublicKey(native.signPublic(secret))
  return { secret, peer, sign: (message) => native.sign(secret, message) }
}

/** The value of an answer. */
export function must<T>(answer: Decoded<T>): T {
  if (!answer.ok) throw new Error(`refused: ${answer.code}`)
  return answer.value
}

/** A KeyPackage by ts-mls with its default provider. */
export interface TheirKeyPackage {
  readonly publicPackage: tsMls.KeyPackage
  readonly privatePackage: tsMls.PrivateKeyPackage
  readonly message: Bytes
}

/** Makes a KeyPackage with ts-mls. */
export async function theirKeyPackage(seat: Seat): Promise<TheirKeyPackage> {
  const made = await tsMls.generateKeyPackageWithKey(
    { credentialType: 'basic', identity: peerIdToBytes(seat.peer) },
    ownCapabilities(),
    { notBefore: 0n, notAfter: 9_999_999_999n },
    [],
    { signKey: seat.secret, publicKey: native.signPublic(seat.secret) },
    theirImpl,
  )
  const { publicPackage: keyPackage } = made
  const message = { version: 'mls10', wireformat: 'mls_key_package', keyPackage } as const
  return { ...made, message: tsMls.encodeMlsMessage(message) }
}

/** A KeyPackage in a proposal of ts-mls. */
export function toTheirAdd(keyPackageMessage: Bytes): tsMls.Proposal {
  const message = tsMls.decodeMlsMessage(keyPackageMessage, 0)?.[0]
  if (message?.wireformat !== 'mls_key_package') throw new Error('a KeyPackage decodes')
  return { proposalType: 'add', add: { keyPackage: message.keyPackage } }
}

/** Commits with ts-mls, Welcomes included. */
export async function theirCommit(
  state: ClientState,
  extraProposals: tsMls.Proposal[] = [],
  cipherSuite: CiphersuiteImpl = theirImpl,
): Promise<Bytes> {
  const options = { wireAsPublicMessage: true, extraProposals }
  const { commit } = await tsMls.createCommit({ state, cipherSuite }, options)
  return tsMls.encodeMlsMessage(commit)
}

/** Follows a commit with ts-mls. */
export async function theirProcess(
  state: ClientState,
  bytes: Bytes,
  impl: CiphersuiteImpl = theirImpl,
): Promise<void> {
  const message = tsMls.decodeMlsMessage(bytes, 0)?.[0]
  if (message?.wireformat !== 'mls_public_message') throw new Error('a commit decodes')
  await tsMls.processPublicMessage(state, message.publicMessage, tsMls.emptyPskIndex, impl)
}

/** Both live members of one epoch. */
export interface Pair {
  readonly ours: MlsEpoch
  readonly theirs: ClientState
}

/** Begins a group of seats; answers the founder's epoch. */
export async function seatAll(seats: readonly Seat[]): Promise<MlsEpoch> {
  const [founder, ...others] = seats
  if (founder === undefined) throw new Error('a group has a founder')
  const groupId = randomBytes(32)
  const policy = randomBytes(64)
  const alone = await engine.create({ groupId, self: founder, policy, nowMs: NOW })
  if (others.length === 0) return alone
  const proposals = await toAdds(others)
  return must(await engine.commit(alone, { proposals, nowMs: NOW })).child
}

function toAdds(seats: readonly Seat[]): Promise<Proposal[]> {
  return Promise.all(
    seats.map(async (seat): Promise<Proposal> => {
      const { keyPackage } = await engine.keyPackage(seat, { nowMs: NOW })
      return { kind: 'add', keyPackage }
    }),
  )
}

/**
 * Fills the parents: every second seat replaces its leaf from outside, which sets its path.
 *
 * @returns The epoch as the last of them holds it. It has to admit the newcomer beside it: ts-mls 1.6.4 joins
 *   no tree in which a parent lists it as unmerged and another above does not.
 */
export async function warm(epoch: MlsEpoch, seats: readonly Seat[]): Promise<MlsEpoch> {
  let current = epoch
  for (const [i, self] of seats.entries()) {
    if (i === 0 || i % 2 === 1) continue
    const groupInfo = await engine.groupInfo(current)
    const tree = engine.tree(current)
    const joined = must(await engine.externalJoin({ groupInfo, tree, self, nowMs: NOW }))
    engine.dispose(current)
    current = joined.child
  }
  return current
}

/** Adds ts-mls's member as the last one, after other seats in the same commit. */
export async function admit(epoch: MlsEpoch, seats: readonly Seat[] = []): Promise<Pair> {
  const own = await theirKeyPackage(makeSeat())
  const last = { kind: 'add', keyPackage: own.message } as const
  const proposals = [...(await toAdds(seats)), last]
  const pending = must(await engine.commit(epoch, { proposals, nowMs: NOW }))
  const welcome = pending.welcomes.at(-1)?.welcome ?? NONE
  const theirs = await joinWithTheirs(welcome, engine.tree(pending.child), own)
  return { ours: pending.child, theirs }
}

/** Joins with ts-mls by a Welcome of ours. */
export function joinWithTheirs(
  welcomeMessage: Bytes,
  tree: Bytes,
  own: TheirKeyPackage,
): Promise<ClientState> {
  const message = tsMls.decodeMlsMessage(welcomeMessage, 0)?.[0]
  if (message?.wireformat !== 'mls_welcome') throw new Error('a Welcome decodes')
  const ratchetTree = decodeNodes(tree)
  const { publicPackage, privatePackage } = own
  const index = tsMls.emptyPskIndex
  const { welcome } = message
  return tsMls.joinGroup(welcome, publicPackage, privatePackage, index, theirImpl, ratchetTree)
}

function decodeNodes(tree: Bytes): tsMls.RatchetTree {
  const nodes = decodeRatchetTree(tree, 0)?.[0]
  if (nodes === undefined) throw new Error('a tree decodes')
  return nodes
}
