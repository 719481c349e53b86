// From a JoinPackage to a group that runs: taken as a handoff, kept until the agent decides, joined by. Floor 3.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError, invariant } from '../../protocols/base/errors.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { Step } from '../../protocols/base/step.ts'
import { SECOND_MS } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { isWayIn } from '../../protocols/group/access.ts'
import { joinAnew, joinGroup, readJoinPackage } from '../../protocols/group/founding.ts'
import { describeEpoch } from '../../protocols/group/jobs.ts'
import type { Identity, MlsEngine } from '../../protocols/group/mls-engine.ts'
import { printOf } from '../../protocols/group/sync-frames.ts'
import type { GroupEffect, GroupState } from '../../protocols/group/state.ts'
import type { GroupKit } from '../../protocols/group/turn.ts'
import type { GroupId, JoinPackage } from '../../protocols/group/types.ts'
import type { GroupSyncClient } from '../handlers/group-sync/client.ts'
import type { Host } from '../host/types.ts'
import type { Op, Store } from '../store/types.ts'
import type { Direct } from './direct.ts'
import type { Taken } from './effect-rows.ts'
import type { EventLog } from './events.ts'
import { OPEN_GROUPS_MAX, readInvitation } from './group-invitations.ts'
import type { Invitations, KeptInvitation } from './group-invitations.ts'
import type { GroupKeys } from './group-keys.ts'
import { dropMembership } from './group-rows.ts'
import type { RunningGroup } from './running-group.ts'

/** Pause before a group is joined again, after a failure. */
const RETRY_MS: number = 5 * SECOND_MS

const nothing = (): void => undefined

/** What joining needs of the groups. */
export interface JoiningParts {
  readonly options: {
    readonly host: Host
    readonly store: Store
    readonly direct: Direct
    readonly primitives: Primitives
    readonly now: () => TimeMs
    readonly events: EventLog
  }
  readonly kit: GroupKit
  readonly engine: MlsEngine
  readonly self: Identity
  readonly keys: GroupKeys
  readonly invitations: Invitations
  readonly closing: AbortSignal
  readonly all: () => readonly RunningGroup[]
  readonly get: (groupId: GroupId) => RunningGroup | undefined
  /** Makes a first state durable, and takes the group up. */
  readonly begin: (step: Step<GroupState, GroupEffect>, extra: readonly Op[]) => Promise<void>
  /** Ends a group that runs; answers its last state. */
  readonly end: (groupId: GroupId) => Promise<GroupState | undefined>
  /** From the start on. */
  readonly sync: () => GroupSyncClient | undefined
}

/** What a group is being joined by. */
interface Joining {
  readonly invitation: KeptInvitation
  readonly done: Promise<RunningGroup>
}

/** Joins groups. */
export class GroupJoining {
  readonly #parts: JoiningParts
  readonly #joining = new Map<GroupId, Joining>()

  constructor(parts: JoiningParts) {
    this.#parts = parts
  }

  /** Goes on with what is accepted already. */
  resume(): void {
    for (const invitation of this.#parts.invitations.accepted()) this.#joinLater(invitation, 0)
  }

  /** Accepts an invitation that waits, and joins. */
  async accept(invitation: KeptInvitation): Promise<RunningGroup> {
    return this.#join(await this.#parts.invitations.accept(invitation))
  }

  /** Resolves once nothing is being joined. */
  async idle(): Promise<void> {
    await Promise.allSettled([...this.#joining.values()].map(({ done }) => done))
  }

  /** Takes a JoinPackage in the batch of the handoff: joined by at once, or kept for the agent to decide. */
  take(
    from: PeerId,
    content: Bytes,
    { trust }: { readonly trust: 'contact' | 'open' | 'stranger' },
  ): Taken | undefined {
    const { primitives, events, now } = this.#parts.options
    const joinPackage = readInvitation(primitives, from, content)
    if (joinPackage === undefined) return undefined
    const { groupId } = joinPackage
    const known = this.#parts.get(groupId)
    const isMember = known?.state.phase === 'member'
    const gen = this.#genOf(joinPackage)
    const kept = this.#parts.invitations.get(groupId)
    // Only a later membership, or the same on another branch, is joined by: an old package leads nowhere.
    if (gen === undefined || (kept !== undefined && gen < (this.#genOf(kept.joinPackage) ?? 0))) {
      return undefined
    }
    const openGroups = this.#parts.all().filter(({ state }) => state.phase === 'member')
    const isAccepted =
      isMember || trust === 'contact' || (trust === 'open' && openGroups.length < OPEN_GROUPS_MAX)
    if (!isAccepted && !this.#parts.invitations.hasRoom(from)) return undefined
    const one = {
      groupId,
      from,
      receivedAt: now(),
      isAccepted,
      joinPackage,
      bytes: Uint8Array.from(content),
    }
    const { ops, after } = this.#parts.invitations.keep(one)
    const fact = { groupId, name: joinPackage.policy.name, from }
    return {
      ops: isAccepted ? ops : [...ops, ...events.append('invitation', fact)],
      after: () => {
        after()
        if (isAccepted) this.#joinLater(one, 0)
        else events.wake()
      },
    }
  }

  /** The membership that a JoinPackage begins; undefined if there is no way in by it. */
  #genOf(joinPackage: JoinPackage): number | undefined {
    const read = readJoinPackage(this.#parts.kit, joinPackage)
    const known = this.#parts.get(joinPackage.groupId)
    if (!read.ok) return known === undefined ? 0 : undefined
    const { record, self } = read.value
    return known === undefined || isWayIn(known.state, record) ? self.gen : undefined
  }

  #joinLater(invitation: KeptInvitation, delayMs: number): void {
    const timer = setTimeout(() => {
      // Before the start nobody can be asked; `start` takes up what is accepted.
      if (this.#parts.closing.aborted || this.#parts.sync() === undefined) return
      this.#join(invitation).catch((error: unknown) => {
        const isFinal = error instanceof ConclaveError && error.retry === 'never'
        if (!isFinal && !this.#parts.closing.aborted) this.#joinLater(invitation, RETRY_MS)
      })
    }, delayMs)
    timer.unref()
  }

  /** Joins by an invitation; one that cannot be joined by is dropped. A newer one is joined by after an older. */
  #join(invitation: KeptInvitation): Promise<RunningGroup> {
    const { groupId } = invitation
    const before = this.#joining.get(groupId)
    if (before?.invitation.bytes === invitation.bytes) return before.done
    const over = before === undefined ? Promise.resolve() : before.done.then(nothing, nothing)
    const done = over
      .then(() => this.#joinBy(invitation))
      .finally(() => {
        if (this.#joining.get(groupId)?.done === done) this.#joining.delete(groupId)
      })
    this.#joining.set(groupId, { invitation, done })
    return done
  }

  async #joinBy(invitation: KeptInvitation): Promise<RunningGroup> {
    const { joinPackage, groupId, from } = invitation
    const { store, host, now } = this.#parts.options
    const refuse = async (code: ConstructorParameters<typeof ConclaveError>[0]): Promise<never> => {
      await this.#parts.invitations.decline(invitation)
      throw new ConclaveError(code, 'this invitation cannot be joined by', {
        hint: 'ask the inviter for another one',
      })
    }
    const isNewest = this.#parts.invitations.get(groupId)?.bytes === invitation.bytes
    if (!isNewest || this.#genOf(joinPackage) === undefined) return refuse('GROUP_EPOCH_STALE')
    await host.addAddresses(from, joinPackage.addresses)
    const read = readJoinPackage(this.#parts.kit, joinPackage)
    if (!read.ok) return refuse(read.code)
    const own = read.value.record.adds.find(({ member }) => member.peer === host.peerId)
    const secret = own && (await this.#parts.keys.secret(own.keyPackageRef))
    if (own === undefined || secret === undefined) return refuse('GROUP_NOT_FOR_ME')
    const tree = await this.#treeOf(joinPackage, from)
    const { welcome } = joinPackage
    const joined = await this.#parts.engine.join({ welcome, secret, tree, self: this.#parts.self })
    if (!joined.ok) return refuse(joined.code)
    const epoch = await describeEpoch(this.#parts.engine, joined.value, read.value.record.commitId)
    this.#parts.engine.dispose(joined.value)
    const begun = joinGroup(this.#parts.kit, joinPackage, epoch, now())
    if (!begun.ok) return refuse(begun.code)
    const before = await this.#parts.end(groupId)
    const step = before === undefined ? begun.value : joinAnew(begun.value, before)
    const over =
      before === undefined
        ? []
        : await dropMembership(store, groupId, before.self.gen === step[0].self.gen)
    const dropped = this.#parts.invitations.drop(invitation)
    await this.#parts.begin(step, [
      ...over,
      ...dropped.ops,
      ...(await this.#parts.keys.used(own.keyPackageRef)),
    ])
    dropped.after()
    const group = this.#parts.get(groupId)
    invariant(group !== undefined, 'a group that was begun runs')
    return group
  }

  async #treeOf({ tree, treeHash, groupId }: JoinPackage, from: PeerId): Promise<Bytes> {
    if (tree.length > 0) return tree
    const { primitives } = this.#parts.options
    const none = printOf(primitives, []).print
    const hello = {
      groupId,
      tip: '0'.repeat(64) as never,
      records: 0,
      recordsPrint: none,
      logCount: 0,
      logPrint: none,
    }
    const found = await this.#parts.sync()?.tree(from, hello, treeHash, this.#parts.closing)
    if (found !== undefined) return found
    throw new ConclaveError('NETWORK_UNREACHABLE', 'the ratchet tree of the group is not at hand', {
      hint: 'it is fetched again while this node runs',
    })
  }
}
