// A transport that is not built in passes the same suite.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { unix } from '../support/unix-transport.ts'
import { transportContract } from './transport.ts'

const directory = mkdtempSync(join(tmpdir(), 'conclave-'))
const listen = `/unix/${encodeURIComponent(join(directory, 'socket'))}`
// TCP would claim the address too: the user's transport comes first, wherever it stands.
const test = transportContract({ name: 'unix', transports: ['tcp', unix()], listen })
test.after(() => rmSync(directory, { recursive: true }))
test.run()
