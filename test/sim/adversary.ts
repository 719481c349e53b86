// What a member does that breaks the rules, with keys that it rightly has or once had.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { HOUR_MS } from '../../protocols/base/time.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import type { ChainNode } from '../../protocols/group/chain.ts'
import { signRecord } from '../../protocols/group/commit-record.ts'
import { sealFrame } from '../../protocols/group/frame.ts'
import { toBranchId, toCommitId } from '../../protocols/group/ids.ts'
import { sealBody } from '../../protocols/group/keys.ts'
import type { MlsEngine, Pending } from '../../protocols/group/mls-engine.ts'
import { signAck } from '../../protocols/group/signed-notes.ts'
import type {
  CommitId,
  CommitRecord,
  FrameContent,
  MemberRef,
  RecordEntry,
} from '../../protocols/group/types.ts'
import { rosterHash } from '../../protocols/group/view.ts'
import { GROUP_TABLES } from '../../src/node/group-rows.ts'
import { Chance } from './chance.ts'
import type { Member } from './cast.ts'
import { gossip } from './gossip.ts'
import { SimMember } from './group-node.ts'
import type { Tables } from './sim-store.ts'
import { restoreStolen } from './hoarder.ts'

/** Frames of one flood: more than may wait of one author, fewer than may wait of all. */
const FLOOD = 24
/** Commits of which the one with the smallest id is published. */
const GROUND = 16
/** Share of the boxes of a bad path that do not open. */
const SPOILT_SHARE = 0.5

/** How a commit is made. */
interface Craft {
  /** What it follows; the tip if absent. */
  readonly parent?: CommitId
  /** The record says that it removes this member. */
  readonly claim?: MemberRef
  /** Out of so many the one with the smallest id is taken. */
  readonly tries?: number
  /** Makes it. */
  readonly engine?: MlsEngine
}

/** A commit of which nothing is saved. */
interface Crafted {
  readonly commitId: CommitId
  readonly entry: RecordEntry
}

/** What a record is made from beside its parent. */
interface Unsigned {
  readonly kind: 'commit' | 'resync'
  readonly commit: Bytes
  readonly bodyKey: Bytes
  readonly groupInfoHash: Bytes
  readonly claim?: MemberRef | undefined
}

/** A commit without its sealed body. */
export function withoutBody({ commitId, entry: { record, evidence } }: Crafted): Crafted {
  return { commitId, entry: { record, evidence } }
}

/** A member gone bad. */
export class Adversary {
  readonly #member: SimMember
  readonly #chance: Chance

  constructor(member: SimMember, salt: number) {
    this.#member = member
    this.#chance = new Chance(`adversary ${salt}`)
  }

  /** Two votes under one number, each to half of the others. */
  doubleVote(): void {
    const { state } = this.#member
    if (state === undefined) return
    const ids = this.#chance.shuffled([...state.chain.nodes.keys()])
    const [one, two] = [state.tip, ids.find((id) => id !== state.tip)]
    if (two === undefined) return
    const seq = Math.max(state.seq + 1, this.#member.nowMs)
    const [left, right] = this.#halves()
    this.tell({ kind: 'acks', acks: [this.ack(one, seq)] }, left)
    this.tell({ kind: 'acks', acks: [this.ack(two, seq)] }, right)
  }

  /** A commit whose record says something else: that it adds nobody, or that it removed somebody. */
  async falseRecord(): Promise<void> {
    const { state, peer } = this.#member
    const others = [...(state?.chain.nodes.get(state.tip)?.view.roster ?? [])]
    const victim = this.#chance.pick(others.filter(([other]) => other !== peer))
    const claim = victim && { peer: victim[0], gen: victim[1] }
    this.publish(await this.commit(claim && { claim }))
  }

  /** A commit whose body but one gets. */
  async withhold(): Promise<void> {
    const made = await this.commit()
    const [first, ...others] = this.#chance.shuffled(this.others())
    if (first === undefined) return
    this.publish(made && withoutBody(made), others)
    this.publish(made, [first])
  }

  /** A commit whose path some cannot open, or, where all of it is spoilt, nobody. */
  async badPath(share: number = SPOILT_SHARE): Promise<void> {
    const { world, peer } = this.#member
    const engine = world.ledger.watch(
      world.makeEngine(
        this.#chance.fork('engine'),
        spoiling(world.primitives, this.#chance.fork('path'), share),
      ),
      peer,
    )
    this.publish(await this.commit({ engine }))
  }

  /** A commit on any epoch that it holds, with the smallest id of many. */
  async grind(): Promise<void> {
    const { state } = this.#member
    const parent = this.#chance.pick([...(state?.held.keys() ?? [])])
    this.publish(await this.commit({ ...(parent && { parent }), tries: GROUND }))
  }

  /** Messages of epochs that there are none of, votes for nothing, records that hang on nothing. */
  async flood(): Promise<void> {
    const { state } = this.#member
    if (state === undefined) return
    const kind = this.#chance.upTo(3)
    for (let i = 0; i < FLOOD; i++) {
      if (kind === 0) {
        const [branchId, message] = [this.#chance.bytes(16), this.#chance.bytes(300)]
        this.tell({ kind: 'app', branchId: toBranchId(branchId), message }, this.others())
      } else if (kind === 1) {
        const nothing = toCommitId(this.#chance.bytes(32))
        const acks = [this.ack(nothing, this.#member.nowMs + i)]
        this.tell({ kind: 'acks', acks }, this.others())
      } else this.tell({ kind: 'commit', entry: this.#orphan(i) }, this.others())
    }
  }

  #orphan(i: number): RecordEntry {
    const { state, secret, world } = this.#member
    const view = state && nodeOf(state.chain, state.tip)
    if (view === undefined || state === undefined) throw new Error('no group')
    const record: CommitRecord = {
      ...view.record,
      kind: 'commit',
      parent: toCommitId(this.#chance.bytes(32)),
      commitId: toCommitId(this.#chance.bytes(32)),
      epoch: view.record.epoch + 2 + i,
      author: state.self,
      seq: this.#member.nowMs + i,
      adds: [],
      removes: [],
    }
    return { record: signRecord(world.primitives, secret, record), evidence: [] }
  }

  /** A commit of which nothing is saved. */
  async commit(craft: Craft = {}): Promise<Crafted | undefined> {
    const { state, world, identity, tables, nowMs } = this.#member
    if (state?.phase !== 'member') return undefined
    const { parent = state.tip, engine = this.#member.engine, tries = 1 } = craft
    const { epochs } = await restoreStolen(world, tables, identity, engine)
    const handle = epochs.get(parent)
    if (handle === undefined) return undefined
    const idOf = ({ commit }: Pending): CommitId => toCommitId(world.primitives.sha256(commit))
    let best: Pending | undefined
    for (let i = 0; i < tries; i++) {
      const made = await engine.commit(handle, { proposals: [], nowMs })
      if (!made.ok) return undefined
      if (best === undefined || idOf(made.value) < idOf(best)) best = made.value
    }
    const epoch = state.held.get(parent)
    if (best === undefined || epoch === undefined) return undefined
    const { claim } = craft
    const { child, commit } = best
    const { groupInfoHash } = engine.info(child)
    const { bodyKey } = epoch
    const node = nodeOf(state.chain, parent)
    return this.sign(node, { kind: 'commit', commit, bodyKey, groupInfoHash, claim })
  }

  /** The signed record of a commit. */
  sign(
    { record: { commitId: parent, groupId, ...before }, view }: ChainNode,
    { kind, commit, bodyKey, groupInfoHash, claim }: Unsigned,
  ): Crafted {
    const { world, secret, nowMs, peer, state } = this.#member
    const { primitives } = world
    const commitId = toCommitId(primitives.sha256(commit))
    const body = sealBody(primitives, bodyKey, commitId, this.#chance.bytes(12), commit)
    const roster = new Map(view.roster)
    if (claim !== undefined) roster.delete(claim.peer)
    const record: CommitRecord = {
      kind,
      groupId,
      parent,
      commitId,
      epoch: view.epoch + 1,
      author: state?.self ?? { peer, gen: 1 },
      seq: Math.max((state?.seq ?? 0) + 1, nowMs),
      adds: [],
      removes: claim === undefined ? [] : [{ member: claim }],
      rosterHash: rosterHash(primitives, roster),
      policyHash: before.policyHash,
      sealedHash: primitives.sha256(body),
      bodyBytes: body.length,
      groupInfoHash,
    }
    const entry = { record: signRecord(primitives, secret, record), evidence: [], body }
    return { commitId, entry }
  }

  /** A vote, whatever it is for. */
  ack(commitId: CommitId, seq: number): Bytes {
    const { state, secret, world } = this.#member
    if (state === undefined) throw new Error('no group')
    const { groupId, self: author } = state
    const check = this.#chance.bytes(16)
    return signAck(world.primitives, secret, { groupId, author, seq, commitId, check })
  }

  /** Gossips a commit, to all or to some. */
  publish(made: Crafted | undefined, to: readonly Member[] = this.others()): void {
    if (made !== undefined) this.tell({ kind: 'commit', entry: made.entry }, to)
  }

  /** Everybody else. */
  others(): Member[] {
    return [...this.#member.world.members.values()].filter((one) => one !== this.#member)
  }

  #halves(): [Member[], Member[]] {
    const others = this.#chance.shuffled(this.others())
    const middle = others.length >> 1
    return [others.slice(0, middle), others.slice(middle)]
  }

  /** Gossips to some, in the generation of the tip. */
  tell(content: FrameContent, to: readonly Member[]): void {
    const { state, world, nowMs } = this.#member
    if (state === undefined) return
    const { generation: start } = nodeOf(state.chain, state.tip).view
    const listening = state.generations.get(start)
    if (listening === undefined) return
    const hour = Math.floor(nowMs / HOUR_MS)
    const nonce = this.#chance.bytes(12)
    const frame = sealFrame(world.primitives, listening.generation, { hour, nonce, content })
    gossip(this.#member, frame, to)
  }
}

/** Primitives some of whose boxes do not open. */
function spoiling(primitives: Primitives, chance: Chance, share: number): Primitives {
  const spoilt = (sealed: Bytes): Bytes => {
    if (chance.share() < share) sealed[0] = (sealed[0] ?? 0) ^ 1
    return sealed
  }
  return {
    ...primitives,
    seal: (...p) => spoilt(primitives.seal(...p)),
    sealAesGcm: (...p) => spoilt(primitives.sealAesGcm(...p)),
  }
}

/**
 * A copy of a member with rows of an earlier time: it hears nothing of what came after, believes to be a member, and
 * what it says and commits goes to all.
 */
export async function raiseGhost(
  member: SimMember,
  tables: Tables,
  name: string,
): Promise<SimMember | undefined> {
  const ghost = new SimMember(member.world, name, { identity: member.name })
  ghost.isHonest = false
  ghost.isDeaf = true
  ghost.skewMs = member.skewMs
  if ((tables.get(GROUP_TABLES.group)?.size ?? 0) === 0) return undefined
  await ghost.restore(tables, false)
  return ghost.state?.phase === 'member' ? ghost : undefined
}
