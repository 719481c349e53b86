// Our key schedule in the clothes of Olm: its labels, plain headers, its cipher and wire format. Test-only.
//
// See: The Matrix.org Foundation, "Olm: A Cryptographic Ratchet" (version 3 messages).
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { concat, equalBytes, u8, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { makeRatchet } from '../../protocols/direct/ratchet.ts'
import type { Place, RatchetState } from '../../protocols/direct/ratchet.ts'
import { native } from '../../src/crypto/native.ts'
import { NOW, valueOf } from './direct-cast.ts'

const ratchet = makeRatchet(native, { rootLabel: utf8('OLM_RATCHET'), headers: 'plain' })
const NONE = new Uint8Array(0)
const VERSION = 3
const MAC_BYTES = 8
/** Field and wire type of what a message, and a first message around it, hold. */
const TAGS = { ratchetKey: 0x0a, chainIndex: 0x10, ciphertext: 0x22 } as const
const FIRST_TAGS = { oneTimeKey: 0x0a, baseKey: 0x12, identityKey: 0x1a, message: 0x22 } as const

/** What `@matrix-org/olm` offers of what is used here. */
export interface Olm {
  readonly init: () => Promise<void>
  readonly Account: new () => OlmAccount
  readonly Session: new () => OlmSession
}

export interface OlmAccount {
  readonly create: () => void
  readonly identity_keys: () => string
  readonly generate_one_time_keys: (count: number) => void
  readonly one_time_keys: () => string
  readonly free: () => void
}

export interface OlmSession {
  readonly create_outbound: (account: OlmAccount, identityKey: string, oneTimeKey: string) => void
  readonly create_inbound: (account: OlmAccount, message: string) => void
  readonly encrypt: (text: string) => { readonly type: 0 | 1; readonly body: string }
  readonly decrypt: (type: 0 | 1, body: string) => string
  readonly free: () => void
}

/** Encodes unpadded base64, as Olm writes it. */
export function toBase64(bytes: Bytes): string {
  return Buffer.from(bytes).toString('base64').replaceAll('=', '')
}

/** Decodes base64. */
export function fromBase64(text: string): Bytes {
  return Uint8Array.from(Buffer.from(text, 'base64'))
}

/** Our end of an Olm session. */
export class OlmPeer {
  /** Sending chains that we started. */
  get chains(): number {
    return this.#state.sendingChains
  }

  #state: RatchetState
  /** Goes in front of our messages until we have opened one. */
  #first: Bytes | undefined

  constructor(state: RatchetState, first?: Bytes) {
    this.#state = state
    this.#first = first
  }

  /** Opens a session to an Olm account, by its triple Diffie-Hellman agreement. */
  static initiate(identityKey: Bytes, oneTimeKey: Bytes, draw: (n: number) => Bytes): OlmPeer {
    const [identity, base, secret] = [draw(32), draw(32), draw(32)]
    const { rootKey, chainKey } = agree([
      [identity, oneTimeKey],
      [base, identityKey],
      [base, oneTimeKey],
    ])
    // Olm's first chain comes out of the agreement, not out of a root step.
    const sending = { ratchetKey: native.dhPublic(secret), chainKey, headerKey: NONE, count: 0 }
    const first = concat(
      u8(VERSION),
      field(FIRST_TAGS.oneTimeKey, oneTimeKey),
      field(FIRST_TAGS.baseKey, native.dhPublic(base)),
      field(FIRST_TAGS.identityKey, native.dhPublic(identity)),
    )
    return new OlmPeer({ ...blank(rootKey), secret, sending, sendingChains: 1 }, first)
  }

  /** Takes up a session that an Olm session opened by its first message. */
  static respond(identitySecret: Bytes, oneTimeSecret: Bytes, firstMessage: Bytes): OlmPeer {
    const fields = readFields(firstMessage.subarray(1))
    const [base, identity] = [
      part(fields, FIRST_TAGS.baseKey),
      part(fields, FIRST_TAGS.identityKey),
    ]
    const { rootKey, chainKey } = agree([
      [oneTimeSecret, identity],
      [identitySecret, base],
      [oneTimeSecret, base],
    ])
    const theirs = part(readMessage(part(fields, FIRST_TAGS.message)), TAGS.ratchetKey)
    const receiving = { chainKey, finder: theirs, count: 0 }
    return new OlmPeer({ ...blank(rootKey), theirs, receiving })
  }

  encrypt(text: string, ratchetSecret: Bytes): { type: 0 | 1; body: string } {
    const { state, header, messageKey } = valueOf(ratchet.send(this.#state, ratchetSecret))
    this.#state = state
    const { aesKey, macKey, iv } = payloadKeys(messageKey)
    const cipher = createCipheriv('aes-256-cbc', aesKey, iv)
    const ciphertext = concat(cipher.update(utf8(text)), cipher.final())
    const head = concat(
      u8(VERSION),
      field(TAGS.ratchetKey, header.ratchetKey),
      u8(TAGS.chainIndex),
      varint(header.count),
      field(TAGS.ciphertext, ciphertext),
    )
    const message = concat(head, native.hmacSha256(macKey, head).subarray(0, MAC_BYTES))
    const whole = this.#first && concat(this.#first, field(FIRST_TAGS.message, message))
    return { type: whole === undefined ? 1 : 0, body: toBase64(whole ?? message) }
  }

  /**
   * Opens a message; undefined if it is refused, and then nothing changes.
   *
   * @param previousCount - Length of Olm's chain before this one, which its headers do not tell.
   */
  decrypt(type: 0 | 1, body: string, previousCount: number): string | undefined {
    const bytes = fromBase64(body)
    const message = type === 1 ? bytes : part(readFields(bytes.subarray(1)), FIRST_TAGS.message)
    const fields = readMessage(message)
    const header = {
      ratchetKey: part(fields, TAGS.ratchetKey),
      count: Number(fields.get(TAGS.chainIndex)),
      previousCount,
    }
    const place = this.#place(header.ratchetKey)
    const keys = ratchet.receive(this.#state, place, header, NOW, () => NONE)
    if (!keys.ok) return undefined
    const { aesKey, macKey, iv } = payloadKeys(keys.value.messageKey)
    const head = message.subarray(0, -MAC_BYTES)
    const mac = native.hmacSha256(macKey, head).subarray(0, MAC_BYTES)
    if (!equalBytes(mac, message.subarray(-MAC_BYTES))) return undefined
    const decipher = createDecipheriv('aes-256-cbc', aesKey, iv)
    const text = concat(decipher.update(part(fields, TAGS.ciphertext)), decipher.final())
    this.#state = keys.value.state
    this.#first = undefined
    return Buffer.from(text).toString()
  }

  #place(ratchetKey: Bytes): Place {
    const { receiving, skipped } = this.#state
    if (receiving !== undefined && equalBytes(receiving.finder, ratchetKey)) {
      return { kind: 'current' }
    }
    const chain = skipped.find(({ finder }) => equalBytes(finder, ratchetKey))
    return chain === undefined ? { kind: 'next' } : { kind: 'skipped', chain }
  }
}

/** The ratchet key of a message: names Olm's chain. */
export function ratchetKeyOf(type: 0 | 1, body: string): string {
  const bytes = fromBase64(body)
  const message = type === 1 ? bytes : part(readFields(bytes.subarray(1)), FIRST_TAGS.message)
  return toBase64(part(readMessage(message), TAGS.ratchetKey))
}

function blank(rootKey: Bytes): RatchetState {
  return {
    rootKey,
    previousCount: 0,
    sendingChains: 0,
    nextSendingHeader: NONE,
    nextReceivingHeader: NONE,
    skipped: [],
    skippedNext: 0,
  }
}

function agree(shares: readonly (readonly [secret: Bytes, theirs: Bytes])[]): {
  readonly rootKey: Bytes
  readonly chainKey: Bytes
} {
  const ikm = concat(...shares.map(([secret, theirs]) => native.dh(secret, theirs) ?? NONE))
  const keys = native.hkdfSha256(NONE, ikm, utf8('OLM_ROOT'), 64)
  return { rootKey: keys.slice(0, 32), chainKey: keys.slice(32) }
}

function payloadKeys(messageKey: Bytes): {
  readonly aesKey: Bytes
  readonly macKey: Bytes
  readonly iv: Bytes
} {
  const keys = native.hkdfSha256(NONE, messageKey, utf8('OLM_KEYS'), 80)
  return { aesKey: keys.slice(0, 32), macKey: keys.slice(32, 64), iv: keys.slice(64) }
}

function varint(value: number): Bytes {
  const out: number[] = []
  let rest = value
  for (; rest > 0x7f; rest >>>= 7) out.push((rest & 0x7f) | 0x80)
  return Uint8Array.of(...out, rest)
}

function field(tag: number, bytes: Bytes): Bytes {
  return concat(u8(tag), varint(bytes.length), bytes)
}

type Fields = ReadonlyMap<number, Bytes | number>

function readMessage(message: Bytes): Fields {
  return readFields(message.subarray(1, -MAC_BYTES))
}

/** Fields by tag: octets, or the number of a varint field. */
function readFields(bytes: Bytes): Fields {
  const fields = new Map<number, Bytes | number>()
  let at = 0
  const number = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const octet = bytes[at++] ?? 0
      value |= (octet & 0x7f) << shift
      if (octet < 0x80) return value
    }
  }
  while (at < bytes.length) {
    const tag = number()
    const value = number()
    if ((tag & 7) === 0) fields.set(tag, value)
    else fields.set(tag, bytes.slice(at, (at += value)))
  }
  return fields
}

function part(fields: Fields, tag: number): Bytes {
  const found = fields.get(tag)
  if (typeof found !== 'object') throw new Error(`field ${tag} is missing`)
  return found
}
