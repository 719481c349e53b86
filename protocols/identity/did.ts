// Decentralised identifiers of agents: did:key of an Ed25519 key (spec.md §3.1). Floor 0, pure.
import { base58btc } from 'multiformats/bases/base58'
import { concat } from '../base/bytes.ts'
import { peerIdFromPublicKey, publicKeyOf } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'

// Multicodec ed25519-pub, 0xed, as an unsigned varint.
const MULTICODEC = Uint8Array.of(0xed, 0x01)
const PREFIX = 'did:key:z'
const DID_LENGTH = 56

/**
 * Formats a peer ID as `did:key:z6Mk…`, 56 characters.
 *
 * @see W3C CCG, The did:key Method.
 */
export function formatDid(peer: PeerId): string {
  return PREFIX + base58btc.baseEncode(concat(MULTICODEC, publicKeyOf(peer)))
}

/** Parses a did:key; undefined unless it is the canonical text of an Ed25519 key, without fragment. */
export function parseDid(text: string): PeerId | undefined {
  if (text.length !== DID_LENGTH || !text.startsWith(PREFIX)) return undefined
  try {
    const bytes = base58btc.baseDecode(text.slice(PREFIX.length))
    if (bytes.length !== MULTICODEC.length + 32) return undefined
    const peer = peerIdFromPublicKey(bytes.subarray(MULTICODEC.length))
    return formatDid(peer) === text ? peer : undefined
  } catch {
    return undefined // Not base58.
  }
}
