// Official test vectors, which live beside the checkout. Absent ones skip their suite, by name.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..', '..')

/** Where official vectors are: `CONCLAVE_VECTORS`, else `../shared/vectors` beside the project. */
export function vectorsFolder(): string {
  return process.env['CONCLAVE_VECTORS'] ?? join(ROOT, '..', 'shared', 'vectors')
}

/**
 * Reads one file of official vectors, such as `wycheproof/x25519.json`.
 *
 * @param suiteName - Printed as `skipped: <suite name>`, which the test runner counts.
 * @returns The parsed JSON as the caller says it is, or undefined if the file is absent.
 */
export function readVectors(suiteName: string, path: string): unknown {
  const file = join(vectorsFolder(), path)
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8'))
  console.log(`skipped: ${suiteName}`)
  return undefined
}
