// The event stream: ids, filters, resuming, comment lines, slow readers, the end.
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { makeClient } from '../../src/api/client.ts'
import { StreamReader, TestApi } from '../support/api.ts'
import { BOB, CAROL } from '../support/fake-agent.ts'
import { rejects } from '../support/rejects.ts'

const test = suite('api · events')

test('a stream carries each event once, with its id, kind and fields', async () => {
  await using api = await TestApi.start()
  api.agent.emit('peer', { before: true })
  const stream = await StreamReader.open(api.api.socket, '/v1/events')
  assert.match(String(stream.response.headers['content-type']), 'text/event-stream')
  await stream.until(/^id: 1$/m) // Where a reader that never saw an event resumes.
  const message = api.agent.receive(BOB, 'line one\nline two')
  api.agent.emit('state', { id: 'x', state: 'delivered' })
  await stream.until(/event: state/)
  assert.equal(stream.events, ['2 message', '3 state'])
  const [, data = ''] = /event: message\ndata: (.*)\n/.exec(stream.text) ?? []
  assert.equal(JSON.parse(data), message)
  stream.close()
})

test('Last-Event-ID resumes without losing or repeating one; it wins over the query', async () => {
  await using api = await TestApi.start()
  for (let i = 0; i < 5; i++) api.agent.emit('state', { i })
  const open = (path: string, id?: string): Promise<StreamReader> =>
    StreamReader.open(api.api.socket, path, id === undefined ? {} : { 'last-event-id': id })
  const resumed = await open('/v1/events?after=0', '3')
  await resumed.until(/id: 5\nevent/)
  api.agent.emit('state', { i: 5 })
  await resumed.until(/id: 6\nevent/)
  assert.equal(resumed.events, ['4 state', '5 state', '6 state'])
  const queried = await open('/v1/events?after=4')
  await queried.until(/id: 6\nevent/)
  assert.equal(queried.events, ['5 state', '6 state'])
  const all = await open('/v1/events', '0')
  await all.until(/id: 6\nevent/)
  assert.is(all.events.length, 6)
  for (const stream of [resumed, queried, all]) stream.close()
})

// “the last 100,000 are kept; an older id gets 410”
test('an id that is no longer kept, or not there yet, gets 410', async () => {
  await using api = await TestApi.start()
  api.agent.eventsKept = 3
  for (let i = 0; i < 6; i++) api.agent.emit('state', { i })
  for (const id of ['0', '2', '7']) {
    const headers = { 'last-event-id': id }
    const answer = await api.ask('GET', '/v1/events', { headers })
    assert.is(answer.status, 410, id)
    assert.is(answer.error['code'], 'STATE_EVENT_GONE')
  }
  const kept = await StreamReader.open(api.api.socket, '/v1/events?after=3')
  await kept.until(/id: 6\nevent/)
  assert.is(kept.events.length, 3)
  kept.close()
  const bad = await api.ask('GET', '/v1/events', { headers: { 'last-event-id': 'x' } })
  assert.is(bad.status, 400)
})

test('silence is broken by comment lines, which move the point to resume from', async () => {
  await using api = await TestApi.start({ heartbeatMs: 20 })
  const stream = await StreamReader.open(api.api.socket, '/v1/events?kinds=request')
  await stream.until(/(?:^: .*\n[^]*){3}/m)
  api.agent.emit('state', {})
  await stream.until(/^: .*\nid: 1\n\n/m)
  assert.equal(stream.events, [])
  stream.close()
})

test('filters choose kinds, sender and group', async () => {
  await using api = await TestApi.start()
  const { groupId } = await api.agent.groups.create('ops')
  const open = (query: string): Promise<StreamReader> =>
    StreamReader.open(api.api.socket, `/v1/events?after=0&${query}`)
  api.agent.receive(BOB, 'from bob')
  api.agent.receive(CAROL, 'from carol')
  api.agent.hear(groupId, BOB, 'in ops')
  api.agent.emit('state', { id: 'end' })
  const cases = [
    ['kinds=message,state', ['1 message', '2 message', '4 state']],
    ['from=bob&kinds=message,group-message', ['1 message', '3 group-message']],
    ['group=ops', ['3 group-message']],
  ] as const
  for (const [query, expected] of cases) {
    const stream = await open(query)
    await stream.until(new RegExp(`id: ${expected.at(-1)?.split(' ')[0] ?? ''}\nevent`))
    assert.equal(stream.events, expected, query)
    stream.close()
  }
  assert.is((await api.ask('GET', '/v1/events?from=nobody')).status, 404)
})

test('a reader that takes nothing is not read ahead for, and misses nothing', async () => {
  await using api = await TestApi.start()
  const { signal } = new AbortController()
  const events = await makeClient(api.home).follow({ kinds: ['state'], signal })
  const big = 'x'.repeat(50_000)
  for (let i = 0; i < 400; i++) api.agent.emit('state', { i, big }) // 20 MB
  await delay(200)
  assert.ok(api.agent.eventsFollowed < 100, `${api.agent.eventsFollowed} were taken for it`)
  let expected = 0
  for await (const { data } of events) {
    assert.is(data['i'], expected++)
    if (expected === 400) break
  }
})

test('streams beyond the bound are refused with both numbers', async () => {
  await using api = await TestApi.start()
  const streams: StreamReader[] = []
  for (let i = 0; i < 64; i++) streams.push(await StreamReader.open(api.api.socket, '/v1/events'))
  const refused = await api.ask('GET', '/v1/events')
  assert.is(refused.status, 429)
  assert.equal([refused.error['found'], refused.error['allowed']], [64, 64])
  streams.pop()?.close()
  await delay(100)
  const again = await StreamReader.open(api.api.socket, '/v1/events')
  await again.until(/^id: 0$/m)
  for (const stream of [...streams, again]) stream.close()
})

test('closing the API ends the streams', async () => {
  await using api = await TestApi.start()
  const stream = await StreamReader.open(api.api.socket, '/v1/events')
  await stream.until(/^id: 0$/m)
  const startedAt = performance.now()
  await api.api.close()
  assert.ok(performance.now() - startedAt < 1_000)
  while (!stream.ended) await delay(5)
  assert.is(stream.ended, true)
})

test('the client follows on where the node went away and came back', async () => {
  await using api = await TestApi.start()
  const stop = new AbortController()
  const client = makeClient(api.home)
  const events = await client.follow({ kinds: ['message'], signal: stop.signal })
  const seen: unknown[] = []
  const reading = (async () => {
    for await (const { id, data } of events) {
      seen.push(`${id} ${String(data['text'])}`)
      if (seen.length === 3) return
    }
  })()
  api.agent.receive(BOB, 'one')
  while (seen.length < 1) await delay(5)
  await api.api.close()
  api.agent.receive(BOB, 'two') // While nobody could hear it.
  await using again = await TestApi.start({ home: api.home, agent: api.agent })
  assert.is(again.home, api.home)
  api.agent.receive(BOB, 'three')
  await reading
  assert.equal(seen, ['1 one', '2 two', '3 three'])
  stop.abort()
})

test('the client says when the events it would resume from are gone', async () => {
  await using api = await TestApi.start()
  api.agent.eventsKept = 1
  for (let i = 0; i < 3; i++) api.agent.emit('state', { i })
  const { signal } = new AbortController()
  await rejects(makeClient(api.home).follow({ after: 0, signal }), 'STATE_EVENT_GONE')
})

test.run()
