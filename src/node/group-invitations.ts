// Invitations: JoinPackages as they came, until they are joined by or declined. Floor 3.
// Table `group-invitation`: group → package, inviter, when it came, whether it is accepted.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { decodeJoinPackage } from '../../protocols/group/join-package.ts'
import { verifyRecord } from '../../protocols/group/commit-record.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { GroupId, JoinPackage } from '../../protocols/group/types.ts'
import { del, put } from '../store/types.ts'
import type { Op, Store } from '../store/types.ts'
import { packRow, unpackRow } from './group-rows.ts'

/* Implementation constants: ours to tune. */
/** Invitations that wait for an answer, and those of one inviter among them. */
export const INVITATIONS_MAX = 64
export const INVITATIONS_PER_INVITER_MAX = 8
/** Groups joined by themselves for strangers under `open`. */
export const OPEN_GROUPS_MAX = 64

const TABLE = 'group-invitation'

/** One invitation. */
export interface KeptInvitation {
  readonly groupId: GroupId
  readonly from: PeerId
  readonly receivedAt: TimeMs
  /** It is joined by as soon as can be. */
  readonly isAccepted: boolean
  readonly joinPackage: JoinPackage
  readonly bytes: Bytes
}

/** All invitations, in memory as on disk. */
export class Invitations {
  readonly #store: Store
  readonly #kept: Map<GroupId, KeptInvitation>

  private constructor(store: Store, kept: Map<GroupId, KeptInvitation>) {
    this.#store = store
    this.#kept = kept
  }

  static async open(store: Store): Promise<Invitations> {
    const kept = new Map<GroupId, KeptInvitation>()
    for await (const { value } of store.rows(TABLE)) {
      const [bytes, from, receivedAt, isAccepted] = unpackRow(value) as [
        Bytes,
        PeerId,
        TimeMs,
        boolean,
      ]
      const joinPackage = decodeJoinPackage(bytes)
      if (!joinPackage.ok) continue
      const { groupId } = joinPackage.value
      const one = { groupId, from, receivedAt, isAccepted, joinPackage: joinPackage.value, bytes }
      kept.set(groupId, one)
    }
    return new Invitations(store, kept)
  }

  get(groupId: GroupId): KeptInvitation | undefined {
    return this.#kept.get(groupId)
  }

  /** Those that wait for an answer, oldest first. */
  waiting(): KeptInvitation[] {
    const waiting = [...this.#kept.values()].filter(({ isAccepted }) => !isAccepted)
    return waiting.sort((a, b) => a.receivedAt - b.receivedAt)
  }

  accepted(): KeptInvitation[] {
    return [...this.#kept.values()].filter(({ isAccepted }) => isAccepted)
  }

  /** True if another one of this inviter may wait. */
  hasRoom(from: PeerId): boolean {
    const waiting = this.waiting()
    const theirs = waiting.filter((one) => one.from === from)
    return waiting.length < INVITATIONS_MAX && theirs.length < INVITATIONS_PER_INVITER_MAX
  }

  /** The row of an invitation, and what to call once it is durable. */
  keep(one: KeptInvitation): { readonly ops: readonly Op[]; readonly after: () => void } {
    const row = packRow(one.bytes, one.from, one.receivedAt, one.isAccepted)
    return {
      ops: [put(TABLE, one.groupId, row)],
      after: () => void this.#kept.set(one.groupId, one),
    }
  }

  async accept(one: KeptInvitation): Promise<KeptInvitation> {
    const accepted = { ...one, isAccepted: true }
    const { ops, after } = this.keep(accepted)
    await this.#store.commit(ops)
    after()
    return accepted
  }

  /** The row that ends an invitation, and what to call once it is durable; nothing if a newer one has taken its place. */
  drop({ groupId, bytes }: KeptInvitation): {
    readonly ops: readonly Op[]
    readonly after: () => void
  } {
    const isKept = (): boolean => this.#kept.get(groupId)?.bytes === bytes
    return {
      ops: isKept() ? [del(TABLE, groupId)] : [],
      after: () => {
        if (isKept()) this.#kept.delete(groupId)
      },
    }
  }

  async decline(one: KeptInvitation): Promise<void> {
    const { ops, after } = this.drop(one)
    await this.#store.commit(ops)
    after()
  }
}

/** Reads a JoinPackage that a peer handed over: it must be the author of the commit that adds us. */
export function readInvitation(
  primitives: Primitives,
  from: PeerId,
  content: Bytes,
): JoinPackage | undefined {
  const joinPackage = decodeJoinPackage(content)
  if (!joinPackage.ok) return undefined
  const record = verifyRecord(primitives, joinPackage.value.record)
  return record.ok && record.value.author.peer === from ? joinPackage.value : undefined
}
