// Makes a parser and the help of it from the table of commands. Floor 5.
import type { CommanderError } from 'commander'
import { Command as Parser, InvalidArgumentError, Option } from 'commander'
import { ConclaveError } from '../../protocols/base/errors.ts'
import { nearest } from '../../protocols/base/nearest.ts'
import type { Command, Flag, Row } from './command.ts'

/** What a parser is made with. */
export interface ParserOptions {
  readonly version: string
  readonly commands: readonly Command[]
  writeHelp(text: string): void
  /** Called with a command, its arguments and its flags by their camelCase names. */
  run(command: Command, args: readonly string[], flags: Row): Promise<void>
}

const EVERYWHERE: readonly Flag[] = [
  { name: 'home', value: 'DIR', about: 'home of the node ($CONCLAVE_HOME, else ~/.conclave)' },
  { name: 'json', about: 'one JSON object a line' },
]

/** Makes the parser. It throws ConclaveError for a command line that is not understood. */
export function makeParser(options: ParserOptions): Parser {
  const { commands } = options
  const names = [...commands.map(({ name }) => name), 'help']
  const root = settle(new Parser('conclave'), options, { names, flags: EVERYWHERE })
    .version(options.version)
    .description('An address, a way through, and private conversations for an AI agent.')
    .helpCommand(false)
    .usage('COMMAND [ARGUMENT...] [--FLAG...]')
  for (const flag of EVERYWHERE) root.addOption(toOption(flag))
  const families = new Map<string, Parser>([['', root]])
  for (const command of commands) {
    const words = command.name.split(' ')
    const last = words.pop() ?? ''
    const family = words.join(' ')
    let parent = families.get(family)
    if (parent === undefined) {
      const about = `Commands of a ${family}`
      parent = settle(root.command(family), options, { names, family }).description(about)
      parent.helpCommand(false)
      families.set(family, parent)
    }
    addCommand(parent.command(last), command, options)
  }
  addHelp(root, options)
  return root
}

interface Known {
  /** Names of all commands. */
  readonly names?: readonly string[]
  readonly family?: string
  /** Name of the command itself. */
  readonly command?: string
  readonly flags?: readonly Flag[]
}

function settle(parser: Parser, options: ParserOptions, known: Known): Parser {
  return parser
    .exitOverride((error) => {
      throw error.exitCode === 0 ? error : explain(error, known)
    })
    .showSuggestionAfterError(false)
    .configureOutput({
      writeOut: (text) => options.writeHelp(text.trimEnd()),
      writeErr: () => undefined, // Errors are written once, in one form.
    })
}

/** Says what is wrong with a command line, and what the nearest right one is. */
function explain(error: CommanderError, known: Known): ConclaveError {
  const help = `conclave ${[known.command ?? known.family, '--help'].filter(Boolean).join(' ')}`
  const [, word = ''] = /'([^']*)'/.exec(error.message) ?? []
  switch (error.code) {
    case 'commander.unknownCommand':
    case 'commander.excessArguments':
    case 'commander.help': {
      if (known.names === undefined) break
      const asked = [known.family, word].filter(Boolean).join(' ')
      const near = nearest(asked, known.names)
      const said =
        word === '' ? 'a command is missing' : `there is no command ${asked.slice(0, 80)}`
      return new ConclaveError('USAGE_UNKNOWN_COMMAND', said, {
        hint: near === undefined || word === '' ? `${help} lists them` : `did you mean ${near}?`,
      })
    }
    case 'commander.unknownOption': {
      const flags = (known.flags ?? EVERYWHERE).map(({ name }) => `--${name}`)
      const near = nearest(word.split('=')[0] ?? '', [...flags, '--help'])
      return new ConclaveError('USAGE_UNKNOWN_FLAG', `there is no flag ${word.slice(0, 80)}`, {
        hint: near === undefined ? `${help} shows the flags` : `did you mean ${near}?`,
      })
    }
  }
  const said = error.message.replace(/^error: /, '')
  return new ConclaveError('USAGE_ARGUMENT', said, { hint: `${help} shows arguments and flags` })
}

function addCommand(parser: Parser, command: Command, options: ParserOptions): void {
  const flags = [...(command.flags ?? []), ...EVERYWHERE]
  settle(parser, options, { command: command.name, flags }).description(command.about)
  for (const { name, about, optional, many } of command.args ?? []) {
    const inner = many === true ? `${name}...` : name
    parser.argument(optional === true ? `[${inner}]` : `<${inner}>`, about)
  }
  for (const flag of flags) parser.addOption(toOption(flag))
  parser.action(async () => {
    // An argument that was left out is undefined; one that repeats is a list.
    const args = (parser.processedArgs as unknown[]).flat()
    await options.run(
      command,
      args.filter((arg) => typeof arg === 'string'),
      parser.optsWithGlobals(),
    )
  })
}

function toOption({ name, value, about, repeatable, choices, number }: Flag): Option {
  const option = new Option(value === undefined ? `--${name}` : `--${name} <${value}>`, about)
  if (choices !== undefined) option.choices(choices)
  if (number !== undefined) option.argParser((text) => parseNumber(text, number))
  if (repeatable === true) {
    option.argParser((text, before: string[] | undefined) => [...(before ?? []), text])
  }
  return option
}

function parseNumber(text: string, kind: 'any' | 'whole'): number {
  const pattern = kind === 'whole' ? /^\d{1,15}$/ : /^\d{1,15}(?:\.\d{1,9})?$/
  const value = Number(text)
  if (!pattern.test(text) || value <= 0) {
    throw new InvalidArgumentError(`a ${kind === 'whole' ? 'whole ' : ''}number above 0 is needed.`)
  }
  return value
}

function addHelp(root: Parser, options: ParserOptions): void {
  const { commands } = options
  const names = commands.map(({ name }) => name)
  const help = settle(root.command('help'), options, { command: 'help', flags: EVERYWHERE })
    .description('This text, or with --json every command')
    .argument('[COMMAND...]', 'a command')
    .addOption(toOption({ name: 'json', about: 'every command as one JSON object a line' }))
  help.action((words: string[]) => {
    const asked = words.join(' ')
    const chosen = commands.filter(({ name }) =>
      `${name} `.startsWith(asked === '' ? '' : `${asked} `),
    )
    if (chosen.length === 0) {
      const near = nearest(asked, names)
      throw new ConclaveError(
        'USAGE_UNKNOWN_COMMAND',
        `there is no command ${asked.slice(0, 80)}`,
        {
          hint: near === undefined ? 'conclave help lists every command' : `did you mean ${near}?`,
        },
      )
    }
    if (help.optsWithGlobals()['json'] === true) {
      for (const command of chosen) options.writeHelp(JSON.stringify(describe(command)))
      return
    }
    let at = root
    for (const word of words) at = at.commands.find((one) => one.name() === word) ?? at
    at.outputHelp()
  })
}

/** One line of `help --json`. */
function describe({ name, about, args = [], flags = [], result, errors }: Command): Row {
  return {
    name,
    about,
    arguments: args.map((arg) => ({
      name: arg.name,
      about: arg.about,
      required: arg.optional !== true,
      repeatable: arg.many === true,
    })),
    flags: [...flags, ...EVERYWHERE].map((flag) => ({
      name: `--${flag.name}`,
      value: flag.value ?? null,
      about: flag.about,
      repeatable: flag.repeatable === true,
      choices: flag.choices ?? null,
    })),
    result,
    errors,
  }
}
