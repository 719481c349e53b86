// What must hold once everything is connected again and nothing moves any more: 1, 2, 3, 4, 9, 10 and 11 of groups design
// §12. 14 is checked at every restart, and by `restarts.test.ts`.
import { formatHex } from '../../protocols/base/bytes.ts'
import { chainOf, leadsTo, nodeOf } from '../../protocols/group/chain.ts'
import { refKey } from '../../protocols/group/ids.ts'
import { makeGroupMachine } from '../../protocols/group/machine.ts'
import { isAdmin } from '../../protocols/group/policy.ts'
import { selectTip } from '../../protocols/group/selection.ts'
import type { CommitId } from '../../protocols/group/types.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import { FRESH } from '../../protocols/group/founding.ts'
import type { Chance } from './chance.ts'
import type { Member } from './cast.ts'
import type { Invariants } from './invariants.ts'
import { isRemovable, tombstonesOf } from './invariants.ts'
import type { Said } from './ledger.ts'
import { Violation } from './cast.ts'
import type { World } from './cast.ts'

/** Permutations that are tried of one member's records and votes. */
const PERMUTATIONS = 3

/** Members that keep the rules, and are up. */
function honest(world: World): Member[] {
  return [...world.members.values()].filter((one) => one.isHonest && one.state !== undefined)
}

/** The honest members that take part, and are not cut off for good by those that do not keep the rules. */
function present(world: World): Member[] {
  return honest(world).filter((one) => isActive(one) && !isStranded(world, one))
}

function isActive({ state }: Member): boolean {
  return state?.phase === 'member' || state?.phase === 'leaving'
}

/** True if its branch lost, and there is no honest admin on the other who could add it again. */
function isStranded(world: World, { peer, state }: Member): boolean {
  if (state === undefined) return false
  const { roster, policy } = nodeOf(state.chain, selectTip(state.chain, state.votes)).view
  if (roster.get(peer) === state.self.gen) return false
  const admins = policy.admins.flatMap((admin) => world.members.get(admin.peer) ?? [])
  return !admins.some((admin) => admin.isHonest && isActive(admin))
}

/** True once all members are on one selected tip and nothing is left to be done. */
export function isSettled(world: World): boolean {
  return isTogether(world) && present(world).every((one) => pendingOf(one) === undefined)
}

/** True once all members are on one selected tip. */
export function isTogether(world: World): boolean {
  const tips = new Set<string>()
  for (const { state } of present(world)) {
    if (state === undefined || selectTip(state.chain, state.votes) !== state.tip) return false
    tips.add(state.tip)
  }
  return tips.size <= 1
}

/** What a member still has to do; undefined if nothing. */
function pendingOf({ state }: Member): string | undefined {
  if (state === undefined) return undefined
  // Whose role was lost with its branch waits with what only admins do.
  const mayChange = isAdmin(nodeOf(state.chain, state.tip).view.policy, state.self)
  const intent = state.intents.find(
    ({ change, committedIn, isRoutine }) =>
      committedIn === undefined && isRoutine !== true && (mayChange || change.kind === 'rekey'),
  )
  if (intent !== undefined) return `a ${intent.change.kind} that nobody committed`
  if (state.leaves.size > 0) return 'somebody who is to be removed'
  if (state.outbox.some(({ sealed }) => sealed === undefined)) return 'a message to be sealed'
  return state.welcomes.length > 0 ? 'a Welcome to be handed off' : undefined
}

/** Checks everything that holds in the end. */
export function checkEnd(world: World, invariants: Invariants): void {
  checkOrderIndependence(world)
  if (!isShutOut(world)) {
    checkConvergence(world)
    checkRemoved(world)
    checkLiveness(world)
  }
  checkMessages(world)
  checkFinals(world, invariants)
}

/** True if the only member came back from an old backup: nobody can show it the way into the epochs that it lost. */
function isShutOut(world: World): boolean {
  const [one, ...others] = present(world)
  return one !== undefined && others.length === 0 && one.restores > 0
}

/** 1, 3, 11: all honest members that are not removed share everything. */
function checkConvergence(world: World): void {
  const members = present(world)
  const [first] = members
  if (first === undefined) return
  const print = (one: Member): string => {
    const { state, view } = one
    const epoch = state?.held.get(state.tip)
    const keys = epoch && [epoch.authenticator, epoch.treeHash, epoch.bodyKey, epoch.rankKey]
    const roster = [...view.roster].map((ref) => ref.join('/')).sort()
    return [state?.tip, ...(keys ?? []).map(formatHex), ...roster].join()
  }
  for (const { name, peer, state } of members) {
    const selected = state && nodeOf(state.chain, selectTip(state.chain, state.votes))
    if (state === undefined || selected?.view.roster.get(peer) === state.self.gen) continue
    throw new Violation('welcome safety', `${name} waits on a branch that lost to be added again`)
  }
  for (const one of members) {
    if (print(one) === print(first)) continue
    const where = members.map(({ name, state }) => `${name} ${state?.tip.slice(0, 6) ?? ''}`)
    const why = isSplit(members) ? ' over a commit that not all can follow' : ''
    throw new Violation('convergence', `members stand apart${why}: ${where.join()}`)
  }
  const { roster } = first.view
  for (const one of honest(world)) {
    const { state } = one
    const gen = roster.get(one.peer)
    if (state?.phase === 'member' && gen !== state.self.gen) {
      const rule = one.joins > 0 ? 'welcome safety' : 'convergence'
      throw new Violation(rule, `${one.name} believes to be a member and is none`)
    }
    if (gen === state?.self.gen && state?.phase !== 'member' && state?.phase !== 'leaving') {
      throw new Violation('convergence', `${one.name} is ${state?.phase} and on the roster`)
    }
  }
}

/** True if some are on a commit that failed at others. */
function isSplit(members: readonly Member[]): boolean {
  const isFollowed = (id: CommitId): boolean =>
    members.some(({ state }) => state !== undefined && leadsTo(state.chain, id, state.tip))
  return members.some(({ state }) =>
    [...(state?.chain.nodes ?? [])].some(([id, { failed }]) => failed && isFollowed(id)),
  )
}

/** 2: any order, and anything twice, selects the same tip. */
function checkOrderIndependence(world: World): void {
  const chance = world.chance.fork('permutations')
  const one = chance.pick(present(world))
  if (one?.state === undefined) return
  const selected = selectTip(one.state.chain, one.state.votes)
  for (let i = 0; i < PERMUTATIONS; i++) {
    const tip = selectAgain(world, one, chance)
    if (tip === selected) continue
    const text = `${one.name} selects ${tip.slice(0, 6)}, not ${selected.slice(0, 6)}`
    throw new Violation('order independence', text)
  }
}

/** Feeds a member's records and acks to a machine that knows but the base. */
function selectAgain(world: World, member: Member, chance: Chance): string {
  const { peer, secret } = member
  const source = member.demand()
  const machine = makeGroupMachine({ primitives: world.primitives, peer, secret })
  const base = nodeOf(source.chain, source.chain.base)
  let state: GroupState = {
    ...source,
    phase: 'left', // who is out does nothing but listen
    chain: chainOf(base.record, base.entry, base.view),
    tip: source.chain.base,
    votes: new Map(),
    acks: new Map(),
    proofs: new Map(),
    held: new Map(),
    checkpoints: new Map(),
    owed: [],
    volatile: FRESH,
  }
  const { nowMs } = world.timeline
  const hear = (heard: object): void => {
    const event = { ...heard, nowMs, entropy: new Uint8Array(32) } as Parameters<
      typeof machine.step
    >[1]
    ;[state] = machine.step(state, event)
  }
  const entries = [...source.chain.nodes.values()].map(({ entry }) => entry)
  const acks = [...source.acks.values()]
  const proofs = [...source.proofs.values()]
  // Orphans are bounded: whoever is left out comes again with the next round.
  for (let round = 0; round < 40 && state.chain.nodes.size < entries.length; round++) {
    const twice = [...entries, ...entries.filter(() => chance.share() < 0.3)]
    for (const entry of chance.shuffled(twice)) hear({ kind: 'recordsHeard', entries: [entry] })
    hear({ kind: 'acksHeard', acks: chance.shuffled([...acks, ...acks]), proofs })
  }
  return selectTip(withFailures(state, source).chain, withOwnVote(state, source).votes)
}

/** What failed at one member, and what it followed without a body, is its own finding, not part of what it heard. */
function withFailures(state: GroupState, source: GroupState): GroupState {
  const nodes = new Map(state.chain.nodes)
  for (const [id, node] of nodes) {
    const { failed, hasBody } = source.chain.nodes.get(id) ?? node
    nodes.set(id, { ...node, failed, hasBody })
  }
  return { ...state, chain: { ...state.chain, nodes } }
}

/** A member does not take its own acks from others. */
function withOwnVote(state: GroupState, source: GroupState): GroupState {
  const own = source.votes.get(source.self.peer)
  return own === undefined
    ? state
    : { ...state, votes: new Map(state.votes).set(source.self.peer, own) }
}

/** 5: no tip holds anybody that its member knows to be removed. */
function checkRemoved(world: World): void {
  for (const member of present(world)) {
    const { roster } = member.view
    const state = member.demand()
    const tombstones = tombstonesOf(state)
    for (const [peer, gen] of tombstones) {
      if ((roster.get(peer) ?? 0) !== gen || !isRemovable(state, tombstones, peer)) continue
      const name = world.members.get(peer)?.name ?? peer
      throw new Violation('removed stays removed', `${name} is on the roster of ${member.name}`)
    }
  }
}

/** 9: nothing waits for ever. */
function checkLiveness(world: World): void {
  for (const member of present(world)) {
    const pending = pendingOf(member)
    if (pending !== undefined) throw new Violation('liveness', `${member.name} has ${pending}`)
  }
}

/** 4: what was accepted by one is accepted by all that were there. */
function checkMessages(world: World): void {
  const heard = new Map(
    honest(world).map((one) => [
      one,
      new Set(
        one.delivered.map(
          ({ payload }) => `${refKey(payload.author)} ${new TextDecoder().decode(payload.body)}`,
        ),
      ),
    ]),
  )
  for (const said of world.ledger.said) {
    const name = `${refKey({ peer: said.by, gen: said.gen })} ${said.text}`
    const author = world.members.get(said.by)
    if (author === undefined || !isOwed(author, said)) continue
    for (const [one, got] of heard) {
      if (got.has(name) || !isHearer(one, said)) continue
      throw new Violation('no message lost', `${one.name} never hears “${said.text}”`)
    }
  }
}

/** True while its author answers for a message. What it said before an old backup may be gone with it. */
function isOwed(author: Member, said: Said): boolean {
  const { state } = author
  return (
    author.isHonest &&
    author.restores === 0 &&
    state?.phase === 'member' &&
    state.self.gen === said.gen &&
    said.by === author.peer
  )
}

/** True for somebody who was a member when it was said, and is the same member still. */
function isHearer(one: Member, said: Said): boolean {
  const { state } = one
  return (
    state?.phase === 'member' &&
    said.hearers.get(one.peer) === state.self.gen &&
    one.joinedAt <= said.at
  )
}

/** 10: what a majority has stood on for long stays, as long as nobody votes twice; how often it did not stay at once. */
function checkFinals(world: World, { finals, settled }: Invariants): void {
  const [one] = present(world)
  const isClean = [...world.members.values()].every(({ isHonest }) => isHonest)
  if (one?.state === undefined || !isClean) return
  const { chain, tip } = one.state
  const isLost = (id: CommitId): boolean => chain.nodes.has(id) && !leadsTo(chain, id, tip)
  world.ledger.tally.unsettled += [...finals].filter(isLost).length
  for (const [id, by] of settled) {
    if (!isLost(id)) continue
    throw new Violation('selection stability', `${by} saw ${id.slice(0, 6)} settled, and it lost`)
  }
}
