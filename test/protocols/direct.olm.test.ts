// The key schedule against Olm, a Double Ratchet that is deployed: both ways, through reordering and many turns.
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { native } from '../../src/crypto/native.ts'
import { drawsOf } from '../support/direct-cast.ts'
import { fromBase64, OlmPeer, ratchetKeyOf, toBase64 } from '../support/olm-peer.ts'
import type { Olm, OlmAccount, OlmSession } from '../support/olm-peer.ts'

const require = createRequire(import.meta.url)
const olm = require('@matrix-org/olm') as Olm
await olm.init()

const test = suite('direct · against Olm')
/** Deliveries that a message may be overtaken by: Olm keeps five chains and forty keys. */
const OVERTAKEN_MAX = 5

type Side = 'ours' | 'olm'
type Action =
  | { readonly kind: 'send'; readonly by: Side }
  | { readonly kind: 'deliver'; readonly place: number }

interface Flight {
  readonly from: Side
  readonly type: 0 | 1
  readonly body: string
  readonly text: string
  readonly previousCount: number
  overtaken: number
}

interface Ends {
  readonly ours: OlmPeer
  readonly theirs: OlmSession
  /** What Olm has sealed before the talk begins. */
  readonly first?: { readonly type: 0 | 1; readonly body: string }
}

function accountKeys(account: OlmAccount): { identityKey: string; oneTimeKey: string } {
  account.generate_one_time_keys(1)
  const identity = JSON.parse(account.identity_keys()) as { curve25519: string }
  const oneTime = JSON.parse(account.one_time_keys()) as { curve25519: Record<string, string> }
  const [oneTimeKey = ''] = Object.values(oneTime.curve25519)
  return { identityKey: identity.curve25519, oneTimeKey }
}

/** We write first: an Olm session comes of our first message. */
function weInitiate(account: OlmAccount, draw: (length: number) => Bytes): Ends {
  const { identityKey, oneTimeKey } = accountKeys(account)
  const ours = OlmPeer.initiate(fromBase64(identityKey), fromBase64(oneTimeKey), draw)
  const first = ours.encrypt('hello', draw(32))
  assert.is(first.type, 0)
  const theirs = new olm.Session()
  theirs.create_inbound(account, first.body)
  assert.is(theirs.decrypt(first.type, first.body), 'hello')
  return { ours, theirs }
}

/** Olm writes first. */
function olmInitiates(account: OlmAccount, draw: (length: number) => Bytes): Ends {
  const [identity, oneTime] = [draw(32), draw(32)]
  const theirs = new olm.Session()
  const keys = [identity, oneTime].map((secret) => toBase64(native.dhPublic(secret)))
  theirs.create_outbound(account, keys[0] ?? '', keys[1] ?? '')
  const first = theirs.encrypt('hello')
  assert.is(first.type, 0)
  const ours = OlmPeer.respond(identity, oneTime, fromBase64(first.body))
  assert.is(ours.decrypt(first.type, first.body, 0), 'hello')
  return { ours, theirs, first }
}

/** A talk under way; every message opens exactly once, as what it was. */
class Talk {
  readonly flights: Flight[] = []
  readonly #ends: Ends
  readonly #draw: (length: number) => Bytes
  /** Messages of each of Olm's chains, oldest first: its headers do not tell. */
  readonly #chains: { readonly key: string; length: number }[] = []
  #sent = 0

  constructor(ends: Ends, draw: (length: number) => Bytes) {
    this.#ends = ends
    this.#draw = draw
    if (ends.first !== undefined) this.#note(ends.first.type, ends.first.body)
  }

  send(from: Side): void {
    const text = `message ${++this.#sent} of ${from}`
    const { ours, theirs } = this.#ends
    const { type, body } =
      from === 'ours' ? ours.encrypt(text, this.#draw(32)) : theirs.encrypt(text)
    const previousCount = from === 'ours' ? 0 : this.#note(type, body)
    this.flights.push({ from, type, body, text, previousCount, overtaken: 0 })
  }

  deliver(place: number): void {
    const [oldest] = this.flights
    if (oldest === undefined) return
    const isDue = oldest.overtaken >= OVERTAKEN_MAX
    const at = isDue ? 0 : Math.min(place, this.flights.length - 1)
    const [flight = oldest] = this.flights.splice(at, 1)
    for (const before of this.flights.slice(0, at)) before.overtaken += 1
    const { from, type, body, text, previousCount } = flight
    const bad = damage(body)
    if (from === 'olm') {
      assert.is(this.#ends.ours.decrypt(type, bad, previousCount), undefined)
      assert.is(this.#ends.ours.decrypt(type, body, previousCount), text)
      assert.is(this.#ends.ours.decrypt(type, body, previousCount), undefined)
    } else {
      const { theirs } = this.#ends
      assert.throws(() => theirs.decrypt(type, bad))
      assert.is(theirs.decrypt(type, body), text)
      assert.throws(() => theirs.decrypt(type, body))
    }
  }

  /** Counts a message of Olm's; answers the length of its chain before. */
  #note(type: 0 | 1, body: string): number {
    const key = ratchetKeyOf(type, body)
    if (this.#chains.at(-1)?.key !== key) this.#chains.push({ key, length: 0 })
    const chain = this.#chains.at(-1)
    if (chain !== undefined) chain.length += 1
    return this.#chains.at(-2)?.length ?? 0
  }
}

/** Another last octet: the MAC does not match. */
function damage(body: string): string {
  const bytes = fromBase64(body)
  return toBase64(bytes.with(-1, (bytes.at(-1) ?? 0) ^ 1))
}

const story = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('send' as const),
      by: fc.constantFrom<Side>('ours', 'olm'),
    }),
    fc.record({ kind: fc.constant('deliver' as const), place: fc.nat(4) }),
  ),
  { minLength: 40, maxLength: 160 },
) as fc.Arbitrary<Action[]>

for (const [name, begin] of Object.entries({ weInitiate, olmInitiates })) {
  test(`${name}: messages open both ways, whatever overtakes what, through many turns`, () => {
    let chains = 0
    fc.assert(
      fc.property(story, fc.string(), (actions, seed) => {
        const draw = drawsOf(native, `olm ${seed}`)
        const account = new olm.Account()
        account.create()
        const ends = begin(account, draw)
        try {
          const talk = new Talk(ends, draw)
          for (const action of actions) {
            if (action.kind === 'send') talk.send(action.by)
            else talk.deliver(action.place)
          }
          while (talk.flights.length > 0) talk.deliver(0)
          chains = Math.max(chains, ends.ours.chains)
        } finally {
          ends.theirs.free()
          account.free()
        }
      }),
      { numRuns: 40 },
    )
    assert.ok(chains > 5, `${chains} chains of ours at most`)
  })
}

test.run()
