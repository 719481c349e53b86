// Epochs and own commits as octets, for the store: without trees, which are kept once per tree hash, and
// without the identity key. Floor 0, pure. Own rows only: damage throws.
import { decodeGroupContext, encodeGroupContext } from 'ts-mls/groupContext.js'
import { concat, equalBytes, makeReader, u32, u8 } from '../../base/bytes.ts'
import type { Bytes, Reader } from '../../base/bytes.ts'
import { ConclaveError } from '../../base/errors.ts'
import { peerIdFromBytes, peerIdToBytes } from '../../base/ids.ts'
import type { Identity, WelcomeFor } from '../mls-engine.ts'
import { readVec, vec } from '../tls.ts'
import { MEMBERS_MAX } from '../types.ts'
import { decodeStrictly, decodeTree } from './messages/codec.ts'
import type { OwnCommit } from './commit.ts'
import type { EpochSecrets } from './keys/key-schedule.ts'
import { MESSAGE_KEY_BYTES } from './keys/secret-tree.ts'
import type { NodeSecret, Ratchet, SecretTree } from './keys/secret-tree.ts'
import { HASH_BYTES } from './keys/suite.ts'
import type { Suite } from './keys/suite.ts'
import { orCorrupt, required } from './refusal.ts'
import { leafIndexOf } from './state.ts'
import type { EpochState } from './state.ts'
import { keyAt, rootHash } from './tree/tree.ts'
import { nodeOfLeaf } from './tree/tree-math.ts'

const VERSION = 1
const STRIPPED = 0
const FULL = 1
const ITEM_BYTES_MAX = 0x3fffffff

/** Encodes an epoch; `stripped` leaves out sender data secret and message keys. */
export function encodeSnapshot(state: EpochState, kind: 'full' | 'stripped'): Bytes {
  const { context, ownLeaf, confirmationTag, keys, secrets, messages } = state
  const { senderData } = secrets
  const full = kind === 'full' && messages !== undefined && senderData !== undefined
  const { exporter, external, membership, authenticator, init } = secrets
  const parts = [
    u8(VERSION),
    u8(full ? FULL : STRIPPED),
    vec(encodeGroupContext(context)),
    u32(ownLeaf),
    vec(confirmationTag),
    exporter,
    external,
    membership,
    authenticator,
    init,
    ...encodeList([...keys], ([node, key]) => concat(u32(node), key)),
  ]
  return full ? concat(...parts, senderData, ...encodeMessages(messages)) : concat(...parts)
}

function encodeList<T>(items: readonly T[], encode: (item: T) => Bytes): Bytes[] {
  return [u32(items.length), ...items.map(encode)]
}

function encodeMessages({ leaves, nodes, ratchets }: SecretTree): Bytes[] {
  return [
    u32(leaves),
    ...encodeList([...nodes], ([node, { secret }]) => concat(u32(node), secret)),
    ...encodeList([...ratchets], ([leaf, ratchet]) =>
      concat(
        u32(leaf),
        u32(ratchet.generation),
        ratchet.secret,
        u8(ratchet.jumped ? 1 : 0),
        ...encodeList([...ratchet.skipped], ([at, key]) => concat(u32(at), key)),
      ),
    ),
  ]
}

/** Decodes an epoch and joins it with its tree. */
export function decodeSnapshot(
  suite: Suite,
  bytes: Bytes,
  encodedTree: Bytes,
  self: Identity,
): EpochState {
  return orCorrupt(() => {
    const reader = makeReader(bytes)
    const version = reader.u8()
    const kind = reader.u8()
    const encodedContext = required(readVec(reader, ITEM_BYTES_MAX), 'no context')
    const context = decodeStrictly(decodeGroupContext, encodeGroupContext, encodedContext)
    const ownLeaf = reader.u32()
    const confirmationTag = required(readVec(reader, HASH_BYTES), 'no confirmation tag')
    const base = readSecrets(reader)
    const keys = readMap(reader, () => [reader.u32(), reader.take(HASH_BYTES)])
    const full = kind === FULL
    const senderData = full ? reader.take(HASH_BYTES) : undefined
    const messages = full ? readMessages(reader) : undefined
    check(version === VERSION && kind <= FULL && reader.done, 'a snapshot does not decode')
    const tree = decodeTree(encodedTree)
    const fits = equalBytes(rootHash(suite.primitives, tree), context.treeHash)
    check(fits, 'a snapshot comes with another tree')
    check(leafIndexOf(tree, self.peer) === ownLeaf, 'a snapshot of another member')
    const ownKey = required(keys.get(nodeOfLeaf(ownLeaf)), 'no leaf key')
    const expected = required(keyAt(tree, nodeOfLeaf(ownLeaf)), 'no leaf')
    check(equalBytes(suite.primitives.dhPublic(ownKey), expected), 'the leaf key is another one')
    const secrets = { ...base, senderData }
    return { self, context, tree, ownLeaf, keys, secrets, confirmationTag, messages }
  })
}

function readSecrets(reader: Reader): Omit<EpochSecrets, 'senderData'> {
  const exporter = reader.take(HASH_BYTES)
  const external = reader.take(HASH_BYTES)
  const membership = reader.take(HASH_BYTES)
  const authenticator = reader.take(HASH_BYTES)
  const init = reader.take(HASH_BYTES)
  return { exporter, external, membership, authenticator, init }
}

function readMap<T>(reader: Reader, read: () => readonly [number, T]): Map<number, T> {
  const count = reader.u32()
  check(count <= reader.left, 'a list is cut')
  const map = new Map<number, T>()
  for (let i = 0; i < count; i++) map.set(...read())
  return map
}

function readMessages(reader: Reader): SecretTree {
  const leaves = reader.u32()
  check(leaves <= 2 * MEMBERS_MAX, 'a secret tree is too wide')
  const nodes = readMap(reader, (): [number, NodeSecret] => [
    reader.u32(),
    { owners: 1, secret: reader.take(HASH_BYTES) },
  ])
  const ratchets = readMap(reader, (): [number, Ratchet] => {
    const leaf = reader.u32()
    const generation = reader.u32()
    const secret = reader.take(HASH_BYTES)
    const jumped = reader.u8() === 1
    const skipped = readMap(reader, (): [number, Bytes] => [
      reader.u32(),
      reader.take(MESSAGE_KEY_BYTES),
    ])
    return [leaf, { owners: 1, generation, secret, jumped, skipped }]
  })
  return { leaves, nodes, ratchets }
}

/** Encodes an own commit with its child. */
export function encodeCheckpoint({ child, commit, welcomes }: OwnCommit): Bytes {
  return concat(
    u8(VERSION),
    vec(commit),
    ...encodeList(welcomes, ({ peer, ref, welcome }) =>
      concat(vec(peerIdToBytes(peer)), vec(ref), vec(welcome)),
    ),
    vec(encodeSnapshot(child, 'full')),
  )
}

/** Decodes an own commit and joins its child with its tree. */
export function decodeCheckpoint(
  suite: Suite,
  bytes: Bytes,
  encodedTree: Bytes,
  self: Identity,
): OwnCommit {
  return orCorrupt(() => {
    const reader = makeReader(bytes)
    check(reader.u8() === VERSION, 'a checkpoint of another version')
    const item = (): Bytes => required(readVec(reader, ITEM_BYTES_MAX), 'a checkpoint is cut')
    const commit = item()
    const welcomes: WelcomeFor[] = []
    for (let count = reader.u32(); count > 0; count--) {
      const peer = required(peerIdFromBytes(item()), 'not a peer')
      welcomes.push({ peer, ref: item(), welcome: item() })
    }
    const snapshot = item()
    check(reader.done, 'a checkpoint does not decode')
    return { child: decodeSnapshot(suite, snapshot, encodedTree, self), commit, welcomes }
  })
}

function check(condition: boolean, reason: string): void {
  if (!condition) throw new ConclaveError('STORE_CORRUPT', reason)
}
