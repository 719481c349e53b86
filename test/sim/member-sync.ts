// Group-sync between simulated members: who asks whom and when as in src/node/group-syncing.ts, in stages between which
// anything may happen.
import type { PeerId } from '../../protocols/base/ids.ts'
import {
  accessOf,
  isShownBy,
  partnersOf,
  provenBy,
  recordsToShow,
} from '../../protocols/group/access.ts'
import type { Access } from '../../protocols/group/access.ts'
import { recordsBeyond } from '../../protocols/group/chain.ts'
import { reachesBack } from '../../protocols/group/history.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import { equalBytes } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { EVERYTHING } from '../../protocols/group/sync-frames.ts'
import type { CommitId, RecordEntry } from '../../protocols/group/types.ts'
import type { GroupLog } from '../../src/node/group-log.ts'
import type { Chance } from './chance.ts'
import type { Member } from './cast.ts'
import type { World } from './cast.ts'

/** Members asked for an EntryInfo, one after another. */
const INFO_PEERS_MAX = 4
/** What is asked for within this time is one sync. */
const GATHER_MS = 50

/** What a peer may have of a group: all of it, or the way to its own removal. */

/** The syncs of one member, one at a time. */
export class MemberSync {
  readonly #world: World
  readonly #member: Member
  readonly #chance: Chance
  readonly #wanted = new Set<PeerId>()
  #anyone = false
  #isRunning = false
  #life = 0

  constructor(world: World, member: Member, chance: Chance) {
    this.#world = world
    this.#member = member
    this.#chance = chance
  }

  /** Begins with a new life of the member; what belonged to the last is dropped. */
  begin(): void {
    const life = ++this.#life
    this.#isRunning = false
    this.#wanted.clear()
    this.soon()
    const again = (): void => {
      if (life !== this.#life) return
      this.soon()
      this.#world.timeline.after(this.#pause(), again)
    }
    this.#world.timeline.after(this.#pause(), again)
  }

  end(): void {
    this.#life += 1
  }

  /** Asks for a sync with this peer, or with any member that is connected. */
  soon(peer?: PeerId): void {
    if (peer === undefined) this.#anyone = true
    else this.#wanted.add(peer)
    if (this.#isRunning) return
    this.#isRunning = true
    this.#later(GATHER_MS, () => this.#next())
  }

  #pause(): number {
    return this.#world.syncEveryMs * (0.5 + this.#chance.share())
  }

  #later(delayMs: number, run: () => Promise<void> | void): void {
    const life = this.#life
    this.#world.timeline.after(delayMs, async () => {
      if (life === this.#life) await run()
    })
  }

  async #next(): Promise<void> {
    const other = this.#choose()
    if (other === undefined) {
      this.#isRunning = false
      return
    }
    await this.#member.hear({ kind: 'syncBegan' })
    this.#later(2 * this.#world.network.delay(), () => this.#greet(other))
  }

  #choose(): Member | undefined {
    const { state } = this.#member
    const { members, network } = this.#world
    if (state === undefined) return undefined
    const isNear = (other: Member): boolean =>
      other !== this.#member && other.isUp && network.connects(this.#member.name, other.name)
    const [named] = this.#wanted
    if (named !== undefined) {
      this.#wanted.delete(named)
      this.#anyone = false
      const other = members.get(named)
      return other !== undefined && isNear(other) ? other : this.#choose()
    }
    if (!this.#anyone) return undefined
    this.#anyone = false
    const near = partnersOf(state)
      .flatMap((peer) => members.get(peer) ?? [])
      .filter(isNear)
    return this.#chance.pick(near)
  }

  /** True while both are there and the stream holds. */
  #holds(other: Member): boolean {
    const { network } = this.#world
    return (
      this.#member.state !== undefined &&
      other.isUp &&
      other.state !== undefined &&
      network.connects(this.#member.name, other.name) &&
      !network.breaks()
    )
  }

  async #end(reached: boolean): Promise<void> {
    await this.#member.hear({ kind: 'syncEnded', reached })
    this.#later(GATHER_MS, () => this.#next())
  }

  /** The hello, and the frames that are missing. */
  async #greet(other: Member): Promise<void> {
    const [own, theirs] = [this.#member.state, other.state]
    if (!this.#holds(other) || own === undefined || theirs === undefined) return this.#end(false)
    const access = await this.#enter(other, own, theirs)
    if (access === 'denied') return this.#end(false)
    const [ours, others] = [this.#member.log, other.log]
    const hasSameLog = hasSameKeys(ours, others)
    const hasSameRecords = isSameSet(own.chain.nodes, theirs.chain.nodes)
    if (access === 'everything' && !(hasSameLog && hasSameRecords)) {
      other.sync.soon(this.#member.peer)
    }
    if (access === 'everything' && !hasSameLog) {
      for (const { id } of other.log.keys(EVERYTHING.from, EVERYTHING.to)) {
        if (ours.has(id)) continue
        const frame = await other.frameOf(id)
        if (!this.#member.isUp) return // it crashed over one of them
        if (frame !== undefined) await this.#member.receive(frame, 'sync')
      }
    }
    this.#later(2 * this.#world.network.delay(), () => this.#fetchRecords(other))
  }

  /** Who is denied shows how it became a member. */
  async #enter(other: Member, own: GroupState, theirs: GroupState): Promise<Access> {
    const { peer } = this.#member
    const access = accessOf(theirs, peer)
    if (access !== 'denied') return access
    const shown = provenBy(this.#world.primitives, theirs, peer, recordsToShow(own))
    if (shown.length > 0) await other.hear({ kind: 'recordsHeard', entries: shown })
    return accessOf(other.state ?? theirs, peer)
  }

  async #fetchRecords(other: Member): Promise<void> {
    const [own, theirs] = [this.#member.state, other.state]
    if (!this.#holds(other) || own === undefined || theirs === undefined) return this.#end(false)
    const access = accessOf(theirs, this.#member.peer)
    if (access === 'denied') return this.#end(false)
    // What is before the base is lacking: everything is asked for, once.
    const known = reachesBack(own) ? [...own.chain.nodes.keys()] : []
    const nodes = recordsBeyond(theirs.chain, known).filter(({ record }) =>
      mayHave(theirs, access, record.commitId),
    )
    const entries = nodes.map(({ entry: { record, evidence } }): RecordEntry => {
      return { record, evidence }
    })
    if (entries.length > 0) await this.#member.hear({ kind: 'recordsHeard', entries })
    const acks = [...theirs.acks].filter(([peer, ack]) => !isAt(own.acks, peer, ack))
    const proofs = [...theirs.proofs].filter(([peer]) => !own.proofs.has(peer))
    const [notes = [], found = []] = [acks, proofs].map((all) => all.map(([, bytes]) => bytes))
    if (access === 'everything' && notes.length + found.length > 0) {
      await this.#member.hear({ kind: 'acksHeard', acks: notes, proofs: found })
    }
    const tip = access === 'everything' ? theirs.tip : access.until
    this.#world.ledger.answers.push({ entries, acks: notes, proofs: found, tip })
    await this.#showTip(other, tip)
    this.#later(2 * this.#world.network.delay(), () => this.#fetchBodies(other))
  }

  /** A tip without this member tells it that it was removed. */
  async #showTip(other: Member, tip: CommitId): Promise<void> {
    const seen = this.#member.state?.chain.nodes.get(tip)
    if (seen?.view.roster.has(this.#member.peer) !== false) return
    await this.#member.hear({ kind: 'removalHeard', peer: other.peer, removal: tip })
  }

  /** Asks members that are connected, one after another, for what is needed to enter an epoch from outside. */
  fetchInfo(commitId: CommitId): void {
    const { members, network } = this.#world
    const node = this.#member.state?.chain.nodes.get(commitId)
    const near = [...(node?.view.roster.keys() ?? [])]
      .flatMap((peer) => members.get(peer) ?? [])
      .filter((one) => one !== this.#member && network.connects(this.#member.name, one.name))
    const asked = this.#chance.shuffled(near).slice(0, INFO_PEERS_MAX)
    const askNext = async (): Promise<void> => {
      const other = asked.shift()
      if (other === undefined) return
      const info = this.#holds(other) ? await other.infoFor(this.#member.peer, commitId) : undefined
      if (info === undefined) this.#later(this.#world.network.delay(), askNext)
      else {
        this.#world.ledger.infos.push([commitId, info])
        await this.#member.hear({ kind: 'infoHeard', commitId, info })
      }
    }
    this.#later(2 * network.delay(), askNext)
  }

  async #fetchBodies(other: Member): Promise<void> {
    const [own, theirs] = [this.#member.state, other.state]
    if (!this.#holds(other) || own === undefined || theirs === undefined) return this.#end(false)
    const access = accessOf(theirs, this.#member.peer)
    const missing = [...own.chain.nodes].filter(([, { hasBody }]) => !hasBody)
    for (const [commitId] of missing) {
      const body = mayHave(theirs, access, commitId)
        ? theirs.chain.nodes.get(commitId)?.entry.body
        : undefined
      if (body !== undefined) await this.#member.hear({ kind: 'bodyHeard', commitId, body })
    }
    await this.#end(true)
  }
}

function isAt(acks: GroupState['acks'], peer: PeerId, ack: Bytes): boolean {
  const own = acks.get(peer)
  return own !== undefined && equalBytes(own, ack)
}

function isSameSet(a: ReadonlyMap<unknown, unknown>, b: ReadonlyMap<unknown, unknown>): boolean {
  if (a.size !== b.size) return false
  for (const key of a.keys()) if (!b.has(key)) return false
  return true
}

/** Logs compare fingerprints; here their keys are at hand. */
function hasSameKeys(a: GroupLog, b: GroupLog): boolean {
  if (a.count !== b.count) return false
  return a.keys(EVERYTHING.from, EVERYTHING.to).every(({ id }) => b.has(id))
}

function mayHave({ chain }: GroupState, access: Access, id: CommitId): boolean {
  if (access === 'denied' || !chain.nodes.has(id)) return false
  return access === 'everything' || isShownBy(chain, access, id)
}
