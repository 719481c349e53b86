// What every store must do, whatever is below it.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { utf8 } from '../../protocols/base/bytes.ts'
import { del, put } from '../../src/store/types.ts'
import type { Range, Store } from '../../src/store/types.ts'
import { rejects } from '../support/rejects.ts'

async function keys(store: Store, table: string, range?: Range): Promise<string[]> {
  const found: string[] = []
  for await (const row of store.rows(table, range)) found.push(row.key)
  return found
}

/** Runs the suite; `open` answers a fresh, empty store each time. */
export function runStoreContract(name: string, open: () => Promise<Store>): void {
  const test = suite(`contract · store · ${name}`)

  test('a row reads back as written, and is gone when deleted', async () => {
    const store = await open()
    assert.is(await store.get('a', 'k'), undefined)
    await store.commit([put('a', 'k', utf8('one'))])
    assert.equal(await store.get('a', 'k'), utf8('one'))
    await store.commit([put('a', 'k', new Uint8Array(0))])
    assert.equal(await store.get('a', 'k'), new Uint8Array(0))
    await store.commit([del('a', 'k'), del('a', 'never there')])
    assert.is(await store.get('a', 'k'), undefined)
    await store.close()
  })

  test('rows come in the order of their octets, within their table and bounds', async () => {
    const store = await open()
    const names = ['a', 'a/1', 'a/2', 'b', 'ä', 'z', '\u{1f600}']
    await store.commit(names.map((key) => put('t', key, utf8(key))))
    await store.commit([put('t2', 'x', utf8('x')), put('s', 'x', utf8('x'))])
    assert.equal(await keys(store, 't'), ['a', 'a/1', 'a/2', 'b', 'z', 'ä', '\u{1f600}'])
    assert.equal(await keys(store, 't', { prefix: 'a/' }), ['a/1', 'a/2'])
    assert.equal(await keys(store, 't', { gte: 'a/1', lt: 'b' }), ['a/1', 'a/2'])
    assert.equal(await keys(store, 't', { gt: 'a/1', lt: 'z' }), ['a/2', 'b'])
    assert.equal(await keys(store, 't', { reverse: true, limit: 2 }), ['\u{1f600}', 'ä'])
    assert.equal(await keys(store, 't', { prefix: 'a', limit: 1 }), ['a'])
    assert.equal(await keys(store, 'none'), [])
    const bare: string[] = []
    for await (const key of store.keys('t', { gt: 'a', lt: 'b', reverse: true })) bare.push(key)
    assert.equal(bare, ['a/2', 'a/1'])
    await store.close()
  })

  test('concurrent commits all land, in the order of the calls', async () => {
    const store = await open()
    const commits = Array.from({ length: 500 }, (_, i) =>
      store.commit([put('n', 'last', utf8(String(i))), put('all', String(i), utf8('x'))]),
    )
    await Promise.all(commits)
    assert.equal(await store.get('n', 'last'), utf8('499'))
    assert.is((await keys(store, 'all')).length, 500)
    await store.close()
  })

  test('a closed store refuses commits', async () => {
    const store = await open()
    await store.close()
    await rejects(store.commit([put('a', 'b', utf8('c'))]), 'STATE_CLOSED')
  })

  test('keys with control characters are refused', async () => {
    const store = await open()
    await rejects(store.commit([put('a', 'b\u0001c', utf8('c'))]), 'BUG_INVARIANT')
    await store.close()
  })

  test.run()
}
