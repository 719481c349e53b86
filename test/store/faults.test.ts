// Wrong keys, damage, full and unwritable disks, second processes, kills: a clear error each, and nothing lost.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, globSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../protocols/base/bytes.ts'
import { makeStore } from '../../src/store/database.ts'
import { locateHome } from '../../src/store/home.ts'
import { openMemory } from '../../src/store/memory.ts'
import { makeRowSeal } from '../../src/store/seal.ts'
import { put } from '../../src/store/types.ts'
import { makeWriter, WRITE_BATCH_COMMITS_MAX } from '../../src/store/writer.ts'
import { rejects } from '../support/rejects.ts'
import { openHome, Scratch, storeCrypto } from '../support/store.ts'

const test = suite('store · faults')
const child = new URL('../support/store-child.ts', import.meta.url).pathname

test('a wrong key, a lost key and another kind of key are STORE_KEY_WRONG and change nothing', async () => {
  using scratch = new Scratch()
  const home = scratch.home()
  const { store } = await openHome(home)
  await store.commit([put('a', 'b', utf8('kept'))])
  await store.close()
  const right = readFileSync(home.secretKey)
  const before = readFileSync(home.dataKey)
  writeFileSync(home.secretKey, `${'ab'.repeat(32)}\n`)
  await rejects(openHome(home), 'STORE_KEY_WRONG')
  writeFileSync(home.secretKey, 'not a key')
  await rejects(openHome(home), 'STORE_KEY_WRONG')
  writeFileSync(home.secretKey, right)
  await rejects(openHome(home, { kind: 'command', command: 'echo x' }), 'STORE_KEY_WRONG')
  assert.equal(readFileSync(home.dataKey), before)
  const again = await openHome(home)
  assert.equal(await again.store.get('a', 'b'), utf8('kept'))
  assert.is(again.regressed, false)
  await again.store.close()
})

test('passphrases and key commands open their own homes only', async () => {
  using scratch = new Scratch()
  const phrase = join(scratch.path, 'phrase')
  writeFileSync(phrase, 'one\n')
  const key = { kind: 'passphrase', file: phrase } as const
  await (await openHome(scratch.home('p'), key)).store.close()
  await (await openHome(scratch.home('p'), key)).store.close()
  writeFileSync(phrase, 'two\n')
  await rejects(openHome(scratch.home('p'), key), 'STORE_KEY_WRONG')
  writeFileSync(phrase, '\n')
  await rejects(openHome(scratch.home('p'), key), 'CONFIG_VALUE')
  const command = (text: string) => ({ kind: 'command', command: text }) as const
  await (await openHome(scratch.home('c'), command('echo k1'))).store.close()
  await rejects(openHome(scratch.home('c'), command('echo k2')), 'STORE_KEY_WRONG')
  await rejects(openHome(scratch.home('c'), command('false')), 'CONFIG_VALUE')
  await rejects(openHome(scratch.home('c'), command('true')), 'CONFIG_VALUE')
})

test('a key file that others may read is refused', async () => {
  using scratch = new Scratch()
  await (await openHome(scratch.home())).store.close()
  const { secretKey } = scratch.home()
  assert.is(statSync(secretKey).mode & 0o777, 0o600)
  spawnSync('chmod', ['644', secretKey])
  const error = await rejects(openHome(scratch.home()), 'STORE_KEY_WRONG')
  assert.match(error.hint ?? '', 'chmod 600')
})

test('every flipped octet of a row, and a row under another key, is STORE_CORRUPT', async () => {
  const rows = new Map<string, Uint8Array>()
  const seal = makeRowSeal(new Uint8Array(32), storeCrypto)
  const store = makeStore(openMemory(rows), seal)
  await store.commit([put('a', 'k', utf8('value')), put('a', 'other', utf8('value'))])
  const [full = '', other = ''] = [...rows.keys()]
  const sealed = rows.get(full) ?? new Uint8Array(0)
  for (let at = 0; at < sealed.length; at++) {
    rows.set(
      full,
      sealed.map((octet, i) => (i === at ? octet ^ 1 : octet)),
    )
    await rejects(store.get('a', 'k'), 'STORE_CORRUPT')
  }
  for (let length = 0; length < sealed.length; length++) {
    rows.set(full, sealed.slice(0, length))
    await rejects(store.get('a', 'k'), 'STORE_CORRUPT')
  }
  rows.set(full, rows.get(other) ?? sealed)
  await rejects(store.get('a', 'k'), 'STORE_CORRUPT')
})

test('a torn tail of the log loses at most what it held, and the rest opens', async () => {
  using scratch = new Scratch()
  const home = scratch.home()
  const { store } = await openHome(home)
  for (let i = 0; i < 20; i++) await store.commit([put('n', String(i).padStart(2, '0'), utf8('x'))])
  await store.close()
  for (let cut = 1; cut <= 200; cut += 13) {
    const copy = locateHome(join(scratch.path, `cut-${cut}`), undefined)
    cpSync(home.path, copy.path, { recursive: true })
    const [log = ''] = globSync(join(copy.database, '*.log')).sort().reverse()
    truncateSync(log, Math.max(0, statSync(log).size - cut))
    const torn = await openHome(copy)
    const found: string[] = []
    for await (const row of torn.store.rows('n')) found.push(row.key)
    assert.equal(
      found,
      Array.from({ length: found.length }, (_, i) => String(i).padStart(2, '0')),
    )
    assert.ok(found.length >= 20 - 3, `${found.length} of 20 after a cut of ${cut}`)
    await torn.store.close()
  }
})

test('a restored database is reported as regressed, until what follows is settled', async () => {
  using scratch = new Scratch()
  const home = scratch.home()
  await (await openHome(home)).store.close()
  cpSync(home.database, join(scratch.path, 'backup'), { recursive: true })
  await (await openHome(home)).store.close()
  spawnSync('rm', ['-r', home.database])
  cpSync(join(scratch.path, 'backup'), home.database, { recursive: true })
  const restored = await openHome(home)
  assert.is(restored.regressed, true)
  await restored.store.close() // a crash before anything followed
  const again = await openHome(home)
  assert.is(again.regressed, true)
  await again.settle()
  await again.store.close()
  const settled = await openHome(home)
  assert.is(settled.regressed, false)
  await settled.store.close()
})

test('a failing batch rejects its commits only, as STORE_FULL or STORE_UNWRITABLE', async () => {
  let fault: string | undefined
  const written: number[] = []
  const writer = makeWriter(async (changes) => {
    if (fault !== undefined) throw Object.assign(new Error(fault), { code: fault })
    written.push(changes.length)
  })
  const one = [{ type: 'del', key: 'x' }] as const
  await writer.commit(one)
  fault = 'ENOSPC'
  await rejects(writer.commit(one), 'STORE_FULL')
  fault = 'EROFS'
  await rejects(writer.commit(one), 'STORE_UNWRITABLE')
  fault = undefined
  await writer.commit(one)
  assert.equal(written, [1, 1])
})

test('commits that arrive together share batches, and no batch holds too many', async () => {
  const sizes: number[] = []
  const writer = makeWriter(async (changes) => {
    sizes.push(changes.length)
    await new Promise((resolve) => setTimeout(resolve, 1))
  })
  const one = [{ type: 'del', key: 'x' }] as const
  await Promise.all(Array.from({ length: 640 }, () => writer.commit(one)))
  assert.is(
    sizes.reduce((sum, size) => sum + size, 0),
    640,
  )
  assert.ok(sizes.every((size) => size <= WRITE_BATCH_COMMITS_MAX))
  assert.ok(sizes.length <= 12, `${sizes.length} batches`)
})

test('a disk that fills up says STORE_FULL, keeps what was stored, and opens again', async () => {
  using scratch = new Scratch()
  const home = scratch.home()
  const { store } = await openHome(home)
  await store.commit([put('n', 'before', utf8('kept'))])
  await store.close()
  const limited = `ulimit -f 256; exec "${process.execPath}" "${child}" "${home.path}" fill`
  const ran = spawnSync('sh', ['-c', `trap '' XFSZ; ${limited}`], { encoding: 'utf8' })
  assert.match(ran.stdout, /^STORE_FULL$/m, ran.stdout.slice(-200) + ran.stderr)
  const again = await openHome(home)
  assert.equal(await again.store.get('n', 'before'), utf8('kept'))
  await again.store.close()
})

test('a second process is STORE_LOCKED and names the first; a killed one leaves no lock behind', async () => {
  using scratch = new Scratch()
  const home = scratch.home()
  const first = spawn(process.execPath, [child, home.path, 'hold'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(first.stdout, 'data')
  const error = await rejects(openHome(home), 'STORE_LOCKED')
  assert.match(error.hint ?? '', String(first.pid))
  first.kill('SIGKILL')
  await once(first, 'close')
  const { store } = await openHome(home)
  await store.close()
})

test('SIGKILL at any moment loses no row that was reported as committed', async () => {
  using scratch = new Scratch()
  const home = scratch.home()
  let reported = -1
  for (const afterMs of [40, 90, 150, 260]) {
    const writer = spawn(process.execPath, [child, home.path, 'count', String(reported + 1)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    writer.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    await once(writer.stdout, 'data')
    setTimeout(() => writer.kill('SIGKILL'), afterMs)
    await once(writer, 'close')
    reported = Number(output.slice(0, output.lastIndexOf('\n')).split('\n').at(-1))
    const { store } = await openHome(home)
    for (let i = 0; i <= reported; i++) {
      assert.ok((await store.get('n', String(i))) !== undefined, `row ${i} of ${reported}`)
    }
    await store.close()
  }
})

test.run()
