// Where another member of a group stands, by what it last said of itself: for `why`. Floor 3.
import { formatHex } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { DAY_MS, MINUTE_MS } from '../../protocols/base/time.ts'
import { forkPoint, nodeOf, removalOf } from '../../protocols/group/chain.ts'
import { isAdmin } from '../../protocols/group/policy.ts'
import { isNewer } from '../../protocols/group/selection.ts'
import type { Vote } from '../../protocols/group/selection.ts'
import { verifyLeave } from '../../protocols/group/signed-notes.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import { ACK_LATE_MS, ACKS_AT_ONCE_MAX } from '../../protocols/group/types.ts'
import type { CommitId } from '../../protocols/group/types.ts'

/** Digits of a branch that are shown. */
const PREFIX_DIGITS = 8

/** What is found of a peer in one group. */
export interface Standing {
  readonly ok: boolean
  readonly code: string
  readonly fact: string
  readonly data: Readonly<Record<string, unknown>>
  /** A command that helps, where one does. */
  readonly next?: string
}

/** What a peer's place is measured by. */
export interface StandingPorts {
  readonly primitives: Primitives
  readonly nowMs: number
}

/** Where a peer stands in a group that this node is a member of; undefined if it never was in it. */
export function standingIn(
  state: GroupState,
  peer: PeerId,
  ports: StandingPorts,
): Standing | undefined {
  const { view } = nodeOf(state.chain, state.tip)
  const { epoch, policy } = view
  const found = view.roster.has(peer)
    ? placeOf(state, peer, ports.nowMs)
    : formerPlace(state, peer, ports)
  if (found === undefined) return undefined
  const { groupId } = state
  const { ok, code, fact, data, next } = found
  return {
    ok,
    code,
    fact: `in ${policy.name}, here at epoch ${epoch}: ${fact}`,
    data: { groupId, name: policy.name, epoch, ...data },
    ...(next !== undefined && { next: `conclave group ${next}` }),
  }
}

interface Place extends Omit<Standing, 'data'> {
  readonly data?: Standing['data']
}

function placeOf(state: GroupState, peer: PeerId, nowMs: number): Place {
  const { groupId, leaves } = state
  const { roster, policy } = nodeOf(state.chain, state.tip).view
  const gen = roster.get(peer)
  const vote = lastWordOf(state, peer)
  const pending = leaves.get(peer)
  if (pending?.kind === 'tombstone') {
    const fact = 'another branch removed it, which is to be done here too'
    return { ok: false, code: 'GROUP_REMOVED', fact, next: `info ${groupId} --json` }
  }
  if (pending?.kind === 'leave') {
    const fact = 'it has asked to leave, which somebody has to execute'
    return { ok: false, code: 'GROUP_LEAVING', fact, next: `info ${groupId} --json` }
  }
  if (vote === undefined || vote.gen !== gen) return silentPlace(state, peer)
  if (vote.isDouble === true) {
    const fact = 'it voted twice, which is proved: its votes do not count until it is added again'
    const next = isAdmin(policy, state.self) ? `remove ${groupId} ${peer} --json` : undefined
    return { ok: false, code: 'GROUP_VOTED_TWICE', fact, ...(next !== undefined && { next }) }
  }
  const place = votedPlace(state, vote, nowMs)
  const heard = heardAgo(vote, nowMs)
  return heard === undefined
    ? place
    : {
        ...place,
        fact: `${place.fact}, last said so ${heard.text}`,
        data: { ...place.data, lastHeardAt: heard.at },
      }
}

/** The newest vote that was heard of a member, whether or not what it is for is known here. */
function lastWordOf({ votes, volatile }: GroupState, peer: PeerId): Vote | undefined {
  const early = volatile.early.get(peer)
  return early !== undefined && isNewer(votes, peer, early) ? early : votes.get(peer)
}

/** It was added, and has not said yet that it is in. */
function silentPlace(state: GroupState, peer: PeerId): Place {
  const { chain, since, tip, welcomes, groupId } = state
  const wasHere = nodeOf(chain, since).view.roster.has(peer)
  if (wasHere && !nodeOf(chain, since).record.adds.some(({ member }) => member.peer === peer)) {
    const fact = 'a member since before this agent, nothing was heard of it yet'
    return { ok: true, code: 'GROUP_SILENT', fact }
  }
  const added = addedAt(state, peer)
  const stage = welcomes.some((one) => one.peer === peer)
    ? 'its Welcome is to be handed over'
    : 'not joined yet'
  return {
    ok: false,
    code: 'GROUP_INVITED',
    fact: `invited at epoch ${nodeOf(chain, added ?? tip).record.epoch}, ${stage}`,
    next: `info ${groupId} --json`,
  }
}

function addedAt({ chain, tip }: GroupState, peer: PeerId): CommitId | undefined {
  let node = chain.nodes.get(tip)
  while (node !== undefined) {
    if (node.record.adds.some(({ member }) => member.peer === peer)) return node.record.commitId
    node = chain.nodes.get(node.record.parent)
  }
  return undefined
}

/** Its newest vote beside the own tip. */
function votedPlace(state: GroupState, { commitId }: Vote, nowMs: number): Place {
  const { chain, tip, groupId } = state
  const next = `info ${groupId} --json`
  const voted = chain.nodes.get(commitId)
  if (voted === undefined) {
    const fact = 'it is in an epoch that this node does not know: this node lags'
    return { ok: false, code: 'GROUP_UNKNOWN_EPOCH', fact, next }
  }
  if (commitId === tip) return { ok: true, code: 'GROUP_CURRENT', fact: 'it is in the same epoch' }
  const at = forkPoint(chain, commitId, tip)
  const epochs = (id: CommitId): number =>
    nodeOf(chain, id).record.epoch - nodeOf(chain, at).record.epoch
  if (at === commitId) {
    const behind = epochs(tip)
    const fact = isLateFor(state, nowMs)
      ? `its last word is ${plural(behind, 'epoch')} old, and many members need not say so at once`
      : `it is ${plural(behind, 'epoch')} behind`
    return { ok: isLateFor(state, nowMs), code: 'GROUP_BEHIND', fact, data: { behind } }
  }
  if (at === tip) {
    const fact = `it is ${plural(epochs(commitId), 'epoch')} ahead: this node lags`
    return { ok: false, code: 'GROUP_AHEAD', fact, data: { ahead: epochs(commitId) }, next }
  }
  const branch = commitId.slice(0, PREFIX_DIGITS)
  const fact = `it is on another branch, ${branch}, forked ${plural(epochs(tip), 'epoch')} ago`
  return { ok: false, code: 'GROUP_FORKED', fact, data: { branch, forkedAgo: epochs(tip) }, next }
}

/** True while not everybody of a larger group need have said that it is in the newest epoch. */
function isLateFor({ chain, tip, held }: GroupState, nowMs: number): boolean {
  const adoptedAt = Math.max(...[...held.values()].map(({ endedAt = 0 }) => endedAt), 0)
  const { roster } = nodeOf(chain, tip).view
  return roster.size > ACKS_AT_ONCE_MAX && nowMs - adoptedAt < 2 * ACK_LATE_MS + MINUTE_MS
}

/** It was a member once, and is not any more. */
function formerPlace(
  { chain, tip }: GroupState,
  peer: PeerId,
  { primitives }: StandingPorts,
): Place | undefined {
  const removal = removalOf(chain, tip, peer)
  if (removal === undefined) return undefined
  const { record, entry } = nodeOf(chain, removal)
  const hash = record.removes.find(({ member }) => member.peer === peer)?.evidence
  const cited = entry.evidence.find(
    (bytes) => hash !== undefined && formatHex(primitives.sha256(bytes)) === formatHex(hash),
  )
  const hasLeft = cited !== undefined && verifyLeave(primitives, cited).ok
  const fact = `${hasLeft ? 'it left' : 'it was removed'} at epoch ${record.epoch}`
  return { ok: false, code: hasLeft ? 'GROUP_LEFT' : 'GROUP_REMOVED', fact }
}

/** Votes count up with their author's clock: roughly when it spoke, unless that cannot be. */
function heardAgo({ seq }: Vote, nowMs: number): { text: string; at: string } | undefined {
  if (seq > nowMs + DAY_MS || seq < nowMs - 3_650 * DAY_MS) return undefined
  const minutes = Math.max(0, Math.floor((nowMs - seq) / MINUTE_MS))
  const text =
    minutes === 0
      ? 'just now'
      : minutes < 120
        ? `${minutes} min ago`
        : minutes < 48 * 60
          ? `${Math.floor(minutes / 60)} h ago`
          : `${Math.floor(minutes / 1_440)} d ago`
  return { text, at: new Date(seq).toISOString() }
}

function plural(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
