// How often a commit, and following one, ask for digests, derivations and HPKE seals: ours and ts-mls's.
import * as tsMls from 'ts-mls'
import type { CiphersuiteImpl } from 'ts-mls'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { engine, must, NOW, theirCommit, theirImpl, theirProcess } from './group-pair.ts'
import type { Pair, Seat } from './group-pair.ts'

type Counts = Record<string, number>

/** Calls since the last look. Derivations are HKDF-Expand; ours include those inside HPKE, which ts-mls's hide. */
class Counter {
  digests = 0
  derivations = 0

  take(name: string): Counts {
    const { digests, derivations } = this
    Object.assign(this, { digests: 0, derivations: 0 })
    return { [`${name}Digests`]: digests, [`${name}Derivations`]: derivations }
  }
}

/** Counts the work of one warm commit, and of following the other side's, from the same epoch. */
export async function countWork(
  pair: Pair,
  seat: Seat,
  [mine, other]: readonly [mine: Bytes, other: Bytes],
): Promise<Counts> {
  return { ...(await countOurs(pair, seat, other)), ...(await countTheirs(pair, mine)) }
}

async function countOurs({ ours }: Pair, seat: Seat, other: Bytes): Promise<Counts> {
  const counter = new Counter()
  const primitives: Primitives = {
    ...native,
    sha256: (...parts) => (counter.digests++, native.sha256(...parts)),
    hkdfExpandSha256: (prk, info, length) => (
      counter.derivations++,
      native.hkdfExpandSha256(prk, info, length)
    ),
  }
  const counting = makeMlsEngine({ primitives, random: randomBytes })
  const copy = await counting.restore(engine.snapshot(ours, 'full'), engine.tree(ours), seat)
  counter.take('restore')
  must(await counting.commit(copy, { proposals: [], nowMs: NOW }))
  const commit = counter.take('commit')
  must(await counting.process(copy, other))
  return { ...commit, ...counter.take('process') }
}

async function countTheirs({ theirs }: Pair, mine: Bytes): Promise<Counts> {
  const counter = new Counter()
  const { hash, kdf } = theirImpl
  const counting: CiphersuiteImpl = {
    ...theirImpl,
    hash: { ...hash, digest: (data) => (counter.digests++, hash.digest(data)) },
    kdf: {
      ...kdf,
      expand: (prk, info, length) => (counter.derivations++, kdf.expand(prk, info, length)),
    },
  }
  const commit = await theirCommit(theirs, [], counting)
  const made = { ...counter.take('theirCommit'), theirSeals: sealsIn(commit) }
  await theirProcess(theirs, mine, counting)
  return { ...made, ...counter.take('theirProcess') }
}

/** HPKE seals of a commit's path. */
export function sealsIn(bytes: Bytes): number {
  const message = tsMls.decodeMlsMessage(bytes, 0)?.[0]
  if (message?.wireformat !== 'mls_public_message') return 0
  const { content } = message.publicMessage
  const nodes = content.contentType === 'commit' ? (content.commit.path?.nodes ?? []) : []
  return nodes.reduce((sum, { encryptedPathSecret }) => sum + encryptedPathSecret.length, 0)
}
