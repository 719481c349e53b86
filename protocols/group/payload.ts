// Payload: an application message inside MLS, signed by its author besides (spec.md §3.5). Floor 0, pure.
// The signature makes it re-publishable in another branch without a doubt about who wrote it.
import { concat, makeReader, parseUtf8, u64, u8, utf8 } from '../base/bytes.ts'
import type { Bytes } from '../base/bytes.ts'
import { decoded, refused } from '../base/decode.ts'
import type { Decoded } from '../base/decode.ts'
import { publicKeyOf } from '../base/ids.ts'
import type { Primitives } from '../base/primitives.ts'
import { SIGNATURE_BYTES, signLabelled, verifyLabelled } from '../base/signed.ts'
import { encodeRef, idBytes, readRef, toGroupId, toGroupMessageId } from './ids.ts'
import { readVec, vec } from './tls.ts'
import {
  GROUP_BODY_BYTES_MAX,
  GROUP_TYPE_BYTES_MAX,
  LABEL_PAYLOAD,
  MESSAGE_ID_BYTES,
} from './types.ts'
import type { Payload } from './types.ts'

const VERSION = 1

/** Encodes and signs a payload under its author's Ed25519 seed. */
export function signPayload(primitives: Primitives, secret: Bytes, payload: Payload): Bytes {
  const content = concat(
    u8(VERSION),
    idBytes(payload.groupId),
    idBytes(payload.msgId),
    encodeRef(payload.author),
    u64(payload.n),
    u64(payload.lamport),
    u64(payload.sentAtMs),
    vec(utf8(payload.contentType)),
    vec(payload.body),
  )
  return concat(content, signLabelled(primitives, secret, LABEL_PAYLOAD, content))
}

/** Decodes a payload, strictly, without looking at its signature. */
export function decodePayload(bytes: Bytes): Decoded<Payload> {
  const reader = makeReader(bytes)
  if (reader.u8() !== VERSION) return refused('CODEC_UNKNOWN_VERSION')
  const groupId = toGroupId(reader.take(32))
  const msgId = toGroupMessageId(reader.take(MESSAGE_ID_BYTES))
  const author = readRef(reader)
  const [n, lamport, sentAtMs] = [reader.u64(), reader.u64(), reader.u64()]
  const type = readVec(reader, GROUP_TYPE_BYTES_MAX)
  const body = readVec(reader, GROUP_BODY_BYTES_MAX)
  reader.take(SIGNATURE_BYTES)
  if (!reader.done || type === undefined || body === undefined) return refused('CODEC_LENGTH')
  const contentType = parseUtf8(type)
  if (contentType === undefined || /\p{Cc}/u.test(contentType)) return refused('CODEC_MALFORMED')
  if (author.gen === 0 || n === 0) return refused('CODEC_MALFORMED')
  return decoded({ groupId, msgId, author, n, lamport, sentAtMs, contentType, body })
}

/** Decodes a payload and verifies its author's signature. */
export function verifyPayload(primitives: Primitives, bytes: Bytes): Decoded<Payload> {
  const payload = decodePayload(bytes)
  if (!payload.ok) return payload
  const content = bytes.subarray(0, bytes.length - SIGNATURE_BYTES)
  const signature = bytes.subarray(bytes.length - SIGNATURE_BYTES)
  const key = publicKeyOf(payload.value.author.peer)
  return verifyLabelled(primitives, key, LABEL_PAYLOAD, content, signature)
    ? payload
    : refused('VERIFY_SIGNATURE')
}
