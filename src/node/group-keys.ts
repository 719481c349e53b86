// This agent's MLS KeyPackages: made when somebody asks, durable before they leave, used once. Floor 3.
// Table `key-package`: reference → secret, requester, when it was made, when it was used.
import { formatHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { DAY_MS } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import type { Identity, MlsEngine } from '../../protocols/group/mls-engine.ts'
import type { KeyPackageSource } from '../handlers/prekeys.ts'
import { del, put } from '../store/types.ts'
import type { Op, Store } from '../store/types.ts'
import { packRow, unpackRow } from './group-rows.ts'

/* Implementation constants: ours to tune. */
/** KeyPackages handed out and not used yet; beyond it nobody gets one. */
export const KEY_PACKAGES_MAX = 4_096
/** KeyPackages that one peer may have at once. */
export const KEY_PACKAGES_PER_PEER_MAX = 64
/** Unused ones are deleted after this long, used ones after a day: a branch that lost may add us again. */
export const KEY_PACKAGE_UNUSED_MS: number = 30 * DAY_MS
const KEY_PACKAGE_USED_MS = DAY_MS

const TABLE = 'key-package'

/** The private halves of KeyPackages. */
export interface GroupKeys extends KeyPackageSource {
  /** What `join` needs for a KeyPackage of ours; undefined if it is gone. */
  secret(ref: Bytes): Promise<Bytes | undefined>
  /** Rows that mark a KeyPackage as used. */
  used(ref: Bytes): Promise<Op[]>
  /** Deletes what is past its time. */
  forget(): Promise<void>
}

interface KeyFact {
  readonly requester: PeerId
  readonly madeAt: number
  readonly usedAt: number | null
}

/** What the keys are made with. */
export interface GroupKeysOptions {
  readonly store: Store
  readonly engine: MlsEngine
  readonly self: Identity
  readonly now: () => TimeMs
}

/** Loads the KeyPackages. */
export async function openGroupKeys(options: GroupKeysOptions): Promise<GroupKeys> {
  const { store, engine, self, now } = options
  const facts = new Map<string, KeyFact>()
  for await (const { key, value } of store.rows(TABLE)) facts.set(key, factOf(value))

  const forget = async (): Promise<void> => {
    const at = now()
    const ops: Op[] = []
    for (const [ref, { madeAt, usedAt }] of facts) {
      const isOver =
        usedAt === null ? at - madeAt > KEY_PACKAGE_UNUSED_MS : at - usedAt > KEY_PACKAGE_USED_MS
      if (!isOver) continue
      facts.delete(ref)
      ops.push(del(TABLE, ref))
    }
    if (ops.length > 0) await store.commit(ops)
  }

  return {
    async supply(requester) {
      await forget()
      const unused = [...facts.values()].filter(({ usedAt }) => usedAt === null)
      const own = unused.filter((one) => one.requester === requester)
      if (unused.length >= KEY_PACKAGES_MAX || own.length >= KEY_PACKAGES_PER_PEER_MAX) {
        return undefined
      }
      const madeAt = now()
      const made = await engine.keyPackage(self, { nowMs: madeAt })
      const ref = formatHex(made.ref)
      const row = packRow(made.secret, requester, madeAt, null)
      await store.commit([put(TABLE, ref, row)])
      facts.set(ref, { requester, madeAt, usedAt: null })
      return made.keyPackage
    },
    async secret(ref) {
      const row = await store.get(TABLE, formatHex(ref))
      return row === undefined ? undefined : (unpackRow(row)[0] as Bytes)
    },
    async used(ref) {
      const key = formatHex(ref)
      const row = await store.get(TABLE, key)
      if (row === undefined) return []
      const [secret, requester, madeAt] = unpackRow(row)
      facts.set(key, { ...factOf(row), usedAt: now() })
      return [put(TABLE, key, packRow(secret, requester, madeAt, now()))]
    },
    forget,
  }
}

function factOf(row: Bytes): KeyFact {
  const [, requester, madeAt, usedAt] = unpackRow(row) as [Bytes, PeerId, number, number | null]
  return { requester, madeAt, usedAt }
}
