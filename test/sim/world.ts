// What the members of one simulation share, and how it is made from its options.
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { EngineKind, Member, World } from './cast.ts'
import { toGroupId } from '../../protocols/group/ids.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { native } from '../../src/crypto/native.ts'
import { makeFakeEngine } from '../support/fake-mls-engine.ts'
import { Chance } from './chance.ts'
import { Ledger } from './ledger.ts'
import { Network } from './network.ts'
import { Timeline } from './timeline.ts'

/** How a world is made. */
export interface WorldOptions {
  readonly seed: string
  readonly engine?: EngineKind
  /** What happens is told here. */
  readonly trace?: (text: string) => void
}

/** Makes a world in fair weather without members. */
export function makeWorld({ seed, engine = 'real', trace }: WorldOptions): World {
  const chance = new Chance(seed)
  const timeline = new Timeline()
  const network = new Network(timeline, chance.fork('network'))
  const primitives = remembering(native)
  const members = new Map<PeerId, Member>()
  network.onHeal = () => {
    for (const member of members.values()) member.meetAll()
  }
  return {
    timeline,
    network,
    chance,
    ledger: new Ledger(),
    groupId: toGroupId(chance.fork('group').bytes(32)),
    primitives,
    members,
    ghosts: [],
    watchers: [],
    syncEveryMs: 30_000,
    makeEngine: (own, made = primitives) => {
      const random = (length: number): Bytes => own.bytes(length)
      const parts = { primitives: made, random }
      return engine === 'real' ? makeMlsEngine(parts) : makeFakeEngine(parts)
    },
    note: (text) => trace?.(`${(timeline.elapsedMs / 1_000).toFixed(3).padStart(10)} ${text}`),
  }
}

/** Signatures are verified once in a world: all its members come to the same answer. */
function remembering(primitives: Primitives): Primitives {
  const known = new Map<string, boolean>()
  const text = (bytes: Bytes): string =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  return {
    ...primitives,
    verify: (theirs, message, signature) => {
      const key = `${text(signature)}${text(theirs)}${text(message)}`
      let valid = known.get(key)
      if (valid === undefined) {
        valid = primitives.verify(theirs, message, signature)
        known.set(key, valid)
      }
      return valid
    },
  }
}
