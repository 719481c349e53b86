// A custodian whose disk fails, or who is asked twice at once: what was not kept takes no room, and nothing is kept twice.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey, peerIdToBytes } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { MINUTE_MS, toTimeMs } from '../../protocols/base/time.ts'
import { writePrefix } from '../../protocols/direct/envelope.ts'
import { MAILBOX_TTL_MS, STRANGER_ENVELOPES } from '../../protocols/direct/types.ts'
import { decodeLease } from '../../protocols/mailbox/lease.ts'
import {
  DEFAULT_QUOTA_BYTES,
  DEFAULT_QUOTA_ENVELOPES,
  TTL_MS_MAX,
} from '../../protocols/mailbox/types.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { CUSTODY } from '../../src/node/mailbox/box.ts'
import { Custodian } from '../../src/node/mailbox/custodian.ts'
import type { Store } from '../../src/store/types.ts'
import { memoryStore } from '../support/store.ts'

const test = suite('custodian · faults')

const secretOf = (octet: number): Bytes => new Uint8Array(32).fill(octet)
const peerOf = (octet: number): PeerId => peerIdFromPublicKey(native.signPublic(secretOf(octet)))
const RITA = 5
const bob = peerOf(2)
const alice = peerOf(1)

function envelopeFrom(sender: PeerId): Bytes {
  const envelope = randomBytes(512)
  writePrefix(envelope, peerIdToBytes(sender), undefined)
  return envelope
}

interface Custody {
  readonly custodian: Custodian
  readonly store: Store
  deposit(envelope: Bytes): ReturnType<Custodian['deposit']>
}

/** A custodian with a box for Bob; commits fail while `fails` says so. */
async function makeCustody(fails: () => boolean, nowMs = Date.now): Promise<Custody> {
  const inner = memoryStore()
  const store: Store = {
    get: (table, key) => inner.get(table, key),
    rows: (table, range) => inner.rows(table, range),
    keys: (table, range) => inner.keys(table, range),
    close: () => inner.close(),
    commit: (ops) => (fails() ? Promise.reject(new Error('no space left')) : inner.commit(ops)),
  }
  const custodian = await Custodian.open({
    store,
    primitives: native,
    random: randomBytes,
    now: () => toTimeMs(nowMs()),
    peer: peerOf(RITA),
    secret: secretOf(RITA),
  })
  const granted = await custodian.requestLease(bob, {
    quotaBytes: DEFAULT_QUOTA_BYTES,
    quotaEnvelopes: DEFAULT_QUOTA_ENVELOPES,
    ttlMs: TTL_MS_MAX,
    strangerBytes: 0,
    strangerEnvelopes: 0,
  })
  assert.ok(granted.ok)
  const lease = decodeLease(granted.value)
  assert.ok(lease.ok)
  const { leaseId } = lease.value
  return {
    custodian,
    store,
    deposit: (envelope) =>
      custodian.deposit(alice, { recipient: bob, leaseId, ttlMs: MAILBOX_TTL_MS, envelope }),
  }
}

async function rowsOf(store: Store, table: string): Promise<number> {
  let rows = 0
  for await (const _ of store.rows(table)) rows += 1
  return rows
}

test('deposits that a full disk refused take no room of a stranger', async () => {
  let isFull = false
  let nowMs = Date.now()
  // A minute for each, so that no rate is in the way.
  const later = (): number => (nowMs += MINUTE_MS)
  const { custodian, deposit } = await makeCustody(() => isFull, later)
  isFull = true
  using _ = custodian
  for (let n = 0; n < 2 * STRANGER_ENVELOPES; n++) {
    const refused = await deposit(envelopeFrom(alice)).catch((error: unknown) => error)
    assert.instance(refused, Error)
  }
  isFull = false
  for (let n = 0; n < STRANGER_ENVELOPES; n++) {
    assert.ok((await deposit(envelopeFrom(alice))).ok, `deposit ${n}`)
  }
  const over = await deposit(envelopeFrom(alice))
  assert.is(over.ok ? 'kept' : over.status, 'quota')
})

test('the same envelope deposited twice at once is kept once', async () => {
  const { custodian, store, deposit } = await makeCustody(() => false)
  using _ = custodian
  const envelope = envelopeFrom(alice)
  const answers = await Promise.all([deposit(envelope), deposit(envelope), deposit(envelope)])
  assert.ok(answers.every(({ ok }) => ok))
  assert.is(await rowsOf(store, CUSTODY.item), 1)
  assert.is(await rowsOf(store, CUSTODY.envelope), 1)
})

test.run()
