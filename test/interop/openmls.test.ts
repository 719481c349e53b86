// Our MLS engine beside OpenMLS, another implementation of RFC 9420: each founds a group that the other joins, commits
// and messages go both ways, and every epoch has the same secrets. Built with the Rust toolchain where there is one.
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatHex, parseHex, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { toTimeMs } from '../../protocols/base/time.ts'
import { makeMlsEngine } from '../../protocols/group/mls/engine.ts'
import type { MlsEpoch } from '../../protocols/group/mls-engine.ts'
import { native } from '../../src/crypto/native.ts'
import { randomBytes } from '../../src/crypto/random.ts'
import { advance, must } from '../support/mls-room.ts'
import { seededPeer } from '../support/seeded.ts'

const SOURCE = join(import.meta.dirname, 'openmls')
const TARGET = join(import.meta.dirname, '../../node_modules/.cache/conclave/openmls')
const PROGRAM = join(TARGET, 'debug', 'conclave-interop')
const NONE = new Uint8Array(0)

function isBuilt(): boolean {
  if (spawnSync('cargo', ['--version']).status !== 0) {
    console.log('skipped: interop · OpenMLS: there is no Rust toolchain')
    return false
  }
  const options = {
    cwd: SOURCE,
    encoding: 'utf8',
    env: { ...process.env, CARGO_TARGET_DIR: TARGET },
  } as const
  if (spawnSync('cargo', ['fetch', '--locked'], options).status !== 0) {
    console.log('skipped: interop · OpenMLS: its crates cannot be fetched')
    return false
  }
  const built = spawnSync('cargo', ['build', '--locked'], options)
  if (built.status !== 0) throw new Error(built.stderr)
  return true
}

type Answer = Readonly<Record<string, string | number>>

/** The member that OpenMLS plays. */
class Olga implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  constructor() {
    this.#child = spawn(PROGRAM, [], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
  }

  async obey(command: Readonly<Record<string, string>>): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`)
    const line = await this.#lines.next()
    assert.not(line.done, `OpenMLS ended at ${command['do'] ?? ''}`)
    return JSON.parse(String(line.value)) as Answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.stdin.end()
    if (this.#child.exitCode === null) await ended
  }
}

const test = suite('interop · OpenMLS')
const engine = makeMlsEngine({ primitives: native, random: randomBytes })
const alice = seededPeer('alice')
const bob = seededPeer('bob')
const nowMs = toTimeMs(Date.now())

const hex = (answer: Answer, name: string): Bytes => {
  const bytes = parseHex(String(answer[name]))
  assert.ok(bytes, name)
  return bytes
}

/** Both are in one epoch: authenticator, exporter, tree, number of members. */
async function assertSame(epoch: MlsEpoch, theirs: Answer): Promise<void> {
  const info = engine.info(epoch)
  assert.is(theirs['epoch'], info.epoch)
  assert.is(theirs['authenticator'], formatHex(info.authenticator))
  const exported = await engine.export(epoch, 'interop', utf8('context'), 32)
  assert.is(theirs['exported'], formatHex(exported))
  assert.is(theirs['members'], info.roster.length)
  assert.is(theirs['tree'], formatHex(engine.tree(epoch)))
}

/** Messages both ways, out of order on our side. */
async function converse(olga: Olga, epoch: MlsEpoch): Promise<MlsEpoch> {
  let at = epoch
  for (const text of ['one', 'two']) {
    const sealed = await engine.seal(at, utf8(text), NONE)
    at = sealed.next
    const heard = await olga.obey({ do: 'process', message: formatHex(sealed.message) })
    assert.is(heard['plaintext'], formatHex(utf8(text)))
  }
  const said: Bytes[] = []
  for (const text of ['three', 'four']) {
    const { message } = await olga.obey({ do: 'say', plaintext: formatHex(utf8(text)) })
    said.push(parseHex(String(message)) ?? NONE)
  }
  for (const [i, text] of [...['three', 'four'].entries()].reverse()) {
    const opened = must(await engine.open(at, said[i] ?? NONE))
    assert.equal(opened.plaintext, utf8(text))
    at = opened.next
  }
  return at
}

/** Fresh keys by each side, followed by the other. */
async function rekeyBoth(olga: Olga, epoch: MlsEpoch): Promise<MlsEpoch> {
  const own = must(await engine.commit(epoch, { proposals: [], nowMs }))
  await assertSame(own.child, await olga.obey({ do: 'process', message: formatHex(own.commit) }))
  const theirs = await olga.obey({ do: 'update' })
  const next = advance(must(await engine.process(own.child, hex(theirs, 'commit'))))
  await assertSame(next, theirs)
  return next
}

if (isBuilt()) {
  test('OpenMLS joins our group: same epoch, messages and commits both ways', async () => {
    await using olga = new Olga()
    const { keyPackage } = await olga.obey({ do: 'keyPackage' })
    const created = await engine.create({
      ...{ groupId: randomBytes(32), self: alice, policy: utf8('policy'), nowMs },
    })
    const bobs = await engine.keyPackage(bob, { nowMs })
    const proposals = [parseHex(String(keyPackage)) ?? NONE, bobs.keyPackage].map((one) => {
      return { kind: 'add', keyPackage: one } as const
    })
    const pending = must(await engine.commit(created, { proposals, nowMs }))
    const [welcome] = pending.welcomes
    const tree = formatHex(engine.tree(pending.child))
    const joined = await olga.obey({
      ...{ do: 'join', welcome: formatHex(welcome?.welcome ?? NONE), tree },
    })
    await assertSame(pending.child, joined)
    const spoken = await converse(olga, pending.child)
    const rekeyed = await converse(olga, await rekeyBoth(olga, spoken))
    // They remove one of ours: its leaf is blanked alike.
    const removed = await olga.obey({ do: 'remove', key: formatHex(native.signPublic(bob.secret)) })
    const smaller = advance(must(await engine.process(rekeyed, hex(removed, 'commit'))))
    await assertSame(smaller, removed)
    await converse(olga, smaller)
  })

  test('we join a group of OpenMLS: same epoch, messages and commits both ways', async () => {
    await using olga = new Olga()
    await olga.obey({
      ...{ do: 'create', groupId: formatHex(randomBytes(32)), policy: formatHex(utf8('policy')) },
    })
    const own = await engine.keyPackage(alice, { nowMs })
    const added = await olga.obey({ do: 'add', keyPackage: formatHex(own.keyPackage) })
    const joined = await engine.join({
      welcome: hex(added, 'welcome'),
      secret: own.secret,
      tree: hex(added, 'tree'),
      self: alice,
    })
    const epoch = must(joined)
    await assertSame(epoch, added)
    assert.equal(engine.info(epoch).policy, utf8('policy'))
    const rekeyed = await rekeyBoth(olga, await converse(olga, epoch))
    // A third by our commit, which OpenMLS follows; then a policy that it does not know.
    const bobs = await engine.keyPackage(bob, { nowMs })
    const proposals = [
      { kind: 'add', keyPackage: bobs.keyPackage },
      { kind: 'policy', policy: utf8('another') },
    ] as const
    const pending = must(await engine.commit(rekeyed, { proposals, nowMs }))
    const followed = await olga.obey({ do: 'process', message: formatHex(pending.commit) })
    await assertSame(pending.child, followed)
    await converse(olga, pending.child)
  })
}

test.run()
