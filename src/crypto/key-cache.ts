// A bounded, forgetful cache of imported keys, invisible to the callers of Primitives. Floor 1.
import { hash } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { concat, utf8, wipe } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { randomBytes } from './random.ts'

/** A key unused for this long, or at most twice as long, is forgotten. */
const KEY_IDLE_MS = 30_000

/** Imported keys by name. */
export interface KeyCache<Name = string, Key = KeyObject> {
  /** The key of that name, imported now if it is not held. */
  get(name: Name, load: () => Key): Key
  /** The key of that name, if it is held. */
  find(name: Name): Key | undefined
  /** Keys held now. */
  readonly size: number
}

// Names of secrets must not be computable by who knows a digest of the secret, nor be kept in text.
const pepper = randomBytes(32)

/** Names a secret without holding it: a digest under a pepper of this process. */
export function secretName(kind: string, secret: Bytes): string {
  const input = concat(pepper, utf8(kind), secret)
  const name = hash('sha256', input, 'binary')
  wipe(input)
  return name
}

/** Names a public value: its own octets. */
export function publicName(kind: string, bytes: Bytes): string {
  return kind + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

/**
 * Makes a cache of at most `keysMax` keys, an even number.
 *
 * Two generations replace a strict order of use: what was not used for a whole generation is dropped,
 * when half the keys are new or `idleMs` have passed. So a ratchet key that its protocol has
 * deleted does not live on here, and OpenSSL cleanses its memory once the object is collected.
 *
 * @param forget - Called with each key that is dropped.
 */
export function makeKeyCache<Name = string, Key = KeyObject>(
  keysMax: number,
  idleMs: number = KEY_IDLE_MS,
  forget?: (key: Key) => void,
): KeyCache<Name, Key> {
  let young = new Map<Name, Key>()
  let old = new Map<Name, Key>()
  let timer: NodeJS.Timeout | undefined
  const rotate = (): void => {
    if (forget !== undefined) for (const key of old.values()) forget(key)
    old = young
    young = new Map()
  }
  const tick = (): void => {
    rotate()
    timer = old.size === 0 ? undefined : setTimeout(tick, idleMs).unref()
  }
  const keep = (name: Name, key: Key): Key => {
    if (young.size >= keysMax / 2) rotate()
    young.set(name, key)
    timer ??= setTimeout(tick, idleMs).unref()
    return key
  }
  const find = (name: Name): Key | undefined => {
    const held = young.get(name)
    if (held !== undefined) return held
    const rested = old.get(name)
    if (rested === undefined) return undefined
    old.delete(name)
    return keep(name, rested)
  }
  return {
    find,
    get: (name, load) => find(name) ?? keep(name, load()),
    get size() {
      return young.size + old.size
    },
  }
}
