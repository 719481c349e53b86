// A long wait shows itself where a person looks at a terminal, and nowhere else.
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Io } from '../../src/cli/command.ts'
import { PROGRESS_AFTER_MS, PROGRESS_EVERY_MS, withProgress } from '../../src/cli/progress.ts'

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

test.run()
