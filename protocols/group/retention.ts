// The end of old secrets: epochs, checkpoints and generations past their number or their time (spec.md §4.3). Floor 0, pure.
import { equalBytes } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { leadsTo, nodeOf } from './chain.ts'
import { standingOf } from './selection.ts'
import type { GroupState, Listening, OwedTree } from './state.ts'
import type { GroupKit, GroupTurn } from './turn.ts'
import {
  GENERATION_LINGER_MS,
  OWED_TREES_MAX,
  PAST_EPOCHS_MAX,
  PAST_EPOCHS_MS,
  PAST_FINAL_MS,
  PAST_MS_MIN,
} from './types.ts'
import type { CommitId } from './types.ts'

/** Drops the secrets of epochs past their number or their time, and generations that nobody uses any more. */
export function expireEpochs(turn: GroupTurn): void {
  reviewOwed(turn)
  const { held, checkpoints, generations } = turn.state
  const isOver = ({ dueAt }: Past): boolean => turn.nowMs >= dueAt
  const over = pastEpochs(turn.kit, turn.state).filter(isOver)
  const spent = pastCheckpoints(turn.kit, turn.state).filter(isOver)
  if (over.length > 0 || spent.length > 0) {
    const trees = treesOf(turn)
    const keptEpochs = new Map(held)
    const keptCheckpoints = new Map(checkpoints)
    const owed = over.flatMap(({ commitId }) => owedOf(turn, commitId) ?? [])
    if (owed.length > 0) turn.change({ owed: [...turn.state.owed, ...owed] })
    for (const { commitId } of over) {
      keptEpochs.delete(commitId)
      turn.ask({ kind: 'dropEpoch', commitId })
    }
    for (const { commitId } of spent) {
      keptCheckpoints.delete(commitId)
      turn.ask({ kind: 'dropCheckpoint', commitId })
    }
    turn.change({ held: keptEpochs, checkpoints: keptCheckpoints })
    dropTrees(turn, trees)
  }
  expireGenerations(turn, generations)
}

/** Secrets that are not those of the tip, and when they are over. */
interface Past {
  readonly commitId: CommitId
  readonly dueAt: number
}

function pastEpochs(kit: GroupKit, state: GroupState): Past[] {
  const past = [...state.held].filter(([id]) => id !== state.tip)
  return endsOf(
    kit,
    state,
    past.map(([id, { endedAt = 0 }]) => [id, endedAt]),
  )
}

/** A checkpoint has the keys of all that is said in its epoch: once the epoch is entered, its snapshot takes its place. */
function pastCheckpoints(kit: GroupKit, state: GroupState): Past[] {
  const made = [...state.checkpoints].map(([id, { madeAt }]): [CommitId, number] => [id, madeAt])
  const entered = made.filter(([id]) => state.held.has(id))
  const others = made.filter(([id]) => !state.held.has(id))
  return [
    ...entered.map(([commitId, dueAt]) => ({ commitId, dueAt })),
    ...endsOf(kit, state, others),
  ]
}

/** When each of them is over that is past since a time: by number, by time, or once most members are beyond it. */
function endsOf(
  { retention }: GroupKit,
  state: GroupState,
  past: readonly (readonly [CommitId, number])[],
): Past[] {
  const { epochs = PAST_EPOCHS_MAX, ms = PAST_EPOCHS_MS } = retention ?? {}
  const keptMs = Math.min(ms, PAST_EPOCHS_MS)
  const newestFirst = [...past].sort(([, a], [, b]) => b - a)
  return newestFirst.map(([commitId, since], i) => {
    if (i >= PAST_EPOCHS_MAX) return { commitId, dueAt: since }
    const isKept = i < epochs
    const wishedMs = isSettled(state, commitId) ? Math.min(keptMs, PAST_FINAL_MS) : keptMs
    return { commitId, dueAt: since + Math.max(isKept ? wishedMs : 0, PAST_MS_MIN) }
  })
}

/** True for epochs that no branch will be followed from any more: most members are beyond them, or on another branch. */
function isSettled({ chain, votes, tip }: GroupState, id: CommitId): boolean {
  const { final } = standingOf(chain, votes)
  // Who is not there yet needs what it holds to get there.
  return final !== undefined && leadsTo(chain, final, tip) && !leadsTo(chain, final, id)
}

/** When `expireEpochs` has something to do next. */
export function epochsDueAt(kit: GroupKit, state: GroupState): number {
  const past = [...pastEpochs(kit, state), ...pastCheckpoints(kit, state)]
  const over = [...state.generations.values()].map(({ endedAt }) =>
    endedAt === undefined ? Number.POSITIVE_INFINITY : endedAt + GENERATION_LINGER_MS,
  )
  return Math.min(...past.map(({ dueAt }) => dueAt), ...over)
}

function expireGenerations(turn: GroupTurn, generations: ReadonlyMap<CommitId, Listening>): void {
  const current =
    turn.state.phase === 'member' || turn.state.phase === 'leaving'
      ? turn.view.generation
      : undefined
  const next = new Map(generations)
  for (const [start, listening] of generations) {
    const { generation, endedAt } = listening
    if (start === current) {
      if (endedAt === undefined) continue
      next.set(start, { generation })
      turn.ask({ kind: 'saveGeneration', listening: { generation } })
    } else if (endedAt === undefined) {
      const ended = { generation, endedAt: turn.nowMs }
      next.set(start, ended)
      turn.ask({ kind: 'saveGeneration', listening: ended })
    } else if (turn.nowMs - endedAt >= GENERATION_LINGER_MS) {
      next.delete(start)
      turn.ask({ kind: 'dropGeneration', start })
    }
  }
  if (next.size !== generations.size || [...next].some(([k, v]) => generations.get(k) !== v)) {
    turn.change({ generations: next })
  }
}

function reviewOwed(turn: GroupTurn): void {
  const { owed } = turn.state
  const left = owed.filter(({ commitId }) => awaitsMembers(turn.state, commitId))
  if (left.length === owed.length) return
  const trees = treesOf(turn)
  turn.change({ owed: left.slice(-OWED_TREES_MAX) })
  dropTrees(turn, trees)
}

/** The tree of an epoch that is over, if a member that this one added by it may still have to fetch it. */
function owedOf({ state }: GroupTurn, commitId: CommitId): OwedTree | undefined {
  const epoch = state.held.get(commitId)
  const isOwn = nodeOf(state.chain, commitId).record.author.peer === state.self.peer
  return isOwn && epoch !== undefined && awaitsMembers(state, commitId)
    ? { commitId, treeHash: epoch.treeHash }
    : undefined
}

/** True while somebody whom a commit added is a member and has not voted yet. */
function awaitsMembers({ chain, tip, votes }: GroupState, commitId: CommitId): boolean {
  const { roster } = nodeOf(chain, tip).view
  return nodeOf(chain, commitId).record.adds.some(
    ({ member: { peer, gen } }) => roster.get(peer) === gen && votes.get(peer)?.gen !== gen,
  )
}

export function treesOf({ state }: GroupTurn): Bytes[] {
  const trees = new Map<string, Bytes>()
  const { held, checkpoints, owed } = state
  for (const { treeHash } of [...held.values(), ...checkpoints.values(), ...owed]) {
    trees.set(treeHash.join(), treeHash)
  }
  return [...trees.values()]
}

function dropTrees(turn: GroupTurn, before: readonly Bytes[]): void {
  const left = treesOf(turn)
  for (const treeHash of before) {
    if (!left.some((one) => equalBytes(one, treeHash))) turn.ask({ kind: 'dropTree', treeHash })
  }
}
