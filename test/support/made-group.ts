// States of a group that never were: a chain of bare commits, with votes, for what is derived from states alone.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { Chain, ChainNode } from '../../protocols/group/chain.ts'
import { FRESH } from '../../protocols/group/founding.ts'
import { refKey, toGroupId } from '../../protocols/group/ids.ts'
import type { Vote } from '../../protocols/group/selection.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import type { CommitId, MemberRef, View } from '../../protocols/group/types.ts'
import { native } from '../../src/crypto/native.ts'

const NOTHING: Bytes = new Uint8Array(0)
/** When nothing has happened yet. */
export const MADE_AT: TimeMs = toTimeMs(1_800_000_000_000)

/** A commit of a made-up chain: its parent is the one named, or the one before. */
export interface MadeCommit {
  readonly id: string
  readonly parent?: string
  readonly adds?: readonly MemberRef[]
  readonly removes?: readonly MemberRef[]
  /** What the removals cite: a Leave, say. */
  readonly evidence?: Bytes
}

/** What a made-up state is to be. */
export interface Wish {
  readonly self: PeerId
  /** Commits after genesis, which `self` founds alone and which is called `genesis`. */
  readonly commits: readonly MadeCommit[]
  readonly tip: string
  /** Which commit each voted for last. */
  readonly votes?: readonly (readonly [PeerId, string, Partial<Vote>?])[]
  readonly change?: Partial<GroupState>
}

/** The id of a made-up commit. */
export function madeId(name: string): CommitId {
  return Buffer.from(name).toString('hex').padEnd(64, '0') as CommitId
}

const NO_PARENT = '0'.repeat(64) as CommitId

/** Makes a state up. */
export function madeGroup({ self, commits, tip, votes = [], change = {} }: Wish): GroupState {
  const nodes = new Map<CommitId, ChainNode>()
  const children = new Map<CommitId, CommitId[]>()
  const known = new Map<string, CommitId[]>([[refKey({ peer: self, gen: 1 }), []]])
  let last = madeId('genesis')
  nodes.set(last, nodeFor({ id: 'genesis' }, self))
  for (const commit of commits) {
    const parent = commit.parent === undefined ? last : madeId(commit.parent)
    last = madeId(commit.id)
    nodes.set(last, nodeFor(commit, self, nodes.get(parent)))
    children.set(parent, [...(children.get(parent) ?? []), last])
    for (const ref of commit.adds ?? []) known.set(refKey(ref), [last])
  }
  const genesis = madeId('genesis')
  const chain: Chain = {
    base: genesis,
    nodes,
    children,
    known,
    removals: commits.filter(({ removes = [] }) => removes.length > 0).map(({ id }) => madeId(id)),
    forks: [...children].filter(([, of]) => of.length > 1).map(([id]) => id),
  }
  return {
    ...EMPTY,
    self: { peer: self, gen: 1 },
    chain,
    genesis,
    since: genesis,
    joinedBy: genesis,
    tip: madeId(tip),
    votes: new Map(
      votes.map(([peer, id, rest]) => [
        peer,
        { gen: 1, seq: MADE_AT, commitId: madeId(id), ...rest },
      ]),
    ),
    ...change,
  }
}

const EMPTY: Omit<
  GroupState,
  'self' | 'chain' | 'genesis' | 'since' | 'joinedBy' | 'tip' | 'votes'
> = {
  groupId: toGroupId(new Uint8Array(32).fill(7)),
  phase: 'member',
  joinedAt: MADE_AT,
  proofs: new Map(),
  acks: new Map(),
  held: new Map(),
  checkpoints: new Map(),
  generations: new Map(),
  seq: 0,
  n: 0,
  lamport: 0,
  outbox: [],
  kept: new Map(),
  intents: [],
  intentId: 0,
  leaves: new Map(),
  welcomes: [],
  owed: [],
  waiting: new Map(),
  authors: new Map(),
  rekeyedAt: MADE_AT,
  rekeyedLamport: 0,
  volatile: FRESH,
}

function nodeFor(made: MadeCommit, author: PeerId, parent?: ChainNode): ChainNode {
  const { id, adds = [], removes = [], evidence } = made
  const commitId = madeId(id)
  const roster = new Map(parent?.view.roster ?? [[author, 1]])
  const gone = new Map(parent?.view.gone)
  for (const { peer, gen } of removes) {
    roster.delete(peer)
    gone.set(peer, gen)
  }
  for (const { peer, gen } of adds) roster.set(peer, gen)
  const epoch = parent === undefined ? 0 : parent.record.epoch + 1
  const policy = { changes: 0, admins: [{ peer: author, gen: 1 }], name: 'ops' }
  const view: View = { roster, gone, policy, epoch, generation: madeId('genesis') }
  return {
    record: {
      kind: parent === undefined ? 'genesis' : 'commit',
      groupId: EMPTY.groupId,
      parent: parent?.record.commitId ?? NO_PARENT,
      commitId,
      epoch,
      author: { peer: author, gen: 1 },
      seq: epoch,
      adds: adds.map((member) => ({ member, keyPackageRef: NOTHING, overridden: 0 })),
      removes: removes.map((member) => ({
        member,
        ...(evidence && { evidence: native.sha256(evidence) }),
      })),
      rosterHash: NOTHING,
      policyHash: NOTHING,
      sealedHash: NOTHING,
      bodyBytes: 0,
      groupInfoHash: NOTHING,
    },
    entry: { record: NOTHING, evidence: evidence === undefined ? [] : [evidence] },
    view,
    cited: new Map(),
    hasBody: true,
    failed: false,
  }
}
