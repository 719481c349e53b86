// What a conversation asks of the disk and of its peer, with the answers as events. Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { ConversationEvent, Found, Incoming } from '../../protocols/direct/conversation.ts'
import type { SessionOperations } from '../../protocols/direct/sessions.ts'
import type { MessageId } from '../../protocols/direct/types.ts'
import type { FetchedPrekeys, FetchOptions } from '../handlers/prekeys.ts'
import type { Inbox } from './inbox.ts'

type Without<Event> = Event extends unknown ? Omit<Event, 'at'> : never

/** An event before it gets its time and randomness. */
export type Heard = Without<ConversationEvent>

/** Fetches prekeys of a peer, from itself or else from a custodian of its. */
export type FetchPrekeys = (
  peer: PeerId,
  options: FetchOptions,
) => Promise<FetchedPrekeys & { readonly from: PeerId }>

/** What fetching needs. */
export interface FetchPorts {
  readonly fetchPrekeys: FetchPrekeys
  readonly sessions: SessionOperations
  readonly random: (length: number) => Bytes
}

/** Looks up what is known of an envelope, and of a message if one is named. */
export async function lookUp(
  inbox: Inbox,
  peer: PeerId,
  { envelopeId }: Incoming,
  messageId: MessageId | undefined,
): Promise<Found> {
  const envelope = await inbox.findEnvelope(peer, envelopeId)
  const message = messageId === undefined ? undefined : await inbox.findMessage(peer, messageId)
  return {
    ...(envelope !== undefined && { envelope }),
    ...(message !== undefined && { message }),
  }
}

/** Fetches the peer's prekeys and draws what a session on them needs. Never throws. */
export async function fetchBundle(
  { fetchPrekeys, sessions, random }: FetchPorts,
  peer: PeerId,
  signal: AbortSignal,
): Promise<Heard> {
  try {
    const { bundle, entry, from } = await fetchPrekeys(peer, { wantOneTime: true, signal })
    const fetched = { bundle, from, ...(entry !== undefined && { entry }) }
    const draws = sessions.drawInitiation(fetched, random)
    if (!draws.ok) return { kind: 'fetchFailed', code: draws.code }
    return { kind: 'bundleFetched', fetched, draws: draws.value }
  } catch (error) {
    const code = error instanceof ConclaveError ? error.code : 'NETWORK_RESET'
    return { kind: 'fetchFailed', code }
  }
}
