// What goes wrong says so: exit codes, codes and hints of the command line, with real homes and processes.
import { chmodSync, globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Bench, conclave } from '../support/cli.ts'
import type { Ran } from '../support/cli.ts'

const test = suite('e2e · errors')

const errorOf = (ran: Ran): Record<string, unknown> =>
  (ran.lines()[0]?.['error'] ?? {}) as Record<string, unknown>

test('a second node on one home exits 7 and names the process; `id` asks the one that runs', async () => {
  await using bench = new Bench()
  const alice = await bench.start('alice')
  const second = await conclave(['up', '--home', alice.home, '--json'])
  assert.is(second.code, 7)
  assert.is(errorOf(second)['code'], 'STORE_LOCKED')
  assert.match(String(errorOf(second)['hint']), String(alice.process.pid))
  assert.is((await alice.run('status'))[0]?.['peerId'], alice.peerId)
  const [own] = await alice.run('id')
  assert.is(own?.['peerId'], alice.peerId)
  assert.match(String(own?.['fingerprint']), /^\d{5}(?: \d{5}){5}$/)
})

test('a command without a node exits 3 and says how to start one', async () => {
  await using bench = new Bench()
  const ran = await conclave(['status', '--home', bench.home('nobody'), '--json'])
  assert.is(ran.code, 3)
  assert.is(errorOf(ran)['code'], 'NETWORK_NODE_NOT_RUNNING')
  assert.match(String(errorOf(ran)['hint']), 'conclave up')
  const plain = await conclave(['status', '--home', bench.home('nobody')])
  assert.match(plain.stderr, /^conclave: error: /m)
  assert.match(plain.stderr, /^conclave: hint: /m)
  assert.is(plain.stdout, '')
})

test('unknown commands, flags and keys exit 2 and name the nearest known', async () => {
  await using bench = new Bench()
  const flag = await conclave(['up', '--home', bench.home('a'), '--bootstrpa', 'x', '--json'])
  assert.is(flag.code, 2)
  assert.match(JSON.stringify(errorOf(flag)), '--bootstrap')
  const command = await conclave(['statsu', '--json'])
  assert.is(command.code, 2)
  assert.match(JSON.stringify(errorOf(command)), 'status')
  mkdirSync(bench.home('b'), { mode: 0o700 })
  writeFileSync(join(bench.home('b'), 'config.json'), '{"bootstrp": []}')
  const key = await conclave(['up', '--home', bench.home('b'), '--json'])
  assert.is(key.code, 2)
  assert.is(errorOf(key)['code'], 'CONFIG_KEY')
  assert.match(JSON.stringify(errorOf(key)), 'bootstrap')
})

test('a wrong key and a foreign data key exit 7 and change nothing', async () => {
  await using bench = new Bench()
  const alice = await bench.start('alice')
  await alice.end()
  const key = join(alice.home, 'secret.key')
  assert.is(statSync(key).mode & 0o777, 0o600)
  const right = readFileSync(key)
  const wrong = Buffer.from(right)
  const [zero, one] = [0x30, 0x31] // hexadecimal digits, whose case does not matter
  wrong[wrong.length - 2] = wrong[wrong.length - 2] === zero ? one : zero
  writeFileSync(key, wrong)
  const refused = await conclave(['up', '--home', alice.home, '--json'])
  assert.is(refused.code, 7)
  assert.is(errorOf(refused)['code'], 'STORE_KEY_WRONG')
  writeFileSync(key, right)
  const again = await bench.start('alice')
  assert.is(again.peerId, alice.peerId)
})

test('a corrupted database exits 7 with its own code', async () => {
  await using bench = new Bench()
  const alice = await bench.start('alice')
  await alice.run('contact', 'add', alice.peerId).catch(() => undefined)
  await alice.end()
  for (const file of globSync(join(alice.home, '**/*.{log,ldb}'))) {
    const bytes = readFileSync(file)
    for (let at = 20; at < bytes.length; at += 40) bytes[at] = (bytes[at] ?? 0) ^ 0xff
    writeFileSync(file, bytes)
  }
  const refused = await conclave(['up', '--home', alice.home, '--json'], { killAfterMs: 20_000 })
  assert.is(refused.code, 7)
  assert.is(errorOf(refused)['code'], 'STORE_CORRUPT')
})

test('a home that cannot be written exits 7', async () => {
  await using bench = new Bench()
  writeFileSync(bench.home('file'), '')
  const ran = await conclave(['up', '--home', join(bench.home('file'), 'below'), '--json'])
  assert.is(ran.code, 7)
  assert.is(errorOf(ran)['code'], 'STORE_UNWRITABLE')
})

test('the passphrase and the key command open the same home again, and nothing else does', async () => {
  await using bench = new Bench()
  const phrase = join(bench.folder, 'phrase')
  writeFileSync(phrase, 'correct horse battery staple\n')
  chmodSync(phrase, 0o600)
  const alice = await bench.start('alice', '--passphrase-file', phrase)
  await alice.end()
  writeFileSync(phrase, 'another\n')
  const refused = await conclave([
    'up',
    '--home',
    alice.home,
    '--passphrase-file',
    phrase,
    '--json',
  ])
  assert.is(refused.code, 7)
  assert.is(errorOf(refused)['code'], 'STORE_KEY_WRONG')
  const bob = await bench.start('bob', '--key-command', 'echo 0123456789abcdef0123456789abcdef')
  await bob.end()
  const again = await bench.start('bob', '--key-command', 'echo 0123456789abcdef0123456789abcdef')
  assert.is(again.peerId, bob.peerId)
})

test('bodies over 60,000 bytes exit 2, at 60,000 they are taken', async () => {
  await using bench = new Bench()
  const alice = await bench.start('alice')
  const bob = await bench.start('bob', '--bootstrap', alice.ticket)
  await bob.run('contact', 'add', alice.ticket)
  const over = await alice.try(['send', bob.peerId], { stdin: new Uint8Array(60_001) })
  assert.is(over.code, 2)
  assert.is(errorOf(over)['code'], 'USAGE_MESSAGE_TOO_LARGE')
  const at = await alice.try(['send', bob.peerId, '--until', 'delivered'], {
    stdin: new Uint8Array(60_000).fill(0xff),
  })
  assert.is(at.code, 0, at.stdout)
  const [line] = await bob.run('inbox')
  assert.is(Buffer.from(String(line?.['base64']), 'base64').length, 60_000)
})

test('a state that is not reached in time exits 5, with the id and the state', async () => {
  await using bench = new Bench()
  const alice = await bench.start('alice')
  const bob = await bench.start('bob', '--bootstrap', alice.ticket)
  await bob.end()
  const ran = await alice.try(['send', bob.peerId, 'hi', '--until', 'delivered', '--timeout', '2'])
  assert.is(ran.code, 5)
  assert.is(errorOf(ran)['state'], 'queued')
  assert.match(String(errorOf(ran)['id']), /^[0-9a-f]{32}$/)
  const [waiting] = await alice.run('outbox')
  assert.is(waiting?.['state'], 'queued')
})

test('no secret shows in logs, files or output', async () => {
  await using bench = new Bench()
  const alice = await bench.start('alice', '--log-level', 'trace')
  await alice.run('status')
  await alice.end()
  const secret = readFileSync(join(alice.home, 'secret.key'), 'utf8').trim()
  assert.not(alice.log.includes(secret))
  assert.not(JSON.stringify(alice.ready).includes(secret))
})

test.run()
