// A group whose members all sit in one test: who commits, who follows, and whether they agree.
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import type {
  MlsEngine,
  MlsEpoch,
  OwnKeyPackage,
  Pending,
  Processed,
  Proposal,
} from '../../protocols/group/mls-engine.ts'
import { seededPeer } from './seeded.ts'
import type { SeededPeer } from './seeded.ts'

/** The hour of all rooms. */
export const NOW: TimeMs = toTimeMs(1_800_000_000_000)

/** The value of an answer that must be one. */
export function must<T>(answer: Decoded<T>): T {
  if (!answer.ok) throw new Error(`refused: ${answer.code}`)
  return answer.value
}

/** The code of an answer that must be a refusal. */
export function codeOf(answer: Decoded<unknown>): string {
  return answer.ok ? 'accepted' : answer.code
}

/** Copies bytes and flips one bit. */
export function flipped(bytes: Bytes, at: number, bit = 0): Bytes {
  const copy = bytes.slice()
  copy[at] = (copy[at] ?? 0) ^ (1 << bit)
  return copy
}

/** The child of a commit that must advance whoever follows it. */
export function advance(processed: Processed): MlsEpoch {
  if (processed.kind !== 'advanced') throw new Error('removed instead of advanced')
  return processed.child
}

/** A group in one place. */
export class Room {
  readonly engine: MlsEngine
  readonly members: Map<string, MlsEpoch> = new Map<string, MlsEpoch>()
  /** What the last commit was. */
  last: Pending | undefined

  constructor(engine: MlsEngine) {
    this.engine = engine
  }

  /** Begins a group with the first name and adds the others in one commit. */
  static async of(engine: MlsEngine, ...names: string[]): Promise<Room> {
    const room = new Room(engine)
    const [first = 'alice', ...others] = names
    const [groupId, policy] = [new Uint8Array(32).fill(7), Uint8Array.of(1, 2, 3)]
    const self = Room.peer(first)
    room.members.set(first, await engine.create({ groupId, self, policy, nowMs: NOW }))
    if (others.length > 0) await room.add(first, ...others)
    return room
  }

  static peer(name: string): SeededPeer {
    return seededPeer(name)
  }

  at(name: string): MlsEpoch {
    const epoch = this.members.get(name)
    if (epoch === undefined) throw new Error(`${name} is not here`)
    return epoch
  }

  keyPackage(name: string): Promise<OwnKeyPackage> {
    return this.engine.keyPackage(Room.peer(name), { nowMs: NOW })
  }

  /** Commits as `by` on its current epoch, without anybody adopting it. */
  async propose(by: string, ...proposals: Proposal[]): Promise<Pending> {
    return must(await this.engine.commit(this.at(by), { proposals, nowMs: NOW }))
  }

  /** Commits as `by`, and everybody follows. */
  async commit(by: string, ...proposals: Proposal[]): Promise<Pending> {
    const pending = await this.propose(by, ...proposals)
    await this.adopt(by, pending)
    return pending
  }

  /** Everybody follows a commit of `by`. */
  async adopt(by: string, pending: Pending): Promise<void> {
    for (const [name, epoch] of [...this.members]) {
      if (name === by) continue
      const processed = must(await this.engine.process(epoch, pending.commit))
      if (processed.kind === 'removed') this.members.delete(name)
      else this.members.set(name, processed.child)
    }
    this.members.set(by, pending.child)
    this.last = pending
  }

  /** Adds members in one commit of `by`; they join. */
  async add(by: string, ...names: string[]): Promise<Pending> {
    const own = await Promise.all(names.map((name) => this.keyPackage(name)))
    const proposals = own.map(({ keyPackage }) => ({ kind: 'add' as const, keyPackage }))
    const pending = await this.commit(by, ...proposals)
    const tree = this.engine.tree(pending.child)
    for (const [i, name] of names.entries()) {
      const welcome = pending.welcomes[i]?.welcome ?? new Uint8Array(0)
      const secret = own[i]?.secret ?? new Uint8Array(0)
      const self = Room.peer(name)
      this.members.set(name, must(await this.engine.join({ welcome, secret, tree, self })))
    }
    return pending
  }

  /** Resyncs a member through the GroupInfo of another. */
  async resync(name: string, through: string): Promise<Pending> {
    const groupInfo = await this.engine.groupInfo(this.at(through))
    const tree = this.engine.tree(this.at(through))
    const self = Room.peer(name)
    const joined = await this.engine.externalJoin({ groupInfo, tree, self, nowMs: NOW })
    const pending = must(joined)
    await this.adopt(name, pending)
    return pending
  }

  /** Asserts that all members agree on everything. */
  agree(): void {
    const views = [...this.members.values()].map((epoch) => {
      const { authenticator, treeHash, context, groupInfoHash, confirmationTag, roster } =
        this.engine.info(epoch)
      const hex = [authenticator, treeHash, context, groupInfoHash, confirmationTag].map(formatHex)
      return [...hex, ...roster.map(({ peer, leafIndex }) => `${String(leafIndex)} ${peer}`)]
    })
    for (const view of views) assert.equal(view, views[0])
  }

  /** Sends one message and asserts that all others read it. */
  async talk(by: string, text: string): Promise<void> {
    const { engine } = this
    const aad = Uint8Array.of(9)
    const sealed = await engine.seal(this.at(by), new TextEncoder().encode(text), aad)
    this.members.set(by, sealed.next)
    for (const [name, epoch] of [...this.members]) {
      if (name === by) continue
      const opened = must(await engine.open(epoch, sealed.message))
      assert.is(new TextDecoder().decode(opened.plaintext), text)
      assert.is(opened.sender, Room.peer(by).peer)
      assert.is(opened.generation, sealed.generation)
      assert.equal(opened.aad, aad)
      this.members.set(name, opened.next)
    }
  }
}
