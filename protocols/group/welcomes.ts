// Welcomes of own commits, handed off once those have had time to lose (spec.md §4.5). Floor 0, pure.
import type { PeerId } from '../base/ids.ts'
import { leadsTo, nodeOf } from './chain.ts'
import type { DueWelcome } from './state.ts'
import type { GroupTurn } from './turn.ts'
import type { MemberRef } from './types.ts'

/** Hands Welcomes to those who were added, once their commit had time to lose. */
export function sendWelcomes(turn: GroupTurn): void {
  const { state } = turn
  for (const { commitId, peer, welcome, dueAt } of state.welcomes) {
    const name = `${commitId}/${peer}`
    if (dueAt > turn.nowMs || turn.state.volatile.handing.includes(name)) continue
    if (!leadsTo(state.chain, commitId, state.tip)) continue
    const epoch = state.held.get(commitId)
    const node = nodeOf(state.chain, commitId)
    const listening = state.generations.get(node.view.generation)
    if (epoch === undefined || listening === undefined) continue
    turn.note({ handing: [...turn.state.volatile.handing, name] })
    turn.ask({
      kind: 'handJoin',
      peer,
      commitId,
      joinPackage: {
        groupId: state.groupId,
        welcome,
        record: node.entry.record,
        genesis: state.genesis,
        policy: node.view.policy,
        roster: refsOf(node.view.roster),
        gone: refsOf(node.view.gone),
        generation: node.view.generation,
        tx: listening.generation.tx,
        treeHash: epoch.treeHash,
      },
    })
  }
}

function refsOf(peers: ReadonlyMap<PeerId, number>): MemberRef[] {
  return [...peers].map(([peer, gen]) => ({ peer, gen }))
}

/** Forgets a Welcome that was handed off, or whose commit lost, or whose epoch is gone. */
export function reviewWelcomes(turn: GroupTurn, done?: (one: DueWelcome) => boolean): void {
  const { state } = turn
  const left = state.welcomes.filter(
    (one) =>
      done?.(one) !== true &&
      leadsTo(state.chain, one.commitId, state.tip) &&
      state.held.has(one.commitId),
  )
  if (left.length !== state.welcomes.length) turn.change({ welcomes: left })
}
