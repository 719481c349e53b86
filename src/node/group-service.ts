// Groups as the agent sees them: the service behind the command line, the local API and the library. Floor 3.
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { formatHex, utf8 } from '../../protocols/base/bytes.ts'
import { MINUTE_MS } from '../../protocols/base/time.ts'
import { leadsTo, nodeOf } from '../../protocols/group/chain.ts'
import { toGroupMessageId } from '../../protocols/group/ids.ts'
import { isAdmin } from '../../protocols/group/policy.ts'
import type { Change, GroupState } from '../../protocols/group/state.ts'
import {
  GROUP_BODY_BYTES_MAX,
  GROUP_TYPE_BYTES_MAX,
  MEMBERS_MAX,
} from '../../protocols/group/types.ts'
import type { GroupId, MemberRef } from '../../protocols/group/types.ts'
import { put } from '../store/types.ts'
import { weekOf, weeksKept } from './direct-rows.ts'
import { findGroup, unknownGroup } from './group-argument.ts'
import { fetchAdds } from './group-inviting.ts'
import { packRow, unpackRow } from './group-rows.ts'
import { pendingOf } from './group-pending.ts'
import { until } from './group-waits.ts'
import type { Groups } from './groups.ts'
import type { RunningGroup } from './running-group.ts'
import type {
  GroupFact,
  GroupInfo,
  GroupMessage,
  GroupQuery,
  GroupService,
  Invitation,
  Role,
} from './types.ts'

/** How long a change is awaited where the caller says nothing else. */
const CHANGE_TIMEOUT_MS = MINUTE_MS
const IDEMPOTENCY_TABLE = 'group-idempotency'
const IDEMPOTENCY_KEY_BYTES_MAX = 128

/** What the service needs besides the groups. */
export interface GroupServiceOptions {
  readonly groups: Groups
  readonly nameOf: (peer: PeerId) => Promise<string | null>
  /** This agent wrote to, or invited, the peer: a contact from now on. */
  readonly befriend: (peer: PeerId) => Promise<void>
}

interface Sent {
  readonly id: string
  readonly groupId: string
  readonly epoch: number
}

/** How far an invitation is, for who asks meanwhile. */
interface InviteStage {
  fact: () => string
}

/** Makes the service. */
export function makeGroupService(options: GroupServiceOptions): GroupService {
  return new Service(options)
}

class Service implements GroupService {
  readonly #groups: Groups
  readonly #options: GroupServiceOptions
  /** Sends under way, by idempotency key. */
  readonly #keyed = new Map<string, Promise<Sent>>()
  /** Invitations under way, by group. */
  readonly #inviting = new Map<string, Set<InviteStage>>()

  constructor(options: GroupServiceOptions) {
    this.#groups = options.groups
    this.#options = options
  }

  async create(name: string): Promise<GroupFact> {
    if (this.#current().some((group) => group.view.policy.name === name)) {
      throw new ConclaveError('GROUP_NAME_TAKEN', `this agent has a group ${name} already`, {
        hint: 'choose another name, or use the group: conclave group list',
      })
    }
    return (await this.#groups.found(name)).fact()
  }

  list(): Promise<GroupFact[]> {
    return Promise.resolve(this.#current().map((group) => group.fact()))
  }

  resolve(text: string): Promise<string> {
    const all = this.#groups.all().map((group) => ({
      id: group.groupId,
      name: group.view.policy.name,
      isCurrent: isCurrent(group),
    }))
    const waiting = this.#groups.invitations.waiting().map(({ groupId, joinPackage }) => ({
      id: groupId,
      name: joinPackage.policy.name,
      isCurrent: true,
    }))
    return Promise.resolve(findGroup(text, [...all, ...waiting]))
  }

  async info(groupId: string): Promise<GroupInfo> {
    const group = this.#demand(groupId)
    const { state, view } = group
    const epoch = state.held.get(state.tip)
    const members = [...view.roster].map(async ([peer, gen]) => ({
      peerId: peer,
      name: await this.#options.nameOf(peer),
      role: roleOf(state, { peer, gen }),
    }))
    const ageMs = this.#groups.options.now() - state.rekeyedAt
    return {
      groupId,
      name: view.policy.name,
      epoch: view.epoch,
      authenticator: epoch === undefined ? '' : formatHex(epoch.authenticator),
      members: await Promise.all(members),
      keyAgeSeconds: Math.max(0, Math.floor(ageMs / 1_000)),
      branch: epoch?.branchId ?? '',
      pending: [...this.#invitesOf(groupId), ...pendingOf(state)],
    }
  }

  async invite(
    groupId: string,
    peers: readonly PeerId[],
    options: { until?: 'joined'; timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<{ groupId: string; epoch: number; added: PeerId[] }> {
    const group = this.#demandAdmin(groupId)
    const own = group.state.self.peer
    const wanted = [...new Set(peers)].filter((peer) => peer !== own)
    const added = wanted.filter((peer) => !group.view.roster.has(peer))
    const members = group.view.roster.size + added.length
    if (members > MEMBERS_MAX) {
      throw new ConclaveError('GROUP_FULL', `${members} members would be, ${MEMBERS_MAX} may`)
    }
    const deadline = deadlineOf(options)
    const invite: InviteStage = { fact: () => 'invite: to be committed' }
    const stages = this.#inviting.get(groupId) ?? new Set()
    this.#inviting.set(groupId, stages.add(invite))
    try {
      const changes = await this.#adds(added, invite, deadline)
      invite.fact = () => `invite: ${changes.length} to be committed`
      if (changes.length > 0) await this.#change(group, changes, deadline)
      const { epoch } = group.view
      if (options.until === 'joined') await this.#joined(group, wanted, invite, deadline)
      return { groupId, epoch, added }
    } finally {
      stages.delete(invite)
      if (stages.size === 0) this.#inviting.delete(groupId)
    }
  }

  async remove(
    groupId: string,
    peers: readonly PeerId[],
    options: { signal?: AbortSignal } = {},
  ): Promise<{ groupId: string; epoch: number; removed: PeerId[] }> {
    const group = this.#demandAdmin(groupId)
    const removed = [...new Set(peers)]
    const changes = removed.map((peer): Change => {
      if (peer === group.state.self.peer) {
        throw new ConclaveError('USAGE_ARGUMENT', 'an agent cannot remove itself', {
          hint: 'conclave group leave GROUP',
        })
      }
      return { kind: 'remove', member: demandRef(group, peer) }
    })
    const epoch = await this.#change(group, changes, deadlineOf(options))
    return { groupId, epoch, removed }
  }

  async leave(groupId: string): Promise<{ groupId: string }> {
    await this.#demand(groupId).dispatch({ kind: 'leaveAsked' })
    return { groupId }
  }

  async rekey(groupId: string): Promise<{ groupId: string; epoch: number }> {
    const group = this.#demand(groupId)
    return { groupId, epoch: await this.#change(group, [{ kind: 'rekey' }], deadlineOf({})) }
  }

  async setRole(
    groupId: string,
    peer: PeerId,
    role: Role,
  ): Promise<{ groupId: string; peerId: PeerId; role: Role }> {
    const group = this.#demandAdmin(groupId)
    const member = demandRef(group, peer)
    const { policy } = group.view
    if (roleOf(group.state, member) !== role) {
      if (role === 'member' && policy.admins.length === 1) {
        throw new ConclaveError('GROUP_LAST_ADMIN', 'the last admin cannot become a member', {
          hint: 'conclave group promote GROUP PEER makes another one',
        })
      }
      await this.#change(group, [{ kind: 'role', member, role }], deadlineOf({}))
    }
    return { groupId, peerId: peer, role }
  }

  async send(
    groupId: string,
    body: Uint8Array,
    options: { type?: string; idempotencyKey?: string } = {},
  ): Promise<Sent> {
    const { idempotencyKey: key } = options
    const group = this.#demand(groupId)
    if (key === undefined) return this.#send(group, body, options.type)
    if (key.length === 0 || utf8(key).length > IDEMPOTENCY_KEY_BYTES_MAX) {
      throw new ConclaveError('USAGE_ARGUMENT', 'not an idempotency key', {
        hint: `give 1 to ${IDEMPOTENCY_KEY_BYTES_MAX} bytes`,
      })
    }
    const name = `${groupId}/${key}`
    const running = this.#keyed.get(name)
    if (running !== undefined) return running
    const sent = this.#sendOnce(group, body, options.type, name)
    this.#keyed.set(name, sent)
    try {
      return await sent
    } finally {
      this.#keyed.delete(name)
    }
  }

  read(groupId: string, query: GroupQuery = {}): Promise<GroupMessage[]> {
    return this.#demand(groupId).history.read(query)
  }

  invitations(): Promise<Invitation[]> {
    const waiting = this.#groups.invitations.waiting()
    return Promise.resolve(
      waiting.map(({ groupId, joinPackage, from }) => {
        return { groupId, name: joinPackage.policy.name, from }
      }),
    )
  }

  async join(groupId: string): Promise<GroupFact> {
    const invitation = this.#demandInvitation(groupId)
    await this.#options.befriend(invitation.from)
    return (await this.#groups.joining.accept(invitation)).fact()
  }

  async decline(groupId: string): Promise<{ groupId: string }> {
    await this.#groups.invitations.decline(this.#demandInvitation(groupId))
    return { groupId }
  }

  #invitesOf(groupId: string): string[] {
    return [...(this.#inviting.get(groupId) ?? [])].map(({ fact }) => fact())
  }

  #current(): RunningGroup[] {
    return this.#groups.all().filter(isCurrent)
  }

  #demand(groupId: string): RunningGroup {
    const group = this.#groups.get(groupId)
    if (group === undefined) throw unknownGroup(groupId, [])
    return group
  }

  #demandAdmin(groupId: string): RunningGroup {
    const group = this.#demand(groupId)
    const { state } = group
    if (state.phase !== 'member') {
      throw new ConclaveError('GROUP_NOT_MEMBER', 'this agent is not a member of the group', {
        hint: 'an admin of it can invite this agent again',
      })
    }
    if (roleOf(state, state.self) !== 'admin') {
      throw new ConclaveError('GROUP_NOT_ADMIN', 'only an admin of the group may do this', {
        hint: 'conclave group info GROUP shows who is an admin',
      })
    }
    return group
  }

  #demandInvitation(groupId: string) {
    const invitation = this.#groups.invitations.get(groupId as GroupId)
    if (invitation?.isAccepted === false) return invitation
    throw new ConclaveError(
      'USAGE_INVITATION_UNKNOWN',
      `no invitation to ${groupId.slice(0, 80)} waits`,
      { hint: 'conclave group invitations shows those that do' },
    )
  }

  /** Changes that add these peers; nothing is changed if a single one cannot be had. */
  async #adds(
    peers: readonly PeerId[],
    invite: InviteStage,
    signal: AbortSignal,
  ): Promise<Change[]> {
    let fetched = 0
    invite.fact = () => `invite: ${fetched} of ${peers.length} key packages fetched`
    const onFetched = (): void => void (fetched += 1)
    return fetchAdds(this.#groups.inviting, peers, { signal, onFetched })
  }

  /** Asks for changes and waits until a commit that makes them is durable; answers its epoch. */
  async #change(
    group: RunningGroup,
    changes: readonly Change[],
    signal: AbortSignal,
  ): Promise<number> {
    const first = group.state.intentId
    await group.dispatch({ kind: 'changesAsked', changes })
    // Others may ask at the same time: these ids are the newest that make the same changes.
    const ids = group.state.intents
      .filter(({ id, change }) => id > first && changes.includes(change))
      .map(({ id }) => id)
    let epoch = group.view.epoch
    await until(group, signal, () => {
      for (const id of ids) {
        const code = group.failureOf(id)
        if (code !== undefined) throw new ConclaveError(code, 'the group refuses the change')
      }
      const open = group.state.intents.filter(({ id }) => ids.includes(id))
      const made = open.flatMap(({ committedIn }) => committedIn ?? [])
      for (const id of made) epoch = Math.max(epoch, nodeOf(group.state.chain, id).record.epoch)
      return made.length === open.length
    })
    return Math.max(epoch, group.view.epoch)
  }

  /** Waits until each peer has said that it is in. */
  async #joined(
    group: RunningGroup,
    peers: readonly PeerId[],
    invite: InviteStage,
    signal: AbortSignal,
  ): Promise<void> {
    const missing = (): PeerId[] =>
      peers.filter((peer) => {
        const { votes, chain, tip } = group.state
        const vote = votes.get(peer)
        const gen = group.view.roster.get(peer)
        return gen === undefined || vote?.gen !== gen || !leadsTo(chain, vote.commitId, tip)
      })
    invite.fact = () => {
      const due = new Set(group.state.welcomes.map(({ peer }) => peer))
      const { roster } = group.view
      const handed = peers.filter((peer) => roster.has(peer) && !due.has(peer)).length
      const joined = peers.length - missing().length
      return `invite: ${handed} of ${peers.length} welcomes handed over, ${joined} of ${peers.length} joined`
    }
    try {
      await until(group, signal, () => missing().length === 0)
    } catch (error) {
      if (!(error instanceof ConclaveError) || error.code !== 'STATE_TIMEOUT') throw error
      throw new ConclaveError(
        'STATE_NOT_REACHED',
        `${missing().length} of ${peers.length} have not confirmed that they are in`,
        { hint: 'do not invite again: the invitation is on its way and stays so' },
      )
    }
  }

  async #send(
    group: RunningGroup,
    body: Uint8Array,
    type = 'text/plain',
    name?: string,
  ): Promise<Sent> {
    if (body.length > GROUP_BODY_BYTES_MAX) {
      throw new ConclaveError(
        'USAGE_MESSAGE_TOO_LARGE',
        `a body of ${body.length} bytes, at most ${GROUP_BODY_BYTES_MAX} are allowed`,
        { hint: 'send it in parts' },
      )
    }
    if (utf8(type).length > GROUP_TYPE_BYTES_MAX || /\p{Cc}/u.test(type)) {
      throw new ConclaveError('USAGE_ARGUMENT', 'not a MIME type', {
        hint: `at most ${GROUP_TYPE_BYTES_MAX} bytes`,
      })
    }
    const { random, now } = this.#groups.options
    const msgId = toGroupMessageId(random(16))
    const sent = { id: msgId, groupId: group.groupId, epoch: group.view.epoch }
    const key = `${weekOf(now())}/${name ?? ''}`
    const extra =
      name === undefined
        ? undefined
        : { msgId, ops: [put(IDEMPOTENCY_TABLE, key, packRow(sent.id, sent.epoch))] }
    await group.dispatch({ kind: 'messageAsked', msgId, contentType: type, body }, extra)
    return sent
  }

  async #sendOnce(
    group: RunningGroup,
    body: Uint8Array,
    type: string | undefined,
    name: string,
  ): Promise<Sent> {
    const { store, now } = this.#groups.options
    for (const week of weeksKept(now())) {
      const row = await store.get(IDEMPOTENCY_TABLE, `${week}/${name}`)
      if (row === undefined) continue
      const [id, epoch] = unpackRow(row) as [string, number]
      return { id, groupId: group.groupId, epoch }
    }
    return this.#send(group, body, type, name)
  }
}

function isCurrent({ state }: RunningGroup): boolean {
  return state.phase === 'member'
}

function roleOf(state: GroupState, ref: MemberRef): Role {
  return isAdmin(nodeOf(state.chain, state.tip).view.policy, ref) ? 'admin' : 'member'
}

function demandRef(group: RunningGroup, peer: PeerId): MemberRef {
  const gen = group.view.roster.get(peer)
  if (gen !== undefined) return { peer, gen }
  throw new ConclaveError('GROUP_NOT_MEMBER', `${peer} is not a member of the group`, {
    hint: 'conclave group info GROUP shows who is',
  })
}

function deadlineOf(options: {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}): AbortSignal {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? CHANGE_TIMEOUT_MS)
  return options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal])
}
