// Application messages: PrivateMessage (RFC 9420 §6.3). Floor 0, pure.
import type { PrivateMessage } from 'ts-mls/privateMessage.js'
import { encodePrivateContentAAD, encodePrivateMessage } from 'ts-mls/privateMessage.js'
import { encodeFramedContent } from 'ts-mls/framedContent.js'
import { decodeSenderData, encodeSenderData, encodeSenderDataAAD } from 'ts-mls/sender.js'
import type { ReuseGuard, SenderData } from 'ts-mls/sender.js'
import { encodeGroupContext } from 'ts-mls/groupContext.js'
import { concat, isZero, makeReader, wipe } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import { ConclaveError } from '../../../base/errors.ts'
import { PADDING_BYTES } from '../../mls-engine.ts'
import { readVec, vec } from '../../tls.ts'
import { decodeMessage, decodeStrictly } from './codec.ts'
import { peerOfLeaf } from '../credential.ts'
import { PRIVATE_MESSAGE, toSign } from './framing.ts'
import { copySecrets } from '../keys/key-schedule.ts'
import { disposeSecretTree, takeKey, takeNextKey } from '../keys/secret-tree.ts'
import type { TakenKey } from '../keys/secret-tree.ts'
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, HASH_BYTES } from '../keys/suite.ts'
import type { Suite } from '../keys/suite.ts'
import { ensure, required } from '../refusal.ts'
import { copyKeys } from '../state.ts'
import type { EpochState } from '../state.ts'
import { leafAt } from '../tree/tree.ts'
import type { PeerId } from '../../../base/ids.ts'

const CODE = 'GROUP_OPEN_FAILED'
const SIGNATURE_BYTES = 64

/** A sealed message and the state after it. */
export interface SealedMessage {
  readonly next: EpochState
  readonly message: Bytes
  readonly generation: number
}

/** Seals an application message with the next key of the own ratchet. */
export function sealMessage(
  suite: Suite,
  state: EpochState,
  plaintext: Bytes,
  aad: Bytes,
): SealedMessage {
  const { context, messages, ownLeaf, secrets } = state
  const { senderData } = secrets
  if (messages === undefined || senderData === undefined) {
    throw new ConclaveError('GROUP_EPOCH_UNKNOWN', 'a stripped epoch seals nothing')
  }
  const signed = signatureInput(state, ownLeaf, plaintext, aad)
  const signature = suite.signWithLabel(state.self, 'FramedContentTBS', signed)
  const content = pad(concat(vec(plaintext), vec(signature)))
  const taken = takeNextKey(suite, messages, ownLeaf)
  const reuseGuard = suite.random(4) as ReuseGuard
  const base = {
    groupId: context.groupId,
    epoch: context.epoch,
    contentType: 'application',
  } as const
  const contentAad = encodePrivateContentAAD({ ...base, authenticatedData: aad })
  guard(taken.nonce, reuseGuard)
  const ciphertext = suite.primitives.sealAesGcm(taken.key, taken.nonce, contentAad, content)
  wipe(taken.key, taken.nonce)
  const { generation } = taken
  const plainSender = encodeSenderData({ leafIndex: ownLeaf, generation, reuseGuard })
  const sender = senderKey(suite, senderData, ciphertext)
  const encryptedSenderData = suite.primitives.sealAesGcm(
    sender.key,
    sender.nonce,
    encodeSenderDataAAD(base),
    plainSender,
  )
  const message = { ...base, authenticatedData: aad, encryptedSenderData, ciphertext }
  const encoded = concat(PRIVATE_MESSAGE, encodePrivateMessage(message))
  return { next: advanced(state, taken), message: encoded, generation }
}

/** An opened message and the state after it. */
export interface OpenedMessage {
  readonly next: EpochState
  readonly plaintext: Bytes
  readonly sender: PeerId
  readonly senderLeaf: number
  readonly generation: number
  readonly aad: Bytes
}

/** Opens another's application message. The state after it is made only once everything verified. */
export function openMessage(suite: Suite, state: EpochState, bytes: Bytes): OpenedMessage {
  const { privateMessage } = decodeMessage('mls_private_message', bytes, CODE)
  const { context, messages, secrets, tree } = state
  ensure(isOfEpoch(privateMessage, state), 'of another epoch', 'GROUP_EPOCH_STALE')
  ensure(privateMessage.contentType === 'application', 'not an application message', CODE)
  const known = messages !== undefined && secrets.senderData !== undefined
  ensure(known, 'a stripped epoch opens nothing', 'GROUP_EPOCH_UNKNOWN')
  const { leafIndex, generation, reuseGuard } = openSender(
    suite,
    secrets.senderData,
    privateMessage,
  )
  ensure(leafIndex !== state.ownLeaf, 'an own message', 'GROUP_NOT_FOR_ME')
  const leaf = required(leafAt(tree, leafIndex), 'the sender is nobody', CODE)
  const taken = takeKey(suite, messages, leafIndex, generation)
  try {
    guard(taken.nonce, reuseGuard)
    const content = openContent(suite, taken, privateMessage)
    const aad = privateMessage.authenticatedData
    const signed = signatureInput(state, leafIndex, content.plaintext, aad, context.epoch)
    const { signaturePublicKey } = leaf
    const verified = suite.verifyWithLabel(
      signaturePublicKey,
      'FramedContentTBS',
      signed,
      content.signature,
    )
    ensure(verified, 'the signature is false', CODE)
    const sender = required(peerOfLeaf(leaf), 'the sender is nobody', CODE)
    const { plaintext } = content
    const next = advanced(state, taken)
    return { next, plaintext, sender, senderLeaf: leafIndex, generation, aad: aad.slice() }
  } catch (error) {
    disposeSecretTree(taken.tree)
    throw error
  } finally {
    wipe(taken.key, taken.nonce)
  }
}

function isOfEpoch(message: PrivateMessage, { context }: EpochState): boolean {
  return message.epoch === context.epoch && String(message.groupId) === String(context.groupId)
}

function advanced(state: EpochState, taken: TakenKey): EpochState {
  const { keys, secrets } = state
  return {
    ...state,
    keys: copyKeys(keys),
    secrets: copySecrets(secrets, false),
    messages: taken.tree,
  }
}

function signatureInput(
  { context }: EpochState,
  leafIndex: number,
  applicationData: Bytes,
  authenticatedData: Bytes,
  epoch: bigint = context.epoch,
): Bytes {
  const content = encodeFramedContent({
    groupId: context.groupId,
    epoch,
    sender: { senderType: 'member', leafIndex },
    authenticatedData,
    contentType: 'application',
    applicationData,
  })
  return toSign(PRIVATE_MESSAGE, content, encodeGroupContext(context))
}

function openSender(suite: Suite, senderData: Bytes, message: PrivateMessage): SenderData {
  const { groupId, epoch, contentType, ciphertext, encryptedSenderData } = message
  const { key, nonce } = senderKey(suite, senderData, ciphertext)
  const aad = encodeSenderDataAAD({ groupId, epoch, contentType })
  const opened = suite.primitives.openAesGcm(key, nonce, aad, encryptedSenderData)
  const bytes = required(opened, 'the sender data does not open', CODE)
  return decodeStrictly(decodeSenderData, encodeSenderData, bytes, CODE)
}

function senderKey(
  suite: Suite,
  senderData: Bytes,
  ciphertext: Bytes,
): { readonly key: Bytes; readonly nonce: Bytes } {
  const sample = ciphertext.subarray(0, HASH_BYTES)
  return {
    key: suite.expandWithLabel(senderData, 'key', sample, AEAD_KEY_BYTES),
    nonce: suite.expandWithLabel(senderData, 'nonce', sample, AEAD_NONCE_BYTES),
  }
}

/** Mixes the reuse guard into a nonce, so that a state restored from a backup repeats none. */
function guard(nonce: Bytes, reuseGuard: Bytes): void {
  for (let i = 0; i < 4; i++) nonce[i] = (nonce[i] ?? 0) ^ (reuseGuard[i] ?? 0)
}

function pad(content: Bytes): Bytes {
  const padded = new Uint8Array(Math.ceil(content.length / PADDING_BYTES) * PADDING_BYTES)
  padded.set(content)
  return padded
}

function openContent(
  suite: Suite,
  { key, nonce }: TakenKey,
  message: PrivateMessage,
): { readonly plaintext: Bytes; readonly signature: Bytes } {
  const { groupId, epoch, contentType, authenticatedData, ciphertext } = message
  const aad = encodePrivateContentAAD({ groupId, epoch, contentType, authenticatedData })
  const opened = suite.primitives.openAesGcm(key, nonce, aad, ciphertext)
  const reader = makeReader(required(opened, 'the content does not open', CODE))
  const plaintext = required(readVec(reader, reader.left), 'the content does not decode', CODE)
  const signature = required(readVec(reader, SIGNATURE_BYTES), 'no signature', CODE)
  ensure(isZero(reader.rest()), 'the padding is not zero', CODE)
  return { plaintext, signature }
}
