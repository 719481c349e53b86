// The node's Ed25519 key: made at the first start, kept in the database ever since. Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { Secret } from '../../protocols/base/secret.ts'
import { put } from '../store/types.ts'
import type { Store } from '../store/types.ts'

const TABLE = 'identity'
const KEY = 'ed25519-seed'

/** Who this node is. */
export interface OwnIdentity {
  readonly peer: PeerId
  /** The Ed25519 seed. */
  readonly secret: Secret
}

/** Loads the key, or makes and stores one where there is none; it is durable before it is answered. */
export async function loadIdentity(
  store: Store,
  primitives: Primitives,
  randomBytes: (count: number) => Bytes,
): Promise<OwnIdentity> {
  let seed = await store.get(TABLE, KEY)
  if (seed === undefined) {
    seed = randomBytes(32)
    await store.commit([put(TABLE, KEY, seed)])
  }
  return { peer: peerIdFromPublicKey(primitives.signPublic(seed)), secret: new Secret(seed) }
}
