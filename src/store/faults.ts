// Turns faults of the disk and of LevelDB into the store's own codes. Floor 1.
import { ConclaveError } from '../../protocols/base/errors.ts'

/** Message and system code of an error and of everything that caused it. */
function trail(error: unknown): string {
  const parts: string[] = []
  for (let at = error; at instanceof Error; at = at.cause) {
    parts.push(at.message, (at as NodeJS.ErrnoException).code ?? '')
  }
  return parts.join(' ')
}

/** The store's error for a fault below it; one that has a code already stays what it is. */
export function storeError(error: unknown, what: string): Error {
  if (error instanceof ConclaveError) return error
  const text = trail(error)
  if (/ENOSPC|EDQUOT|EFBIG|no space left|file too large|disk quota/i.test(text)) {
    return new ConclaveError('STORE_FULL', `${what}: the disk is full`, {
      hint: 'free some space; nothing that was stored is lost',
      cause: error,
    })
  }
  if (/LEVEL_LOCKED|already held by process|lock .*LOCK/i.test(text)) {
    return new ConclaveError('STORE_LOCKED', `${what}: another process holds the database`, {
      hint: 'stop the other node on this home: conclave down',
      cause: error,
    })
  }
  if (/EROFS|EACCES|EPERM|ENOTDIR|ENOENT|read-only|permission denied|not a directory/i.test(text)) {
    return new ConclaveError('STORE_UNWRITABLE', `${what}: the home can't be written`, {
      hint: 'check who owns the home and whether its disk is mounted read-only, or choose another --home',
      cause: error,
    })
  }
  if (/corrupt|checksum|bad (?:block|record|table)|not an sstable|missing files/i.test(text)) {
    return new ConclaveError('STORE_CORRUPT', `${what}: the database is damaged`, {
      hint: 'restore the home from a backup; nothing was changed',
      cause: error,
    })
  }
  return error instanceof Error ? error : new Error(String(error))
}
