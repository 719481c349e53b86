// What a command is: one table entry, from which parsing, help and `help --json` are made. Floor 5.
import type { ErrorCode } from '../../protocols/base/error-codes.ts'
import type { Client } from '../api/client.ts'

/** Where a command writes; stdout carries results alone. */
export interface Io {
  readonly stdin: NodeJS.ReadableStream
  out(line: string): void
  note(line: string): void
  readonly interrupted: AbortSignal
}

/** A parsed command line. */
export interface Invocation {
  readonly args: readonly string[]
  /** Flags by their camelCase name. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly home: string
  readonly json: boolean
  readonly io: Io
  /** Connects to the running node. */
  client(): Promise<Client>
  /** Prints one result: an NDJSON line with `--json`, otherwise what `human` makes of it. */
  print(result: unknown, human: (row: Row) => string): void
}

/** A result as it came over the API. */
export type Row = Readonly<Record<string, unknown>>

/** One argument, as usage shows it: `PEER`, `[TEXT]`, `ID...`. */
export interface Argument {
  readonly name: string
  readonly about: string
  readonly optional?: boolean
  readonly many?: boolean
}

/** One flag; without `value` it is a switch. */
export interface Flag {
  readonly name: string
  readonly value?: string
  readonly about: string
  readonly repeatable?: boolean
  /** Checked while parsing: a wrong value is exit 2. */
  readonly choices?: readonly string[]
  readonly number?: boolean
}

/** One command. */
export interface Command {
  /** Words of the command, such as `group invite`. */
  readonly name: string
  readonly about: string
  readonly args?: readonly Argument[]
  readonly flags?: readonly Flag[]
  /** Names of the result's fields. */
  readonly result: readonly string[]
  /** Codes worth expecting, beside those of every command. */
  readonly errors: readonly ErrorCode[]
  run(invocation: Invocation): Promise<void>
}

export const PEER: Argument = {
  name: 'PEER',
  about: 'peer ID, did:key, multiaddr ending in /p2p/…, ticket or petname',
}

export const GROUP: Argument = {
  name: 'GROUP',
  about: 'group name, group ID, or an unambiguous prefix of one',
}

export const TIMEOUT: Flag = {
  name: 'timeout',
  value: 'SECONDS',
  about: 'how long to wait',
  number: true,
}

/** Text of a field, `-` for what is absent. */
export function cell(value: unknown): string {
  if (value === null || value === undefined || value === '') return '-'
  if (typeof value === 'string') return value
  return JSON.stringify(value)
}

/** Items of a list field. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The time to wait that was asked for, in seconds. */
export function timeoutOf({ flags }: Invocation, otherwise?: number): number | undefined {
  return typeof flags['timeout'] === 'number' ? flags['timeout'] : otherwise
}

/** Path segment of an argument. */
export function segment(text: string | undefined): string {
  return encodeURIComponent(text ?? '')
}
