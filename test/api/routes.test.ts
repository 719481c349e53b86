// Every route of the local API over a real socket, and how errors are answered.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Compile } from 'typebox/compile'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { ErrorCode } from '../../protocols/base/error-codes.ts'
import { CONTACT, CONTACTS } from '../../src/api/schema/contact.ts'
import { HANDLED_RESULT, INBOX, OUTBOX, SEND_RESULT } from '../../src/api/schema/direct.ts'
import { ERROR_RESULT } from '../../src/api/schema/events.ts'
import * as group from '../../src/api/schema/group.ts'
import * as node from '../../src/api/schema/node.ts'
import { TestApi } from '../support/api.ts'
import { ALICE, BOB, CAROL } from '../support/fake-agent.ts'

const test = suite('api · routes')

const OPS = '01'.repeat(32)

test('every route answers what its schema says', async () => {
  await using api = await TestApi.start()
  const message = api.agent.receive(BOB, 'hi')
  api.agent.beInvited({ groupId: 'cc'.repeat(32), name: 'guests', from: BOB })
  api.agent.beInvited({ groupId: 'dd'.repeat(32), name: 'strangers', from: CAROL })
  const multiaddr = encodeURIComponent(`/ip4/127.0.0.1/tcp/1/p2p/${BOB}`)
  const cases = [
    ['GET', '/v1/status', undefined, node.STATUS],
    ['GET', '/v1/peers', undefined, node.PEERS],
    ['GET', '/v1/ticket?expires=7', undefined, node.TICKET],
    ['POST', '/v1/ping/bob', { count: 3 }, node.PING_RESULT],
    ['GET', `/v1/why/${multiaddr}`, undefined, node.WHY],
    ['POST', '/v1/messages', { to: 'bob', text: 'hello' }, SEND_RESULT],
    ['GET', '/v1/inbox?all=true&from=bob&limit=5', undefined, INBOX],
    ['POST', '/v1/inbox/handled', { ids: [message.id] }, HANDLED_RESULT],
    ['GET', '/v1/outbox', undefined, OUTBOX],
    ['POST', '/v1/contacts', { peerId: CAROL, name: 'carol' }, CONTACT],
    ['GET', '/v1/contacts', undefined, CONTACTS],
    ['GET', '/v1/contacts/carol/safety-number', undefined, CONTACT],
    ['DELETE', '/v1/contacts?peerId=carol', undefined, CONTACT],
    ['POST', '/v1/groups', { name: 'ops' }, group.GROUP],
    ['GET', '/v1/groups', undefined, group.GROUPS],
    ['GET', '/v1/groups/ops', undefined, group.GROUP_INFO],
    ['POST', '/v1/groups/ops/members', { peers: ['bob', CAROL] }, group.INVITE_RESULT],
    ['PUT', '/v1/groups/ops/members/bob/role', { role: 'admin' }, group.ROLE_RESULT],
    ['POST', '/v1/groups/ops/messages', { text: 'all' }, group.GROUP_SEND_RESULT],
    ['GET', '/v1/groups/ops/messages?all=true&peek=true', undefined, group.GROUP_MESSAGES],
    ['POST', '/v1/groups/ops/rekey', undefined, group.EPOCH_RESULT],
    ['DELETE', `/v1/groups/${OPS}/members/${BOB}`, { peers: [CAROL] }, group.REMOVE_RESULT],
    ['POST', '/v1/groups/ops/leave', undefined, group.GROUP_RESULT],
    ['GET', '/v1/invitations', undefined, group.INVITATIONS],
    ['POST', '/v1/invitations/guests/join', undefined, group.GROUP],
    ['POST', '/v1/invitations/dddddd/decline', undefined, group.GROUP_RESULT],
  ] as const
  for (const [method, path, body, schema] of cases) {
    const answer = await api.ask(method, path, { body })
    assert.is(answer.status, 200, `${method} ${path}: ${answer.text}`)
    const check = Compile(schema)
    assert.ok(check.Check(answer.json), `${method} ${path}: ${answer.text}`)
  }
  assert.is((await api.ask('GET', '/v1/ticket?expires=7')).json['ticket'], 'conclave1alice-7')
})

test('arguments reach the agent as what they name', async () => {
  await using api = await TestApi.start()
  const { calls } = api.agent
  const message = { to: 'bob', base64: '/wD+', until: 'delivered', timeout: 1.5 }
  await api.ask('POST', '/v1/messages', { body: message })
  assert.equal(calls.at(-1), [
    'send',
    BOB,
    Uint8Array.of(0xff, 0, 0xfe),
    'delivered',
    1_500,
    undefined,
  ])
  // “Everything that waits takes --timeout SECONDS (60 where this page says nothing else)”
  await api.ask('POST', '/v1/messages', { body: { to: 'bob', text: 'x', until: 'handled' } })
  assert.is(calls.at(-1)?.[4], 60_000)
  await api.ask('POST', '/v1/messages', { body: { to: 'bob', text: 'x' } })
  assert.is(calls.at(-1)?.[4], undefined)
  await api.ask('GET', '/v1/inbox?from=bob&requests=true&limit=7')
  assert.equal(calls.at(-1), ['inbox', { from: BOB, requests: true, limit: 7 }])
  await api.ask('POST', '/v1/groups', { body: { name: 'ops' } })
  const invite = { peers: ['bob'], until: 'joined', timeout: 5 }
  await api.ask('POST', '/v1/groups/ops/members', { body: invite })
  assert.equal(calls.at(-1)?.slice(2), [[BOB], 'joined', 5_000])
})

test('the same Idempotency-Key answers the same message', async () => {
  await using api = await TestApi.start()
  const send = async (key: string): Promise<unknown> => {
    const headers = { 'idempotency-key': key }
    const body = { to: 'bob', text: 'once' }
    return (await api.ask('POST', '/v1/messages', { body, headers })).json['id']
  }
  assert.is(await send('a'), await send('a'))
  assert.is.not(await send('a'), await send('b'))
  await api.ask('POST', '/v1/groups', { body: { name: 'ops' } })
  const headers = { 'idempotency-key': 'k' }
  await api.ask('POST', '/v1/groups/ops/messages', { body: { text: 'x' }, headers })
  assert.is(api.agent.calls.at(-1)?.[4], 'k')
  const long = { 'idempotency-key': 'k'.repeat(257) }
  const refused = await api.ask('POST', '/v1/messages', {
    body: { to: 'bob', text: 'x' },
    headers: long,
  })
  assert.is(refused.status, 400)
})

test('each family of error has its status, and the object of --json', async () => {
  await using api = await TestApi.start()
  const cases: readonly (readonly [ErrorCode, number])[] = [
    ['USAGE_ARGUMENT', 400],
    ['USAGE_PEER_UNKNOWN', 404],
    ['USAGE_GROUP_UNKNOWN', 404],
    ['USAGE_INVITATION_UNKNOWN', 404],
    ['USAGE_MESSAGE_UNKNOWN', 404],
    ['NETWORK_UNREACHABLE', 503],
    ['TRANSPORT_UNAVAILABLE', 503],
    ['VERIFY_SIGNATURE', 422],
    ['CODEC_MALFORMED', 422],
    ['GROUP_EPOCH_STALE', 409],
    ['STATE_TIMEOUT', 504],
    ['STATE_NOT_REACHED', 504],
    ['STATE_EVENT_GONE', 410],
    ['LIMIT_QUOTA', 429],
    ['LIMIT_DENIED', 403],
    ['GROUP_NOT_ADMIN', 403],
    ['STORE_CORRUPT', 500],
    ['BUG_INVARIANT', 500],
  ]
  const check = Compile(ERROR_RESULT)
  for (const [code, status] of cases) {
    api.agent.failure = new ConclaveError(code, 'said', { hint: 'do', data: { id: 'x' } })
    const answer = await api.ask('GET', '/v1/status')
    assert.is(answer.status, status, code)
    assert.ok(check.Check(answer.json), answer.text)
    assert.is(answer.error['code'], code)
    assert.is(answer.error['hint'], 'do')
    assert.is(answer.error['id'], 'x')
  }
  api.agent.failure = new TypeError('x is undefined')
  const bug = await api.ask('GET', '/v1/status')
  assert.is(bug.status, 500)
  assert.is(bug.error['code'], 'BUG_INVARIANT')
  assert.type(bug.error['hint'], 'string')
})

test('a state that is not reached carries id and state', async () => {
  await using api = await TestApi.start()
  api.agent.reaches = 'queued'
  const body = { to: 'bob', text: 'x', until: 'delivered', timeout: 1 }
  const answer = await api.ask('POST', '/v1/messages', { body })
  assert.is(answer.status, 504)
  assert.is(answer.error['state'], 'queued')
  assert.match(String(answer.error['id']), /^[0-9a-f]{32}$/)
})

test('what does not fit the schema is refused, and the nearest known field named', async () => {
  await using api = await TestApi.start()
  const cases = [
    ['POST', '/v1/messages', { to: 'bob', text: 'x', untl: 'delivered' }, /until/],
    ['POST', '/v1/messages', { to: 'bob', text: 'x', until: 'joined' }, /queued, stored/],
    ['POST', '/v1/messages', { to: 'bob', text: 'x', base64: 'eA==' }, /one of the two/],
    ['POST', '/v1/messages', { to: 'bob', base64: 'not base64!' }, /base64/],
    ['POST', '/v1/messages', { text: 'x' }, /lacks to/],
    ['POST', '/v1/messages', { to: 5, text: 'x' }, /to of the body/],
    ['POST', '/v1/messages', '{"to": ', /JSON/],
    ['POST', '/v1/messages', '{"__proto__": {"to": "bob"}, "text": "x"}', /./],
    ['POST', '/v1/groups/ops/rekey', { now: true }, /unknown field: now/],
    ['GET', '/v1/inbox?limt=3', undefined, /limit/],
    ['GET', '/v1/inbox?limit=0', undefined, /limit/],
    ['GET', '/v1/inbox?limit=many', undefined, /limit/],
    ['GET', '/v1/events?kinds=message,nothing', undefined, /kinds/],
    ['DELETE', '/v1/contacts', undefined, /peerId/],
  ] as const
  for (const [method, path, body, said] of cases) {
    const answer = await api.ask(method, path, { body })
    assert.is(answer.status, 400, `${path}: ${answer.text}`)
    assert.is(answer.error['code'], 'USAGE_ARGUMENT')
    assert.match(answer.text, said)
  }
  assert.equal(api.agent.calls, [])
})

test('unknown routes and methods are 404, with a hint', async () => {
  await using api = await TestApi.start()
  const path = await api.ask('GET', '/v1/statsu')
  assert.is(path.status, 404)
  assert.is(path.error['code'], 'USAGE_NOT_FOUND')
  assert.match(String(path.error['hint']), '/v1/status')
  assert.is((await api.ask('PUT', '/v1/status')).status, 404)
  assert.is((await api.ask('GET', '/v1/why/nobody')).status, 404)
  assert.is((await api.ask('GET', '/v1/why/%E0%A4%A')).status, 400)
})

test('a request that is cut off stops what it waits for', async () => {
  await using api = await TestApi.start()
  const waiting = api.ask('POST', `/v1/ping/${CAROL}`)
  while (api.agent.calls.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await api.api.close()
  const answer = await waiting
  assert.is(answer.status, 409)
  assert.is(answer.error['code'], 'STATE_CLOSED')
})

test('shutdown is answered before the node is told', async () => {
  await using api = await TestApi.start()
  const answer = await api.ask('POST', '/v1/shutdown')
  assert.equal(answer.json, { stopped: true })
  while (!api.shutdown) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.is(api.shutdown, true)
})

test('safety numbers are read with GET and matched with POST', async () => {
  await using api = await TestApi.start()
  const path = `/v1/contacts/${BOB}/safety-number`
  const number = (await api.ask('GET', path)).json['safetyNumber']
  assert.is((await api.ask('POST', path, { body: { match: '1' } })).status, 422)
  const verified = await api.ask('POST', path, { body: { match: number } })
  assert.is(verified.json['verified'], true)
})

test('the description is OpenAPI 3.1 and lists every route', async () => {
  await using api = await TestApi.start()
  const { json } = await api.ask('GET', '/v1/openapi.json')
  assert.match(String(json['openapi']), /^3\.1\./)
  const paths = json['paths'] as Record<string, Record<string, Record<string, unknown>>>
  const listed = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  for (const route of ROUTES) assert.ok(listed.includes(route), route)
  for (const [path, methods] of Object.entries(paths)) {
    for (const operation of Object.values(methods)) {
      assert.type(operation['summary'], 'string', path)
      assert.ok('200' in (operation['responses'] as object), path)
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      const parameters = (operation['parameters'] ?? []) as { in: string; name: string }[]
      const inPath = parameters.filter((one) => one.in === 'path').map((one) => one.name)
      assert.equal(inPath.sort(), named.sort(), path)
    }
  }
  const send = paths['/v1/messages']?.['post']?.['requestBody'] as Record<string, unknown>
  assert.match(JSON.stringify(send), '"additionalProperties":false')
  assert.not.match(JSON.stringify(json), ALICE)
})

const ROUTES = [
  'GET /v1/status',
  'GET /v1/peers',
  'POST /v1/messages',
  'GET /v1/inbox',
  'POST /v1/inbox/handled',
  'GET /v1/outbox',
  'GET /v1/contacts',
  'POST /v1/contacts',
  'DELETE /v1/contacts',
  'GET /v1/groups',
  'POST /v1/groups',
  'GET /v1/groups/{id}',
  'POST /v1/groups/{id}/members',
  'DELETE /v1/groups/{id}/members/{peerId}',
  'POST /v1/groups/{id}/messages',
  'GET /v1/groups/{id}/messages',
  'POST /v1/groups/{id}/rekey',
  'PUT /v1/groups/{id}/members/{peerId}/role',
  'POST /v1/groups/{id}/leave',
  'GET /v1/invitations',
  'POST /v1/invitations/{id}/join',
  'POST /v1/invitations/{id}/decline',
  'GET /v1/contacts/{peerId}/safety-number',
  'GET /v1/ticket',
  'POST /v1/ping/{peerId}',
  'GET /v1/why/{peerId}',
  'POST /v1/shutdown',
  'GET /v1/events',
]

test.run()
