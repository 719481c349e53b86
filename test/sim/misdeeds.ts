// What bad members do when their step comes: who of them does it, and to whom.
import type { PeerId } from '../../protocols/base/ids.ts'
import { isAdmin } from '../../protocols/group/policy.ts'
import type { Change } from '../../protocols/group/state.ts'
import { Adversary, raiseGhost } from './adversary.ts'
import type { World } from './cast.ts'
import type { Chance } from './chance.ts'
import { Colluders } from './colluders.ts'
import type { SimMember } from './group-node.ts'
import type { Step, StepKind } from './script.ts'
import type { Tables } from './sim-store.ts'

/** Who is there. */
export interface Cast {
  readonly world: World
  readonly all: readonly SimMember[]
  /** Rows of earlier times. */
  readonly backups: Map<PeerId, Tables>
}

/** A bad member breaks a rule by itself. */
export async function misbehave({ world, all }: Cast, kind: StepKind, salt: number): Promise<void> {
  const bad = all.find(({ isHonest, isUp, isMember }) => !isHonest && isUp && isMember)
  if (bad === undefined) return
  const adversary = new Adversary(bad, salt)
  world.ledger.tally.misdeeds += 1
  if (kind === 'doubleVote') adversary.doubleVote()
  if (kind === 'falseRecord') await adversary.falseRecord()
  if (kind === 'withhold') await adversary.withhold()
  if (kind === 'badPath') await adversary.badPath()
  if (kind === 'grind') await adversary.grind()
  if (kind === 'flood') await adversary.flood()
}

/** Two bad members act together, once at least one of them is inside. */
export async function collude({ world, all }: Cast, step: Step, chance: Chance): Promise<void> {
  const bad = chance.shuffled(all.filter(({ isHonest }) => !isHonest))
  const inside = bad.find(({ isUp, isMember }) => isUp && isMember)
  const other = bad.find((one) => one !== inside && one.isUp && one.state !== undefined)
  if (inside === undefined || other === undefined) return
  const pair = new Colluders(inside, other, step.salt)
  world.ledger.tally.misdeeds += 1
  switch (chance.upTo(4)) {
    case 0:
      pair.forward(step.forMs)
      return
    case 1:
      return pair.withhold()
    case 2:
      return pair.enter()
    default: {
      // What follows is worth more with one of them out.
      const admin = all.find(({ isHonest, isUp, isMember }) => isHonest && isUp && isMember)
      const gen = other.isMember ? admin?.view.roster.get(other.peer) : undefined
      if (gen === undefined) return
      const change: Change = { kind: 'remove', member: { peer: other.peer, gen } }
      await admin?.ask({ kind: 'changesAsked', changes: [change] })
    }
  }
}

/** A member that is out of the group acts from rows of when it was in. */
export async function haunt(
  { world, all, backups }: Cast,
  member: SimMember,
  chance: Chance,
): Promise<void> {
  const removed = chance.pick(all.filter(({ state }) => state?.phase === 'removed'))
  const backup = removed && backups.get(removed.peer)
  if (removed === undefined || backup === undefined) {
    if (member.isMember) backups.set(member.peer, member.backup())
    return
  }
  removed.isHonest = false
  const name = `ghost ${world.ghosts.length} of ${removed.name}`
  const ghost = await raiseGhost(removed, backup, name)
  if (ghost === undefined) return
  await world.timeline.run(0)
  const inside = [...ghost.view.roster].filter(([peer]) => peer !== ghost.peer)
  const [peer, gen] = chance.pick(inside) ?? []
  const changes: Change[] = [{ kind: 'rekey' }]
  const mayRemove = isAdmin(ghost.view.policy, ghost.demand().self)
  if (peer !== undefined && gen !== undefined && mayRemove) {
    changes.push({ kind: 'remove', member: { peer, gen } })
  }
  world.ledger.tally.misdeeds += 1
  await ghost.ask({ kind: 'changesAsked', changes })
  await ghost.say(`boo ${name}`)
}
