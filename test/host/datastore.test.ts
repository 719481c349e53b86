import { Key } from 'interface-datastore'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HostDatastore } from '../../src/host/datastore.ts'
import { memoryStorage, rejection } from '../support/hosts.ts'

const test = suite('host · datastore')
const key = new Key('/peers/a')
const one = Uint8Array.of(1)

test('a row is read back before and after it is written; deletion holds in both', async () => {
  const storage = memoryStorage()
  const store = new HostDatastore(storage)
  await store.put(key, one)
  assert.is(storage.rows.size, 0)
  assert.equal(await store.get(key), one)
  await store.flush()
  assert.equal(storage.rows.get('/peers/a'), one)
  await store.delete(key)
  assert.is((await rejection(store.get(key))).name, 'NotFoundError')
  assert.not(await store.has(key))
  await store.close()
  assert.is(storage.rows.size, 0)
})

test('a query sees what is not written yet, by prefix', async () => {
  const store = new HostDatastore(memoryStorage())
  await store.put(key, one)
  await store.put(new Key('/dht/b'), one)
  const found: string[] = []
  for await (const row of store.query({ prefix: '/peers' })) found.push(row.key.toString())
  assert.equal(found, ['/peers/a'])
  await store.close()
})

test('many writes of one row are one; a later start reads it', async () => {
  const storage = memoryStorage()
  let putCount = 0
  const put = (name: string, value: Uint8Array): Promise<void> => {
    putCount += 1
    return storage.put(name, value)
  }
  const store = new HostDatastore({ ...storage, put })
  for (let i = 0; i < 100; i++) await store.put(key, Uint8Array.of(i))
  await store.close()
  assert.is(putCount, 1)
  assert.equal(await new HostDatastore(storage).get(key), Uint8Array.of(99))
})

test('a failing disk loses nothing that it takes later', async () => {
  const storage = memoryStorage()
  let failing = true
  const warnings: string[] = []
  const put = (name: string, value: Uint8Array): Promise<void> =>
    failing ? Promise.reject(new Error('full')) : storage.put(name, value)
  const log = { debug: () => undefined, warn: (text: string) => void warnings.push(text) }
  const store = new HostDatastore({ ...storage, put }, log)
  await store.put(key, one)
  await store.flush()
  assert.is(warnings.length, 1)
  assert.equal(await store.get(key), one)
  failing = false
  await store.close()
  assert.equal(storage.rows.get('/peers/a'), one)
})

test('a stored value does not follow the caller’s array', async () => {
  const store = new HostDatastore(memoryStorage())
  const value = Uint8Array.of(1)
  await store.put(key, value)
  value[0] = 9
  assert.equal(await store.get(key), one)
  await store.close()
})

test.run()
