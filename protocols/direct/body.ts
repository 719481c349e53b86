// Writes bodies: protobuf inside zero padding (spec.md §3.3); `body-reader.ts` reads them. Floor 0, pure.
// By hand: the generated code's reflection costs as much as an AEAD call, and reading by hand checks each
// bound before anything is kept. Tests hold both equal to wire_pb.ts.
import { formatHex, parseHex, utf8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { invariant } from '../base/errors.ts'
import { ProtobufWriter } from './protobuf-writer.ts'
import {
  CONTENT_TYPE_BYTES_MAX,
  CONTROLS_PER_BODY_MAX,
  HANDOFF_PROTOCOL_BYTES_MAX,
  MESSAGE_BYTES_MAX,
  RECEIPTS_PER_BODY_MAX,
  WITHDRAWN_PER_CONTROL_MAX,
} from './types.ts'
import type { Body, Control, Handoff, Message, MessageId, SckaOffer } from './types.ts'

export const MESSAGE_ID_BYTES = 16
/** Octets of the length in front of the protobuf. */
export const LENGTH_BYTES = 4
/** ML-KEM-768. */
export const OFFER_BYTES = { encapsulationKey: 1_184, ciphertext: 1_088 } as const
const NOTHING = new Uint8Array(0)
/** Text of a peer may end up on a terminal: printable ASCII alone. */
export const PRINTABLE: RegExp = /^[\x20-\x7e]*$/

/** Reads a message id from its 16 bytes. */
export function messageIdFromBytes(bytes: Bytes): MessageId | undefined {
  return bytes.length === MESSAGE_ID_BYTES ? (formatHex(bytes) as MessageId) : undefined
}

/** Parses a message id: 32 lowercase hexadecimal digits. */
export function parseMessageId(text: string): MessageId | undefined {
  return /^[0-9a-f]{32}$/.test(text) ? (text as MessageId) : undefined
}

/**
 * Encodes a body as plaintext: u32 length, protobuf, zeros.
 *
 * @param roomOf - Octets of the plaintext that holds so many; grows with them; undefined if there is none.
 * @returns undefined if the body does not fit.
 * @throws ConclaveError `BUG_INVARIANT` for a body beyond the limits of `types.ts`: our own machine made it.
 */
export function encodePlaintext(
  body: Body,
  roomOf: (length: number) => number | undefined,
): Bytes | undefined {
  const most = LENGTH_BYTES + boundOf(body)
  const out = new Uint8Array(roomOf(most) ?? most)
  const writer = new ProtobufWriter(out, LENGTH_BYTES)
  writeBody(writer, body)
  new DataView(out.buffer).setUint32(0, writer.at - LENGTH_BYTES)
  const room = roomOf(writer.at)
  return room === undefined ? undefined : out.subarray(0, room)
}

/** Encodes the protobuf alone. */
export function encodeBody(body: Body): Bytes {
  return encodePlaintext(body, (length) => length)?.subarray(LENGTH_BYTES) ?? NOTHING
}

/** Octets of plaintext that a body takes before padding: its length field and its protobuf. */
export function plaintextBytes(body: Body): number {
  return LENGTH_BYTES + encodeBody(body).length
}

/** More octets than the protobuf of a body takes. */
function boundOf({ message, handoff, receipts, scka, controls }: Body): number {
  let bound = 24 * receipts.length
  if (message !== undefined) bound += 64 + message.content.length + CONTENT_TYPE_BYTES_MAX
  if (handoff !== undefined) bound += 64 + handoff.content.length + HANDOFF_PROTOCOL_BYTES_MAX
  if (scka !== undefined) bound += 16 + scka.bytes.length
  for (const control of controls) {
    bound += control.kind === 'withdrawn' ? 16 + 32 * control.items.length : 64
  }
  return bound
}

function writeBody(writer: ProtobufWriter, body: Body): void {
  const { message, handoff, receipts, scka, controls } = body
  invariant(message === undefined || handoff === undefined, 'one of message and handoff')
  invariant(receipts.length <= RECEIPTS_PER_BODY_MAX, 'receipts within their limit')
  invariant(controls.length <= CONTROLS_PER_BODY_MAX, 'controls within their limit')
  if (message !== undefined) writeMessage(writer, message)
  for (const receipt of receipts) {
    const start = writer.begin(2)
    writer.octets(1, idBytes(receipt.id))
    writer.number(2, receipt.state === 'delivered' ? 1 : 2)
    writer.end(start)
  }
  if (scka !== undefined) writeOffer(writer, scka)
  if (handoff !== undefined) writeHandoff(writer, handoff)
  for (const control of controls) writeControl(writer, control)
}

function printable(text: string, max: number): Bytes {
  invariant(text.length <= max && PRINTABLE.test(text), 'short and printable text')
  return text === '' ? NOTHING : utf8(text)
}

function idBytes(id: MessageId): Bytes {
  const bytes = parseHex(id)
  invariant(bytes?.length === MESSAGE_ID_BYTES, 'a message id has 16 bytes')
  return bytes
}

function writeMessage(writer: ProtobufWriter, message: Message): void {
  const { id, sequence, sentAt, contentType = '', content } = message
  invariant(content.length <= MESSAGE_BYTES_MAX, 'content within its limit')
  const start = writer.begin(1)
  writer.octets(1, idBytes(id))
  writer.number(2, sequence)
  writer.number(3, sentAt)
  writer.octets(4, printable(contentType, CONTENT_TYPE_BYTES_MAX))
  writer.octets(5, content)
  writer.end(start)
}

function writeHandoff(writer: ProtobufWriter, handoff: Handoff): void {
  const { id, sequence, protocol, content } = handoff
  invariant(content.length <= MESSAGE_BYTES_MAX, 'content within its limit')
  const start = writer.begin(4)
  writer.octets(1, idBytes(id))
  writer.number(2, sequence)
  writer.octets(3, printable(protocol, HANDOFF_PROTOCOL_BYTES_MAX))
  writer.octets(4, content)
  writer.end(start)
}

function writeOffer(writer: ProtobufWriter, offer: SckaOffer): void {
  invariant(offer.bytes.length === OFFER_BYTES[offer.kind], 'an offer has its length')
  const start = writer.begin(3)
  writer.number(1, offer.epoch)
  writer.octets(offer.kind === 'encapsulationKey' ? 2 : 3, offer.bytes)
  writer.end(start)
}

/** Field of each control inside a Control. */
const CONTROL_FIELDS = { reset: 1, queueKey: 2, prekeyConsumed: 3, withdrawn: 4 } as const

function writeControl(writer: ProtobufWriter, control: Control): void {
  const outer = writer.begin(5)
  const start = writer.begin(CONTROL_FIELDS[control.kind])
  switch (control.kind) {
    case 'reset':
      break
    case 'queueKey':
      writer.octets(1, control.id)
      writer.octets(2, control.seed)
      writer.number(3, control.expiresAt)
      break
    case 'prekeyConsumed':
      writer.octets(1, parseHex(control.envelopeId) ?? NOTHING)
      break
    case 'withdrawn':
      invariant(control.items.length <= WITHDRAWN_PER_CONTROL_MAX, 'withdrawals within their limit')
      for (const { id, sequence } of control.items) {
        const item = writer.begin(1)
        writer.octets(1, idBytes(id))
        writer.number(2, sequence)
        writer.end(item)
      }
      break
  }
  writer.end(start)
  writer.end(outer)
}
