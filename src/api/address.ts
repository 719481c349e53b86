// The value of `--api`: where the TCP listener of the local API is. Floor 4.
import { ConclaveError } from '../../protocols/base/errors.ts'

/** A host and a port; port 0 means a free one, the same again after a restart. */
export interface ApiAddress {
  readonly host: string
  readonly port: number
}

const PORT_MAX = 65_535

/**
 * Parses `HOST:PORT`, such as `127.0.0.1:8080` or `[::1]:8080`.
 *
 * @throws ConclaveError `CONFIG_VALUE`.
 */
export function parseApiAddress(text: string): ApiAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > PORT_MAX) {
    throw new ConclaveError('CONFIG_VALUE', `not an address of the API: ${text.slice(0, 80)}`, {
      hint: 'write HOST:PORT, such as 127.0.0.1:8080',
    })
  }
  return { host, port }
}
