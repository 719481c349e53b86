// The records before the commit that a member joined by: fetched, checked back to genesis, and put below the chain
// (spec.md §4.1). Floor 0, pure.
import { equalBytes } from '../base/bytes.ts'
import { admit, chainFromGenesis, freeze, markFailed, markFollowed, nodeOf, thaw } from './chain.ts'
import type { Chain } from './chain.ts'
import { verifyRecord } from './commit-record.ts'
import { countRecord } from './votes.ts'
import type { GroupTurn } from './turn.ts'
import { RECORDS_MAX } from './types.ts'
import type { CommitRecord, RecordEntry } from './types.ts'

/** True once the chain begins with the group's first commit. */
export function reachesBack({ chain, genesis }: { chain: Chain; genesis: string }): boolean {
  return chain.base === genesis
}

/** Keeps a record that hangs on nothing known, until the way back to genesis is complete. */
export function keepHistory(turn: GroupTurn, record: CommitRecord, entry: RecordEntry): void {
  const { history } = turn.state.volatile
  if (reachesBack(turn.state) || history.size >= RECORDS_MAX) return
  if (!history.has(record.commitId)) turn.addHistory(record.commitId, entry)
}

/** Puts the records before the base below it, if they lead there from genesis and say the same of it. */
export function reachBack(turn: GroupTurn): void {
  const { state, primitives } = turn
  const { chain, genesis } = state
  const { history } = state.volatile
  const first = history.get(genesis)
  if (reachesBack(state) || first === undefined) return
  const begun = chainFromGenesis(primitives, first)
  if (!begun.ok || begun.value.base !== genesis) {
    turn.note({ history: new Map() })
    return
  }
  const entries = [...history.values(), ...[...chain.nodes.values()].map(({ entry }) => entry)]
  const records = entries.flatMap((entry) => {
    const record = verifyRecord(primitives, entry.record)
    return record.ok ? [{ record: record.value, entry }] : []
  })
  records.sort((a, b) => a.record.epoch - b.record.epoch)
  let whole = thaw(begun.value)
  for (const { record, entry } of records) {
    const grown = admit(primitives, whole, record, entry, state.groupId)
    if (grown.ok) whole = grown.value
  }
  const { entry: own } = nodeOf(chain, chain.base)
  const found = whole.nodes.get(chain.base)
  const isWhole =
    found !== undefined &&
    equalBytes(found.entry.record, own.record) &&
    [...chain.nodes.keys()].every((id) => whole.nodes.has(id))
  if (isWhole) {
    for (const [id, { failed }] of chain.nodes)
      if (failed !== false) whole = markFailed(whole, id, failed)
    whole = markFollowed(markFollowed(whole, chain.base), state.since)
  }
  freeze(whole)
  if (!isWhole) return
  turn.note({ history: new Map() })
  turn.change({ chain: whole })
  for (const { record, entry, failed } of whole.nodes.values()) {
    const { commitId } = record
    if (chain.nodes.has(commitId) && commitId !== chain.base) continue
    turn.ask({ kind: 'saveRecord', commitId, entry, failed })
    countRecord(turn, record)
  }
}
