// What is checked about a host's own addresses before and while it starts. Floor 1.
import type { Libp2p } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Libp2pOptions } from 'libp2p'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { parseAddress, peerOfAddress } from './addresses.ts'
import type { HostServices } from './libp2p-options.ts'

/** A peer to connect to from the start, and where. */
export interface Bootstrap {
  readonly peer: PeerId
  readonly address: Multiaddr
}

/**
 * Parses addresses that the operator gave under `key`.
 *
 * @throws ConclaveError `CONFIG_VALUE` for one that is not a multiaddr.
 */
export function parseOwn(texts: readonly string[], key: string): Multiaddr[] {
  return texts.map((text) => {
    const address = parseAddress(text)
    if (address !== undefined) return address
    throw new ConclaveError('CONFIG_VALUE', `${key}: not a multiaddr: ${text}`, {
      hint: 'write it like /ip4/0.0.0.0/tcp/4001',
    })
  })
}

/**
 * Parses addresses of bootstrap peers.
 *
 * @throws ConclaveError `CONFIG_VALUE` for one that is malformed or names no peer.
 */
export function parseBootstrap(texts: readonly string[]): Bootstrap[] {
  return parseOwn(texts, 'bootstrap').map((address) => {
    const peer = peerOfAddress(address)
    if (peer !== undefined) return { peer, address }
    throw new ConclaveError('CONFIG_VALUE', `bootstrap: no peer ID in ${address.toString()}`, {
      hint: 'end it with /p2p/ and the peer ID that `conclave id` prints there',
    })
  })
}

/**
 * Checks that each address has a transport: libp2p would pass over the others in silence.
 *
 * @throws ConclaveError `CONFIG_TRANSPORT`.
 */
export function checkListening(node: Libp2p<HostServices>, listen: readonly Multiaddr[]): void {
  const { transportManager } = node.services.parts.of
  for (const address of listen) {
    if (transportManager.listenTransportForMultiaddr(address) !== undefined) continue
    throw new ConclaveError('CONFIG_TRANSPORT', `no transport listens on ${address.toString()}`, {
      hint: 'name its transport with --transport, or leave the address out',
    })
  }
}

/** Says which address could not be bound, and why, from libp2p's long text. */
export function listenFailure(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause)
  const address = /^ {2}(\/\S+):/m.exec(text)?.[1]
  const reason = /\b(E[A-Z]{4,})\b/.exec(text)?.[1]
  return `cannot listen on ${address ?? 'an address'}${reason === undefined ? '' : `: ${reason}`}`
}

/**
 * Puts libp2p together, without starting it.
 *
 * @throws ConclaveError `CONFIG_TRANSPORT` if a transport's factory fails or two transports carry one tag.
 */
export async function composeNode(
  options: Libp2pOptions<HostServices>,
): Promise<Libp2p<HostServices>> {
  try {
    return await createLibp2p<HostServices>(options)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ConclaveError('CONFIG_TRANSPORT', `cannot put the host together: ${reason}`, {
      cause,
      hint: 'look at the transports that were named or loaded',
    })
  }
}
