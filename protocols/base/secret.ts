// Secrets that do not print themselves and can be wiped. Floor 0, pure.
import type { Bytes } from './bytes.ts'

const REDACTED = '[secret]'

/** Holds secret bytes; text forms are redacted, and disposal fills them with zeros. */
export class Secret {
  readonly #bytes: Bytes

  /** Takes over `bytes`: the caller must not keep or change them. */
  constructor(bytes: Bytes) {
    this.#bytes = bytes
  }

  /** The bytes themselves, not a copy. */
  reveal(): Bytes {
    return this.#bytes
  }

  toString(): string {
    return REDACTED
  }

  toJSON(): string {
    return REDACTED
  }

  [Symbol.dispose](): void {
    this.#bytes.fill(0)
  }
}

// The name by which `console.log` and loggers ask for a text form.
Object.defineProperty(Secret.prototype, Symbol.for('nodejs.util.inspect.custom'), {
  value: (): string => REDACTED,
})
