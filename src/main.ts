#!/usr/bin/env node
// The program `conclave`. What it runs is imported once compiled code is kept.
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'

keepCompiledCode()
await import('./command-line.ts')

/**
 * Half of a start goes into compiling the same modules again. Not in the shared folder for temporary files, which is
 * the default: whoever writes there before us could put code into our process.
 */
function keepCompiledCode(): void {
  try {
    enableCompileCache(join(homedir(), '.cache', 'conclave'))
  } catch {
    // This user has no home folder, so every start compiles.
  }
}
