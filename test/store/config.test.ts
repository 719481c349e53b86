// What may stand in config.json: known keys, values of the right form and within bounds.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseConfig } from '../../src/store/config.ts'
import { rejects } from '../support/rejects.ts'

const test = suite('store · config')

const parse = async (value: unknown): Promise<unknown> => parseConfig(value)

test('keys of past epochs of groups are kept for less, never for more', async () => {
  const least = { groupKeyEpochs: 0, groupKeyHours: 0 }
  const most = { groupKeyEpochs: 8, groupKeyHours: 24 }
  for (const good of [least, most, { groupKeyHours: 0.5 }]) assert.equal(parseConfig(good), good)
  for (const groupKeyEpochs of [-1, 9, 1.5, '8', null]) {
    await rejects(parse({ groupKeyEpochs }), 'CONFIG_VALUE')
  }
  for (const groupKeyHours of [-0.1, 24.01, '24', null]) {
    await rejects(parse({ groupKeyHours }), 'CONFIG_VALUE')
  }
})

test('a key that is not known names the nearest one', async () => {
  const error = await rejects(parse({ groupKeyEpoch: 1 }), 'CONFIG_KEY')
  assert.match(error.hint ?? '', /groupKeyEpochs/)
})

test.run()
