// Real hosts for tests: loopback, a key per name, storage in memory, everything closed at the end.
import { toTimeMs } from '../../protocols/base/time.ts'
import { native } from '../../src/crypto/native.ts'
import { contactRecordKind } from '../../src/node/mailbox/contact-records.ts'
import { createHost } from '../../src/host/host.ts'
import type { ConclaveHost } from '../../src/host/host.ts'
import type { HostOptions, KeyValue } from '../../src/host/options.ts'
import type { FrameStream, ProtocolOptions } from '../../src/host/types.ts'

process.on('warning', (warning) => {
  console.error(`${warning.name}: ${warning.message}`)
  process.exitCode = 1 // a leaked listener fails the file
})

/** The test cast: each has a key of its own. */
export type Name = 'alice' | 'bob' | 'carol' | 'mallory' | 'rita' | 'max'
const SEEDS: Readonly<Record<Name, number>> = {
  alice: 1,
  bob: 2,
  carol: 3,
  mallory: 4,
  rita: 5,
  max: 6,
}

/** Storage that lives as long as the test. */
export function memoryStorage(): KeyValue & { readonly rows: Map<string, Uint8Array> } {
  const rows = new Map<string, Uint8Array>()
  return {
    rows,
    get: (key) => Promise.resolve(rows.get(key)),
    put: (key, value) => Promise.resolve(void rows.set(key, value)),
    delete: (key) => Promise.resolve(void rows.delete(key)),
    async *query(prefix) {
      for (const [key, value] of [...rows]) {
        if (key.startsWith(prefix)) yield await Promise.resolve({ key, value })
      }
    },
  }
}

/** Starts a host on loopback TCP, unless the options say otherwise. */
export function startHost(name: Name, options: Partial<HostOptions> = {}): Promise<ConclaveHost> {
  return createHost({
    privateKey: new Uint8Array(32).fill(SEEDS[name]),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    bootstrap: [],
    transports: ['tcp'],
    relay: false,
    mdns: false,
    storage: memoryStorage(),
    agentVersion: `conclave/test ${name}`,
    limits: { inboundPerSecondMax: 10_000, inboundPendingMax: 1_000 },
    records: [contactRecordKind(native, () => toTimeMs(Date.now()))],
    ...options,
  })
}

/** Closes hosts whatever happened to the test. */
export async function withHosts(
  starting: readonly Promise<ConclaveHost>[],
  use: (...hosts: ConclaveHost[]) => Promise<void>,
): Promise<void> {
  const settled = await Promise.allSettled(starting)
  const hosts = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  try {
    const failed = settled.find((one) => one.status === 'rejected')
    if (failed !== undefined) throw failed.reason as Error
    await use(...hosts)
  } finally {
    await Promise.all(hosts.map((host) => host.close()))
  }
}

/** Streams of tests: frames up to 1 MiB, over relays too. */
export const STREAM: ProtocolOptions = {
  frameBytesMax: 1024 * 1024,
  inboundStreamsMax: 128,
  outboundStreamsMax: 128,
  relayed: true,
}

/** Sends every frame back, then closes. */
export async function echo(stream: FrameStream): Promise<void> {
  for await (const frame of stream.frames) await stream.send(frame)
  await stream.close()
}

/** Waits until `holds` does. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** The error of a promise that must reject. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
  throw new Error('did not reject')
}

/** How long a file's report may take after its last test. */
const REPORT_MS = 1_000

/** Ends the process after a file's last test: threads of WebRTC's binary may outlive every connection. */
export function endNativeThreads(test: { readonly after: (hook: () => void) => void }): void {
  test.after(() => void setTimeout(() => process.exit(), REPORT_MS).unref())
}
