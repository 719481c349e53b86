// What the API keeps in the home: its socket, `api.json`, `api-token` and `api-port`. Floor 4.
import {
  chmod,
  lstat,
  mkdtemp,
  readFile,
  rename,
  rm,
  rmdir,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { formatHex } from '../../../protocols/base/bytes.ts'
import type { Bytes } from '../../../protocols/base/bytes.ts'
import { ConclaveError } from '../../../protocols/base/errors.ts'
import { readApiFile } from '../client-home.ts'
import type { ApiFile } from '../client-home.ts'

/** Longest path of a Unix socket: its field in the kernel's address, less the closing zero. */
const SOCKET_PATH_BYTES_MAX = process.platform === 'darwin' ? 103 : 107
const TOKEN_BYTES = 32
const PRIVATE_PREFIX = 'conclave-api-'
const OWNER_ONLY = 0o600

/** Clears what a killed node left, and answers a path that a socket can be bound to. */
export async function claimSocket(home: string): Promise<string> {
  return guarded(home, async () => {
    await clearLeftovers(home)
    const path = join(home, 'api.sock')
    await rm(path, { force: true })
    if (fits(path)) return path
    for (const folder of new Set([tmpdir(), '/tmp'])) {
      if (!fits(join(folder, `${PRIVATE_PREFIX}XXXXXX`, 'api.sock'))) continue
      return join(await mkdtemp(join(folder, PRIVATE_PREFIX)), 'api.sock')
    }
    throw new ConclaveError('STORE_UNWRITABLE', 'no folder is short enough for a Unix socket', {
      hint: 'set TMPDIR to a shorter path',
    })
  })
}

/** Lets only the owner connect. */
export async function restrictSocket(path: string): Promise<void> {
  await chmod(path, OWNER_ONLY)
}

/** Writes `api.json` in one step: a reader sees all of it or none. */
export async function publishApi(home: string, file: ApiFile): Promise<void> {
  await writeWhole(home, 'api.json', `${JSON.stringify(file)}\n`)
}

/** Removes `api.json`, the socket, and its folder if that was made for it. */
export async function withdrawApi(home: string, socket: string): Promise<void> {
  await rm(join(home, 'api.json'), { force: true })
  await removeSocket(socket)
}

/**
 * Reads the bearer token, or makes one of 32 random bytes.
 *
 * @throws ConclaveError `CONFIG_VALUE` if the file holds something else.
 */
export async function readToken(
  home: string,
  randomBytes: (count: number) => Bytes,
): Promise<string> {
  const path = join(home, 'api-token')
  return guarded(home, async () => {
    const token = (await readText(path))?.trim() ?? formatHex(randomBytes(TOKEN_BYTES))
    if (!/^[\x21-\x7e]{32,256}$/.test(token)) {
      throw new ConclaveError('CONFIG_VALUE', 'api-token holds no token', {
        hint: 'remove the file; a new one is made at the next start',
      })
    }
    await writeFile(path, `${token}\n`, { mode: OWNER_ONLY })
    await chmod(path, OWNER_ONLY)
    return token
  })
}

/** The free port that the TCP listener got the last time; undefined if there was none. */
export async function readPort(home: string): Promise<number | undefined> {
  const port = Number((await readText(join(home, 'api-port'))) ?? '')
  return Number.isInteger(port) && port > 0 ? port : undefined
}

/** Remembers a free port for the next start. */
export async function writePort(home: string, port: number): Promise<void> {
  await writeWhole(home, 'api-port', `${port}\n`)
}

/**
 * Reads a PEM file that a flag names.
 *
 * @throws ConclaveError `CONFIG_VALUE`.
 */
export async function readPem(flag: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new ConclaveError('CONFIG_VALUE', `${flag}: cannot read the file`, {
      hint: 'give the path of a PEM file that this user may read',
      cause,
    })
  }
}

async function clearLeftovers(home: string): Promise<void> {
  // The lock of the store is ours by now, so whoever wrote it is gone.
  const left = await readApiFile(home)
  if (left !== undefined) await removeSocket(left.socket)
  await rm(join(home, 'api.json'), { force: true })
}

/** Removes a socket, never anything else that its path may name by now. */
async function removeSocket(path: string): Promise<void> {
  try {
    if ((await lstat(path)).isSocket()) await unlink(path)
  } catch {
    // It is gone already.
  }
  if (!basename(dirname(path)).startsWith(PRIVATE_PREFIX)) return
  await rmdir(dirname(path)).catch(() => undefined)
}

async function writeWhole(home: string, name: string, text: string): Promise<void> {
  await guarded(home, async () => {
    const path = join(home, name)
    await writeFile(`${path}.new`, text, { mode: OWNER_ONLY })
    await chmod(`${path}.new`, OWNER_ONLY)
    await rename(`${path}.new`, path)
  })
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return undefined
  }
}

async function guarded<T>(home: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (cause) {
    if (cause instanceof ConclaveError) throw cause
    const full = (cause as NodeJS.ErrnoException).code === 'ENOSPC'
    throw new ConclaveError(
      full ? 'STORE_FULL' : 'STORE_UNWRITABLE',
      full ? 'the disk is full' : `cannot write to the home ${home}`,
      { hint: 'check space and permissions', cause },
    )
  }
}

function fits(path: string): boolean {
  return Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX
}
