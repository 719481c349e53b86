import type { PeerInfo } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import { DAY_MS } from '../../protocols/base/time.ts'
import { toLibp2pPeerId } from '../../src/host/addresses.ts'
import {
  makePacedWalk,
  QUERY_TIMEOUT_MS,
  REST_FIRST_MS,
  REST_MAX_MS,
} from '../../src/host/paced-walk.ts'
import type { Components } from '../../src/host/transports.ts'
import { rejection } from '../support/hosts.ts'
import { installVirtualTime, runOnRealTime } from '../support/virtual-time.ts'

const time = installVirtualTime()
const test = suite('host · paced walk')
test.before.each(() => time.reset(0))

const peer = (octet: number, ...addresses: string[]): PeerInfo => ({
  id: toLibp2pPeerId(peerIdFromPublicKey(new Uint8Array(32).fill(octet))),
  multiaddrs: addresses.map((address) => multiaddr(address)),
})
const BOB = peer(1, '/ip4/10.0.0.1/tcp/1')
const CAROL = peer(2, '/ip4/10.0.0.2/tcp/1')

type Query = (key: Uint8Array, options: { signal: AbortSignal }) => AsyncIterable<PeerInfo>

interface Walk {
  readonly met: string[]
  /** When the router was asked. */
  readonly askedAt: number[]
  readonly keys: Uint8Array[]
  readonly stop: AbortController
  readonly ended: Promise<unknown>
}

/** Walks with one router that answers queries in this way, and a store that knows these peers. */
function walking(query: Query, known: readonly PeerInfo[] = []): Walk {
  const walk = { met: [] as string[], askedAt: [] as number[], keys: [] as Uint8Array[] }
  const router = {
    getClosestPeers: (key: Uint8Array, options: { signal: AbortSignal }) => {
      walk.askedAt.push(time.now)
      walk.keys.push(key)
      return query(key, options)
    },
  }
  const components = {
    peerRouting: { routers: [router] },
    peerStore: {
      getInfo: (id: PeerInfo['id']) => {
        const info = known.find((one) => one.id.equals(id))
        return info === undefined ? Promise.reject(new Error('not known')) : Promise.resolve(info)
      },
    },
  } as unknown as Components
  const stop = new AbortController()
  const follow = async (): Promise<void> => {
    for await (const { id, multiaddrs } of makePacedWalk(components)({ signal: stop.signal })) {
      walk.met.push(`${id.toString()} ${multiaddrs.join()}`)
    }
  }
  const ended = rejection(follow())
  return { ...walk, stop, ended }
}

async function* nobody(): AsyncGenerator<PeerInfo> {
  // Answers at once, with no peers.
}

const textOf = ({ id, multiaddrs }: PeerInfo): string => `${id.toString()} ${multiaddrs.join()}`

test('rests before the first query and after each, twice as long every time up to the longest', async () => {
  const { askedAt, stop } = walking(nobody)
  await time.run(() => false, DAY_MS)
  stop.abort()
  const rests = askedAt.map((at, i) => at - (askedAt[i - 1] ?? 0))
  assert.equal(
    rests,
    rests.map((_, i) => Math.min(REST_FIRST_MS * 2 ** i, REST_MAX_MS)),
  )
  assert.is(rests.at(-1), REST_MAX_MS)
  assert.ok(rests.length > DAY_MS / REST_MAX_MS)
})

test('every query goes towards another key', async () => {
  const { keys, stop } = walking(nobody)
  await time.run(() => keys.length === 10, DAY_MS)
  stop.abort()
  assert.is(new Set(keys.map((key) => Buffer.from(key).toString('hex'))).size, 10)
})

test('peers that a query meets are answered in order; for those without addresses the store is asked', async () => {
  const stranger = peer(3)
  const query = async function* (): AsyncGenerator<PeerInfo> {
    yield* [BOB, { ...CAROL, multiaddrs: [] }, stranger]
  }
  const { met, stop } = walking(query, [CAROL])
  await time.run(() => met.length === 3, DAY_MS)
  stop.abort()
  assert.equal(met, [textOf(BOB), textOf(CAROL), textOf(stranger)])
})

test('a query that fails, or that nobody answers, is followed by the next', async () => {
  let count = 0
  const query: Query = async function* (_, { signal }) {
    count += 1
    if (count === 1) throw new Error('no peers')
    if (count === 2) {
      await new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error))
      })
    }
    yield BOB
  }
  const { met, askedAt, stop } = walking(query)
  await time.run(() => met.length === 1, DAY_MS)
  stop.abort()
  assert.equal(met, [textOf(BOB)])
  const [, second, third] = askedAt
  assert.is(third, (second ?? 0) + QUERY_TIMEOUT_MS + 4 * REST_FIRST_MS)
})

for (const [when, query] of [
  ['while it rests', nobody],
  [
    'during a query',
    async function* (_: Uint8Array, { signal }: { signal: AbortSignal }) {
      yield BOB
      await new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error))
      })
    },
  ],
] as const) {
  test(`a walk that is ended ${when} asks nobody any more`, async () => {
    const { askedAt, stop, ended } = walking(query)
    await time.run(() => askedAt.length === 1, DAY_MS)
    await time.run(() => false, 1)
    const reason = new Error('over')
    let end: unknown
    void ended.then((error) => (end = error))
    stop.abort(reason)
    await time.run(() => end !== undefined, 1)
    assert.is(end, reason)
    await time.run(() => false, DAY_MS)
    assert.is(askedAt.length, 1)
  })
}

runOnRealTime(() => test.run())
