// Reads bodies, each bound before anything is kept (spec.md §3.3). Floor 0, pure: remote bytes never throw.
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { isZero } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { toTimeMs } from '../base/time.ts'
import type { TimeMs } from '../base/time.ts'
import {
  LENGTH_BYTES,
  MESSAGE_ID_BYTES,
  messageIdFromBytes,
  OFFER_BYTES,
  PRINTABLE,
} from './body.ts'
import { ENVELOPE_ID_BYTES, envelopeIdFromBytes } from './envelope.ts'
import {
  CONTENT_TYPE_BYTES_MAX,
  CONTROLS_PER_BODY_MAX,
  HANDOFF_PROTOCOL_BYTES_MAX,
  MESSAGE_BYTES_MAX,
  RECEIPTS_PER_BODY_MAX,
  WITHDRAWN_PER_CONTROL_MAX,
} from './types.ts'
import type {
  Body,
  Control,
  Handoff,
  Message,
  MessageId,
  Receipt,
  SckaOffer,
  Withdrawal,
} from './types.ts'

const QUEUE_KEY_ID_BYTES = 8
const QUEUE_KEY_SEED_BYTES = 32

/**
 * Decodes an opened plaintext: length, protobuf, zeros. Unknown fields are skipped.
 *
 * @returns `ok: false` with `CODEC_LENGTH`, `CODEC_PADDING` or `CODEC_MALFORMED`. Contents are views
 *   of `plaintext`, not copies.
 */
export function decodeBody(plaintext: Bytes): Decoded<Body> {
  if (plaintext.length < LENGTH_BYTES) return refused('CODEC_LENGTH')
  const view = new DataView(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength)
  const end = LENGTH_BYTES + view.getUint32(0)
  if (end > plaintext.length) return refused('CODEC_LENGTH')
  if (!isZero(plaintext.subarray(end))) return refused('CODEC_PADDING')
  try {
    return decoded(readBody(new BinaryReader(plaintext.subarray(LENGTH_BYTES, end))))
  } catch {
    return refused('CODEC_MALFORMED') // The reader throws on truncation, `need` on broken bounds.
  }
}

/** Refuses the bytes being read; `decodeBody` turns it into a value. */
function need(condition: boolean): asserts condition {
  if (!condition) throw new RangeError('malformed body')
}

/** Reads the fields of one message; `visit` takes a known field and answers false for an unknown one. */
function readFields(
  reader: BinaryReader,
  end: number,
  visit: (field: number, type: WireType) => boolean,
): void {
  need(end <= reader.len)
  while (reader.pos < end) {
    const [field, type] = reader.tag()
    if (visit(field, type)) continue
    need(type !== WireType.StartGroup && type !== WireType.EndGroup)
    reader.skip(type, field)
  }
  need(reader.pos === end)
}

function readLength(reader: BinaryReader, type: WireType): number {
  need(type === WireType.LengthDelimited)
  const length = reader.uint32()
  return reader.pos + length
}

function readBytes(reader: BinaryReader, type: WireType, min: number, max: number): Bytes {
  need(type === WireType.LengthDelimited)
  const bytes = reader.bytes()
  need(bytes.length >= min && bytes.length <= max)
  return bytes
}

function readNumber(reader: BinaryReader, type: WireType): number {
  need(type === WireType.Varint)
  const value = Number(reader.uint64())
  need(Number.isSafeInteger(value))
  return value
}

function readTime(reader: BinaryReader, type: WireType): TimeMs {
  return toTimeMs(readNumber(reader, type))
}

function readText(reader: BinaryReader, type: WireType, max: number): string {
  const text = String.fromCharCode(...readBytes(reader, type, 0, max))
  need(PRINTABLE.test(text))
  return text
}

function readId(reader: BinaryReader, type: WireType): MessageId {
  const id = messageIdFromBytes(readBytes(reader, type, MESSAGE_ID_BYTES, MESSAGE_ID_BYTES))
  need(id !== undefined)
  return id
}

function readBody(reader: BinaryReader): Body {
  let message: Message | undefined
  let handoff: Handoff | undefined
  let scka: SckaOffer | undefined
  const receipts: Receipt[] = []
  const controls: (Control | undefined)[] = []
  readFields(reader, reader.len, (field, type) => {
    if (field === 1 || field === 4) need(message === undefined && handoff === undefined)
    if (field === 1) message = readMessage(reader, readLength(reader, type))
    else if (field === 2) {
      need(receipts.length < RECEIPTS_PER_BODY_MAX)
      receipts.push(readReceipt(reader, readLength(reader, type)))
    } else if (field === 3) {
      need(scka === undefined)
      scka = readOffer(reader, readLength(reader, type))
    } else if (field === 4) handoff = readHandoff(reader, readLength(reader, type))
    else if (field === 5) {
      need(controls.length < CONTROLS_PER_BODY_MAX)
      controls.push(readControl(reader, readLength(reader, type)))
    } else return false
    return true
  })
  return {
    receipts,
    controls: controls.filter((control) => control !== undefined),
    ...(message !== undefined && { message }),
    ...(handoff !== undefined && { handoff }),
    ...(scka !== undefined && { scka }),
  }
}

function readMessage(reader: BinaryReader, end: number): Message {
  let id: MessageId | undefined
  let sequence = 0
  let sentAt = toTimeMs(0)
  let contentType = ''
  let content: Bytes = new Uint8Array(0)
  readFields(reader, end, (field, type) => {
    if (field === 1) id = readId(reader, type)
    else if (field === 2) sequence = readNumber(reader, type)
    else if (field === 3) sentAt = readTime(reader, type)
    else if (field === 4) contentType = readText(reader, type, CONTENT_TYPE_BYTES_MAX)
    else if (field === 5) content = readBytes(reader, type, 0, MESSAGE_BYTES_MAX)
    else return false
    return true
  })
  need(id !== undefined && sequence > 0)
  return { id, sequence, sentAt, content, ...(contentType !== '' && { contentType }) }
}

function readHandoff(reader: BinaryReader, end: number): Handoff {
  let id: MessageId | undefined
  let sequence = 0
  let protocol = ''
  let content: Bytes = new Uint8Array(0)
  readFields(reader, end, (field, type) => {
    if (field === 1) id = readId(reader, type)
    else if (field === 2) sequence = readNumber(reader, type)
    else if (field === 3) protocol = readText(reader, type, HANDOFF_PROTOCOL_BYTES_MAX)
    else if (field === 4) content = readBytes(reader, type, 0, MESSAGE_BYTES_MAX)
    else return false
    return true
  })
  need(id !== undefined && sequence > 0 && protocol !== '')
  return { id, sequence, protocol, content }
}

function readReceipt(reader: BinaryReader, end: number): Receipt {
  let id: MessageId | undefined
  let state = 0
  readFields(reader, end, (field, type) => {
    if (field === 1) id = readId(reader, type)
    else if (field === 2) state = readNumber(reader, type)
    else return false
    return true
  })
  need(id !== undefined && (state === 1 || state === 2))
  return { id, state: state === 1 ? 'delivered' : 'handled' }
}

function readOffer(reader: BinaryReader, end: number): SckaOffer {
  let epoch = 0
  let offer: Pick<SckaOffer, 'kind' | 'bytes'> | undefined
  readFields(reader, end, (field, type) => {
    if (field === 1) epoch = readNumber(reader, type)
    else if (field === 2 || field === 3) {
      need(offer === undefined)
      const kind = field === 2 ? 'encapsulationKey' : 'ciphertext'
      offer = { kind, bytes: readBytes(reader, type, OFFER_BYTES[kind], OFFER_BYTES[kind]) }
    } else return false
    return true
  })
  need(offer !== undefined && epoch <= 0xffff_ffff)
  return { ...offer, epoch }
}

/** Answers undefined for a kind of control that this version does not know. */
function readControl(reader: BinaryReader, end: number): Control | undefined {
  let control: Control | undefined
  readFields(reader, end, (field, type) => {
    if (field < 1 || field > 4) return false
    need(control === undefined)
    const itemEnd = readLength(reader, type)
    if (field === 1) {
      readFields(reader, itemEnd, () => false)
      control = { kind: 'reset' }
    } else if (field === 2) control = readQueueKey(reader, itemEnd)
    else if (field === 3) control = readPrekeyConsumed(reader, itemEnd)
    else control = { kind: 'withdrawn', items: readWithdrawals(reader, itemEnd) }
    return true
  })
  return control
}

function readQueueKey(reader: BinaryReader, end: number): Control {
  let id: Bytes | undefined
  let seed: Bytes | undefined
  let expiresAt = toTimeMs(0)
  readFields(reader, end, (field, type) => {
    if (field === 1) id = readBytes(reader, type, QUEUE_KEY_ID_BYTES, QUEUE_KEY_ID_BYTES)
    else if (field === 2) seed = readBytes(reader, type, QUEUE_KEY_SEED_BYTES, QUEUE_KEY_SEED_BYTES)
    else if (field === 3) expiresAt = readTime(reader, type)
    else return false
    return true
  })
  need(id !== undefined && seed !== undefined)
  return { kind: 'queueKey', id, seed, expiresAt }
}

function readPrekeyConsumed(reader: BinaryReader, end: number): Control {
  let bytes: Bytes = new Uint8Array(0)
  readFields(reader, end, (field, type) => {
    if (field !== 1) return false
    bytes = readBytes(reader, type, ENVELOPE_ID_BYTES, ENVELOPE_ID_BYTES)
    return true
  })
  const envelopeId = envelopeIdFromBytes(bytes)
  need(envelopeId !== undefined)
  return { kind: 'prekeyConsumed', envelopeId }
}

function readWithdrawals(reader: BinaryReader, end: number): Withdrawal[] {
  const items: Withdrawal[] = []
  readFields(reader, end, (field, type) => {
    if (field !== 1) return false
    need(items.length < WITHDRAWN_PER_CONTROL_MAX)
    items.push(readWithdrawal(reader, readLength(reader, type)))
    return true
  })
  need(items.length > 0)
  return items
}

function readWithdrawal(reader: BinaryReader, end: number): Withdrawal {
  let id: MessageId | undefined
  let sequence = 0
  readFields(reader, end, (field, type) => {
    if (field === 1) id = readId(reader, type)
    else if (field === 2) sequence = readNumber(reader, type)
    else return false
    return true
  })
  need(id !== undefined && sequence > 0)
  return { id, sequence }
}
