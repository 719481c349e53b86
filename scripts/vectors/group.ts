// Makes protocols/group/vectors.json: accept and reject cases from fixed seeds, by the portable Primitives.
// Codes of refusals are stated here, not taken from the code under test.
import { concat, formatHex, u8, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { ErrorCode } from '../../protocols/base/error-codes.ts'
import { peerIdFromPublicKey } from '../../protocols/base/ids.ts'
import type { PeerId } from '../../protocols/base/ids.ts'
import { genesisId, NO_PARENT, signRecord } from '../../protocols/group/commit-record.ts'
import { encodeEntry, frameIdOf, sealFrame } from '../../protocols/group/frame.ts'
import {
  toBranchId,
  toCommitId,
  toFrameId,
  toGroupId,
  toGroupMessageId,
} from '../../protocols/group/ids.ts'
import { encodeJoinPackage } from '../../protocols/group/join-package.ts'
import { frameKey, makeGeneration, sealBody } from '../../protocols/group/keys.ts'
import { signPayload } from '../../protocols/group/payload.ts'
import { encodePolicy } from '../../protocols/group/policy.ts'
import { encodeProof } from '../../protocols/group/proof.ts'
import { signAck, signLeave, signRepair } from '../../protocols/group/signed-notes.ts'
import { encodeSyncFrame, printOf } from '../../protocols/group/sync-frames.ts'
import type {
  CommitRecord,
  FrameContent,
  JoinPackage,
  Policy,
} from '../../protocols/group/types.ts'
import { policyHash, rosterHash } from '../../protocols/group/view.ts'
import { portable } from '../../src/crypto/portable.ts'
import { selections } from './parts/group-selections.ts'

interface Member {
  readonly secret: Bytes
  readonly peer: PeerId
}

/** Comment, section, code, octets. */
type Reject = readonly [string, string, ErrorCode, Bytes]

const seed = (purpose: string): Bytes => portable.sha256(utf8(`group vectors ${purpose}`))

function member(name: string): Member {
  const secret = seed(name)
  return { secret, peer: peerIdFromPublicKey(portable.signPublic(secret)) }
}

const alice = member('Alice')
const bob = member('Bob')
const GROUP = toGroupId(seed('group'))
const NOW = 1_798_761_600_000
const HOUR = Math.floor(NOW / 3_600_000)
const POLICY: Policy = { changes: 0, admins: [{ peer: alice.peer, gen: 1 }], name: 'ops' }

function put(bytes: Bytes, at: number, ...octets: number[]): Bytes {
  const out = Uint8Array.from(bytes)
  out.set(octets, at < 0 ? out.length + at : at)
  return out
}

const cut = (bytes: Bytes): Bytes => bytes.subarray(0, bytes.length - 1)
const longer = (bytes: Bytes): Bytes => concat(bytes, u8(0))
const flipLast = (bytes: Bytes): Bytes => put(bytes, -1, (bytes.at(-1) ?? 0) ^ 1)

const rejects = (cases: readonly Reject[]): unknown =>
  cases.map(([comment, spec, code, bytes]) => ({ comment, spec, code, input: formatHex(bytes) }))

const accepts = (cases: Readonly<Record<string, Bytes>>): unknown =>
  Object.entries(cases).map(([comment, bytes]) => ({ comment, input: formatHex(bytes) }))

function genesis(): CommitRecord {
  const unnamed = {
    kind: 'genesis',
    groupId: GROUP,
    parent: NO_PARENT,
    epoch: 0,
    author: { peer: alice.peer, gen: 1 },
    seq: NOW,
    adds: [],
    removes: [],
    policy: POLICY,
    rosterHash: rosterHash(portable, new Map([[alice.peer, 1]])),
    policyHash: policyHash(portable, POLICY),
    sealedHash: new Uint8Array(32),
    bodyBytes: 0,
    groupInfoHash: seed('group info'),
  } as const
  return { ...unnamed, commitId: genesisId(portable, unnamed) }
}

const BODY = seed('sealed body')

function adding(): CommitRecord {
  return {
    kind: 'commit',
    groupId: GROUP,
    parent: genesis().commitId,
    commitId: toCommitId(seed('commit')),
    epoch: 1,
    author: { peer: alice.peer, gen: 1 },
    seq: NOW + 1,
    adds: [{ member: { peer: bob.peer, gen: 1 }, keyPackageRef: seed('ref'), overridden: 0 }],
    removes: [],
    rosterHash: rosterHash(
      portable,
      new Map([
        [alice.peer, 1],
        [bob.peer, 1],
      ]),
    ),
    policyHash: policyHash(portable, POLICY),
    sealedHash: portable.sha256(BODY),
    bodyBytes: BODY.length,
    groupInfoHash: seed('group info 1'),
  }
}

function records(): unknown {
  const first = signRecord(portable, alice.secret, genesis())
  const second = signRecord(portable, alice.secret, adding())
  const misnamed = { ...genesis(), commitId: toCommitId(seed('another')) }
  return {
    accept: accepts({ genesis: first, 'a commit that adds Bob': second }),
    reject: rejects([
      ['another version', '§3.3', 'CODEC_UNKNOWN_VERSION', put(second, 0, 2)],
      ['a kind without meaning', '§3.3', 'CODEC_UNKNOWN_TYPE', put(second, 1, 3)],
      ['cut', '§3', 'CODEC_LENGTH', cut(second)],
      ['an octet more', '§3', 'CODEC_LENGTH', longer(second)],
      ['its signature altered', '§3.3', 'VERIFY_SIGNATURE', flipLast(second)],
      [
        'signed by another than its author',
        '§3.3',
        'VERIFY_SIGNATURE',
        signRecord(portable, bob.secret, adding()),
      ],
      [
        'a genesis with an epoch',
        '§3.3',
        'CODEC_MALFORMED',
        signRecord(portable, alice.secret, { ...genesis(), epoch: 1 }),
      ],
      [
        'a genesis under another name',
        '§3.1',
        'GROUP_COMMIT_INVALID',
        signRecord(portable, alice.secret, misnamed),
      ],
      [
        'an author of gen 0',
        '§2',
        'CODEC_MALFORMED',
        signRecord(portable, alice.secret, { ...adding(), author: { peer: alice.peer, gen: 0 } }),
      ],
    ]),
  }
}

function notes(): Readonly<Record<'acks' | 'leaves' | 'repairs' | 'proofs', unknown>> {
  const author = { peer: bob.peer, gen: 1 }
  const check = seed('check').slice(0, 16)
  const content = { groupId: GROUP, author, seq: NOW, commitId: adding().commitId, check }
  const ack = signAck(portable, bob.secret, content)
  const leave = signLeave(portable, bob.secret, { groupId: GROUP, author })
  const frameIds = [toFrameId(seed('lost frame'))]
  const repair = signRepair(portable, bob.secret, { groupId: GROUP, author, frameIds })
  const other = signAck(portable, bob.secret, { ...content, commitId: genesis().commitId })
  const later = signAck(portable, bob.secret, { ...content, seq: NOW + 1 })
  const proof = proofOf(ack, other)
  return {
    acks: {
      accept: accepts({ 'Bob adopts the commit that added him': ack }),
      reject: rejects([
        ['another version', '§3.4', 'CODEC_UNKNOWN_VERSION', put(ack, 0, 2)],
        ['cut', '§3', 'CODEC_LENGTH', cut(ack)],
        ['altered', '§3.4', 'VERIFY_SIGNATURE', put(ack, 120, 1)],
        ['signed by Alice', '§3.4', 'VERIFY_SIGNATURE', signAck(portable, alice.secret, content)],
      ]),
    },
    leaves: {
      accept: accepts({ 'Bob wants to leave': leave }),
      reject: rejects([
        ['cut', '§3', 'CODEC_LENGTH', cut(leave)],
        ['altered', '§3.4', 'VERIFY_SIGNATURE', flipLast(leave)],
        [
          'signed by Alice',
          '§3.4',
          'VERIFY_SIGNATURE',
          signLeave(portable, alice.secret, { groupId: GROUP, author }),
        ],
      ]),
    },
    repairs: {
      accept: accepts({ 'Bob lacks a message': repair }),
      reject: rejects([
        ['cut', '§3', 'CODEC_LENGTH', cut(repair)],
        ['an octet more', '§3', 'CODEC_LENGTH', longer(repair)],
        ['altered', '§3.4', 'VERIFY_SIGNATURE', flipLast(repair)],
        [
          'of no frame',
          '§3.4',
          'CODEC_MALFORMED',
          signRepair(portable, bob.secret, { groupId: GROUP, author, frameIds: [] }),
        ],
      ]),
    },
    proofs: {
      accept: accepts({ 'Bob is on two commits at once': proof }),
      reject: rejects([
        ['cut', '§3', 'CODEC_LENGTH', cut(proof)],
        ['altered', '§3.4', 'VERIFY_SIGNATURE', flipLast(proof)],
        ['one vote twice', '§3.4', 'GROUP_COMMIT_INVALID', proofOf(ack, ack)],
        ['votes of two times', '§3.4', 'GROUP_COMMIT_INVALID', proofOf(ack, later)],
        ['a kind without meaning', '§3.4', 'CODEC_UNKNOWN_TYPE', put(proof, 0, 3)],
      ]),
    },
  }
}

function proofOf(one: Bytes, other: Bytes): Bytes {
  const proof = encodeProof([
    { kind: 'ack', bytes: one },
    { kind: 'ack', bytes: other },
  ])
  return proof ?? new Uint8Array(0)
}

const PAYLOAD = {
  groupId: GROUP,
  msgId: toGroupMessageId(seed('message').slice(0, 16)),
  author: { peer: bob.peer, gen: 1 },
  n: 1,
  lamport: 7,
  sentAtMs: NOW,
  contentType: 'text/plain',
  body: utf8('hello, everyone'),
}

function payloads(): unknown {
  const payload = signPayload(portable, bob.secret, PAYLOAD)
  return {
    accept: accepts({ text: payload }),
    reject: rejects([
      ['another version', '§3.5', 'CODEC_UNKNOWN_VERSION', put(payload, 0, 0)],
      ['cut', '§3', 'CODEC_LENGTH', cut(payload)],
      ['an octet more', '§3', 'CODEC_LENGTH', longer(payload)],
      ['altered', '§3.5', 'VERIFY_SIGNATURE', flipLast(payload)],
      [
        'number 0',
        '§3.5',
        'CODEC_MALFORMED',
        signPayload(portable, bob.secret, { ...PAYLOAD, n: 0 }),
      ],
      [
        'a control character in the type',
        '§3.5',
        'CODEC_MALFORMED',
        signPayload(portable, bob.secret, { ...PAYLOAD, contentType: 'text\n' }),
      ],
    ]),
  }
}

function policies(): unknown {
  const policy = encodePolicy(POLICY)
  const twice = { ...POLICY, admins: [...POLICY.admins, ...POLICY.admins] }
  return {
    accept: accepts({ 'one admin': policy }),
    reject: rejects([
      ['another version', '§3.1', 'CODEC_UNKNOWN_VERSION', put(policy, 0, 2)],
      ['cut', '§3', 'CODEC_LENGTH', cut(policy)],
      ['no admin', '§3.1', 'CODEC_MALFORMED', encodePolicy({ ...POLICY, admins: [] })],
      ['an admin twice', '§3.1', 'CODEC_MALFORMED', encodePolicy(twice)],
      ['no name', '§3.1', 'CODEC_MALFORMED', encodePolicy({ ...POLICY, name: '' })],
    ]),
  }
}

const GENERATION = makeGeneration(portable, genesis().commitId, seed('tx'))

function frames(): unknown {
  const nonce = seed('nonce').slice(0, 12)
  const { acks, leaves } = {
    acks: [
      signAck(portable, bob.secret, {
        groupId: GROUP,
        author: { peer: bob.peer, gen: 1 },
        seq: NOW,
        commitId: adding().commitId,
        check: seed('check').slice(0, 16),
      }),
    ],
    leaves: signLeave(portable, bob.secret, {
      groupId: GROUP,
      author: { peer: bob.peer, gen: 1 },
    }),
  }
  const record = signRecord(portable, alice.secret, adding())
  const contents: Readonly<Record<string, FrameContent>> = {
    app: { kind: 'app', branchId: toBranchId(seed('branch').slice(0, 16)), message: seed('m') },
    commit: { kind: 'commit', entry: { record, evidence: [], body: BODY } },
    acks: { kind: 'acks', acks },
    leave: { kind: 'leave', leave: leaves },
    proof: { kind: 'proof', proof: seed('proof') },
    repair: {
      kind: 'repair',
      repair: signRepair(portable, bob.secret, {
        groupId: GROUP,
        author: { peer: bob.peer, gen: 1 },
        frameIds: [toFrameId(seed('lost frame'))],
      }),
    },
  }
  const sealed = Object.entries(contents).map(([comment, content]) => {
    const frame = sealFrame(portable, GENERATION, { hour: HOUR, nonce, content })
    return { comment, input: formatHex(frame), frameId: frameIdOf(portable, frame) }
  })
  const app = sealFrame(portable, GENERATION, {
    hour: HOUR,
    nonce,
    content: contents['app'] ?? { kind: 'acks', acks: [] },
  })
  const raw = (content: Bytes): Bytes => {
    const head = app.slice(0, 13)
    const key = frameKey(portable, GENERATION.tx, HOUR)
    return concat(head, nonce, portable.seal(key, nonce, head, content))
  }
  return {
    accept: sealed,
    reject: rejects([
      ['another version', '§3.2', 'CODEC_UNKNOWN_VERSION', put(app, 0, 2)],
      ['another generation', '§3.2', 'GROUP_OPEN_FAILED', put(app, 1, (app[1] ?? 0) ^ 1)],
      ['another hour', '§3.2', 'GROUP_OPEN_FAILED', put(app, 12, (app[12] ?? 0) ^ 1)],
      ['its tag altered', '§3.2', 'GROUP_OPEN_FAILED', flipLast(app)],
      ['no content', '§3.2', 'CODEC_LENGTH', app.slice(0, 41)],
      ['a kind without meaning', '§3.2', 'CODEC_UNKNOWN_TYPE', raw(concat(u8(4), seed('x')))],
      ['acks that are none', '§3.2', 'CODEC_MALFORMED', raw(Uint8Array.of(3, 2, 1, 1))],
      ['a Leave that is cut', '§3.2', 'CODEC_LENGTH', raw(concat(u8(7), cut(leaves)))],
    ]),
  }
}

function joinPackages(): unknown {
  const p: JoinPackage = {
    groupId: GROUP,
    welcome: seed('welcome'),
    record: signRecord(portable, alice.secret, adding()),
    genesis: genesis().commitId,
    policy: POLICY,
    roster: [
      { peer: alice.peer, gen: 1 },
      { peer: bob.peer, gen: 1 },
    ],
    gone: [],
    generation: genesis().commitId,
    tx: seed('tx'),
    treeHash: seed('tree hash'),
    tree: seed('tree'),
    addresses: ['/ip4/203.0.113.7/tcp/4001'],
  }
  const bytes = encodeJoinPackage(p)
  return {
    accept: accepts({ 'for Bob': bytes }),
    reject: rejects([
      ['another version', '§3.6', 'CODEC_UNKNOWN_VERSION', put(bytes, 0, 2)],
      ['cut', '§3', 'CODEC_LENGTH', cut(bytes)],
      ['an octet more', '§3', 'CODEC_LENGTH', longer(bytes)],
      ['nobody in it', '§3.6', 'CODEC_MALFORMED', encodeJoinPackage({ ...p, roster: [] })],
      [
        'nine addresses',
        '§3.6',
        'CODEC_MALFORMED',
        encodeJoinPackage({ ...p, addresses: Array.from({ length: 9 }, () => '/x') }),
      ],
    ]),
  }
}

function syncFrames(): unknown {
  const { print } = printOf(portable, [adding().commitId])
  const key = { hour: HOUR, id: frameIdOf(portable, seed('frame')) }
  const entry = { record: signRecord(portable, alice.secret, adding()), evidence: [] }
  const chunk = { offset: 0, total: 32, chunk: BODY }
  const hello = encodeSyncFrame({
    kind: 'hello',
    groupId: GROUP,
    tip: adding().commitId,
    records: 2,
    recordsPrint: print,
    logCount: 1,
    logPrint: print,
  })
  const info = {
    kind: 'info',
    commitId: adding().commitId,
    groupInfo: seed('group info'),
    treeHash: seed('tree'),
    bodyKey: seed('body key'),
    generations: [{ start: genesis().commitId, tx: seed('tx') }],
  } as const
  return {
    accept: accepts({
      hello,
      range: encodeSyncFrame({ kind: 'range', from: key, to: key, count: 1, print }),
      ids: encodeSyncFrame({ kind: 'ids', from: key, to: key, keys: [key] }),
      get: encodeSyncFrame({ kind: 'get', ids: [key.id] }),
      getRecords: encodeSyncFrame({ kind: 'getRecords', known: [adding().commitId] }),
      records: encodeSyncFrame({ kind: 'records', entries: [entry] }),
      body: encodeSyncFrame({ kind: 'body', commitId: adding().commitId, ...chunk }),
      acks: encodeSyncFrame({ kind: 'acks', acks: [], proofs: [seed('proof')] }),
      getInfo: encodeSyncFrame({ kind: 'getInfo', commitId: adding().commitId }),
      info: encodeSyncFrame(info),
      failure: encodeSyncFrame({ kind: 'failure', code: 'denied', retryAfterMs: 0 }),
    }),
    reject: rejects([
      ['nothing', '§3.7', 'CODEC_MALFORMED', new Uint8Array(0)],
      ['cut', '§3.7', 'CODEC_MALFORMED', cut(hello)],
      [
        'a chunk beyond its whole',
        '§3.7',
        'CODEC_MALFORMED',
        encodeSyncFrame({ kind: 'body', commitId: adding().commitId, ...chunk, total: 31 }),
      ],
      [
        'an info with a key that is too short',
        '§3.7',
        'CODEC_MALFORMED',
        encodeSyncFrame({ ...info, bodyKey: cut(info.bodyKey) }),
      ],
      [
        'an info without a transport secret',
        '§3.7',
        'CODEC_MALFORMED',
        encodeSyncFrame({ ...info, generations: [] }),
      ],
      [
        'an info without GroupInfo',
        '§3.7',
        'CODEC_MALFORMED',
        encodeSyncFrame({ ...info, groupInfo: new Uint8Array(0) }),
      ],
    ]),
  }
}

/** Everything, as it is written to vectors.json. */
export function makeVectors(): unknown {
  const { tx, genTag, topic } = GENERATION
  const nonce = seed('nonce').slice(0, 12)
  const commitId = adding().commitId
  const sealed = sealBody(portable, seed('body key'), commitId, nonce, utf8('a commit'))
  return {
    groupId: GROUP,
    generation: {
      tx: formatHex(tx),
      hour: HOUR,
      genTag,
      topic,
      frameKey: formatHex(frameKey(portable, tx, HOUR)),
    },
    body: {
      bodyKey: formatHex(seed('body key')),
      commitId,
      commit: formatHex(utf8('a commit')),
      sealed: formatHex(sealed),
    },
    entry: formatHex(encodeEntry({ record: seed('r'), evidence: [seed('e')], body: BODY })),
    records: records(),
    ...notes(),
    payloads: payloads(),
    policies: policies(),
    frames: frames(),
    joinPackages: joinPackages(),
    syncFrames: syncFrames(),
    selections: selections(),
  }
}
