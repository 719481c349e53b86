// What an observer of the whole simulation writes down: commits, sealed messages, and every key that anybody ever held.
// Members know nothing of it; invariants are checked against it.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { refKey } from '../../protocols/group/ids.ts'
import { decodePayload } from '../../protocols/group/payload.ts'
import type { MlsEngine, MlsEpoch, Pending } from '../../protocols/group/mls-engine.ts'
import type { CommitId, EntryInfo, FrameContent, RecordEntry } from '../../protocols/group/types.ts'
import { toCommitId } from '../../protocols/group/ids.ts'
import { native } from '../../src/crypto/native.ts'

/** The keys of an epoch as a member first held them: no later state of it opens more. */
export interface Hoarded {
  readonly snapshot: Bytes
  readonly treeHash: string
}

/** An application message as its author sealed it. */
export interface SealedMessage {
  readonly message: Bytes
  /** Names the message key: epoch, leaf, generation. */
  readonly key: string
  readonly by: PeerId
}

/** Something that a member asked to be sent. */
export interface Said {
  readonly by: PeerId
  readonly gen: number
  readonly text: string
  readonly at: number
  /** Who was on the roster in its author's eyes, by gen. */
  readonly hearers: ReadonlyMap<PeerId, number>
}

/** What a frame turned out to hold. */
export interface PublishedFrame {
  readonly by: PeerId
  readonly frame: Bytes
  readonly content: FrameContent
}

/** What one member told another in a sync. */
export interface SyncAnswer {
  readonly entries: readonly RecordEntry[]
  readonly acks: readonly Bytes[]
  readonly proofs: readonly Bytes[]
  /** The tip that was shown. */
  readonly tip: CommitId
}

/** How often what happened. */
export interface Tally {
  commits: number
  forks: number
  follows: number
  resumes: number
  resyncs: number
  salvaged: number
  joins: number
  crashes: number
  restores: number
  /** What bad members and ghosts did. */
  misdeeds: number
  /** What was sent again of old. */
  replays: number
  /** Commits that were final for somebody, and lost. */
  unsettled: number
}

const hashOf = (bytes: Bytes): string => formatHex(native.sha256(bytes))

/** The book of one simulation. */
export class Ledger {
  /** MLSMessages of commits, by id. */
  readonly commits: Map<CommitId, Bytes> = new Map<CommitId, Bytes>()
  readonly sealed: Map<string, SealedMessage> = new Map<string, SealedMessage>()
  readonly trees: Map<string, Bytes> = new Map<string, Bytes>()
  /** By peer, then by epoch. */
  readonly hoards: Map<PeerId, Map<CommitId, Hoarded>> = new Map<PeerId, Map<CommitId, Hoarded>>()
  readonly #seals = new Map<string, number>()
  readonly said: Said[] = []
  readonly published: PublishedFrame[] = []
  /** What syncs, GroupInfos and handoffs brought, to be sent again. */
  readonly answers: SyncAnswer[] = []
  readonly infos: (readonly [CommitId, EntryInfo])[] = []
  readonly handed: (readonly [PeerId, Bytes])[] = []
  readonly tally: Tally = {
    commits: 0,
    forks: 0,
    follows: 0,
    resumes: 0,
    resyncs: 0,
    salvaged: 0,
    joins: 0,
    crashes: 0,
    restores: 0,
    misdeeds: 0,
    replays: 0,
    unsettled: 0,
  }

  /** An engine whose commits and messages are written down. */
  watch(engine: MlsEngine, by: PeerId): MlsEngine {
    const keep = (pending: Pending): void => {
      this.commits.set(toCommitId(native.sha256(pending.commit)), pending.commit)
    }
    return {
      ...engine,
      commit: async (parent, p) => {
        const made = await engine.commit(parent, p)
        if (made.ok) keep(made.value)
        return made
      },
      externalJoin: async (p) => {
        const made = await engine.externalJoin(p)
        if (made.ok) keep(made.value)
        return made
      },
      seal: async (epoch: MlsEpoch, plaintext, aad) => {
        const sealed = await engine.seal(epoch, plaintext, aad)
        const { authenticator, ownLeaf } = engine.info(epoch)
        const key = `${formatHex(authenticator)}/${ownLeaf}/${sealed.generation}`
        this.sealed.set(hashOf(sealed.message), { message: sealed.message, key, by })
        this.#countSeal(plaintext)
        return sealed
      },
    }
  }

  /** True if a message was never sealed a second time. */
  isOnlyOnce(name: string): boolean {
    return this.#seals.get(name) === 1
  }

  #countSeal(plaintext: Bytes): void {
    const payload = decodePayload(plaintext)
    if (!payload.ok) return
    const name = `${refKey(payload.value.author)}/${payload.value.n}`
    const before = this.#seals.get(name) ?? 0
    if (before > 0) this.tally.salvaged += 1
    this.#seals.set(name, before + 1)
  }

  /** What the ledger knows of a sealed message. */
  sealedOf(message: Bytes): SealedMessage | undefined {
    return this.sealed.get(hashOf(message))
  }

  /** Keeps the first keys that a member had of an epoch. */
  hoard(peer: PeerId, id: CommitId, one: Hoarded): void {
    let hoard = this.hoards.get(peer)
    if (hoard === undefined) {
      hoard = new Map<CommitId, Hoarded>()
      this.hoards.set(peer, hoard)
    }
    if (!hoard.has(id)) hoard.set(id, one)
  }
}

/** What a frame holds, for a trace. */
export function describeContent(content: FrameContent): string {
  switch (content.kind) {
    case 'app':
      return `a message in ${content.branchId.slice(0, 6)}`
    case 'commit':
      return 'a commit'
    default:
      return content.kind
  }
}
