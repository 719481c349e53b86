// Welcomes (RFC 9420 §12.4.3.1): each cut to one recipient, without the tree. Floor 0, pure.
import { encodeGroupInfo } from 'ts-mls/groupInfo.js'
import { encodeGroupSecrets } from 'ts-mls/groupSecrets.js'
import { encodeMlsMessage } from 'ts-mls/message.js'
import { wipe } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import type { WelcomeFor } from '../../mls-engine.ts'
import { signGroupInfo } from './group-info.ts'
import { deriveWelcome } from '../keys/key-schedule.ts'
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, SUITE_NAME } from '../keys/suite.ts'
import type { Suite } from '../keys/suite.ts'
import type { Newcomer } from '../proposals.ts'
import { required } from '../refusal.ts'
import type { EpochState } from '../state.ts'
import { isWithin, nodeOfLeaf } from '../tree/tree-math.ts'
import type { FreshPath } from '../tree/update-path.ts'

const NONE = new Uint8Array(0)

/** What newcomers are let in with. */
export interface WelcomeInput {
  /** joiner_secret of the new epoch. */
  readonly joiner: Bytes
  readonly path: FreshPath
  readonly adds: readonly Newcomer[]
  /** Leaf index of each add. */
  readonly added: readonly number[]
}

/** Makes one Welcome for each member that a commit adds. */
export function makeWelcomes(suite: Suite, child: EpochState, input: WelcomeInput): WelcomeFor[] {
  const { joiner, path, adds, added } = input
  if (adds.length === 0) return []
  const encryptedGroupInfo = sealGroupInfo(suite, child, joiner)
  return adds.map(({ peer, ref, keyPackage }, i) => {
    const leaf = nodeOfLeaf(added[i] ?? 0)
    const at = path.steps.findIndex(({ beside }) => isWithin(leaf, beside))
    const pathSecret = path.secrets[at]
    const groupSecrets = encodeGroupSecrets({ joinerSecret: joiner, pathSecret, psks: [] })
    const { initKey } = keyPackage
    const sealed = suite.encryptWithLabel(initKey, 'Welcome', encryptedGroupInfo, groupSecrets)
    wipe(groupSecrets)
    const { enc, ciphertext } = required(sealed, 'the init key is unusable')
    const encryptedGroupSecrets = { kemOutput: enc, ciphertext }
    const secrets = [{ newMember: ref, encryptedGroupSecrets }]
    const welcome = { cipherSuite: SUITE_NAME, secrets, encryptedGroupInfo } as const
    const message = encodeMlsMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome })
    return { peer, ref, welcome: message }
  })
}

function sealGroupInfo(suite: Suite, child: EpochState, joiner: Bytes): Bytes {
  const { context: groupContext, confirmationTag, ownLeaf: signer } = child
  const tbs = { groupContext, extensions: [], confirmationTag, signer }
  const groupInfo = encodeGroupInfo(signGroupInfo(suite, child.self, tbs))
  const { key, nonce } = welcomeKeys(suite, joiner)
  const sealed = suite.primitives.sealAesGcm(key, nonce, NONE, groupInfo)
  wipe(key, nonce)
  return sealed
}

/** The key and nonce under which a Welcome's GroupInfo is sealed. */
export function welcomeKeys(
  suite: Suite,
  joiner: Bytes,
): { readonly key: Bytes; readonly nonce: Bytes } {
  const secret = deriveWelcome(suite, joiner)
  const key = suite.expandWithLabel(secret, 'key', NONE, AEAD_KEY_BYTES)
  const nonce = suite.expandWithLabel(secret, 'nonce', NONE, AEAD_NONCE_BYTES)
  wipe(secret)
  return { key, nonce }
}
