// The event log: what is appended is what followers read, also where an earlier version wrote it.
import { encode } from 'cborg'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { openEventLog } from '../../src/node/events.ts'
import type { AgentEvent } from '../../src/node/types.ts'
import { put } from '../../src/store/types.ts'
import type { Store } from '../../src/store/types.ts'
import { memoryStore } from '../support/store.ts'

const test = suite('node · events')

const FACT = { id: 'ab', name: null, text: 'naïve “text”\u0000\n😀', handled: false, sequence: 7 }

async function readAll(store: Store, count: number): Promise<AgentEvent[]> {
  const log = await openEventLog(store)
  const stop = new AbortController()
  const events: AgentEvent[] = []
  for await (const event of log.follow({ afterId: 0, signal: stop.signal })) {
    events.push(event)
    if (events.length === count) stop.abort()
  }
  return events
}

test('events are read as they were appended, and rows of CBOR as they were written', async () => {
  const store = memoryStore()
  await store.commit([put('event', '00000000000001', encode({ kind: 'message', data: FACT }))])
  const log = await openEventLog(store)
  await store.commit(log.append('state', FACT))
  assert.equal(await readAll(store, 2), [
    { id: 1, kind: 'message', data: FACT },
    { id: 2, kind: 'state', data: FACT },
  ])
  await store.close()
})

test.run()
