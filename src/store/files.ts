// Small files that must survive a crash whole: written beside, synced, renamed. Floor 1.
import { open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Bytes } from '../../protocols/base/bytes.ts'

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT'

/** Reads a file whole; undefined if there is none. */
export async function readIfPresent(path: string): Promise<Bytes | undefined> {
  try {
    return new Uint8Array(await readFile(path))
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Replaces a file in one step, mode 0600; after it resolves, a crash finds the new bytes. */
export async function writeAtomic(path: string, bytes: Bytes | string): Promise<void> {
  const beside = `${path}.new`
  try {
    await writeSynced(beside, bytes, 'w')
    await rename(beside, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await rm(beside, { force: true }).catch(() => undefined)
    throw error
  }
}

/** Creates a file, mode 0600, and syncs it; throws `EEXIST` if there is one. */
export async function writeNew(path: string, bytes: Bytes | string): Promise<void> {
  await writeSynced(path, bytes, 'wx')
  await syncFolder(dirname(path))
}

async function writeSynced(path: string, bytes: Bytes | string, flag: string): Promise<void> {
  const file = await open(path, flag, 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
