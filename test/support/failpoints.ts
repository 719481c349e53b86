// Failpoints of a node, found at its ports: every call of the store and of the host, before and after, and every
// frame that comes. The product knows nothing of them.
import type { Bytes } from '../../protocols/base/bytes.ts'
import { decodeDirectFrame, decodePrekeysFrame } from '../../protocols/direct/frames.ts'
import { DIRECT_PROTOCOL, PREKEYS_PROTOCOL } from '../../protocols/direct/types.ts'
import { decodeMailboxFrame } from '../../protocols/mailbox/frames.ts'
import { MAILBOX_PROTOCOL } from '../../protocols/mailbox/types.ts'
import type { FrameStream, Host } from '../../src/host/types.ts'
import type { Op, Store } from '../../src/store/types.ts'

/** Told of every point that a node reaches. */
export interface Probe {
  /** A promise that never settles if the node ends here. */
  reach(point: string): Promise<never> | undefined
  /** True once it has ended: nothing it does has an effect any more. */
  readonly isOver: boolean
}

/** Numbers what is reached: `name #n`, n from 1. */
export class Counter {
  readonly #counts = new Map<string, number>()

  next(name: string): string {
    const count = (this.#counts.get(name) ?? 0) + 1
    this.#counts.set(name, count)
    return `${name} #${count}`
  }
}

/** The tables that operations change, in order, each once. */
export function tablesOf(ops: readonly Pick<Op, 'table'>[]): string {
  return [...new Set(ops.map(({ table }) => table))].join('+')
}

/** A store with points around every call. */
export function probedStore(store: Store, probe: Probe): Store {
  return {
    async get(table, key) {
      await probe.reach(`store.get ${table}`)
      return store.get(table, key)
    },
    async *rows(table, range) {
      await probe.reach(`store.rows ${table}`)
      yield* store.rows(table, range)
    },
    async *keys(table, range) {
      await probe.reach(`store.keys ${table}`)
      yield* store.keys(table, range)
    },
    async commit(ops) {
      const name = `store.commit ${tablesOf(ops)}`
      await probe.reach(`${name} before`)
      await store.commit(ops)
      await probe.reach(`${name} after`)
    },
    close: () => store.close(),
  }
}

/** A host with points around every call, and around every frame. */
export function probedHost(host: Host, probe: Probe): Host {
  const around = async <Result>(name: string, call: () => Promise<Result>): Promise<Result> => {
    await probe.reach(`${name} before`)
    const result = await call()
    await probe.reach(`${name} after`)
    return result
  }
  const probed: Partial<Host> = {
    open: (peer, protocol, options) =>
      around(`host.open ${short(protocol)}`, async () =>
        probedStream(await host.open(peer, protocol, options), protocol, probe),
      ),
    handle: (protocol, options, handler) =>
      around(`host.handle ${short(protocol)}`, () =>
        host.handle(protocol, options, (stream) => {
          const stop = probe.reach(`host.stream ${short(protocol)}`)
          return stop ?? handler(probedStream(stream, protocol, probe))
        }),
      ),
    connect: (...args) => around('host.connect', () => host.connect(...args)),
    addAddresses: (...args) => around('host.addAddresses', () => host.addAddresses(...args)),
    records: {
      put: (...args) => around('host.records.put', () => host.records.put(...args)),
      get: (...args) => around('host.records.get', () => host.records.get(...args)),
    },
  }
  return new Proxy(host, {
    get(target, name) {
      const value: unknown = Reflect.get(name in probed ? probed : target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** A stream with points around every frame. */
export function probedStream(stream: FrameStream, protocol: string, probe: Probe): FrameStream {
  async function* frames(): AsyncGenerator<Bytes> {
    for await (const frame of stream.frames) {
      await probe.reach(`stream.frame ${kindOf(protocol, frame)}`)
      yield frame
    }
  }
  return {
    peer: stream.peer,
    relayed: stream.relayed,
    transport: stream.transport,
    frames: { [Symbol.asyncIterator]: frames },
    closed: stream.closed,
    async send(frame, options) {
      const name = `stream.send ${kindOf(protocol, frame)}`
      const stop = probe.reach(`${name} before`)
      if (stop !== undefined) await stop
      await stream.send(frame, options)
      await probe.reach(`${name} after`)
    },
    close: () => (probe.isOver ? Promise.resolve() : stream.close()),
    abort: (reason) => {
      if (!probe.isOver) stream.abort(reason)
    },
  }
}

/** What kind of frame this is, with its protocol. */
export function kindOf(protocol: string, frame: Bytes): string {
  const decoded =
    protocol === DIRECT_PROTOCOL
      ? decodeDirectFrame(frame)
      : protocol === MAILBOX_PROTOCOL
        ? decodeMailboxFrame(frame)
        : protocol === PREKEYS_PROTOCOL
          ? decodePrekeysFrame(frame)
          : undefined
  return `${short(protocol)}.${decoded?.ok === true ? decoded.value.kind : 'unknown'}`
}

/** `/conclave/direct/1.0.0` as `direct`. */
function short(protocol: string): string {
  return protocol.split('/')[2] ?? protocol
}
