// Guards the TCP listener: a bearer token on every request, and no page of another site. Floor 4.
import type { FastifyRequest } from 'fastify'
import { equalBytes, utf8 } from '../../../protocols/base/bytes.ts'
import { ConclaveError } from '../../../protocols/base/errors.ts'

/** What the TCP listener knows about itself. */
export interface GuardOptions {
  readonly token: string
  /** The host it was bound to, as it was written. */
  readonly host: string
  readonly tls: boolean
}

/** Checks one request before anything of it is looked at. */
export type Guard = (request: FastifyRequest) => void

/**
 * Makes the guard of a TCP listener.
 *
 * A name in `Host` that is not ours means DNS rebinding; an `Origin` that is not ours, a page of another site.
 *
 * @returns A function that throws ConclaveError `USAGE_ORIGIN` or `USAGE_TOKEN`.
 */
export function makeGuard(options: GuardOptions): Guard {
  const expected = utf8(`Bearer ${options.token}`)
  return ({ headers, raw }) => {
    const { localAddress = '', localPort = 0 } = raw.socket
    const own = ownHosts(options, localAddress, localPort)
    if (!own.includes((headers.host ?? '').toLowerCase())) {
      throw new ConclaveError('USAGE_ORIGIN', 'the Host header names another host', {
        hint: `use ${own[0] ?? 'the bound address'}`,
      })
    }
    const scheme = options.tls ? 'https' : 'http'
    const { origin } = headers
    if (origin !== undefined && !own.includes(origin.toLowerCase().replace(`${scheme}://`, ''))) {
      throw new ConclaveError('USAGE_ORIGIN', 'the request comes from a page of another site', {
        hint: 'send no Origin header',
      })
    }
    if (!equalBytes(utf8(headers.authorization ?? ''), expected)) {
      throw new ConclaveError('USAGE_TOKEN', 'the bearer token is missing or wrong', {
        hint: 'send Authorization: Bearer with what api-token in the home holds',
      })
    }
  }
}

function ownHosts(options: GuardOptions, address: string, port: number): string[] {
  const plain = address.replace(/^::ffff:/, '')
  const names = new Set([bracket(options.host), bracket(plain)])
  if (isLoopback(plain)) names.add('localhost')
  const implied = port === (options.tls ? 443 : 80)
  return [...names].flatMap((name) => [`${name}:${port}`, ...(implied ? [name] : [])])
}

function bracket(host: string): string {
  return host.includes(':') ? `[${host.toLowerCase()}]` : host.toLowerCase()
}

/** True for an address that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)
}
