// One test for each mistake that others have made (direct design §13) and that no test of a single part shows: floods,
// repeats, storms and prekeys at custodians. The rows of the list stand in the names.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { parsePeerId, peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS, toTimeMs } from '../../protocols/base/time.ts'
import { decodeDirectFrame, encodeDirectFrame } from '../../protocols/direct/frames.ts'
import { DIRECT_PROTOCOL } from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import type { FrameStream } from '../../src/host/types.ts'
import { TABLES } from '../../src/node/direct-rows.ts'
import { Shards } from '../../src/node/mailbox/shards.ts'
import { openPrekeyKeeper } from '../../src/node/prekey-keeper.ts'
import { EPOCH_MS, peerOf, World } from '../support/crash-world.ts'
import { memoryStore } from '../support/store.ts'
import { installVirtualTime, runOnRealTime } from '../support/virtual-time.ts'

const test = suite('mistakes seen in the wild')
const time = installVirtualTime()

function newWorld(): World {
  time.reset(EPOCH_MS)
  return new World(time, 'mistakes', {}, { isMailing: false })
}

/** A peer's machine without our node on it. */
function bareStream(world: World, as: PeerId, to: PeerId): Promise<FrameStream> {
  const host = world.net.hosts.get(as) ?? world.net.open(as, { isDead: false })
  return host.open(to, DIRECT_PROTOCOL)
}

const inTime = async (world: World, promise: Promise<unknown>): Promise<void> => {
  let isOver = false
  void promise.then(
    () => (isOver = true),
    () => (isOver = true),
  )
  assert.ok(await world.time.run(() => isOver, HOUR_MS))
}

/** Reads a stream to its end and forgets what comes. */
async function drain(stream: FrameStream): Promise<number> {
  let frames = 0
  try {
    for await (const _ of stream.frames) frames += 1
  } catch {
    // reset
  }
  return frames
}

test('7: a thousand openings at once of twenty envelopes make twenty messages', async () => {
  const world = newWorld()
  const envelopes = new Map<string, Bytes>()
  const { onDeparture } = world.net
  world.net.onDeparture = (departure) => {
    onDeparture(departure)
    const frame = decodeDirectFrame(departure.frame)
    if (departure.protocol !== DIRECT_PROTOCOL || departure.from !== peerOf('alice')) return
    if (!frame.ok || frame.value.kind !== 'send') return
    envelopes.set(String(frame.value.envelope), frame.value.envelope.slice())
  }
  const texts = Array.from({ length: 20 }, (_, n) => `message ${n}`)
  world.start('alice', 'bob')
  world.say('alice', 'bob', ...texts)
  // Bob ends before he has saved any: what Alice sent is repeated to his next start.
  await world.play([
    { until: () => envelopes.size >= 20, then: () => world.leave('bob') },
    { until: () => true, then: () => world.leave('alice') },
  ])
  world.start('bob')
  await world.play([
    { until: ({ net }) => net.hosts.get(peerOf('bob'))?.speaks(DIRECT_PROTOCOL) === true },
  ])
  const repeat = async (): Promise<void> => {
    const stream = await bareStream(world, peerOf('alice'), peerOf('bob'))
    const answers = drain(stream)
    let requestId = 0
    for (let times = 0; times < 12; times++) {
      for (const envelope of envelopes.values()) {
        requestId += 1
        await stream.send(encodeDirectFrame({ kind: 'send', requestId, envelope }))
      }
    }
    await world.time.wait(60_000)
    await stream.close()
    assert.ok((await answers) >= requestId, 'each is answered')
  }
  await inTime(world, Promise.all([repeat(), repeat(), repeat(), repeat(), repeat()]))
  await world.play([
    { until: ({ oracle }) => texts.every((text) => oracle.hasArrived('bob', text)) },
  ])
  world.oracle.finish()
  assert.equal(
    world.oracle.violations.filter(({ fault }) => fault !== 'early'),
    [],
  )
  world.end()
})

test('7: a peer ID has one form', () => {
  const peer = peerIdFromPublicKey(native.signPublic(new Uint8Array(32).fill(9)))
  assert.is(parsePeerId(peer), peer)
  for (const other of [
    ` ${peer}`,
    `${peer} `,
    `z${peer}`,
    peer.toUpperCase(),
    `${peer}/`,
    `1${peer}`,
  ]) {
    assert.is(parsePeerId(other), undefined, other)
  }
})

test('8: a hundred thousand junk envelopes leave no rows and take no memory', async () => {
  const world = newWorld()
  world.start('alice', 'bob')
  world.say('alice', 'bob', 'before')
  await world.play([{ until: () => world.allHandled() && world.isDrained('bob') }])
  const mallory = peerOf('mallory')
  const disk = world.disks.get('bob')!
  const rows = disk.size
  globalThis.gc?.()
  const heap = process.memoryUsage().heapUsed
  let sent = 0
  const flood = async (): Promise<void> => {
    while (sent < 100_000) {
      const stream = await bareStream(world, mallory, peerOf('bob'))
      const answers = drain(stream)
      for (let n = 0; n < 250 && sent < 100_000; n++) {
        const envelope = randomBytes(512)
        sent += 1
        const frame = encodeDirectFrame({ kind: 'send', requestId: sent, envelope })
        await stream.send(frame).catch(() => undefined)
      }
      await world.time.wait(5)
      stream.abort()
      await answers
    }
  }
  await inTime(world, flood())
  assert.is(sent, 100_000)
  assert.ok(disk.size - rows < 10, `${disk.size - rows} rows more`)
  const grown = process.memoryUsage().heapUsed - heap
  assert.ok(grown < 96 * 1024 * 1024, `${Math.round(grown / 1024 / 1024)} MiB more`)
  world.say('alice', 'bob', 'after')
  assert.ok(await world.play([{ until: () => world.allHandled() }]), 'others are served')
  world.end()
})

test('9: two peers that keep losing their sessions send at most one reset an hour each', async () => {
  const world = newWorld()
  world.start('alice', 'bob')
  world.say('alice', 'bob', 'hello')
  world.say('bob', 'alice', 'hello too')
  await world.play([{ until: () => world.allHandled() }])
  const old = world.snapshot()
  const hours = 6
  for (let minute = 5; minute <= hours * 60; minute += 5) {
    // One of them is where it was at first: neither opens what the other seals.
    const broken = minute % 10 === 0 ? 'alice' : 'bob'
    world.leave(broken)
    for (const table of [TABLES.session, TABLES.skipped]) {
      world.disks.get(broken)!.rollBackTable(old.get(broken)!, table)
    }
    world.start(broken)
    world.say('alice', 'bob', `alice ${minute}`)
    world.say('bob', 'alice', `bob ${minute}`)
    const end = time.now + 5 * MINUTE_MS
    await world.time.run(() => time.now >= end, 5 * MINUTE_MS)
  }
  console.log(`${world.oracle.resets} resets in ${hours} hours`)
  assert.ok(world.oracle.resets > 0, 'broken sessions are mended')
  assert.ok(world.oracle.resets <= 2 * hours, `${world.oracle.resets} resets in ${hours} hours`)
  world.end()
})

test('4 and 17: a custodian hands out an entry once; one peer gets one a day', async () => {
  let nowMs = EPOCH_MS
  const now = (): ReturnType<typeof toTimeMs> => toTimeMs(nowMs)
  const make = (octet: number): { secret: Bytes; peer: PeerId } => {
    const secret = new Uint8Array(32).fill(octet)
    return { secret, peer: peerIdFromPublicKey(native.signPublic(secret)) }
  }
  const bob = make(2)
  const custodian = make(5).peer
  using keeper = await openPrekeyKeeper({
    store: memoryStore(),
    primitives: native,
    random: randomBytes,
    now,
    ...bob,
    regressed: false,
  })
  const shards = new Shards({
    store: memoryStore(),
    primitives: native,
    now,
    peer: custodian,
    serves: () => true,
    ownRecord: () => undefined,
  })
  const entries = await keeper.shard(custodian, { pairs: 2, ecs: 1 })
  const brought = { bundle: await keeper.bundle(), entries, keyPackages: [] }
  assert.equal(await shards.publish(bob.peer, brought), { pairs: 2, ecs: 1, keyPackages: 0 })
  assert.is(await shards.publish(bob.peer, brought), undefined, 'the same ids never come again')
  const fetch = async (who: number): Promise<Bytes | undefined> =>
    (await shards.fetch(bob.peer, make(who).peer, { oneTime: true, keyPackage: false }))?.entry
  const first = await Promise.all(Array.from({ length: 50 }, () => fetch(20)))
  assert.is(new Set(first.map(String)).size, 1, 'the same one, however often it is asked for')
  assert.is((await shards.supply(bob.peer))?.pairs, 1)
  const others = [await fetch(21), await fetch(22)]
  assert.is(new Set([...first, ...others].map(String)).size, 3, 'nobody gets what another one got')
  const empty = await shards.fetch(bob.peer, make(23).peer, { oneTime: true, keyPackage: false })
  assert.ok(empty?.bundle)
  assert.is(empty.entry, undefined, 'the bundle alone: the first message is flagged')
  assert.is(await shards.publish(bob.peer, brought), undefined, 'nor when all are handed out')
  nowMs += DAY_MS
  assert.is(await fetch(20), undefined, 'none is handed out twice, even a day later')
})

runOnRealTime(() => test.run())
