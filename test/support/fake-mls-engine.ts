// An MLS engine without trees of keys and without Diffie-Hellman, for simulations: it models who can derive what, and
// passes the conformance suite. Boxes open only for callers that hold the secret; they hide nothing from who reads memory.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { concat, equalBytes, makeReader, u32, u64, u8, utf8 } from '../../protocols/base/bytes.ts'
import { decoded, refused } from '../../protocols/base/decode.ts'
import type { Decoded } from '../../protocols/base/decode.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { peerIdToBytes } from '../../protocols/base/ids.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import type {
  EngineCode,
  Identity,
  MlsEngine,
  MlsEpoch,
  Pending,
  WelcomeFor,
} from '../../protocols/group/mls-engine.ts'
import {
  KEY_PACKAGE_MS,
  KEY_PACKAGE_SKEW_MS,
  PADDING_BYTES,
} from '../../protocols/group/mls-engine.ts'
import {
  at,
  copyOf,
  decodeLeaves,
  decodeState,
  demand,
  encodeContext,
  encodeLeaves,
  encodeState,
  ensure,
  FakeKeys,
  leafOf,
  numberOf,
  pack,
  peerOf,
  place,
  Refusal,
  secretsOf,
  unpack,
} from './fake-mls-state.ts'
import type { Chain, Context, FakeState, Leaves } from './fake-mls-state.ts'
import {
  appParts,
  applyProposals,
  encodeCommit,
  encodeProposals,
  followCommit,
  KINDS,
  makeGroupInfo,
  readGroupInfo,
  readKeyPackage,
  signed,
  transcriptAfter,
  withoutLeaf,
} from './fake-mls-wire.ts'
import type { Changed } from './fake-mls-wire.ts'

const NONE = new Uint8Array(0)
const SECRET_BYTES = 32

/** What the engine is made from. */
export interface FakeEngineParts {
  readonly primitives: Primitives
  readonly random: (count: number) => Bytes
}

class Handle {
  toJSON(): string {
    return '[epoch]'
  }
}

/** What a commit begins with. */
interface CommitParent extends Pick<FakeState, 'self' | 'context' | 'confirmationTag'> {
  readonly init: Bytes
  /** Absent from who comes from outside. */
  readonly member?: { readonly leaf: number; readonly membership: Bytes }
}

/** Makes a fake engine. */
export function makeFakeEngine({ primitives, random }: FakeEngineParts): MlsEngine {
  const keys = new FakeKeys(primitives)
  const states = new WeakMap<object, FakeState>()
  const draw = (): Bytes => random(SECRET_BYTES)

  const add = (state: FakeState): MlsEpoch => {
    const handle = Object.freeze(new Handle())
    states.set(handle, copyOf(state))
    return handle as unknown as MlsEpoch
  }
  const stateOf = (epoch: MlsEpoch): FakeState => {
    const state = states.get(epoch)
    if (state !== undefined) return state
    throw new ConclaveError('BUG_INVARIANT', 'this epoch is disposed or of another engine')
  }
  const advance = (state: FakeState, leaf: number, chain: Chain): MlsEpoch =>
    add({ ...state, chains: new Map(state.chains).set(leaf, chain) })

  const begin = (p: {
    readonly self: Identity
    readonly leaves: Leaves
    readonly ownLeaf: number
    readonly leafSecret: Bytes
    readonly joiner: Bytes
    readonly context: Context
  }): FakeState => {
    const { joiner, ...rest } = p
    const { secrets, tag, messages } = keys.schedule(joiner, p.context)
    return { ...rest, secrets, confirmationTag: tag, chains: keys.chains(messages, p.leaves) }
  }

  /** Makes a commit: a new own leaf, and a secret for all the others. */
  const make = (
    parent: CommitParent,
    changed: Changed,
    p: { readonly proposals: Bytes; readonly adds: readonly Bytes[]; readonly kem?: Bytes },
  ): Pending => {
    const { self, context, init, member } = parent
    const [leafSecret, commitSecret] = [draw(), draw()]
    const own = { peer: self.peer, key: keys.publicOf(leafSecret) }
    const leaves = [...changed.leaves]
    const ownLeaf = member?.leaf ?? place(leaves, own)
    leaves[ownLeaf] = own
    const boxes = leaves.map((leaf, i) => {
      const isLeftOut = leaf === undefined || i === ownLeaf || changed.added.has(i)
      return isLeftOut ? NONE : keys.sealTo(leaf.key, encodeContext(context), commitSecret)
    })
    const { groupId, epoch } = context
    const { proposals, kem } = p
    const sender = kem === undefined ? ownLeaf : { peer: self.peer, kem }
    const content = encodeCommit({ groupId, epoch, sender, proposals, leafKey: own.key, boxes })
    const signature = self.sign(concat(u8(KINDS.commit), content))
    const next: Context = {
      groupId,
      epoch: epoch + 1,
      treeHash: keys.treeHash(leaves),
      policy: changed.policy,
      transcript: transcriptAfter(keys, parent, content, signature),
    }
    const joiner = keys.hash('joiner', init, commitSecret)
    const child = begin({ self, leaves, ownLeaf, leafSecret, joiner, context: next })
    const tag =
      member === undefined
        ? NONE
        : keys.hash('membership', member.membership, content, signature, child.confirmationTag)
    const commit = concat(u8(KINDS.commit), pack(content, signature, child.confirmationTag, tag))
    return { child: add(child), commit, welcomes: welcomesOf(child, joiner, p.adds) }
  }

  const welcomesOf = (child: FakeState, joiner: Bytes, adds: readonly Bytes[]): WelcomeFor[] => {
    if (adds.length === 0) return []
    const key = keys.hash('welcome', joiner)
    const info = keys.sealUnder(key, NONE, makeGroupInfo(keys, child))
    return adds.map((bytes): WelcomeFor => {
      const { facts, initKey } = readKeyPackage(keys, bytes)
      const box = keys.sealTo(initKey, concat(facts.ref, info), joiner)
      const welcome = concat(u8(KINDS.welcome), pack(facts.ref, box, info))
      return { peer: facts.peer, ref: facts.ref, welcome }
    })
  }

  const engine: MlsEngine = {
    create: async ({ groupId, self, policy }) => {
      const leafSecret = draw()
      const leaves = [{ peer: self.peer, key: keys.publicOf(leafSecret) }]
      const treeHash = keys.treeHash(leaves)
      const context: Context = { groupId, epoch: 0, treeHash, policy, transcript: NONE }
      return add(begin({ self, leaves, ownLeaf: 0, leafSecret, joiner: draw(), context }))
    },
    keyPackage: async (self, { nowMs, lastResort = false }) => {
      const [initSecret, leafSecret] = [draw(), draw()]
      const content = pack(
        peerIdToBytes(self.peer),
        keys.publicOf(initSecret),
        keys.publicOf(leafSecret),
        u64(nowMs - KEY_PACKAGE_SKEW_MS),
        u64(nowMs + KEY_PACKAGE_MS),
        u8(lastResort ? 1 : 0),
      )
      const keyPackage = signed(KINDS.keyPackage, self, content)
      const secret = pack(keyPackage, initSecret, leafSecret)
      return { keyPackage, ref: keys.hash('ref', keyPackage), secret }
    },
    readKeyPackage: (bytes) => answering(() => readKeyPackage(keys, bytes).facts),
    join: (p) => answering(() => add(joinFake(keys, p))),
    externalJoin: ({ groupInfo, tree, self }) =>
      answering(() => {
        const { context, confirmationTag, external } = readGroupInfo(keys, groupInfo, tree)
        const { policy } = context
        const changed = withoutLeaf({ leaves: decodeLeaves(tree), policy }, self.peer)
        const init = draw()
        const kem = keys.sealTo(external, encodeContext(context), init)
        const parent = { self, context, confirmationTag, init }
        return make(parent, changed, { proposals: NONE, adds: [], kem })
      }),
    commit: (epoch, { proposals, nowMs }) =>
      answering(() => {
        const { self, leaves, context, confirmationTag, ownLeaf, secrets } = stateOf(epoch)
        const adds = proposals.flatMap((one) => (one.kind === 'add' ? [one.keyPackage] : []))
        for (const one of adds) {
          const { facts } = readKeyPackage(keys, one)
          ensure(facts.notBeforeMs <= nowMs && nowMs <= facts.notAfterMs)
        }
        const { policy } = context
        const changed = applyProposals(keys, { leaves, policy }, proposals, self.peer)
        const member = { leaf: ownLeaf, membership: secrets.membership }
        const parent = { self, context, confirmationTag, init: secrets.init, member }
        return make(parent, changed, { proposals: encodeProposals(proposals), adds })
      }),
    process: (epoch, commit) =>
      answering(() => {
        const { content, child } = followCommit(keys, stateOf(epoch), commit)
        if (child === undefined) return { kind: 'removed', content } as const
        return { kind: 'advanced', child: add(child), content } as const
      }),
    seal: async (epoch, plaintext, aad) => {
      const state = stateOf(epoch)
      const { context, ownLeaf, secrets } = state
      const chain = state.chains?.get(ownLeaf)
      if (chain === undefined) {
        throw new ConclaveError('GROUP_EPOCH_UNKNOWN', 'a stripped epoch seals nothing')
      }
      const generation = chain.next
      const taken = keys.take(chain, generation)
      const place = [u64(context.epoch), u64(ownLeaf), u64(generation)]
      // As RFC 9420's reuse guard: one message sealed twice is not the same octets.
      const head = pack(context.groupId, ...place, aad, random(4))
      const box = keys.sealUnder(taken.key, head, padded(plaintext))
      const tag = keys.hash('head', secrets.senderData, head, box)
      const message = concat(u8(KINDS.app), pack(head, box, tag))
      return { next: advance(state, ownLeaf, taken.chain), message, generation }
    },
    open: (epoch, message) =>
      answering(() => {
        const bad = 'GROUP_OPEN_FAILED'
        const state = stateOf(epoch)
        const { context, secrets, chains, ownLeaf, leaves } = state
        const [head = NONE, box = NONE, tag = NONE] = appParts(message, bad)
        const parts = demand(head, 6, bad)
        const fits = equalBytes(at(parts, 0), context.groupId)
        ensure(fits && equalBytes(at(parts, 1), u64(context.epoch)), 'GROUP_EPOCH_STALE')
        ensure(chains !== undefined, 'GROUP_EPOCH_UNKNOWN')
        ensure(equalBytes(tag, keys.hash('head', secrets.senderData, head, box)), bad)
        const [leaf, generation] = [numberOf(at(parts, 2)), numberOf(at(parts, 3))]
        ensure(leaf !== ownLeaf, 'GROUP_NOT_FOR_ME')
        const [chain, sender] = [chains.get(leaf), leaves[leaf]?.peer]
        ensure(chain !== undefined && sender !== undefined, bad)
        const taken = keys.take(chain, generation)
        const plaintext = unpadded(keys.openUnder(taken.key, head, box, bad))
        const next = advance(state, leaf, taken.chain)
        return { next, plaintext, sender, senderLeaf: leaf, generation, aad: at(parts, 4) }
      }),
    export: async (epoch, label, context, length) => {
      const secret = keys.hash('export', stateOf(epoch).secrets.exporter, utf8(label), context)
      return primitives.hkdfExpandSha256(secret, NONE, length)
    },
    info: (epoch) => {
      const { context, ownLeaf, leaves, secrets, confirmationTag } = stateOf(epoch)
      const encoded = encodeContext(context)
      const external = keys.publicOf(secrets.external)
      return {
        groupId: context.groupId,
        epoch: context.epoch,
        ownLeaf,
        roster: leaves.flatMap((leaf, leafIndex) => (leaf ? [{ peer: leaf.peer, leafIndex }] : [])),
        policy: context.policy,
        treeHash: context.treeHash,
        authenticator: secrets.authenticator.slice(),
        confirmationTag,
        context: encoded,
        groupInfoHash: primitives.sha256(pack(encoded, confirmationTag, external)),
      }
    },
    groupInfo: async (epoch) => makeGroupInfo(keys, stateOf(epoch)),
    readGroupInfo: (bytes) =>
      answeringNow(() => {
        const { encoded, context, confirmationTag, external } = readGroupInfo(keys, bytes)
        const { groupId, epoch, treeHash, policy } = context
        const groupInfoHash = primitives.sha256(pack(encoded, confirmationTag, external))
        return { groupId, epoch, treeHash, policy, groupInfoHash }
      }),
    tree: (epoch) => encodeLeaves(stateOf(epoch).leaves),
    snapshot: (epoch, kind) => encodeState(keys, stateOf(epoch), kind),
    restore: async (snapshot, tree, self) => add(decodeState(keys, snapshot, tree, self)),
    checkpoint: ({ child, commit, welcomes }) => {
      const list = welcomes.map((one) => pack(peerIdToBytes(one.peer), one.ref, one.welcome))
      return keys.row(pack(encodeState(keys, stateOf(child), 'full'), commit, pack(...list)))
    },
    resume: async (checkpoint, tree, self) => {
      const [snapshot = NONE, commit = NONE, list = NONE] = unpack(keys.openRow(checkpoint)) ?? []
      const welcomes = (unpack(list) ?? []).map((bytes): WelcomeFor => {
        const [peer = NONE, ref = NONE, welcome = NONE] = unpack(bytes) ?? []
        return { peer: peerOf(peer), ref, welcome }
      })
      return { child: await engine.restore(snapshot, tree, self), commit, welcomes }
    },
    dispose: (epoch) => {
      const state = states.get(epoch)
      states.delete(epoch)
      if (state !== undefined) for (const secret of secretsOf(state)) secret.fill(0)
    },
  }
  return engine
}

function joinFake(keys: FakeKeys, p: Parameters<MlsEngine['join']>[0]): FakeState {
  const { welcome, secret, tree, self } = p
  const [keyPackage = NONE, initSecret = NONE, leafSecret = NONE] = demand(secret, 3)
  ensure(welcome[0] === KINDS.welcome)
  const [ref = NONE, box = NONE, sealedInfo = NONE] = demand(welcome.subarray(1), 3)
  ensure(equalBytes(ref, keys.hash('ref', keyPackage)), 'GROUP_NOT_FOR_ME')
  const joiner = keys.openWith(initSecret, concat(ref, sealedInfo), box)
  const info = keys.openUnder(keys.hash('welcome', joiner), NONE, sealedInfo)
  const { context, confirmationTag } = readGroupInfo(keys, info, tree)
  const leaves = decodeLeaves(tree)
  const ownLeaf = leafOf(leaves, self.peer)
  ensure(ownLeaf !== undefined)
  ensure(equalBytes(leaves[ownLeaf]?.key ?? NONE, keys.publicOf(leafSecret)))
  const { secrets, tag, messages } = keys.schedule(joiner, context)
  ensure(equalBytes(tag, confirmationTag))
  const chains = keys.chains(messages, leaves)
  return { self, context, leaves, ownLeaf, leafSecret, secrets, confirmationTag, chains }
}

function padded(plaintext: Bytes): Bytes {
  const length = 4 + plaintext.length
  const room = Math.ceil(length / PADDING_BYTES) * PADDING_BYTES
  return concat(u32(plaintext.length), plaintext, new Uint8Array(room - length))
}

function unpadded(content: Bytes): Bytes {
  const reader = makeReader(content)
  return reader.take(reader.u32())
}

function answering<T>(run: () => T): Promise<Decoded<T, EngineCode>> {
  return new Promise((resolve) => resolve(answeringNow(run)))
}

function answeringNow<T>(run: () => T): Decoded<T, EngineCode> {
  try {
    return decoded(run())
  } catch (error) {
    if (error instanceof Refusal) return refused(error.code)
    throw error
  }
}
