// What each known address of a peer answers, one by one: facts for `why`. Floor 1.
import type { Multiaddr } from '@multiformats/multiaddr'
import type { PeerId } from '../../protocols/base/ids.ts'
import type { Dialler } from './dial.ts'
import { dialError } from './race.ts'
import { listenable } from './signals.ts'
import type { DialFact } from './types.ts'

/** Addresses probed, best first. */
const PROBED_MAX = 16

/** Probes of one call at once. */
const PROBES_AT_ONCE = 4

/** Dials each address by itself and closes what opened. */
export async function probeAddresses(
  dialler: Dialler,
  peer: PeerId,
  signal: AbortSignal = new AbortController().signal,
): Promise<DialFact[]> {
  const waiting = (await dialler.known(peer)).slice(0, PROBED_MAX)
  const facts: DialFact[] = []
  listenable(signal)
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      signal.throwIfAborted()
      facts.push(await probeOne(dialler, next, signal))
    }
  }
  await Promise.all(Array.from({ length: PROBES_AT_ONCE }, work))
  return facts
}

async function probeOne(
  dialler: Dialler,
  target: Multiaddr,
  signal: AbortSignal,
): Promise<DialFact> {
  const startedAt = performance.now()
  const address = target.toString()
  const ms = (): number => Math.round(performance.now() - startedAt)
  try {
    const connection = await dialler.dialOne(target, signal)
    const fact = { address, ok: true, ms: ms() }
    await connection.close().catch(() => undefined)
    return fact
  } catch (error) {
    signal.throwIfAborted()
    return { address, ok: false, error: dialError(error), ms: ms() }
  }
}
