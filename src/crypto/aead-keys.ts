// Keys of AEADs as OpenSSL wants them; those in use again are imported once. Floor 1 (spec: direct §3).
// A header key serves a whole chain and a row key a whole start, but a message key serves once and must not
// stay behind. The array tells them apart: whoever holds on to a key passes the same array again.
import { createSecretKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { equalBytes, wipe } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { makeKeyCache } from './key-cache.ts'

/* Implementation constants. */
const AEAD_KEYS_MAX = 1_024
/** Arrays that came once and are watched for; the others need no more than a look at these. */
const WATCHED_MAX = 32
const WATCH_MS = 5_000

interface Imported {
  /** What the array held when it was imported: an array that was written anew is another key. */
  readonly octets: Bytes
  readonly key: KeyObject
}

const reused = makeKeyCache<Bytes, Imported>(AEAD_KEYS_MAX, undefined, ({ octets }) => {
  wipe(octets)
})
// A weak set would need no timer, but giving an array an identity costs as much as importing the key.
const watched: (Bytes | undefined)[] = Array.from({ length: WATCHED_MAX }, () => undefined)
let next = 0
let timer: NodeJS.Timeout | undefined

/** Imports an AEAD key, or finds it imported if the same array came at least twice before. */
export function aeadKey(bytes: Bytes): KeyObject {
  const held = reused.find(bytes)
  if (held !== undefined && equalBytes(held.octets, bytes)) return held.key
  const key = createSecretKey(bytes)
  if (held !== undefined) return key
  if (watched.includes(bytes)) reused.get(bytes, () => ({ octets: bytes.slice(), key }))
  else watch(bytes)
  return key
}

function watch(bytes: Bytes): void {
  watched[next] = bytes
  next = (next + 1) % WATCHED_MAX
  timer ??= setTimeout(unwatch, WATCH_MS).unref()
}

/** Keys that came once are not kept from being collected. */
function unwatch(): void {
  watched.fill(undefined)
  timer = undefined
}
