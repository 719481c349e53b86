// Peer IDs as text and bytes. Floor 0, pure.
import { base58btc } from 'multiformats/bases/base58'
import type { Brand } from './brand.ts'
import { concat, equalBytes } from './bytes.ts'
import type { Bytes } from './bytes.ts'

/** A libp2p peer ID of an Ed25519 key, as base58btc text: `12D3Koo…`. */
export type PeerId = Brand<string, 'PeerId'>

/** Octets of a peer ID: an identity multihash of the protobuf-encoded Ed25519 public key. */
export const PEER_ID_BYTES = 38

// multihash identity (00), length 36 (24); protobuf: key type Ed25519 (08 01), data (12 20).
const PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)

/**
 * Parses peer ID text; undefined unless it is an Ed25519 peer ID in canonical base58btc.
 *
 * @see libp2p specs, “Peer Ids and Keys”.
 */
export function parsePeerId(text: string): PeerId | undefined {
  if (text.length !== 52 || !text.startsWith('12D3Koo')) return undefined
  try {
    return peerIdFromBytes(base58btc.baseDecode(text))
  } catch {
    return undefined
  }
}

/** Reads a peer ID from its 38 bytes; undefined unless it is an Ed25519 peer ID. */
export function peerIdFromBytes(bytes: Bytes): PeerId | undefined {
  if (bytes.length !== PEER_ID_BYTES) return undefined
  if (!equalBytes(bytes.subarray(0, PREFIX.length), PREFIX)) return undefined
  return base58btc.baseEncode(bytes) as PeerId
}

/** The 38 bytes of a peer ID. */
export function peerIdToBytes(peer: PeerId): Bytes {
  return base58btc.baseDecode(peer)
}

/** The peer ID of a 32-byte Ed25519 public key. */
export function peerIdFromPublicKey(publicKey: Bytes): PeerId {
  return base58btc.baseEncode(concat(PREFIX, publicKey)) as PeerId
}

/** The 32-byte Ed25519 public key inside a peer ID. */
export function publicKeyOf(peer: PeerId): Bytes {
  return peerIdToBytes(peer).slice(PREFIX.length)
}
