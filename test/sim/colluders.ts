// Two bad members that share all that they have: every secret, every frame, each other's word. One of them may be removed,
// or on the other side of a cut: what stands between them stands between their machines alone.
import { formatHex } from '../../protocols/base/bytes.ts'
import { nodeOf } from '../../protocols/group/chain.ts'
import { EVERYTHING } from '../../protocols/group/sync-frames.ts'
import type { CommitId } from '../../protocols/group/types.ts'
import { Adversary, withoutBody } from './adversary.ts'
import { Chance } from './chance.ts'
import { gossip } from './gossip.ts'
import type { SimMember } from './group-node.ts'
import { restoreStolen } from './hoarder.ts'

/** How often what one of them has goes to the other. */
const FORWARD_MS = 2_000
/** Share of it that goes on from there to everybody. */
const SPREAD_SHARE = 0.5

/** A pair: one who is a member, and an accomplice. */
export class Colluders {
  readonly #inside: SimMember
  readonly #other: SimMember
  readonly #chance: Chance
  readonly #as: (member: SimMember) => Adversary

  constructor(inside: SimMember, other: SimMember, salt: number) {
    this.#inside = inside
    this.#other = other
    this.#chance = new Chance(`colluders ${salt}`)
    this.#as = (member) => new Adversary(member, salt)
  }

  /** For so long each passes on what the other hears, whatever lies between them. */
  forward(forMs: number): void {
    const { timeline } = this.#inside.world
    const until = timeline.elapsedMs + forMs
    const again = async (): Promise<void> => {
      await this.#pass(this.#inside, this.#other)
      await this.#pass(this.#other, this.#inside)
      if (timeline.elapsedMs < until) timeline.after(FORWARD_MS, again)
    }
    timeline.after(0, again)
  }

  async #pass(from: SimMember, to: SimMember): Promise<void> {
    for (const { id } of from.state === undefined ? [] : allIn(from)) {
      if (from.state === undefined || to.state === undefined || to.log.has(id)) continue
      const frame = await from.frameOf(id)
      if (frame === undefined) continue
      await to.receive(frame)
      if (this.#chance.share() > SPREAD_SHARE) continue
      gossip(to, frame, [...to.world.members.values()])
    }
  }

  /** A commit whose body none but they have, and that both vote for. */
  async withhold(): Promise<void> {
    const made = await this.#as(this.#inside).commit()
    if (made === undefined) return
    this.#as(this.#inside).publish(withoutBody(made))
    this.#voteFor(made.commitId)
  }

  /** The accomplice comes in from outside, on any epoch that the other holds, with all that this takes. */
  async enter(): Promise<void> {
    const { state, world, tables, identity } = this.#inside
    const { engine, nowMs, peer } = this.#other
    const parent = this.#chance.pick([...(state?.held.keys() ?? [])])
    const held = parent && state?.held.get(parent)
    if (state === undefined || parent === undefined || held === undefined) return
    const { epochs } = await restoreStolen(world, tables, identity, engine)
    const handle = epochs.get(parent)
    if (handle === undefined) return
    const [groupInfo, tree] = [await engine.groupInfo(handle), engine.tree(handle)]
    const made = await engine.externalJoin({ groupInfo, tree, self: this.#other.identity, nowMs })
    if (!made.ok) return
    const { child, commit } = made.value
    const { treeHash, groupInfoHash } = engine.info(child)
    const { bodyKey } = held
    const node = nodeOf(state.chain, parent)
    const unsigned = { kind: 'resync', commit, bodyKey, groupInfoHash } as const
    const signed = this.#as(this.#other).sign(node, unsigned)
    const kept = { snapshot: engine.snapshot(child, 'full'), treeHash: formatHex(treeHash) }
    world.ledger.trees.set(kept.treeHash, engine.tree(child))
    world.ledger.hoard(peer, signed.commitId, kept)
    this.#as(this.#inside).publish(signed)
    this.#voteFor(signed.commitId)
  }

  #voteFor(commitId: CommitId): void {
    const speaker = this.#as(this.#inside)
    for (const voter of [this.#inside, this.#other]) {
      if (voter.state === undefined) continue
      const ack = this.#as(voter).ack(commitId, Math.max(voter.state.seq, voter.nowMs) + 2)
      speaker.tell({ kind: 'acks', acks: [ack] }, speaker.others())
    }
  }
}

function allIn({ log }: SimMember): ReturnType<SimMember['log']['keys']> {
  return log.keys(EVERYTHING.from, EVERYTHING.to)
}
