// Engine calls as jobs: started by the machine's effects, answered by its events (spec.md §4.3). Floor 0: no I/O of
// its own; rows are read through a port. Handles live here, and only those of durable states are used.
import { equalBytes } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import type { Decoded } from '../base/decode.ts'
import type { PeerId } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import type { TimeMs } from '../base/time.ts'
import { idBytes, toBranchId, toCommitId } from './ids.ts'
import type {
  CommitContent,
  EngineCode,
  Identity,
  MlsEngine,
  MlsEpoch,
  Pending,
  Proposal,
  WelcomeFor,
} from './mls-engine.ts'
import {
  BRANCH_ID_BYTES,
  EXPORT_BODY,
  EXPORT_BRANCH,
  EXPORT_RANK,
  EXPORT_TRANSPORT,
  TX_BYTES,
} from './types.ts'
import type { BranchId, CommitId, EntryInfo, FrameId, MemberRef } from './types.ts'

/** Handles kept in memory for one group; others are restored from their rows. */
const HANDLES_MAX = 12
const KEY_BYTES = 32
const NOTHING = new Uint8Array(0)

/** One engine call. */
export type Job =
  | {
      readonly kind: 'follow'
      readonly parent: CommitId
      readonly commitId: CommitId
      readonly commit: Bytes
    }
  /** Adopts an own commit by its checkpoint. */
  | { readonly kind: 'resume'; readonly commitId: CommitId; readonly treeHash: Bytes }
  /** Enters an epoch from outside: makes an external commit on it. */
  | {
      readonly kind: 'resync'
      readonly parent: CommitId
      readonly info: EntryInfo
      /** What the parent's record says of the GroupInfo. */
      readonly groupInfoHash: Bytes
      readonly nowMs: TimeMs
    }
  | {
      readonly kind: 'commit'
      readonly parent: CommitId
      readonly proposals: readonly Proposal[]
      readonly intents: readonly number[]
      /** Members whose Leave it executes. */
      readonly leaves: readonly PeerId[]
      readonly nowMs: TimeMs
    }
  | {
      readonly kind: 'seal'
      readonly epoch: CommitId
      readonly letters: readonly { readonly n: number; readonly payload: Bytes }[]
      /** Others' messages, by whose rows they are read. */
      readonly kept: readonly { readonly author: MemberRef; readonly n: number }[]
    }
  | {
      readonly kind: 'open'
      readonly epoch: CommitId
      readonly messages: readonly { readonly frameId: FrameId; readonly message: Bytes }[]
    }

/** Everything the machine needs of an epoch that is new to it. */
export interface NewEpoch {
  readonly branchId: BranchId
  readonly bodyKey: Bytes
  readonly rankKey: Bytes
  /** Transport secret, if the commit begins a generation. */
  readonly tx: Bytes
  readonly authenticator: Bytes
  readonly treeHash: Bytes
  readonly tree: Bytes
  readonly groupInfoHash: Bytes
  readonly roster: readonly PeerId[]
  readonly policy: Bytes
  readonly epoch: number
  readonly snapshot: Bytes
}

/** What became of a message. */
export type OpenedMessage =
  | {
      readonly frameId: FrameId
      readonly ok: true
      readonly plaintext: Bytes
      readonly sender: PeerId
      readonly generation: number
    }
  | { readonly frameId: FrameId; readonly ok: false; readonly code: EngineCode }

/** What a job answers. */
export type JobResult =
  | { readonly kind: 'followed'; readonly epoch: NewEpoch; readonly content?: CommitContent }
  | { readonly kind: 'removed'; readonly content: CommitContent }
  | {
      readonly kind: 'committed'
      readonly commitId: CommitId
      readonly commit: Bytes
      readonly welcomes: readonly WelcomeFor[]
      readonly checkpoint: Bytes
      readonly epoch: NewEpoch
    }
  | {
      readonly kind: 'sealed'
      readonly letters: readonly Bytes[]
      /** Absent where the payload is not there any more. */
      readonly kept: readonly (Bytes | undefined)[]
      readonly snapshot: Bytes
    }
  | {
      readonly kind: 'opened'
      readonly messages: readonly OpenedMessage[]
      readonly snapshot: Bytes
    }
  | { readonly kind: 'refused'; readonly code: EngineCode }
  /** It could not be run: the store failed. It is started anew. */
  | { readonly kind: 'lost' }

/** Where rows of this group's epochs are read. Throws what the store throws. */
export interface EpochRows {
  snapshot(id: CommitId): Promise<{ readonly snapshot: Bytes; readonly tree: Bytes } | undefined>
  checkpoint(id: CommitId): Promise<Bytes | undefined>
  tree(treeHash: Bytes): Promise<Bytes | undefined>
  /** The signed Payload of a message that was kept. */
  kept(author: MemberRef, n: number): Promise<Bytes | undefined>
}

/** What the runner is made with. */
export interface JobParts {
  readonly engine: MlsEngine
  readonly primitives: Primitives
  readonly self: Identity
  readonly rows: EpochRows
}

/** Runs the jobs of one group, one at a time. */
export interface JobRunner {
  /** Runs a job. Throws only what the store throws, or for a damaged row. */
  run(job: Job): Promise<JobResult>
  /** A signed GroupInfo of an epoch that is at hand; needs no turn among the jobs. */
  groupInfo(id: CommitId): Promise<Bytes | undefined>
  /** The handle that the last job made of this epoch is durable now: use it. */
  keep(id: CommitId): void
  /** The epoch is gone: its secrets are wiped. */
  drop(id: CommitId): void
  /** Forgets all handles: they are restored from rows when needed again. */
  reset(): void
}

/** Exports and describes an epoch that a commit has made. */
export async function describeEpoch(
  engine: MlsEngine,
  handle: MlsEpoch,
  commitId: CommitId,
): Promise<NewEpoch> {
  const id = idBytes(commitId)
  const info = engine.info(handle)
  return {
    branchId: toBranchId(await engine.export(handle, EXPORT_BRANCH, id, BRANCH_ID_BYTES)),
    bodyKey: await engine.export(handle, EXPORT_BODY, id, KEY_BYTES),
    rankKey: await engine.export(handle, EXPORT_RANK, id, KEY_BYTES),
    tx: await engine.export(handle, EXPORT_TRANSPORT, id, TX_BYTES),
    authenticator: info.authenticator,
    treeHash: info.treeHash,
    tree: engine.tree(handle),
    groupInfoHash: info.groupInfoHash,
    roster: info.roster.map(({ peer }) => peer),
    policy: info.policy,
    epoch: info.epoch,
    snapshot: engine.snapshot(handle, 'full'),
  }
}

/** Makes the runner of one group. */
export function makeJobRunner(parts: JobParts): JobRunner {
  return new Runner(parts)
}

class Runner implements JobRunner {
  readonly #parts: JobParts
  readonly #handles = new Map<CommitId, MlsEpoch>()
  #made: { readonly id: CommitId; readonly handle: MlsEpoch } | undefined

  constructor(parts: JobParts) {
    this.#parts = parts
  }

  keep(id: CommitId): void {
    if (this.#made?.id !== id) return
    this.#drop(id)
    this.#handles.set(id, this.#made.handle)
    this.#made = undefined
    const [oldest] = this.#handles.keys()
    if (this.#handles.size > HANDLES_MAX && oldest !== undefined) this.#drop(oldest)
  }

  drop(id: CommitId): void {
    this.#drop(id)
  }

  reset(): void {
    for (const id of [...this.#handles.keys()]) this.#drop(id)
    this.#forgetMade()
  }

  async run(job: Job): Promise<JobResult> {
    this.#forgetMade()
    switch (job.kind) {
      case 'follow':
        return this.#follow(job)
      case 'resume':
        return this.#resume(job)
      case 'resync':
        return this.#resync(job)
      case 'commit':
        return this.#commit(job)
      case 'seal':
        return this.#seal(job)
      case 'open':
        return this.#open(job)
    }
  }

  async groupInfo(id: CommitId): Promise<Bytes | undefined> {
    const { engine, rows, self } = this.#parts
    const row = await rows.snapshot(id)
    if (row === undefined) return undefined
    const handle = await engine.restore(row.snapshot, row.tree, self)
    const groupInfo = await engine.groupInfo(handle)
    engine.dispose(handle)
    return groupInfo
  }

  async #follow({
    parent,
    commitId,
    commit,
  }: Extract<Job, { kind: 'follow' }>): Promise<JobResult> {
    const { engine } = this.#parts
    const handle = await this.#handle(parent)
    if (handle === undefined) return { kind: 'refused', code: 'GROUP_EPOCH_UNKNOWN' }
    const processed = await engine.process(handle, commit)
    if (!processed.ok) return { kind: 'refused', code: processed.code }
    const { content } = processed.value
    if (processed.value.kind === 'removed') return { kind: 'removed', content }
    const { child } = processed.value
    this.#made = { id: commitId, handle: child }
    return { kind: 'followed', epoch: await describeEpoch(engine, child, commitId), content }
  }

  async #resume({ commitId, treeHash }: Extract<Job, { kind: 'resume' }>): Promise<JobResult> {
    const { engine, rows, self } = this.#parts
    const checkpoint = await rows.checkpoint(commitId)
    const tree = await rows.tree(treeHash)
    if (checkpoint === undefined || tree === undefined) {
      return { kind: 'refused', code: 'GROUP_EPOCH_UNKNOWN' }
    }
    const { child } = await engine.resume(checkpoint, tree, self)
    this.#made = { id: commitId, handle: child }
    return { kind: 'followed', epoch: await describeEpoch(engine, child, commitId) }
  }

  async #commit(job: Extract<Job, { kind: 'commit' }>): Promise<JobResult> {
    const { engine } = this.#parts
    const parent = await this.#handle(job.parent)
    if (parent === undefined) return { kind: 'refused', code: 'GROUP_EPOCH_UNKNOWN' }
    const { proposals, nowMs } = job
    return this.#committed(await engine.commit(parent, { proposals, nowMs }))
  }

  async #resync({
    info,
    groupInfoHash,
    nowMs,
  }: Extract<Job, { kind: 'resync' }>): Promise<JobResult> {
    const { engine, self } = this.#parts
    const { groupInfo, tree } = info
    const facts = engine.readGroupInfo(groupInfo)
    if (!facts.ok || !equalBytes(facts.value.groupInfoHash, groupInfoHash)) {
      return { kind: 'refused', code: 'GROUP_COMMIT_INVALID' }
    }
    return this.#committed(await engine.externalJoin({ groupInfo, tree, self, nowMs }))
  }

  async #committed(pending: Decoded<Pending, EngineCode>): Promise<JobResult> {
    const { engine, primitives } = this.#parts
    if (!pending.ok) return { kind: 'refused', code: pending.code }
    const { child, commit, welcomes } = pending.value
    const commitId = toCommitId(primitives.sha256(commit))
    this.#made = { id: commitId, handle: child }
    const checkpoint = engine.checkpoint(pending.value)
    const epoch = await describeEpoch(engine, child, commitId)
    return { kind: 'committed', commitId, commit, welcomes, checkpoint, epoch }
  }

  async #seal({ epoch, letters, kept }: Extract<Job, { kind: 'seal' }>): Promise<JobResult> {
    const { engine, rows } = this.#parts
    const handle = await this.#handle(epoch)
    if (handle === undefined) return { kind: 'refused', code: 'GROUP_EPOCH_UNKNOWN' }
    let next = handle
    const seal = async (payload: Bytes): Promise<Bytes> => {
      const sealed = await engine.seal(next, payload, NOTHING)
      this.#supersede(next, handle)
      ;({ next } = sealed)
      return sealed.message
    }
    const sealedLetters: Bytes[] = []
    for (const { payload } of letters) sealedLetters.push(await seal(payload))
    const sealedKept: (Bytes | undefined)[] = []
    for (const { author, n } of kept) {
      const payload = await rows.kept(author, n)
      sealedKept.push(payload && (await seal(payload)))
    }
    this.#made = { id: epoch, handle: next }
    const snapshot = engine.snapshot(next, 'full')
    return { kind: 'sealed', letters: sealedLetters, kept: sealedKept, snapshot }
  }

  async #open({ epoch, messages }: Extract<Job, { kind: 'open' }>): Promise<JobResult> {
    const { engine } = this.#parts
    const handle = await this.#handle(epoch)
    if (handle === undefined) return { kind: 'refused', code: 'GROUP_EPOCH_UNKNOWN' }
    const opened: OpenedMessage[] = []
    let next = handle
    for (const { frameId, message } of messages) {
      const one = await engine.open(next, message)
      if (!one.ok) {
        opened.push({ frameId, ok: false, code: one.code })
        continue
      }
      this.#supersede(next, handle)
      next = one.value.next
      const { plaintext, sender, generation } = one.value
      opened.push({ frameId, ok: true, plaintext, sender, generation })
    }
    this.#made = { id: epoch, handle: next }
    return { kind: 'opened', messages: opened, snapshot: engine.snapshot(next, 'full') }
  }

  async #handle(id: CommitId): Promise<MlsEpoch | undefined> {
    const known = this.#handles.get(id)
    if (known !== undefined) return known
    const { engine, rows, self } = this.#parts
    const row = await rows.snapshot(id)
    if (row === undefined) return undefined
    const handle = await engine.restore(row.snapshot, row.tree, self)
    this.#handles.set(id, handle)
    return handle
  }

  /** Disposes of a handle between the first and the last of a job. */
  #supersede(one: MlsEpoch, first: MlsEpoch): void {
    if (one !== first) this.#parts.engine.dispose(one)
  }

  #forgetMade(): void {
    const made = this.#made
    this.#made = undefined
    if (made !== undefined && this.#handles.get(made.id) !== made.handle) {
      this.#parts.engine.dispose(made.handle)
    }
  }

  #drop(id: CommitId): void {
    const handle = this.#handles.get(id)
    this.#handles.delete(id)
    if (handle !== undefined && handle !== this.#made?.handle) this.#parts.engine.dispose(handle)
  }
}
