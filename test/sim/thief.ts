// Attackers with keys: a removed member with everything that it ever held, and a thief with a copy of a store.
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Identity, MlsEngine, MlsEpoch } from '../../protocols/group/mls-engine.ts'
import type { CommitId } from '../../protocols/group/types.ts'
import { GROUP_TABLES, unpackRow } from '../../src/node/group-rows.ts'
import type { Tables } from './sim-store.ts'
import type { World } from './world.ts'

/** Where a commit hangs. */
export type ParentOf = (id: CommitId) => CommitId | undefined

/** What one member can derive from all that it ever held, following every commit of the world. */
export class Hoarder {
  readonly #world: World
  readonly #engine: MlsEngine
  readonly #self: Identity
  readonly #reached = new Map<CommitId, MlsEpoch | undefined>()
  #hoarded = 0

  constructor(world: World, self: Identity) {
    this.#world = world
    this.#self = self
    this.#engine = world.makeEngine(world.chance.fork(`hoarder ${self.peer}`))
  }

  /** True if any of its states opens a message of this epoch. */
  async opens(id: CommitId, message: Bytes, parentOf: ParentOf): Promise<boolean> {
    const hoard = this.#world.ledger.hoards.get(this.#self.peer)
    if (hoard?.size !== this.#hoarded) {
      this.#hoarded = hoard?.size ?? 0
      for (const [known, epoch] of this.#reached) if (!epoch) this.#reached.delete(known)
    }
    const epoch = await this.#reach(id, parentOf)
    return epoch !== undefined && (await this.#engine.open(epoch, message)).ok
  }

  async #reach(id: CommitId, parentOf: ParentOf): Promise<MlsEpoch | undefined> {
    if (this.#reached.has(id)) return this.#reached.get(id)
    const { ledger } = this.#world
    const kept = ledger.hoards.get(this.#self.peer)?.get(id)
    const tree = kept && ledger.trees.get(kept.treeHash)
    let epoch: MlsEpoch | undefined
    if (kept !== undefined && tree !== undefined) {
      epoch = await this.#engine.restore(kept.snapshot, tree, this.#self)
    } else {
      const [parentId, commit] = [parentOf(id), ledger.commits.get(id)]
      const parent = parentId && (await this.#reach(parentId, parentOf))
      if (parent !== undefined && commit !== undefined) {
        const followed = await this.#engine.process(parent, commit)
        if (followed.ok && followed.value.kind === 'advanced') epoch = followed.value.child
      }
    }
    this.#reached.set(id, epoch)
    return epoch
  }
}

/** The epochs that a stolen copy of a member's rows restores. */
export async function restoreStolen(
  world: World,
  tables: Tables,
  self: Identity,
  engine: MlsEngine = world.makeEngine(world.chance.fork(`thief ${world.timeline.elapsedMs}`)),
): Promise<{ readonly engine: MlsEngine; readonly epochs: ReadonlyMap<CommitId, MlsEpoch> }> {
  const epochs = new Map<CommitId, MlsEpoch>()
  for (const [key, row] of tables.get(GROUP_TABLES.snapshot) ?? []) {
    const [, id = ''] = key.split('/')
    const epochRow = tables.get(GROUP_TABLES.epoch)?.get(key)
    const tree = epochRow && treeIn(tables, key, unpackRow(epochRow)[4] as Bytes)
    if (tree === undefined) continue
    epochs.set(id as CommitId, await engine.restore(unpackRow(row)[0] as Bytes, tree, self))
  }
  return { engine, epochs }
}

function treeIn(tables: Tables, key: string, treeHash: Bytes): Bytes | undefined {
  const [groupId = ''] = key.split('/')
  const row = tables.get(GROUP_TABLES.tree)?.get(`${groupId}/${formatHex(treeHash)}`)
  return row === undefined ? undefined : (unpackRow(row)[0] as Bytes)
}

/** Hoarders by peer, made when first needed. */
export class Hoarders {
  readonly #world: World
  readonly #known = new Map<PeerId, Hoarder>()

  constructor(world: World) {
    this.#world = world
  }

  of(peer: PeerId): Hoarder | undefined {
    const known = this.#known.get(peer)
    if (known !== undefined) return known
    const member = this.#world.members.get(peer)
    if (member === undefined) return undefined
    const hoarder = new Hoarder(this.#world, member.identity)
    this.#known.set(peer, hoarder)
    return hoarder
  }
}
