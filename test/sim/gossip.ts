// Gossip between simulated members: a frame goes to all, some of whom forward it.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { SimMember } from './group-node.ts'

/** Members that a frame is forwarded to by who accepted it. */
const FORWARDS = 2

/** Gossips a frame to members, who forward what they accept. */
export function gossip(from: SimMember, frame: Bytes, to: readonly SimMember[]): void {
  const { members, network } = from.world
  for (const other of to) {
    if (other === from || other.isDeaf) continue
    network.carry(from.name, other.name, async () => {
      if (!(await other.receive(frame))) return
      const others = [...members.values()].filter((one) => one !== other && one !== from)
      gossip(other, frame, other.chance.shuffled(others).slice(0, FORWARDS))
    })
  }
}
