// Address lists inside cards, tickets and contact records (spec.md §3.5). Floor 0, pure.
// Multiaddrs are bounded text here; only `host` parses them, and drops what it cannot use.
import { concat, parseUtf8, u8, utf8 } from '../base/bytes.ts'
import type { Bytes, Reader } from '../base/bytes.ts'
import { ConclaveError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { ADDRESSES_MAX, ADDRESS_BYTES_MAX, REACH_BYTES_MAX, RELAYS_MAX } from './types.ts'
import type { Reach } from './types.ts'

const CIRCUIT = '/p2p-circuit'
// Printable ASCII without space: what a terminal shows is what was signed.
const ADDRESS = /^\/[!-~]+$/

/** Limits and form of one list of texts. */
export interface TextListRules {
  /** What the list holds, for errors. */
  readonly name: string
  readonly countMax: number
  readonly bytesMax: number
  readonly form: RegExp
}

/** One list of multiaddrs. */
export const ADDRESSES: TextListRules = {
  name: 'addresses',
  countMax: ADDRESSES_MAX,
  bytesMax: ADDRESS_BYTES_MAX,
  form: ADDRESS,
}
const RELAYS: TextListRules = { ...ADDRESSES, name: 'relays', countMax: RELAYS_MAX }

/**
 * Encodes a list: count u8, then each text as length u16 ‖ UTF-8.
 *
 * @throws ConclaveError `USAGE_ARGUMENT` if an item or the count breaks the rules.
 */
export function encodeTexts(items: readonly string[], rules: TextListRules): Bytes {
  const { name, countMax, bytesMax, form } = rules
  if (items.length > countMax) throw unfit(`${items.length} ${name}, at most ${countMax}`)
  const parts: Bytes[] = [u8(items.length)]
  for (const item of items) {
    const octets = utf8(item)
    if (octets.length > bytesMax) {
      throw unfit(`one of ${name} has ${octets.length} bytes, at most ${bytesMax}`)
    }
    if (!form.test(item)) throw unfit(`one of ${name} is malformed: ${JSON.stringify(item)}`)
    parts.push(u8(octets.length >>> 8), u8(octets.length & 0xff), octets)
  }
  return concat(...parts)
}

/** Reads what `encodeTexts` wrote; undefined if the bytes end early or break the rules. */
export function readTexts(reader: Reader, rules: TextListRules): string[] | undefined {
  const count = reader.u8()
  if (count > rules.countMax) return undefined
  const items: string[] = []
  for (let i = 0; i < count; i++) {
    const length = reader.u8() * 256 + reader.u8()
    if (length > rules.bytesMax) return undefined
    const item = parseUtf8(reader.take(length))
    if (!reader.ok || item === undefined || !rules.form.test(item)) return undefined
    items.push(item)
  }
  return reader.ok ? items : undefined
}

/**
 * Encodes both lists, addresses first; at most REACH_BYTES_MAX.
 *
 * @throws ConclaveError `USAGE_ARGUMENT` if they do not fit; `toReach` makes lists that do.
 */
export function encodeReach({ addresses, relays }: Reach): Bytes {
  const bytes = concat(encodeTexts(addresses, ADDRESSES), encodeTexts(relays, RELAYS))
  if (bytes.length > REACH_BYTES_MAX) {
    throw unfit(`addresses and relays of ${bytes.length} bytes, at most ${REACH_BYTES_MAX}`)
  }
  return bytes
}

/** Reads what `encodeReach` wrote; undefined if the bytes are anything else. */
export function readReach(reader: Reader): Reach | undefined {
  const before = reader.left
  const addresses = readTexts(reader, ADDRESSES)
  if (addresses === undefined) return undefined
  const relays = readTexts(reader, RELAYS)
  if (relays === undefined || before - reader.left > REACH_BYTES_MAX) return undefined
  return { addresses, relays }
}

/**
 * Sorts a host's addresses into own ones and relays, best first, dropping what does not fit.
 *
 * @param addresses - Multiaddrs of `peer`; those through a relay contain `/p2p-circuit`.
 */
export function toReach(peer: PeerId, addresses: readonly string[]): Reach {
  const own = new Set<string>()
  const relays = new Set<string>()
  let left = REACH_BYTES_MAX - 2
  for (const address of addresses) {
    const circuit = address.indexOf(CIRCUIT)
    const list = circuit < 0 ? own : relays
    const text = circuit < 0 ? address : address.slice(0, circuit)
    const direct = circuit < 0 || address.slice(circuit) === `${CIRCUIT}/p2p/${peer}`
    if (!direct || !ADDRESS.test(text) || text.length > ADDRESS_BYTES_MAX) continue
    const full = list.size === (circuit < 0 ? ADDRESSES_MAX : RELAYS_MAX)
    if (full || list.has(text) || text.length + 2 > left) continue
    list.add(text)
    left -= text.length + 2
  }
  return { addresses: [...own], relays: [...relays] }
}

/** The addresses to dial: own ones, then one through each relay. */
export function dialAddresses(peer: PeerId, { addresses, relays }: Reach): string[] {
  return [...addresses, ...relays.map((relay) => `${relay}${CIRCUIT}/p2p/${peer}`)]
}

function unfit(message: string): ConclaveError {
  return new ConclaveError('USAGE_ARGUMENT', message, { hint: 'leave out what is not needed' })
}
