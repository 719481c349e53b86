// The end of the own membership, and its going on where what ended it turns out to be void (spec.md §4.7). Floor 0, pure.
import { nodeOf } from './chain.ts'
import { sameRef } from './ids.ts'
import { treesOf } from './retention.ts'
import { standingOf } from './selection.ts'
import type { Listening } from './state.ts'
import type { GroupTurn } from './turn.ts'
import { OUT_MS } from './types.ts'
import type { CommitId } from './types.ts'

/**
 * Forgets every secret of the group; what was received stays readable. Whoever was removed keeps what it said and what it
 * could not open yet: the removal may turn out to be void.
 */
export function endMembership(turn: GroupTurn, phase: 'left' | 'removed'): void {
  for (const commitId of turn.state.held.keys()) turn.ask({ kind: 'dropEpoch', commitId })
  for (const commitId of turn.state.checkpoints.keys()) {
    turn.ask({ kind: 'dropCheckpoint', commitId })
  }
  for (const treeHash of treesOf(turn)) turn.ask({ kind: 'dropTree', treeHash })
  if (phase === 'left') forgetMessages(turn)
  for (const { id } of turn.state.intents) {
    turn.ask({ kind: 'intentFailed', id, code: 'GROUP_NOT_MEMBER' })
  }
  const generations = endAll(turn)
  turn.change({
    phase,
    generations,
    held: new Map(),
    checkpoints: new Map(),
    intents: [],
    welcomes: [],
    owed: [],
    leaves: new Map(),
  })
  turn.ask({ kind: 'changed' })
}

function forgetMessages(turn: GroupTurn): void {
  const { outbox, kept, waiting } = turn.state
  for (const { n } of outbox) turn.ask({ kind: 'dropLetter', n })
  for (const { author, n } of kept.values()) turn.ask({ kind: 'dropKept', author, n })
  for (const frameId of waiting.keys()) turn.ask({ kind: 'dropWaiting', frameId })
  turn.change({ outbox: [], kept: new Map(), waiting: new Map() })
}

function endAll(turn: GroupTurn): Map<CommitId, Listening> {
  const generations = new Map(turn.state.generations)
  for (const [start, { generation, endedAt = turn.nowMs }] of generations) {
    const listening = { generation, endedAt }
    generations.set(start, listening)
    turn.ask({ kind: 'saveGeneration', listening })
  }
  return generations
}

/** Ends the own membership, once it has been over for long enough as far as is known: votes may have been on their way. */
export function reviewOut(turn: GroupTurn): void {
  const { outSince } = turn.state.volatile
  if (outSince === undefined || turn.nowMs - outSince < OUT_MS) return
  endMembership(turn, turn.state.phase === 'leaving' ? 'left' : 'removed')
}

/**
 * Goes on with a membership that a removal ended which has turned out to be void: its secrets are gone, so it comes back
 * from outside. Those who said that they agree to it are believed more.
 */
export function reviewReturn(turn: GroupTurn): void {
  const { state, before } = turn
  const { phase, chain, votes, self } = state
  if (phase !== 'removed' || (chain === before.chain && votes === before.votes)) return
  const { voided, tip } = standingOf(chain, votes)
  const { roster } = nodeOf(chain, tip).view
  if (roster.get(self.peer) !== self.gen) return
  const removedIn = chain.removals.filter((id) =>
    nodeOf(chain, id).record.removes.some(({ member }) => sameRef(member, self)),
  )
  if (removedIn.length === 0 || !removedIn.every((id) => voided.has(id))) return
  const { deniedBy } = state.volatile
  const denied = [...roster.keys()].filter((one) => deniedBy.has(one)).length
  if (2 * denied > roster.size) return
  turn.change({ phase: 'member' })
  turn.ask({ kind: 'changed' }, { kind: 'wantSync' })
}
