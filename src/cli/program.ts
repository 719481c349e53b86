// Parses a command line by the table of commands, runs one, and turns errors into exit codes. Floor 5.
import { Command as Parser, CommanderError, InvalidArgumentError, Option } from 'commander'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { nearest } from '../../protocols/base/nearest.ts'
import { openClient } from '../api/client.ts'
import type { Client } from '../api/client.ts'
import { exitCodeOf, formatError, hintOf, toConclaveError } from '../api/client-errors.ts'
import type { Command, Flag, Invocation, Io, Row } from './command.ts'
import { DIRECT_COMMANDS } from './direct-commands.ts'
import { GROUP_COMMANDS } from './group-commands.ts'
import { NODE_COMMANDS } from './node-commands.ts'

/** What the program is made with. */
export interface ProgramOptions {
  readonly version: string
  /** Commands that need no running node; the composition root brings them. */
  readonly own: readonly Command[]
  /** Finds the home: the flag, else the environment, else the default. */
  readonly homeOf: (flag: string | undefined) => string
  readonly io: Io
}

const EVERYWHERE: readonly Flag[] = [
  { name: 'home', value: 'DIR', about: 'home of the node ($CONCLAVE_HOME, else ~/.conclave)' },
  { name: 'json', about: 'one JSON object a line' },
]

/** Runs one command line (without program and file) and answers its exit code. */
export async function runProgram(
  argv: readonly string[],
  options: ProgramOptions,
): Promise<number> {
  const json = argv.includes('--json')
  const { io } = options
  try {
    const commands = [...options.own, ...NODE_COMMANDS, ...DIRECT_COMMANDS, ...GROUP_COMMANDS]
    const parser = makeParser(commands, options)
    demandKnown(argv, commands)
    await parser.parseAsync([...argv], { from: 'user' })
    return 0
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0
    const error = asUsage(thrown)
    if (json) io.out(JSON.stringify(formatError(error)))
    else {
      io.note(`conclave: error: ${error.message}`)
      io.note(`conclave: hint: ${hintOf(error)}`)
    }
    return exitCodeOf(error)
  }
}

function makeParser(commands: readonly Command[], options: ProgramOptions): Parser {
  const root = new Parser('conclave')
    .version(options.version)
    .description('An address, a way through, and private conversations for an AI agent.')
  settle(root, options.io)
  const families = new Map<string, Parser>([['', root]])
  for (const command of commands) {
    const words = command.name.split(' ')
    const last = words.pop() ?? ''
    const family = words.join(' ')
    let parent = families.get(family)
    if (parent === undefined) {
      parent = settle(root.command(family).description(`${family}s of this agent`), options.io)
      families.set(family, parent)
    }
    addCommand(settle(parent.command(last), options.io), command, options)
  }
  const help = settle(
    root.command('help').description('This text, or with --json every command'),
    options.io,
  )
  help
    .argument('[COMMAND...]', 'a command')
    .addOption(
      new Option('--json', 'every command, with arguments, flags, result fields and error codes'),
    )
  help.action((words: string[], flags: { json?: boolean }) => {
    if (flags.json === true)
      for (const command of commands) options.io.out(JSON.stringify(describe(command)))
    else (families.get(words.join(' ')) ?? findParser(root, words)).outputHelp()
  })
  root.helpCommand(false)
  return root
}

function findParser(root: Parser, words: readonly string[]): Parser {
  let at = root
  for (const word of words) at = at.commands.find((one) => one.name() === word) ?? at
  return at
}

function settle(parser: Parser, io: Io): Parser {
  return parser
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: (text) => io.out(text.trimEnd()),
      writeErr: () => undefined, // errors are written once, in one form
    })
}

function addCommand(parser: Parser, command: Command, options: ProgramOptions): void {
  parser.description(command.about)
  for (const { name, about, optional, many } of command.args ?? []) {
    const inner = many === true ? `${name}...` : name
    parser.argument(optional === true ? `[${inner}]` : `<${inner}>`, about)
  }
  for (const flag of [...(command.flags ?? []), ...EVERYWHERE]) parser.addOption(toOption(flag))
  parser.action(async () => {
    const flags = parser.opts<Record<string, unknown>>()
    const clients: Client[] = []
    const json = flags['json'] === true
    const home = options.homeOf(flags['home'] as string | undefined)
    const invocation: Invocation = {
      args: parser.processedArgs.flat().filter((arg) => arg !== undefined) as string[],
      flags,
      home,
      json,
      io: options.io,
      async client() {
        const client = await openClient(home)
        clients.push(client)
        return client
      },
      print(result, human) {
        options.io.out(json ? JSON.stringify(result) : human(result as Row))
      },
    }
    try {
      await command.run(invocation)
    } finally {
      await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()))
    }
  })
}

function toOption({ name, value, about, repeatable, choices, number }: Flag): Option {
  const option = new Option(value === undefined ? `--${name}` : `--${name} <${value}>`, about)
  if (choices !== undefined) option.choices(choices)
  if (number === true) option.argParser(parsePositive)
  if (repeatable === true)
    option.argParser((text, before: string[] | undefined) => [...(before ?? []), text])
  return option
}

function parsePositive(text: string): number {
  const value = Number(text)
  if (!/^\d+(?:\.\d+)?$/.test(text) || !(value > 0))
    throw new InvalidArgumentError('a number above 0 is needed.')
  return value
}

function describe({ name, about, args = [], flags = [], result, errors }: Command): Row {
  return {
    name,
    about,
    arguments: args.map(({ name: arg, about: of, optional, many }) => ({
      name: arg,
      about: of,
      required: optional !== true,
      repeatable: many === true,
    })),
    flags: [...flags, ...EVERYWHERE].map(
      ({ name: flag, value, about: of, repeatable, choices }) => ({
        name: `--${flag}`,
        value: value ?? null,
        about: of,
        repeatable: repeatable === true,
        choices: choices ?? null,
      }),
    ),
    result,
    errors,
  }
}

/** commander names the nearest flag itself; for commands of two words it can't. */
function demandKnown(argv: readonly string[], commands: readonly Command[]): void {
  const words = argv.filter((word, i) => !word.startsWith('-') && argv[i - 1] !== '--home')
  const [first, second] = words
  if (first === undefined || first === 'help') return
  const names = commands.map(({ name }) => name)
  const families = new Set(
    names.filter((name) => name.includes(' ')).map((name) => name.split(' ')[0]),
  )
  const asked = families.has(first) ? `${first} ${second ?? ''}`.trim() : first
  if (names.includes(asked) || (families.has(first) && second === undefined)) return
  const near = nearest(asked, [...names, 'help'])
  throw new ConclaveError('USAGE_UNKNOWN_COMMAND', `there is no command ${asked.slice(0, 80)}`, {
    hint: near === undefined ? 'conclave help lists every command' : `did you mean ${near}?`,
  })
}

function asUsage(thrown: unknown): ConclaveError {
  if (!(thrown instanceof CommanderError)) return toConclaveError(asTimeout(thrown))
  const [said = '', ...suggestion] = thrown.message.replace(/^error: /, '').split('\n')
  const near = suggestion.join(' ').replace(/[()]/g, '').trim().toLowerCase()
  const code = thrown.code === 'commander.unknownOption' ? 'USAGE_UNKNOWN_FLAG' : 'USAGE_ARGUMENT'
  const message = thrown.code === 'commander.help' ? 'a command is missing' : said
  return new ConclaveError(code, message, {
    hint: near || 'conclave COMMAND --help shows its arguments and flags',
  })
}

/** A wait of ours that ended without the node's answer. */
function asTimeout(thrown: unknown): unknown {
  if (!(thrown instanceof DOMException) || thrown.name !== 'TimeoutError') return thrown
  return new ConclaveError('STATE_TIMEOUT', 'the time to wait is up', {
    hint: 'wait longer with --timeout SECONDS',
  })
}
