// What the local API refuses before it looks closer: large bodies, foreign pages, wrong tokens.
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseApiAddress } from '../../src/api/address.ts'
import { REQUEST_BYTES_MAX } from '../../src/api/client-limits.ts'
import { TestApi, ask } from '../support/api.ts'
import { rejects } from '../support/rejects.ts'

const test = suite('api · limits')

/** Sends raw bytes and answers what comes back until the other side hangs up. */
async function raw(socketPath: string, ...parts: readonly string[]): Promise<string> {
  const socket = connect(socketPath)
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  socket.on('error', () => undefined)
  for (const part of parts) socket.write(part)
  await new Promise((resolve) => socket.once('close', resolve))
  return text
}

// “Bodies over 1 MiB are refused with 413 before they are read whole.”
test('a body that says it is over 1 MiB is refused before any of it is sent', async () => {
  await using api = await TestApi.start()
  const head = [
    'POST /v1/messages HTTP/1.1',
    'host: localhost',
    'content-type: application/json',
    `content-length: ${REQUEST_BYTES_MAX + 1}`,
  ]
  const text = await raw(api.api.socket, `${head.join('\r\n')}\r\n\r\n`)
  assert.match(text, /^HTTP\/1\.1 413 /)
  assert.match(text, /USAGE_BODY_TOO_LARGE/)
  assert.match(text, /connection: close/)
})

test('a body that grows over 1 MiB is refused while it grows', async () => {
  await using api = await TestApi.start()
  const head = [
    'POST /v1/messages HTTP/1.1',
    'host: localhost',
    'content-type: application/json',
    'transfer-encoding: chunked',
  ]
  const chunk = `10000\r\n${' '.repeat(65_536)}\r\n`
  const parts = Array.from({ length: 17 }, () => chunk) // And no end.
  const text = await raw(api.api.socket, `${head.join('\r\n')}\r\n\r\n`, ...parts)
  assert.match(text, /^HTTP\/1\.1 413 /)
})

test('a body of exactly 1 MiB is read', async () => {
  await using api = await TestApi.start()
  const start = '{"to":"bob","text":"'
  const body = `${start}${'x'.repeat(REQUEST_BYTES_MAX - start.length - 2)}"}`
  const answer = await api.ask('POST', '/v1/messages', { body })
  assert.is(answer.error['code'], 'USAGE_MESSAGE_TOO_LARGE')
})

test('what is not HTTP is answered as an error, and hung up on', async () => {
  await using api = await TestApi.start()
  const text = await raw(api.api.socket, 'hello\r\n\r\n')
  assert.match(text, /^HTTP\/1\.1 400 /)
  assert.match(text, /"ok":false/)
  const long = await raw(api.api.socket, `GET /v1/why/${'x'.repeat(40_000)} HTTP/1.1\r\n\r\n`)
  assert.match(long, /^HTTP\/1\.1 400 /)
})

test('the TCP listener asks every request for the token', async () => {
  await using api = await TestApi.start({ tcp: { host: '127.0.0.1', port: 0 } })
  const { port, host } = new URL(api.api.url ?? '')
  const where = { host: '127.0.0.1', port: Number(port) }
  const token = readFileSync(join(api.home, 'api-token'), 'utf8').trim()
  assert.is(statSync(join(api.home, 'api-token')).mode & 0o777, 0o600)
  assert.match(token, /^[0-9a-f]{64}$/)
  const get = (
    headers: Record<string, string>,
    path = '/v1/status',
  ): Promise<{ status: number; error: Record<string, unknown> }> =>
    ask(where, 'GET', path, { headers: { host, ...headers } })
  const authorization = `Bearer ${token}`
  assert.is((await get({ authorization })).status, 200)
  const refused = [
    {},
    { authorization: token },
    { authorization: `Bearer ${token.slice(1)}` },
    { authorization: `Bearer ${'0'.repeat(64)}` },
  ]
  for (const headers of refused) {
    for (const path of ['/v1/status', '/v1/openapi.json', '/v1/events', '/nothing']) {
      const answer = await get(headers, path)
      assert.is(answer.status, 401, path)
      assert.is(answer.error['code'], 'USAGE_TOKEN')
      assert.not(JSON.stringify(answer.error).includes(token))
    }
  }
  // “refuses a foreign `Host` or any `Origin` but its own”
  for (const foreign of ['evil.example', `evil.example:${port}`, '127.0.0.1', '127.0.0.1:1']) {
    const answer = await get({ authorization, host: foreign })
    assert.is(answer.status, 403, foreign)
    assert.is(answer.error['code'], 'USAGE_ORIGIN')
  }
  for (const origin of ['http://evil.example', 'null', `https://${host}`]) {
    assert.is((await get({ authorization, origin })).status, 403, origin)
  }
  assert.is((await get({ authorization, origin: `http://${host}` })).status, 200)
  assert.is((await get({ authorization, host: `localhost:${port}` })).status, 200)
})

test('the token and a free port stay the same over restarts', async () => {
  const tcp = { host: '127.0.0.1', port: 0 }
  await using first = await TestApi.start({ tcp })
  const token = readFileSync(join(first.home, 'api-token'), 'utf8')
  await first.api.close()
  await using second = await TestApi.start({ tcp, home: first.home })
  assert.is(second.api.url, first.api.url)
  assert.is(readFileSync(join(first.home, 'api-token'), 'utf8'), token)
})

test('an address that others can reach needs TLS', async () => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'agent.example']) {
    const error = await rejects(TestApi.start({ tcp: { host, port: 0 } }), 'CONFIG_VALUE')
    assert.match(error.hint ?? '', '--api-cert')
  }
})

test('an address that is taken is a network error', async () => {
  await using api = await TestApi.start({ tcp: { host: '127.0.0.1', port: 0 } })
  const port = Number(new URL(api.api.url ?? '').port)
  await rejects(TestApi.start({ tcp: { host: '127.0.0.1', port } }), 'NETWORK_LISTEN')
})

test('a file without a token in it is not taken for one', async () => {
  await using api = await TestApi.start()
  writeFileSync(join(api.home, 'api-token'), '\n')
  await api.api.close()
  const tcp = { host: '127.0.0.1', port: 0 }
  await rejects(TestApi.start({ tcp, home: api.home }), 'CONFIG_VALUE')
})

test('addresses of the API are HOST:PORT', async () => {
  assert.equal(parseApiAddress('127.0.0.1:8080'), { host: '127.0.0.1', port: 8080 })
  assert.equal(parseApiAddress('[::1]:0'), { host: '::1', port: 0 })
  for (const text of ['', '8080', '127.0.0.1', '127.0.0.1:', 'a:65536', '::1:80', 'a b:1', 'a:x']) {
    await rejects((async () => parseApiAddress(text))(), 'CONFIG_VALUE')
  }
})

test.run()
