// What a member does that breaks the rules, with keys that it rightly has or once had.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { HOUR_MS } from '../../protocols/base/time.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import { signRecord } from '../../protocols/group/commit-record.ts'
import { sealFrame } from '../../protocols/group/frame.ts'
import { toBranchId, toCommitId } from '../../protocols/group/ids.ts'
import { sealBody } from '../../protocols/group/keys.ts'
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
import { gossip } from './gossip.ts'
import { SimMember } from './group-node.ts'
import type { Tables } from './sim-store.ts'
import { restoreStolen } from './thief.ts'

/** Frames of one flood. */
const FLOOD = 120

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
    this.#tell({ kind: 'acks', acks: [this.#ack(one, seq)] }, left)
    this.#tell({ kind: 'acks', acks: [this.#ack(two, seq)] }, right)
  }

  /** A commit whose record says something else: that it adds nobody, or that it removed somebody. */
  async falseRecord(): Promise<void> {
    const { state, peer } = this.#member
    const others = [...(state?.chain.nodes.get(state.tip)?.view.roster ?? [])]
    const victim = this.#chance.pick(others.filter(([other]) => other !== peer))
    const removed = victim && { peer: victim[0], gen: victim[1] }
    const entry = await this.#commit(removed)
    if (entry !== undefined) this.#tell({ kind: 'commit', entry }, this.#others())
  }

  /** A commit whose body but one gets. */
  async withhold(): Promise<void> {
    const entry = await this.#commit()
    if (entry === undefined) return
    const { body: _, ...slim } = entry
    const [first, ...others] = this.#chance.shuffled(this.#others())
    this.#tell({ kind: 'commit', entry: slim }, others)
    if (first !== undefined) this.#tell({ kind: 'commit', entry }, [first])
  }

  /** Messages of epochs that there are none of, votes for nothing, records that hang on nothing. */
  async flood(): Promise<void> {
    const { state } = this.#member
    const entry = await this.#commit()
    if (state === undefined || entry === undefined) return
    const kind = this.#chance.upTo(3)
    for (let i = 0; i < FLOOD; i++) {
      if (kind === 0) {
        const [branchId, message] = [this.#chance.bytes(16), this.#chance.bytes(300)]
        this.#tell({ kind: 'app', branchId: toBranchId(branchId), message }, this.#others())
      } else if (kind === 1) {
        const nothing = toCommitId(this.#chance.bytes(32))
        const acks = [this.#ack(nothing, this.#member.nowMs + i)]
        this.#tell({ kind: 'acks', acks }, this.#others())
      } else this.#tell({ kind: 'commit', entry: await this.#orphan(i) }, this.#others())
    }
  }

  async #orphan(i: number): Promise<RecordEntry> {
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

  /** A commit on the tip of which nothing is saved; `claim`: the record says that it removes this member. */
  async #commit(claim?: MemberRef): Promise<RecordEntry | undefined> {
    const { state, engine, world, secret } = this.#member
    if (state?.phase !== 'member') return undefined
    const epoch = state.held.get(state.tip)
    const { epochs } = await restoreStolen(
      world,
      this.#member.tables,
      this.#member.identity,
      engine,
    )
    const handle = epochs.get(state.tip)
    if (handle === undefined || epoch === undefined) return undefined
    const made = await engine.commit(handle, { proposals: [], nowMs: this.#member.nowMs })
    if (!made.ok) return undefined
    const { primitives } = world
    const commitId = toCommitId(primitives.sha256(made.value.commit))
    const nonce = this.#chance.bytes(12)
    const body = sealBody(primitives, epoch.bodyKey, commitId, nonce, made.value.commit)
    const { view, record: parent } = nodeOf(state.chain, state.tip)
    const roster = new Map(view.roster)
    if (claim !== undefined) roster.delete(claim.peer)
    const record: CommitRecord = {
      kind: 'commit',
      groupId: state.groupId,
      parent: state.tip,
      commitId,
      epoch: view.epoch + 1,
      author: state.self,
      seq: Math.max(state.seq + 1, this.#member.nowMs),
      adds: [],
      removes: claim === undefined ? [] : [{ member: claim }],
      rosterHash: rosterHash(primitives, roster),
      policyHash: parent.policyHash,
      sealedHash: primitives.sha256(body),
      bodyBytes: body.length,
      groupInfoHash: engine.info(made.value.child).groupInfoHash,
    }
    return { record: signRecord(primitives, secret, record), evidence: [], body }
  }

  #ack(commitId: CommitId, seq: number): Bytes {
    const { state, secret, world } = this.#member
    if (state === undefined) throw new Error('no group')
    const { groupId, self: author } = state
    const check = this.#chance.bytes(16)
    return signAck(world.primitives, secret, { groupId, author, seq, commitId, check })
  }

  #others(): SimMember[] {
    return [...this.#member.world.members.values()].filter((one) => one !== this.#member)
  }

  #halves(): [SimMember[], SimMember[]] {
    const others = this.#chance.shuffled(this.#others())
    const middle = others.length >> 1
    return [others.slice(0, middle), others.slice(middle)]
  }

  #tell(content: FrameContent, to: readonly SimMember[]): void {
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

/**
 * A copy of a member with rows of an earlier time: it hears nothing of what came after, believes to be a member, and
 * what it says and commits goes to all.
 */
export async function raiseGhost(
  member: SimMember,
  tables: Tables,
  name: string,
): Promise<SimMember | undefined> {
  const ghost = new SimMember(member.world, name, member.name)
  ghost.isHonest = false
  ghost.isDeaf = true
  ghost.skewMs = member.skewMs
  if ((tables.get(GROUP_TABLES.group)?.size ?? 0) === 0) return undefined
  await ghost.restore(tables, false)
  return ghost.state?.phase === 'member' ? ghost : undefined
}
