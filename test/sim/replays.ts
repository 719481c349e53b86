// Whatever was sent before, sent again later: frames, answers of syncs, requests for and answers of entry into an epoch, and
// JoinPackages. Who does it may be nobody at all, or somebody who was removed.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Chance } from './chance.ts'
import type { Member, World } from './cast.ts'
import { Violation } from './cast.ts'
import { gossip } from './gossip.ts'

/** Frames that are sent again at a time. */
const FRAMES = 12

/** Sends something old again. */
export async function replay(world: World, chance: Chance): Promise<void> {
  const everybody = [...world.members.values()]
  const up = everybody.filter(({ isUp, state }) => isUp && state !== undefined)
  const [by, to] = [chance.pick(everybody), chance.pick(up)]
  if (by === undefined || to === undefined) return
  world.ledger.tally.replays += 1
  switch (chance.upTo(6)) {
    case 0:
      for (const frame of framesOf(world, chance)) gossip(by, frame, everybody)
      return
    case 1:
      for (const frame of framesOf(world, chance)) if (to.isUp) await to.receive(frame, 'sync')
      return
    case 2:
      return replayAnswer(to, chance)
    case 3:
      return replayInfo(to, chance)
    case 4:
      return askEverybody(up, chance)
    default:
      return replayJoin(world, chance)
  }
}

function framesOf({ ledger: { published } }: World, chance: Chance): Bytes[] {
  return Array.from({ length: FRAMES }).flatMap(() => chance.pick(published)?.frame ?? [])
}

/** What some sync once brought to somebody comes to somebody else; who was removed says so as it once was said. */
async function replayAnswer(to: Member, chance: Chance): Promise<void> {
  const { ledger, members } = to.world
  const answer = chance.pick(ledger.answers)
  if (answer === undefined) return
  const { entries, acks, proofs, tip } = answer
  if (entries.length > 0) await to.hear({ kind: 'recordsHeard', entries })
  await to.hear({ kind: 'acksHeard', acks, proofs })
  const removed = chance.pick([...members.values()].filter(isRemoved))
  if (removed === undefined || to.state?.chain.nodes.get(tip)?.view.roster.has(to.peer) !== false)
    return
  await to.hear({ kind: 'removalHeard', peer: removed.peer, removal: tip })
}

/** What once led into an epoch comes again, for that epoch or for another. */
async function replayInfo(to: Member, chance: Chance): Promise<void> {
  const [id, info] = chance.pick(to.world.ledger.infos) ?? []
  if (id === undefined || info === undefined) return
  const { comingBack, probe } = to.state?.volatile ?? {}
  const commitId = comingBack?.to ?? probe?.to ?? id
  await to.hear({ kind: 'infoHeard', commitId, info })
}

/** Who was removed asks for its way in, into every epoch that it knows of. */
async function askEverybody(up: readonly Member[], chance: Chance): Promise<void> {
  const removed = chance.pick(up.filter(isRemoved))
  for (const other of removed === undefined ? [] : up) {
    for (const id of removed?.state?.chain.nodes.keys() ?? []) {
      if (removed === undefined || !other.isHonest || other.view.roster.has(removed.peer)) continue
      if ((await other.infoFor(removed.peer, id)) === undefined) continue
      throw new Violation('removed stays removed', `${other.name} lets ${removed.name} in again`)
    }
  }
}

async function replayJoin({ ledger, members }: World, chance: Chance): Promise<void> {
  const [peer, bytes] = chance.pick(ledger.handed) ?? []
  const other = peer && members.get(peer)
  if (other?.isUp === true && bytes !== undefined) await other.join(bytes)
}

function isRemoved({ state }: Member): boolean {
  return state?.phase === 'removed'
}
