// A node's home: where it is, what is in it, and that it can be written. Floor 1.
import { constants } from 'node:fs'
import { access, mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { storeError } from './faults.ts'

/** Paths inside a home. */
export interface Home {
  readonly path: string
  readonly config: string
  readonly database: string
  readonly lock: string
  readonly secretKey: string
  readonly dataKey: string
  readonly generation: string
}

/** Finds the home: the flag, else `CONCLAVE_HOME`, else `~/.conclave`. */
export function locateHome(flag: string | undefined, fromEnv: string | undefined): Home {
  const chosen = [flag, fromEnv].find((path) => path !== undefined && path !== '')
  const path = resolve(chosen ?? join(homedir(), '.conclave'))
  return {
    path,
    config: join(path, 'config.json'),
    database: join(path, 'database'),
    lock: join(path, 'lock'),
    secretKey: join(path, 'secret.key'),
    dataKey: join(path, 'data.key'),
    generation: join(path, 'generation'),
  }
}

/**
 * Creates the home, mode 0700, if it is not there.
 *
 * @throws ConclaveError `STORE_UNWRITABLE` or `STORE_FULL`.
 */
export async function createHome(home: Home): Promise<void> {
  try {
    await mkdir(home.path, { recursive: true, mode: 0o700 })
    await access(home.path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw asUnwritable(error, home)
  }
}

/** True if a node was started or initialised on this home before. */
export async function homeExists(home: Home): Promise<boolean> {
  return access(home.dataKey).then(
    () => true,
    () => false,
  )
}

function asUnwritable(error: unknown, home: Home): Error {
  if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
    return new ConclaveError('STORE_UNWRITABLE', `${home.path} is not a folder`, {
      hint: 'choose another --home',
      cause: error,
    })
  }
  return storeError(error, home.path)
}
