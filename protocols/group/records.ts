// Records as they come in: put in their place, or kept until what they hang on comes (spec.md §4.1). Floor 0, pure.
import { admit, freeze, isKnown, markFailed, nodeOf, thaw } from './chain.ts'
import { verifyRecord } from './commit-record.ts'
import { keepHistory, reachesBack } from './history.ts'
import type { GroupTurn } from './turn.ts'
import { ORPHANS_PER_AUTHOR_MAX } from './types.ts'
import type { CommitRecord, RecordEntry } from './types.ts'
import { countRecord } from './votes.ts'

/** Records of all authors whose parents are awaited. */
const ORPHANS_MAX = 256

/** Takes what a sync brought: many records in one go. */
export function takeRecords(turn: GroupTurn, entries: readonly RecordEntry[]): void {
  const { chain } = turn.state
  const thawed = thaw(chain)
  turn.change({ chain: thawed })
  for (const entry of entries) {
    if (takeEntry(turn, entry) === 'unknownParent') {
      const record = verifyRecord(turn.primitives, entry.record)
      if (record.ok) keepHistory(turn, record.value, entry)
    }
  }
  if (turn.state.chain === thawed) turn.change({ chain })
  else freeze(turn.state.chain)
}

/** Takes a record, and then those that waited for it. */
export function takeEntry(
  turn: GroupTurn,
  entry: RecordEntry,
): 'taken' | 'unknownParent' | 'refused' {
  const record = verifyRecord(turn.primitives, entry.record)
  if (!record.ok || record.value.groupId !== turn.state.groupId) return 'refused'
  const placed = placeRecord(turn, record.value, entry)
  if (placed !== 'taken') return placed
  const { orphans } = turn.state.volatile
  const ready = orphans.filter(({ parent }) => parent === record.value.commitId)
  if (ready.length === 0) return 'taken'
  turn.note({ orphans: orphans.filter((one) => !ready.includes(one)) })
  for (const orphan of ready) takeEntry(turn, orphan.entry)
  return 'taken'
}

/** `taken` if the chain has grown. */
function placeRecord(
  turn: GroupTurn,
  record: CommitRecord,
  entry: RecordEntry,
): 'taken' | 'unknownParent' | 'refused' {
  const { chain, groupId } = turn.state
  if (record.kind === 'genesis') return reachesBack(turn.state) ? 'refused' : 'unknownParent'
  const after = admit(turn.primitives, chain, record, entry, groupId)
  if (!after.ok) {
    if (after.code !== 'GROUP_EPOCH_UNKNOWN') return 'refused'
    keepOrphan(turn, record, entry)
    return 'unknownParent'
  }
  if (after.value === chain) return 'refused'
  const { roster } = nodeOf(after.value, record.commitId).view
  // An own commit that was forgotten with a restored backup, and that left nobody else: there is no way into it any more.
  const isClosed = record.author.peer === turn.state.self.peer && roster.size === 1
  const next = isClosed ? markFailed(after.value, record.commitId) : after.value
  turn.change({ chain: next })
  const saved = nodeOf(next, record.commitId)
  turn.ask({
    kind: 'saveRecord',
    commitId: record.commitId,
    entry: saved.entry,
    failed: saved.failed,
  })
  countRecord(turn, record)
  return 'taken'
}

function keepOrphan(turn: GroupTurn, record: CommitRecord, entry: RecordEntry): void {
  const { orphans } = turn.state.volatile
  const { peer } = record.author
  // What was before the commit that we joined by is nothing to wait for.
  if (record.epoch <= nodeOf(turn.state.chain, turn.state.chain.base).record.epoch) return
  if (!isKnown(turn.state.chain, record.author)) return
  if (orphans.length >= ORPHANS_MAX) return
  if (orphans.filter(({ author }) => author === peer).length >= ORPHANS_PER_AUTHOR_MAX) return
  turn.note({ orphans: [...orphans, { author: peer, parent: record.parent, entry }] })
  turn.ask({ kind: 'wantSync' })
}
