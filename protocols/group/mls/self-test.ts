// What must hold before an engine is trusted with a group; run once at startup. Floor 0, pure.
import type { Bytes } from '../../base/bytes.ts'
import { equalBytes, utf8 } from '../../base/bytes.ts'
import type { Decoded } from '../../base/decode.ts'
import { invariant } from '../../base/errors.ts'
import { peerIdFromPublicKey } from '../../base/ids.ts'
import type { Primitives } from '../../base/primitives.ts'
import type { TimeMs } from '../../base/time.ts'
import type { Identity, MlsEngine, MlsEpoch, Pending } from '../mls-engine.ts'
import { decodeMessage } from './messages/codec.ts'

/** What the self-test needs; its identities are thrown away. */
export interface SelfTestParts {
  readonly engine: MlsEngine
  readonly primitives: Primitives
  readonly random: (count: number) => Bytes
  readonly nowMs: TimeMs
}

const NONE = new Uint8Array(0)

/**
 * Removes a member from a group of three and checks that it is out: the commit has an UpdatePath, so that
 * the next epoch depends on a secret the removed one does not get; nothing it holds opens or exports it.
 *
 * @throws ConclaveError `BUG_INVARIANT`.
 */
export async function selfTest({
  engine,
  primitives,
  random,
  nowMs,
}: SelfTestParts): Promise<void> {
  const [alice, bob, carol] = [0, 1, 2].map(() => toIdentity(primitives, random(32)))
  invariant(alice !== undefined && bob !== undefined && carol !== undefined, 'the cast is complete')
  const groupId = random(32)
  const founded = await engine.create({ groupId, self: alice, policy: NONE, nowMs })
  const keyPackages = await Promise.all([bob, carol].map((p) => engine.keyPackage(p, { nowMs })))
  const adds = keyPackages.map(({ keyPackage }) => ({ kind: 'add' as const, keyPackage }))
  const grown = must(await engine.commit(founded, { proposals: adds, nowMs }))
  const join = async (at: number, self: Identity): Promise<MlsEpoch> => {
    const welcome = grown.welcomes[at]?.welcome ?? NONE
    const secret = keyPackages[at]?.secret ?? NONE
    return must(await engine.join({ welcome, secret, tree: engine.tree(grown.child), self }))
  }
  const bobs = await join(0, bob)
  const carols = await join(1, carol)
  const proposals = [{ kind: 'remove' as const, peer: carol.peer }]
  const shrunk = must(await engine.commit(grown.child, { proposals, nowMs }))
  invariant(hasPath(shrunk), 'a Remove has an UpdatePath')

  const followed = must(await engine.process(bobs, shrunk.commit))
  invariant(followed.kind === 'advanced', 'who stays advances')
  const bobNext = engine.info(followed.child)
  const agreed = equalBytes(bobNext.authenticator, engine.info(shrunk.child).authenticator)
  invariant(agreed, 'who stays agrees')
  const out = must(await engine.process(carols, shrunk.commit))
  invariant(out.kind === 'removed', 'who is removed gets no epoch')

  const sealed = await engine.seal(shrunk.child, utf8('after'), NONE)
  const read = must(await engine.open(followed.child, sealed.message))
  invariant(equalBytes(read.plaintext, utf8('after')), 'who stays reads on')
  const refusedToCarol = await engine.open(carols, sealed.message)
  invariant(!refusedToCarol.ok, 'who is removed reads nothing')
  const before = await engine.export(carols, 'self test', NONE, 32)
  const after = await engine.export(shrunk.child, 'self test', NONE, 32)
  invariant(!equalBytes(before, after), 'epochs export different secrets')
  for (const epoch of [founded, grown.child, bobs, carols, shrunk.child]) engine.dispose(epoch)
  for (const epoch of [followed.child, sealed.next, read.next]) engine.dispose(epoch)
}

function toIdentity(primitives: Primitives, secret: Bytes): Identity {
  const peer = peerIdFromPublicKey(primitives.signPublic(secret))
  return { peer, sign: (message) => primitives.sign(secret, message) }
}

function hasPath({ commit }: Pending): boolean {
  const { content } = decodeMessage('mls_public_message', commit).publicMessage
  return content.contentType === 'commit' && content.commit.path !== undefined
}

function must<T>(decoded: Decoded<T>): T {
  invariant(decoded.ok, 'the engine accepts what it made')
  return decoded.value
}
