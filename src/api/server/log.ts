// What the API asks of a logger. Floor 4; a pino logger fits.

/** Writes to stderr; never a body, a token or a key. */
export interface ApiLog {
  error(facts: object, message: string): void
  warn(facts: object, message: string): void
  info(facts: object, message: string): void
}
