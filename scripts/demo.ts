// `npm run demo`: three agents in three processes on this machine, talking over the local API that every program can use.
// Narrates with times measured as it goes; ends by itself, with exit code 0 only if everything held.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { Agent as HttpAgent, fetch } from 'undici'

const MAIN = new URL('../src/main.ts', import.meta.url).pathname
const WAIT_MS = 20_000
const folder = mkdtempSync(join(tmpdir(), 'conclave-demo-'))
const running = new Set<ChildProcess>()

type Fields = Record<string, unknown>

interface Ready {
  readonly peerId: string
  readonly socket: string
  readonly ticket: string
}

/** One agent's node, a process of its own. */
class Demo {
  readonly name: string
  readonly #args: readonly string[]
  #process: ChildProcess | undefined
  #http: HttpAgent | undefined
  ready: Ready = { peerId: '', socket: '', ticket: '' }

  constructor(name: string, ...args: string[]) {
    this.name = name
    this.#args = args
  }

  async start(): Promise<void> {
    const up = ['up', '--home', join(folder, this.name), '--name', this.name, '--json', '--no-mdns']
    const args = [MAIN, ...up, '--listen', '/ip4/127.0.0.1/tcp/0', '--log-level', 'error']
    const child = spawn(process.execPath, [...args, ...this.#args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    running.add(child)
    const failed = once(child, 'close').then(() => Promise.reject(new Error(`${this.name} ended`)))
    const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), failed])) as [
      string,
    ]
    failed.catch(() => undefined)
    this.ready = JSON.parse(line) as Ready
    this.#process = child
    this.#http = new HttpAgent({ connect: { socketPath: this.ready.socket } })
  }

  async call(method: string, path: string, body?: Fields): Promise<Fields> {
    if (this.#http === undefined) throw new Error(`${this.name} is not up`)
    const answer = await fetch(`http://node/v1/${path}`, {
      method,
      dispatcher: this.#http,
      ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    })
    const fields = (await answer.json()) as Fields
    if (!answer.ok) throw new Error(`${this.name}: ${method} ${path}: ${JSON.stringify(fields)}`)
    return fields
  }

  list(path: string): Promise<Fields[]> {
    return this.call('GET', path) as unknown as Promise<Fields[]>
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    child.kill(signal)
    await closed
    running.delete(child)
    await this.#http?.destroy()
  }
}

const startedAt = performance.now()
const spinner = process.stderr.isTTY ? ['|', '/', '-', '\\'] : []

/** Runs one step and tells what it came to and how long it took. */
async function step(what: string, work: () => Promise<string>): Promise<void> {
  const from = performance.now()
  let turn = 0
  const timer = setInterval(() => {
    if (spinner.length > 0)
      process.stderr.write(`\r${spinner[turn++ % spinner.length] ?? ''} ${what}`)
  }, 80)
  try {
    const outcome = await work()
    const ms = Math.round(performance.now() - from)
    if (spinner.length > 0) process.stderr.write('\r\u001b[K')
    console.log(`${String(ms).padStart(6)} ms  ${what}: ${outcome}`)
  } finally {
    clearInterval(timer)
  }
}

/** Asks again until the answer is there. */
async function until<T>(claim: string, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + WAIT_MS
  while (Date.now() < deadline) {
    const answer = await ask()
    if (answer !== undefined) return answer
    await delay(20)
  }
  throw new Error(`not within ${WAIT_MS} ms: ${claim}`)
}

function demand(holds: boolean, claim: string): void {
  if (!holds) throw new Error(`this does not hold: ${claim}`)
}

const textIn = (rows: readonly Fields[], text: string): Fields | undefined =>
  rows.find((row) => row['text'] === text)

async function directMessage(from: Demo, to: Demo, text: string): Promise<string> {
  const body = { to: to.ready.peerId, text, until: 'delivered', timeout: 20 }
  const sent = await from.call('POST', 'messages', body)
  const inbox = await to.list('inbox')
  const arrived = textIn(inbox, text)
  demand(arrived?.['id'] === sent['id'], `“${text}” is in ${to.name}'s inbox`)
  await to.call('POST', 'inbox/handled', { ids: [sent['id']] })
  return `“${text}” ${String(sent['state'])} ${String(sent['via'])}, receipt in hand`
}

async function heardBy(reader: Demo, groupId: string, text: string): Promise<void> {
  await until(`${reader.name} hears “${text}”`, async () =>
    textIn(await reader.list(`groups/${groupId}/messages?all=true`), text),
  )
}

/** Founds a group of three and removes carol from it; answers its id. */
async function groupStory(alice: Demo, bob: Demo, carol: Demo): Promise<string> {
  const all = [alice, bob, carol]
  let groupId = ''
  await step('alice founds a group and invites two', async () => {
    const group = await alice.call('POST', 'groups', { name: 'ops' })
    groupId = String(group['groupId'])
    const peers = [bob, carol].map(({ ready }) => ready.peerId)
    const body = { peers, until: 'joined', timeout: 20 }
    const { epoch } = await alice.call('POST', `groups/${groupId}/members`, body)
    return `one commit, epoch ${String(epoch)}; both have confirmed that they are in`
  })
  await step('each says something to the group', async () => {
    for (const one of all) {
      await one.call('POST', `groups/${groupId}/messages`, { text: `${one.name} here` })
    }
    for (const reader of all) {
      for (const one of all) await heardBy(reader, groupId, `${one.name} here`)
    }
    return 'all three read all three'
  })
  await step('carol is removed', async () => {
    await alice.call('DELETE', `groups/${groupId}/members/${carol.ready.peerId}`)
    await alice.call('POST', `groups/${groupId}/messages`, { text: 'without carol' })
    await heardBy(bob, groupId, 'without carol')
    await until('carol learns it', async () =>
      (await carol.list('groups')).length === 0 ? true : undefined,
    )
    const left = await carol.list(`groups/${groupId}/messages?all=true`)
    demand(textIn(left, 'without carol') === undefined, 'carol reads nothing newer')
    return 'bob reads on, carol cannot'
  })
  return groupId
}

async function story(): Promise<void> {
  const alice = new Demo('alice', '--relay')
  await step('alice starts, the bootstrap peer', async () => {
    await alice.start()
    return alice.ready.peerId
  })
  const bob = new Demo('bob', '--bootstrap', alice.ready.ticket)
  const carol = new Demo('carol', '--bootstrap', alice.ready.ticket)
  const all = [alice, bob, carol]
  await step('bob and carol join, knowing only her ticket', async () => {
    await Promise.all([bob.start(), carol.start()])
    return `${bob.ready.peerId.slice(-6)} and ${carol.ready.peerId.slice(-6)}`
  })
  await step('they become contacts', async () => {
    for (const one of all) {
      for (const other of all) {
        if (one === other) continue
        await one.call('POST', 'contacts', { peerId: other.ready.peerId, name: other.name })
      }
    }
    return 'by peer ID; nobody else reaches their inbox'
  })
  await step('bob → carol, found by her peer ID alone', () =>
    directMessage(bob, carol, 'build is green'),
  )
  await step('carol → bob, on the session that exists', () =>
    directMessage(carol, bob, 'shipping it'),
  )

  const groupId = await groupStory(alice, bob, carol)

  await step('bob is killed with SIGKILL', async () => {
    await bob.stop('SIGKILL')
    await alice.call('POST', `groups/${groupId}/messages`, { text: 'while you were away' })
    const sent = await carol.call('POST', 'messages', {
      to: bob.ready.peerId,
      text: 'call me',
      until: 'queued',
    })
    return `carol writes to him meanwhile: ${String(sent['state'])}`
  })
  const before = bob.ready.peerId
  await step('bob starts again', async () => {
    await bob.start()
    demand(bob.ready.peerId === before, 'the peer ID is the same')
    await until('what waited arrives', async () => textIn(await bob.list('inbox'), 'call me'))
    return 'same peer ID, and what waited has arrived'
  })
  await step('bob → carol, the same session', () => directMessage(bob, carol, 'here I am'))
  await step('the group goes on where it was', async () => {
    await heardBy(bob, groupId, 'while you were away')
    await bob.call('POST', `groups/${groupId}/messages`, { text: 'back' })
    await heardBy(alice, groupId, 'back')
    return 'bob reads what was said meanwhile, and is heard'
  })
  await step('all stop', async () => {
    await Promise.all(all.map((demo) => demo.stop('SIGTERM')))
    return 'cleanly'
  })
}

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    process.exit(130)
  })

try {
  await story()
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
  console.log(`
All of it held, in ${seconds} s. To go on by hand, in two terminals:

  1  npm run -s conclave -- up --home ./alice
     prints her ticket; paste it below
  2  npm run -s conclave -- up --home ./bob --bootstrap TICKET --detach
     npm run -s conclave -- send --home ./bob TICKET "hello"
  1  npm run -s conclave -- inbox --home ./alice --requests     (in a third terminal)
`)
} catch (error) {
  console.error(`conclave: error: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
