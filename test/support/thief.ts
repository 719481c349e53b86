// Who has a copy of a member's opened store, every byte that was ever published, and the real engine: what does it read?
import type { Bytes } from '../../protocols/base/bytes.ts'
import { formatHex } from '../../protocols/base/bytes.ts'
import { openFrame } from '../../protocols/group/frame.ts'
import { idBytes, toCommitId } from '../../protocols/group/ids.ts'
import { openBody } from '../../protocols/group/keys.ts'
import type { Generation } from '../../protocols/group/keys.ts'
import type { MlsEngine, MlsEpoch } from '../../protocols/group/mls-engine.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import type { GroupState } from '../../protocols/group/state.ts'
import { EXPORT_BODY } from '../../protocols/group/types.ts'
import type { CommitId, GroupId } from '../../protocols/group/types.ts'
import { native } from '../../src/crypto/native.ts'
import { loadGroup } from '../../src/node/group-load.ts'
import { GROUP_TABLES, unpackRow } from '../../src/node/group-rows.ts'
import type { Store } from '../../src/store/types.ts'
import { seededBytes, seededPeer } from './seeded.ts'

/** An application message as it was on the wire. */
export interface Heard {
  readonly author: string
  readonly message: Bytes
}

/** A frame and who published it. */
export interface Published {
  readonly by: string
  readonly frame: Bytes
}

/** What was said in frames that these generations open. */
export function messagesIn(
  published: readonly Published[],
  generations: Iterable<Generation>,
): Heard[] {
  const all = [...generations]
  return published.flatMap(({ by, frame }) => {
    for (const generation of all) {
      const content = openFrame(native, generation, frame)
      if (content.ok && content.value.kind === 'app') {
        return [{ author: by, message: content.value.message }]
      }
    }
    return []
  })
}

/** One stolen store, with all its epochs at hand. */
export class Thief {
  readonly state: GroupState
  readonly #engine: MlsEngine
  /** Epochs whose secrets are rows. */
  readonly #stolen: readonly (readonly [CommitId, MlsEpoch])[]

  private constructor(
    state: GroupState,
    engine: MlsEngine,
    stolen: readonly (readonly [CommitId, MlsEpoch])[],
  ) {
    this.state = state
    this.#engine = engine
    this.#stolen = stolen
  }

  static async of(name: string, groupId: GroupId, store: Store): Promise<Thief> {
    const state = await loadGroup(store, native, groupId)
    if (state === undefined) throw new Error('nothing was stolen')
    const engine = makeMlsEngine({ primitives: native, random: seededBytes(`thief of ${name}`) })
    const self = seededPeer(name)
    const trees = await readRows(store, GROUP_TABLES.tree, groupId)
    const epochs = await readRows(store, GROUP_TABLES.epoch, groupId)
    // The tree that belongs to it, or, where that row is gone, any: trees are public.
    const treesFor = (hash: unknown): Bytes[] => {
      const own = hash === undefined ? undefined : trees.get(formatHex(hash as Bytes))
      return (own === undefined ? [...trees.values()] : [own]).map(([tree]) => tree as Bytes)
    }
    const stolen: (readonly [CommitId, MlsEpoch])[] = []
    for (const [id, [row]] of await readRows(store, GROUP_TABLES.snapshot, groupId)) {
      for (const tree of treesFor(epochs.get(id)?.[4])) {
        const handle = await engine.restore(row as Bytes, tree, self).catch(() => undefined)
        if (handle !== undefined) stolen.push([id as CommitId, handle])
      }
    }
    for (const [id, [hash, , row]] of await readRows(store, GROUP_TABLES.checkpoint, groupId)) {
      for (const tree of treesFor(hash)) {
        const own = await engine.resume(row as Bytes, tree, self).catch(() => undefined)
        if (own !== undefined) stolen.push([id as CommitId, own.child])
      }
    }
    return new Thief(state, engine, stolen)
  }

  /** The epochs of its rows, by number. */
  get epochs(): number[] {
    return numbersOf(this.#engine, this.#stolen)
  }

  /** The same, and those that recorded commits lead to. */
  async reach(): Promise<Reached> {
    const { chain } = this.state
    const reached = [...this.#stolen]
    const derived = new Set<CommitId>()
    for (const [id, handle] of reached) {
      const bodyKey = await this.#engine.export(handle, EXPORT_BODY, idBytes(id), 32)
      for (const child of chain.children.get(id) ?? []) {
        if (derived.has(child)) continue
        const body = chain.nodes.get(child)?.entry.body
        const commit = body && openBody(native, bodyKey, child, body)
        if (commit === undefined || toCommitId(native.sha256(commit)) !== child) continue
        const done = await this.#engine.process(handle, commit)
        if (!done.ok || done.value.kind !== 'advanced') continue
        reached.push([child, done.value.child])
        derived.add(child)
      }
    }
    return new Reached(this.#engine, reached)
  }

  /** What the keys in its rows open as they are. */
  asStored(): Reached {
    return new Reached(this.#engine, this.#stolen)
  }

  /** The generations that the member would seal with next, by epoch: earlier ones are not derivable. */
  async nextSealed(): Promise<Map<CommitId, number[]>> {
    const next = new Map<CommitId, number[]>()
    for (const [id, handle] of this.#stolen) {
      const { generation } = await this.#engine.seal(handle, new Uint8Array(1), new Uint8Array(0))
      next.set(id, [...(next.get(id) ?? []), generation])
    }
    return next
  }
}

/** Epochs whose secrets somebody has. */
export class Reached {
  readonly #engine: MlsEngine
  readonly #epochs: readonly (readonly [CommitId, MlsEpoch])[]

  constructor(engine: MlsEngine, epochs: readonly (readonly [CommitId, MlsEpoch])[]) {
    this.#engine = engine
    this.#epochs = epochs
  }

  get epochs(): number[] {
    return numbersOf(this.#engine, this.#epochs)
  }

  /** Those of the messages that any of the epochs opens. */
  async open(messages: readonly Heard[]): Promise<Heard[]> {
    const opened: Heard[] = []
    for (const one of messages) {
      for (const [, handle] of this.#epochs) {
        const answer = await this.#engine.open(handle, one.message)
        if (!answer.ok) continue
        opened.push(one)
        break
      }
    }
    return opened
  }
}

function numbersOf(
  engine: MlsEngine,
  epochs: readonly (readonly [CommitId, MlsEpoch])[],
): number[] {
  return [...new Set(epochs.map(([, handle]) => engine.info(handle).epoch))].sort((a, b) => a - b)
}

async function readRows(
  store: Store,
  table: string,
  groupId: GroupId,
): Promise<Map<string, readonly unknown[]>> {
  const found = new Map<string, readonly unknown[]>()
  for await (const { key, value } of store.rows(table, { prefix: `${groupId}/` })) {
    found.set(key.slice(groupId.length + 1), unpackRow(value))
  }
  return found
}
