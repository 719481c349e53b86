// What the fake engine signs and sends, and how a commit is followed.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { concat, equalBytes, u64, u8 } from '../../protocols/base/bytes.ts'
import { peerIdToBytes, publicKeyOf } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type {
  CommitContent,
  EngineCode,
  Identity,
  KeyPackageFacts,
  Proposal,
} from '../../protocols/group/mls-engine.ts'
import { MEMBERS_MAX } from '../../protocols/group/types.ts'
import {
  at,
  decodeContext,
  decodeLeaves,
  demand,
  encodeContext,
  ensure,
  leafOf,
  numberOf,
  pack,
  peerOf,
  place,
} from './fake-mls-state.ts'
import type { Context, FakeKeys, FakeState, Leaf, Leaves } from './fake-mls-state.ts'

const NONE = new Uint8Array(0)

/** What a message is: its first octet. */
export const KINDS = { keyPackage: 1, commit: 2, welcome: 3, groupInfo: 4, app: 5 } as const

/** Signs a message's content together with what it is. */
export function signed(kind: number, self: Identity, content: Bytes): Bytes {
  return concat(u8(kind), pack(content, self.sign(concat(u8(kind), content))))
}

function verify(
  { primitives }: FakeKeys,
  peer: PeerId,
  kind: number,
  content: Bytes,
  signature: Bytes,
): void {
  ensure(signature.length === 64)
  ensure(primitives.verify(publicKeyOf(peer), concat(u8(kind), content), signature))
}

function partsOf(kind: number, bytes: Bytes, count: number): Bytes[] {
  ensure(bytes[0] === kind)
  return demand(bytes.subarray(1), count)
}

/** Verifies a KeyPackage. */
export function readKeyPackage(
  keys: FakeKeys,
  bytes: Bytes,
): { readonly facts: KeyPackageFacts; readonly initKey: Bytes; readonly leafKey: Bytes } {
  const [content = NONE, signature = NONE] = partsOf(KINDS.keyPackage, bytes, 2)
  const parts = demand(content, 6)
  const peer = peerOf(at(parts, 0))
  verify(keys, peer, KINDS.keyPackage, content, signature)
  const facts = {
    peer,
    ref: keys.hash('ref', bytes),
    notBeforeMs: numberOf(at(parts, 3)),
    notAfterMs: numberOf(at(parts, 4)),
    lastResort: at(parts, 5)[0] === 1,
  }
  return { facts, initKey: at(parts, 1), leafKey: at(parts, 2) }
}

/** What a GroupInfo says. */
export interface FakeGroupInfo {
  readonly encoded: Bytes
  readonly context: Context
  readonly confirmationTag: Bytes
  readonly external: Bytes
}

/** Encodes and signs an epoch's GroupInfo. */
export function makeGroupInfo(keys: FakeKeys, state: FakeState): Bytes {
  const { self, context, confirmationTag, secrets, ownLeaf } = state
  const external = keys.publicOf(secrets.external)
  const content = pack(encodeContext(context), confirmationTag, external, u64(ownLeaf))
  return signed(KINDS.groupInfo, self, content)
}

/** Reads a GroupInfo, and verifies it if there is a tree to verify it by. */
export function readGroupInfo(keys: FakeKeys, bytes: Bytes, tree?: Bytes): FakeGroupInfo {
  const [content = NONE, signature = NONE] = partsOf(KINDS.groupInfo, bytes, 2)
  const [encoded = NONE, confirmationTag = NONE, external = NONE, signer = NONE] = demand(
    content,
    4,
  )
  const context = decodeContext(encoded)
  if (tree !== undefined) {
    const leaves = decodeLeaves(tree)
    ensure(equalBytes(keys.treeHash(leaves), context.treeHash))
    const leaf = leaves[numberOf(signer)]
    ensure(leaf !== undefined)
    verify(keys, leaf.peer, KINDS.groupInfo, content, signature)
  }
  return { encoded, context, confirmationTag, external }
}

const PROPOSALS = ['add', 'remove', 'policy'] as const

/** Encodes what a commit changes. */
export function encodeProposals(proposals: readonly Proposal[]): Bytes {
  const encoded = proposals.map((one) => {
    const kind = u8(PROPOSALS.indexOf(one.kind))
    if (one.kind === 'add') return pack(kind, one.keyPackage)
    return pack(kind, one.kind === 'remove' ? peerIdToBytes(one.peer) : one.policy)
  })
  return pack(...encoded)
}

function decodeProposals(bytes: Bytes): Proposal[] {
  return demand(bytes).map((part): Proposal => {
    const [kind = NONE, content = NONE] = demand(part, 2)
    const name = PROPOSALS[kind[0] ?? PROPOSALS.length]
    ensure(kind.length === 1 && name !== undefined)
    if (name === 'add') return { kind: name, keyPackage: content }
    return name === 'remove'
      ? { kind: name, peer: peerOf(content) }
      : { kind: name, policy: content }
  })
}

/** What a commit makes of its parent, before its own leaf is new. */
export interface Changed {
  readonly leaves: Leaves
  readonly added: ReadonlySet<number>
  readonly policy: Bytes
  readonly content: Pick<CommitContent, 'adds' | 'removes' | 'policy'>
}

/** Applies proposals: removes first, then adds from the left. */
export function applyProposals(
  keys: FakeKeys,
  parent: { readonly leaves: Leaves; readonly policy: Bytes },
  proposals: readonly Proposal[],
  committer: PeerId,
): Changed {
  const leaves = [...parent.leaves]
  const removes: { peer: PeerId; leafIndex: number }[] = []
  const adds: { peer: PeerId; ref: Bytes }[] = []
  const added = new Set<number>()
  const policies: Bytes[] = []
  for (const proposal of proposals) {
    if (proposal.kind === 'policy') policies.push(proposal.policy)
    if (proposal.kind !== 'remove') continue
    const leafIndex = leafOf(leaves, proposal.peer)
    ensure(leafIndex !== undefined, 'GROUP_NOT_MEMBER')
    ensure(proposal.peer !== committer)
    leaves[leafIndex] = undefined
    removes.push({ peer: proposal.peer, leafIndex })
  }
  for (const proposal of proposals) {
    if (proposal.kind !== 'add') continue
    const { facts, leafKey } = readKeyPackage(keys, proposal.keyPackage)
    ensure(leafOf(leaves, facts.peer) === undefined, 'GROUP_ALREADY_MEMBER')
    added.add(place(leaves, { peer: facts.peer, key: leafKey }))
    adds.push({ peer: facts.peer, ref: facts.ref })
  }
  ensure(policies.length <= 1)
  ensure(leaves.filter((leaf) => leaf !== undefined).length <= MEMBERS_MAX, 'GROUP_FULL')
  const [policy] = policies
  const content = { adds, removes, ...(policy !== undefined && { policy }) }
  return { leaves, added, policy: policy ?? parent.policy, content }
}

/** A commit in its parts. */
export interface CommitParts {
  readonly groupId: Bytes
  readonly epoch: number
  /** The committer's leaf, or the peer that replaces its own from outside. */
  readonly sender: number | { readonly peer: PeerId; readonly kem: Bytes }
  readonly proposals: Bytes
  readonly leafKey: Bytes
  /** The secret of the commit, sealed to every leaf that gets it. */
  readonly boxes: readonly Bytes[]
}

/** Encodes what of a commit is signed. */
export function encodeCommit(p: CommitParts): Bytes {
  const sender =
    typeof p.sender === 'number'
      ? pack(u64(p.sender))
      : pack(peerIdToBytes(p.sender.peer), p.sender.kem)
  return pack(p.groupId, u64(p.epoch), sender, p.proposals, p.leafKey, pack(...p.boxes))
}

function decodeCommit(content: Bytes): CommitParts {
  const parts = demand(content, 6)
  const sender = demand(at(parts, 2))
  ensure(sender.length === 1 || sender.length === 2)
  return {
    groupId: at(parts, 0),
    epoch: numberOf(at(parts, 1)),
    sender:
      sender.length === 1
        ? numberOf(at(sender, 0))
        : { peer: peerOf(at(sender, 0)), kem: at(sender, 1) },
    proposals: at(parts, 3),
    leafKey: at(parts, 4),
    boxes: demand(at(parts, 5)),
  }
}

/** Verifies a commit of another on top of an epoch; without child if it removes this member. */
export function followCommit(
  keys: FakeKeys,
  parent: FakeState,
  bytes: Bytes,
): { readonly content: CommitContent; readonly child: FakeState | undefined } {
  const [content = NONE, signature = NONE, confirmationTag = NONE, tag = NONE] = partsOf(
    KINDS.commit,
    bytes,
    4,
  )
  const commit = decodeCommit(content)
  const { context, secrets } = parent
  const fits = equalBytes(commit.groupId, context.groupId) && commit.epoch === context.epoch
  ensure(fits, 'GROUP_EPOCH_STALE')
  const { committer, changed, init, isExternal } = readSender(keys, parent, commit)
  if (!isExternal) {
    const expected = keys.hash(
      'membership',
      secrets.membership,
      content,
      signature,
      confirmationTag,
    )
    ensure(equalBytes(tag, expected))
  } else ensure(tag.length === 0)
  verify(keys, committer, KINDS.commit, content, signature)
  const leaves = [...changed.leaves]
  const own: Leaf = { peer: committer, key: commit.leafKey }
  const committerLeaf = typeof commit.sender === 'number' ? commit.sender : place(leaves, own)
  leaves[committerLeaf] = own
  ensure(commit.boxes.length === leaves.length && commit.leafKey.length === 32)
  const kind = isExternal ? 'external' : 'member'
  const said: CommitContent = { kind, committer, committerLeaf, ...changed.content }
  const isGone = said.removes.some(({ leafIndex }) => leafIndex === parent.ownLeaf)
  if (isGone || committer === parent.self.peer) {
    return { content: said, child: undefined }
  }
  const box = commit.boxes[parent.ownLeaf] ?? NONE
  const commitSecret = keys.openWith(parent.leafSecret, encodeContext(context), box)
  const next: Context = {
    groupId: context.groupId,
    epoch: context.epoch + 1,
    treeHash: keys.treeHash(leaves),
    policy: changed.policy,
    transcript: transcriptAfter(keys, parent, content, signature),
  }
  const derived = keys.schedule(keys.hash('joiner', init(), commitSecret), next)
  ensure(equalBytes(derived.tag, confirmationTag))
  const { self, ownLeaf, leafSecret } = parent
  const child = {
    self,
    ownLeaf,
    leafSecret,
    leaves,
    context: next,
    secrets: derived.secrets,
    confirmationTag,
    chains: keys.chains(derived.messages, leaves),
  }
  return { content: said, child }
}

/** The history of commits as far as one. */
export function transcriptAfter(
  keys: FakeKeys,
  parent: Pick<FakeState, 'context' | 'confirmationTag'>,
  content: Bytes,
  signature: Bytes,
): Bytes {
  const { context, confirmationTag } = parent
  return keys.hash('transcript', context.transcript, confirmationTag, content, signature)
}

function readSender(
  keys: FakeKeys,
  parent: FakeState,
  { sender, proposals }: CommitParts,
): {
  readonly committer: PeerId
  readonly changed: Changed
  readonly init: () => Bytes
  readonly isExternal: boolean
} {
  const { context, leaves, secrets } = parent
  const before = { leaves, policy: context.policy }
  if (typeof sender === 'number') {
    ensure(sender !== parent.ownLeaf, 'GROUP_NOT_FOR_ME')
    const committer = leaves[sender]?.peer
    ensure(committer !== undefined)
    const changed = applyProposals(keys, before, decodeProposals(proposals), committer)
    return { committer, changed, init: () => secrets.init, isExternal: false }
  }
  const { peer, kem } = sender
  ensure(proposals.length === 0)
  const changed = withoutLeaf(before, peer)
  const init = (): Bytes => keys.openWith(secrets.external, encodeContext(context), kem)
  return { committer: peer, changed, init, isExternal: true }
}

/** The tree that a member replaces its leaf in. */
export function withoutLeaf(
  { leaves, policy }: { readonly leaves: Leaves; readonly policy: Bytes },
  peer: PeerId,
): Changed {
  const old = leafOf(leaves, peer)
  ensure(old !== undefined, 'GROUP_NOT_MEMBER')
  return {
    leaves: leaves.map((leaf, i) => (i === old ? undefined : leaf)),
    added: new Set(),
    policy,
    content: { adds: [], removes: [] },
  }
}

/** Refused with this code, a message is no application message at all. */
export function appParts(bytes: Bytes, code: EngineCode): Bytes[] {
  ensure(bytes[0] === KINDS.app, code)
  return demand(bytes.subarray(1), 3, code)
}
