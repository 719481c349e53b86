// What a group waits for, and waiting for a group. Floor 3.
import { ConclaveError } from '../../protocols/base/errors.ts'
import { isFinal } from '../../protocols/group/selection.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import type { RunningGroup } from './running-group.ts'

/** What is under way in a group, as short facts. */
export function pendingOf(state: GroupState): string[] {
  const { chain, votes } = state
  const open = state.intents.filter(
    ({ committedIn }) => committedIn === undefined || !isFinal(chain, votes, committedIn),
  )
  const pending = open.map(({ change, committedIn }) => {
    const stage = committedIn === undefined ? 'to be committed' : 'committed, not yet final'
    const who =
      change.kind === 'add' ? change.peer : change.kind === 'rekey' ? '' : change.member.peer
    return `${change.kind} ${who}`.trim() + `: ${stage}`
  })
  const queued = state.outbox.filter(({ sealed }) => sealed === undefined).length
  if (queued > 0) pending.push(`${queued} messages to be sealed`)
  if (state.waiting.size > 0) pending.push(`${state.waiting.size} messages wait for their epoch`)
  for (const { peer } of state.welcomes) pending.push(`welcome ${peer}: to be handed over`)
  if (state.phase === 'leaving') pending.push('leaving: to be executed by another member')
  if (state.phase === 'removed') pending.push('removed: this agent is not a member any more')
  if (state.phase === 'left') pending.push('left: this agent is not a member any more')
  return pending
}

/** Waits until `isReached` answers true; what it throws, too. */
export function until(
  group: RunningGroup,
  signal: AbortSignal,
  isReached: () => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      stop()
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    const onAbort = (): void => {
      const isTimeout = (signal.reason as Error | undefined)?.name === 'TimeoutError'
      const timeout = new ConclaveError('STATE_TIMEOUT', 'the group did not get there in time', {
        hint: 'it goes on by itself: conclave group info GROUP shows what is pending',
      })
      finish(() => reject(isTimeout ? timeout : (signal.reason as Error)))
    }
    const look = (): void => {
      try {
        if (isReached()) finish(resolve)
        else if (group.isClosed) throw new ConclaveError('STATE_CLOSED', 'the node is closing')
        else if (signal.aborted) onAbort()
      } catch (error) {
        finish(() => reject(error instanceof Error ? error : new Error(String(error))))
      }
    }
    const stop = group.watch(look)
    signal.addEventListener('abort', onAbort)
    look()
  })
}
