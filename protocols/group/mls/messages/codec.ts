// MLS messages as octets, strictly: ts-mls's codecs plus no trailing octets, no second spelling. Floor 0, pure.
import type { Decoder } from 'ts-mls/codec/tlsDecoder.js'
import { decodeGroupInfo, encodeGroupInfo } from 'ts-mls/groupInfo.js'
import type { GroupInfo } from 'ts-mls/groupInfo.js'
import { decodeMlsMessage, encodeMlsMessage } from 'ts-mls/message.js'
import type { MLSMessage } from 'ts-mls/message.js'
import { decodeRatchetTree, encodeRatchetTree } from 'ts-mls/ratchetTree.js'
import { equalBytes } from '../../../base/bytes.ts'
import type { Bytes } from '../../../base/bytes.ts'
import type { EngineCode } from '../../mls-engine.ts'
import { MEMBERS_MAX, TREE_BYTES_MAX } from '../../types.ts'
import { Refusal, ensure } from '../refusal.ts'
import { toTree } from '../tree/tree.ts'
import type { Tree } from '../tree/tree.ts'

type Wireformat = MLSMessage['wireformat']
type MessageOf<W extends Wireformat> = Extract<MLSMessage, { wireformat: W }>

/**
 * Decodes with a decoder of ts-mls, which throws on cut input, reads lengths in any form and keeps views
 * of its input; so the input is copied, and what comes out must encode to it again.
 */
export function decodeStrictly<T>(
  decode: Decoder<T>,
  encode: (value: T) => Bytes,
  bytes: Bytes,
  code: EngineCode = 'GROUP_COMMIT_INVALID',
): T {
  const value = attempt(decode, Uint8Array.from(bytes), code)
  ensure(equalBytes(encode(value), bytes), 'not in canonical form', code)
  return value
}

function attempt<T>(decode: Decoder<T>, bytes: Bytes, code: EngineCode): T {
  try {
    const found = decode(bytes, 0)
    if (found?.[1] === bytes.length) return found[0]
  } catch {
    // Cut lengths and values out of range.
  }
  throw new Refusal(code, 'does not decode')
}

/** Decodes an MLSMessage of one wire format. */
export function decodeMessage<W extends Wireformat>(
  wireformat: W,
  bytes: Bytes,
  code: EngineCode = 'GROUP_COMMIT_INVALID',
): MessageOf<W> {
  const message = decodeStrictly(decodeMlsMessage, encodeMlsMessage, bytes, code)
  ensure(isOf(wireformat, message), 'another wire format', code)
  return message
}

function isOf<W extends Wireformat>(wireformat: W, message: MLSMessage): message is MessageOf<W> {
  return message.wireformat === wireformat
}

/** Decodes a GroupInfo without message header, as a Welcome holds it. */
export function decodeBareGroupInfo(bytes: Bytes): GroupInfo {
  return decodeStrictly(decodeGroupInfo, encodeGroupInfo, bytes)
}

/** Decodes a ratchet tree; its last node must not be blank (RFC 9420 §12.4.3.3). */
export function decodeTree(bytes: Bytes): Tree {
  ensure(bytes.length <= TREE_BYTES_MAX, 'the tree is too large')
  const tree = toTree(decodeStrictly(decodeRatchetTree, encodeRatchetTree, bytes))
  // Leaves fill from the left: a tree is never wider than its group may be large.
  ensure(tree.nodes.length < 2 * MEMBERS_MAX, 'the tree is too wide')
  const misplaced = tree.nodes.some(
    (node, index) => node !== undefined && (node.nodeType === 'leaf') !== (index % 2 === 0),
  )
  ensure(!misplaced, 'leaves and parents are misplaced')
  return tree
}

/** Encodes a ratchet tree without its blank right end. */
export function encodeTree(tree: Tree): Bytes {
  return encodeRatchetTree(tree.nodes.slice())
}
