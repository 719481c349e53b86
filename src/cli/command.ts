// What a command is: one table entry, from which parsing, help and `help --json` are made. Floor 5.
import type { Readable } from 'node:stream'
import type { ErrorCode } from '../../protocols/base/error-codes.ts'
import type { Client } from '../api/client.ts'
import { WAIT_SECONDS } from '../api/client-limits.ts'

/** Time that the node's own answer to a wait gets beyond it, in seconds. */
const GRACE_SECONDS = 5

/** Where a command writes; stdout carries results alone. */
export interface Io {
  readonly stdin: Readable
  out(line: string): void
  note(line: string): void
  /** Rewrites one line on stderr, empty to clear it; absent unless stderr is a terminal. */
  readonly progress?: (text: string) => void
  /** Aborts at SIGINT and SIGTERM. */
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
  /** The node that runs on the home. */
  readonly client: Client
  /** Prints one result: an NDJSON line with `--json`, otherwise what `human` makes of it. */
  print<T>(result: T, human: (result: T) => string): void
}

/** A result whose fields are not known here. */
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
  /** A number above 0; `whole` refuses fractions. Checked while parsing too. */
  readonly number?: 'any' | 'whole'
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

/** A PEER argument. */
export const PEER: Argument = {
  name: 'PEER',
  about: 'peer ID, did:key, multiaddr ending in /p2p/…, ticket or petname',
}

/** A GROUP argument. */
export const GROUP: Argument = {
  name: 'GROUP',
  about: 'group name, group ID, or an unambiguous prefix of one',
}

/** The body of a message. */
export const TEXT: Argument = {
  name: 'TEXT',
  about: 'the body; stdin when absent',
  optional: true,
}

/** How long to wait. Every command that asks the node has it. */
export const TIMEOUT: Flag = {
  name: 'timeout',
  value: 'SECONDS',
  about: `how long to wait (${WAIT_SECONDS})`,
  number: 'any',
}

/** Type of a body. */
export const TYPE: Flag = {
  name: 'type',
  value: 'MIME',
  about: 'MIME type of the body (text/plain)',
}

/** Go on with what comes. */
export const FOLLOW: Flag = {
  name: 'follow',
  about: 'go on with what comes, until SIGINT or a --timeout that is given',
}

/** At most so many. */
export const LIMIT: Flag = { name: 'limit', value: 'N', about: 'at most N', number: 'whole' }

/** The text of a required argument. */
export function argument({ args }: Invocation, at: number): string {
  return args[at] ?? ''
}

/** The text of a flag; undefined if it was not given. */
export function textOf({ flags }: Invocation, name: string): string | undefined {
  const value = flags[name]
  return typeof value === 'string' ? value : undefined
}

/** The number of a flag; undefined if it was not given. */
export function numberOf({ flags }: Invocation, name: string): number | undefined {
  const value = flags[name]
  return typeof value === 'number' ? value : undefined
}

/** True if a switch was given. */
export function isOn({ flags }: Invocation, name: string): boolean {
  return flags[name] === true
}

/** The fields of `values` that are there: an absent flag is no field of a request. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const present = Object.entries(values).filter(([, value]) => value !== undefined)
  return Object.fromEntries(present) as { [K in keyof T]?: Exclude<T[K], undefined> }
}

/** Aborts when the time to wait is up (`TimeoutError`), or at a signal. */
export function deadline(invocation: Invocation): { readonly signal: AbortSignal } {
  return within(invocation, numberOf(invocation, 'timeout') ?? WAIT_SECONDS)
}

/** The same where the node itself watches the time, and knows better what to say when it is up. */
export function deadlineOfNode(invocation: Invocation): { readonly signal: AbortSignal } {
  return within(invocation, (numberOf(invocation, 'timeout') ?? WAIT_SECONDS) + GRACE_SECONDS)
}

function within({ io }: Invocation, seconds: number): { readonly signal: AbortSignal } {
  const timeout = AbortSignal.timeout(Math.ceil(seconds * 1_000))
  return { signal: AbortSignal.any([io.interrupted, timeout]) }
}
