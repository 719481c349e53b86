// What must hold after every step of every honest member (groups design §12): 4 to 8 and 11 to 13, and what may be seen at
// once of the others. What holds only in the end is in `endings.ts`.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import { readFrameHead } from '../../protocols/group/frame.ts'
import { refKey } from '../../protocols/group/ids.ts'
import { decodePayload } from '../../protocols/group/payload.ts'
import { standingOf } from '../../protocols/group/selection.ts'
import type { Delivered, GroupState } from '../../protocols/group/state.ts'
import {
  INTENTS_MAX,
  ORPHANS_PER_AUTHOR_MAX,
  PAST_EPOCHS_MAX,
  PENDING_BYTES_MAX,
  PENDING_FRAMES_MAX,
  RECORDS_MAX,
} from '../../protocols/group/types.ts'
import type { CommitId, FrameContent, Payload } from '../../protocols/group/types.ts'
import { loadGroup } from '../../src/node/group-load.ts'
import type { Chance } from './chance.ts'
import type { Member } from './cast.ts'
import { copyTables, SimStore } from './sim-store.ts'
import { checkRetention, sameState } from './durable.ts'
import { Hoarders, restoreStolen } from './hoarder.ts'
import { Violation } from './cast.ts'
import type { StepTaken, Watcher, World } from './cast.ts'

const ORPHANS_MAX = 256
/** One step in so many has its store stolen, and is read back. */
const SAMPLE = 150

/** Members that a state knows to be removed, on whatever branch that is not void (spec §4.7). */
export function tombstonesOf({ chain, tip, votes }: GroupState): Map<PeerId, number> {
  const { gone } = nodeOf(chain, tip).view
  const tombstones = new Map(gone)
  const { voided } = standingOf(chain, votes)
  for (const [id, { record, failed }] of chain.nodes) {
    if (failed || voided.has(id)) continue
    for (const { member } of record.removes) {
      tombstones.set(member.peer, Math.max(member.gen, tombstones.get(member.peer) ?? 0))
    }
  }
  return tombstones
}

/** True if an admin is left on the tip who may remove a member that another branch removed: else it stays (spec §4.7). */
export function isRemovable(
  { chain, tip }: GroupState,
  tombstones: ReadonlyMap<PeerId, number>,
  removed: PeerId,
): boolean {
  return nodeOf(chain, tip).view.policy.admins.some(
    ({ peer, gen }) => peer !== removed && tombstones.get(peer) !== gen,
  )
}

/** What an honest member has got and given so far. */
interface Account {
  readonly seen: Set<string>
  readonly last: Map<string, number>
}

/** Watches every step. */
export class Invariants implements Watcher {
  readonly #world: World
  readonly #chance: Chance
  readonly #hoarders: Hoarders
  readonly #accounts = new Map<Member, Account>()
  /** What every holder of an epoch agrees on. */
  readonly #epochs = new Map<CommitId, { readonly by: string; readonly print: string }>()
  readonly #keysUsed = new Map<string, string>()
  readonly #nonces = new Map<string, string>()
  readonly #parents = new Map<CommitId, CommitId>()
  readonly #children = new Map<CommitId, number>()
  /** Whom members knew to be removed when they last began to seal. */
  readonly #knownAtSeal = new Map<Member, Map<PeerId, number>>()
  /** Commits that somebody honest saw to be final, and to stay so. */
  readonly finals: Set<CommitId> = new Set<CommitId>()
  readonly settled: Map<CommitId, string> = new Map<CommitId, string>()

  constructor(world: World) {
    this.#world = world
    this.#chance = world.chance.fork('invariants')
    this.#hoarders = new Hoarders(world)
  }

  async stepped(step: StepTaken): Promise<void> {
    const { member, before, event, after, effects } = step
    this.#follow(before, after)
    this.#countJob(step)
    if (!member.isHonest) return
    this.#checkBounds(member, after)
    if (effects.some((effect) => effect.kind === 'startJob' && effect.job.kind === 'seal')) {
      this.#knownAtSeal.set(member, tombstonesOf(after))
    }
    this.#checkDeliveries(step)
    if (after.held !== before.held) this.#checkEpochs(member, before, after)
    if (after.held !== before.held || after.checkpoints !== before.checkpoints) {
      checkRetention(member, after)
    }
    this.#checkOpened(step)
    if (event.kind === 'jobDone') this.#checkFailed(step)
    if (after.votes !== before.votes) this.#noteFinal(member, after)
    if (this.#chance.upTo(SAMPLE) > 0) return
    await this.#checkRows(member, after)
    await this.#checkStolen(member, after)
  }

  async publishing(member: Member, frame: Bytes, content: FrameContent): Promise<void> {
    const { ledger } = this.#world
    ledger.published.push({ by: member.peer, frame, content })
    if (content.kind === 'commit') ledger.tally.commits += 1
    if (!member.isHonest) return
    this.#checkNonce(member, frame)
    if (content.kind !== 'app') return
    this.#checkKey(member, content.message)
    await this.#checkReaders(member, content)
  }

  /** 14: what a restart reads back is what was there; nothing that was accepted is gone. */
  restarted(member: Member, last: GroupState, delivered: readonly Delivered[]): void {
    if (!member.isHonest) return
    sameState(member, last, member.demand())
    if (member.delivered.length < delivered.length) {
      throw new Violation('restart equivalence', `${member.name} lost messages in a restart`)
    }
  }

  /** The accounts begin anew with rows of another time. */
  restored(member: Member): void {
    this.#accounts.delete(member)
  }

  #follow(before: GroupState, after: GroupState): void {
    const { tally } = this.#world.ledger
    if (after.chain === before.chain) return
    for (const [id, { record }] of after.chain.nodes) {
      if (before.chain.nodes.has(id) || this.#parents.has(id)) continue
      this.#parents.set(id, record.parent)
      const children = (this.#children.get(record.parent) ?? 0) + 1
      this.#children.set(record.parent, children)
      if (children > 1) tally.forks += 1
    }
  }

  #countJob({ event }: StepTaken): void {
    if (event.kind !== 'jobDone') return
    const { tally } = this.#world.ledger
    if (event.job.kind === 'resync' && event.result.kind === 'committed') tally.resyncs += 1
    if (event.result.kind !== 'followed') return
    if (event.job.kind === 'resume') tally.resumes += 1
    else tally.follows += 1
  }

  /** 13 */
  #checkBounds(
    member: Member,
    { held, checkpoints, waiting, intents, chain, volatile }: GroupState,
  ): void {
    const over = (what: string, count: number, most: number): void => {
      if (count <= most) return
      throw new Violation('bounds', `${member.name} keeps ${count} ${what}, ${most} at most`)
    }
    over('epochs', held.size, PAST_EPOCHS_MAX + 1)
    over('checkpoints', checkpoints.size, PAST_EPOCHS_MAX)
    over('waiting messages', waiting.size, PENDING_FRAMES_MAX)
    over('intents', intents.length, INTENTS_MAX)
    over('records', chain.nodes.size, RECORDS_MAX)
    over('orphans', volatile.orphans.length, ORPHANS_MAX)
    if (waiting.size > 256) {
      let bytes = 0
      for (const { message } of waiting.values()) bytes += message.length
      over('waiting octets', bytes, PENDING_BYTES_MAX)
    }
    if (volatile.orphans.length > ORPHANS_PER_AUTHOR_MAX) {
      const by = new Map<PeerId, number>()
      for (const { author } of volatile.orphans) by.set(author, (by.get(author) ?? 0) + 1)
      over('orphans of one author', Math.max(...by.values()), ORPHANS_PER_AUTHOR_MAX)
    }
  }

  /** 4: exactly once, in its author's order. */
  #checkDeliveries({ member, effects }: StepTaken): void {
    const fresh = effects.flatMap((effect) => (effect.kind === 'deliver' ? [effect.message] : []))
    if (fresh.length === 0) return
    let account = this.#accounts.get(member)
    if (account === undefined) {
      this.#accounts.set(member, (account = { seen: new Set(), last: new Map() }))
      const before = member.delivered.slice(0, member.delivered.length - fresh.length)
      for (const one of before) count(account, member, one)
    }
    for (const one of fresh) count(account, member, one)
  }

  /** 1, 8: whoever holds an epoch holds the same as all others, also by a checkpoint. */
  #checkEpochs(member: Member, before: GroupState, after: GroupState): void {
    for (const [id, epoch] of after.held) {
      if (before.held.has(id)) continue
      const { branchId, bodyKey, rankKey, authenticator, treeHash } = epoch
      const print = [branchId, ...[bodyKey, rankKey, authenticator, treeHash].map(formatHex)].join()
      const known = this.#epochs.get(id)
      if (known === undefined) this.#epochs.set(id, { by: member.name, print })
      else if (known.print !== print) {
        const rule = after.checkpoints.has(id) ? 'own-commit recovery' : 'convergence'
        throw new Violation(rule, `${member.name} and ${known.by} differ on ${id.slice(0, 6)}`)
      }
    }
  }

  /** 8: nobody fails over what an honest member made, least of all its author. */
  #checkFailed({ member, before, after }: StepTaken): void {
    if (after.chain === before.chain) return
    for (const [id, { record, failed }] of after.chain.nodes) {
      if (!failed || failed === 'untried' || before.chain.nodes.get(id)?.failed === true) continue
      const author = this.#world.members.get(record.author.peer)
      // Rows of another time have lost what adopts an own commit.
      if (author?.isHonest !== true || (author === member && member.restores > 0)) continue
      const rule = author === member ? 'own-commit recovery' : 'convergence'
      throw new Violation(rule, `${member.name} fails over a commit of ${author.name}`)
    }
  }

  /** 12: what an honest member sealed for an epoch that is held opens there. */
  #checkOpened({ member, event }: StepTaken): void {
    if (event.kind !== 'jobDone' || event.job.kind !== 'open') return
    const { job, result } = event
    // Refused as a whole: its epoch was dropped meanwhile, and others are asked for what it would have opened.
    if (result.kind !== 'opened') return
    for (const one of result.messages) {
      if (one.ok || one.code === 'GROUP_CONSUMED') continue
      const asked = job.messages.find(({ frameId }) => frameId === one.frameId)
      const sealed = asked && this.#world.ledger.sealedOf(asked.message)
      const author = sealed && this.#world.members.get(sealed.by)
      if (author === undefined || !author.isHonest || author.peer === member.peer) continue
      throw new Violation('epoch ambiguity', `${member.name} drops a message: ${one.code}`)
    }
  }

  /** 10, later: what has been final for long does not lose. What is final may, as long as votes are under way. */
  #noteFinal(member: Member, { chain, votes, volatile }: GroupState): void {
    const { final } = standingOf(chain, votes)
    if (final !== undefined) this.finals.add(final)
    if (volatile.settled !== undefined) this.settled.set(volatile.settled, member.name)
  }

  /** 7 */
  #checkNonce(member: Member, frame: Bytes): void {
    const head = readFrameHead(frame)
    if (!head.ok) throw new Violation('nonce uniqueness', `${member.name} publishes no frame`)
    const name = formatHex(frame.subarray(0, 25)) // version, tag, hour, nonce
    const print = formatHex(this.#world.primitives.sha256(frame))
    const known = this.#nonces.get(name)
    if (known !== undefined && known !== print) {
      throw new Violation('nonce uniqueness', `${member.name} seals two frames under one nonce`)
    }
    this.#nonces.set(name, print)
  }

  /** 7 */
  #checkKey(member: Member, message: Bytes): void {
    const sealed = this.#world.ledger.sealedOf(message)
    if (sealed === undefined) {
      throw new Violation('key uniqueness', `${member.name} publishes what it never sealed`)
    }
    const print = formatHex(this.#world.primitives.sha256(message))
    const known = this.#keysUsed.get(sealed.key)
    if (known !== undefined && known !== print) {
      throw new Violation('key uniqueness', `${member.name} uses one message key twice`)
    }
    this.#keysUsed.set(sealed.key, print)
  }

  /** 5: who is known to be removed neither hears nor can open what is said. */
  async #checkReaders(
    member: Member,
    content: Extract<FrameContent, { kind: 'app' }>,
  ): Promise<void> {
    const state = member.demand()
    const { roster } = nodeOf(state.chain, state.tip).view
    const epoch = [...state.held].find(([, { branchId }]) => branchId === content.branchId)
    if (epoch === undefined) return
    const tombstones = tombstonesOf(state)
    for (const [peer, gen] of tombstones) {
      const present = roster.get(peer)
      if (peer === member.peer || (present !== undefined && present > gen)) continue
      if (present !== undefined && !isRemovable(state, tombstones, peer)) continue
      // Who left by itself on another branch does not mind.
      if (present !== undefined && state.leaves.get(peer)?.kind === 'leave') continue
      if (present !== undefined) {
        const name = this.#world.members.get(peer)?.name ?? peer
        const wasKnown = this.#knownAtSeal.get(member)?.get(peer) === gen
        const since = wasKnown ? 'and knew it' : 'what it was sealing'
        const text = `${member.name} speaks while ${name} listens, ${since}`
        throw new Violation('removed stays removed', text)
      }
      const hoarder = this.#hoarders.of(peer)
      if (await hoarder?.opens(epoch[0], content.message, (id) => this.#parents.get(id))) {
        throw new Violation('removed stays removed', `${peer} opens what ${member.name} says`)
      }
    }
  }

  /** 14: rows say what the state says. */
  async #checkRows(member: Member, after: GroupState): Promise<void> {
    const { primitives, groupId } = this.#world
    const loaded = await loadGroup(new SimStore(copyTables(member.tables)), primitives, groupId)
    if (loaded === undefined) throw new Violation('restart equivalence', `${member.name}: no rows`)
    sameState(member, after, loaded)
  }

  /** 6: a stolen store opens nothing that its member had read. */
  async #checkStolen(member: Member, { held }: GroupState): Promise<void> {
    const { engine, epochs } = await restoreStolen(this.#world, member.tables, member.identity)
    const byBranch = new Map([...held].map(([id, { branchId }]) => [branchId, epochs.get(id)]))
    const read = new Set(member.delivered.map(({ payload }) => nameOf(payload)))
    for (const { content } of this.#world.ledger.published) {
      const epoch = content.kind === 'app' ? byBranch.get(content.branchId) : undefined
      if (content.kind !== 'app' || epoch === undefined) continue
      const opened = await engine.open(epoch, content.message)
      const payload = opened.ok ? decodePayload(opened.value.plaintext) : undefined
      if (payload?.ok !== true || !read.has(nameOf(payload.value))) continue
      const name = nameOf(payload.value)
      // What was sealed again for others may lie unopened in an epoch where it was not read.
      if (this.#world.ledger.isOnlyOnce(name)) {
        throw new Violation('forward secrecy', `a thief of ${member.name}'s store reads ${name}`)
      }
    }
  }
}

function nameOf({ author, n }: Payload): string {
  return `${refKey(author)}/${n}`
}

function count(account: Account, member: Member, { payload, late }: Delivered): void {
  const name = nameOf(payload)
  if (account.seen.has(name)) {
    const { joins, restores } = member
    const text = `${member.name} gets ${name} twice (${joins} joins, ${restores} restores)`
    throw new Violation('exactly once', text)
  }
  account.seen.add(name)
  const author = refKey(payload.author)
  if (late) return
  if ((account.last.get(author) ?? 0) >= payload.n) {
    throw new Violation('order of an author', `${member.name} gets ${name} out of order`)
  }
  account.last.set(author, payload.n)
}
