// Which members this node keeps connections to: a few of each group, found by peer ID. Floor 3.
import type { PeerId } from '../../protocols/base/ids.ts'
import type { GroupId } from '../../protocols/group/types.ts'
import type { Host } from '../host/types.ts'

/** Members of one group that a node keeps connections to. */
export const NEIGHBOURS_PER_GROUP = 6

/** Keeps connections on behalf of all groups. */
export class Neighbours {
  readonly #host: Pick<Host, 'peerId' | 'keepAlive' | 'release'>
  readonly #wanted = new Map<GroupId, ReadonlySet<PeerId>>()

  constructor(host: Pick<Host, 'peerId' | 'keepAlive' | 'release'>) {
    this.#host = host
  }

  /** Says who the other members of a group are now. */
  set(groupId: GroupId, others: readonly PeerId[]): void {
    const before = this.#all()
    this.#wanted.set(groupId, new Set(this.#choose(others)))
    const after = this.#all()
    for (const peer of after) if (!before.has(peer)) this.#host.keepAlive(peer)
    for (const peer of before) if (!after.has(peer)) this.#host.release(peer)
  }

  close(): void {
    for (const peer of this.#all()) this.#host.release(peer)
    this.#wanted.clear()
  }

  /** Those next to us in the ring of all members, both ways: so the whole roster hangs together. */
  #choose(others: readonly PeerId[]): PeerId[] {
    if (others.length <= NEIGHBOURS_PER_GROUP) return [...others]
    const { peerId } = this.#host
    const ring = [...others].sort()
    const at = ring.findIndex((peer) => peer > peerId)
    const start = at === -1 ? 0 : at
    const chosen = new Set<PeerId>()
    for (let step = 0; chosen.size < NEIGHBOURS_PER_GROUP; step++) {
      const ahead = ring[(start + step) % ring.length]
      const behind = ring[(start - 1 - step + 2 * ring.length) % ring.length]
      if (ahead !== undefined) chosen.add(ahead)
      if (behind !== undefined && chosen.size < NEIGHBOURS_PER_GROUP) chosen.add(behind)
    }
    return [...chosen]
  }

  #all(): Set<PeerId> {
    return new Set([...this.#wanted.values()].flatMap((peers) => [...peers]))
  }
}
