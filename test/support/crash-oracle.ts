// What must hold whatever ends where: judged from outside the nodes, by what became durable, what left a machine, and
// what was sealed. The log only grows.
import { concat, equalBytes, formatHex } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromBytes } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { decodeBody } from '../../protocols/direct/body-reader.ts'
import { envelopeIdOf, TAG_BYTES } from '../../protocols/direct/envelope.ts'
import { decodeDirectFrame, decodePrekeysFrame } from '../../protocols/direct/frames.ts'
import { DIRECT_PROTOCOL, PREKEYS_PROTOCOL } from '../../protocols/direct/types.ts'
import { decodeMailboxFrame } from '../../protocols/mailbox/frames.ts'
import { MAILBOX_PROTOCOL } from '../../protocols/mailbox/types.ts'
import { native } from '../../src/crypto/native.ts'
import { decodeLetter, decodeNotice, TABLES } from '../../src/node/direct-rows.ts'
import { CUSTODY } from '../../src/node/mailbox/box.ts'
import { decodeEvent } from '../../src/node/events.ts'
import { decodeRow } from '../../src/store/row.ts'
import type { CrashDisk, DiskChange } from './crash-disk.ts'
import type { Name } from './hosts.ts'
import type { Departure } from './memory-net.ts'

/** What went wrong. `early`: something left before it was durable; the others are what follows from that. */
export type Fault =
  'lost' | 'twice' | 'order' | 'back' | 'key' | 'prekey' | 'custody' | 'early' | 'reset' | 'stuck'

/** One violation. */
export interface Violation {
  readonly fault: Fault
  readonly text: string
}

const RANKS: Readonly<Record<string, number>> = { queued: 0, stored: 1, delivered: 2, handled: 3 }

/** Where recipient and envelope id lie in a storage receipt (mailbox spec.md §3.2). */
const RECEIPT_RECIPIENT_AT = 40
const RECEIPT_ENVELOPE_AT = 94
/** A header is shorter than this, a body longer. */
const HEADER_BYTES_MAX = 100

interface Arrival {
  readonly text: string
  readonly from: PeerId
  readonly isMarked: boolean
}

/** Public keys that are remembered. */
const REMEMBERED_MAX = 20_000

/** Remembers what a function answered: cases make the same keys, up to where something ends. */
function remember(call: (secret: Bytes) => Bytes): (secret: Bytes) => Bytes {
  const known = new Map<string, Bytes>()
  return (secret) => {
    const name = formatHex(secret)
    const before = known.get(name)
    if (before !== undefined) return before.slice()
    const result = call(secret)
    if (known.size >= REMEMBERED_MAX) known.clear()
    known.set(name, result)
    return result.slice()
  }
}

const signPublic = remember((secret) => native.signPublic(secret))
const kemPublic = {
  768: remember((seed) => native.kemPublic(768, seed)),
  1024: remember((seed) => native.kemPublic(1024, seed)),
} as const

/** A signature that anybody could make, in no time: nobody forges here, and cases would spend their time with them. */
function mark(publicKey: Bytes, message: Bytes): Bytes {
  const first = native.sha256(publicKey, message)
  return concat(first, native.sha256(first, publicKey))
}

/** What nodes of the matrix compute with. */
export const quick: Primitives = {
  ...native,
  signPublic,
  sign: (secret, message) => mark(signPublic(secret), message),
  verify: (publicKey, message, signature) => equalBytes(mark(publicKey, message), signature),
  verifyAsync: (publicKey, message, signature) =>
    Promise.resolve(equalBytes(mark(publicKey, message), signature)),
  dhPublic: remember((secret) => native.dhPublic(secret)),
  kemPublic: (parameter, seed) => kemPublic[parameter](seed),
}

interface Receipted {
  readonly custodian: Name
  readonly recipient: Name
  readonly envelopeId: string
}

/** Watches all nodes of one case. */
export class Oracle {
  readonly violations: Violation[] = []
  /** Sessions that became durable anywhere. */
  readonly sessions: Set<string> = new Set<string>()
  /** Bodies sealed that say `reset`. */
  resets = 0
  /** Rolled back: what it forgot may come again, or be lost. */
  readonly restored: Set<Name> = new Set<Name>()
  readonly #disks: ReadonlyMap<Name, CrashDisk>
  readonly #names: ReadonlyMap<PeerId, Name>
  readonly #queued: { readonly from: Name; readonly to: Name; readonly text: string }[] = []
  readonly #texts = new Map<string, string>()
  readonly #states = new Map<string, number>()
  readonly #arrivals = new Map<Name, Arrival[]>()
  readonly #saved = new Map<Name, Set<string>>()
  readonly #receipts: Receipted[] = []
  readonly #acknowledged = new Set<string>()
  /** Of body seals: tag → key, and key → the tag that left under it. */
  readonly #keyOfTag = new Map<string, string>()
  readonly #tagOfKey = new Map<string, string>()
  readonly #sealed = new Map<string, string>()
  readonly #secrets = new Map<string, string>()
  readonly #consumed = new Set<string>()
  readonly #prekeyIds = new Map<Name, number>()
  readonly #entries = new Map<string, PeerId>()

  constructor(disks: ReadonlyMap<Name, CrashDisk>, names: ReadonlyMap<PeerId, Name>) {
    this.#disks = disks
    this.#names = names
  }

  /** `send` resolved: from now on the message may not be lost. */
  queued(from: Name, to: Name, text: string): void {
    this.#queued.push({ from, to, text })
  }

  /** True once the sender durably knows that the message was handled. */
  isHandled(from: Name, text: string): boolean {
    return this.#states.get(`${from} ${text}`) === RANKS['handled']
  }

  /** True once the sender durably knows that enough custodians have it, or that it has arrived. */
  isStored(from: Name, text: string): boolean {
    return (this.#states.get(`${from} ${text}`) ?? 0) >= 1
  }

  /** How far a message got, as its sender durably knows. */
  stateOf(from: Name, text: string): string {
    const rank = this.#states.get(`${from} ${text}`) ?? 0
    return Object.keys(RANKS)[rank] ?? 'unknown'
  }

  /** True once the sender durably knows that it has arrived. */
  isDelivered(from: Name, text: string): boolean {
    return (this.#states.get(`${from} ${text}`) ?? 0) >= 2
  }

  hasArrived(at: Name, text: string): boolean {
    return this.#arrivals.get(at)?.some((one) => one.text === text) === true
  }

  note(fault: Fault, text: string): void {
    this.violations.push({ fault, text })
  }

  /** The primitives of a node, watched. */
  primitives(name: Name): Primitives {
    return {
      ...quick,
      seal: (key, nonce, ad, plaintext) => {
        const sealed = native.seal(key, nonce, ad, plaintext)
        this.#noteSeal(key, nonce, sealed, plaintext)
        return sealed
      },
      dh: (secret, theirs) => {
        if (!this.restored.has(name) && this.#consumed.has(`${name} ${formatHex(secret)}`)) {
          this.note('prekey', `${name} uses a one-time prekey again`)
        }
        return native.dh(secret, theirs)
      },
    }
  }

  /** A batch of a node became durable. */
  durable(name: Name, changes: readonly DiskChange[]): void {
    const isUse = changes.some(({ table, key }) => table === 'prekey' && key.startsWith('used/'))
    for (const { table, key, value, before } of changes) {
      if (table === 'prekey') this.#notePrekey(name, key, value, before, isUse)
      if (value === undefined) continue
      if (table === 'event') this.#noteEvent(name, value)
      if (table === TABLES.outbox) {
        const { id, draft, sealed } = decodeLetter(value)
        this.#texts.set(id, new TextDecoder().decode(draft.content))
        if (sealed !== undefined) this.#noteSaved(name, sealed.envelopeId)
      }
      if (table === TABLES.notice) this.#noteSaved(name, decodeNotice(value).sealed.envelopeId)
      if (table === TABLES.session && key.includes('/session/')) {
        this.sessions.add(key.split('/')[2] ?? '')
      }
    }
  }

  /** A frame left a machine. */
  departed({ from, to, protocol, frame }: Departure): void {
    const name = this.#names.get(from)
    if (name === undefined) return
    if (protocol === DIRECT_PROTOCOL) this.#noteDirect(name, frame)
    if (protocol === MAILBOX_PROTOCOL) this.#noteMailbox(name, frame)
    if (protocol !== PREKEYS_PROTOCOL) return
    const decoded = decodePrekeysFrame(frame)
    if (!decoded.ok || decoded.value.kind !== 'bundle' || decoded.value.entry === undefined) return
    const entry = formatHex(decoded.value.entry)
    if ((this.#entries.get(entry) ?? to) !== to) this.note('prekey', 'one entry for two requesters')
    this.#entries.set(entry, to)
  }

  /** Whether a custodian still has everything it signed for. */
  checkCustody(custodian: Name): void {
    if (this.restored.has(custodian)) return
    for (const one of this.#receipts) {
      if (one.custodian !== custodian || this.#isKept(one)) continue
      this.note('custody', `${custodian} signed for ${one.envelopeId} and does not have it`)
    }
  }

  /** What holds at the end. */
  finish(): void {
    for (const name of this.#disks.keys()) this.checkCustody(name)
    for (const { from, to, text } of this.#queued) {
      const times = (this.#arrivals.get(to) ?? []).filter((one) => one.text === text).length
      const mayMiss = this.restored.has(from) || this.restored.has(to)
      if (times === 0 && !mayMiss) this.note('lost', `${text} never came to ${to}`)
      if (times > 1 && !mayMiss) this.note('twice', `${text} came ${times} times`)
    }
    for (const [to, arrivals] of this.#arrivals) {
      for (const from of new Set(arrivals.map((one) => one.from))) this.#checkOrder(to, from)
    }
  }

  #checkOrder(to: Name, from: PeerId): void {
    const sender = this.#names.get(from)
    if (sender === undefined || this.restored.has(to) || this.restored.has(sender)) return
    const sent = this.#queued.filter((one) => one.from === sender && one.to === to)
    const order = new Map(sent.map(({ text }, at) => [text, at]))
    const came = (this.#arrivals.get(to) ?? []).filter((one) => one.from === from)
    let last = -1
    for (const { text, isMarked } of came) {
      const at = order.get(text)
      if (at === undefined) continue
      if (at < last && !isMarked) this.note('order', `${text} came too late`)
      last = Math.max(last, at)
    }
  }

  #noteEvent(name: Name, value: Bytes): void {
    const { kind, data } = decodeEvent(value)
    const id = String(data['id'])
    if (kind === 'message') {
      const isMarked = data['gap'] === true || data['late'] === true
      const arrival = { text: String(data['text']), from: data['from'] as PeerId, isMarked }
      this.#arrivals.set(name, [...(this.#arrivals.get(name) ?? []), arrival])
    }
    if (kind !== 'state') return
    const text = this.#texts.get(id) ?? id
    const rank = RANKS[String(data['state'])]
    const before = this.#states.get(`${name} ${text}`) ?? -1
    if (rank === undefined) this.note('lost', `${text} is ${String(data['state'])}`)
    else if (rank < before && !this.restored.has(name)) this.note('back', `${text} went back`)
    this.#states.set(`${name} ${text}`, rank ?? before)
  }

  #notePrekey(
    name: Name,
    key: string,
    value: Bytes | undefined,
    before: Bytes | undefined,
    isUse: boolean,
  ): void {
    const [kind, id = ''] = key.split('/')
    if (kind === 'used' && before !== undefined) {
      this.note('prekey', `${name} took one handshake twice`)
    }
    if (kind !== 'one-time' && kind !== 'key') return
    if (value === undefined) {
      if (isUse) this.#consumed.add(`${name} ${this.#secrets.get(`${name} ${id}`) ?? ''}`)
      return
    }
    const highest = this.#prekeyIds.get(name) ?? 0
    // Batches that make several keep them in the order of their ids.
    if (Number(id) <= highest) this.note('prekey', `${name} uses the prekey id ${id} again`)
    this.#prekeyIds.set(name, Math.max(highest, Number(id)))
    if (kind !== 'one-time') return
    const [secret] = decodeRow(1, value) as [Bytes]
    this.#secrets.set(`${name} ${id}`, formatHex(secret))
  }

  #noteSaved(name: Name, envelopeId: string): void {
    const saved = this.#saved.get(name) ?? new Set()
    this.#saved.set(name, saved.add(envelopeId))
  }

  #noteSeal(key: Bytes, nonce: Bytes, sealed: Bytes, plaintext: Bytes): void {
    const name = formatHex(native.sha256(key))
    const pair = `${name} ${formatHex(nonce)}`
    const content = formatHex(native.sha256(sealed))
    if ((this.#sealed.get(pair) ?? content) !== content) {
      this.note('key', 'a key and a nonce sealed two plaintexts')
    }
    this.#sealed.set(pair, content)
    if (plaintext.length < HEADER_BYTES_MAX) return
    this.#keyOfTag.set(formatHex(sealed.subarray(-TAG_BYTES)), name)
    const body = decodeBody(plaintext)
    if (body.ok && body.value.controls.some(({ kind }) => kind === 'reset')) this.resets += 1
  }

  #noteDirect(name: Name, bytes: Bytes): void {
    const frame = decodeDirectFrame(bytes)
    if (!frame.ok) return
    if (frame.value.kind === 'send') this.#noteEnvelope(name, frame.value.envelope)
    if (frame.value.kind !== 'result' || frame.value.status !== 'accepted') return
    if (this.#hasSeen(name, frame.value.envelopeId)) return
    this.note('early', `${name} answered ACCEPTED before its commit`)
  }

  #noteMailbox(name: Name, bytes: Bytes): void {
    const frame = decodeMailboxFrame(bytes)
    if (!frame.ok) return
    if (frame.value.kind === 'deposit') this.#noteEnvelope(name, frame.value.deposit.envelope)
    if (frame.value.kind === 'acknowledge') {
      for (const id of frame.value.envelopeIds) {
        this.#acknowledged.add(`${name} ${id}`)
        // What was sealed for a session that a backup does not know can never be opened, and is let go.
        if (this.restored.size > 0 || this.#hasSeen(name, id)) continue
        this.note('early', `${name} acknowledged before its commit`)
      }
    }
    if (frame.value.kind !== 'receipt') return
    const { receipt } = frame.value
    const peer = peerIdFromBytes(receipt.subarray(RECEIPT_RECIPIENT_AT, RECEIPT_RECIPIENT_AT + 38))
    const recipient = peer === undefined ? undefined : this.#names.get(peer)
    if (recipient === undefined) return
    const envelopeId = formatHex(receipt.subarray(RECEIPT_ENVELOPE_AT, RECEIPT_ENVELOPE_AT + 32))
    const one = { custodian: name, recipient, envelopeId }
    this.#receipts.push(one)
    if (!this.#isKept(one)) this.note('early', `${name} signed a receipt before its commit`)
  }

  /** An envelope leaves: it must be durable, and the only one under its key. */
  #noteEnvelope(name: Name, envelope: Bytes): void {
    const id = envelopeIdOf(native, envelope)
    if (this.#saved.get(name)?.has(id) !== true) {
      this.note('early', `${name} sent an envelope before its commit`)
    }
    const tag = formatHex(envelope.subarray(-TAG_BYTES))
    const key = this.#keyOfTag.get(tag)
    if (key === undefined) return
    if ((this.#tagOfKey.get(key) ?? tag) !== tag) {
      this.note('key', `${name} sent two envelopes under one message key`)
    }
    this.#tagOfKey.set(key, tag)
  }

  #hasSeen(name: Name, envelopeId: string): boolean {
    const rows = this.#disks.get(name)?.table(TABLES.seen).keys() ?? []
    return [...rows].some((key) => key.endsWith(`/${envelopeId}`))
  }

  #isKept({ custodian, recipient, envelopeId }: Receipted): boolean {
    const disk = this.#disks.get(custodian)
    if (disk === undefined) return false
    const items = [...disk.table(CUSTODY.item).values()]
    if (items.some((row) => (decodeRow(1, row) as [string])[0] === envelopeId)) return true
    const isRemoved = [...disk.table(CUSTODY.removed).keys()].some((key) =>
      key.endsWith(envelopeId),
    )
    return isRemoved && this.#acknowledged.has(`${recipient} ${envelopeId}`)
  }
}
