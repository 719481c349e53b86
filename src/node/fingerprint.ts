// Who this agent is, read from its store without a running node. Floor 3.
import type { PeerId } from '../../protocols/base/ids.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { formatFingerprint } from '../../protocols/identity/fingerprint.ts'
import { native } from '../crypto/native.ts'
import { randomBytes } from '../crypto/random.ts'
import type { Store } from '../store/types.ts'
import { loadIdentity } from './identity-key.ts'
import { openOwnKeys } from './prekey-keeper.ts'

/** The peer ID and the fingerprint of this agent's keys; both are made where there are none. */
export async function readOwnFingerprint(
  store: Store,
): Promise<{ readonly peerId: PeerId; readonly fingerprint: string }> {
  const { peer, secret } = await loadIdentity(store, native, randomBytes)
  const { identityKey } = await openOwnKeys({
    store,
    primitives: native,
    random: randomBytes,
    now: () => toTimeMs(Date.now()),
    peer,
    secret: secret.reveal(),
  })
  return { peerId: peer, fingerprint: formatFingerprint(native, peer, identityKey) }
}
