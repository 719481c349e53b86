// One process a home: a lock file that names its owner, cleared when the owner is gone. Floor 1.
import { open, readFile, rm, unlink } from 'node:fs/promises'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { storeError } from './faults.ts'
import type { Home } from './home.ts'

/** Times that a stale lock is cleared before giving up: others may race for it. */
const CLEARINGS_MAX = 5

/** The hold on a home. */
export interface Lock {
  release(): Promise<void>
}

interface Owner {
  readonly pid: number
  /** When the process started, as its system counts; tells a recycled pid from the owner. */
  readonly startedAt: string
}

/**
 * Takes the home's lock.
 *
 * @throws ConclaveError `STORE_LOCKED`, naming the pid in the hint, while a live process holds it.
 */
export async function takeLock(home: Home): Promise<Lock> {
  const mine = JSON.stringify({ pid: process.pid, startedAt: await startOf(process.pid) })
  for (let clearing = 0; clearing < CLEARINGS_MAX; clearing++) {
    if (await create(home.lock, mine)) {
      return {
        async release() {
          if ((await readFile(home.lock, 'utf8').catch(() => '')) === mine) await unlink(home.lock)
        },
      }
    }
    const owner = await readOwner(home.lock)
    if (owner !== undefined && (await isAlive(owner))) throw locked(home, owner.pid)
    await rm(home.lock, { force: true })
  }
  throw locked(home, 0)
}

async function create(path: string, text: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600)
    await file.writeFile(text)
    await file.close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw storeError(error, path)
  }
}

/** A lock that is just being written reads as empty for a moment: look again before calling it stale. */
async function readOwner(path: string): Promise<Owner | undefined> {
  for (let look = 0; look < 10; look++) {
    try {
      return JSON.parse(await readFile(path, 'utf8')) as Owner
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  return undefined
}

async function isAlive({ pid, startedAt }: Owner): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  const now = await startOf(pid)
  return now === '' || startedAt === '' || now === startedAt
}

/** Field 22 of /proc/PID/stat; empty where there is no such thing. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

function locked(home: Home, pid: number): ConclaveError {
  return new ConclaveError('STORE_LOCKED', `another node runs on ${home.path}`, {
    hint: `it is process ${pid}; stop it with: conclave down --home ${home.path}`,
    data: { pid },
  })
}
