// Deterministic randomness and peers for tests and simulations.
import { u32, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { native } from '../../src/crypto/native.ts'

/** A generator of bytes that repeats itself exactly for the same seed. */
export function seededBytes(seed: string): (count: number) => Bytes {
  let drawn = 0
  return (count) => native.hkdfSha256(utf8(seed), u32(drawn++), new Uint8Array(0), count)
}

/** A peer whose Ed25519 key follows from its name. */
export interface SeededPeer {
  readonly peer: PeerId
  readonly secret: Bytes
  sign(message: Bytes): Bytes
}

/** Makes a peer from a name. */
export function seededPeer(name: string): SeededPeer {
  const secret = native.sha256(utf8(`peer ${name}`))
  const peer = peerIdFromPublicKey(native.signPublic(secret))
  return { secret, peer, sign: (message) => native.sign(secret, message) }
}
