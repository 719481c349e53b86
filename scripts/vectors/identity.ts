// Makes protocols/identity/vectors.json: accept and reject cases from fixed seeds, by the portable Primitives.
// Codes of refusals are stated here, not taken from the code under test.
import { base32 } from 'multiformats/bases/base32'
import { concat, formatHex, u64, u8, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { peerIdFromPublicKey, peerIdToBytes } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { signatureInput, signLabelled } from '../../protocols/base/signed.ts'
import { DAY_MS, toTimeMs } from '../../protocols/base/time.ts'
import type { TimeMs } from '../../protocols/base/time.ts'
import { signAgentCard } from '../../protocols/identity/agent-card.ts'
import { contactRecordKey, signContactRecord } from '../../protocols/identity/contact-record.ts'
import { formatDid } from '../../protocols/identity/did.ts'
import { formatFingerprint, formatSafetyNumber } from '../../protocols/identity/fingerprint.ts'
import { signIdentityCertificate } from '../../protocols/identity/identity-certificate.ts'
import { bodyOf, signRecord } from '../../protocols/identity/signed.ts'
import { formatTicket, TICKET_PREFIX } from '../../protocols/identity/ticket.ts'
import * as types from '../../protocols/identity/types.ts'
import type { IdentityCode } from '../../protocols/identity/types.ts'
import { portable } from '../../src/crypto/portable.ts'

interface Member {
  readonly name: string
  readonly secret: Bytes
  readonly peer: PeerId
  readonly identitySecret: Bytes
  readonly identityKey: Bytes
}

/** Comment, code, bytes; and whose structure they are taken for, Alice's unless said. */
type Reject = readonly [string, IdentityCode, Bytes, PeerId?]

const NOW: TimeMs = toTimeMs(1_798_761_600_000)
const IN_A_WEEK: TimeMs = toTimeMs(NOW + 7 * DAY_MS)
const ADDRESSES = ['/ip4/203.0.113.7/tcp/4001', '/ip6/2001:db8::7/udp/4001/quic-v1']

function member(name: string): Member {
  const seed = (purpose: string): Bytes =>
    portable.sha256(utf8(`identity vectors ${name} ${purpose}`))
  const [secret, identitySecret] = [seed('agent'), seed('identity')]
  const peer = peerIdFromPublicKey(portable.signPublic(secret))
  return { name, secret, peer, identitySecret, identityKey: portable.dhPublic(identitySecret) }
}

const alice = member('Alice')
const bob = member('Bob')
const mallory = member('Mallory')
const RELAYS = [`/dns4/rita.example/tcp/443/wss/p2p/${member('Rita').peer}`]

/** Replaces octets from `at` on; a negative `at` counts from the end. */
function put(bytes: Bytes, at: number, ...octets: number[]): Bytes {
  const out = Uint8Array.from(bytes)
  out.set(octets, at < 0 ? out.length + at : at)
  return out
}

/** Puts octets in the middle of a body and signs anew, so that nothing but them is at fault. */
function altered(label: string, record: Bytes, at: number, ...octets: number[]): Bytes {
  return signRecord(portable, alice.secret, label, put(bodyOf(record), at, ...octets))
}

function resigned(label: string, body: Bytes, by: Member = alice): Bytes {
  return signRecord(portable, by.secret, label, body)
}

function rejects(spec: string, cases: readonly Reject[]): unknown {
  return cases.map(([comment, code, bytes, peer]) => ({
    comment,
    spec,
    peerId: peer ?? alice.peer,
    input: formatHex(bytes),
    code,
  }))
}

function keys(): unknown {
  return [alice, bob, mallory].map(({ name, secret, peer, identitySecret, identityKey }) => ({
    comment: name,
    secret: formatHex(secret),
    publicKey: formatHex(portable.signPublic(secret)),
    peerId: peer,
    peerIdBytes: formatHex(peerIdToBytes(peer)),
    did: formatDid(peer),
    identitySecret: formatHex(identitySecret),
    identityKey: formatHex(identityKey),
    fingerprint: formatFingerprint(portable, peer, identityKey),
    contactRecordKey: formatHex(contactRecordKey(peer)),
  }))
}

function dids(): unknown {
  const did = formatDid(alice.peer)
  const reject = [
    ['with a fragment', `${did}#${did.slice('did:key:'.length)}`],
    ['one character short', did.slice(0, -1)],
    ['a P-256 key', 'did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169'],
    ['multicodec of an X25519 key', did.replace('z6Mk', 'z6LS')],
    ['not base58', did.replace('z6Mk', 'z6M0')],
    ['another method', did.replace('did:key:', 'did:peer')],
    ['upper case method', did.replace('did:key', 'DID:KEY')],
  ]
  return reject.map(([comment, input]) => ({ comment, spec: '§3.1', input }))
}

function safetyNumbers(): unknown {
  const [one, other] = [alice, bob].map(({ peer, identityKey }) =>
    formatFingerprint(portable, peer, identityKey),
  ) as [string, string]
  const safetyNumber = formatSafetyNumber(one, other)
  return [{ comment: 'Alice and Bob, either way', spec: '§3.2', of: [one, other], safetyNumber }]
}

function signatureInputs(): unknown {
  return [
    ['the label and its length come first', types.TICKET_LABEL, Uint8Array.of(1, 2, 3)],
    ['no bytes', types.AGENT_CARD_LABEL, new Uint8Array(0)],
  ].map(([comment, label, bytes]) => ({
    comment,
    spec: '§3.4',
    label,
    bytes: formatHex(bytes as Bytes),
    input: formatHex(signatureInput(label as string, bytes as Bytes)),
    signature: formatHex(signLabelled(portable, alice.secret, label as string, bytes as Bytes)),
  }))
}

function certificates(): unknown {
  const fields = { identityKey: alice.identityKey, identitySeq: 3, issuedAt: NOW }
  const certificate = { ...fields, peer: alice.peer }
  const good = signIdentityCertificate(portable, alice.secret, certificate)
  const forged = signIdentityCertificate(portable, mallory.secret, certificate)
  const body = concat(peerIdToBytes(alice.peer), alice.identityKey, u64(3), u64(NOW))
  const crossed = signLabelled(portable, alice.secret, types.CONTACT_RECORD_LABEL, body)
  return {
    accept: [
      {
        comment: "Alice's third identity key",
        spec: '§3.3',
        peerId: alice.peer,
        input: formatHex(good),
        value: { ...fields, identityKey: formatHex(alice.identityKey) },
      },
    ],
    reject: rejects('§3.3', [
      ['the same bytes for Mallory (misbinding)', 'VERIFY_SIGNATURE', good, mallory.peer],
      ["signed by Mallory in Alice's name", 'VERIFY_SIGNATURE', forged],
      ['another identity key', 'VERIFY_SIGNATURE', put(good, 0, ...mallory.identityKey)],
      ['a higher identitySeq', 'VERIFY_SIGNATURE', put(good, 39, 4)],
      ['a later issuedAt', 'VERIFY_SIGNATURE', put(good, 47, 1)],
      ['signed under another label', 'VERIFY_SIGNATURE', put(good, 48, ...crossed)],
      ['a reserved octet set', 'CODEC_RESERVED', put(good, -1, 1)],
      ['one octet short', 'CODEC_LENGTH', good.subarray(0, -1)],
      ['one octet more', 'CODEC_LENGTH', concat(good, u8(0))],
      ['nothing', 'CODEC_LENGTH', new Uint8Array(0)],
      ['identitySeq of 2^53', 'CODEC_MALFORMED', put(good, 32, 0, 0x20, 0, 0, 0, 0, 0, 0)],
    ]),
  }
}

function cards(): unknown {
  const label = types.AGENT_CARD_LABEL
  const fields = {
    issuedAt: NOW,
    name: 'Alice, bâtisseuse',
    addresses: ADDRESSES,
    protocols: ['/conclave/direct/1.0.0', '/conclave/group-sync/1.0.0'],
    capabilities: ['build', 'code review'],
  }
  const good = signAgentCard(portable, alice.secret, { ...fields, peer: alice.peer })
  const blank = { name: '', addresses: [], protocols: [], capabilities: [] }
  const empty = signAgentCard(portable, alice.secret, { ...fields, ...blank, peer: alice.peer })
  const body = bodyOf(empty)
  const withName = (name: string): Bytes =>
    concat(body.subarray(0, 47), u8(utf8(name).length), utf8(name), body.subarray(48))
  const accept = [
    { comment: 'every field', input: good, value: { ...fields, did: formatDid(alice.peer) } },
    {
      comment: 'empty lists',
      input: empty,
      value: { ...fields, ...blank, did: formatDid(alice.peer) },
    },
  ]
  return {
    accept: accept.map(({ comment, input, value }) => ({
      comment,
      spec: '§3.6',
      peerId: alice.peer,
      input: formatHex(input),
      value,
    })),
    reject: rejects('§3.6', [
      ['signed by Mallory', 'VERIFY_SIGNATURE', resigned(label, bodyOf(good), mallory)],
      [
        'signed under another label',
        'VERIFY_SIGNATURE',
        resigned(types.TICKET_LABEL, bodyOf(good)),
      ],
      ['version 2', 'CODEC_UNKNOWN_VERSION', altered(label, good, 0, 2)],
      ['another multihash', 'CODEC_MALFORMED', altered(label, good, 1, 0x12)],
      ['issuedAt of 2^53', 'CODEC_MALFORMED', altered(label, good, 39, 0, 0x20)],
      [
        'a name with an escape sequence',
        'CODEC_MALFORMED',
        resigned(label, withName('a\u001b[2J')),
      ],
      [
        'a name that turns the line around',
        'CODEC_MALFORMED',
        resigned(label, withName('a\u202eb')),
      ],
      ['a name of 65 octets', 'CODEC_MALFORMED', resigned(label, withName('a'.repeat(65)))],
      [
        'a name that is no UTF-8',
        'CODEC_MALFORMED',
        altered(label, resigned(label, withName('ab')), 48, 0xc3, 0x28),
      ],
      ['17 addresses announced', 'CODEC_MALFORMED', altered(label, empty, 48, 17)],
      ['an octet after the capabilities', 'CODEC_MALFORMED', resigned(label, concat(body, u8(0)))],
      ['more than 4,096 octets', 'CODEC_LENGTH', new Uint8Array(4_097)],
      ['no more than a signature', 'CODEC_LENGTH', good.subarray(0, 64)],
    ]),
  }
}

function tickets(): unknown {
  const label = types.TICKET_LABEL
  const fields = { expiresAt: IN_A_WEEK, addresses: ADDRESSES, relays: RELAYS }
  const good = formatTicket(portable, alice.secret, { ...fields, peer: alice.peer })
  const bytes = base32.baseDecode(good.slice(TICKET_PREFIX.length))
  const text = (record: Bytes): string => TICKET_PREFIX + base32.baseEncode(record)
  const foreign = concat(bodyOf(bytes).subarray(0, 47), u8(1), u8(0), u8(2), utf8('ip'), u8(0))
  const reject: readonly (readonly [string, IdentityCode, string])[] = [
    [
      'expired in this millisecond',
      'VERIFY_EXPIRED',
      formatTicket(portable, alice.secret, { ...fields, expiresAt: NOW, peer: alice.peer }),
    ],
    ['signed by Mallory', 'VERIFY_SIGNATURE', text(resigned(label, bodyOf(bytes), mallory))],
    [
      'signed under another label',
      'VERIFY_SIGNATURE',
      text(resigned(types.AGENT_CARD_LABEL, bodyOf(bytes))),
    ],
    ['expiry moved by a day', 'VERIFY_SIGNATURE', text(put(bytes, 39, ...u64(IN_A_WEEK + DAY_MS)))],
    ['version 2', 'CODEC_UNKNOWN_VERSION', text(altered(label, bytes, 0, 2))],
    ['an address that is no multiaddr', 'CODEC_MALFORMED', text(resigned(label, foreign))],
    [
      'an octet after the relays',
      'CODEC_MALFORMED',
      text(resigned(label, concat(bodyOf(bytes), u8(0)))),
    ],
    ['an octet after the signature', 'CODEC_MALFORMED', text(concat(bytes, u8(0)))],
    ['padding', 'CODEC_MALFORMED', `${good}=`],
    ['upper case', 'CODEC_MALFORMED', good.toUpperCase()],
    ['another prefix', 'CODEC_MALFORMED', good.replace(TICKET_PREFIX, 'conclave2')],
    ['white space inside', 'CODEC_MALFORMED', `${good.slice(0, 40)} ${good.slice(40)}`],
    ['longer than any ticket', 'CODEC_LENGTH', TICKET_PREFIX + 'a'.repeat(3_456)],
    ['no more than a prefix', 'CODEC_LENGTH', TICKET_PREFIX],
  ]
  return {
    accept: [
      {
        comment: 'two addresses and a relay, pasted with a line break',
        spec: '§3.7',
        input: `${good}\n`,
        value: { ...fields, peer: alice.peer },
      },
    ],
    reject: reject.map(([comment, code, input]) => ({ comment, spec: '§3.7', input, code })),
  }
}

function contactRecords(): unknown {
  const label = types.CONTACT_RECORD_LABEL
  const leases = [11, 22].map((octet) => new Uint8Array(types.LEASE_BYTES).fill(octet))
  const fields = { sequence: 9, expiresAt: IN_A_WEEK, leases, addresses: ADDRESSES, relays: RELAYS }
  const sign = (changes: object): Bytes =>
    signContactRecord(portable, alice.secret, { ...fields, peer: alice.peer, ...changes })
  const good = sign({})
  const bare = { leases: [], addresses: [], relays: [] }
  const empty = sign(bare)
  const accept = [
    { comment: 'two leases, two addresses, a relay', input: good, value: fields },
    { comment: 'nothing but the peer: 122 octets', input: empty, value: { ...fields, ...bare } },
    {
      comment: 'expires in 14 days, by a clock ten minutes ahead',
      input: sign({ ...bare, expiresAt: NOW + 14 * DAY_MS + 600_000 }),
      value: { ...fields, ...bare, expiresAt: NOW + 14 * DAY_MS + 600_000 },
    },
  ]
  return {
    accept: accept.map(({ comment, input, value }) => ({
      comment,
      spec: '§3.8',
      peerId: alice.peer,
      input: formatHex(input),
      value: { ...value, leases: value.leases.map(formatHex) },
    })),
    reject: rejects('§3.8', [
      ["Alice's record under Bob's key", 'VERIFY_IDENTITY_MISMATCH', good, bob.peer],
      ['signed by Mallory', 'VERIFY_SIGNATURE', resigned(label, bodyOf(good), mallory)],
      [
        'signed under another label',
        'VERIFY_SIGNATURE',
        resigned(types.TICKET_LABEL, bodyOf(good)),
      ],
      ['a higher sequence', 'VERIFY_SIGNATURE', put(good, 46, 10)],
      ['expired in this millisecond', 'VERIFY_EXPIRED', sign({ expiresAt: NOW })],
      ['expires too far ahead', 'VERIFY_EXPIRED', sign({ expiresAt: NOW + 14 * DAY_MS + 600_001 })],
      ['version 2', 'CODEC_UNKNOWN_VERSION', altered(label, good, 0, 2)],
      ['6 leases announced', 'CODEC_MALFORMED', altered(label, good, 55, 6)],
      ['a lease less than announced', 'CODEC_MALFORMED', altered(label, good, 55, 3)],
      ['17 addresses announced', 'CODEC_MALFORMED', altered(label, empty, 56, 17)],
      ['9 relays announced', 'CODEC_MALFORMED', altered(label, empty, 57, 9)],
      [
        'an octet after the relays',
        'CODEC_MALFORMED',
        resigned(label, concat(bodyOf(good), u8(0))),
      ],
      ['more than 4,096 octets', 'CODEC_LENGTH', new Uint8Array(4_097)],
      ['no more than a signature', 'CODEC_LENGTH', good.subarray(0, 64)],
    ]),
  }
}

/** All vectors of protocols/identity; the same object at every call. */
export function makeVectors(): unknown {
  return {
    comment:
      'protocols/identity: secrets are SHA-256 of fixed texts; bytes are hexadecimal; times are ms',
    nowMs: NOW,
    keys: keys(),
    dids: { reject: dids() },
    safetyNumbers: safetyNumbers(),
    signatureInputs: signatureInputs(),
    identityCertificates: certificates(),
    agentCards: cards(),
    tickets: tickets(),
    contactRecords: contactRecords(),
  }
}
