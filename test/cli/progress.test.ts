// A long wait shows itself where a person looks at a terminal, and nowhere else.
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Client } from '../../src/api/client.ts'
import type { Invocation, Io } from '../../src/cli/command.ts'
import { GROUP_COMMANDS } from '../../src/cli/group-commands.ts'
import {
  describeCatchUp,
  describePending,
  PROGRESS_AFTER_MS,
  PROGRESS_EVERY_MS,
  withProgress,
} from '../../src/cli/progress.ts'

const test = suite('cli · progress')

function ioOf(shown?: string[]): Io {
  return {
    stdin: process.stdin,
    out: () => undefined,
    note: () => undefined,
    interrupted: new AbortController().signal,
    ...(shown !== undefined && { progress: (text: string) => void shown.push(text) }),
  }
}

const LONG_MS = PROGRESS_AFTER_MS + 2 * PROGRESS_EVERY_MS

test('a long wait is described again and again, and its line is cleared at the end', async () => {
  const shown: string[] = []
  let asked = 0
  const result = await withProgress(
    ioOf(shown),
    () => Promise.resolve(`step ${++asked}`),
    () => delay(LONG_MS, 'done'),
  )
  assert.is(result, 'done')
  assert.ok(shown.length >= 3)
  assert.match(shown[0] ?? '', /^step 1, \d s$/)
  assert.is(shown.at(-1), '')
})

test('a short wait shows nothing but a cleared line; a failing description ends nothing', async () => {
  const shown: string[] = []
  await withProgress(
    ioOf(shown),
    () => Promise.resolve('never'),
    () => Promise.resolve(),
  )
  assert.equal(shown, [''])
  const failing = (): Promise<string> => Promise.reject(new Error('no node'))
  await withProgress(ioOf(shown), failing, () => delay(LONG_MS))
  assert.equal(shown, ['', ''])
})

test('without a terminal nobody is asked', async () => {
  const describe = (): Promise<string> => Promise.reject(new Error('asked'))
  assert.is(await withProgress(ioOf(), describe, () => delay(LONG_MS, 1)), 1)
})

test('what the work throws is thrown, and the line is cleared', async () => {
  const shown: string[] = []
  const work = (): Promise<never> => Promise.reject(new Error('refused'))
  const thrown = await withProgress(ioOf(shown), () => Promise.resolve(''), work).catch(String)
  assert.is(thrown, 'Error: refused')
  assert.equal(shown, [''])
})

test('a group that catches up is a line with both numbers, and none once it is there', () => {
  assert.is(describeCatchUp('ops', 412, 1_000), 'group ops: 412 of 1,000 epochs')
  assert.is(describeCatchUp('ops', 1_000, 1_000), '')
  assert.is(describeCatchUp('o\u001bps', 0, 20).includes('\u001b'), false)
})

/** A node that takes its time for invitations and joining, and says how far it is. */
function slow(pending: readonly string[]): Client {
  return {
    group: () => Promise.resolve({ pending }),
    invite: () => delay(LONG_MS, { groupId: 'a', epoch: 1, added: [] }),
    join: () => delay(LONG_MS, { groupId: 'a', name: 'ops', epoch: 1, members: 2 }),
  } as unknown as Client
}

async function shownBy(name: string, pending: readonly string[]): Promise<string[]> {
  const shown: string[] = []
  const command = GROUP_COMMANDS.find((one) => one.name === name)
  const invocation: Invocation = {
    args: ['ops', 'bob'],
    flags: {},
    home: '',
    json: false,
    io: ioOf(shown),
    client: slow(pending),
    print: () => undefined,
  }
  await command?.run(invocation)
  return shown
}

test('an invitation says how many key packages are there, and how many have joined', async () => {
  const fact = 'invite: 12 of 40 key packages fetched'
  const shown = await shownBy('group invite', ['rekey: to be committed', fact])
  assert.match(shown[0] ?? '', /^invite: 12 of 40 key packages fetched, \d s$/)
  assert.is(shown.at(-1), '')
  const about = { group: 'ops', about: 'invite', otherwise: 'inviting' }
  assert.is(await describePending({ client: slow(['rekey: to be committed']) }, about), 'inviting')
})

test('joining shows itself, too', async () => {
  const shown = await shownBy('group join', [])
  assert.match(shown[0] ?? '', /^joining: .*, \d s$/)
})

test.run()
