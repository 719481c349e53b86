// Where the key that seals the data key comes from: a file, a passphrase, or a command. Floor 1.
import { spawn } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { formatHex, parseHex, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import { ConclaveError } from '../../protocols/base/errors.ts'
import type { Primitives } from '../../protocols/base/primitives.ts'
import { storeError } from './faults.ts'
import { readIfPresent, writeNew } from './files.ts'

/** How long a key command may take. */
export const KEY_COMMAND_TIMEOUT_MS = 30_000

/** Most that is read of a key command's output or a passphrase file, in bytes. */
export const KEY_INPUT_BYTES_MAX = 4_096

const FILE_KEY_BYTES = 32

/** Which key seals this home. */
export type KeySource =
  | { readonly kind: 'file' }
  | { readonly kind: 'passphrase'; readonly file: string }
  | { readonly kind: 'command'; readonly command: string }

/** What the store needs of cryptography; handed in, because floors of the same height do not meet. */
export interface StoreCrypto extends Pick<Primitives, 'seal' | 'open' | 'hkdfSha256'> {
  randomBytes(count: number): Bytes
  scrypt(passphrase: Bytes, salt: Bytes): Promise<Bytes>
}

/**
 * Gets the 32-byte key-encryption key; creates `secret.key` only when `create` is set.
 *
 * @param salt - 32 bytes, kept beside the sealed data key.
 * @throws ConclaveError `STORE_KEY_WRONG` if there is no usable key, `CONFIG_VALUE` if the file or command is at fault.
 */
export async function readSealingKey(
  source: KeySource,
  secretKeyPath: string,
  salt: Bytes,
  crypto: StoreCrypto,
  create: boolean,
): Promise<Bytes> {
  switch (source.kind) {
    case 'file': {
      const key = await readKeyFile(secretKeyPath, crypto, create)
      return crypto.hkdfSha256(salt, key, utf8('conclave store v1 key file'), 32)
    }
    case 'passphrase':
      return crypto.scrypt(await readPassphrase(source.file), salt)
    case 'command': {
      const output = await runKeyCommand(source.command)
      return crypto.hkdfSha256(salt, output, utf8('conclave store v1 key command'), 32)
    }
  }
}

async function readKeyFile(path: string, crypto: StoreCrypto, create: boolean): Promise<Bytes> {
  try {
    const held = await readIfPresent(path)
    if (held === undefined && create) {
      const fresh = crypto.randomBytes(FILE_KEY_BYTES)
      await writeNew(path, `${formatHex(fresh)}\n`)
      return fresh
    }
    if (held !== undefined) {
      await demandPrivate(path)
      const key = parseHex(new TextDecoder().decode(held).trim())
      if (key?.length === FILE_KEY_BYTES) return key
    }
  } catch (error) {
    throw storeError(error, path)
  }
  throw new ConclaveError('STORE_KEY_WRONG', `${path} holds no key`, {
    hint: 'restore secret.key from a backup, or give the --passphrase-file or --key-command this home was made with',
  })
}

async function demandPrivate(path: string): Promise<void> {
  const { mode } = await stat(path)
  if ((mode & 0o077) === 0) return
  throw new ConclaveError('STORE_KEY_WRONG', `${path} may be read by others`, {
    hint: `chmod 600 ${path}`,
  })
}

async function readPassphrase(file: string): Promise<Bytes> {
  let bytes: Bytes
  try {
    bytes = new Uint8Array(await readFile(file))
  } catch (error) {
    throw new ConclaveError('CONFIG_VALUE', `the passphrase file ${file} can't be read`, {
      hint: 'check the path given to --passphrase-file',
      cause: error,
    })
  }
  const phrase = withoutLineEnd(bytes)
  if (phrase.length > 0 && phrase.length <= KEY_INPUT_BYTES_MAX) return phrase
  throw new ConclaveError('CONFIG_VALUE', `the passphrase file has ${phrase.length} bytes`, {
    hint: `1 to ${KEY_INPUT_BYTES_MAX} bytes are a passphrase`,
  })
}

function withoutLineEnd(bytes: Bytes): Bytes {
  let end = bytes.length
  if (bytes[end - 1] === 0x0a) end -= 1
  if (bytes[end - 1] === 0x0d) end -= 1
  return bytes.slice(0, end)
}

function runKeyCommand(command: string): Promise<Bytes> {
  const fail = (why: string, cause?: unknown): ConclaveError =>
    new ConclaveError('CONFIG_VALUE', `the key command ${why}`, {
      hint: 'run the command of --key-command by itself: it must print the key and exit 0',
      cause,
    })
  return new Promise((resolve, reject) => {
    const child = spawn(command, { shell: true, stdio: ['ignore', 'pipe', 'inherit'] })
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(fail(`did not end within ${KEY_COMMAND_TIMEOUT_MS} ms`))
    }, KEY_COMMAND_TIMEOUT_MS)
    const chunks: Buffer[] = []
    let length = 0
    child.stdout.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length <= KEY_INPUT_BYTES_MAX) chunks.push(chunk)
    })
    child.on('error', (error) => reject(fail('did not start', error)))
    child.on('close', (code) => {
      clearTimeout(timer)
      const output = withoutLineEnd(new Uint8Array(Buffer.concat(chunks)))
      if (code !== 0) reject(fail(`exited ${String(code)}`))
      else if (length > KEY_INPUT_BYTES_MAX)
        reject(fail(`printed over ${KEY_INPUT_BYTES_MAX} bytes`))
      else if (output.length === 0) reject(fail('printed nothing'))
      else resolve(output)
    })
  })
}
