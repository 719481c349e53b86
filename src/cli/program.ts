// Runs one command line, and turns errors into exit codes. Floor 5.
import { CommanderError } from 'commander'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { makeClient } from '../api/client.ts'
import { exitCodeOf, formatError, hintOf, toConclaveError } from '../api/client-errors.ts'
import type { Command, Io, Row } from './command.ts'
import { CONTACT_COMMANDS } from './contact-commands.ts'
import { DIRECT_COMMANDS } from './direct-commands.ts'
import { GROUP_COMMANDS } from './group-commands.ts'
import { GROUP_MESSAGE_COMMANDS } from './group-message-commands.ts'
import { NODE_COMMANDS } from './node-commands.ts'
import { makeParser } from './parser.ts'
import { block } from './text.ts'

/** Exit code of a command that a signal ended: 128 and SIGINT's number. */
const EXIT_INTERRUPTED = 130

/** What the program is made with. */
export interface ProgramOptions {
  readonly version: string
  /** Commands that need no running node; the composition root brings them. */
  readonly own: readonly Command[]
  /** Finds the home: the flag, else the environment, else the default. */
  readonly homeOf: (flag: string | undefined) => string
  readonly io: Io
}

/** Runs one command line (without program and file) and answers its exit code. */
export async function runProgram(
  argv: readonly string[],
  options: ProgramOptions,
): Promise<number> {
  const { io } = options
  const parser = makeParser({
    version: options.version,
    commands: [
      ...options.own,
      ...NODE_COMMANDS,
      ...DIRECT_COMMANDS,
      ...CONTACT_COMMANDS,
      ...GROUP_COMMANDS,
      ...GROUP_MESSAGE_COMMANDS,
    ],
    writeHelp: (text) => io.out(text),
    run: (command, args, flags) => runCommand(command, args, flags, options),
  })
  try {
    await parser.parseAsync([...argv], { from: 'user' })
    return 0
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0
    if (io.interrupted.aborted && !(thrown instanceof ConclaveError)) return EXIT_INTERRUPTED
    const error = toConclaveError(asTimeout(thrown))
    if (asksForJson(argv)) io.out(JSON.stringify(formatError(error)))
    else {
      io.note(`conclave: error: ${block(error.message)}`)
      io.note(`conclave: hint: ${block(hintOf(error))}`)
    }
    return exitCodeOf(error)
  }
}

function runCommand(
  command: Command,
  args: readonly string[],
  flags: Row,
  { homeOf, io }: ProgramOptions,
): Promise<void> {
  const home = homeOf(flags['home'] as string | undefined) // the parser makes text of it
  const json = flags['json'] === true
  return command.run({
    args,
    flags,
    home,
    json,
    io,
    client: makeClient(home),
    print(result, human) {
      io.out(json ? JSON.stringify(result) : human(result))
    },
  })
}

/** What follows `--` is no flag. */
function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return (end === -1 ? argv : argv.slice(0, end)).includes('--json')
}

/** A wait of ours that ended without the node's answer. */
function asTimeout(thrown: unknown): unknown {
  if (!(thrown instanceof DOMException) || thrown.name !== 'TimeoutError') return thrown
  return new ConclaveError('STATE_TIMEOUT', 'the time to wait is up', {
    hint: 'wait longer with --timeout SECONDS',
  })
}
