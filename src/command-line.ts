// Runs the command line of this process: brings it and the node together. Imported once, by main.ts.
import type { Io } from './cli/command.ts'
import { runProgram } from './cli/program.ts'
import { makeIdCommand, makeUpCommand } from './cli/up-command.ts'
import { locateHome } from './store/home.ts'
import { VERSION } from './version.ts'

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort())
// Whoever reads our output may go away before we are done: that is no error of ours.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
}

const io: Io = {
  stdin: process.stdin,
  out: (line) => process.stdout.write(`${line}\n`),
  note: (line) => process.stderr.write(`${line}\n`),
  interrupted: interrupted.signal,
  ...(process.stderr.isTTY && {
    progress: (text: string) => process.stderr.write(`\r\u001b[K${text}`),
  }),
}

// The node's own code is loaded only by the commands that run it.
const code = await runProgram(process.argv.slice(2), {
  version: VERSION,
  homeOf: (flag) => locateHome(flag, process.env['CONCLAVE_HOME']).path,
  io,
  own: [
    makeUpCommand(async (invocation, ready) => (await import('./up.ts')).up(invocation, ready)),
    makeIdCommand(async (invocation) => (await import('./up.ts')).id(invocation)),
  ],
})

// Native threads of a transport may keep the process alive; everything is closed and written by now.
process.stdout.write('', () => {
  process.exit(code)
})
