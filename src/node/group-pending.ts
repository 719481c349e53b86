// What is under way in a group, as short facts with wording that stays. Floor 3.
import type { PeerId } from '../../protocols/base/ids.ts'
import { forkPoint, nodeOf } from '../../protocols/group/chain.ts'
import { reachesBack } from '../../protocols/group/history.ts'
import { isFinal, selectTip } from '../../protocols/group/selection.ts'
import type { GroupState, Intent } from '../../protocols/group/state.ts'
import type { CommitId } from '../../protocols/group/types.ts'
import { isMember } from '../../protocols/group/view.ts'

/** Facts of one kind are counted, not listed, from this many on. */
const LISTED_MAX = 16

/** What a group waits for; empty when it is settled. */
export function pendingOf(state: GroupState): string[] {
  switch (state.phase) {
    case 'removed':
      return ['removed: this agent is not a member any more']
    case 'left':
      return ['left: this agent is not a member any more']
    case 'member':
    case 'leaving':
      return [
        ...(state.phase === 'leaving' ? ['leaving: to be executed by another member'] : []),
        ...branchFacts(state),
        ...changeFacts(state),
        ...messageFacts(state),
        ...listed(
          'welcomes: to be handed over',
          state.welcomes.map(({ peer }) => `welcome ${peer}: to be handed over`),
        ),
      ]
  }
}

/** Where the adopted epoch stands beside the selected one. */
function branchFacts(state: GroupState): string[] {
  const { chain, votes, tip, volatile } = state
  const facts: string[] = []
  const selected = selectTip(chain, votes)
  if (selected !== tip) facts.push(...awayFacts(state, selected))
  if (volatile.comingBack !== undefined) {
    const { attempts, info } = volatile.comingBack
    const asked = attempts === 0 ? '' : `, asked ${attempts} times`
    facts.push(
      info === undefined
        ? `resync: waiting for a member of the selected branch${asked}`
        : 'resync: coming back by a commit from outside',
    )
  }
  if (!reachesBack(state)) {
    const { epoch } = nodeOf(chain, chain.base).record
    facts.push(`records before epoch ${epoch}: to be fetched from members`)
  }
  return facts
}

function awayFacts({ chain, tip, self }: GroupState, selected: CommitId): string[] {
  const at = forkPoint(chain, tip, selected)
  const behind = nodeOf(chain, selected).record.epoch - nodeOf(chain, at).record.epoch
  const lost = nodeOf(chain, tip).record.epoch - nodeOf(chain, at).record.epoch
  const far =
    lost === 0
      ? `catching up: ${count(behind, 'commit')} behind`
      : `branch lost: ${count(lost, 'commit')} given up, ${behind} behind on the selected branch`
  if (isMember(nodeOf(chain, selected).view, self)) return [far]
  return isMember(nodeOf(chain, at).view, self)
    ? [far, 'removed on the selected branch: to be confirmed by other members']
    : [far, 'not on the selected branch: waiting to be added again']
}

function changeFacts({ chain, votes, intents, leaves, volatile }: GroupState): string[] {
  const stageOf = ({ committedIn }: Intent): string | undefined => {
    if (committedIn === undefined) return 'to be committed'
    return isFinal(chain, votes, committedIn) ? undefined : 'committed, not yet final'
  }
  const changes = intents.flatMap((intent) => {
    const stage = stageOf(intent)
    return stage === undefined ? [] : [`${nameOf(intent)}: ${stage}`]
  })
  const removals = [...leaves].map(([peer, { kind }]) =>
    kind === 'leave' ? leaving(peer) : `remove ${peer}: removed on another branch, to be executed`,
  )
  const strays = [...volatile.strays.keys()].map((peer) => `add ${peer}: lost with its branch`)
  return [
    ...listed('changes: to be committed, or not yet final', changes),
    ...listed('members: lost with their branch', strays),
    ...listed('removals: to be executed', removals),
  ]
}

const leaving = (peer: PeerId): string => `leave ${peer}: asked for, to be executed`

function nameOf({ change }: Intent): string {
  switch (change.kind) {
    case 'add':
      return `add ${change.peer}`
    case 'remove':
    case 'role':
      return `${change.kind} ${change.member.peer}`
    case 'rekey':
      return 'rekey'
  }
}

function messageFacts({ outbox, kept, waiting }: GroupState): string[] {
  const unsealed = outbox.filter(({ sealed }) => sealed === undefined).length
  const again = [...kept.values()].filter(({ dueAt }) => dueAt !== undefined).length
  return [
    ...(unsealed > 0 ? [`${count(unsealed, 'message')} to be sealed`] : []),
    ...(again > 0 ? [`${count(again, 'message')} of a lost branch to be sealed again`] : []),
    ...(waiting.size > 0 ? [`${count(waiting.size, 'message')} not opened yet`] : []),
  ]
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

/** The facts, or how many there are. */
function listed(summary: string, facts: readonly string[]): readonly string[] {
  return facts.length < LISTED_MAX ? facts : [`${facts.length} ${summary}`]
}
