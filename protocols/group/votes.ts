// Votes as they come in: the newest of each member counts, and who votes twice loses its weight (spec.md §4.2). Floor 0, pure.
import type { Bytes } from '../base/bytes.ts'
import type { PeerId } from '../base/ids.ts'
import { isKnown } from './chain.ts'
import { encodeProof, verifyProof } from './proof.ts'
import type { SignedVote } from './proof.ts'
import { isContrary, isNewer } from './selection.ts'
import type { Vote } from './selection.ts'
import { verifyAck } from './signed-notes.ts'
import type { GroupTurn } from './turn.ts'
import type { CommitRecord } from './types.ts'

/** Counts a record as its author's vote for itself. */
export function countRecord(turn: GroupTurn, record: CommitRecord): void {
  const { author, seq, commitId } = record
  takeVote(turn, author.peer, { gen: author.gen, seq, commitId })
}

/** Takes an ack of another member. */
export function takeAck(turn: GroupTurn, bytes: Bytes): void {
  const ack = verifyAck(turn.primitives, bytes)
  if (!ack.ok || ack.value.groupId !== turn.state.groupId) return
  const { author, seq, commitId } = ack.value
  if (author.peer === turn.state.self.peer || !isKnown(turn.state.chain, author)) return
  takeVote(turn, author.peer, { gen: author.gen, seq, commitId }, bytes)
}

/**
 * Counts a vote if it is its author's newest; the ack it came in is kept to be handed on. One for a commit that is not
 * known yet waits for it, and the vote before it counts meanwhile: else a branch would lose the votes of those who are
 * ahead on it, until what they are ahead by has come.
 */
export function takeVote(turn: GroupTurn, peer: PeerId, vote: Vote, ack?: Bytes): void {
  const { votes, acks, chain, volatile } = turn.state
  const { early } = volatile
  if (isContrary(votes, peer, vote) || isContrary(early, peer, vote)) {
    const known = signedVote(turn, peer, vote)
    const other: SignedVote | undefined =
      ack === undefined ? recordVote(turn, vote) : { kind: 'ack', bytes: ack }
    const proof = known && other && encodeProof([known, other])
    if (proof !== undefined && chain.nodes.size > 0) takeProof(turn, proof)
    return
  }
  if (!isNewer(votes, peer, vote)) return
  if (ack !== undefined && !chain.nodes.has(vote.commitId)) {
    if (isNewer(early, peer, vote)) turn.note({ early: new Map(early).set(peer, { ...vote, ack }) })
    return
  }
  turn.change({ votes: new Map(votes).set(peer, vote) })
  if (ack === undefined) return
  turn.change({ acks: new Map(acks).set(peer, ack) })
  turn.ask({ kind: 'saveAck', peer, ack })
}

/** Counts the votes that waited for a commit, once it is known. */
export function reviewEarly(turn: GroupTurn): void {
  const { chain, volatile } = turn.state
  if (chain === turn.before.chain) return
  for (const [peer, { ack, ...vote }] of volatile.early) {
    if (!chain.nodes.has(vote.commitId)) continue
    const early = new Map(turn.state.volatile.early)
    early.delete(peer)
    turn.note({ early })
    takeVote(turn, peer, vote, ack)
  }
}

/** The signed octets of the vote that is known of a peer, and that another one is contrary to. */
function signedVote(turn: GroupTurn, peer: PeerId, other: Vote): SignedVote | undefined {
  const { votes, acks, volatile } = turn.state
  const early = volatile.early.get(peer)
  if (early !== undefined && !isContrary(votes, peer, other))
    return { kind: 'ack', bytes: early.ack }
  const vote = votes.get(peer)
  const bytes = acks.get(peer)
  const ack = bytes && verifyAck(turn.primitives, bytes)
  if (bytes !== undefined && ack?.ok === true && ack.value.seq === vote?.seq) {
    return { kind: 'ack', bytes }
  }
  return vote && recordVote(turn, vote)
}

function recordVote({ state }: GroupTurn, { commitId }: Vote): SignedVote | undefined {
  const node = state.chain.nodes.get(commitId)
  return node && { kind: 'record', bytes: node.entry.record }
}

/** Takes the weight of whoever a proof convicts, and tells the others. */
export function takeProof(turn: GroupTurn, bytes: Bytes): void {
  const proof = verifyProof(turn.primitives, bytes)
  if (!proof.ok || proof.value.groupId !== turn.state.groupId) return
  const { author, seq } = proof.value
  const { peer, gen } = author
  const { votes, proofs, chain, self } = turn.state
  const known = votes.get(peer)
  if (peer === self.peer || !isKnown(chain, author)) return
  if (known !== undefined && (known.gen > gen || (known.gen === gen && known.isDouble === true))) {
    return
  }
  const commitId = known?.gen === gen ? known.commitId : chain.base
  turn.change({
    votes: new Map(votes).set(peer, { gen, seq, commitId, isDouble: true }),
    proofs: new Map(proofs).set(peer, bytes),
  })
  turn.ask({ kind: 'saveProof', peer, proof: bytes })
  if (turn.isActive()) turn.publish(turn.view.generation, { kind: 'proof', proof: bytes })
}
