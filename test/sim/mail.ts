// Direct messages between simulated members: they wait in mailboxes until their recipient is there, and are never lost.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Member } from './cast.ts'

/** Pause before a JoinPackage is tried again. */
const RETRY_MS = 5_000

/** Hands a JoinPackage to its recipient, as soon as it is up and can be reached. */
export function mailJoin({ name, world }: Member, peer: PeerId, bytes: Bytes): void {
  const { members, network, timeline, ledger } = world
  ledger.handed.push([peer, bytes])
  const other = members.get(peer)
  const deliver = async (): Promise<void> => {
    if (other === undefined) return
    if (other.isUp && network.connects(name, other.name)) await other.join(bytes)
    else timeline.after(RETRY_MS, deliver)
  }
  timeline.after(network.delay(), deliver)
}
