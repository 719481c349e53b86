// Installs libsignal beside this file, for the direct bench alone: AGPL-3.0-only, never a dependency of conclave.
// The package brings its native libraries along, so no script of it is run. Alone: `node scripts/bench/peers/libsignal/install.ts`.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** The package's name. */
export const LIBSIGNAL = '@signalapp/libsignal-client'

const FOLDER = new URL('./', import.meta.url)
const INSTALL_TIMEOUT_MS = 180_000
const FLAGS = [
  '--ignore-scripts',
  '--no-package-lock',
  '--no-audit',
  '--no-fund',
  '--loglevel=error',
]

interface Manifest {
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
}

function readManifest(path: string): Manifest {
  return JSON.parse(readFileSync(new URL(path, FOLDER), 'utf8')) as Manifest
}

function installedVersion(): string | undefined {
  try {
    return readManifest(`node_modules/${LIBSIGNAL}/package.json`).version
  } catch {
    return undefined
  }
}

async function npmInstall(): Promise<void> {
  const child = spawn('npm', ['install', ...FLAGS, '--fetch-retries=1'], {
    cwd: FOLDER,
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: INSTALL_TIMEOUT_MS,
  })
  let said = ''
  child.stderr.setEncoding('utf8')
  child.stderr.on('data', (chunk: string) => (said += chunk))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  if (code === 0) return
  const [reason = 'it did not end in time'] = said.trim().split('\n')
  throw new Error(`npm install: ${reason}`)
}

/**
 * Installs the pinned version unless it is there.
 *
 * @returns The version.
 * @throws Error that says why it cannot be installed.
 */
export async function installLibsignal(): Promise<string> {
  const pinned = readManifest('package.json').dependencies[LIBSIGNAL]
  if (installedVersion() !== pinned) await npmInstall()
  const version = installedVersion()
  if (version === undefined || version !== pinned) throw new Error(`${LIBSIGNAL} is not there`)
  return version
}

if (import.meta.main) console.log(`${LIBSIGNAL} ${await installLibsignal()}`)
