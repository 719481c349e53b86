// A free port (0) that was found once stays the same over restarts. Floor 3.
import { put } from '../store/types.ts'
import type { Store } from '../store/types.ts'
import { decodeRow, encodeRow } from '../store/row.ts'

const TABLE = 'listen'
const ROW_VERSION = 1

/** Matches a port of 0 in a multiaddr. */
const FREE_PORT = /\/(tcp|udp)\/0(?=\/|$)/

/** Puts the ports of earlier starts where an address asks for a free one. */
export async function recallPorts(store: Store, listen: readonly string[]): Promise<string[]> {
  return Promise.all(
    listen.map(async (address) => {
      const row = FREE_PORT.test(address) ? await store.get(TABLE, address) : undefined
      if (row === undefined) return address
      const port = decodeRow(ROW_VERSION, row) as number
      return address.replace(FREE_PORT, `/$1/${port}`)
    }),
  )
}

/** Remembers which port each address that asked for a free one was given. */
export async function rememberPorts(
  store: Store,
  listen: readonly string[],
  bound: readonly string[],
): Promise<void> {
  const taken = new Set<number>()
  for (const address of listen.filter((one) => FREE_PORT.test(one))) {
    const port = bound.flatMap((one) => portOf(one, address) ?? []).find((one) => !taken.has(one))
    if (port === undefined) continue
    taken.add(port)
    await store.commit([put(TABLE, address, encodeRow(ROW_VERSION, port))])
  }
}

/** The port of a bound address, if it is one that `asked` could have become. */
function portOf(bound: string, asked: string): number | undefined {
  const match = /\/(?:tcp|udp)\/(\d+)/.exec(bound)
  if (match === null || shapeOf(bound) !== shapeOf(asked)) return undefined
  return Number(match[1])
}

/** Names of an address's protocols, without hosts, ports, certificates and peer IDs. */
function shapeOf(address: string): string {
  const names = address
    .split('/')
    .filter((part) => /^(ip4|ip6|tcp|udp|ws|wss|tls|quic-v1|webrtc-direct|unix|memory)$/.test(part))
  return names.join('/')
}
