// `config.json`: every flag of `up` as a key; flags win. Floor 1.
import { readFile } from 'node:fs/promises'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { nearest } from '../../protocols/base/nearest.ts'
import { HOUR_MS } from '../../protocols/base/time.ts'
import { PAST_EPOCHS_MAX, PAST_EPOCHS_MS } from '../../protocols/group/types.ts'
import { storeError } from './faults.ts'
import type { Home } from './home.ts'

/** A transport of the user's own, as the configuration names it. */
export interface ModuleTransport {
  /** Path from the configuration file, or a package name. */
  readonly module: string
  readonly export: string
  readonly options?: Readonly<Record<string, unknown>>
  readonly listen?: readonly string[]
}

/** What may stand in `config.json`; all of it is optional. */
export interface Config {
  readonly listen?: readonly string[]
  readonly announce?: readonly string[]
  readonly bootstrap?: readonly string[]
  readonly name?: string
  readonly transport?: readonly (string | ModuleTransport)[]
  readonly relay?: boolean
  readonly mailbox?: boolean
  readonly open?: boolean
  readonly mdns?: boolean
  readonly api?: string
  readonly apiCert?: string
  readonly apiKey?: string
  readonly passphraseFile?: string
  readonly keyCommand?: string
  readonly logLevel?: string
  /** Milliseconds that a hole in a sender's sequence is awaited. */
  readonly orderWaitMs?: number
  /** Past epochs of a group whose keys are kept: fewer than the protocol's most. */
  readonly groupKeyEpochs?: number
  /** Hours that they are kept: fewer than the protocol's most, fractions allowed. */
  readonly groupKeyHours?: number
}

type Check = (value: unknown) => boolean

const isText: Check = (value) => typeof value === 'string' && value.length <= 8_192
const isFlag: Check = (value) => typeof value === 'boolean'
const isTexts: Check = (value) =>
  Array.isArray(value) && value.length <= 256 && value.every((one) => isText(one))
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isUpTo =
  (most: number): Check =>
  (value) =>
    typeof value === 'number' && value >= 0 && value <= most
const GROUP_KEY_HOURS_MAX = PAST_EPOCHS_MS / HOUR_MS
const isModule: Check = (value) =>
  isObject(value) &&
  isText(value['module']) &&
  isText(value['export']) &&
  (value['options'] === undefined || isObject(value['options'])) &&
  (value['listen'] === undefined || isTexts(value['listen']))

const KEYS: Readonly<Record<keyof Config, readonly [check: Check, form: string]>> = {
  listen: [isTexts, 'a list of multiaddrs'],
  announce: [isTexts, 'a list of multiaddrs'],
  bootstrap: [isTexts, 'a list of multiaddrs or tickets'],
  name: [isText, 'text'],
  transport: [
    (value) => Array.isArray(value) && value.every((one) => isText(one) || isModule(one)),
    'a list of names or of {module, export, options, listen}',
  ],
  relay: [isFlag, 'true or false'],
  mailbox: [isFlag, 'true or false'],
  open: [isFlag, 'true or false'],
  mdns: [isFlag, 'true or false'],
  api: [isText, 'HOST:PORT'],
  apiCert: [isText, 'a path'],
  apiKey: [isText, 'a path'],
  passphraseFile: [isText, 'a path'],
  keyCommand: [isText, 'a command'],
  logLevel: [
    (value) => ['trace', 'debug', 'info', 'warn', 'error', 'silent'].includes(String(value)),
    'trace, debug, info, warn, error or silent',
  ],
  orderWaitMs: [
    (value) => Number.isSafeInteger(value) && Number(value) >= 0,
    'a whole number of milliseconds',
  ],
  groupKeyEpochs: [
    (value) => Number.isInteger(value) && isUpTo(PAST_EPOCHS_MAX)(value),
    `a whole number from 0 to ${PAST_EPOCHS_MAX}`,
  ],
  groupKeyHours: [isUpTo(GROUP_KEY_HOURS_MAX), `a number from 0 to ${GROUP_KEY_HOURS_MAX}`],
}

/**
 * Reads the home's configuration; an empty one where there is no file.
 *
 * @throws ConclaveError `CONFIG_KEY` for a key that is not known, naming the nearest; `CONFIG_VALUE` for a value of
 *   another form or a file that is not a JSON object.
 */
export async function readConfig(home: Home): Promise<Config> {
  let text: string
  try {
    text = await readFile(home.config, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return {} // creating the home will say so
    throw storeError(error, home.config)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new ConclaveError('CONFIG_VALUE', `${home.config} is not JSON`, {
      hint: error instanceof Error ? error.message : 'check its commas and quotes',
    })
  }
  return parseConfig(value)
}

/** Checks the keys and the values of a configuration; errors as `readConfig`. */
export function parseConfig(value: unknown): Config {
  if (!isObject(value)) {
    throw new ConclaveError('CONFIG_VALUE', 'the configuration is not a JSON object', {
      hint: 'it looks like {"listen": ["/ip4/0.0.0.0/tcp/4001"]}',
    })
  }
  for (const [key, given] of Object.entries(value)) {
    if (!Object.hasOwn(KEYS, key)) throw unknownKey(key)
    const [check, form] = KEYS[key as keyof Config]
    if (!check(given)) {
      throw new ConclaveError('CONFIG_VALUE', `configuration key ${key} is not ${form}`, {
        hint: `write "${key}": ${form}`,
      })
    }
  }
  return value
}

function unknownKey(key: string): ConclaveError {
  const near = nearest(key, Object.keys(KEYS))
  return new ConclaveError('CONFIG_KEY', `configuration key ${key.slice(0, 80)} is not known`, {
    hint:
      near === undefined ? `known are ${Object.keys(KEYS).join(', ')}` : `did you mean ${near}?`,
  })
}
