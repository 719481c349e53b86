// While a simulation runs, the clock and the randomness of the machine are out of bounds: what used them would not repeat.
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

/** What must not be called. Timers may be set: the cache of keys forgets by one, and a run waits for none. */
const BANNED: readonly (readonly [object, string])[] = [
  [Date, 'now'],
  [Math, 'random'],
  [performance, 'now'],
  [crypto, 'randomBytes'],
  [crypto, 'randomFillSync'],
  [crypto, 'randomFill'],
  [crypto, 'randomInt'],
  [crypto, 'randomUUID'],
  [Object.getPrototypeOf(crypto.webcrypto) as object, 'getRandomValues'],
]

/** Runs something in which any look at the clock or draw from the machine throws. */
export async function purely<T>(run: () => Promise<T>): Promise<T> {
  const restore = BANNED.map(([owner, name]) => ban(owner, name))
  syncBuiltinESMExports()
  try {
    return await run()
  } finally {
    for (const one of restore) one()
    syncBuiltinESMExports()
  }
}

function ban(owner: object, name: string): () => void {
  const before = Object.getOwnPropertyDescriptor(owner, name)
  const value = (): never => {
    throw new Error(`a simulation used ${name}`)
  }
  Object.defineProperty(owner, name, { value, configurable: true, writable: true })
  return () => {
    if (before === undefined) Reflect.deleteProperty(owner, name)
    else Object.defineProperty(owner, name, before)
  }
}
