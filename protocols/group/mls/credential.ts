// Who a leaf is: a basic credential that holds a peer ID, and the Ed25519 key inside it. Floor 0, pure.
import type { Credential } from 'ts-mls/credential.js'
import type { LeafNode } from 'ts-mls/leafNode.js'
import { equalBytes } from '../../base/bytes.ts'
import { peerIdFromBytes, peerIdToBytes, publicKeyOf } from '../../base/ids.ts'
import type { PeerId } from '../../base/ids.ts'

/** The credential of a peer. */
export function toCredential(peer: PeerId): Credential {
  return { credentialType: 'basic', identity: peerIdToBytes(peer) }
}

/**
 * The peer of a leaf; undefined unless its credential is a peer ID and its signature key the key inside.
 * This is the whole Authentication Service: asked of every leaf at create, join, process and external join.
 */
export function peerOfLeaf(
  leaf: Pick<LeafNode, 'credential' | 'signaturePublicKey'>,
): PeerId | undefined {
  if (leaf.credential.credentialType !== 'basic') return undefined
  const peer = peerIdFromBytes(leaf.credential.identity)
  if (peer === undefined) return undefined
  return equalBytes(publicKeyOf(peer), leaf.signaturePublicKey) ? peer : undefined
}
