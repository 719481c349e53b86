// What the node asks of a logger. Floor 3; a pino logger fits. Facts never hold secrets or message bodies.

export interface NodeLog {
  trace(facts: object, message: string): void
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}

const quiet = (): void => undefined

/** Says nothing. */
export const QUIET_LOG: NodeLog = {
  trace: quiet,
  debug: quiet,
  info: quiet,
  warn: quiet,
  error: quiet,
}
