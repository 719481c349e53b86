// Resolves a PEER argument: peer ID, did:key, multiaddr, ticket or petname. Floor 3.
import { ConclaveError } from '../../protocols/base/errors.ts'
import { parsePeerId } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { nearest } from '../../protocols/base/nearest.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { parseDid } from '../../protocols/identity/did.ts'
import { dialAddresses } from '../../protocols/identity/reach.ts'
import { TICKET_PREFIX, parseTicket } from '../../protocols/identity/ticket.ts'

/** Longest PEER argument looked at, in characters. */
export const PEER_ARGUMENT_MAX = 8_192

/** Who an argument names, and the addresses that it carries. */
export interface NamedPeer {
  readonly peer: PeerId
  readonly addresses: readonly string[]
}

/** Petnames given here. */
export interface Petname {
  readonly peerId: PeerId
  readonly name: string | null
}

const usage = (
  code: 'USAGE_PEER_ID_INVALID' | 'USAGE_PEER_UNKNOWN' | 'USAGE_AMBIGUOUS',
  message: string,
  hint: string,
): ConclaveError => new ConclaveError(code, message, { hint })

/**
 * Reads a PEER argument without looking at petnames: what it is by its form.
 *
 * @returns undefined if the text has none of the forms, so it can only be a petname.
 * @throws ConclaveError `USAGE_PEER_ID_INVALID` if it has a form but does not hold.
 */
export function parsePeerForm(
  text: string,
  primitives: Primitives,
  nowMs: TimeMs,
): NamedPeer | undefined {
  if (text.length > PEER_ARGUMENT_MAX) {
    throw usage(
      'USAGE_PEER_ID_INVALID',
      `a peer is named by at most ${PEER_ARGUMENT_MAX} characters`,
      'give a peer ID',
    )
  }
  if (text.startsWith('did:')) {
    const peer = parseDid(text)
    if (peer === undefined)
      throw invalid(text, 'a did:key of an Ed25519 key begins with did:key:z6Mk')
    return { peer, addresses: [] }
  }
  if (text.startsWith('/')) {
    const peer = parsePeerId(text.slice(text.lastIndexOf('/p2p/') + '/p2p/'.length))
    if (peer === undefined)
      throw invalid(text, 'a multiaddr must end in /p2p/ and an Ed25519 peer ID')
    return { peer, addresses: [text] }
  }
  if (text.startsWith(TICKET_PREFIX)) {
    const ticket = parseTicket(primitives, text, nowMs)
    if (!ticket.ok) {
      const expired = ticket.code === 'VERIFY_EXPIRED'
      throw new ConclaveError(
        ticket.code,
        expired ? 'the ticket has expired' : 'the ticket does not hold',
        {
          hint: 'ask its owner for a new one: conclave ticket',
        },
      )
    }
    return {
      peer: ticket.value.peer,
      addresses: dialAddresses(ticket.value.peer, ticket.value),
    }
  }
  const peer = parsePeerId(text)
  if (peer !== undefined) return { peer, addresses: [] }
  if (text.startsWith('12D3Koo') || /^Qm[1-9A-HJ-NP-Za-km-z]{44}$/.test(text)) {
    throw invalid(text, 'an Ed25519 peer ID has 52 characters and begins with 12D3Koo')
  }
  return undefined
}

function invalid(text: string, hint: string): ConclaveError {
  return usage('USAGE_PEER_ID_INVALID', `not a valid peer: ${text.slice(0, 80)}`, hint)
}

/**
 * Finds the peer of a petname.
 *
 * @throws ConclaveError `USAGE_PEER_UNKNOWN` or `USAGE_AMBIGUOUS`, with the nearest known in the hint.
 */
export function findPetname(text: string, known: readonly Petname[]): PeerId {
  const named = known.filter(({ name }) => name === text)
  const [first, second] = named
  if (first !== undefined && second === undefined) return first.peerId
  if (first !== undefined) {
    const peers = named.map(({ peerId }) => peerId).join(', ')
    throw usage(
      'USAGE_AMBIGUOUS',
      `${named.length} contacts are named ${text}`,
      `give a peer ID: ${peers}`,
    )
  }
  const near = nearest(
    text,
    known.flatMap(({ name }) => name ?? []),
  )
  const hint =
    near === undefined
      ? 'conclave contact list shows the names given here; or give a peer ID, did:key, multiaddr or ticket'
      : `did you mean ${near}?`
  throw usage('USAGE_PEER_UNKNOWN', `no contact is named ${text.slice(0, 80)}`, hint)
}
