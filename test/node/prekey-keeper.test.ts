// Own prekeys: durable before published, never the same id twice, deleted with the session they made.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { DAY_MS, toTimeMs } from '../../protocols/base/time.ts'
import {
  decodeBundle,
  decodeEntry,
  verifyBundle,
  verifyEntry,
} from '../../protocols/direct/prekey-bundle.ts'
import type { Bundle, OneTimeEntry } from '../../protocols/direct/types.ts'
import {
  BUNDLE_LIFE_MS,
  MAILBOX_TTL_MS,
  PREKEY_GRACE_MS,
  PREKEY_ROTATION_MS,
} from '../../protocols/direct/types.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { openPrekeyKeeper } from '../../src/node/prekey-keeper.ts'
import type { PrekeyKeeper } from '../../src/node/prekey-keeper.ts'
import type { Store } from '../../src/store/types.ts'
import { NOW, valueOf } from '../support/direct-cast.ts'
import { memoryStore } from '../support/store.ts'

const test = suite('prekey keeper')
const secret = new Uint8Array(32).fill(9)
const peer = peerIdFromPublicKey(native.signPublic(secret))
const requester = (n: number): PeerId =>
  peerIdFromPublicKey(native.signPublic(new Uint8Array(32).fill(n)))

/** A keeper with a clock of its own. */
class Story {
  rows = new Map<string, Bytes>()
  nowMs: number = NOW
  regressed = false
  store: Store = memoryStore(this.rows)

  open(): Promise<PrekeyKeeper> {
    const now = () => toTimeMs(this.nowMs)
    const { store, regressed } = this
    return openPrekeyKeeper({
      store,
      primitives: native,
      random: randomBytes,
      now,
      peer,
      secret,
      regressed,
    })
  }

  async bundle(keeper: PrekeyKeeper): Promise<Bundle> {
    return valueOf(verifyBundle(native, peer, await keeper.bundle(), toTimeMs(this.nowMs)))
  }
}

const entryOf = (bytes: Bytes | undefined): OneTimeEntry => {
  if (bytes === undefined) throw new Error('no entry')
  return valueOf(decodeEntry(bytes))
}

test('keys survive a restart, and match what was published', async () => {
  const story = new Story()
  using first = await story.open()
  const bundle = await story.bundle(first)
  const entry = entryOf(await first.issue(requester(1)))
  using second = await story.open()
  assert.equal(await second.bundle(), await first.bundle())
  assert.equal(second.own.identityKey, first.own.identityKey)
  assert.equal(native.dhPublic(second.lookup.signed(bundle.signedPrekeyId)!), bundle.signedPrekey)
  const { lastResortKemId, lastResortKemKey } = bundle
  assert.equal(native.kemPublic(1024, second.lookup.lastResort(lastResortKemId)!), lastResortKemKey)
  const oneTime = second.lookup.oneTime(entry.id)!
  assert.equal(native.dhPublic(oneTime.ecSecret), entry.ecKey)
  assert.equal(native.kemPublic(1024, oneTime.kemSeed!), entry.kemKey)
})

test('the bundle rotates weekly; old keys open until nothing sealed to them can come', async () => {
  const story = new Story()
  using keeper = await story.open()
  const first = await story.bundle(keeper)
  story.nowMs += PREKEY_ROTATION_MS
  const second = await story.bundle(keeper)
  assert.ok(second.bundleSeq > first.bundleSeq)
  assert.ok(second.signedPrekeyId > first.lastResortKemId)
  story.nowMs = NOW + BUNDLE_LIFE_MS + MAILBOX_TTL_MS + PREKEY_GRACE_MS - 1
  await keeper.tend()
  assert.ok(keeper.lookup.signed(first.signedPrekeyId))
  story.nowMs += 1
  await keeper.tend()
  assert.is(keeper.lookup.signed(first.signedPrekeyId), undefined)
  assert.is(keeper.lookup.bundle(first.bundleSeq), undefined)
  using again = await story.open()
  assert.is(again.lookup.signed(first.signedPrekeyId), undefined)
})

test('each requester has its own entry, the same for a day; once used up there is none till then', async () => {
  const story = new Story()
  using keeper = await story.open()
  const mine = await keeper.issue(requester(1))
  assert.equal(await keeper.issue(requester(1)), mine)
  const other = entryOf(await keeper.issue(requester(2)))
  assert.is.not(other.id, entryOf(mine).id)
  valueOf(verifyEntry(native, peer, mine!, peer, toTimeMs(story.nowMs)))
  const { ops } = keeper.consume({
    tuple: { signedPrekeyId: 1, kemPrekeyId: 2, baseKey: new Uint8Array(32) },
    oneTimeId: entryOf(mine).id,
  })
  await story.store.commit(ops)
  assert.is(await keeper.issue(requester(1)), undefined)
  story.nowMs += DAY_MS
  assert.ok(entryOf(await keeper.issue(requester(1))).id > other.id)
})

test('concurrent requests of one requester get one entry', async () => {
  const story = new Story()
  using keeper = await story.open()
  const entries = await Promise.all(Array.from({ length: 20 }, () => keeper.issue(requester(1))))
  assert.is(new Set(entries.map((entry) => entryOf(entry).id)).size, 1)
})

test('a used-up key is gone at once, comes back if its batch fails, and stays gone once that is durable', async () => {
  const story = new Story()
  using keeper = await story.open()
  const { id } = entryOf(await keeper.issue(requester(1)))
  const tuple = { signedPrekeyId: 1, kemPrekeyId: id, baseKey: new Uint8Array(32).fill(3) }
  const failed = keeper.consume({ tuple, oneTimeId: id })
  assert.is(keeper.lookup.oneTime(id), undefined)
  assert.ok(keeper.lookup.isUsed(tuple))
  failed.undo()
  assert.ok(keeper.lookup.oneTime(id))
  assert.not.ok(keeper.lookup.isUsed(tuple))
  await story.store.commit(keeper.consume({ tuple, oneTimeId: id }).ops)
  using again = await story.open()
  assert.is(again.lookup.oneTime(id), undefined)
  assert.ok(again.lookup.isUsed(tuple))
})

// "Key id reused after a crash between upload and save (matrix-org/matrix-rust-sdk#1415)."
test('ids never repeat, whichever commit fails and however often it restarts', async () => {
  const story = new Story()
  const inner = story.store
  const seen = new Set<number>()
  let failing = false
  story.store = {
    ...inner,
    get: (table, key) => inner.get(table, key),
    rows: (table, range) => inner.rows(table, range),
    commit: (ops) =>
      failing ? Promise.reject(new ConclaveError('STORE_FULL', 'full')) : inner.commit(ops),
  }
  for (let round = 0; round < 6; round++) {
    using keeper = await story.open()
    failing = true
    const refused = await keeper.issue(requester(100 + round)).catch(() => undefined)
    assert.is(refused, undefined, 'nothing is handed out that is not durable')
    failing = false
    for (let i = 0; i < 3; i++) {
      const { id } = entryOf(await keeper.issue(requester(round * 3 + i + 1)))
      assert.not.ok(seen.has(id), `id ${id} repeats`)
      seen.add(id)
    }
  }
})

test('a restored backup skips ahead: its ids may have been given out since', async () => {
  const story = new Story()
  using before = await story.open()
  const old = await story.bundle(before)
  story.regressed = true
  story.nowMs += 1
  using after = await story.open()
  const fresh = valueOf(decodeBundle(await after.bundle()))
  assert.ok(fresh.signedPrekeyId >= old.signedPrekeyId + 2 ** 20)
  assert.ok(fresh.bundleSeq > old.bundleSeq)
})

test('an agent that lost everything but its seed supersedes its former identity', async () => {
  const story = new Story()
  using before = await story.open()
  const old = await story.bundle(before)
  const reborn = new Story()
  reborn.nowMs = NOW + DAY_MS
  using after = await reborn.open()
  const fresh = await reborn.bundle(after)
  assert.ok(fresh.identitySeq > old.identitySeq)
  assert.ok(fresh.bundleSeq > old.bundleSeq)
})

test.run()
