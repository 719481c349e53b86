// The states behind the fake engine: who holds which key, as chains of hashes. There is no tree of keys: a commit seals
// its secret to every leaf by itself, which is what a tree amounts to for who can derive what.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { concat, equalBytes, makeReader, u32, u64, utf8 } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { peerIdFromBytes, peerIdToBytes } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type { EngineCode, Identity } from '../../protocols/group/mls-engine.ts'
import { GENERATIONS_KEPT_MAX, GENERATION_STEP_MAX } from '../../protocols/group/mls-engine.ts'

const NONE = new Uint8Array(0)
const NONCE = new Uint8Array(12)
const HASH_BYTES = 32

/** Why the fake engine refuses; never leaves it. One for each code: a stack would cost more than the engine. */
export class Refusal extends Error {
  readonly code: EngineCode

  private constructor(code: EngineCode) {
    super(code)
    this.code = code
  }

  static of(code: EngineCode): Refusal {
    const known = refusals.get(code) ?? new Refusal(code)
    refusals.set(code, known)
    return known
  }
}

const refusals = new Map<EngineCode, Refusal>()

/** Refuses unless it holds. */
export function ensure(holds: boolean, code: EngineCode = 'GROUP_COMMIT_INVALID'): asserts holds {
  if (!holds) throw Refusal.of(code)
}

/** Parts with their lengths in front. */
export function pack(...parts: readonly Bytes[]): Bytes {
  return concat(...parts.flatMap((part) => [u32(part.length), part]))
}

/** The way back from `pack`, strictly; undefined if it is anything else or not of `count` parts. */
export function unpack(bytes: Bytes, count?: number): Bytes[] | undefined {
  const reader = makeReader(bytes)
  const parts: Bytes[] = []
  while (reader.ok && reader.left > 0) parts.push(reader.take(reader.u32()))
  return reader.ok && (count === undefined || parts.length === count) ? parts : undefined
}

/** The parts of bytes of a peer. */
export function demand(
  bytes: Bytes,
  count?: number,
  code: EngineCode = 'GROUP_COMMIT_INVALID',
): Bytes[] {
  const parts = unpack(bytes, count)
  ensure(parts !== undefined, code)
  return parts
}

/** A part that is known to be there. */
export function at(parts: readonly Bytes[], index: number): Bytes {
  return parts[index] ?? NONE
}

/** A number of eight octets. */
export function numberOf(bytes: Bytes): number {
  const reader = makeReader(bytes)
  const value = reader.u64()
  ensure(reader.done)
  return value
}

/** A peer from its octets. */
export function peerOf(bytes: Bytes): PeerId {
  const peer = peerIdFromBytes(bytes)
  ensure(peer !== undefined)
  return peer
}

/** A member's place: its public key is the hash of a secret that only it holds. */
export interface Leaf {
  readonly peer: PeerId
  readonly key: Bytes
}

/** Members by leaf index. */
export type Leaves = readonly (Leaf | undefined)[]

/** What everybody in an epoch agrees on. */
export interface Context {
  readonly groupId: Bytes
  readonly epoch: number
  readonly treeHash: Bytes
  readonly policy: Bytes
  readonly transcript: Bytes
}

/** A sender's message keys from `next` on, and those that were skipped. */
export interface Chain {
  readonly next: number
  readonly secret: Bytes
  readonly skipped: ReadonlyMap<number, Bytes>
}

/** One epoch as one member holds it. */
export interface FakeState {
  readonly self: Identity
  readonly context: Context
  readonly leaves: Leaves
  readonly ownLeaf: number
  readonly leafSecret: Bytes
  readonly secrets: FakeSecrets
  readonly confirmationTag: Bytes
  /** Message keys by leaf index; absent from stripped handles. */
  readonly chains: ReadonlyMap<number, Chain> | undefined
}

const SECRETS = [
  'init',
  'exporter',
  'membership',
  'external',
  'authenticator',
  'senderData',
] as const

/** What is derived from an epoch's secret. */
export type FakeSecrets = Readonly<Record<(typeof SECRETS)[number], Bytes>>

/** Hashes and boxes of the fake engine. */
export class FakeKeys {
  readonly primitives: Primitives

  constructor(primitives: Primitives) {
    this.primitives = primitives
  }

  hash(label: string, ...parts: readonly Bytes[]): Bytes {
    return this.primitives.sha256(pack(utf8(label), ...parts))
  }

  publicOf(secret: Bytes): Bytes {
    return this.hash('public', secret)
  }

  /** Seals to whoever holds the secret of a public key. What it hides it hides from the engine's callers alone. */
  sealTo(publicKey: Bytes, ad: Bytes, content: Bytes): Bytes {
    return this.primitives.seal(this.hash('box', publicKey), NONCE, ad, content)
  }

  openWith(secret: Bytes, ad: Bytes, box: Bytes): Bytes {
    return this.#open(this.hash('box', this.publicOf(secret)), ad, box)
  }

  sealUnder(key: Bytes, ad: Bytes, content: Bytes): Bytes {
    return this.primitives.seal(key, NONCE, ad, content)
  }

  openUnder(key: Bytes, ad: Bytes, box: Bytes, code?: EngineCode): Bytes {
    return this.#open(key, ad, box, code)
  }

  #open(key: Bytes, ad: Bytes, box: Bytes, code?: EngineCode): Bytes {
    const content =
      box.length < 16 ? undefined : this.primitives.open(key, NONCE, ad, Uint8Array.from(box))
    ensure(content !== undefined, code)
    return content
  }

  treeHash(leaves: Leaves): Bytes {
    return this.hash('tree', encodeLeaves(leaves))
  }

  /** The secrets of an epoch, and the tag that shows that its maker had them. */
  schedule(
    joiner: Bytes,
    context: Context,
  ): { readonly secrets: FakeSecrets; readonly tag: Bytes; readonly messages: Bytes } {
    const root = this.hash('epoch', joiner, encodeContext(context))
    const derived = SECRETS.map((label) => [label, this.hash(label, root)] as const)
    return {
      secrets: Object.fromEntries(derived) as unknown as FakeSecrets,
      tag: this.hash('confirm', root, context.transcript),
      messages: this.hash('messages', root),
    }
  }

  chains(messages: Bytes, leaves: Leaves): Map<number, Chain> {
    const chains = new Map<number, Chain>()
    for (const [index, leaf] of leaves.entries()) {
      if (leaf === undefined) continue
      const secret = this.hash('sender', messages, u32(index))
      chains.set(index, { next: 0, secret, skipped: new Map() })
    }
    return chains
  }

  /** Takes a key out of a chain. */
  take(chain: Chain, generation: number): { readonly key: Bytes; readonly chain: Chain } {
    const { next, secret, skipped } = chain
    if (generation < next) {
      const key = skipped.get(generation)
      ensure(key !== undefined, 'GROUP_CONSUMED')
      const left = new Map(skipped)
      left.delete(generation)
      return { key, chain: { next, secret, skipped: left } }
    }
    ensure(generation - next <= GENERATION_STEP_MAX, 'GROUP_TOO_FAR_AHEAD')
    const kept = new Map(skipped)
    let ratchet = secret
    for (let one = next; one < generation; one++) {
      kept.set(one, this.hash('key', ratchet))
      ratchet = this.hash('next', ratchet)
    }
    for (const one of kept.keys()) {
      if (kept.size <= GENERATIONS_KEPT_MAX) break
      kept.delete(one)
    }
    const key = this.hash('key', ratchet)
    return {
      key,
      chain: { next: generation + 1, secret: this.hash('next', ratchet), skipped: kept },
    }
  }

  /** A row that shows damage. */
  row(body: Bytes): Bytes {
    return concat(this.hash('row', body), body)
  }

  /** The way back from `row`. @throws ConclaveError `STORE_CORRUPT`. */
  openRow(bytes: Bytes): Bytes {
    const body = bytes.slice(HASH_BYTES)
    if (equalBytes(this.hash('row', body), bytes.slice(0, HASH_BYTES))) return body
    throw new ConclaveError('STORE_CORRUPT', 'a row of the engine is damaged')
  }
}

/** Every secret that a state holds. */
export function secretsOf({ leafSecret, secrets, chains }: FakeState): Bytes[] {
  const messages = [...(chains?.values() ?? [])].flatMap(({ secret, skipped }) => [
    secret,
    ...skipped.values(),
  ])
  return [leafSecret, ...Object.values(secrets), ...messages]
}

/** A state that shares no secret with another. */
export function copyOf(state: FakeState): FakeState {
  const { leafSecret, secrets, chains } = state
  const copied = SECRETS.map((label) => [label, secrets[label].slice()] as const)
  const messages = [...(chains ?? [])].map(([leaf, { next, secret, skipped }]) => {
    const keys = [...skipped].map(([generation, key]) => [generation, key.slice()] as const)
    return [leaf, { next, secret: secret.slice(), skipped: new Map(keys) }] as const
  })
  return {
    ...state,
    leafSecret: leafSecret.slice(),
    secrets: Object.fromEntries(copied) as unknown as FakeSecrets,
    chains: chains === undefined ? undefined : new Map(messages),
  }
}

const encodings = new WeakMap<Leaves, Bytes>()

/** The public tree. */
export function encodeLeaves(leaves: Leaves): Bytes {
  let bytes = encodings.get(leaves)
  if (bytes === undefined) {
    bytes = pack(
      ...leaves.map((leaf) =>
        leaf === undefined ? NONE : pack(peerIdToBytes(leaf.peer), leaf.key),
      ),
    )
    encodings.set(leaves, bytes)
  }
  return bytes.slice()
}

/** Trees that were read lately, by their octets. */
const trees = new Map<string, Leaves>()
const TREES_MAX = 1_000

/** Reads a public tree. */
export function decodeLeaves(bytes: Bytes): Leaves {
  const name = Buffer.from(bytes).toString('latin1')
  const known = trees.get(name)
  if (known !== undefined) return known
  const leaves = readLeaves(bytes)
  if (trees.size >= TREES_MAX) trees.clear()
  trees.set(name, leaves)
  return leaves
}

function readLeaves(bytes: Bytes): Leaves {
  return demand(bytes).map((part) => {
    if (part.length === 0) return undefined
    const parts = demand(part, 2)
    ensure(at(parts, 1).length === HASH_BYTES)
    return { peer: peerOf(at(parts, 0)), key: at(parts, 1) }
  })
}

/** A context as it is hashed and signed. */
export function encodeContext({ groupId, epoch, treeHash, policy, transcript }: Context): Bytes {
  return pack(groupId, u64(epoch), treeHash, policy, transcript)
}

/** Reads a context. */
export function decodeContext(bytes: Bytes): Context {
  const parts = demand(bytes, 5)
  return {
    groupId: at(parts, 0),
    epoch: numberOf(at(parts, 1)),
    treeHash: at(parts, 2),
    policy: at(parts, 3),
    transcript: at(parts, 4),
  }
}

/** The leaf of a member. */
export function leafOf(leaves: Leaves, peer: PeerId): number | undefined {
  const index = leaves.findIndex((leaf) => leaf?.peer === peer)
  return index < 0 ? undefined : index
}

/** Puts a member into the leftmost free place. */
export function place(leaves: (Leaf | undefined)[], leaf: Leaf): number {
  const free = leaves.findIndex((one) => one === undefined)
  const index = free < 0 ? leaves.length : free
  leaves[index] = leaf
  return index
}

/** Encodes a state without its tree. */
export function encodeState(keys: FakeKeys, state: FakeState, kind: 'full' | 'stripped'): Bytes {
  const { context, ownLeaf, leafSecret, secrets, confirmationTag, chains } = state
  const messages =
    chains === undefined || kind === 'stripped'
      ? []
      : [...chains].map(([leaf, { next, secret, skipped }]) =>
          pack(
            u64(leaf),
            u64(next),
            secret,
            pack(...[...skipped].flatMap(([one, key]) => [u64(one), key])),
          ),
        )
  const body = pack(
    encodeContext(context),
    u64(ownLeaf),
    leafSecret,
    pack(...SECRETS.map((label) => secrets[label])),
    confirmationTag,
    u64(chains === undefined || kind === 'stripped' ? 0 : 1),
    pack(...messages),
  )
  return keys.row(body)
}

/** Restores a state. @throws ConclaveError `STORE_CORRUPT`. */
export function decodeState(keys: FakeKeys, bytes: Bytes, tree: Bytes, self: Identity): FakeState {
  const corrupt = new ConclaveError('STORE_CORRUPT', 'a snapshot does not fit')
  const body = keys.openRow(bytes)
  try {
    const parts = demand(body, 7)
    const context = decodeContext(at(parts, 0))
    const leaves = decodeLeaves(tree)
    const ownLeaf = numberOf(at(parts, 1))
    ensure(equalBytes(keys.treeHash(leaves), context.treeHash))
    ensure(leaves[ownLeaf]?.peer === self.peer)
    const secrets = demand(at(parts, 3), SECRETS.length)
    const hasChains = numberOf(at(parts, 5)) === 1
    return {
      self,
      context,
      leaves,
      ownLeaf,
      leafSecret: at(parts, 2),
      secrets: Object.fromEntries(
        SECRETS.map((label, i) => [label, at(secrets, i)]),
      ) as unknown as FakeSecrets,
      confirmationTag: at(parts, 4),
      chains: hasChains ? new Map(demand(at(parts, 6)).map(readChain)) : undefined,
    }
  } catch (error) {
    throw error instanceof Refusal ? corrupt : error
  }
}

function readChain(bytes: Bytes): [number, Chain] {
  const parts = demand(bytes, 4)
  const list = demand(at(parts, 3))
  const skipped = new Map<number, Bytes>()
  for (let i = 0; i + 1 < list.length; i += 2) skipped.set(numberOf(at(list, i)), at(list, i + 1))
  return [numberOf(at(parts, 0)), { next: numberOf(at(parts, 1)), secret: at(parts, 2), skipped }]
}
