// Small signed records in the DHT, such as contact records. Floor 1.
import type { KadDHT } from '@libp2p/kad-dht'
import { concat, utf8 } from '../../protocols/base/bytes.ts'
import type { Bytes } from '../../protocols/base/bytes.ts'
import type { AbortOptions, Records } from './types.ts'

/** How long a search may take where the caller sets no end. */
const QUERY_TIMEOUT_MS = 15_000

/** Puts and finds records under `/<namespace>/<name>`; validation is that of the `RecordKind`. */
export class RecordStore implements Records {
  readonly #dht: KadDHT

  constructor(dht: KadDHT) {
    this.#dht = dht
  }

  async put(namespace: string, name: Bytes, value: Bytes, options?: AbortOptions): Promise<number> {
    let storedCount = 0
    for await (const event of this.#dht.put(keyOf(namespace, name), value, within(options))) {
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'PUT_VALUE') storedCount += 1
    }
    return storedCount
  }

  async get(namespace: string, name: Bytes, options?: AbortOptions): Promise<Bytes | undefined> {
    try {
      for await (const event of this.#dht.get(keyOf(namespace, name), within(options))) {
        if (event.name === 'VALUE') return new Uint8Array(event.value)
      }
    } catch (error) {
      options?.signal?.throwIfAborted()
      // Not found, no peer, or none in time: all the same to the caller.
      if (error instanceof Error) return undefined
      throw error
    }
    return undefined
  }
}

function keyOf(namespace: string, name: Bytes): Bytes {
  return concat(utf8(`/${namespace}/`), name)
}

function within(options: AbortOptions = {}): { signal: AbortSignal } {
  const timeout = AbortSignal.timeout(QUERY_TIMEOUT_MS)
  return {
    signal: options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]),
  }
}
