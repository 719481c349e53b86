// The MLS engine: handles around states, refusals as values. Floor 0, pure: randomness is injected.
//
// Structures and codecs are those of ts-mls 1.6.4; tree, path, schedule and protection are made here, because
// ts-mls 1.6.4 cannot force a path, refuses valid trees at joining, and hashes the whole tree each time (spec §8).
import type { Bytes } from '../../base/bytes.ts'
import { ConclaveError } from '../../base/errors.ts'
import type { Primitives } from '../../base/primitives.ts'
import type { MlsEngine, MlsEpoch, Pending, PublicInfo } from '../mls-engine.ts'
import { openMessage, sealMessage } from './messages/application.ts'
import { encodeTree } from './messages/codec.ts'
import { makeCommit } from './commit.ts'
import type { OwnCommit } from './commit.ts'
import { makeResync } from './external.ts'
import {
  makeExternalGroupInfo,
  readExternalGroupInfo,
  toGroupInfoFacts,
} from './messages/group-info.ts'
import { createGroup, joinGroup } from './join.ts'
import {
  encodeOwn,
  makeKeyPackage,
  readKeyPackage,
  toFacts,
  wipeOwn,
} from './messages/key-package.ts'
import { exportSecret } from './keys/key-schedule.ts'
import { makeSuite } from './keys/suite.ts'
import { followCommit } from './process.ts'
import { answering, answeringNow } from './refusal.ts'
import { decodeCheckpoint, decodeSnapshot, encodeCheckpoint, encodeSnapshot } from './snapshot.ts'
import { disposeState, toPublicInfo } from './state.ts'
import type { EpochState } from './state.ts'

/** What the engine is made from. */
export interface MlsEngineParts {
  readonly primitives: Primitives
  /** Fresh random bytes; a seeded source makes every output repeatable. */
  readonly random: (count: number) => Bytes
}

interface Held {
  readonly state: EpochState
  info?: PublicInfo
}

/** An empty object: what it stands for is only in the engine's own table. */
class Handle {
  toJSON(): string {
    return '[epoch]'
  }
}

class HandleTable {
  readonly #held = new WeakMap<object, Held>()

  add(state: EpochState): MlsEpoch {
    const handle = Object.freeze(new Handle())
    this.#held.set(handle, { state })
    return handle as unknown as MlsEpoch
  }

  find(epoch: MlsEpoch): Held {
    const held = this.#held.get(epoch)
    if (held === undefined) {
      throw new ConclaveError('BUG_INVARIANT', 'this epoch is disposed or of another engine')
    }
    return held
  }

  drop(epoch: MlsEpoch): EpochState | undefined {
    const held = this.#held.get(epoch)
    this.#held.delete(epoch)
    return held?.state
  }
}

/** Makes an engine. */
export function makeMlsEngine({ primitives, random }: MlsEngineParts): MlsEngine {
  const suite = makeSuite(primitives, random)
  const table = new HandleTable()
  const stateOf = (epoch: MlsEpoch): EpochState => table.find(epoch).state
  const toPending = ({ child, commit, welcomes }: OwnCommit): Pending => ({
    child: table.add(child),
    commit,
    welcomes,
  })

  return {
    create: (p) => settle(() => table.add(createGroup(suite, p))),
    keyPackage: (self, { nowMs, lastResort = false }) =>
      settle(() => {
        const own = makeKeyPackage(suite, self, nowMs, lastResort)
        const encoded = encodeOwn(own)
        wipeOwn(own)
        return encoded
      }),
    readKeyPackage: (bytes) => answering(() => toFacts(readKeyPackage(suite, bytes))),
    join: (p) => answering(async () => table.add(await joinGroup(suite, p))),
    externalJoin: (p) => answering(async () => toPending(await makeResync(suite, p))),
    commit: (parent, { proposals, nowMs }) =>
      answering(() => toPending(makeCommit(suite, stateOf(parent), proposals, nowMs))),
    process: (parent, commit) =>
      answering(() => {
        const { child, content } = followCommit(suite, stateOf(parent), commit)
        if (child === undefined) return { kind: 'removed', content } as const
        return { kind: 'advanced', child: table.add(child), content } as const
      }),
    seal: (e, plaintext, aad) =>
      settle(() => {
        const { next, message, generation } = sealMessage(suite, stateOf(e), plaintext, aad)
        return { next: table.add(next), message, generation }
      }),
    open: (e, message) =>
      answering(() => {
        const opened = openMessage(suite, stateOf(e), message)
        return { ...opened, next: table.add(opened.next) }
      }),
    export: (e, label, context, length) =>
      settle(() => exportSecret(suite, stateOf(e).secrets.exporter, label, context, length)),
    info: (e) => {
      const held = table.find(e)
      return (held.info ??= toPublicInfo(suite, held.state))
    },
    groupInfo: (e) => settle(() => makeExternalGroupInfo(suite, stateOf(e))),
    readGroupInfo: (bytes) =>
      answeringNow(() => toGroupInfoFacts(suite, readExternalGroupInfo(bytes))),
    tree: (e) => encodeTree(stateOf(e).tree),
    snapshot: (e, kind) => encodeSnapshot(stateOf(e), kind),
    restore: (snapshot, tree, self) =>
      settle(() => table.add(decodeSnapshot(suite, snapshot, tree, self))),
    checkpoint: ({ child, commit, welcomes }) =>
      encodeCheckpoint({ child: stateOf(child), commit, welcomes }),
    resume: (checkpoint, tree, self) =>
      settle(() => toPending(decodeCheckpoint(suite, checkpoint, tree, self))),
    dispose: (e) => {
      const state = table.drop(e)
      if (state !== undefined) disposeState(state)
    },
  }
}

/** Runs at once; a throw becomes a rejection, as callers of asynchronous functions expect. */
function settle<T>(run: () => T): Promise<T> {
  return new Promise((resolve) => resolve(run()))
}
