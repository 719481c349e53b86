// What a host is made from, and the small ports it is handed. Floor 1; types only.
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { TransportFactory, TransportName } from './transports.ts'

/** Rows that outlive the process: peer store and DHT records. Keys are printable text, values plain bytes. */
export interface KeyValue {
  get(key: string): Promise<Bytes | undefined>
  put(key: string, value: Bytes): Promise<void>
  delete(key: string): Promise<void>
  /** Every row whose key begins with `prefix`, in any order. */
  query(prefix: string): AsyncIterable<{ readonly key: string; readonly value: Bytes }>
}

/** Where the host reports what an operator may want to know. Fields never hold secrets. */
export interface HostLog {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** Bounds that depend on the machine; each has a default in `libp2p-options.ts`. */
export interface HostLimits {
  /** Open connections, in and out. */
  readonly connectionsMax?: number
  /** New inbound connections per second and remote IP address. */
  readonly inboundPerSecondMax?: number
  /** Inbound connections that have not finished their handshake. */
  readonly inboundPendingMax?: number
}

/** Records that the DHT keeps under one key prefix, such as contact records. */
export interface RecordKind {
  /** First part of the key, such as `conclave-contact`. */
  readonly namespace: string
  /** Largest value accepted. */
  readonly bytesMax: number
  /** Whether `value` may be stored under `name`, the key without its namespace. */
  validate(name: Bytes, value: Bytes): boolean
  /** Index of the value to keep; all of them are valid. */
  select(name: Bytes, values: readonly Bytes[]): number
}

/** Everything `createHost` needs. */
export interface HostOptions {
  /** Ed25519 seed, 32 bytes; read once, not kept by reference. */
  readonly privateKey: Bytes
  /** Multiaddrs to listen on; port 0 means a free port. */
  readonly listen: readonly string[]
  /** Multiaddrs to give to others instead of those bound; empty for none. */
  readonly announce: readonly string[]
  /** Multiaddrs that end in `/p2p/…`; dialled until they answer, and again for ever. */
  readonly bootstrap: readonly string[]
  /** Built-in names and factories mixed; factories claim their addresses first. */
  readonly transports: readonly (TransportName | TransportFactory)[]
  /** Serve as a circuit relay. */
  readonly relay: boolean
  /** Find peers on the local network. */
  readonly mdns: boolean
  readonly storage: KeyValue
  readonly log?: HostLog
  /** Told to peers by identify, such as `conclave/0.1.0`. */
  readonly agentVersion: string
  readonly limits?: HostLimits
  readonly records?: readonly RecordKind[]
}
