// A libp2p connection in the words of the port. Floor 1.
import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../../protocols/base/ids.ts'
import { isRelayed, transportOfAddress } from './addresses.ts'
import type { ConnectionFact } from './types.ts'

/** How a connection gets there. */
export function pathOf({
  remoteAddr,
  limits,
}: Connection): Pick<ConnectionFact, 'relayed' | 'transport'> {
  return {
    relayed: limits !== undefined || isRelayed(remoteAddr),
    transport: transportOfAddress(remoteAddr),
  }
}

/** What there is to say about an open connection. */
export function factOf(
  connection: Connection,
  peer: PeerId,
  agent: string | undefined,
): ConnectionFact {
  return {
    peer,
    address: connection.remoteAddr.toString(),
    ...pathOf(connection),
    direction: connection.direction,
    openedAtMs: connection.timeline.open,
    ...(connection.rtt === undefined ? {} : { rttMs: connection.rtt }),
    ...(agent === undefined ? {} : { agent }),
  }
}
